//! ftfy's `fix_encoding`: finds text that was encoded as UTF-8 and decoded as something else (mojibake), and undoes that.
//!
//! A text is suspect when it holds a sequence of characters that mojibake makes and people do not (`is_bad`). Then each single-byte
//! encoding that could have produced the text is undone in turn, and the first whose bytes are UTF-8 wins. All rules, tables and
//! their order are ftfy's, by Robyn Speer, Apache-2.0 (docs/tokenizer.md).

use super::MAX_ROUNDS;
use super::codec::{self, CODECS};
use crate::properties::{is_space, is_word};
use crate::tables::mojibake::{self as table, CLASSES, UNLIKELY};
use std::borrow::Cow;

/// How deep mojibake inside mojibake is followed. Each level is at most half as long as the one around it.
const MAX_DEPTH: usize = 32;

/// `ftfy.fix_encoding`: one step after the other until nothing changes.
pub(super) fn fix_encoding(text: &str) -> Cow<'_, str> {
    fix_encoding_at(text, 0)
}

fn fix_encoding_at(text: &str, depth: usize) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    for _ in 0..MAX_ROUNDS {
        match fix_one_step(&text, depth) {
            Some(fixed) if fixed != text => text = Cow::Owned(fixed),
            _ => break,
        }
    }
    text
}

/// `ftfy._fix_encoding_one_step_and_explain`. None: nothing to fix.
fn fix_one_step(text: &str, depth: usize) -> Option<String> {
    if text.is_ascii() {
        return None;
    }
    let chars: Vec<char> = text.chars().collect();
    let masks: Vec<u128> = chars.iter().map(|&c| classes(c)).collect();
    if !is_bad(&masks) {
        return None;
    }
    let mut latin_1 = false;
    for codec in CODECS.iter() {
        let Some(mut bytes) = codec.encode(&chars) else { continue };
        latin_1 |= codec.latin_1;
        if !codec.macroman && (0..bytes.len()).any(|at| altered_length(&bytes[at..]) > 0) {
            bytes = restore_byte_a0(&bytes);
        }
        if codec.sloppy {
            bytes = replace_lossy_sequences(&bytes);
        }
        let fixed = if bytes.iter().any(|b| matches!(b, 0xed | 0xc0)) {
            codec::decode_utf8_variants(&bytes)
        } else {
            String::from_utf8(bytes).ok()
        };
        if fixed.is_some() {
            return fixed;
        }
    }
    if depth < MAX_DEPTH {
        let fixed = decode_inconsistent_utf8(&chars, &masks, depth);
        if fixed.as_ref().is_some_and(|fixed| fixed != text) {
            return fixed;
        }
    }
    // ftfy would keep text that is both Latin-1 and "windows-1252", but never lists the latter, only its sloppy form.
    if latin_1 && let Some(fixed) = codec::latin_1_as_windows_1252(&chars).filter(|fixed| fixed != text) {
        return Some(fixed);
    }
    chars.iter().any(|&c| codec::is_c1(c)).then(|| fix_c1_controls(text))
}

/// ftfy's `fix_c1_controls`: the C1 controls as Windows-1252 has them.
pub(super) fn fix_c1_controls(text: &str) -> String {
    text.chars().map(codec::c1_to_windows_1252).collect()
}

/// The classes of a character, one bit each.
fn classes(c: char) -> u128 {
    let listed = CLASSES.binary_search_by_key(&c, |&(c, _)| c).map_or(0, |at| CLASSES[at].1);
    let bit = |holds: bool, bit: u128| if holds { bit } else { 0 };
    listed
        | bit(is_space(c), table::SPACE)
        | bit(is_word(c), table::WORD)
        | bit(!c.is_ascii_alphabetic(), table::NOT_LATIN)
        | bit(c != '\n', table::NOT_NEWLINE)
}

/// `ftfy.badness.is_bad`: whether an unlikely sequence occurs.
fn is_bad(masks: &[u128]) -> bool {
    let matches = |at: usize, pattern: &[u8]| {
        masks.len() - at >= pattern.len() && pattern.iter().zip(&masks[at..]).all(|(&class, mask)| mask >> class & 1 == 1)
    };
    (0..masks.len()).any(|at| UNLIKELY.iter().any(|&(at_start, pattern)| (at == 0 || !at_start) && matches(at, pattern)))
}

/// ftfy's `decode_inconsistent_utf8`: fixes each part that looks like UTF-8 and is bad by itself. None: no part looks like UTF-8.
fn decode_inconsistent_utf8(chars: &[char], masks: &[u128], depth: usize) -> Option<String> {
    let mut out = String::new();
    let mut found = false;
    let mut at = 0;
    while at < chars.len() {
        let after_continuation = at > 0 && masks[at - 1] & table::CONTINUATION_STRICT != 0;
        let length = if after_continuation { 0 } else { utf8_like_length(&masks[at..]) };
        if length == 0 {
            out.push(chars[at]);
            at += 1;
            continue;
        }
        found = true;
        let part: String = chars[at..at + length].iter().collect();
        if length < chars.len() && is_bad(&masks[at..at + length]) {
            out.push_str(&fix_encoding_at(&part, depth + 1));
        } else {
            out.push_str(&part);
        }
        at += length;
    }
    found.then_some(out)
}

