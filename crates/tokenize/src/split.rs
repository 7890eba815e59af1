//! Cuts cleaned text into the pieces that byte-pair encoding works on, by the pattern of OpenAI's `simple_tokenizer.py`:
//!
//! ```text
//! <\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+     (IGNORECASE)
//! ```
//!
//! The first alternative that matches wins, what matches none is skipped. By hand, since a regular expression with these classes
//! takes longer to compile than the rest of the tokenizer to build.

use crate::properties::{is_letter, is_number, is_pattern_space};

/// The contractions, in the pattern's order; each after an apostrophe.
const CONTRACTIONS: [&str; 7] = ["s", "t", "re", "ve", "m", "ll", "d"];

/// The character that the `regex` module's ignore-case matching of the last class loses: its case folds to a letter (iota), so the
/// negated class takes it for one, and yet it is no letter. No alternative matches it.
const YPOGEGRAMMENI: char = '\u{345}';

/// The pieces of `text`, left to right. `specials` are the start and end tokens as text.
pub(crate) fn pieces<'a>(text: &'a str, specials: [&'a str; 2]) -> impl Iterator<Item = &'a str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        while let Some(first) = rest.chars().next() {
            let length = piece_length(rest, first, specials);
            let (piece, after) = rest.split_at(if length == 0 { first.len_utf8() } else { length });
            rest = after;
            if length > 0 {
                return Some(piece);
            }
        }
        None
    })
}

/// The length in bytes of the piece at the beginning of `text`, 0 where no alternative matches.
fn piece_length(text: &str, first: char, specials: [&str; 2]) -> usize {
    if let Some(length) = specials.iter().find_map(|special| prefix_length(text, special)) {
        return length;
    }
    if let Some(after) = text.strip_prefix('\'')
        && let Some(length) = CONTRACTIONS.iter().find_map(|letters| prefix_length(after, letters))
    {
        return 1 + length;
    }
    let run = |class: fn(char) -> bool| text.find(|c| !class(c)).unwrap_or(text.len());
    if is_letter(first) {
        run(is_letter)
    } else if is_number(first) {
        first.len_utf8()
    } else {
        run(is_other)
    }
}

/// The last class of the pattern.
fn is_other(c: char) -> bool {
    !is_letter(c) && !is_number(c) && !is_pattern_space(c) && c != YPOGEGRAMMENI
}

/// The length of `prefix` at the beginning of `text`, ignoring case. The only character beyond ASCII that folds to a letter of
/// the pattern is the long s (the Kelvin sign is one more for `k`, which no alternative has and lower case has replaced).
fn prefix_length(text: &str, prefix: &str) -> Option<usize> {
    let fold = |c: char| if c == 'ſ' { 's' } else { c.to_ascii_lowercase() };
    let mut chars = text.chars();
    let matches = prefix.chars().all(|expected| chars.next().is_some_and(|c| fold(c) == fold(expected)));
    matches.then(|| text.len() - chars.as_str().len())
}
