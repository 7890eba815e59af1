//! One buffer, written by several threads in places that do not overlap: the columns of a matrix are not slices that could be split.

use std::{marker::PhantomData, ops::Range, slice};

use crate::isa;

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

    /// Where the elements `range` begin. Whoever writes there must have them to himself, as for [`part`](Self::part); of rows that lie between
    /// columns of others that is not the whole range.
    ///
    /// # Panics
    /// If the range is not in the slice.
    pub(crate) fn pointer(&self, range: Range<usize>) -> *mut T {
        assert!(range.start <= range.end && range.end <= self.len, "{range:?} of {}", self.len);
        self.first.wrapping_add(range.start)
    }

    /// Asks for elements that will be written. Does nothing where there is no such instruction.
    pub(crate) fn prefetch(&self, range: Range<usize>) {
        let first: *const u8 = self.first.wrapping_add(range.start).cast();
        // The last byte may be on a line that the steps of a line's length do not touch.
        let bytes = range.len() * size_of::<T>();
        for at in (0..bytes).step_by(64).chain(bytes.checked_sub(1)) {
            isa::prefetch_to_write(first.wrapping_add(at));
        }
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
