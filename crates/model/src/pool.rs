//! Buffers that outlive a call, so that the next one allocates nothing.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

/// Buffers that nobody uses at the moment.
pub(crate) struct Pool<T>(Mutex<Vec<T>>);

impl<T: Default> Pool<T> {
    /// Runs `work` with a buffer of its own: one that was used before, if there is one.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        let mut buffer = self.idle(Vec::pop).unwrap_or_default();
        let result = work(&mut buffer);
        self.idle(|idle| {
            // As many as can be at work at once; what a burst of callers needed beyond that is not kept.
            if idle.len() < rayon::current_num_threads() {
                idle.push(buffer);
            }
        });
        result
    }

    /// The lock is never held while anything is computed, as a waiting thread of the pool may take up another call.
    fn idle<R>(&self, work: impl FnOnce(&mut Vec<T>) -> R) -> R {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self(Mutex::new(Vec::new()))
    }
}

impl<T> fmt::Debug for Pool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back() {
        let pool = Pool::<Vec<u8>>::default();
        pool.with(|outer| {
            outer.push(1);
            // Whoever is at work already keeps its own.
            pool.with(|inner| assert!(inner.is_empty()));
        });
        assert!(pool.idle(|idle| idle.len()) <= rayon::current_num_threads());
        let pool = Pool::<Vec<u8>>::default();
        pool.with(|buffer| buffer.push(7));
        pool.with(|buffer| assert_eq!(buffer, &[7]));
    }
}
