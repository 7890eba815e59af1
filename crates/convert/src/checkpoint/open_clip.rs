//! OpenAI's and open_clip's layout: open_clip_config.json, open_clip's list of architectures, or what the shapes of the tensors say.
//!
//! The defaults are those of open_clip's `CLIPVisionCfg` and `CLIPTextCfg` (3.3). What a configuration switches on and the encoders here do
//! not have is refused by its key.

use std::path::Path;

use edgeclip_model::{Activation, TowerConfig};
use edgeclip_preprocess::{CropRule, Filter, Resize, Spec};
use serde_json::{Map, Value};

use super::{
    architecture::{Architecture, Description, ImageArchitecture, Pooling, TextArchitecture},
    json::Object,
    layout::Layout,
    preprocessor,
    stored::Stored,
    tensors::Tensors,
};
use crate::{
    Error,
    error::{DescribedBy, shown},
};

const LIMIT: u64 = 1 << 20;
/// Name of the configuration beside the weights.
pub(super) const CONFIG: &str = "open_clip_config.json";
/// The architecture of OpenAI's own classes: everything follows from the shapes.
const OPENAI: &str = "openai";
/// The configurations of open_clip 3.3 that can be converted, by name (tools/make_architectures.py).
const ARCHITECTURES: &str = include_str!("../../data/architectures.json");
/// OpenAI's names of its own checkpoints, and open_clip's names of their architectures.
const OPENAI_NAMES: [(&str, &str); 4] = [
    ("ViT-B/32", "ViT-B-32-quickgelu"),
    ("ViT-B/16", "ViT-B-16-quickgelu"),
    ("ViT-L/14", "ViT-L-14-quickgelu"),
    ("ViT-L/14@336px", "ViT-L-14-336-quickgelu"),
];

/// Keys that are read, and those that change no vector of the model they stand in.
const MODEL_KEYS: &[&str] = &[
    "embed_dim",
    "vision_cfg",
    "text_cfg",
    "quick_gelu",
    "custom_text",
    "init_logit_scale",
    "init_logit_bias",
    "nonscalar_logit_scale",
    "cast_dtype",
    "output_dict",
];
const VISION_KEYS: &[&str] = &[
    "layers",
    "width",
    "head_width",
    "mlp_ratio",
    "patch_size",
    "image_size",
    "ls_init_value",
    "act_kwargs",
    "norm_kwargs",
    "patch_dropout",
    "pos_embed_type",
    "pool_type",
    "block_type",
    "output_tokens",
    "attn_pooler_queries",
    "attn_pooler_heads",
    "timm_pool",
    "timm_proj",
    "timm_drop",
    "timm_model_pretrained",
];
const TEXT_KEYS: &[&str] = &[
    "context_length",
    "vocab_size",
    "width",
    "heads",
    "layers",
    "mlp_ratio",
    "ls_init_value",
    "act_kwargs",
    "norm_kwargs",
    "pool_type",
    "proj_type",
    "block_type",
    "eos_id",
    "pad_id",
    "output_tokens",
    "hf_tokenizer_name",
    "tokenizer_mode",
    "tokenizer_kwargs",
    "hf_model_pretrained",
    "hf_proj_type",
    "hf_pooler_type",
];

/// What open_clip_config.json says of the model.
pub(super) fn read(path: &Path) -> Result<Description, Error> {
    let file = Object::read(path, LIMIT)?;
    let model = file.object("model_cfg")?.ok_or_else(|| file.wrong("model_cfg", "an object", &Value::Null))?;
    Ok(Description {
        architecture: architecture(&model)?,
        by: DescribedBy::File(CONFIG),
        path: path.to_owned(),
        own_key,
        eos_key: "model_cfg.text_cfg.eos_id",
    })
}

