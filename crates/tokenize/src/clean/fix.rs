//! `ftfy.fix_text` 6.3.1 with its default configuration: the order of the steps, their repetition, and the small steps themselves.

use super::MAX_ROUNDS;
use super::encoding::{fix_c1_controls, fix_encoding};
use super::{case, html};
use crate::properties::is_decimal;
use crate::tables::mojibake::{LIGATURES, WIDTHS};
use std::borrow::Cow;

/// The most characters that are fixed as one segment (`max_decode_length`).
const MAX_SEGMENT: usize = 1_000_000;

/// `ftfy.fix_text`: fixes each line by itself. From the first `<` on the text is taken for HTML, whose entities are left alone.
pub(super) fn fix_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut unescape = true;
    for line in text.split_inclusive('\n') {
        let mut rest = line;
        while !rest.is_empty() {
            let end = rest.char_indices().nth(MAX_SEGMENT).map_or(rest.len(), |(at, _)| at);
            let (segment, after) = rest.split_at(end);
            unescape &= !segment.contains('<');
            out.push_str(&fix_segment(segment, unescape));
            rest = after;
        }
    }
    out
}

/// `ftfy.fix_and_explain`: all steps, again and again until nothing changes.
fn fix_segment(segment: &str, unescape: bool) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(segment);
    for _ in 0..MAX_ROUNDS {
        let fixed = fix_once(&text, unescape);
        if fixed == text {
            break;
        }
        text = Cow::Owned(fixed.into_owned());
    }
    text
}

/// Each step once, in ftfy's order. `fix_surrogates` is missing: a Rust string has no surrogates.
fn fix_once(text: &str, unescape: bool) -> Cow<'_, str> {
    let text = if unescape { html::unescape_complete(text) } else { Cow::Borrowed(text) };
    let text = apply(text, fix_encoding);
    let text = apply(text, |text| when(text, super::codec::is_c1, fix_c1_controls));
    let text = apply(text, |text| translate(text, |c| looked_up(LIGATURES, c)));
    let text = apply(text, |text| translate(text, |c| looked_up(WIDTHS, c)));
    let text = apply(text, |text| translate(text, straight_quote));
    let text = apply(text, |text| when(text, is_line_break, fix_line_breaks));
    let text = apply(text, |text| when(text, |c| c == '\u{1b}', remove_terminal_escapes));
    let text = apply(text, |text| translate(text, |c| is_unwanted_control(c).then_some("")));
    apply(text, case::nfc)
}

/// A step on text that earlier steps may or may not have copied.
fn apply<'a>(text: Cow<'a, str>, step: impl for<'b> Fn(&'b str) -> Cow<'b, str>) -> Cow<'a, str> {
    match text {
        Cow::Borrowed(text) => step(text),
        Cow::Owned(text) => Cow::Owned(step(&text).into_owned()),
    }
}

/// A step that only concerns text with certain characters.
fn when(text: &str, concerns: impl Fn(char) -> bool, step: impl Fn(&str) -> String) -> Cow<'_, str> {
    if text.contains(concerns) { Cow::Owned(step(text)) } else { Cow::Borrowed(text) }
}

/// `str.translate`: each character for which `map` has a replacement is replaced by it.
fn translate(text: &str, map: impl Fn(char) -> Option<&'static str>) -> Cow<'_, str> {
    let Some(first) = text.find(|c| map(c).is_some()) else { return Cow::Borrowed(text) };
    let mut out = String::with_capacity(text.len());
    out.push_str(&text[..first]);
    for c in text[first..].chars() {
        match map(c) {
            Some(replacement) => out.push_str(replacement),
            None => out.push(c),
        }
    }
    Cow::Owned(out)
}

fn looked_up(table: &[(char, &'static str)], c: char) -> Option<&'static str> {
    let (first, last) = (table.first()?.0, table.last()?.0);
    if !(first..=last).contains(&c) {
        return None;
    }
    table.binary_search_by_key(&c, |&(c, _)| c).ok().map(|at| table[at].1)
}

/// `uncurl_quotes`.
fn straight_quote(c: char) -> Option<&'static str> {
    match c {
        '\u{201c}'..='\u{201f}' => Some("\""),
        '\u{2bc}' | '\u{2018}'..='\u{201b}' => Some("'"),
        _ => None,
    }
}

fn is_line_break(c: char) -> bool {
    matches!(c, '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// `fix_line_breaks`: every kind of line break is a line feed.
fn fix_line_breaks(text: &str) -> String {
    text.replace("\r\n", "\n").replace(is_line_break, "\n")
}

/// `remove_terminal_escapes`: ESC, `[`, digits of any script and semicolons, a letter.
fn remove_terminal_escapes(text: &str) -> String {
    let escape_length = |text: &str| {
        let parameters = text.strip_prefix("\u{1b}[")?;
        let command = parameters.trim_start_matches(|c: char| c == ';' || is_decimal(c));
        command.starts_with(|c: char| c.is_ascii_alphabetic()).then_some(text.len() - command.len() + 1)
    };
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\u{1b}') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let length = escape_length(rest).unwrap_or_else(|| {
            out.push('\u{1b}');
            1
        });
        rest = &rest[length..];
    }
    out.push_str(rest);
    out
}

/// `remove_control_chars`: ASCII controls other than tab, line feed, form feed and carriage return; deprecated format controls;
/// byte order mark; interlinear annotation; object replacement.
fn is_unwanted_control(c: char) -> bool {
    matches!(c, '\0'..='\x08' | '\x0b' | '\x0e'..='\x1f' | '\x7f' | '\u{206a}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffc}')
}