/// The length of the characters at the beginning that look like UTF-8 sequences in a single-byte encoding.
fn utf8_like_length(masks: &[u128]) -> usize {
    let mut length = 0;
    loop {
        let rest = &masks[length..];
        let sequence = match rest.first() {
            Some(first) if first & table::FIRST_OF_2 != 0 => 2,
            Some(first) if first & table::FIRST_OF_3 != 0 => 3,
            Some(first) if first & table::FIRST_OF_4 != 0 => 4,
            _ => return length,
        };
        if rest.len() < sequence || rest[1..sequence].iter().any(|mask| mask & table::CONTINUATION == 0) {
            return length;
        }
        length += sequence;
    }
}

/// ftfy's `restore_byte_a0`: a space inside what would be a UTF-8 sequence becomes the 0xa0 that it was.
fn restore_byte_a0(bytes: &[u8]) -> Vec<u8> {
    let bytes = separate_a_grave(bytes);
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let length = altered_length(&bytes[at..]);
        out.extend(bytes[at..at + length].iter().map(|&b| if b == b' ' { 0xa0 } else { b }));
        if length == 0 {
            out.push(bytes[at]);
        }
        at += length.max(1);
    }
    out
}

/// The word "à" that lost its 0xa0 to the space after it gets it back and keeps the space, except in Portuguese contractions.
fn separate_a_grave(bytes: &[u8]) -> Vec<u8> {
    let joined = |rest: &[u8]| [&b" "[..], b"quele", b"quela", b"quilo", b"s "].iter().any(|word| rest.starts_with(word));
    let mut out = Vec::with_capacity(bytes.len());
    for (at, &b) in bytes.iter().enumerate() {
        if at > 0 && b == b' ' && bytes[at - 1] == 0xc3 && !joined(&bytes[at + 1..]) {
            out.push(0xa0);
        }
        out.push(b);
    }
    out
}

/// The length of the UTF-8 sequence with a space for 0xa0 that `bytes` begin with; 0 for none. Only sequences that make likely
/// characters count (ftfy's `ALTERED_UTF8_RE`).
fn altered_length(bytes: &[u8]) -> usize {
    // Continuations of two-byte and three-byte sequences, without 0xa0 itself and 0x85, an ellipsis in Windows-1252.
    let likely = |b: u8| matches!(b, 0x80..=0x84 | 0x86..=0x9f | 0xa1..=0xbf);
    let continuation = |b: u8| (0x80..=0xbf).contains(&b);
    match *bytes {
        [0xc2 | 0xc3 | 0xc5 | 0xce | 0xd0 | 0xd9, b' ', ..] => 2,
        [0xe2 | 0xe3, b' ', b, ..] if likely(b) => 3,
        [0xe0..=0xe3, b, b' ', ..] if likely(b) => 3,
        [0xf0, b' ', b, c, ..] | [0xf0, b, b' ', c, ..] | [0xf0, b, c, b' ', ..] if continuation(b) && continuation(c) => 4,
        _ => 0,
    }
}

/// ftfy's `replace_lossy_sequences`: UTF-8 sequences with a lost byte (0x1a, at times `?`) become U+FFFD.
fn replace_lossy_sequences(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let length = lossy_length(&bytes[at..]);
        if length == 0 {
            out.push(bytes[at]);
        } else {
            out.extend("\u{fffd}".as_bytes());
        }
        at += length.max(1);
    }
    out
}

/// The length of the lossy UTF-8 or CESU-8 sequence that `bytes` begin with; 0 for none (ftfy's `LOSSY_UTF8_RE`).
fn lossy_length(bytes: &[u8]) -> usize {
    let lost = |b: u8| matches!(b, 0x1a | b'?');
    // A continuation byte that is there or marked as lost, but not as a question mark: only one of those is believed.
    let kept = |b: u8| matches!(b, 0x1a | 0x80..=0xbf);
    match *bytes {
        [0xc2..=0xdf, 0x1a, ..] | [0xc2 | 0xc3, b'?', ..] => 2,
        [0xed, 0xa0..=0xaf, b, 0xed, 0xb0..=0xbf, d, ..] if (lost(b) && (lost(d) || kept(d))) || (kept(b) && lost(d)) => 6,
        [0xe0..=0xef, b, c, ..] if (lost(b) && kept(c)) || (kept(b) && lost(c)) => 3,
        [0xf0..=0xf4, b, c, d, ..] if (lost(b) && kept(c) && kept(d)) || (kept(b) && lost(c) && kept(d)) => 4,
        [0xf0..=0xf4, b, c, d, ..] if kept(b) && kept(c) && lost(d) => 4,
        [0x1a, ..] => 1,
        _ => 0,
    }
}
