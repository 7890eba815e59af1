//! Character properties as the reference has them: CPython 3.11 for its own string methods and `re`, and the `regex` module for
//! the splitting pattern. Rust's own properties follow the toolchain's Unicode version, which would make ids depend on the compiler.

use crate::tables::unicode;

fn contains(ranges: &[(u32, u32)], c: char) -> bool {
    let code = c as u32;
    let after = ranges.partition_point(|&(first, _)| first <= code);
    after > 0 && code <= ranges[after - 1].1
}

/// `\p{L}` of the `regex` module.
pub(crate) fn is_letter(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_alphabetic() } else { contains(unicode::LETTER, c) }
}

/// `\p{N}` of the `regex` module.
pub(crate) fn is_number(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_digit() } else { contains(unicode::NUMBER, c) }
}

/// Whether Python 3.11 knows the code point as assigned; what it does not know it leaves as it is.
pub(crate) fn is_assigned(c: char) -> bool {
    c.is_ascii() || !contains(unicode::UNASSIGNED, c)
}

/// `\d` of Python's `re`.
pub(crate) fn is_decimal(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_digit() } else { contains(unicode::DECIMAL, c) }
}

/// `\w` of Python's `re`: `str.isalnum`, which the letters and numbers assigned in Python's Unicode are, and the underscore.
pub(crate) fn is_word(c: char) -> bool {
    c == '_' || ((is_letter(c) || is_number(c)) && is_assigned(c))
}

/// Whether a capital sigma after this becomes a final one.
pub(crate) fn is_cased(c: char) -> bool {
    contains(unicode::CASED, c)
}

/// What `str.lower` skips when it looks for the neighbours of a capital sigma.
pub(crate) fn is_case_ignorable(c: char) -> bool {
    contains(unicode::CASE_IGNORABLE, c)
}

/// `str.isspace`, what `str.strip` strips and `\s` of Python's `re` matches. The four separators U+001C to U+001F are the difference
/// from Unicode's `White_Space`, which is the same in all versions since 6.3.
pub(crate) fn is_space(c: char) -> bool {
    is_pattern_space(c) || matches!(c, '\u{1c}'..='\u{1f}')
}

/// `\s` of the `regex` module.
pub(crate) fn is_pattern_space(c: char) -> bool {
    c.is_whitespace()
}
