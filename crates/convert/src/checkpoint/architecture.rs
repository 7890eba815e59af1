//! The architecture of a checkpoint, wherever it was read.

use std::path::{Path, PathBuf};

use edgeclip_model::{Config, ImageConfig, TextConfig, TextPooling, TowerConfig};
use edgeclip_preprocess::CropRule;
use edgeclip_tokenize::{Clean, Strings, Vocabulary};

use super::preprocessor;
use crate::{Error, error::DescribedBy};

/// What decides the shapes of a model; names, preprocessing and vocabulary are elsewhere.
#[derive(Clone, Debug)]
pub(super) struct Architecture {
    pub(super) projection_dim: usize,
    pub(super) image: Option<ImageArchitecture>,
    pub(super) text: Option<TextArchitecture>,
}

#[derive(Clone, Debug)]
pub(super) struct ImageArchitecture {
    pub(super) tower: TowerConfig,
    /// Side of the input, pixels.
    pub(super) size: usize,
    /// Side of a patch, pixels.
    pub(super) patch: usize,
}

#[derive(Clone, Debug)]
pub(super) struct TextArchitecture {
    pub(super) tower: TowerConfig,
    pub(super) vocab_size: usize,
    pub(super) context_length: usize,
    pub(super) pooling: Pooling,
}

/// Which row is pooled, before the vocabulary is known.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pooling {
    /// The row of the largest id.
    Argmax,
    /// The first token of this id.
    Token(u64),
}

/// An architecture and where it is from, for the messages.
#[derive(Debug)]
pub(super) struct Description {
    pub(super) architecture: Architecture,
    pub(super) by: DescribedBy,
    /// The file that says it, or that it was read off.
    pub(super) path: PathBuf,
    /// What that file calls a key of the schema.
    pub(super) own_key: fn(&str) -> String,
    /// Its name of the pooled token's id.
    pub(super) eos_key: &'static str,
}

impl Architecture {
    /// The configuration as far as it is known: with OpenAI's preprocessing and no tokens.
    pub(super) fn config(&self, name: &str, crop: CropRule) -> Config {
        let text = self.text.as_ref().map(|text| TextConfig {
            tower: text.tower.clone(),
            causal: true,
            pooling: TextPooling::End,
            vocabulary: Vocabulary {
                tokens: Strings::default(),
                merges: None,
                start: 0,
                end: 0,
                pad: 0,
                context_length: text.context_length,
                clean: Clean::Clip,
            },
        });
        let image = self.image.as_ref().map(|image| ImageConfig {
            tower: image.tower.clone(),
            patch: image.patch,
            preprocessing: preprocessor::openai(image.size, crop),
        });
        Config {
            name: Some(name.to_owned()),
            source: None,
            image,
            text,
            projection_dim: self.projection_dim,
            // Where CLIP's training stops it; a checkpoint of one encoder does not have it.
            logit_scale: 100f32.ln(),
            logit_bias: None,
        }
    }
}

impl Pooling {
    /// The rule, given the id of the end token.
    ///
    /// # Errors
    /// [`Error::Key`] where the reference would look for a token that no text has, and silently take the first position instead.
    pub(super) fn rule(self, path: &Path, key: &str, end: u32) -> Result<TextPooling, Error> {
        match self {
            Self::Argmax => Ok(TextPooling::Argmax),
            Self::Token(eos) if eos == u64::from(end) => Ok(TextPooling::End),
            Self::Token(eos) => Err(Error::Key {
                path: path.to_owned(),
                key: key.to_owned(),
                expected: format!("{end}, the id of the tokenizer's end token, or 2 (pooling by the largest id)"),
                found: eos.to_string(),
            }),
        }
    }
}
