//! How the inputs of a call are put together: which texts lie side by side, and what is computed in one pass.

use std::ops::Range;

use edgeclip_kernels::Threads;
use edgeclip_tokenize::TokenBatch;

use crate::{Error, parts::TextEmbedding};

/// Tokens in one pass. Bounds the memory of a large batch; a batch this large gains nothing from being larger.
const TOKENS_A_PASS: usize = 256;

/// Pictures that a thread computes at once, when there are as many as threads: enough that it does not go through all weights for one
/// picture, few enough that what is between two linears stays in its cache.
const PICTURES_A_THREAD: usize = 2;

/// Tokens of texts from which on a thread gets its own instead of a share in every linear: with fewer, the time goes into reading the
/// weights, which every thread would do.
const TOKENS_A_THREAD: usize = 128;

/// Texts of a call whose buffers for the order are kept; those of a larger call are freed by the next.
const KEPT_TEXTS: usize = 1 << 16;

/// Passes of about the same size, and where each computes: on [`Threads::One`] they are computed side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Split {
    pub(crate) passes: usize,
    pub(crate) threads: Threads,
}

impl Split {
    /// Of `pictures` of `tokens` each.
    pub(crate) fn pictures(pictures: usize, tokens: usize, watched: bool) -> Self {
        let most = (TOKENS_A_PASS / tokens).max(1);
        let threads = rayon::current_num_threads();
        if watched || pictures < threads {
            return Self { passes: pictures.div_ceil(most), threads: Threads::All };
        }
        let passes = pictures.div_ceil(most.min(PICTURES_A_THREAD)).next_multiple_of(threads);
        Self { passes: passes.min(pictures), threads: Threads::One }
    }

    /// Of `tokens` in `texts`.
    fn texts(texts: usize, tokens: usize, watched: bool) -> Self {
        let passes = tokens.div_ceil(TOKENS_A_PASS);
        let threads = rayon::current_num_threads();
        if watched || texts < threads || tokens < threads * TOKENS_A_THREAD {
            return Self { passes, threads: Threads::All };
        }
        Self { passes: passes.next_multiple_of(threads), threads: Threads::One }
    }

    /// Inputs of pass `i` of `self.passes` of `inputs`, whose sizes differ by one at most.
    pub(crate) fn range(self, i: usize, inputs: usize) -> Range<usize> {
        let start = |i: usize| i * (inputs / self.passes) + i.min(inputs % self.passes);
        start(i)..start(i + 1)
    }
}

/// The order in which texts are computed, so that those that begin alike lie side by side.
#[derive(Debug, Default)]
pub(crate) struct TextPlan {
    /// Rows of the batch, sorted by their ids.
    order: Vec<usize>,
    /// Of each row of the batch, the number of ids that matter.
    lengths: Vec<usize>,
    /// Parts of `order`.
    passes: Vec<Range<usize>>,
}

impl TextPlan {
    /// Checks and orders the rows of a batch.
    ///
    /// # Errors
    /// What [`TextEmbedding::cut`] says about the first row that cannot be encoded.
    pub(crate) fn set(&mut self, embedding: &TextEmbedding, batch: &TokenBatch, watched: bool) -> Result<Threads, Error> {
        if self.order.capacity() > KEPT_TEXTS {
            *self = Self::default();
        }
        self.lengths.clear();
        for (index, ids) in batch.rows().enumerate() {
            self.lengths.push(embedding.cut(index, ids)?.0.len());
        }
        self.order.clear();
        self.order.extend(0..batch.len());
        let lengths = &self.lengths;
        let ids = |row: usize| &batch.row(row)[..lengths[row]];
        // Of rows that are the same the first comes first.
        self.order.sort_unstable_by(|&a, &b| ids(a).cmp(ids(b)).then(a.cmp(&b)));

        let (mut tokens, mut texts) = (0, 0);
        for place in 0..self.order.len() {
            let own = self.own(embedding, batch, place);
            tokens += own;
            texts += usize::from(own > 0);
        }
        let split = Split::texts(texts, tokens, watched);
        self.passes.clear();
        let (mut start, mut before) = (0, 0);
        for place in 0..self.order.len() {
            let own = self.own(embedding, batch, place);
            // A pass ends where its share of all tokens does; texts that are the same stay together.
            if place > start && own > 0 && before * split.passes >= tokens * (self.passes.len() + 1) {
                self.passes.push(start..place);
                start = place;
            }
            before += own;
        }
        if start < self.order.len() {
            self.passes.push(start..self.order.len());
        }
        Ok(split.threads)
    }