/// The architecture of a name that was given.
pub(super) fn named(name: &str, weights: &Path, tensors: &Tensors, layout: Layout) -> Result<Description, Error> {
    if name == OPENAI {
        return by_shapes(weights, tensors, layout, Activation::QuickGelu);
    }
    let known: Map<String, Value> = serde_json::from_str(ARCHITECTURES).expect("compiled in and tested");
    let open_clip = OPENAI_NAMES.iter().find(|(own, _)| *own == name).map_or(name, |(_, open_clip)| open_clip);
    let Some(Value::Object(model)) = known.get(open_clip) else {
        let mut names: Vec<&str> = known.keys().map(String::as_str).collect();
        names.push(OPENAI);
        return Err(Error::UnknownArchitecture { name: shown(name), known: names.join(", ") });
    };
    Ok(Description {
        architecture: architecture(&Object::new(weights, model.clone()))?,
        by: DescribedBy::Name(name.to_owned()),
        path: weights.to_owned(),
        own_key: str::to_owned,
        eos_key: "eos_id",
    })
}

fn architecture(model: &Object<'_>) -> Result<Architecture, Error> {
    known_keys(model, MODEL_KEYS)?;
    let quick_gelu = model.truth("quick_gelu")?.unwrap_or(false);
    let vision = model.object("vision_cfg")?.ok_or_else(|| model.wrong("vision_cfg", "an object", &Value::Null))?;
    let text = model.object("text_cfg")?.ok_or_else(|| model.wrong("text_cfg", "an object", &Value::Null))?;
    let projection_dim = model.size("embed_dim")?.ok_or_else(|| model.wrong("embed_dim", "a number", &Value::Null))?;
    for (object, key) in [(&vision, "timm_model_name"), (&text, "hf_model_name")] {
        if let Some(name) = object.get(key) {
            return Err(object.wrong(key, "none: only open_clip's own transformers can be converted yet", name));
        }
    }
    known_keys(&vision, VISION_KEYS)?;
    known_keys(&text, TEXT_KEYS)?;
    only(&vision, "pool_type", &["tok"])?;
    only(&vision, "pos_embed_type", &["learnable", "sin_cos_2d"])?;
    only(&vision, "block_type", &["default", "custom"])?;
    only(&text, "block_type", &["default", "custom"])?;
    only(&text, "proj_type", &["linear"])?;
    tokenizer(&text)?;

    let width = vision.size("width")?.unwrap_or(768);
    let head_width = vision.size("head_width")?.unwrap_or(64);
    let image = ImageArchitecture {
        tower: TowerConfig {
            width,
            heads: width.checked_div(head_width).unwrap_or(0),
            layers: vision.size("layers")?.unwrap_or(12),
            mlp: mlp(&vision, width)?,
            eps: eps(&vision)?,
            activation: activation(&vision, quick_gelu)?,
        },
        size: vision.side("image_size")?.unwrap_or(224),
        patch: vision.side("patch_size")?.unwrap_or(16),
    };
    let width = text.size("width")?.unwrap_or(512);
    let pooling = match text.text("pool_type")?.unwrap_or("argmax") {
        "argmax" => Pooling::Argmax,
        "eos" => Pooling::Token(text.size("eos_id")?.unwrap_or(2) as u64),
        other => return Err(text.wrong("pool_type", "argmax or eos", &other.into())),
    };
    let text = TextArchitecture {
        tower: TowerConfig {
            width,
            heads: text.size("heads")?.unwrap_or(8),
            layers: text.size("layers")?.unwrap_or(12),
            mlp: mlp(&text, width)?,
            eps: eps(&text)?,
            activation: activation(&text, quick_gelu)?,
        },
        vocab_size: text.size("vocab_size")?.unwrap_or(49408),
        context_length: text.size("context_length")?.unwrap_or(77),
        pooling,
    };
    Ok(Architecture { projection_dim, image: Some(image), text: Some(text) })
}

/// Refuses what a configuration switches on beyond the keys that are read.
fn known_keys(object: &Object<'_>, known: &[&str]) -> Result<(), Error> {
    let off = |value: &Value| matches!(value, Value::Bool(false)) || value.as_f64() == Some(0.0) || value.as_str() == Some("");
    let mut keys: Vec<&str> = object.keys().filter(|key| !known.contains(key)).collect();
    keys.sort_unstable();
    match keys.into_iter().filter_map(|key| Some((key, object.get(key)?))).find(|(_, value)| !off(value)) {
        None => Ok(()),
        Some((key, value)) => Err(object.wrong(key, "it off or absent: models with it cannot be converted yet", value)),
    }
}

