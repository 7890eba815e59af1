//! `edgeclip.content_id`: what a vector was computed with, in one string.

use edgeclip_gguf::{File, Metadata, TensorInfo};
use sha2::{Digest, Sha256};

use crate::{Error, schema};

/// Hashes the keys that decide a vector and the tensors, in the order of the file. Names, descriptions and origins do not count, so the
/// same model converted twice has one id.
pub struct ContentHasher(Sha256);

impl ContentHasher {
    /// Starts with the deciding keys.
    pub fn new(metadata: &Metadata) -> Self {
        let mut hasher = Self(Sha256::new());
        let mut entries: Vec<_> = metadata.iter().filter(|(key, _)| schema::decides(key)).collect();
        entries.sort_by_key(|(key, _)| *key);
        hasher.number(entries.len());
        for (key, value) in entries {
            hasher.string(key);
            hasher.0.update(value.to_bytes());
        }
        hasher
    }

    /// A tensor begins; its data follow. `type_id` is ggml's, `dims` have the contiguous one first.
    pub fn tensor(&mut self, name: &str, type_id: u32, dims: &[u64]) {
        self.string(name);
        self.0.update(type_id.to_le_bytes());
        self.number(dims.len());
        dims.iter().for_each(|dim| self.0.update(dim.to_le_bytes()));
    }

    /// Some of the current tensor's bytes.
    pub fn data(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// 64 hexadecimal digits.
    pub fn finish(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn number(&mut self, n: usize) {
        self.0.update((n as u64).to_le_bytes());
    }

    fn string(&mut self, s: &str) {
        self.number(s.len());
        self.0.update(s);
    }
}

/// The content id of a file, computed from its bytes (all of them are read).
///
/// # Errors
/// [`Error::Type`] if a tensor's type is unknown, so that its extent is too.
pub fn content_id(file: &File) -> Result<String, Error> {
    let mut hasher = ContentHasher::new(file.metadata());
    for info in file.tensors() {
        let TensorInfo { name, dims, ty, .. } = info;
        let unknown = || Error::Type { file: file.path().to_owned(), name: name.clone(), found: ty.to_string() };
        hasher.tensor(name, ty.id(), dims);
        hasher.data(&file.data(info).ok_or_else(unknown)?);
    }
    Ok(hasher.finish())
}
