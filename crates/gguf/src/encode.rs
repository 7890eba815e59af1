//! The bytes of a header, version 3.

use std::collections::{HashMap, HashSet};

use crate::{
    Array, ErrorKind, Metadata, TensorInfo, TensorSpec, Value,
    layout::{alignment, check_key, check_limit, pad, tensor_bytes},
    limits,
};

pub(crate) struct Header {
    /// Everything before the data, padded.
    pub(crate) bytes: Vec<u8>,
    pub(crate) alignment: u64,
    pub(crate) tensors: Vec<TensorInfo>,
    /// Position and length of each string value.
    pub(crate) strings: HashMap<String, (u64, u64)>,
    /// Bytes of the whole file.
    pub(crate) file_bytes: u64,
}

/// Checks everything that the reader checks, and encodes it.
pub(crate) fn header(metadata: &Metadata, specs: &[TensorSpec]) -> Result<Header, ErrorKind> {
    check_limit(metadata.len() as u64, limits::KEYS, || "number of keys".to_owned())?;
    check_limit(specs.len() as u64, limits::TENSORS, || "number of tensors".to_owned())?;
    let alignment = alignment(metadata)?;
    let (tensors, data_bytes) = place(specs, alignment)?;

    let mut bytes = Vec::new();
    bytes.extend(b"GGUF");
    bytes.extend(3u32.to_le_bytes());
    bytes.extend((tensors.len() as u64).to_le_bytes());
    bytes.extend((metadata.len() as u64).to_le_bytes());
    let mut strings = HashMap::new();
    for (key, value) in metadata.iter() {
        check_key(key)?;
        put_string(&mut bytes, key);
        check_value(key, value)?;
        put_value(&mut bytes, value);
        if let Value::String(text) = value {
            strings.insert(key.to_owned(), ((bytes.len() - text.len()) as u64, text.len() as u64));
        }
    }
    for tensor in &tensors {
        put_string(&mut bytes, &tensor.name);
        bytes.extend((tensor.dims.len() as u32).to_le_bytes());
        put_all(&mut bytes, &tensor.dims, u64::to_le_bytes);
        bytes.extend(tensor.ty.id().to_le_bytes());
        bytes.extend(tensor.offset.to_le_bytes());
    }
    check_limit(bytes.len() as u64, limits::HEADER_BYTES, || "bytes of the header".to_owned())?;
    // Neither overflows: the header is at most 128 MiB, the alignment a u32, and `place` keeps the data below 2^63.
    let data_start = pad(bytes.len() as u64, alignment).unwrap_or(u64::MAX);
    bytes.resize(data_start as usize, 0);
    Ok(Header { bytes, alignment, tensors, strings, file_bytes: data_start.saturating_add(data_bytes) })
}

/// Gives each tensor its place; also the bytes of all data with padding.
fn place(specs: &[TensorSpec], alignment: u64) -> Result<(Vec<TensorInfo>, u64), ErrorKind> {
    let mut tensors = Vec::with_capacity(specs.len());
    let mut names = HashSet::new();
    let mut offset = 0u64;
    for TensorSpec { name, dims, ty } in specs {
        let size = tensor_bytes(name, dims, *ty)?.ok_or_else(|| ErrorKind::UnknownTensorType { name: name.clone(), ty: *ty })?;
        if !names.insert(name.as_str()) {
            return Err(ErrorKind::DuplicateTensor { name: name.clone() });
        }
        tensors.push(TensorInfo { name: name.clone(), dims: dims.clone(), ty: *ty, offset, bytes: Some(size) });
        offset = (offset.checked_add(size))
            .and_then(|end| pad(end, alignment))
            .filter(|&end| end < 1 << 63)
            .ok_or_else(|| ErrorKind::DimensionSize { name: name.clone(), dims: dims.clone() })?;
    }
    Ok((tensors, offset))
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn put_all<const N: usize, T: Copy>(out: &mut Vec<u8>, items: &[T], bytes: fn(T) -> [u8; N]) {
    out.extend(items.iter().flat_map(|&item| bytes(item)));
}

fn check_string(key: &str, text: &str) -> Result<(), ErrorKind> {
    check_limit(text.len() as u64, limits::STRING_BYTES, || format!("key {}: bytes of a string", key.escape_debug()))
}

fn check_value(key: &str, value: &Value) -> Result<(), ErrorKind> {
    match value {
        Value::String(text) => check_string(key, text),
        Value::Array(array) => {
            check_limit(array.len() as u64, limits::ARRAY_ITEMS, || format!("key {}: items of an array", key.escape_debug()))?;
            if let Array::String(texts) = array { texts.iter().try_for_each(|text| check_string(key, text)) } else { Ok(()) }
        }
        _ => Ok(()),
    }
}

impl Value {
    /// The type and the value as a file holds them.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_value(&mut bytes, self);
        bytes
    }
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    out.extend(value.value_type().id().to_le_bytes());
    match value {
        Value::U8(v) => out.push(*v),
        Value::I8(v) => out.extend(v.to_le_bytes()),
        Value::U16(v) => out.extend(v.to_le_bytes()),
        Value::I16(v) => out.extend(v.to_le_bytes()),
        Value::U32(v) => out.extend(v.to_le_bytes()),
        Value::I32(v) => out.extend(v.to_le_bytes()),
        Value::F32(v) => out.extend(v.to_le_bytes()),
        Value::Bool(v) => out.push(u8::from(*v)),
        Value::String(v) => put_string(out, v),
        Value::Array(array) => put_array(out, array),
        Value::U64(v) => out.extend(v.to_le_bytes()),
        Value::I64(v) => out.extend(v.to_le_bytes()),
        Value::F64(v) => out.extend(v.to_le_bytes()),
    }
}

fn put_array(out: &mut Vec<u8>, array: &Array) {
    out.extend(array.item_type().id().to_le_bytes());
    out.extend((array.len() as u64).to_le_bytes());
    match array {
        Array::U8(v) => out.extend(v),
        Array::I8(v) => put_all(out, v, i8::to_le_bytes),
        Array::U16(v) => put_all(out, v, u16::to_le_bytes),
        Array::I16(v) => put_all(out, v, i16::to_le_bytes),
        Array::U32(v) => put_all(out, v, u32::to_le_bytes),
        Array::I32(v) => put_all(out, v, i32::to_le_bytes),
        Array::F32(v) => put_all(out, v, f32::to_le_bytes),
        Array::Bool(v) => out.extend(v.iter().map(|&b| u8::from(b))),
        Array::String(v) => v.iter().for_each(|text| put_string(out, text)),
        Array::U64(v) => put_all(out, v, u64::to_le_bytes),
        Array::I64(v) => put_all(out, v, i64::to_le_bytes),
        Array::F64(v) => put_all(out, v, f64::to_le_bytes),
    }
}
