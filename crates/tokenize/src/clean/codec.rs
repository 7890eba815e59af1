//! The single-byte encodings that ftfy tries, and its lenient UTF-8.
//!
//! ftfy's "sloppy" encodings are the Windows ones with the unassigned bytes mapped to the C1 control of the same number, and with
//! U+FFFD standing for the byte 0x1a. Latin-1 is the identity and has no table.

use crate::tables::mojibake::ENCODINGS;
use std::sync::LazyLock;

/// One single-byte encoding.
pub(super) struct Codec {
    /// Whether this is one of ftfy's sloppy encodings: 0x1a is U+FFFD.
    pub(super) sloppy: bool,
    /// Whether this is MacRoman, for which ftfy does not put non-breaking spaces back.
    pub(super) macroman: bool,
    /// Whether this is Latin-1.
    pub(super) latin_1: bool,
    /// Characters of bytes 0x80 to 0xff.
    decode: Vec<char>,
    /// The same, by character.
    encode: Vec<(char, u8)>,
}

/// The encodings in the order in which ftfy tries them, Latin-1 first.
pub(super) static CODECS: LazyLock<Vec<Codec>> = LazyLock::new(|| {
    let latin_1 = ("latin-1", ('\u{80}'..='\u{ff}').collect());
    let others = ENCODINGS.iter().map(|&(name, chars)| (name, chars.chars().collect()));
    std::iter::once(latin_1).chain(others).map(|(name, decode)| Codec::new(name, decode)).collect()
});

/// The unassigned bytes of Windows-1252 proper.
const UNASSIGNED_1252: [char; 5] = ['\u{81}', '\u{8d}', '\u{8f}', '\u{90}', '\u{9d}'];

impl Codec {
    fn new(name: &str, decode: Vec<char>) -> Self {
        let mut encode: Vec<(char, u8)> = decode.iter().copied().zip(0x80..=0xff).collect();
        encode.sort_unstable();
        Self { sloppy: name.starts_with("sloppy"), macroman: name == "macroman", latin_1: name == "latin-1", decode, encode }
    }

    /// The character of a byte from 0x80 on.
    #[cfg(test)]
    pub(super) fn decoded(&self, byte: u8) -> char {
        self.decode[usize::from(byte) - 0x80]
    }

    /// The bytes that decode to `text`, or None where a character has none.
    pub(super) fn encode(&self, text: &[char]) -> Option<Vec<u8>> {
        let byte = |&c: &char| match c {
            '\u{1a}' if self.sloppy => None,
            char::REPLACEMENT_CHARACTER if self.sloppy => Some(0x1a),
            '\0'..='\x7f' => Some(c as u8),
            _ => self.encode.binary_search_by_key(&c, |&(c, _)| c).ok().map(|at| self.encode[at].1),
        };
        text.iter().map(byte).collect()
    }
}

/// A C1 control as sloppy Windows-1252 has it; any other character as it is.
pub(super) fn c1_to_windows_1252(c: char) -> char {
    // The first encoding after Latin-1.
    if is_c1(c) { CODECS[1].decode[c as usize - 0x80] } else { c }
}

/// Whether the character is a C1 control, U+0080 to U+009F.
pub(super) fn is_c1(c: char) -> bool {
    ('\u{80}'..='\u{9f}').contains(&c)
}

/// Latin-1 text read as Windows-1252 proper; None where it has a byte that Windows-1252 does not assign.
pub(super) fn latin_1_as_windows_1252(text: &[char]) -> Option<String> {
    let known = !text.iter().any(|c| UNASSIGNED_1252.contains(c));
    known.then(|| text.iter().map(|&c| c1_to_windows_1252(c)).collect())
}

/// ftfy's codec `utf-8-variants`: UTF-8, and also CESU-8 (astral characters as two three-byte surrogates) and Java's two-byte NUL.
/// None where the bytes are neither.
///
/// The codec looks for the exceptions with expressions that end in `$`, for the sake of streams. Python's `$` also matches before a
/// line feed at the end, so that there a lead byte takes the line feed for its continuation. Segments do end in line feeds: kept.
pub(super) fn decode_utf8_variants(bytes: &[u8]) -> Option<String> {
    let mut out = String::with_capacity(bytes.len());
    let mut rest = bytes;
    loop {
        let special = rest.iter().enumerate().find_map(|(at, &b)| match b {
            0xc0 => null(&rest[at..]).map(|n| (at, n, '\0')),
            0xed => surrogates(&rest[at..]).map(|c| (at, 6, c)),
            _ => None,
        });
        let Some((at, consumed, c)) = special else {
            out.push_str(std::str::from_utf8(rest).ok()?);
            return Some(out);
        };
        out.push_str(std::str::from_utf8(&rest[..at]).ok()?);
        out.push(c);
        rest = &rest[at + consumed..];
    }
}

/// The length of Java's NUL at the beginning of `bytes`, which begin with 0xc0.
fn null(bytes: &[u8]) -> Option<usize> {
    (bytes.get(1) == Some(&0x80) || bytes[1..] == *b"\n").then_some(2)
}

/// The character of a CESU-8 pair at the beginning of `bytes`.
fn surrogates(bytes: &[u8]) -> Option<char> {
    let &[0xed, a @ 0xa0..=0xaf, b @ 0x80..=0xbf, 0xed, c @ 0xb0..=0xbf, d, ref rest @ ..] = bytes else { return None };
    let line_end = d == b'\n' && rest.is_empty();
    if !line_end && !(0x80..=0xbf).contains(&d) {
        return None;
    }
    let bits = |byte: u8, mask: u8, shift: u32| u32::from(byte & mask) << shift;
    char::from_u32(0x10000 + (bits(a, 0x0f, 16) | bits(b, 0x3f, 10) | bits(c, 0x0f, 6) | bits(d, 0x3f, 0)))
}
