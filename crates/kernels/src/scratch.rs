//! Each thread's own buffers, kept between calls.

use std::cell::RefCell;

use crate::aligned::Aligned;

/// Buffers for whatever a kernel is in the middle of.
pub(crate) struct Scratch {
    pub(crate) floats: [Aligned<f32>; 5],
    pub(crate) bytes: Aligned<i8>,
}

impl Scratch {
    const fn new() -> Self {
        Self { floats: [const { Aligned::new() }; 5], bytes: Aligned::new() }
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch::new()) };
}

/// Calls `work` with the thread's buffers. They hold whatever the last user left.
pub(crate) fn with<T>(work: impl FnOnce(&mut Scratch) -> T) -> T {
    SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
        Ok(mut scratch) => work(&mut scratch),
        // A thread that waits inside a kernel may be given another kernel's task.
        Err(_) => work(&mut Scratch::new()),
    })
}
