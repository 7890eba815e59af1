//! Lists of many short strings in one piece of memory.
//!
//! A vocabulary is 100,000 strings of six bytes. As a `Vec<String>` each of them is an allocation: building, copying and dropping them took a third of
//! the time from the start of the program to the vector of a text, and seven times the memory of the text.
#![forbid(unsafe_code)]

use std::{
    fmt,
    ops::{Index, Range},
    sync::Arc,
};

/// A list of strings that does not change. Cloning it is cheap.
#[derive(Clone)]
pub struct Strings {
    /// One after the other.
    text: Arc<str>,
    /// Where each ends.
    ends: Arc<[usize]>,
}

impl Strings {
    /// The strings of bytes that lie one after the other, each up to the next of `ends`; `None` if one is not UTF-8, or if the ends are not in order
    /// or not up to the last byte.
    pub fn new(bytes: Vec<u8>, ends: Vec<usize>) -> Option<Self> {
        // All of it is UTF-8 and is cut between characters: then so is each.
        let text = String::from_utf8(bytes).ok()?;
        let whole = ends.last().copied().unwrap_or(0) == text.len();
        let cut = ends.is_sorted() && ends.iter().all(|&end| text.is_char_boundary(end));
        (whole && cut).then(|| Self { text: text.into(), ends: ends.into() })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The string at this place.
    pub fn get(&self, i: usize) -> Option<&str> {
        (i < self.len()).then(|| &self[i])
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &str> + ExactSizeIterator + Clone {
        (0..self.len()).map(|i| &self[i])
    }

    fn range(&self, i: usize) -> Range<usize> {
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        start..self.ends[i]
    }
}

impl Index<usize> for Strings {
    type Output = str;

    fn index(&self, i: usize) -> &str {
        &self.text[self.range(i)]
    }
}

impl<S: AsRef<str>> FromIterator<S> for Strings {
    fn from_iter<I: IntoIterator<Item = S>>(strings: I) -> Self {
        let (mut text, mut ends) = (String::new(), Vec::new());
        for string in strings {
            text.push_str(string.as_ref());
            ends.push(text.len());
        }
        Self { text: text.into(), ends: ends.into() }
    }
}

impl Default for Strings {
    fn default() -> Self {
        Self::from_iter([""; 0])
    }
}

impl PartialEq for Strings {
    fn eq(&self, other: &Self) -> bool {
        self.ends == other.ends && self.text == other.text
    }
}

impl Eq for Strings {}

/// As a list.
impl fmt::Debug for Strings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_what_was_put_in() {
        let items = ["a</w>", "", "Ġ", "写", ""];
        let strings = Strings::from_iter(items);
        assert!(strings.iter().eq(items));
        assert!(strings.iter().rev().eq(items.into_iter().rev()));
        assert_eq!((strings.len(), &strings[2], strings.get(3), strings.get(5)), (5, "Ġ", Some("写"), None));
        assert_eq!(format!("{strings:?}"), format!("{items:?}"));
        let bytes = items.concat().into_bytes();
        assert_eq!(Strings::new(bytes, vec![5, 5, 7, 10, 10]), Some(strings.clone()));
        // The same text, cut elsewhere.
        assert_ne!(Strings::from_iter(["a<", "/w>", "Ġ", "写", ""]), strings);
    }

    #[test]
    fn an_empty_list_has_no_strings() {
        let none = Strings::default();
        assert!(none.is_empty() && none.iter().next().is_none());
        assert_eq!(Strings::new(Vec::new(), Vec::new()), Some(none.clone()));
        assert_ne!(Strings::from_iter([""]), none);
    }

    #[test]
    fn what_is_no_list_of_strings_is_refused() {
        let new = |bytes: &[u8], ends: &[usize]| Strings::new(bytes.to_vec(), ends.to_vec());
        assert!(new("aé".as_bytes(), &[1, 3]).is_some());
        // In the middle of a character, out of order, beyond the end, before the end, and no UTF-8.
        for ends in [&[2, 3][..], &[3, 1, 3], &[1, 4], &[1], &[]] {
            assert_eq!(new("aé".as_bytes(), ends), None, "{ends:?}");
        }
        assert_eq!(new(b"a\xff", &[1, 2]), None);
    }
}
