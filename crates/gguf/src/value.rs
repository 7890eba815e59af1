//! Metadata values: the thirteen types of GGUF, into Rust and back.

use std::fmt;

use edgeclip_strings::Strings;

/// The type of a metadata value, GGUF's `enum gguf_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum ValueType {
    /// Unsigned, 8 bits.
    U8 = 0,
    /// Signed, 8 bits.
    I8 = 1,
    /// Unsigned, 16 bits.
    U16 = 2,
    /// Signed, 16 bits.
    I16 = 3,
    /// Unsigned, 32 bits.
    U32 = 4,
    /// Signed, 32 bits.
    I32 = 5,
    /// IEEE 754, 32 bits.
    F32 = 6,
    /// One byte, 0 or 1.
    Bool = 7,
    /// UTF-8 with a length in front.
    String = 8,
    /// Any number of values of one type.
    Array = 9,
    /// Unsigned, 64 bits.
    U64 = 10,
    /// Signed, 64 bits.
    I64 = 11,
    /// IEEE 754, 64 bits.
    F64 = 12,
}

impl ValueType {
    const ALL: [Self; 13] = [
        Self::U8,
        Self::I8,
        Self::U16,
        Self::I16,
        Self::U32,
        Self::I32,
        Self::F32,
        Self::Bool,
        Self::String,
        Self::Array,
        Self::U64,
        Self::I64,
        Self::F64,
    ];

    /// The type of this number, if there is one.
    pub fn from_id(id: u32) -> Option<Self> {
        Self::ALL.get(usize::try_from(id).ok()?).copied()
    }

    /// The number in the file.
    pub const fn id(self) -> u32 {
        self as u32
    }

    /// The name, as in `expected u32`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::F32 => "f32",
            Self::Bool => "bool",
            Self::String => "string",
            Self::Array => "array",
            Self::U64 => "u64",
            Self::I64 => "i64",
            Self::F64 => "f64",
        }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A metadata value.
///
/// [`Display`](fmt::Display) shortens it to one line for people: arrays show their first items and their length.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the variants are those of ValueType")]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(String),
    Array(Array),
    U64(u64),
    I64(i64),
    F64(f64),
}

/// Values of one type. GGUF's tools do not read arrays of arrays, so there are none.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the variants are those of ValueType")]
pub enum Array {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    F32(Vec<f32>),
    Bool(Vec<bool>),
    String(Strings),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F64(Vec<f64>),
}

impl Value {
    /// The type as the file states it.
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::U8(_) => ValueType::U8,
            Self::I8(_) => ValueType::I8,
            Self::U16(_) => ValueType::U16,
            Self::I16(_) => ValueType::I16,
            Self::U32(_) => ValueType::U32,
            Self::I32(_) => ValueType::I32,
            Self::F32(_) => ValueType::F32,
            Self::Bool(_) => ValueType::Bool,
            Self::String(_) => ValueType::String,
            Self::Array(_) => ValueType::Array,
            Self::U64(_) => ValueType::U64,
            Self::I64(_) => ValueType::I64,
            Self::F64(_) => ValueType::F64,
        }
    }

    /// What an error message says was found: the type, and the value where it is short.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::String(_) => "string".to_owned(),
            Self::Array(array) => format!("array of {} {}", array.len(), array.item_type()),
            number => format!("{} {number}", number.value_type()),
        }
    }

    fn integer(&self) -> Option<i128> {
        match *self {
            Self::U8(v) => Some(v.into()),
            Self::I8(v) => Some(v.into()),
            Self::U16(v) => Some(v.into()),
            Self::I16(v) => Some(v.into()),
            Self::U32(v) => Some(v.into()),
            Self::I32(v) => Some(v.into()),
            Self::U64(v) => Some(v.into()),
            Self::I64(v) => Some(v.into()),
            _ => None,
        }
    }
}

impl Array {
    /// Number of items.
    pub fn len(&self) -> usize {
        match self {
            Self::U8(v) => v.len(),
            Self::I8(v) => v.len(),
            Self::U16(v) => v.len(),
            Self::I16(v) => v.len(),
            Self::U32(v) => v.len(),
            Self::I32(v) => v.len(),
            Self::F32(v) => v.len(),
            Self::Bool(v) => v.len(),
            Self::String(v) => v.len(),
            Self::U64(v) => v.len(),
            Self::I64(v) => v.len(),
            Self::F64(v) => v.len(),
        }
    }

