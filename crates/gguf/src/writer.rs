//! Writes a file tensor by tensor, so that a converter holds one of them at a time.

use std::{
    collections::HashMap,
    fs,
    io::{self, BufWriter, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use tempfile::TempPath;

use crate::{Error, ErrorKind, Metadata, TensorInfo, TensorType, encode, layout::pad};

/// A tensor to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// The name, of 1 to 63 bytes.
    pub name: String,
    /// The dimensions in ggml's order: `dims[0]` is contiguous, so numpy's shape is the reverse. Up to four, none of them zero.
    pub dims: Vec<u64>,
    /// How the elements are stored. Its block must be known, and `dims[0]` be a multiple of the block's length.
    pub ty: TensorType,
}

impl TensorSpec {
    /// A tensor of this name, these dimensions (contiguous one first) and this type.
    pub fn new(name: impl Into<String>, dims: impl Into<Vec<u64>>, ty: TensorType) -> Self {
        Self { name: name.into(), dims: dims.into(), ty }
    }
}

/// Writes a GGUF file of version 3 into a temporary file in the folder of the target, and puts it in place when all of it is there.
///
/// Until [`finish`](Self::finish) the target is untouched: readers that have the old file mapped keep it, and a program that fails
/// or is interrupted leaves no half file. (A process that is killed leaves a `.edgeclip-*.tmp`.) A target that is a symbolic link is
/// replaced itself, not what it points to. The new file has the permissions that any new file gets.
#[derive(Debug)]
pub struct Writer {
    // Dropped in this order: the file is closed before it is removed.
    out: BufWriter<fs::File>,
    temp: TempPath,
    path: PathBuf,
    alignment: u64,
    tensors: Vec<TensorInfo>,
    /// Where the bytes of each string value are in the file, and how many.
    strings: HashMap<String, (u64, u64)>,
    file_bytes: u64,
    /// The tensor that is being written, and how many of its bytes have been.
    current: usize,
    written: u64,
    broken: bool,
}

impl Writer {
    /// Checks what is to be written and writes the header. Nothing is changed at `path` yet.
    ///
    /// # Errors
    /// Whatever the reader would refuse, a tensor type of unknown size, a target that is no regular file, and what the system refuses.
    pub fn create(path: impl AsRef<Path>, metadata: &Metadata, tensors: &[TensorSpec]) -> Result<Self, Error> {
        let path = path.as_ref();
        let header = encode::header(metadata, tensors).map_err(|kind| Error::new(path, kind))?;
        // Renaming onto a device such as /dev/null would replace it, and onto a folder fail after all the work.
        match fs::metadata(path) {
            Ok(found) if !found.is_file() => return Err(Error::new(path, ErrorKind::NotAFile)),
            _ => {}
        }
        let (file, temp) =
            temporary_file(path).map_err(|e| Error::io(path, "create a temporary file in its folder", e))?.into_parts();
        let mut writer = Self {
            out: BufWriter::with_capacity(1 << 16, file),
            temp,
            path: path.to_owned(),
            alignment: header.alignment,
            tensors: header.tensors,
            strings: header.strings,
            file_bytes: header.file_bytes,
            current: 0,
            written: 0,
            broken: false,
        };
        writer.put(|out| out.write_all(&header.bytes))?;
        Ok(writer)
    }

    /// Bytes that the finished file has.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// The temporary name, for programs that have to end without dropping this.
    pub fn temporary_path(&self) -> &Path {
        &self.temp
    }

    /// The tensor whose bytes come next; `None` when all are written.
    pub fn current(&self) -> Option<&TensorInfo> {
        self.tensors.get(self.current)
    }

    /// Says that `name` comes next. This need not be called, but notices a tensor that was left short or out of turn at once and by
    /// name, where [`write`](Self::write) alone would put the bytes of one into another.
    ///
    /// # Errors
    /// [`ErrorKind::TensorBytes`] when the tensor before it is not complete, [`ErrorKind::TensorOrder`] when it is another's turn.
    pub fn begin(&mut self, name: &str) -> Result<(), Error> {
        match self.tensors.get(self.current) {
            Some(tensor) if self.written > 0 => {
                let expected = tensor.bytes.unwrap_or(0);
                Err(self.error(ErrorKind::TensorBytes { name: tensor.name.clone(), expected, found: self.written }))
            }
            Some(tensor) if tensor.name == name => Ok(()),
            other => {
                let expected = other.map(|tensor| tensor.name.clone());
                Err(self.error(ErrorKind::TensorOrder { expected, found: Some(name.to_owned()) }))
            }
        }
    }

    /// Writes the next bytes of the current tensor, in pieces of any size; when it is complete the next one is current.
    ///
    /// # Errors
    /// [`ErrorKind::TensorBytes`] when they are more than the tensor has left, [`ErrorKind::TensorOrder`] after the last tensor; then
    /// nothing is written. What the system refuses; then the file cannot be completed any more.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        let Some(tensor) = self.tensors.get(self.current) else {
            return Err(self.error(ErrorKind::TensorOrder { expected: None, found: None }));
        };
        let expected = tensor.bytes.unwrap_or(0);
        let found = self.written.saturating_add(bytes.len() as u64);
        if found > expected {
            return Err(self.error(ErrorKind::TensorBytes { name: tensor.name.clone(), expected, found }));
        }
        let complete = found == expected;
        let padding = if complete { pad(expected, self.alignment).unwrap_or(expected) - expected } else { 0 };
        self.put(|out| {
            out.write_all(bytes)?;
            io::copy(&mut io::Read::take(io::repeat(0), padding), out).map(drop)
        })?;
        if complete {
            self.current += 1;
        }
        self.written = if complete { 0 } else { found };
        Ok(())
    }

    /// Overwrites a string value of the header by one of the same length: for what is known only after the tensors, such as their hash.
    ///
    /// # Errors
    /// [`ErrorKind::NothingToPatch`] when there is no such key or it holds no string, [`ErrorKind::PatchLength`] when the lengths
    /// differ, and what the system refuses.
    pub fn patch_string(&mut self, key: &str, value: &str) -> Result<(), Error> {
        let Some(&(position, expected)) = self.strings.get(key) else {
            return Err(self.error(ErrorKind::NothingToPatch { key: key.to_owned() }));
        };
        let found = value.len() as u64;
        if found != expected {
            return Err(self.error(ErrorKind::PatchLength { key: key.to_owned(), expected, found }));
        }
        self.put(|out| {
            let end = out.stream_position()?;
            out.seek(SeekFrom::Start(position))?;
            out.write_all(value.as_bytes())?;
            out.seek(SeekFrom::Start(end)).map(drop)
        })
    }

    /// [`complete`](Self::complete) and [`publish`](Completed::publish) in one.
    ///
    /// # Errors
    /// Those of the two. The target is untouched then, and the temporary file is gone.
    pub fn finish(self) -> Result<(), Error> {
        self.complete()?.publish()
    }

    /// Checks that every tensor is complete and makes sure that the file is on the disk, under its temporary name still, so that it can
    /// be read back and judged before anybody sees it.
    ///
    /// # Errors
    /// [`ErrorKind::TensorBytes`] with the first tensor that is not complete, and what the system refuses. The target is untouched
    /// then, and the temporary file is gone.
    pub fn complete(mut self) -> Result<Completed, Error> {
        if let Some(tensor) = self.tensors.get(self.current) {
            let expected = tensor.bytes.unwrap_or(0);
            return Err(self.error(ErrorKind::TensorBytes { name: tensor.name.clone(), expected, found: self.written }));
        }
        self.put(|out| {
            out.flush()?;
            out.get_ref().sync_all()
        })?;
        let Self { temp, path, .. } = self;
        Ok(Completed { temp, path })
    }

    fn error(&self, kind: ErrorKind) -> Error {
        Error::new(&self.path, kind)
    }

    /// After a failed write nobody knows what is in the file, so there is no second try.
    fn put(&mut self, write: impl FnOnce(&mut BufWriter<fs::File>) -> io::Result<()>) -> Result<(), Error> {
        if self.broken {
            return Err(self.error(ErrorKind::Broken));
        }
        write(&mut self.out).map_err(|source| {
            self.broken = true;
            Error::io(&self.path, "write it", source)
        })
    }
}

