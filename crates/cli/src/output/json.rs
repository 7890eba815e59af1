//! An array of records, written one after the other as they come.

use std::io::{self, Write};

use serde::Serialize;

/// How far an array is.
#[derive(Debug, Default)]
pub(crate) struct Array {
    begun: bool,
}

impl Array {
    /// Writes an item, and what stands before it.
    pub(crate) fn item(&mut self, mut out: impl Write, item: &impl Serialize) -> io::Result<()> {
        out.write_all(if self.begun { b",\n" } else { b"[\n" })?;
        self.begun = true;
        serde_json::to_writer(out, item).map_err(io::Error::from)
    }

    /// Writes the end; an array without items is one too.
    pub(crate) fn end(&self, mut out: impl Write) -> io::Result<()> {
        out.write_all(if self.begun { b"\n]\n" } else { b"[]\n" })
    }
}

/// Writes a record on a line of its own.
pub(crate) fn line(mut out: impl Write, item: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut out, item).map_err(io::Error::from)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_of_any_length_are_well_formed() {
        for items in [&[][..], &[1], &[1, 2, 3]] {
            let (mut bytes, mut array) = (Vec::new(), Array::default());
            items.iter().for_each(|item| array.item(&mut bytes, item).unwrap());
            array.end(&mut bytes).unwrap();
            assert_eq!(serde_json::from_slice::<Vec<i32>>(&bytes).unwrap(), items);
            assert_eq!(bytes.last(), Some(&b'\n'));
        }
    }
}
