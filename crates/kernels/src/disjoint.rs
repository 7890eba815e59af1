//! One buffer, written by several threads in places that do not overlap: the columns of a matrix are not slices that could be split.

use std::{marker::PhantomData, ops::Range, slice};

/// A mutable slice whose parts are handed out on the word of the caller.
pub(crate) struct Disjoint<'a, T> {
    first: *mut T,
    len: usize,
    of: PhantomData<&'a mut [T]>,
}

// SAFETY: it stands for the slice that it borrows mutably; `part` asks its callers not to overlap.
unsafe impl<T: Send> Sync for Disjoint<'_, T> {}

impl<'a, T> Disjoint<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self { first: slice.as_mut_ptr(), len: slice.len(), of: PhantomData }
    }

    /// The elements `range`.
    ///
    /// # Safety
    /// No part that overlaps it may be alive.
    ///
    /// # Panics
    /// If the range is not in the slice.
    #[expect(clippy::mut_from_ref, reason = "that is its purpose; see its safety section")]
    pub(crate) unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "{range:?} of {}", self.len);
        // SAFETY: the range lies in the slice borrowed at `new`, which nobody else can reach for `'a`; the caller lets no two parts overlap.
        unsafe { slice::from_raw_parts_mut(self.first.add(range.start), range.len()) }
    }
}
