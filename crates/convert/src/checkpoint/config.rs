//! config.json: the architecture, with the defaults of transformers' `CLIPConfig`, `CLIPTextConfig` and `CLIPVisionConfig` (5.23).

use std::path::Path;

use edgeclip_model::{Activation, Config, ImageConfig, TextConfig, TextPooling, TowerConfig};
use edgeclip_preprocess::Spec;
use edgeclip_tokenize::{Clean, Vocabulary};
use serde_json::Value;

use super::json::Object;
use crate::{Error, error::shown};

const LIMIT: u64 = 1 << 20;

/// What config.json says; names, preprocessing and vocabulary are elsewhere.
#[derive(Debug)]
pub(super) struct Architecture {
    pub(super) projection_dim: usize,
    pub(super) text: TowerConfig,
    pub(super) vocab_size: usize,
    pub(super) context_length: usize,
    pub(super) eos: u64,
    pub(super) image: TowerConfig,
    pub(super) image_size: usize,
    pub(super) patch: usize,
}

impl Architecture {
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let config = Object::read(path, LIMIT)?;
        match config.text("model_type")? {
            Some("clip") => {}
            Some(other) => return Err(Error::ModelType { path: path.to_owned(), found: shown(other) }),
            // The oldest files do not say it.
            None if config.get("text_config").is_some() && config.get("vision_config").is_some() => {}
            None => return Err(config.wrong("model_type", "\"clip\"", &Value::Null)),
        }
        let text = section(&config, "text_config")?;
        let vision = section(&config, "vision_config")?;
        let channels = vision.size("num_channels")?.unwrap_or(3);
        if channels != 3 {
            return Err(vision.wrong("num_channels", "3", &channels.into()));
        }
        Ok(Self {
            projection_dim: config.size("projection_dim")?.unwrap_or(512),
            text: tower(&text, 512, 2048, 8)?,
            vocab_size: text.size("vocab_size")?.unwrap_or(49408),
            context_length: text.size("max_position_embeddings")?.unwrap_or(77),
            eos: text.size("eos_token_id")?.unwrap_or(49407) as u64,
            image: tower(&vision, 768, 3072, 12)?,
            image_size: vision.side("image_size")?.unwrap_or(224),
            patch: vision.side("patch_size")?.unwrap_or(32),
        })
    }

    /// The configuration as far as config.json has it: with OpenAI's preprocessing and no tokens.
    pub(super) fn config(&self, name: &str) -> Config {
        let vocabulary = Vocabulary {
            tokens: Vec::new(),
            merges: None,
            start: 0,
            end: 0,
            pad: 0,
            context_length: self.context_length,
            clean: Clean::Clip,
        };
        let preprocessing = Spec::openai(u32::try_from(self.image_size).unwrap_or(u32::MAX));
        Config {
            name: Some(name.to_owned()),
            source: None,
            image: Some(ImageConfig { tower: self.image.clone(), patch: self.patch, preprocessing }),
            text: Some(TextConfig { tower: self.text.clone(), causal: true, pooling: TextPooling::End, vocabulary }),
            projection_dim: self.projection_dim,
            logit_scale: 0.0,
            logit_bias: None,
        }
    }

    /// How transformers pools, given the id of the end token: `eos_token_id` 2 is an old mistake in configurations, kept to mean the
    /// position of the largest id (transformers pull request 24773).
    ///
    /// # Errors
    /// [`Error::Key`] where the reference would look for a token that no text has, and silently take the first position instead.
    pub(super) fn pooling(&self, path: &Path, end: u32) -> Result<TextPooling, Error> {
        match self.eos {
            2 => Ok(TextPooling::Argmax),
            eos if eos == u64::from(end) => Ok(TextPooling::End),
            eos => Err(Error::Key {
                path: path.to_owned(),
                key: "text_config.eos_token_id".into(),
                expected: format!("{end}, the id of the tokenizer's end token, or 2 (pooling by the largest id)"),
                found: eos.to_string(),
            }),
        }
    }
}

/// `name`, with what transformers does about `{name}_dict`: all of it, defaults included, wins.
fn section<'a>(config: &Object<'a>, name: &str) -> Result<Object<'a>, Error> {
    if let Some(old) = config.object(&format!("{name}_dict"))? {
        return Ok(old);
    }
    Ok(config.object(name)?.unwrap_or_else(|| config.empty(name)))
}

fn tower(config: &Object<'_>, width: usize, mlp: usize, heads: usize) -> Result<TowerConfig, Error> {
    let activation = match config.text("hidden_act")?.unwrap_or("quick_gelu") {
        "quick_gelu" => Activation::QuickGelu,
        "gelu" | "gelu_python" => Activation::Gelu,
        // Different code, one function: the tanh approximation.
        "gelu_pytorch_tanh" | "gelu_new" | "gelu_fast" | "gelu_accurate" | "gelu_python_tanh" => Activation::GeluTanh,
        other => return Err(config.wrong("hidden_act", "quick_gelu, gelu, gelu_pytorch_tanh or gelu_new", &other.into())),
    };
    Ok(TowerConfig {
        width: config.size("hidden_size")?.unwrap_or(width),
        heads: config.size("num_attention_heads")?.unwrap_or(heads),
        layers: config.size("num_hidden_layers")?.unwrap_or(12),
        mlp: config.size("intermediate_size")?.unwrap_or(mlp),
        eps: config.float("layer_norm_eps")?.unwrap_or(1e-5),
        activation,
    })
}

/// What config.json calls a key of the schema.
pub(super) fn own_key(key: &str) -> String {
    let (section, rest) = match (key.strip_prefix("clip.text."), key.strip_prefix("clip.vision.")) {
        (Some(rest), _) => ("text_config", rest),
        (_, Some(rest)) => ("vision_config", rest),
        _ => return key.to_owned(),
    };
    let name = match rest {
        "projection_dim" => return rest.to_owned(),
        "embedding_length" => "hidden_size",
        "feed_forward_length" => "intermediate_size",
        "attention.head_count" => "num_attention_heads",
        "attention.layer_norm_epsilon" => "layer_norm_eps",
        "block_count" => "num_hidden_layers",
        "context_length" => "max_position_embeddings",
        other => other,
    };
    format!("{section}.{name}")
}
