//! Standard output, or a file that appears when all of it is there.

use std::{
    fs::{self, File},
    io::{self, BufWriter, StdoutLock, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow};
use serde::Serialize;

use crate::interrupt::Temporary;

/// Where bytes go. A file is written under another name and renamed by [`commit`](Sink::commit); dropped without it, or interrupted, nothing
/// is left.
pub(crate) enum Sink {
    Stdout(BufWriter<StdoutLock<'static>>),
    File { writer: BufWriter<File>, temporary: Option<Temporary>, target: PathBuf },
}

impl Sink {
    /// The file, or standard output without one.
    pub(crate) fn open(target: Option<&Path>) -> Result<Self> {
        let Some(target) = target else {
            return Ok(Self::Stdout(BufWriter::new(io::stdout().lock())));
        };
        let cannot = |error: io::Error| anyhow!("{}: cannot write it: {error}; is there such a folder?", target.display());
        match fs::metadata(target) {
            // A device or pipe is written to; renaming would replace it.
            Ok(found) if !found.is_file() => {
                let file = File::options().write(true).open(target).map_err(cannot)?;
                Ok(Self::File { writer: BufWriter::new(file), temporary: None, target: target.to_owned() })
            }
            _ => {
                let target = behind_links(target).map_err(cannot)?;
                let mut name = std::ffi::OsString::from(".");
                name.push(target.file_name().with_context(|| format!("{}: expected the name of a file", target.display()))?);
                name.push(format!(".{}.tmp", std::process::id()));
                let temporary = Temporary::new(target.with_file_name(name));
                let file = File::create_new(temporary.path()).map_err(cannot)?;
                Ok(Self::File { writer: BufWriter::new(file), temporary: Some(temporary), target })
            }
        }
    }

    /// A value as JSON that people can read, and the end of its line.
    pub(crate) fn write_json(&mut self, value: &impl Serialize) -> Result<()> {
        serde_json::to_writer_pretty(&mut *self, value).map_err(io::Error::from)?;
        Ok(self.write_all(b"\n")?)
    }

    /// Puts everything in place.
    pub(crate) fn commit(mut self) -> Result<()> {
        self.flush()?;
        if let Self::File { writer, temporary, target } = &mut self
            && let Some(written) = &*temporary
        {
            writer.get_ref().sync_all().with_context(|| format!("{}: cannot write it", target.display()))?;
            written.rename(target).with_context(|| format!("{}: cannot put it in place", target.display()))?;
            *temporary = None;
        }
        Ok(())
    }

    /// The same error with the name of what could not be written. Its kind stays: a broken pipe is still one.
    fn named(&self, error: io::Error) -> io::Error {
        let name = match self {
            Self::Stdout(_) => "standard output".to_owned(),
            Self::File { target, .. } => target.display().to_string(),
        };
        io::Error::new(error.kind(), format!("{name}: cannot write it: {error}"))
    }
}

/// The file that a symbolic link leads to, whether it is there or not; any other path as it is. What is written to a link goes behind it,
/// as everywhere; renaming would replace the link.
pub(crate) fn behind_links(path: &Path) -> io::Result<PathBuf> {
    // As many as Linux follows.
    const LINKS: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        match fs::read_link(&path) {
            Ok(target) => path = path.parent().unwrap_or(Path::new("")).join(target),
            // No link, or nothing.
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("too many symbolic links"))
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match self {
            Self::Stdout(writer) => writer.write(bytes),
            Self::File { writer, .. } => writer.write(bytes),
        };
        written.map_err(|error| self.named(error))
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = match self {
            Self::Stdout(writer) => writer.flush(),
            Self::File { writer, .. } => writer.flush(),
        };
        flushed.map_err(|error| self.named(error))
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if let Self::File { temporary: Some(temporary), .. } = self {
            let _ = fs::remove_file(temporary.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("out.json");
        fs::write(&target, "old").unwrap();
        let mut sink = Sink::open(Some(&target)).unwrap();
        sink.write_all(b"new").unwrap();
        drop(sink);
        assert_eq!(fs::read(&target).unwrap(), b"old");
        let mut sink = Sink::open(Some(&target)).unwrap();
        sink.write_all(b"new").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"old");
        sink.commit().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1, "no temporary file is left");
        let error = Sink::open(Some(&root.path().join("no/out.json"))).err().unwrap();
        assert!(error.to_string().contains("is there such a folder?"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn links_are_written_through() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        fs::create_dir(path("there")).unwrap();
        std::os::unix::fs::symlink("there/out", path("near")).unwrap();
        std::os::unix::fs::symlink(path("near"), path("far")).unwrap();
        // The first time the links lead nowhere yet.
        for text in ["first", "second"] {
            let mut sink = Sink::open(Some(&path("far"))).unwrap();
            sink.write_all(text.as_bytes()).unwrap();
            sink.commit().unwrap();
            assert_eq!(fs::read_to_string(path("there/out")).unwrap(), text);
            assert!(path("far").is_symlink() && path("near").is_symlink());
        }
        std::os::unix::fs::symlink("circle", path("circle")).unwrap();
        assert!(Sink::open(Some(&path("circle"))).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_device_is_not_replaced() {
        let mut sink = Sink::open(Some(Path::new("/dev/null"))).unwrap();
        sink.write_all(b"x").unwrap();
        sink.commit().unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