    /// Whether there are no items.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type of the items.
    pub fn item_type(&self) -> ValueType {
        match self {
            Self::U8(_) => ValueType::U8,
            Self::I8(_) => ValueType::I8,
            Self::U16(_) => ValueType::U16,
            Self::I16(_) => ValueType::I16,
            Self::U32(_) => ValueType::U32,
            Self::I32(_) => ValueType::I32,
            Self::F32(_) => ValueType::F32,
            Self::Bool(_) => ValueType::Bool,
            Self::String(_) => ValueType::String,
            Self::U64(_) => ValueType::U64,
            Self::I64(_) => ValueType::I64,
            Self::F64(_) => ValueType::F64,
        }
    }
}

/// Items of an array and characters of a string that are shown to people.
const SHOWN_ITEMS: usize = 6;
const SHOWN_CHARS: usize = 100;

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::U8(v) => v.fmt(f),
            Self::I8(v) => v.fmt(f),
            Self::U16(v) => v.fmt(f),
            Self::I16(v) => v.fmt(f),
            Self::U32(v) => v.fmt(f),
            Self::I32(v) => v.fmt(f),
            Self::F32(v) => v.fmt(f),
            Self::Bool(v) => v.fmt(f),
            Self::String(v) => write_text(f, v),
            Self::Array(v) => v.fmt(f),
            Self::U64(v) => v.fmt(f),
            Self::I64(v) => v.fmt(f),
            Self::F64(v) => v.fmt(f),
        }
    }
}

impl fmt::Display for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn write_items<T>(
            f: &mut fmt::Formatter<'_>,
            items: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
            show: impl Fn(&mut fmt::Formatter<'_>, T) -> fmt::Result,
        ) -> fmt::Result {
            let items = items.into_iter();
            let len = items.len();
            f.write_str("[")?;
            for (i, item) in items.take(SHOWN_ITEMS).enumerate() {
                f.write_str(if i == 0 { "" } else { ", " })?;
                show(f, item)?;
            }
            match len {
                0..=SHOWN_ITEMS => f.write_str("]"),
                all => write!(f, ", ...] ({all} items)"),
            }
        }
        match self {
            Self::U8(v) => write_items(f, v, |f, x| x.fmt(f)),
            Self::I8(v) => write_items(f, v, |f, x| x.fmt(f)),
            Self::U16(v) => write_items(f, v, |f, x| x.fmt(f)),
            Self::I16(v) => write_items(f, v, |f, x| x.fmt(f)),
            Self::U32(v) => write_items(f, v, |f, x| x.fmt(f)),
            Self::I32(v) => write_items(f, v, |f, x| x.fmt(f)),
            Self::F32(v) => write_items(f, v, |f, x| x.fmt(f)),
            Self::Bool(v) => write_items(f, v, |f, x| x.fmt(f)),
            Self::String(v) => write_items(f, v.iter(), write_text),
            Self::U64(v) => write_items(f, v, |f, x| x.fmt(f)),
            Self::I64(v) => write_items(f, v, |f, x| x.fmt(f)),
            Self::F64(v) => write_items(f, v, |f, x| x.fmt(f)),
        }
    }
}

/// In quotes and escaped, so that a file cannot send control characters to a terminal.
fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    match text.char_indices().nth(SHOWN_CHARS) {
        None => write!(f, "{text:?}"),
        Some((end, _)) => write!(f, "{:?}... ({} bytes)", &text[..end], text.len()),
    }
}

/// A Rust type that a metadata value can be read as: see [`File::get`](crate::File::get).
///
/// Integers are read from a value of any integer type that holds a number in range, because writers do not agree on the width.
/// `f64` is read from `f32` too. Everything else is read from exactly its own type.
pub trait FromValue<'a>: Sized {
    /// What an error message says was expected.
    const EXPECTED: &'static str;

    /// The value, or `None` if it is of another type or out of range.
    fn from_value(value: &'a Value) -> Option<Self>;
}

impl<'a> FromValue<'a> for &'a Value {
    const EXPECTED: &'static str = "a value";

    fn from_value(value: &'a Value) -> Option<Self> {
        Some(value)
    }
}

impl<'a> FromValue<'a> for &'a Array {
    const EXPECTED: &'static str = "array";

    fn from_value(value: &'a Value) -> Option<Self> {
        if let Value::Array(array) = value { Some(array) } else { None }
    }
}

impl<'a> FromValue<'a> for &'a str {
    const EXPECTED: &'static str = "string";

    fn from_value(value: &'a Value) -> Option<Self> {
        if let Value::String(text) = value { Some(text) } else { None }
    }
}

impl FromValue<'_> for String {
    const EXPECTED: &'static str = "string";

    fn from_value(value: &Value) -> Option<Self> {
        <&str>::from_value(value).map(str::to_owned)
    }
}

impl FromValue<'_> for bool {
    const EXPECTED: &'static str = "bool";

    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Bool(v) = *value { Some(v) } else { None }
    }
}

