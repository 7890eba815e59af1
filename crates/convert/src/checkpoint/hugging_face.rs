//! config.json: the architecture, with the defaults of transformers' `CLIPConfig`, `CLIPTextConfig` and `CLIPVisionConfig` (5.23).

use std::path::Path;

use edgeclip_model::{Activation, TowerConfig};
use serde_json::Value;

use super::{
    architecture::{Architecture, Description, ImageArchitecture, Pooling, TextArchitecture},
    json::Object,
};
use crate::{
    Error,
    error::{DescribedBy, shown},
};

const LIMIT: u64 = 1 << 20;

/// The model types that are read: `CLIPModel`, `CLIPVisionModelWithProjection`, `CLIPTextModelWithProjection`.
const MODEL_TYPES: [&str; 3] = ["clip", "clip_vision_model", "clip_text_model"];

/// What config.json says.
pub(super) fn read(path: &Path) -> Result<Description, Error> {
    let config = Object::read(path, LIMIT)?;
    let architecture = match config.text("model_type")? {
        Some("clip") => both(&config)?,
        Some("clip_vision_model") => Architecture {
            projection_dim: config.size("projection_dim")?.unwrap_or(512),
            image: Some(image(&config)?),
            text: None,
        },
        Some("clip_text_model") => Architecture {
            projection_dim: config.size("projection_dim")?.unwrap_or(512),
            image: None,
            text: Some(text(&config)?),
        },
        Some(other) => return Err(Error::ModelType { path: path.to_owned(), found: shown(other) }),
        // The oldest files do not say it.
        None if config.get("text_config").is_some() && config.get("vision_config").is_some() => both(&config)?,
        None => return Err(config.wrong("model_type", "\"clip\"", &Value::Null)),
    };
    let flat = architecture.image.is_none() || architecture.text.is_none();
    Ok(Description {
        architecture,
        by: DescribedBy::File("config.json"),
        path: path.to_owned(),
        own_key: if flat { own_flat_key } else { own_key },
        eos_key: if flat { "eos_token_id" } else { "text_config.eos_token_id" },
    })
}

/// Whether there is a config.json of a CLIP model in transformers' layout, as opposed to one of another library.
pub(super) fn is_described(path: &Path) -> bool {
    let Ok(config) = Object::read(path, LIMIT) else { return false };
    match config.text("model_type") {
        Ok(Some(model)) => MODEL_TYPES.contains(&model),
        _ => config.get("text_config").is_some() && config.get("vision_config").is_some(),
    }
}

fn both(config: &Object<'_>) -> Result<Architecture, Error> {
    Ok(Architecture {
        projection_dim: config.size("projection_dim")?.unwrap_or(512),
        text: Some(text(&section(config, "text_config")?)?),
        image: Some(image(&section(config, "vision_config")?)?),
    })
}

fn text(config: &Object<'_>) -> Result<TextArchitecture, Error> {
    Ok(TextArchitecture {
        tower: tower(config, 512, 2048, 8)?,
        vocab_size: config.size("vocab_size")?.unwrap_or(49408),
        context_length: config.size("max_position_embeddings")?.unwrap_or(77),
        // 2 is an old mistake in configurations, kept to mean the position of the largest id (transformers pull request 24773).
        pooling: match config.size("eos_token_id")?.unwrap_or(49407) {
            2 => Pooling::Argmax,
            eos => Pooling::Token(eos as u64),
        },
    })
}

fn image(config: &Object<'_>) -> Result<ImageArchitecture, Error> {
    let channels = config.size("num_channels")?.unwrap_or(3);
    if channels != 3 {
        return Err(config.wrong("num_channels", "3", &channels.into()));
    }
    Ok(ImageArchitecture {
        tower: tower(config, 768, 3072, 12)?,
        size: config.side("image_size")?.unwrap_or(224),
        patch: config.side("patch_size")?.unwrap_or(32),
    })
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
fn own_key(key: &str) -> String {
    match (key.strip_prefix("clip.text."), key.strip_prefix("clip.vision.")) {
        (Some("projection_dim"), _) | (_, Some("projection_dim")) => own_flat_key(key),
        (Some(_), _) => format!("text_config.{}", own_flat_key(key)),
        (_, Some(_)) => format!("vision_config.{}", own_flat_key(key)),
        _ => key.to_owned(),
    }
}

/// The same in the file of a single encoder.
fn own_flat_key(key: &str) -> String {
    let rest = key.strip_prefix("clip.text.").or(key.strip_prefix("clip.vision.")).unwrap_or(key);
    let name = match rest {
        "embedding_length" => "hidden_size",
        "feed_forward_length" => "intermediate_size",
        "attention.head_count" => "num_attention_heads",
        "attention.layer_norm_epsilon" => "layer_norm_eps",
        "block_count" => "num_hidden_layers",
        "context_length" => "max_position_embeddings",
        other => other,
    };
    name.to_owned()
}