fn only(object: &Object<'_>, key: &str, values: &[&str]) -> Result<(), Error> {
    match object.text(key)? {
        Some(found) if !values.contains(&found) => Err(object.wrong(key, values.join(" or "), &found.into())),
        _ => Ok(()),
    }
}

/// CLIP's own tokenizer cleans and lowers; others are refused.
fn tokenizer(text: &Object<'_>) -> Result<(), Error> {
    let Some(options) = text.object("tokenizer_kwargs")? else { return Ok(()) };
    known_keys(&options, &["clean"])?;
    only(&options, "clean", &["lower"])
}

/// Python's `int(width * mlp_ratio)`.
fn mlp(tower: &Object<'_>, width: usize) -> Result<usize, Error> {
    let ratio = match tower.get("mlp_ratio") {
        None => 4.0,
        Some(value) => value.as_f64().ok_or_else(|| tower.wrong("mlp_ratio", "a number", value))?,
    };
    Ok((width as f64 * ratio) as usize)
}

fn eps(tower: &Object<'_>) -> Result<f32, Error> {
    let Some(norm) = tower.object("norm_kwargs")? else { return Ok(1e-5) };
    known_keys(&norm, &["eps"])?;
    Ok(norm.float("eps")?.unwrap_or(1e-5))
}

fn activation(tower: &Object<'_>, quick_gelu: bool) -> Result<Activation, Error> {
    let options = tower.object("act_kwargs")?;
    let approximate = match &options {
        None => None,
        Some(options) => {
            known_keys(options, &["approximate"])?;
            only(options, "approximate", &["none", "tanh"])?;
            options.text("approximate")?
        }
    };
    Ok(match approximate {
        // open_clip's QuickGELU takes no options, so the two do not occur together.
        _ if quick_gelu => Activation::QuickGelu,
        Some("tanh") => Activation::GeluTanh,
        _ => Activation::Gelu,
    })
}

/// What open_clip_config.json says of pictures, for inputs with sides of `size` pixels.
pub(super) fn preprocessing(path: &Path, size: usize, crop: CropRule) -> Result<Spec, Error> {
    let own = preprocessor::openai(size, crop);
    let Some(config) = Object::read(path, LIMIT)?.object("preprocess_cfg")? else { return Ok(own) };
    only(&config, "mode", &["RGB"])?;
    if let Some(found) = config.side("size")?
        && found != size
    {
        return Err(config.wrong("size", format!("{size}, the image_size of model_cfg"), &found.into()));
    }
    let resize = match config.text("resize_mode")?.unwrap_or("shortest") {
        "shortest" => Resize::ShortestEdge,
        "squash" => Resize::Squash,
        other => return Err(config.wrong("resize_mode", "shortest or squash", &other.into())),
    };
    let filter = match config.text("interpolation")?.unwrap_or("bicubic") {
        // In training it varies; open_clip's inference then takes bicubic.
        "bicubic" | "random" => Filter::Bicubic,
        "bilinear" => Filter::Bilinear,
        other => return Err(config.wrong("interpolation", "bicubic or bilinear", &other.into())),
    };
    let (mean, std) = (config.three("mean")?.unwrap_or(own.mean), config.three("std")?.unwrap_or(own.std));
    let spec = Spec { resize, filter, mean, std, ..own };
    spec.validate().map_err(|error| config.wrong("std", "usable preprocessing", &error.to_string().into()))?;
    Ok(spec)
}

