//! A GGUF file, fully checked before anything of it can be seen.

use std::{
    collections::HashMap,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use edgeclip_mmap::Map;

use crate::{
    Error, ErrorKind, FromValue, Metadata, TensorInfo,
    layout::{alignment, pad},
    parser::Parser,
};

/// A GGUF file of version 2 or 3, little-endian. Cloning it is cheap; the data are shared.
///
/// Opening reads the header only and checks all of it: see [`ErrorKind`] for the rules. They are those of ggml's own reader, and a few
/// stricter ones that no real file breaks: keys and strings are UTF-8, truth values are 0 or 1, no dimension is zero, nothing follows
/// the last tensor's padding, and the counts have [`limits`](crate::limits). Three things are accepted because real files have them: the
/// padding of the last tensor may be missing, a tensor may have no dimensions (then it has one element), and types may be unknown.
/// Tensors of unknown types are listed, but have no data, and the tensor after one has to start behind it at the next aligned
/// position or later.
#[derive(Clone, Debug)]
pub struct File {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    map: Map,
    version: u32,
    alignment: u64,
    data_start: u64,
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
    index: HashMap<String, usize>,
}

impl File {
    /// Maps a file and checks it.
    ///
    /// # Errors
    /// When it cannot be mapped ([`ErrorKind::Io`]) or breaks a rule.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let map = edgeclip_mmap::open(path).map_err(|source| Error::io(path, "open it", source))?;
        Self::from_bytes(map, path)
    }

    /// Checks a file that is already mapped or in memory; `label` stands for its path in errors.
    ///
    /// # Errors
    /// When it breaks a rule.
    pub fn from_bytes(bytes: impl Into<Map>, label: impl AsRef<Path>) -> Result<Self, Error> {
        let (map, path) = (bytes.into(), label.as_ref());
        let mut parser = Parser::new(path, map.bytes());
        let (version, tensor_count, key_count) = parser.start()?;
        let metadata = parser.metadata(key_count)?;
        let alignment = alignment(&metadata).map_err(|kind| Error::new(path, kind))?;
        let mut tensors = Vec::new();
        let mut index = HashMap::new();
        for i in 0..tensor_count {
            let tensor = parser.tensor(i)?;
            if index.insert(tensor.name.clone(), tensors.len()).is_some() {
                return Err(Error::new(path, ErrorKind::DuplicateTensor { name: tensor.name }));
            }
            tensors.push(tensor);
        }
        let header = parser.position();
        let data_start =
            check_places(&tensors, header, alignment, map.bytes().len() as u64).map_err(|kind| Error::new(path, kind))?;
        let path = path.to_owned();
        Ok(Self { inner: Arc::new(Inner { path, map, version, alignment, data_start, metadata, tensors, index }) })
    }

    /// The path, or the label.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// The version of the container: 2 or 3.
    pub fn version(&self) -> u32 {
        self.inner.version
    }

    /// Every tensor starts at a multiple of this, counted from the start of the file too.
    pub fn alignment(&self) -> u64 {
        self.inner.alignment
    }

    /// Where the tensors' data start in the file; [`TensorInfo::offset`] counts from here.
    pub fn data_start(&self) -> u64 {
        self.inner.data_start
    }

    /// Bytes of the whole file.
    pub fn file_bytes(&self) -> u64 {
        self.inner.map.bytes().len() as u64
    }

    /// Keys and values.
    pub fn metadata(&self) -> &Metadata {
        &self.inner.metadata
    }

    /// The tensors, in the order of their data.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.inner.tensors
    }

    /// The tensor of this name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.inner.index.get(name).map(|&i| &self.inner.tensors[i])
    }

    /// A tensor's data, shared with the file: rows of blocks, `dims[0]` contiguous, little-endian. `None` if the block of its type is
    /// unknown.
    ///
    /// In a file that [`open`](Self::open) mapped, the address is a multiple of 8, because a map starts at a page.
    pub fn data(&self, tensor: &TensorInfo) -> Option<Bytes> {
        Some(self.inner.map.bytes().slice(self.range(tensor)?))
    }

    /// Says that a tensor's data have been read and will not be soon, so that what is mapped of them no longer counts as memory of this process.
    /// They can be read again at any time. In a file that is in memory nothing changes.
    pub fn release(&self, tensor: &TensorInfo) {
        if let Some(range) = self.range(tensor) {
            self.inner.map.release(range);
        }
    }

    /// Where a tensor's data are in the file.
    fn range(&self, tensor: &TensorInfo) -> Option<Range<usize>> {
        // Checked once more: `tensor` may be of another file.
        let start = self.inner.data_start.checked_add(tensor.offset)?;
        let end = start.checked_add(tensor.bytes?)?;
        let range = usize::try_from(start).ok()?..usize::try_from(end).ok()?;
        (range.end <= self.inner.map.bytes().len()).then_some(range)
    }

    /// The value of a key as the type that the caller needs, or `None` if there is no such key.
    ///
    /// `T` is an integer, `f32`, `f64`, `bool`, `&str`, `String`, `&Array`, `&Value`, [`&Strings`](crate::Strings) or a slice such as `&[f32]`; see [`FromValue`]
    /// for what is converted.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`] when the value is of another type, or an integer out of range.
    pub fn get<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<Option<T>, Error> {
        let Some(value) = self.inner.metadata.get(key) else {
            return Ok(None);
        };
        T::from_value(value).map(Some).ok_or_else(|| {
            let kind = ErrorKind::WrongType { key: key.to_owned(), expected: T::EXPECTED, found: value.describe() };
            Error::new(self.path(), kind)
        })
    }

    /// Like [`get`](Self::get), for a key that has to be there.
    ///
    /// # Errors
    /// [`ErrorKind::MissingKey`], and those of [`get`](Self::get).
    pub fn require<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<T, Error> {
        self.get(key)?
            .ok_or_else(|| Error::new(self.path(), ErrorKind::MissingKey { key: key.to_owned(), expected: T::EXPECTED }))
    }
}

