//! Lower case and NFC as Python 3.11 (Unicode 14) does them, whatever the Unicode version of the compiler and of the crates is:
//! a code point that Unicode 14 does not assign is left alone and keeps its neighbours apart. What is assigned never changes.

use crate::properties::{is_assigned, is_case_ignorable, is_cased};
use std::borrow::Cow;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// `str.lower`, with the rule for the final sigma.
pub(super) fn lower(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // Whether the last character that counts before this one is a cased one.
    let mut after_cased = false;
    for (at, c) in text.char_indices() {
        if c == '\u{3a3}' {
            let rest = &text[at + c.len_utf8()..];
            let before_cased = after_cased && rest.chars().find(|&c| !is_case_ignorable(c)).is_some_and(is_cased);
            out.push(if after_cased && !before_cased { '\u{3c2}' } else { '\u{3c3}' });
        } else if is_assigned(c) {
            out.extend(c.to_lowercase());
        } else {
            out.push(c);
        }
        if !is_case_ignorable(c) {
            after_cased = is_cased(c);
        }
    }
    out
}

/// `unicodedata.normalize("NFC", text)`.
pub(super) fn nfc(text: &str) -> Cow<'_, str> {
    if is_nfc_quick(text.chars()) == IsNormalized::Yes {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut start = 0;
    for (at, c) in text.char_indices() {
        if !is_assigned(c) {
            out.extend(text[start..at].nfc());
            out.push(c);
            start = at + c.len_utf8();
        }
    }
    out.extend(text[start..].nfc());
    Cow::Owned(out)
}