/// The architecture of OpenAI's classes, as `build_model` of `clip/model.py` reads it off the tensors: heads are 64 wide.
pub(super) fn by_shapes(weights: &Path, tensors: &Tensors, layout: Layout, activation: Activation) -> Result<Description, Error> {
    let Layout::OpenAi { text: prefix } = layout else { unreachable!("only this layout is described by its shapes") };
    let shape = |name: &str, dims: usize| -> Result<Vec<usize>, Error> {
        let found = tensors.require(name)?.shape.clone();
        if found.len() == dims {
            return Ok(found);
        }
        let problem = format!("tensor {}: expected {dims} dimensions, found {}", shown(name), found.len());
        Err(Error::Malformed { path: weights.to_owned(), problem })
    };
    let tower = |model: &str, width: usize| -> Result<TowerConfig, Error> {
        let blocks = format!("{model}transformer.resblocks.");
        let index = |name: &str| name.strip_prefix(&*blocks)?.split('.').next()?.parse::<usize>().ok();
        Ok(TowerConfig {
            width,
            heads: width / 64,
            layers: tensors.names().filter_map(index).max().map_or(0, |last| last.saturating_add(1)),
            mlp: shape(&format!("{blocks}0.mlp.c_fc.weight"), 2)?[0],
            eps: 1e-5,
            activation,
        })
    };
    let kernel = shape("visual.conv1.weight", 4)?;
    let patch = kernel[3];
    let grid = shape("visual.positional_embedding", 2)?[0].saturating_sub(1).isqrt();
    // What does not fill a patch is in no shape, but in OpenAI's archives.
    let size = tensors.get("input_resolution").and_then(integer).unwrap_or(grid.saturating_mul(patch));
    let positions = shape(&format!("{prefix}positional_embedding"), 2)?;
    let architecture = Architecture {
        projection_dim: shape(&format!("{prefix}text_projection"), 2)?[1],
        image: Some(ImageArchitecture { tower: tower("visual.", kernel[0])?, size, patch }),
        text: Some(TextArchitecture {
            tower: tower(prefix, positions[1])?,
            vocab_size: shape(&format!("{prefix}token_embedding.weight"), 2)?[0],
            context_length: positions[0],
            pooling: Pooling::Argmax,
        }),
    };
    Ok(Description { architecture, by: DescribedBy::Shapes, path: weights.to_owned(), own_key: str::to_owned, eos_key: "eos" })
}

/// The value of a tensor of one integer.
fn integer(tensor: &Stored) -> Option<usize> {
    let bytes = tensor.read();
    match (tensor.dtype, bytes.len()) {
        (safetensors::Dtype::I64, 8) => usize::try_from(i64::from_le_bytes(bytes[..].try_into().ok()?)).ok(),
        (safetensors::Dtype::I32, 4) => usize::try_from(i32::from_le_bytes(bytes[..].try_into().ok()?)).ok(),
        _ => None,
    }
}

/// The activation between the linears of the MLPs of a TorchScript archive, told by the class of its module; `None` if it says neither.
///
/// open_clip and OpenAI call the one of their own `QuickGELU`, PyTorch's exact one is `GELU`. OpenAI's own archives have the sizes of the
/// model among their tensors, which open_clip's never had.
pub(super) fn script_activation(classes: &[(String, String)], tensors: &Tensors) -> Option<Activation> {
    let of = |path: &str| path.ends_with(".mlp.gelu");
    let class = classes.iter().find(|(path, _)| of(path)).and_then(|(_, class)| class.rsplit('.').next());
    match class {
        Some("QuickGELU") => Some(Activation::QuickGelu),
        Some("GELU") => Some(Activation::Gelu),
        _ => tensors.get("input_resolution").map(|_| Activation::QuickGelu),
    }
}

/// What open_clip_config.json calls a key of the schema.
fn own_key(key: &str) -> String {
    let (section, rest) = match (key.strip_prefix("clip.text."), key.strip_prefix("clip.vision.")) {
        (Some(rest), _) => ("text_cfg", rest),
        (_, Some(rest)) => ("vision_cfg", rest),
        _ => return key.to_owned(),
    };
    let name = match rest {
        "projection_dim" => return "model_cfg.embed_dim".to_owned(),
        "embedding_length" => "width",
        "feed_forward_length" => "mlp_ratio",
        "attention.head_count" if section == "text_cfg" => "heads",
        "attention.head_count" => "head_width",
        "attention.layer_norm_epsilon" => "norm_kwargs.eps",
        "block_count" => "layers",
        other => other,
    };
    format!("model_cfg.{section}.{name}")
}

#[cfg(test)]
mod tests {
    use edgeclip_model::schema;
    use serde_json::json;

    use super::*;

    fn model(value: &Value) -> Result<Architecture, Error> {
        architecture(&Object::new(Path::new("m"), value.as_object().unwrap().clone()))
    }