/// Checks that the tensors follow each other without gaps and lie in the file; gives the start of the data.
fn check_places(tensors: &[TensorInfo], header: u64, alignment: u64, file: u64) -> Result<u64, ErrorKind> {
    let huge = |name: &str| ErrorKind::BeyondFile { name: name.to_owned(), expected: u64::MAX, found: file };
    // Without overflow: the header is at most 128 MiB and the alignment a u32.
    let data_start = pad(header, alignment).unwrap_or(u64::MAX);
    // The next tensor's offset; only the least it can be behind a tensor of unknown size.
    let (mut expected, mut at_least) = (0, false);
    // Where the last tensor's data end in the file, without padding.
    let mut end = header;
    for tensor in tensors {
        let (name, found) = (|| tensor.name.clone(), tensor.offset);
        if !found.is_multiple_of(alignment) {
            return Err(ErrorKind::Misaligned { name: name(), alignment, found });
        }
        if found < expected || (found > expected && !at_least) {
            return Err(ErrorKind::Misplaced { name: name(), expected, found, at_least });
        }
        at_least = tensor.bytes.is_none();
        // A tensor of unknown type has an element at least, so a byte.
        let offset_end = found.checked_add(tensor.bytes.unwrap_or(1)).ok_or_else(|| huge(&tensor.name))?;
        end = data_start.checked_add(offset_end).ok_or_else(|| huge(&tensor.name))?;
        if end > file {
            return Err(ErrorKind::BeyondFile { name: name(), expected: end, found: file });
        }
        expected = pad(offset_end, alignment).ok_or_else(|| huge(&tensor.name))?;
    }
    // A file with no tensors may end with its header; a tensor of unknown size may go on to the end of the file.
    let padded = if tensors.is_empty() { data_start } else { pad(end, alignment).unwrap_or(u64::MAX) };
    if !at_least && file > padded {
        return Err(ErrorKind::TrailingBytes { expected: padded, found: file });
    }
    Ok(data_start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_can_be_shared_between_threads() {
        fn shared<T: Send + Sync + Clone>() {}
        shared::<File>();
    }
}
