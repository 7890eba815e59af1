//! The weights' files: one safetensors file, or several with an index.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use safetensors::{
    SafeTensorError,
    tensor::{Dtype, Metadata, TensorInfo},
};
use serde::{Deserialize, de::IgnoredAny};

use super::json;
use crate::{
    Error,
    error::{is_unread, shown},
};

/// Largest header and index that are read. A CLIP model's have some 100 kB; safetensors itself allows 100 MB, which would take several
/// times that in memory.
const HEADER_LIMIT: u64 = 16 << 20;

/// What to do about a file that is not whole.
const AGAIN: &str = "download it again";

/// A mapped file and what is in it, in the order of the data.
#[derive(Debug)]
pub(super) struct WeightFile {
    pub(super) path: PathBuf,
    pub(super) bytes: Bytes,
    pub(super) tensors: Vec<Entry>,
}

/// A tensor as the file describes it, with its data in place.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    pub(super) bytes: Bytes,
}

#[derive(Deserialize)]
struct Header {
    #[serde(rename = "__metadata__")]
    _metadata: Option<IgnoredAny>,
    #[serde(flatten)]
    tensors: HashMap<String, TensorInfo>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: HashMap<String, String>,
}

/// Opens the folder's weights, in the order of their names. As in transformers, a single file wins over an index.
pub(super) fn open(folder: &Path) -> Result<Vec<WeightFile>, Error> {
    let single = folder.join("model.safetensors");
    if single.exists() {
        return Ok(vec![open_file(single)?]);
    }
    let index = folder.join("model.safetensors.index.json");
    if !index.exists() {
        return Err(Error::NoCheckpoint {
            path: folder.to_owned(),
            missing: "model.safetensors",
            unread: unread_weights(folder),
        });
    }
    let malformed = |problem: String| Error::Malformed { path: index.clone(), problem };
    let Index { weight_map } = json::parse(&index, HEADER_LIMIT)?;
    let names: BTreeSet<&String> = weight_map.values().collect();
    let mut files = Vec::new();
    for name in names {
        // A plain name cannot lead out of the folder.
        if name.contains(['/', '\\', ':', '\0']) || name.starts_with('.') || !name.ends_with(".safetensors") {
            return Err(malformed(format!("expected names of safetensors files in the same folder, found \"{}\"", shown(name))));
        }
        files.push(open_file(folder.join(name))?);
    }
    let mut places = HashMap::new();
    for file in &files {
        for tensor in &file.tensors {
            if places.insert(tensor.name.as_str(), &file.path).is_some() {
                return Err(malformed(format!("tensor {} is in two of its files", shown(&tensor.name))));
            }
        }
    }
    for (tensor, name) in &weight_map {
        if places.get(tensor.as_str()).is_none_or(|path| !path.ends_with(name)) {
            return Err(malformed(format!("tensor {} is not in {}, where the index has it", shown(tensor), shown(name))));
        }
    }
    Ok(files)
}

/// Maps a file and checks its header.
fn open_file(path: PathBuf) -> Result<WeightFile, Error> {
    let bytes = edgeclip_mmap::open(&path).map_err(|source| Error::io(&path, "open it", source))?;
    let tensors = entries(&bytes).map_err(|problem| Error::Malformed { path: path.clone(), problem })?;
    Ok(WeightFile { path, bytes, tensors })
}

/// What a safetensors file holds. The library's own entry point adds offsets of the header without checking for overflow, so the length
/// of the file is compared here; the rules for the tensors are the library's.
fn entries(bytes: &Bytes) -> Result<Vec<Entry>, String> {
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(format!("not a safetensors file: expected at least 8 bytes, found {}; {AGAIN}", bytes.len()));
    };
    let length = u64::from_le_bytes(*length);
    if length > HEADER_LIMIT {
        return Err(format!("not a safetensors file: expected a header of at most {HEADER_LIMIT} bytes, found {length}"));
    }
    let header = rest.get(..length as usize);
    let header =
        header.ok_or_else(|| format!("truncated: expected a header of {length} bytes, found {}; {AGAIN}", rest.len()))?;
    let Header { tensors, .. } =
        serde_json::from_slice(header).map_err(|error| format!("the header is unusable: {}", shown(&error.to_string())))?;

    let mut tensors: Vec<(String, TensorInfo)> = tensors.into_iter().collect();
    tensors.sort_by(|(a, left), (b, right)| (left.data_offsets, a).cmp(&(right.data_offsets, b)));
    let expected = Metadata::new(None, tensors.clone()).map_err(|error| described(&error))?.data_len();
    let start = 8 + header.len();
    let found = bytes.len() - start;
    if expected != found {
        let problem = if expected > found { "truncated" } else { "bytes follow the last tensor" };
        return Err(format!("{problem}: expected {expected} bytes of tensors, found {found}; {AGAIN}"));
    }
    let entry = |(name, info): (String, TensorInfo)| {
        let (first, end) = info.data_offsets;
        Entry { name, dtype: info.dtype, shape: info.shape, bytes: bytes.slice(start + first..start + end) }
    };
    Ok(tensors.into_iter().map(entry).collect())
}

fn described(error: &SafeTensorError) -> String {
    match error {
        SafeTensorError::InvalidOffset(name) => {
            format!("tensor {}: its data overlap others or leave a gap before them", shown(name))
        }
        SafeTensorError::TensorInvalidInfo => "a tensor's size is not that of its shape and type".into(),
        SafeTensorError::ValidationOverflow => "a tensor's shape is too large for any file".into(),
        other => format!("the header is unusable: {}", shown(&other.to_string())),
    }
}

/// Weights in formats that are not read, for the message; none if there are some that are.
pub(super) fn unread_weights(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = names.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    if names.iter().any(|name| name.ends_with(".safetensors")) {
        return Vec::new();
    }
    names.retain(|name| is_unread(Path::new(name)));
    names.sort();
    names.truncate(crate::error::SHOWN_NAMES);
    names.iter().map(|name| shown(name)).collect()
}
