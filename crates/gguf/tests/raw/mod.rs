//! A file as bytes, built without the crate under test, so that it can be wrong in exactly one place.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use bytes::Bytes;
use edgeclip_gguf::{Error, File};

/// The header of a file, and then its data.
pub(crate) struct Raw {
    pub(crate) version: u32,
    pub(crate) keys: Vec<Vec<u8>>,
    pub(crate) tensors: Vec<Vec<u8>>,
    pub(crate) data: Vec<u8>,
    /// The counts in the header, if not the true ones.
    pub(crate) key_count: Option<u64>,
    pub(crate) tensor_count: Option<u64>,
    pub(crate) alignment: usize,
}

pub(crate) fn string(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    [&(text.len() as u64).to_le_bytes(), text].concat()
}

/// A key with the number of a value type, and the bytes of the value.
pub(crate) fn key(name: impl AsRef<[u8]>, ty: u32, value: &[u8]) -> Vec<u8> {
    [&string(name)[..], &ty.to_le_bytes(), value].concat()
}

/// A key with an array, of `count` items of a type, and their bytes.
pub(crate) fn array(name: &str, ty: u32, count: u64, items: &[u8]) -> Vec<u8> {
    key(name, 9, &[&ty.to_le_bytes()[..], &count.to_le_bytes(), items].concat())
}

pub(crate) fn tensor(name: impl AsRef<[u8]>, dims: &[u64], ty: u32, offset: u64) -> Vec<u8> {
    let dims_bytes: Vec<u8> = dims.iter().flat_map(|d| d.to_le_bytes()).collect();
    [&string(name)[..], &(dims.len() as u32).to_le_bytes(), &dims_bytes, &ty.to_le_bytes(), &offset.to_le_bytes()].concat()
}

impl Raw {
    pub(crate) fn new() -> Self {
        Self { version: 3, keys: vec![], tensors: vec![], data: vec![], key_count: None, tensor_count: None, alignment: 32 }
    }

    /// With this key, already in bytes.
    pub(crate) fn key(mut self, key: Vec<u8>) -> Self {
        self.keys.push(key);
        self
    }

    /// With this tensor, already in bytes.
    pub(crate) fn tensor(mut self, tensor: Vec<u8>) -> Self {
        self.tensors.push(tensor);
        self
    }

    /// With data of so many bytes.
    pub(crate) fn data(mut self, len: usize) -> Self {
        self.data = (0..len).map(|i| i as u8).collect();
        self
    }

    pub(crate) fn header(&self) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(self.tensor_count.unwrap_or(self.tensors.len() as u64).to_le_bytes());
        bytes.extend(self.key_count.unwrap_or(self.keys.len() as u64).to_le_bytes());
        bytes.extend(self.keys.concat());
        bytes.extend(self.tensors.concat());
        bytes
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.header();
        bytes.resize(bytes.len().next_multiple_of(self.alignment), 0);
        bytes.extend(&self.data);
        bytes
    }

    pub(crate) fn read(&self) -> Result<File, Error> {
        read(self.bytes())
    }

    /// The message of the error that reading gives, without the path.
    #[track_caller]
    pub(crate) fn refused(&self) -> String {
        refused(self.bytes())
    }
}

pub(crate) fn read(bytes: Vec<u8>) -> Result<File, Error> {
    File::from_bytes(Bytes::from(bytes), "bad.gguf")
}

#[track_caller]
pub(crate) fn refused(bytes: Vec<u8>) -> String {
    let message = read(bytes).expect_err("the file is bad").to_string();
    message.strip_prefix("bad.gguf: ").unwrap_or_else(|| panic!("no path in: {message}")).to_owned()
}
