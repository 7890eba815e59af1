//! sha256 of files, computed once: what was found is kept with the file's size and time of change.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use sha2::{Digest, Sha256};

use crate::{Error, Progress, name::is_sha256};

/// A folder with a file for each sum.
#[derive(Clone, Debug)]
pub(crate) struct Sums {
    folder: PathBuf,
}

impl Sums {
    pub(crate) fn new(cache: &Path) -> Self {
        Self { folder: cache.join("sums") }
    }

    /// The sha256 of a file in hexadecimal digits.
    pub(crate) fn sha256(&self, path: &Path, progress: &dyn Progress) -> Result<String, Error> {
        let cannot = |source| Error::io(path, "read it", source);
        let mut file = File::open(path).map_err(cannot)?;
        let found = file.metadata().map_err(cannot)?;
        let key = key(path, &found).map_err(cannot)?;
        let kept = self.folder.join(key);
        if let Ok(sum) = fs::read_to_string(&kept)
            && is_sha256(&sum)
        {
            return Ok(sum);
        }
        progress.begin(&format!("checking {}", path.file_name().unwrap_or_default().to_string_lossy()), found.len());
        let mut hasher = Sha256::new();
        hash(&mut file, &mut hasher, progress).map_err(|source| match source.kind() {
            io::ErrorKind::Interrupted => Error::Interrupted,
            _ => cannot(source),
        })?;
        let sum = hex(&hasher.finalize());
        self.keep(&kept, &sum);
        Ok(sum)
    }

    /// Keeps what somebody else has found.
    #[cfg(feature = "download")]
    pub(crate) fn remember(&self, path: &Path, sum: &str) {
        if let Ok(key) = fs::metadata(path).and_then(|found| key(path, &found)) {
            self.keep(&self.folder.join(key), sum);
        }
    }

    fn keep(&self, kept: &Path, sum: &str) {
        // A cache that cannot be written only makes the next time as slow as this one.
        let _ = fs::create_dir_all(&self.folder).and_then(|()| replace(kept, sum.as_bytes()));
    }
}

fn key(path: &Path, found: &fs::Metadata) -> io::Result<String> {
    let path = fs::canonicalize(path)?;
    let changed = found.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut hasher = Sha256::new();
    hasher.update(path.as_os_str().as_encoded_bytes());
    hasher.update(format!("\0{}\0{}", found.len(), changed.as_nanos()));
    Ok(hex(&hasher.finalize()))
}

/// Hashes the rest of a file; an interrupt is an error of kind [`io::ErrorKind::Interrupted`].
pub(crate) fn hash(file: &mut File, hasher: &mut Sha256, progress: &dyn Progress) -> io::Result<u64> {
    let mut buffer = vec![0; 1 << 20];
    let mut total = 0;
    loop {
        if progress.interrupted() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match file.read(&mut buffer)? {
            0 => return Ok(total),
            n => {
                hasher.update(&buffer[..n]);
                progress.advance(n as u64);
                total += n as u64;
            }
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a small file under another name first.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    fs::write(&temporary, bytes)?;
    fs::rename(&temporary, path).inspect_err(|_| drop(fs::remove_file(&temporary)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_computed_again_when_the_file_has_changed() {
        let root = tempfile::tempdir().unwrap();
        let (sums, path) = (Sums::new(root.path()), root.path().join("x"));
        fs::write(&path, "abc").unwrap();
        // FIPS 180-2's example.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for _ in 0..2 {
            assert_eq!(sums.sha256(&path, &()).unwrap(), abc);
        }
        fs::write(&path, "abcd").unwrap();
        assert_ne!(sums.sha256(&path, &()).unwrap(), abc);
        // A sum that is no sum is not believed.
        for kept in fs::read_dir(root.path().join("sums")).unwrap() {
            fs::write(kept.unwrap().path(), "x").unwrap();
        }
        fs::write(&path, "abc").unwrap();
        assert_eq!(sums.sha256(&path, &()).unwrap(), abc);
        assert!(sums.sha256(&root.path().join("none"), &()).unwrap_err().to_string().contains("cannot read it"));
    }
}
