//! One process at a time.

use std::{
    fs::{File, TryLockError, create_dir_all},
    path::Path,
    thread,
    time::Duration,
};

use crate::{Error, Progress};

/// Between two looks at whether the other one is done.
const LOOK: Duration = Duration::from_millis(50);

/// Held until it is dropped, or the process ends in whatever way.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for whoever has it. The file stays: one that is removed while another waits for it protects nothing.
    pub(crate) fn acquire(path: &Path, progress: &dyn Progress) -> Result<Self, Error> {
        let cannot = |source| Error::io(path, "lock it", source);
        if let Some(folder) = path.parent() {
            create_dir_all(folder).map_err(|source| Error::io(folder, "make this folder", source))?;
        }
        let file = File::options().create(true).truncate(false).write(true).open(path).map_err(cannot)?;
        let mut is_said = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                // Without locks every file still appears whole or not at all; only work is done twice.
                Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => {
                    return Ok(Self { _file: file });
                }
                Err(TryLockError::Error(error)) => return Err(cannot(error)),
                Err(TryLockError::WouldBlock) => {}
            }
            if progress.interrupted() {
                return Err(Error::Interrupted);
            }
            if !is_said {
                progress.note("another process is at it; waiting for what it makes");
                is_said = true;
            }
            thread::sleep(LOOK);
        }
    }
}