impl FromValue<'_> for f32 {
    const EXPECTED: &'static str = "f32";

    fn from_value(value: &Value) -> Option<Self> {
        if let Value::F32(v) = *value { Some(v) } else { None }
    }
}

impl FromValue<'_> for f64 {
    const EXPECTED: &'static str = "f64";

    fn from_value(value: &Value) -> Option<Self> {
        match *value {
            Value::F32(v) => Some(v.into()),
            Value::F64(v) => Some(v),
            _ => None,
        }
    }
}

macro_rules! integers {
    ($($rust:ident $name:literal),*) => {$(
        impl FromValue<'_> for $rust {
            const EXPECTED: &'static str = $name;

            fn from_value(value: &Value) -> Option<Self> {
                value.integer()?.try_into().ok()
            }
        }
    )*};
}
integers!(u8 "u8", i8 "i8", u16 "u16", i16 "i16", u32 "u32", i32 "i32", u64 "u64", i64 "i64", usize "unsigned integer");

macro_rules! conversions {
    ($($variant:ident $rust:ident $name:literal),*) => {$(
        impl From<$rust> for Value {
            fn from(value: $rust) -> Self {
                Self::$variant(value)
            }
        }

        impl From<Vec<$rust>> for Value {
            fn from(items: Vec<$rust>) -> Self {
                Self::Array(Array::$variant(items))
            }
        }

        impl From<&[$rust]> for Value {
            fn from(items: &[$rust]) -> Self {
                Self::Array(Array::$variant(items.to_vec()))
            }
        }

        impl<const N: usize> From<[$rust; N]> for Value {
            fn from(items: [$rust; N]) -> Self {
                Self::Array(Array::$variant(items.into()))
            }
        }

        impl<'a> FromValue<'a> for &'a [$rust] {
            const EXPECTED: &'static str = concat!("array of ", $name);

            fn from_value(value: &'a Value) -> Option<Self> {
                if let Value::Array(Array::$variant(items)) = value { Some(items) } else { None }
            }
        }
    )*};
}
conversions!(
    U8 u8 "u8", I8 i8 "i8", U16 u16 "u16", I16 i16 "i16", U32 u32 "u32", I32 i32 "i32", F32 f32 "f32", Bool bool "bool",
    U64 u64 "u64", I64 i64 "i64", F64 f64 "f64"
);

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<Strings> for Value {
    fn from(items: Strings) -> Self {
        Self::Array(Array::String(items))
    }
}

impl<'a> FromValue<'a> for &'a Strings {
    const EXPECTED: &'static str = "array of string";

    fn from_value(value: &'a Value) -> Option<Self> {
        if let Value::Array(Array::String(items)) = value { Some(items) } else { None }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<Array> for Value {
    fn from(array: Array) -> Self {
        Self::Array(array)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_from_any_integer_type_in_range() {
        assert_eq!(u32::from_value(&Value::U8(7)), Some(7));
        assert_eq!(u32::from_value(&Value::I64(u32::MAX.into())), Some(u32::MAX));
        assert_eq!(u32::from_value(&Value::I64(i64::from(u32::MAX) + 1)), None);
        assert_eq!(u32::from_value(&Value::I32(-1)), None);
        assert_eq!(i8::from_value(&Value::U64(127)), Some(127));
        assert_eq!(i8::from_value(&Value::U64(128)), None);
        assert_eq!(u64::from_value(&Value::F32(1.0)), None);
        assert_eq!(u64::from_value(&Value::Bool(true)), None);
    }

    #[test]
    fn floats_are_never_narrowed() {
        assert_eq!(f32::from_value(&Value::F64(0.5)), None);
        assert_eq!(f64::from_value(&Value::F32(0.5)), Some(0.5));
        assert_eq!(f32::from_value(&Value::U32(1)), None);
    }

    #[test]
    fn values_are_shown_on_one_short_line() {
        assert_eq!(Value::from([0.5f32, 1.0]).to_string(), "[0.5, 1]");
        assert_eq!(Value::from(vec![1u8; 9]).to_string(), "[1, 1, 1, 1, 1, 1, ...] (9 items)");
        assert_eq!(Value::from("a\u{1b}[31m\n").to_string(), r#""a\u{1b}[31m\n""#);
        let long = Value::from("é".repeat(150)).to_string();
        assert!(long.ends_with("é\"... (300 bytes)") && long.chars().filter(|&c| c == 'é').count() == 100, "{long}");
    }

    #[test]
    fn numbers_of_types_go_both_ways() {
        for id in 0..13 {
            assert_eq!(ValueType::from_id(id).unwrap().id(), id);
        }
        assert_eq!(ValueType::from_id(13), None);
    }
}
