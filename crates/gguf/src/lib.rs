//! The GGUF container: read, validate, write.
//!
//! GGUF is the file format of ggml and llama.cpp: typed metadata, then tensors, each aligned so that a map of the file can be used in
//! place. This crate knows the container and nothing of what is in it: a [`TensorType`] is a number, a name and a block size, and
//! which keys and tensors a model has is not decided here.
//!
//! Files come from the internet, so [`File`] checks all of a header before it shows any of it, and no claim in a file makes it
//! allocate more than a small multiple of the file's own size; see [`limits`]. [`Writer`] streams tensors into a temporary file and
//! renames it, because the target may be mapped by somebody.
//!
//! The reference is ggml's own reader and writer (`ggml/src/gguf.cpp`), and the tests compare with files that PyPI's `gguf` wrote.
//!
//! # Example
//! ```
//! use edgeclip_gguf::{File, Metadata, TensorSpec, TensorType, Writer};
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("tiny.gguf");
//!
//! let mut metadata = Metadata::new();
//! metadata.insert("general.architecture", "clip");
//! metadata.insert("clip.vision.image_size", 224u32);
//! // Two rows of three: the contiguous dimension comes first.
//! let tensors = [TensorSpec::new("v.class_embd", [3, 2], TensorType::F32)];
//! let mut writer = Writer::create(&path, &metadata, &tensors)?;
//! for x in [1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0] {
//!     writer.write(&x.to_le_bytes())?;
//! }
//! writer.finish()?;
//!
//! let file = File::open(&path)?;
//! assert_eq!(file.require::<u32>("clip.vision.image_size")?, 224);
//! assert_eq!(file.get::<f32>("clip.vision.attention.layer_norm_epsilon")?, None);
//! let tensor = file.tensor("v.class_embd").unwrap();
//! assert_eq!(tensor.dims, [3, 2]);
//! assert_eq!(file.data(tensor).unwrap()[4..8], 2.0f32.to_le_bytes());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod encode;
mod error;
mod file;
mod layout;
pub mod limits;
mod metadata;
mod parser;
mod tensor_type;
mod value;
mod writer;

pub use edgeclip_strings::Strings;

pub use crate::{
    error::{Error, ErrorKind},
    file::File,
    layout::TensorInfo,
    metadata::Metadata,
    tensor_type::{Block, TensorType},
    value::{Array, FromValue, Value, ValueType},
    writer::{Completed, TensorSpec, Writer},
};
