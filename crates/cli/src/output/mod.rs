//! Where results go, and in which form.

pub(crate) mod json;
pub(crate) mod npy;
pub(crate) mod records;
pub(crate) mod sink;
pub(crate) mod table;

use std::borrow::Cow;

/// The text without control characters, so that a file name or a label cannot steer the terminal. Line feeds stay.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(|c: char| c.is_control() && c != '\n') {
        return text.into();
    }
    text.chars()
        .map(|c| if c.is_control() && c != '\n' { c.escape_default().to_string() } else { c.into() })
        .collect::<String>()
        .into()
}

#[cfg(test)]
mod tests {
    #[test]
    fn terminals_are_not_steered() {
        assert_eq!(super::visible("a\u{1b}[31m\u{9b}é\n"), "a\\u{1b}[31m\\u{9b}é\n");
        assert_eq!(super::visible("tab\t"), "tab\\t");
    }
}
