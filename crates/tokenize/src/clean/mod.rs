//! Text as the reference cleans it before it looks for words: `ftfy.fix_text`, `html.unescape` twice, strip, white space to single
//! blanks, strip, lower case (`basic_clean` and `whitespace_clean` of OpenAI's `simple_tokenizer.py`, and the `lower` of its `encode`).
//!
//! The cleaning decides token ids, and so vectors: each function here does what the one it is named after does, to the character.
//! docs/tokenizer.md lists the steps and the few declared differences.

mod case;
mod codec;
mod encoding;
mod fix;
mod html;

use crate::properties::{is_pattern_space, is_space};

/// How often a loop that the reference runs until nothing changes is run at most. Python would go on: text such as `&amp;amp;amp;..`
/// takes one round for each level, which is quadratic. No honest text is escaped or mis-decoded 64 times over.
const MAX_ROUNDS: usize = 64;

/// OpenAI's cleaning, from the raw text to the lower-case text that is split into words.
pub(crate) fn clip(text: &str) -> String {
    if is_plain(text) { plain(text) } else { full(text) }
}

/// Whether no step but white space and lower case can change the text: printable ASCII and white space, with no entity in it.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b' '..=b'~' | b'\t' | b'\n' | b'\x0c' | b'\r') && b != b'&')
}

/// The cleaning of a text for which [`is_plain`] holds.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split_ascii_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out.make_ascii_lowercase();
    out
}

/// The cleaning of any text, step by step.
fn full(text: &str) -> String {
    let fixed = fix::fix_text(text);
    let unescaped = html::unescape(&html::unescape(&fixed)).into_owned();
    let collapsed = collapse_spaces(unescaped.trim_matches(is_space));
    case::lower(collapsed.trim_matches(is_space))
}

/// `regex.sub(r"\s+", " ", text)`.
fn collapse_spaces(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_spaces = false;
    for c in text.chars() {
        let space = is_pattern_space(c);
        if !space {
            out.push(c);
        } else if !in_spaces {
            out.push(' ');
        }
        in_spaces = space;
    }
    out
}

#[cfg(test)]
mod tests;