    /// Tokens of the text at a place of the order that the one before it does not have.
    fn own(&self, embedding: &TextEmbedding, batch: &TokenBatch, place: usize) -> usize {
        let ids = self.ids(batch, place);
        match place.checked_sub(1) {
            Some(before) => ids.len() - embedding.shared(self.ids(batch, before), ids),
            None => ids.len(),
        }
    }

    fn ids<'t>(&self, batch: &'t TokenBatch, place: usize) -> &'t [u32] {
        let row = self.order[place];
        &batch.row(row)[..self.lengths[row]]
    }

    /// Parts of the order.
    pub(crate) fn passes(&self) -> &[Range<usize>] {
        &self.passes
    }

    /// The different texts of a pass, in order.
    pub(crate) fn texts<'t>(&self, batch: &'t TokenBatch, pass: &Range<usize>) -> impl Iterator<Item = &'t [u32]> {
        pass.clone()
            .filter(|&place| place == pass.start || self.ids(batch, place) != self.ids(batch, place - 1))
            .map(|place| self.ids(batch, place))
    }

    /// Of every row of the batch that is in a pass, the row and which of the different texts it is.
    pub(crate) fn places(&self, batch: &TokenBatch, pass: &Range<usize>) -> impl Iterator<Item = (usize, usize)> {
        let mut text = 0;
        pass.clone().map(move |place| {
            if place > pass.start && self.ids(batch, place) != self.ids(batch, place - 1) {
                text += 1;
            }
            (self.order[place], text)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
    }

    #[test]
    fn pictures_are_split_evenly() {
        let split = |threads, pictures, watched| {
            on_threads(threads, || {
                let split = Split::pictures(pictures, 50, watched);
                let sizes: Vec<_> = (0..split.passes).map(|i| split.range(i, pictures)).collect();
                assert!(sizes.iter().cloned().flatten().eq(0..pictures), "{sizes:?}");
                (split.threads, sizes.iter().map(ExactSizeIterator::len).collect::<Vec<_>>())
            })
        };
        assert_eq!(split(2, 1, false), (Threads::All, vec![1]));
        assert_eq!(split(4, 3, false), (Threads::All, vec![3]));
        assert_eq!(split(1, 1, false), (Threads::One, vec![1]));
        assert_eq!(split(2, 5, false), (Threads::One, vec![2, 1, 1, 1]));
        assert_eq!(split(2, 17, false), (Threads::One, vec![2, 2, 2, 2, 2, 2, 2, 1, 1, 1]));
        assert_eq!(split(2, 32, false), (Threads::One, vec![2; 16]));
        assert_eq!(split(3, 32, true), (Threads::All, vec![5, 5, 5, 5, 4, 4, 4]));
        assert_eq!(split(3, 0, true), (Threads::All, vec![]));
        // Larger than a pass each.
        on_threads(2, || assert_eq!(Split::pictures(3, 5000, false), Split { passes: 3, threads: Threads::One }));
    }

    #[test]
    fn few_tokens_are_for_all_threads() {
        on_threads(2, || {
            assert_eq!(Split::texts(20, 180, false), Split { passes: 1, threads: Threads::All });
            assert_eq!(Split::texts(1, 500, false), Split { passes: 2, threads: Threads::All });
            assert_eq!(Split::texts(40, 360, false), Split { passes: 2, threads: Threads::One });
            assert_eq!(Split::texts(400, 2100, false), Split { passes: 10, threads: Threads::One });
            assert_eq!(Split::texts(400, 2100, true), Split { passes: 9, threads: Threads::All });
        });
    }
}
