//! Token ids of several texts, each row as long as it is.

use crate::error::Error;

/// The ids of several texts, one ragged row each: a model that runs a row at its true length does no work for padding.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenBatch {
    ids: Vec<u32>,
    /// Where each row ends in `ids`.
    ends: Vec<usize>,
}

impl TokenBatch {
    /// A batch of rows of ids that carry their start and end tokens already.
    pub fn from_rows<R: AsRef<[u32]>>(rows: impl IntoIterator<Item = R>) -> Self {
        let mut batch = Self::default();
        for row in rows {
            batch.push(row.as_ref());
        }
        batch
    }

    /// A batch from ids in the padded form of `clip.tokenize`, `[n, context_length]`, row by row. Ids equal to `pad` at the end of a row
    /// are dropped; where `pad` is the end token itself (as Hugging Face pads), the first of them stays.
    ///
    /// # Errors
    /// [`Error::NotWholeRows`] if `ids` is not a multiple of `context_length` long.
    pub fn from_padded(ids: &[u32], context_length: usize, pad: u32, end: u32) -> Result<Self, Error> {
        if context_length == 0 || !ids.len().is_multiple_of(context_length) {
            return Err(Error::NotWholeRows { ids: ids.len(), context_length });
        }
        Ok(Self::from_rows(ids.chunks_exact(context_length).map(|row| {
            let kept = row.iter().rposition(|&id| id != pad).map_or(0, |last| last + 1);
            let kept = if pad == end { (kept + 1).min(row.len()) } else { kept };
            &row[..kept]
        })))
    }

    /// Appends a row.
    pub(crate) fn push(&mut self, row: &[u32]) {
        self.ids.extend_from_slice(row);
        self.ends.push(self.ids.len());
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The ids of row `i`, with the start and the end token.
    ///
    /// # Panics
    /// If there is no row `i`.
    pub fn row(&self, i: usize) -> &[u32] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.ids[start..self.ends[i]]
    }

    /// The rows, first to last.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[u32]> {
        (0..self.len()).map(|i| self.row(i))
    }

    /// The ids of all rows, one row after the other.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// The padded form of `clip.tokenize`: `[n, context_length]`, each row filled up with `pad`.
    ///
    /// # Errors
    /// [`Error::RowTooLong`] if a row is longer than `context_length`.
    pub fn padded(&self, pad: u32, context_length: usize) -> Result<Vec<u32>, Error> {
        if let Some((row, ids)) = self.rows().enumerate().find(|(_, ids)| ids.len() > context_length) {
            return Err(Error::RowTooLong { row, ids: ids.len(), context_length });
        }
        let mut padded = Vec::new();
        for (i, row) in self.rows().enumerate() {
            padded.extend_from_slice(row);
            padded.resize((i + 1) * context_length, pad);
        }
        Ok(padded)
    }
}
