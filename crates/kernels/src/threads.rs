//! Whether a kernel may spread its work.

use rayon::prelude::*;

/// Where a kernel computes.
///
/// Whoever has as many inputs as threads gives each thread its own and asks for [`Threads::One`] below; whoever has a single one asks for
/// [`Threads::All`]. Results are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// On the calling thread.
    One,
    /// On all threads of rayon's current pool.
    All,
}

impl Threads {
    /// How many there are.
    pub fn count(self) -> usize {
        match self {
            Self::One => 1,
            Self::All => rayon::current_num_threads(),
        }
    }

    /// Calls `task` for each of `0..tasks`.
    pub(crate) fn for_each(self, tasks: usize, task: impl Fn(usize) + Sync + Send) {
        if self == Self::One || tasks == 1 || rayon::current_num_threads() == 1 {
            (0..tasks).for_each(task);
        } else {
            (0..tasks).into_par_iter().with_max_len(1).for_each(task);
        }
    }
}
