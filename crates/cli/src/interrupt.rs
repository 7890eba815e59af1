//! Ctrl-C and SIGTERM: long work polls a flag and ends by itself; where nothing polls, waiting for input or in a hurry, the program ends
//! at once, after removing the files that it has under temporary names.

use std::{
    fs,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    process,
    sync::{
        Mutex, MutexGuard, Once, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use crate::console::Interrupted;

// A handler can reach nothing but statics. It runs in a thread of its own, so that it may lock and remove files.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static WAITING: AtomicUsize = AtomicUsize::new(0);
static TEMPORARIES: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
static INSTALL: Once = Once::new();

/// From now on an interrupt sets the flag; while input is waited for, or if it is the second one, it ends the program.
pub(crate) fn watch() {
    INSTALL.call_once(|| {
        // Without a handler an interrupt ends the program at once, which is all that can be done then.
        let _ = ctrlc::set_handler(|| {
            let again = INTERRUPTED.swap(true, Ordering::SeqCst);
            if again || WAITING.load(Ordering::SeqCst) > 0 {
                end();
            }
        });
    });
}

fn end() -> ! {
    // Locked to the end: nothing is put in place any more.
    let temporaries = temporaries();
    for path in temporaries.iter() {
        let _ = fs::remove_file(path);
    }
    let mut stderr = io::stderr();
    // Over the progress bar, if there is one.
    let clear = if stderr.is_terminal() { "\r\x1b[2K" } else { "" };
    let _ = writeln!(stderr, "{clear}error: {Interrupted}");
    process::exit(130)
}

fn temporaries() -> MutexGuard<'static, Vec<PathBuf>> {
    TEMPORARIES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether there was an interrupt.
pub(crate) fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// As an error, for `?`.
pub(crate) fn check() -> Result<(), Interrupted> {
    if interrupted() { Err(Interrupted) } else { Ok(()) }
}

/// Does what may wait for as long as somebody else likes, such as reading from a pipe.
pub(crate) fn waiting<T>(wait: impl FnOnce() -> T) -> Result<T, Interrupted> {
    // Counted first: of an interrupt and this, at least one sees the other.
    WAITING.fetch_add(1, Ordering::SeqCst);
    let done = check().map(|()| wait());
    WAITING.fetch_sub(1, Ordering::SeqCst);
    done
}

/// A file under a temporary name, which an interrupt removes while this lives.
#[derive(Debug)]
pub(crate) struct Temporary {
    path: PathBuf,
}

impl Temporary {
    /// The file need not be there yet.
    pub(crate) fn new(path: PathBuf) -> Self {
        watch();
        temporaries().push(path.clone());
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the file its name, unless the program is just ending.
    pub(crate) fn rename(&self, target: &Path) -> io::Result<()> {
        let _not_ending = temporaries();
        fs::rename(&self.path, target)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let mut temporaries = temporaries();
        if let Some(at) = temporaries.iter().position(|path| *path == self.path) {
            temporaries.swap_remove(at);
        }
    }
}
