//! JSON objects out of untrusted files, with errors that name file and key.

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use serde_json::{Map, Value};

use crate::{Error, error::shown};

/// The whole of a small file.
///
/// # Errors
/// [`Error::Io`], [`Error::TooLarge`] for more than `limit` bytes.
pub(super) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let cannot = |source| Error::io(path, "read it", source);
    // Asked of the path first: opening a named pipe would wait for a writer.
    if !fs::metadata(path).map_err(cannot)?.is_file() {
        return Err(cannot(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")));
    }
    let file = fs::File::open(path).map_err(cannot)?;
    let found = file.metadata().map_err(cannot)?.len();
    let mut bytes = Vec::new();
    if found <= limit {
        // Once more, since the file may grow, or be no file.
        file.take(limit + 1).read_to_end(&mut bytes).map_err(cannot)?;
    }
    let found = found.max(bytes.len() as u64);
    if found > limit { Err(Error::TooLarge { path: path.to_owned(), limit, found }) } else { Ok(bytes) }
}

/// A file's JSON as `T`.
///
/// # Errors
/// Those of [`read`], and [`Error::Malformed`].
pub(super) fn parse<T: serde::de::DeserializeOwned>(path: &Path, limit: u64) -> Result<T, Error> {
    serde_json::from_slice(&read(path, limit)?).map_err(|error| malformed(path, &error))
}

pub(super) fn malformed(path: &Path, error: &serde_json::Error) -> Error {
    Error::Malformed { path: path.to_owned(), problem: format!("not the JSON it should be: {}", shown(&error.to_string())) }
}

/// An object in a file. A key whose value is null counts as absent, as transformers writes keys that were never set.
#[derive(Clone, Debug)]
pub(super) struct Object<'a> {
    path: &'a Path,
    /// Names of the objects around it, each with a dot.
    prefix: String,
    map: Map<String, Value>,
}

impl<'a> Object<'a> {
    /// The object that the file is.
    pub(super) fn read(path: &'a Path, limit: u64) -> Result<Self, Error> {
        Ok(Self { path, prefix: String::new(), map: parse(path, limit)? })
    }

    /// An object that is already there; `path` is for the messages.
    pub(super) fn new(path: &'a Path, map: Map<String, Value>) -> Self {
        Self { path, prefix: String::new(), map }
    }

    /// The object at `key`, if there is one.
    pub(super) fn object(&self, key: &str) -> Result<Option<Self>, Error> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(map)) => {
                Ok(Some(Self { path: self.path, prefix: format!("{}{key}.", self.prefix), map: map.clone() }))
            }
            Some(other) => Err(self.wrong(key, "an object", other)),
        }
    }

    /// An empty object of this name in the same file.
    pub(super) fn empty(&self, key: &str) -> Self {
        Self { path: self.path, prefix: format!("{}{key}.", self.prefix), map: Map::new() }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.map.iter().filter(|(_, value)| !value.is_null()).map(|(key, _)| key.as_str())
    }

    /// The error that the value at `key` is `found`.
    pub(super) fn wrong(&self, key: &str, expected: impl Into<String>, found: &Value) -> Error {
        let found = match found {
            Value::Array(items) if items.len() > 4 => format!("a list of {} items", items.len()),
            Value::Object(map) if map.len() > 4 => format!("an object of {} keys", map.len()),
            Value::String(text) => format!("\"{}\"", shown(text)),
            value => shown(&value.to_string()),
        };
        Error::Key { path: self.path.to_owned(), key: format!("{}{key}", self.prefix), expected: expected.into(), found }
    }

    pub(super) fn size(&self, key: &str) -> Result<Option<usize>, Error> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let size = value.as_u64().and_then(|size| usize::try_from(size).ok());
        size.map(Some).ok_or_else(|| self.wrong(key, "a whole number", value))
    }

    pub(super) fn float(&self, key: &str) -> Result<Option<f32>, Error> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let float = value.as_f64().map(|value| value as f32).filter(|value| value.is_finite());
        float.map(Some).ok_or_else(|| self.wrong(key, "a number", value))
    }

    pub(super) fn truth(&self, key: &str) -> Result<Option<bool>, Error> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| self.wrong(key, "true or false", value))
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&str>, Error> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| self.wrong(key, "a string", value))
    }

    pub(super) fn three(&self, key: &str) -> Result<Option<[f32; 3]>, Error> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let numbers = value.as_array().and_then(|items| {
            let numbers: Option<Vec<f32>> = items.iter().map(|item| item.as_f64().map(|number| number as f32)).collect();
            numbers?.try_into().ok()
        });
        numbers.map(Some).ok_or_else(|| self.wrong(key, "three numbers", value))
    }

    /// A side of a square: a number, or `[side, side]`.
    pub(super) fn side(&self, key: &str) -> Result<Option<usize>, Error> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let side = match value.as_array().map(Vec::as_slice) {
            Some([height, width]) if height == width => height.as_u64(),
            Some(_) => None,
            None => value.as_u64(),
        };
        let side = side.and_then(|side| usize::try_from(side).ok());
        side.map(Some).ok_or_else(|| self.wrong(key, "the side of a square", value))
    }
}
