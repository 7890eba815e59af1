//! What a safetensors file holds.

use std::collections::HashMap;

use bytes::Bytes;
use safetensors::{
    SafeTensorError,
    tensor::{Metadata, TensorInfo},
};
use serde::{Deserialize, de::IgnoredAny};

use super::{
    files::AGAIN,
    stored::{Stored, contiguous},
};
use crate::error::shown;

/// Largest header that is read. A CLIP model's has some 100 kB; safetensors itself allows 100 MB, which would take several times that in
/// memory.
const HEADER_LIMIT: u64 = 16 << 20;

#[derive(Deserialize)]
struct Header {
    #[serde(rename = "__metadata__")]
    _metadata: Option<IgnoredAny>,
    #[serde(flatten)]
    tensors: HashMap<String, TensorInfo>,
}

/// Whether a file begins as one of safetensors: a length, then an object. A file that ends with its length is a truncated one.
pub(super) fn is_safetensors(bytes: &[u8]) -> bool {
    bytes.len() == 8 || bytes.get(8) == Some(&b'{')
}

/// The tensors of a file, in the order of the data. The library's own entry point adds offsets of the header without checking for overflow, so the length
/// of the file is compared here; the rules for the tensors are the library's.
pub(super) fn read(bytes: &Bytes) -> Result<Vec<Stored>, String> {
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
        let strides = contiguous(&info.shape);
        Stored { name, dtype: info.dtype, shape: info.shape, strides, bytes: bytes.slice(start + first..start + end) }
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