    fn base() -> Value {
        json!({"embed_dim": 8, "vision_cfg": {"width": 64, "layers": 1}, "text_cfg": {"width": 32, "heads": 2, "layers": 1}})
    }

    /// Widths, heads and depths as open_clip builds them.
    #[test]
    fn every_architecture_of_the_list() {
        let known: Map<String, Value> = serde_json::from_str(ARCHITECTURES).unwrap();
        assert!(known.len() >= 30, "{}", known.len());
        for (name, value) in &known {
            let found = model(value).unwrap_or_else(|error| panic!("{name}: {error}"));
            schema::validate(&found.config(name, CropRule::RoundHalfEven))
                .unwrap_or_else(|invalid| panic!("{name}: {invalid:?}"));
        }
        for (_, open_clip) in OPENAI_NAMES {
            let image = model(&known[open_clip]).unwrap().image.unwrap();
            assert_eq!(image.tower.activation, Activation::QuickGelu, "{open_clip}");
        }
        let big = model(&known["ViT-bigG-14"]).unwrap();
        let image = big.image.unwrap();
        assert_eq!((image.tower.heads, image.tower.mlp, image.tower.layers, image.patch), (16, 8192, 48, 14));
        assert_eq!((image.tower.activation, big.text.unwrap().tower.heads), (Activation::Gelu, 20));
    }

    #[test]
    fn options_of_the_towers() {
        let mut value = base();
        value["vision_cfg"]["act_kwargs"] = json!({"approximate": "tanh"});
        value["vision_cfg"]["norm_kwargs"] = json!({"eps": 1e-6});
        value["text_cfg"]["pool_type"] = json!("eos");
        value["text_cfg"]["eos_id"] = json!(7);
        value["text_cfg"]["mlp_ratio"] = json!(4.9231);
        let found = model(&value).unwrap();
        let (image, text) = (found.image.unwrap(), found.text.unwrap());
        assert_eq!((image.tower.activation, image.tower.eps, image.tower.heads), (Activation::GeluTanh, 1e-6, 1));
        assert_eq!((text.tower.activation, text.tower.eps, text.tower.mlp), (Activation::Gelu, 1e-5, 157));
        assert!(matches!(text.pooling, Pooling::Token(7)));
    }

    #[test]
    fn what_the_encoders_do_not_have_is_refused_by_its_key() {
        let refusal = |edit: &dyn Fn(&mut Value)| {
            let mut value = base();
            edit(&mut value);
            model(&value).unwrap_err().to_string()
        };
        let off = "expected it off or absent: models with it cannot be converted yet";
        assert_eq!(
            refusal(&|m| m["vision_cfg"]["no_ln_pre"] = json!(true)),
            format!("m: vision_cfg.no_ln_pre: {off}, found true")
        );
        assert_eq!(refusal(&|m| m["text_cfg"]["embed_cls"] = json!(true)), format!("m: text_cfg.embed_cls: {off}, found true"));
        assert_eq!(
            refusal(&|m| m["text_cfg"]["no_causal_mask"] = json!(true)),
            format!("m: text_cfg.no_causal_mask: {off}, found true")
        );
        assert_eq!(
            refusal(&|m| m["vision_cfg"]["timm_model_name"] = json!("vit_so400m")),
            "m: vision_cfg.timm_model_name: expected none: only open_clip's own transformers can be converted yet, found \"vit_so400m\""
        );
        assert_eq!(
            refusal(&|m| m["vision_cfg"]["pool_type"] = json!("avg")),
            "m: vision_cfg.pool_type: expected tok, found \"avg\""
        );
        assert_eq!(
            refusal(&|m| m["text_cfg"]["tokenizer_kwargs"] = json!({"clean": "canonicalize"})),
            "m: text_cfg.tokenizer_kwargs.clean: expected lower, found \"canonicalize\""
        );
        assert_eq!(
            refusal(&|m| m["multimodal_cfg"] = json!({"width": 4})),
            format!("m: multimodal_cfg: {off}, found {{\"width\":4}}")
        );
        assert!(
            model(&{
                let mut value = base();
                value["vision_cfg"]["attentional_pool"] = json!(false);
                value["text_cfg"]["hf_tokenizer_name"] = json!("");
                value
            })
            .is_ok()
        );
    }
}
