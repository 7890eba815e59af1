//! Reads the header: counts, metadata, tensor infos. Every read is checked against what is left of the file, and every count against
//! what is left and a limit, before anything is allocated.

use std::path::Path;

use crate::{
    Array, Error, ErrorKind, Metadata, Strings, TensorInfo, TensorType, Value, ValueType,
    error::shown,
    layout::{check_key, check_limit, tensor_bytes},
    limits,
};

pub(crate) struct Parser<'a> {
    path: &'a Path,
    file: &'a [u8],
    position: usize,
}

/// What is being read, for errors. Only written out when there is one.
#[derive(Clone, Copy)]
enum Item<'a> {
    Fixed(&'static str),
    Key(u64),
    Value(&'a str),
    Tensor(u64),
    TensorNamed(&'a str),
}

impl Item<'_> {
    fn text(self) -> String {
        match self {
            Self::Fixed(text) => text.to_owned(),
            Self::Key(i) => format!("key number {i}"),
            Self::Value(key) => format!("key {}", shown(key)),
            Self::Tensor(i) => format!("tensor number {i}"),
            Self::TensorNamed(name) => format!("tensor {}", shown(name)),
        }
    }
}

/// The least a key and its value take: an empty key's length, one character, a type, one byte.
const LEAST_KEY: u64 = 8 + 1 + 4 + 1;
/// The least a tensor info takes: a name of one character, no dimensions, type, offset.
const LEAST_TENSOR: u64 = 8 + 1 + 4 + 4 + 8;

impl<'a> Parser<'a> {
    pub(crate) fn new(path: &'a Path, file: &'a [u8]) -> Self {
        Self { path, file, position: 0 }
    }

    /// Where the next byte is read.
    pub(crate) fn position(&self) -> u64 {
        self.position as u64
    }

    fn error(&self, kind: ErrorKind) -> Error {
        Error::new(self.path, kind)
    }

    fn left(&self) -> u64 {
        (self.file.len() - self.position) as u64
    }

    /// Checks that `count` things of at least `size` bytes each can still come.
    fn check_left(&self, count: u64, size: u64, item: Item<'_>) -> Result<(), Error> {
        let needed = count.saturating_mul(size);
        if needed > self.left() {
            let (offset, available) = (self.position(), self.left());
            return Err(self.error(ErrorKind::Truncated { item: item.text(), offset, needed, available }));
        }
        let end = self.position() + needed;
        check_limit(end, limits::HEADER_BYTES, || "bytes of the header".to_owned()).map_err(|kind| self.error(kind))
    }

    /// The next `count` bytes.
    fn take(&mut self, count: u64, item: Item<'_>) -> Result<&'a [u8], Error> {
        self.check_left(count, 1, item)?;
        // It fits: `count` is at most what is left of a slice.
        let bytes = &self.file[self.position..][..count as usize];
        self.position += bytes.len();
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self, item: Item<'_>) -> Result<[u8; N], Error> {
        let bytes = self.take(N as u64, item)?;
        Ok(bytes.try_into().expect("take returns what it was asked for"))
    }

    fn u32(&mut self, item: Item<'_>) -> Result<u32, Error> {
        self.array(item).map(u32::from_le_bytes)
    }

    fn u64(&mut self, item: Item<'_>) -> Result<u64, Error> {
        self.array(item).map(u64::from_le_bytes)
    }

    fn string(&mut self, item: Item<'_>) -> Result<&'a str, Error> {
        let bytes = self.string_bytes(item)?;
        std::str::from_utf8(bytes).map_err(|_| self.error(ErrorKind::NotUtf8 { item: item.text() }))
    }

    /// The bytes of a string, whatever they are.
    fn string_bytes(&mut self, item: Item<'_>) -> Result<&'a [u8], Error> {
        let len = self.u64(item)?;
        check_limit(len, limits::STRING_BYTES, || format!("{}: bytes of a string", item.text()))
            .map_err(|kind| self.error(kind))?;
        self.take(len, item)
    }

    fn bool(&self, byte: u8, item: Item<'_>) -> Result<bool, Error> {
        match byte {
            0 => Ok(false),
            1 => Ok(true),
            found => Err(self.error(ErrorKind::NotBool { item: item.text(), found })),
        }
    }

    /// Magic, version and counts: `(version, tensors, keys)`.
    pub(crate) fn start(&mut self) -> Result<(u32, u64, u64), Error> {
        let magic = &self.file[..self.file.len().min(4)];
        if magic != b"GGUF" {
            return Err(self.error(ErrorKind::NotGguf { found: magic.to_vec() }));
        }
        self.position = magic.len();
        let version = self.u32(Item::Fixed("version"))?;
        // Big-endian files have the same magic; no version is as high as 3 << 24.
        if version != 0 && version & 0xffff == 0 {
            return Err(self.error(ErrorKind::BigEndian));
        }
        if !(2..=3).contains(&version) {
            return Err(self.error(ErrorKind::Version { found: version }));
        }
        let tensors = self.u64(Item::Fixed("number of tensors"))?;
        let keys = self.u64(Item::Fixed("number of keys"))?;
        for (found, limit, least, item) in
            [(keys, limits::KEYS, LEAST_KEY, "number of keys"), (tensors, limits::TENSORS, LEAST_TENSOR, "number of tensors")]
        {
            check_limit(found, limit, || item.to_owned()).map_err(|kind| self.error(kind))?;
            self.check_left(found, least, Item::Fixed(item))?;
        }
        Ok((version, tensors, keys))
    }

    pub(crate) fn metadata(&mut self, count: u64) -> Result<Metadata, Error> {
        let mut metadata = Metadata::new();
        for i in 0..count {
            let key = self.string(Item::Key(i))?;
            check_key(key).map_err(|kind| self.error(kind))?;
            if metadata.contains_key(key) {
                return Err(self.error(ErrorKind::DuplicateKey { key: key.to_owned() }));
            }
            let value = self.value(key)?;
            metadata.insert(key, value);
        }
        Ok(metadata)
    }

    fn value_type(&mut self, item: Item<'_>) -> Result<ValueType, Error> {
        let found = self.u32(item)?;
        ValueType::from_id(found).ok_or_else(|| self.error(ErrorKind::UnknownValueType { item: item.text(), found }))
    }

    fn value(&mut self, key: &str) -> Result<Value, Error> {
        let item = Item::Value(key);
        Ok(match self.value_type(item)? {
            ValueType::U8 => Value::U8(u8::from_le_bytes(self.array(item)?)),
            ValueType::I8 => Value::I8(i8::from_le_bytes(self.array(item)?)),
            ValueType::U16 => Value::U16(u16::from_le_bytes(self.array(item)?)),
            ValueType::I16 => Value::I16(i16::from_le_bytes(self.array(item)?)),
            ValueType::U32 => Value::U32(self.u32(item)?),
            ValueType::I32 => Value::I32(i32::from_le_bytes(self.array(item)?)),
            ValueType::F32 => Value::F32(f32::from_le_bytes(self.array(item)?)),
            ValueType::Bool => {
                let [byte] = self.array(item)?;
                Value::Bool(self.bool(byte, item)?)
            }
            ValueType::String => Value::String(self.string(item)?.to_owned()),
            ValueType::Array => Value::Array(self.items(key)?),
            ValueType::U64 => Value::U64(self.u64(item)?),
            ValueType::I64 => Value::I64(i64::from_le_bytes(self.array(item)?)),
            ValueType::F64 => Value::F64(f64::from_le_bytes(self.array(item)?)),
        })
    }

    fn items(&mut self, key: &str) -> Result<Array, Error> {
        let item = Item::Value(key);
        let item_type = self.value_type(item)?;
        let count = self.u64(item)?;
        check_limit(count, limits::ARRAY_ITEMS, || format!("{}: items of an array", item.text()))
            .map_err(|kind| self.error(kind))?;
        Ok(match item_type {
            ValueType::U8 => Array::U8(self.take(count, item)?.to_vec()),
            ValueType::I8 => Array::I8(self.numbers(count, item, i8::from_le_bytes)?),
            ValueType::U16 => Array::U16(self.numbers(count, item, u16::from_le_bytes)?),
            ValueType::I16 => Array::I16(self.numbers(count, item, i16::from_le_bytes)?),
            ValueType::U32 => Array::U32(self.numbers(count, item, u32::from_le_bytes)?),
            ValueType::I32 => Array::I32(self.numbers(count, item, i32::from_le_bytes)?),
            ValueType::F32 => Array::F32(self.numbers(count, item, f32::from_le_bytes)?),
            ValueType::Bool => {
                let bytes = self.take(count, item)?;
                Array::Bool(bytes.iter().map(|&byte| self.bool(byte, item)).collect::<Result<_, _>>()?)
            }
            ValueType::String => {
                // Each takes at least its length in the file, and as much to say where it ends.
                self.check_left(count, 8, item)?;
                let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(count as usize));
                for _ in 0..count {
                    bytes.extend_from_slice(self.string_bytes(item)?);
                    ends.push(bytes.len());
                }
                let strings = Strings::new(bytes, ends);
                Array::String(strings.ok_or_else(|| self.error(ErrorKind::NotUtf8 { item: item.text() }))?)
            }
            ValueType::Array => return Err(self.error(ErrorKind::NestedArray { key: key.to_owned() })),
            ValueType::U64 => Array::U64(self.numbers(count, item, u64::from_le_bytes)?),
            ValueType::I64 => Array::I64(self.numbers(count, item, i64::from_le_bytes)?),
            ValueType::F64 => Array::F64(self.numbers(count, item, f64::from_le_bytes)?),
        })
    }

    fn numbers<const N: usize, T>(&mut self, count: u64, item: Item<'_>, number: fn([u8; N]) -> T) -> Result<Vec<T>, Error> {
        self.check_left(count, N as u64, item)?;
        let bytes = self.take(count * N as u64, item)?;
        Ok(bytes.as_chunks().0.iter().map(|&chunk| number(chunk)).collect())
    }

    /// A tensor info, checked as far as it can be without the others.
    pub(crate) fn tensor(&mut self, i: u64) -> Result<TensorInfo, Error> {
        let name = self.string(Item::Tensor(i))?.to_owned();
        let item = Item::TensorNamed(&name);
        let count = u64::from(self.u32(item)?);
        if count > limits::DIMENSIONS {
            return Err(self.error(ErrorKind::DimensionCount { name, found: count }));
        }
        let dims = self.numbers(count, item, u64::from_le_bytes)?;
        let ty = TensorType::from_id(self.u32(item)?);
        let offset = self.u64(item)?;
        let bytes = tensor_bytes(&name, &dims, ty).map_err(|kind| self.error(kind))?;
        Ok(TensorInfo { name, dims, ty, offset, bytes })
    }
}
