//! HTML entities: Python's `html.unescape`, which follows HTML 5's rules for broken references, and ftfy's stricter `unescape_html`.

use crate::tables::ENTITIES;
use crate::tables::mojibake::{DROPPED_REFERENCES, REFERENCES};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

/// The entities by name, with the semicolon where the name has one.
struct Entities {
    /// HTML 5's.
    standard: HashMap<&'static str, String>,
    /// The upper-case names that ftfy adds.
    upper: HashMap<&'static str, String>,
}

static BY_NAME: LazyLock<Entities> = LazyLock::new(|| {
    let mut entities = Entities { standard: HashMap::new(), upper: HashMap::new() };
    for line in ENTITIES.lines() {
        let mut fields = line.split(' ');
        let name = fields.next().unwrap_or_default();
        let value = fields.filter_map(|code| char::from_u32(u32::from_str_radix(code, 16).ok()?)).collect();
        match name.strip_prefix('^') {
            Some(name) => entities.upper.insert(name, value),
            None => entities.standard.insert(name, value),
        };
    }
    entities
});

/// The longest name that Python's pattern takes, without its semicolon, in characters.
const LONGEST_NAME: usize = 32;
/// The longest name that ftfy's pattern takes, without `#` and semicolon, in characters.
const LONGEST_FIXED_NAME: usize = 24;

/// `html.unescape`: names with or without semicolon, the longest known beginning of a longer name, numbers with HTML 5's repairs.
/// A number of any length is allowed, where Python stops at 4,300 digits with an exception.
pub(super) fn unescape(text: &str) -> Cow<'_, str> {
    replace(text, |rest, out| {
        if let Some(digits) = rest.strip_prefix('#') {
            let (digits, radix) = match digits.strip_prefix(['x', 'X']) {
                Some(hex) => (hex, 16),
                None => (digits, 10),
            };
            let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
            if end == 0 {
                return None;
            }
            out.extend(numeric(&digits[..end], radix));
            let semicolon = usize::from(digits[end..].starts_with(';'));
            return Some(rest.len() - digits.len() + end + semicolon);
        }
        named(rest, out)
    })
}

/// `html.unescape` of a reference by name; `rest` is what follows the ampersand.
fn named(rest: &str, out: &mut String) -> Option<usize> {
    let stop = |c: char| matches!(c, '\t' | '\n' | '\x0c' | ' ' | '<' | '&' | '#' | ';');
    let end = rest.char_indices().take(LONGEST_NAME).find(|&(_, c)| stop(c)).map(|(at, _)| at);
    let end = end.unwrap_or_else(|| rest.char_indices().nth(LONGEST_NAME).map_or(rest.len(), |(at, _)| at));
    if end == 0 {
        return None;
    }
    let end = end + usize::from(rest[end..].starts_with(';'));
    // Names are ASCII, so that only beginnings within the leading ASCII can be known; the shortest considered has two letters.
    let ascii = rest[..end].bytes().take_while(u8::is_ascii).count();
    let known = (2..=ascii).rev().find_map(|n| Some((n, BY_NAME.standard.get(&rest[..n])?)));
    match known {
        Some((n, value)) => {
            out.push_str(value);
            out.push_str(&rest[n..end]);
        }
        None => {
            out.push('&');
            out.push_str(&rest[..end]);
        }
    }
    Some(end)
}

/// The character of a numeric reference, by HTML 5's rules for invalid ones. None: the reference is dropped.
fn numeric(digits: &str, radix: u32) -> Option<char> {
    let code = digits.chars().try_fold(0u32, |n, c| n.checked_mul(radix)?.checked_add(c.to_digit(radix)?)).unwrap_or(u32::MAX);
    if let Ok(at) = REFERENCES.binary_search_by_key(&code, |&(number, _)| number) {
        return Some(REFERENCES[at].1);
    }
    if DROPPED_REFERENCES.iter().any(|&(first, last)| (first..=last).contains(&code)) {
        return None;
    }
    // Surrogates and numbers beyond Unicode.
    Some(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
}

/// ftfy's `unescape_html`: complete references only (`&name;`, `&#1;`), and upper-case names of some letters and symbols.
pub(super) fn unescape_complete(text: &str) -> Cow<'_, str> {
    replace(text, |rest, out| {
        let hash = usize::from(rest.starts_with('#'));
        let letters = rest[hash..].bytes().take(LONGEST_FIXED_NAME + 1).take_while(u8::is_ascii_alphanumeric).count();
        let end = hash + letters + 1;
        if !(1..=LONGEST_FIXED_NAME).contains(&letters) || rest.as_bytes().get(end - 1) != Some(&b';') {
            return None;
        }
        if hash == 0 {
            let name = &rest[..end];
            let value = BY_NAME.standard.get(name).or_else(|| BY_NAME.upper.get(name))?;
            out.push_str(value);
            return Some(end);
        }
        let before = out.len();
        out.push('&');
        out.push_str(&rest[..end]);
        let unescaped = unescape(&out[before..]).into_owned();
        // A semicolon that is left says that only a part was understood (or that the character is a semicolon: ftfy keeps that too).
        if !unescaped.contains(';') {
            out.truncate(before);
            out.push_str(&unescaped);
        }
        Some(end)
    })
}

/// Calls `reference` with what follows each ampersand. It writes the replacement and says how many bytes it consumed, or declines.
fn replace(text: &str, mut reference: impl FnMut(&str, &mut String) -> Option<usize>) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        match reference(rest, &mut out) {
            Some(consumed) => rest = &rest[consumed..],
            None => out.push('&'),
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}
