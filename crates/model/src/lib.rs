//! What a CLIP model is: its configuration, how that and its tensors lie in a GGUF file, and the two encoders.
//!
//! * [`Config`]: everything that decides a vector, apart from the weights.
//! * [`schema`]: the only place that names keys and tensors, for writing and for reading.
//! * [`Weights`]: where tensors come from; [`GgufWeights`] reads a file of that schema.
//! * [`equalize`]: outlier channels, moved out of the way of int8 activations.
//! * [`parts`]: the pieces of an encoder (embedding, block, head), each loaded and run on its own.
//! * [`ImageTower`], [`TextTower`]: a whole encoder. [`Cpu`]: both of a file, as a [`Backend`].
//! * [`Observer`]: sees the values after each named stage, and when each phase begins.
//!
//! Reference: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision" (2021); the arithmetic is that of
//! transformers' `modeling_clip.py` and OpenAI's `model.py`.
#![forbid(unsafe_code)]

mod config;
mod content_id;
mod cpu;
mod embeddings;
pub mod equalize;
mod error;
mod observer;
pub mod parts;
mod plan;
mod pool;
pub mod schema;
mod towers;
mod weights;

pub use config::{Config, ImageConfig, Source, TextConfig, TextPooling, Tower, TowerConfig};
pub use content_id::{ContentHasher, content_id};
pub use cpu::{Backend, Cpu};
pub use edgeclip_kernels::{Activation, Format, Groups, Isa, Kernels, Threads};
pub use embeddings::Embeddings;
pub use error::Error;
pub use observer::{Observer, Phase, Stage, StageKind};
pub use towers::{ImageTower, TextTower};
pub use weights::{Compute, GgufWeights, Tensor, Weights};
