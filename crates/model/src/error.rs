//! What can be wrong with a model or its input.

use std::{fmt, path::PathBuf};

use edgeclip_kernels::LinearError;

use crate::Tower;

/// A model that cannot be used, or an input that it cannot encode.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The container is broken.
    Gguf(edgeclip_gguf::Error),
    /// A key has a value that makes no sense.
    Key {
        /// The file.
        file: PathBuf,
        /// The key.
        key: String,
        /// What the value has to be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The vocabulary makes no tokenizer.
    Vocabulary {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        error: edgeclip_tokenize::Error,
    },
    /// A tensor is not there.
    MissingTensor {
        /// The file.
        file: PathBuf,
        /// The tensor.
        name: String,
    },
    /// A tensor has other dimensions than the configuration says.
    Shape {
        /// The file.
        file: PathBuf,
        /// The tensor.
        name: String,
        /// Dimensions, the contiguous one first.
        expected: Vec<u64>,
        /// Dimensions, the contiguous one first.
        found: Vec<u64>,
    },
    /// A tensor is of a type that the runtime does not compute with.
    Type {
        /// The file.
        file: PathBuf,
        /// The tensor.
        name: String,
        /// The type's name or number.
        found: String,
    },
    /// A matrix could not be packed.
    Linear {
        /// The file.
        file: PathBuf,
        /// The first of the tensors packed together.
        name: String,
        /// Why.
        error: LinearError,
    },
    /// The file has no such encoder.
    NoTower {
        /// The file.
        file: PathBuf,
        /// The encoder asked for.
        tower: Tower,
    },
    /// A picture has the wrong size.
    PictureSize {
        /// Which of the batch, from 0.
        index: usize,
        /// Side in pixels.
        expected: usize,
        /// Side in pixels.
        found: usize,
    },
    /// A row of ids cannot be encoded.
    Tokens {
        /// Which of the batch, from 0.
        index: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// An embedding holds NaN or infinity.
    NotFinite {
        /// The file.
        file: PathBuf,
        /// The encoder.
        tower: Tower,
        /// Which of the batch, from 0.
        index: usize,
    },
    /// Embeddings of different lengths were compared.
    Dimension {
        /// Length of the first.
        expected: usize,
        /// Length of the second.
        found: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gguf(error) => error.fmt(f),
            Self::Key { file, key, expected, found } => {
                write!(f, "{}: key {key}: expected {expected}, found {found}", file.display())
            }
            Self::Vocabulary { file, error } => write!(f, "{}: the vocabulary is unusable: {error}", file.display()),
            Self::MissingTensor { file, name } => {
                write!(f, "{}: tensor {name} is missing; convert the checkpoint again", file.display())
            }
            Self::Shape { file, name, expected, found } => {
                write!(
                    f,
                    "{}: tensor {name}: expected the shape {expected:?}, found {found:?} (contiguous dimension first); convert the \
                     checkpoint again",
                    file.display()
                )
            }
            Self::Type { file, name, found } => write!(
                f,
                "{}: tensor {name}: type {found} cannot be computed with; convert the checkpoint to one of {}",
                file.display(),
                edgeclip_kernels::Format::ALL.map(|format| format.name()).join(", ")
            ),
            Self::Linear { file, name, error } => write!(f, "{}: tensor {name}: {error}", file.display()),
            Self::NoTower { file, tower } => write!(f, "{}: this file has no {tower} encoder; take one that has", file.display()),
            Self::PictureSize { index, expected, found } => {
                write!(f, "picture {index}: expected {expected} x {expected} pixels, found {found} x {found}")
            }
            Self::Tokens { index, problem } => write!(f, "text {index}: {problem}"),
            Self::NotFinite { file, tower, index } => write!(
                f,
                "{}: the {tower} encoder gave an embedding that is not finite (input {index} of the batch): a weight is NaN or infinite, \
                 or values overflow; convert the checkpoint again, which checks every weight",
                file.display()
            ),
            Self::Dimension { expected, found } => {
                write!(
                    f,
                    "embeddings of different lengths cannot be compared: {expected} and {found}; they come from different models"
                )
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // A cause is shown with its error; what follows is the cause's own.
        match self {
            Self::Gguf(error) => error.source(),
            Self::Vocabulary { error, .. } => error.source(),
            Self::Linear { error, .. } => error.source(),
            _ => None,
        }
    }
}

impl From<edgeclip_gguf::Error> for Error {
    fn from(error: edgeclip_gguf::Error) -> Self {
        Self::Gguf(error)
    }
}
