//! Ctrl-C: a flag that long work polls, so that it can remove its temporary files before it ends.

use std::sync::{
    Once,
    atomic::{AtomicBool, Ordering},
};

use crate::console::Interrupted;

// A signal handler can reach nothing else.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static INSTALL: Once = Once::new();

/// From now on an interrupt sets the flag; a second one ends the program at once.
pub(crate) fn watch() {
    INSTALL.call_once(|| {
        // Without a handler an interrupt ends the program at once, which is all that can be done then.
        let _ = ctrlc::set_handler(|| {
            if INTERRUPTED.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
        });
    });
}

/// Whether there was an interrupt.
pub(crate) fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// As an error, for `?`.
pub(crate) fn check() -> Result<(), Interrupted> {
    if interrupted() { Err(Interrupted) } else { Ok(()) }
}
