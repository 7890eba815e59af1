//! What can be wrong with a file: one [`ErrorKind`] per rule, always with the path.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use crate::TensorType;

/// Why a file was refused or could not be written.
#[derive(Debug)]
pub struct Error {
    path: PathBuf,
    // In a box, so that a `Result` stays small.
    kind: Box<ErrorKind>,
}

impl Error {
    pub(crate) fn new(path: &Path, kind: ErrorKind) -> Self {
        Self { path: path.to_owned(), kind: Box::new(kind) }
    }

    pub(crate) fn io(path: &Path, doing: &'static str, source: io::Error) -> Self {
        Self::new(path, ErrorKind::Io { doing, source })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is wrong with it.
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }
}

/// The rule that a file breaks, or the step that failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The system refused.
    Io {
        /// What was being done, as in `cannot {doing}`.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The file does not start with `GGUF`.
    NotGguf {
        /// Its first four bytes, or fewer.
        found: Vec<u8>,
    },
    /// The bytes of the version number are the wrong way round.
    BigEndian,
    /// Neither version 2 nor 3.
    Version {
        /// The version in the file.
        found: u32,
    },
    /// The file ends too early, or a count or length in it is wrong.
    Truncated {
        /// What was being read.
        item: String,
        /// Where it starts in the file.
        offset: u64,
        /// The bytes it takes, at least.
        needed: u64,
        /// The bytes there are.
        available: u64,
    },
    /// A count or length above what this reader accepts; see [`limits`](crate::limits).
    Limit {
        /// What is being counted.
        item: String,
        /// The most that is accepted.
        limit: u64,
        /// The count in the file.
        found: u64,
    },
    /// A string that is no UTF-8.
    NotUtf8 {
        /// Which string.
        item: String,
    },
    /// A truth value that is neither 0 nor 1.
    NotBool {
        /// Which value.
        item: String,
        /// The byte.
        found: u8,
    },
    /// A value type that GGUF does not have.
    UnknownValueType {
        /// Which value.
        item: String,
        /// The number of the type.
        found: u32,
    },
    /// An array of arrays.
    NestedArray {
        /// The key.
        key: String,
    },
    /// A key of no characters.
    EmptyKey,
    /// A key that is there twice.
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// `general.alignment` is no u32, or no power of two of at least 8.
    Alignment {
        /// What it is instead.
        found: String,
    },
    /// A tensor name that is empty or has 64 bytes or more, which ggml does not read.
    NameLength {
        /// The name.
        name: String,
    },
    /// A tensor name that is there twice.
    DuplicateTensor {
        /// The tensor.
        name: String,
    },
    /// More than four dimensions.
    DimensionCount {
        /// The tensor.
        name: String,
        /// The number of dimensions.
        found: u64,
    },
    /// A dimension of zero, or a product that does not fit in 63 bits.
    DimensionSize {
        /// The tensor.
        name: String,
        /// Its dimensions.
        dims: Vec<u64>,
    },
    /// Rows that are not whole blocks.
    RowLength {
        /// The tensor.
        name: String,
        /// Its type.
        ty: TensorType,
        /// Elements of a block of that type.
        block: u64,
        /// Elements of a row.
        found: u64,
    },
    /// An offset that is no multiple of the alignment.
    Misaligned {
        /// The tensor.
        name: String,
        /// The alignment.
        alignment: u64,
        /// The offset.
        found: u64,
    },
    /// A tensor that overlaps the one before it, or leaves a gap.
    Misplaced {
        /// The tensor.
        name: String,
        /// Where it must start, counted from the start of the data.
        expected: u64,
        /// Where it starts.
        found: u64,
        /// Whether it may start later, because the size of the one before it is unknown.
        at_least: bool,
    },
    /// A tensor that goes past the end of the file.
    BeyondFile {
        /// The tensor.
        name: String,
        /// The size that the file needs.
        expected: u64,
        /// The size of the file.
        found: u64,
    },
    /// Bytes after the last tensor.
    TrailingBytes {
        /// Where the file should end.
        expected: u64,
        /// Where it ends.
        found: u64,
    },
    /// A key that the caller cannot do without.
    MissingKey {
        /// The key.
        key: String,
        /// The type it would have.
        expected: &'static str,
    },
    /// A key of another type than the caller needs, or out of that type's range.
    WrongType {
        /// The key.
        key: String,
        /// The type that the caller needs.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// Writing a tensor of a type whose size nobody knows.
    UnknownTensorType {
        /// The tensor.
        name: String,
        /// Its type.
        ty: TensorType,
    },
    /// Too many or too few bytes for a tensor.
    TensorBytes {
        /// The tensor.
        name: String,
        /// The bytes it has.
        expected: u64,
        /// The bytes that were written.
        found: u64,
    },
    /// A tensor out of turn.
    TensorOrder {
        /// The tensor whose turn it is, if any is left.
        expected: Option<String>,
        /// The tensor that was begun, or `None` for bytes after the last tensor.
        found: Option<String>,
    },
    /// A key to patch that holds no string.
    NothingToPatch {
        /// The key.
        key: String,
    },
    /// A patch that is not as long as what it replaces.
    PatchLength {
        /// The key.
        key: String,
        /// The bytes of the old value.
        expected: u64,
        /// The bytes of the new value.
        found: u64,
    },
    /// The target exists and is no regular file, so that it cannot be replaced by one.
    NotAFile,
    /// A write failed before, so that the file cannot be completed.
    Broken,
}

/// What to do about a file that is not whole.
const AGAIN: &str = "download or convert it again";

/// Names come from the file: escaped, so that they cannot send control characters to a terminal, and cut, since a key may have 64 KiB.
pub(crate) fn shown(name: &str) -> impl fmt::Display + '_ {
    const SHOWN_CHARS: usize = 120;
    let end = name.char_indices().nth(SHOWN_CHARS).map_or(name.len(), |(end, _)| end);
    fmt::from_fn(move |f| write!(f, "{}{}", name[..end].escape_debug(), if end < name.len() { "..." } else { "" }))
}

