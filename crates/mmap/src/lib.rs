//! Read-only file maps, handed out as cheaply cloned [`Bytes`].
//!
//! This is the one `unsafe` outside the kernels. A map is used instead of a read because weights are large, are read once and can
//! then be dropped by the system page by page.
//!
//! # When the file changes under a map
//! The bytes of a mapped file are only as constant as the file. If another program cuts the file short while it is mapped, touching
//! a page past the new end kills the process (SIGBUS on Unix); if it overwrites the file, values change under us. Both need somebody
//! to write into a model file in place. Everything in this project writes to a temporary file and renames, which leaves an open map
//! valid; do the same with other tools.

use std::{fs::File, io, path::Path};

use bytes::Bytes;
use memmap2::Mmap;

/// Maps the whole file read-only. An empty file gives empty bytes.
///
/// # Errors
/// What opening, measuring or mapping the file returned; a path that is no regular file is [`io::ErrorKind::InvalidInput`].
pub fn open(path: &Path) -> io::Result<Bytes> {
    // Asked of the path first: opening a named pipe would wait for a writer.
    let metadata = std::fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder, not a file"));
    }
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let file = File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: the map is read-only and private to this process, and its length is the file's, so every byte of it is readable as long
    // as nobody shortens the file. That last condition cannot be enforced from here; the crate documentation states it, and what
    // follows if it is broken.
    let map = unsafe { Mmap::map(&file)? };
    Ok(Bytes::from_owner(map))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_the_whole_file() {
        let this = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        assert_eq!(open(&this).unwrap(), std::fs::read(&this).unwrap());
    }

    #[test]
    fn a_folder_is_refused() {
        let error = open(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
    }
}
