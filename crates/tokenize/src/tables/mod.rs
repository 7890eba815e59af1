//! Facts about the reference, written by tools/make_clean_tables.py from the reference's own packages; nothing here is edited by
//! hand. `entities.txt` beside these holds the HTML entities (Python's `html.entities.html5`, and after them, with a `^`, the
//! upper-case names that ftfy adds), one name and its code points a line.

pub(crate) mod mojibake;
pub(crate) mod unicode;

/// The text of `entities.txt`.
pub(crate) const ENTITIES: &str = include_str!("entities.txt");