/// What a file that is no GGUF may be instead.
fn guess(found: &[u8]) -> &'static str {
    match found {
        b"PK\x03\x04" => ": it is a zip archive, perhaps a PyTorch checkpoint",
        b"vers" => ": it may be a git-lfs pointer, whose file is still to be fetched",
        b"lmgg" | b"fmgg" | b"tjgg" => ": it is of one of the formats that ggml had before GGUF",
        [] => ": the file is empty",
        _ => "",
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.kind)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { doing, source } => {
                let next = if source.kind() == io::ErrorKind::NotFound { "; check the path" } else { "" };
                write!(f, "cannot {doing}: {source}{next}")
            }
            Self::NotGguf { found } => {
                write!(f, "no GGUF file: expected \"GGUF\" at the start, found \"{}\"{}", found.escape_ascii(), guess(found))
            }
            Self::BigEndian => write!(f, "expected a little-endian GGUF file, found a big-endian one"),
            Self::Version { found } => write!(f, "expected GGUF version 2 or 3, found version {found}"),
            Self::Truncated { item, offset, needed, available } => {
                write!(
                    f,
                    "{item}: expected at least {needed} bytes at offset {offset}, found {available}: truncated or damaged; {AGAIN}"
                )
            }
            Self::Limit { item, limit, found } => write!(f, "{item}: expected at most {limit}, found {found}"),
            Self::NotUtf8 { item } => write!(f, "{item}: expected UTF-8, found other bytes"),
            Self::NotBool { item, found } => write!(f, "{item}: expected a bool of 0 or 1, found {found}"),
            Self::UnknownValueType { item, found } => write!(f, "{item}: expected a value type of 0 to 12, found {found}"),
            Self::NestedArray { key } => write!(f, "key {}: expected an array of scalars, found an array of arrays", shown(key)),
            Self::EmptyKey => write!(f, "expected a key, found an empty one"),
            Self::DuplicateKey { key } => write!(f, "key {}: expected once, found twice", shown(key)),
            Self::Alignment { found } => {
                write!(f, "key general.alignment: expected a u32 that is a power of two of at least 8, found {found}")
            }
            Self::NameLength { name } => {
                write!(f, "tensor name \"{}\": expected 1 to 63 bytes, found {}", shown(name), name.len())
            }
            Self::DuplicateTensor { name } => write!(f, "tensor {}: expected once, found twice", shown(name)),
            Self::DimensionCount { name, found } => {
                write!(f, "tensor {}: expected at most 4 dimensions, found {found}", shown(name))
            }
            Self::DimensionSize { name, dims } => {
                write!(f, "tensor {}: expected dimensions with a product of 1 to 2^63-1 bytes, found {dims:?}", shown(name))
            }
            Self::RowLength { name, ty, block, found } => {
                write!(f, "tensor {}: expected rows of a multiple of {block} elements for {ty}, found {found}", shown(name))
            }
            Self::Misaligned { name, alignment, found } => {
                write!(f, "tensor {}: expected an offset that is a multiple of {alignment}, found {found}", shown(name))
            }
            Self::Misplaced { name, expected, found, at_least } => {
                let at_least = if *at_least { "at least " } else { "" };
                write!(f, "tensor {}: expected offset {at_least}{expected}, found {found}", shown(name))?;
                f.write_str(if found < expected { ": it overlaps the tensor before it" } else { ": it leaves a gap" })
            }
            Self::BeyondFile { name, expected, found } => {
                write!(
                    f,
                    "tensor {}: expected a file of at least {expected} bytes, found {found}: truncated; {AGAIN}",
                    shown(name)
                )
            }
            Self::TrailingBytes { expected, found } => {
                write!(f, "expected a file of {expected} bytes, found {found}: there are bytes after the last tensor; {AGAIN}")
            }
            Self::MissingKey { key, expected } => write!(f, "key {}: expected {expected}, found no such key", shown(key)),
            Self::WrongType { key, expected, found } => write!(f, "key {}: expected {expected}, found {found}", shown(key)),
            Self::UnknownTensorType { name, ty } => {
                write!(f, "tensor {}: expected a type of known size, found {ty}", shown(name))
            }
            Self::TensorBytes { name, expected, found } => {
                write!(f, "tensor {}: expected {expected} bytes, found {found}", shown(name))
            }
            Self::TensorOrder { expected, found } => {
                let say =
                    |name: &Option<String>, none| name.as_ref().map_or(String::from(none), |n| format!("tensor {}", shown(n)));
                write!(f, "expected {}, found {}", say(expected, "no more tensors"), say(found, "more bytes"))
            }
            Self::NothingToPatch { key } => write!(f, "key {}: expected a string to overwrite, found none", shown(key)),
            Self::PatchLength { key, expected, found } => {
                write!(f, "key {}: expected a new value of {expected} bytes, found {found}", shown(key))
            }
            Self::NotAFile => write!(f, "expected a file or nothing to be there, found a folder or a device"),
            Self::Broken => write!(f, "cannot be completed after a failed write"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self.kind() {
            ErrorKind::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: ErrorKind) -> String {
        Error::new(Path::new("model.gguf"), kind).to_string()
    }

    #[test]
    fn messages_name_file_thing_expected_and_found() {
        let kind = ErrorKind::WrongType { key: "clip.vision.image_size".into(), expected: "u32", found: "string".into() };
        assert_eq!(message(kind), "model.gguf: key clip.vision.image_size: expected u32, found string");
        assert_eq!(message(ErrorKind::Version { found: 1 }), "model.gguf: expected GGUF version 2 or 3, found version 1");
        let kind = ErrorKind::Misplaced { name: "v.w".into(), expected: 64, found: 32, at_least: false };
        assert_eq!(message(kind), "model.gguf: tensor v.w: expected offset 64, found 32: it overlaps the tensor before it");
        let kind = ErrorKind::TensorOrder { expected: Some("a".into()), found: Some("b".into()) };
        assert_eq!(message(kind), "model.gguf: expected tensor a, found tensor b");
        let kind = ErrorKind::TensorOrder { expected: None, found: None };
        assert_eq!(message(kind), "model.gguf: expected no more tensors, found more bytes");
    }

    #[test]
    fn names_cannot_send_control_characters() {
        let kind = ErrorKind::DuplicateTensor { name: "a\u{1b}[2J".into() };
        assert_eq!(message(kind), "model.gguf: tensor a\\u{1b}[2J: expected once, found twice");
        let kind = ErrorKind::NotGguf { found: b"PK\x03\x04".to_vec() };
        assert_eq!(
            message(kind),
            "model.gguf: no GGUF file: expected \"GGUF\" at the start, found \"PK\\x03\\x04\": it is a zip archive, \
             perhaps a PyTorch checkpoint"
        );
    }

    #[test]
    fn the_source_of_a_system_error_is_kept() {
        use std::error::Error as _;
        let error = Error::io(Path::new("x"), "open it", io::Error::from(io::ErrorKind::NotFound));
        assert_eq!(error.to_string(), "x: cannot open it: entity not found; check the path");
        assert!(error.source().is_some());
    }
}