/// A whole file under its temporary name. Dropping it removes it.
#[derive(Debug)]
pub struct Completed {
    temp: TempPath,
    path: PathBuf,
}

impl Completed {
    /// The temporary name.
    pub fn temporary_path(&self) -> &Path {
        &self.temp
    }

    /// Puts the file in the target's place at once. Close every map of it first: some systems do not rename mapped files.
    ///
    /// # Errors
    /// What the system refuses. The target is untouched then, and the temporary file is gone.
    pub fn publish(self) -> Result<(), Error> {
        let Self { temp, path } = self;
        temp.persist(&path).map_err(|e| Error::io(&path, "move the finished file into its place", e.error))?;
        sync_folder(&path);
        Ok(())
    }
}

/// The folder that a file is in.
fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// In the target's folder, because renaming works within a file system only.
fn temporary_file(path: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".edgeclip-").suffix(".tmp");
    // The default of 0600 is for secrets in a shared folder; the umask is applied to this.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder(path))
}

/// Makes the renaming itself last through a power cut. The file is whole in either case, so a file system that refuses is no error.
fn sync_folder(path: &Path) {
    if cfg!(unix) {
        let _ = fs::File::open(folder(path)).and_then(|folder| folder.sync_all());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As when the disk is full: some of the bytes are there, and nobody knows which.
    #[test]
    fn after_a_failed_write_the_file_cannot_be_finished() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.gguf");
        let spec = [TensorSpec::new("w", [4], TensorType::I8)];
        let mut writer = Writer::create(&path, &Metadata::new(), &spec).unwrap();
        let writable = std::mem::replace(&mut writer.out, BufWriter::with_capacity(0, fs::File::open(&writer.temp).unwrap()));
        assert!(matches!(writer.write(&[1; 4]).unwrap_err().kind(), ErrorKind::Io { .. }));
        // Even if writing works again.
        writer.out = writable;
        assert!(matches!(writer.write(&[1; 4]).unwrap_err().kind(), ErrorKind::Broken));
        assert!(writer.finish().is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
