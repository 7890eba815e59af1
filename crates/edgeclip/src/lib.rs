//! CLIP on the CPU: pictures and sentences to vectors of one space, the same as Python's, from one GGUF file.
//!
//! The words are those of OpenAI's `clip` module:
//!
//! ```no_run
//! use edgeclip::Clip;
//!
//! let clip = Clip::load("clip-vit-base-patch32-q8_0.gguf")?;
//! let pixels = clip.preprocess(&std::fs::read("cat.jpg")?)?; // [3, 224, 224]
//! let tokens = clip.tokenize(&["a diagram", "a dog", "a cat"])?; // 3 rows of at most 77 ids
//! let image_features = clip.encode_image(&[pixels])?; // [1, 512]
//! let text_features = clip.encode_text(&tokens)?; // [3, 512]
//! let logits = clip.logits_per_image(&image_features, &text_features)?; // [1, 3]
//! let probabilities = logits.softmax();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A [`Clip`] is `Send + Sync`; all its methods take `&self`. Work is spread over rayon's current thread pool; with a file of quantized
//! weights the vectors depend neither on the number of threads nor on what else is in the batch, bit for bit.
#![forbid(unsafe_code)]

mod clip;
mod logits;
pub mod retrieval;
pub mod zero_shot;

pub use clip::{Clip, Error, Options};
pub use edgeclip_gguf::File;
pub use edgeclip_model::{
    Activation, Config, Embeddings, Error as ModelError, Format, Groups, ImageConfig, Isa, Observer, Phase, Source, Stage,
    StageKind, TextConfig, TextPooling, Tower, TowerConfig,
};
pub use edgeclip_preprocess::{
    CropRule, Decode, Error as PictureError, Filter, Options as PictureOptions, Picture, Pixels, Resize, Spec, decode, decode_for,
};
pub use edgeclip_tokenize::{Clean, Error as TextError, Overlong, Strings, TokenBatch, Tokenizer, Vocabulary};
pub use logits::Logits;
