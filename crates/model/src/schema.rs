//! Keys and tensors of a CLIP model in a GGUF file: the only place that names them, for writing and for reading.
//!
//! The schema is a superset of clip.cpp's: its keys, its tensor names and shapes; what it does not say is said by more keys. docs/gguf.md
//! lists everything. Beware of one historical quirk that we share: `ffn_down` is the first linear of the MLP (width to mlp), `ffn_up` the
//! second.
//!
//! Keys that clip.cpp's own files lack have defaults, stated at each constant; those files are thereby readable.

mod tensors;

use edgeclip_gguf::{File, Metadata, Strings, Value};
use edgeclip_kernels::{Activation, resize::Filter};
use edgeclip_preprocess::{CropRule, Resize, Spec};
use edgeclip_tokenize::{Clean, Vocabulary};

use crate::{Config, Error, ImageConfig, Source, TextConfig, TextPooling, Tower, TowerConfig};

pub use self::tensors::{Id, Piece, Role, TensorSpec, tensors};

/// The names of keys.
pub mod keys {
    /// `"clip"`.
    pub const ARCHITECTURE: &str = "general.architecture";
    /// Optional.
    pub const NAME: &str = "general.name";
    /// For people.
    pub const DESCRIPTION: &str = "general.description";
    /// ggml's id of the type that was asked for, as clip.cpp has it. Never read: each tensor says its own type.
    pub const FILE_TYPE: &str = "general.file_type";
    /// 2, in files with quantized tensors.
    pub const QUANTIZATION_VERSION: &str = "general.quantization_version";
    /// Whether there is a text encoder.
    pub const HAS_TEXT: &str = "clip.has_text_encoder";
    /// Whether there is an image encoder.
    pub const HAS_IMAGE: &str = "clip.has_vision_encoder";
    /// clip.cpp's flag for both activations: false is QuickGELU. Read only where `clip.text.activation` or `clip.vision.activation` is absent.
    pub const USE_GELU: &str = "clip.use_gelu";
    /// Natural logarithm of the factor between cosine and logit. Default ln 100, where CLIP's training stops it.
    pub const LOGIT_SCALE: &str = "clip.logit_scale";
    /// Added to the logit. Optional.
    pub const LOGIT_BIAS: &str = "clip.logit_bias";
    /// Positions of the text encoder.
    pub const CONTEXT_LENGTH: &str = "clip.text.context_length";
    /// Whether attention of the text encoder is causal. Default true.
    pub const CAUSAL: &str = "clip.text.attention.causal";
    /// `"end"` or `"argmax"`. Default end.
    pub const TEXT_POOLING: &str = "clip.text.pooling";
    /// Side of the input, pixels.
    pub const IMAGE_SIZE: &str = "clip.vision.image_size";
    /// Side of a patch, pixels.
    pub const PATCH_SIZE: &str = "clip.vision.patch_size";
    /// Subtracted from R, G, B in 0..=1.
    pub const IMAGE_MEAN: &str = "clip.vision.image_mean";
    /// Divides R, G, B after that.
    pub const IMAGE_STD: &str = "clip.vision.image_std";
    /// `"shortest_edge"` or `"squash"`. Default shortest_edge.
    pub const RESIZE_MODE: &str = "clip.vision.resize_mode";
    /// Pillow's name of the filter. Default bicubic.
    pub const RESIZE_FILTER: &str = "clip.vision.resize_filter";
    /// `"round_half_even"` or `"floor"`. Default round_half_even.
    pub const CROP_RULE: &str = "clip.vision.crop_rule";
    /// `"class"`: the row of the class token. Default class.
    pub const IMAGE_POOLING: &str = "clip.vision.pooling";
    /// Tokens in the order of their ids, in CLIP's byte alphabet, with `</w>` at the end of a word.
    pub const TOKENS: &str = "tokenizer.ggml.tokens";
    /// Pairs in the order of their rank, a blank between the two. Default: recovered from the tokens.
    pub const MERGES: &str = "tokenizer.ggml.merges";
    /// Id of the start token. Default: that of `<|startoftext|>`.
    pub const START: &str = "tokenizer.ggml.bos_token_id";
    /// Id of the end token. Default: that of `<|endoftext|>`.
    pub const END: &str = "tokenizer.ggml.eos_token_id";
    /// Id that fills up a padded row. Default 0, as `clip.tokenize` does.
    pub const PAD: &str = "tokenizer.ggml.padding_token_id";
    /// How text is cleaned before it is split. Default clip.
    pub const CLEAN: &str = "tokenizer.clip.clean";
    /// Version of this schema.
    pub const SCHEMA_VERSION: &str = "edgeclip.schema_version";
    /// See [`crate::ContentHasher`].
    pub const CONTENT_ID: &str = "edgeclip.content_id";
    /// Whether outlier channels were moved, if there were any, when the weights were quantized ([`crate::equalize`]). Default false: they are
    /// when the file is loaded.
    pub const EQUALIZED: &str = "edgeclip.equalized";
    /// Name and version of the program that wrote the file.
    pub const CONVERTER: &str = "edgeclip.converter";
    /// Name of the checkpoint.
    pub const SOURCE_NAME: &str = "edgeclip.source.name";
    /// sha256 of the checkpoint.
    pub const SOURCE_SHA256: &str = "edgeclip.source.sha256";
}

/// Version of the schema that is written, and the highest that is read.
pub const VERSION: u32 = 1;

/// Whether a key decides a vector, so that it counts for the content id.
pub fn decides(key: &str) -> bool {
    key.starts_with("clip.") || key.starts_with("tokenizer.")
}

/// The keys that both encoders have, under a prefix.
struct TowerKeys {
    width: String,
    mlp: String,
    projection_dim: String,
    heads: String,
    eps: String,
    layers: String,
    activation: String,
}

fn tower_keys(tower: Tower) -> TowerKeys {
    let prefix = match tower {
        Tower::Text => "clip.text",
        Tower::Image => "clip.vision",
    };
    TowerKeys {
        width: format!("{prefix}.embedding_length"),
        mlp: format!("{prefix}.feed_forward_length"),
        projection_dim: format!("{prefix}.projection_dim"),
        heads: format!("{prefix}.attention.head_count"),
        eps: format!("{prefix}.attention.layer_norm_epsilon"),
        layers: format!("{prefix}.block_count"),
        activation: format!("{prefix}.activation"),
    }
}

/// A set of values with names, as they stand in a file.
trait Named: Copy + PartialEq + 'static {
    const NAMES: &'static [(Self, &'static str)];

    fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(value, _)| *value == self).map_or("unnamed", |(_, name)| name)
    }
}

impl Named for Activation {
    const NAMES: &'static [(Self, &'static str)] =
        &[(Self::QuickGelu, "quick_gelu"), (Self::Gelu, "gelu"), (Self::GeluTanh, "gelu_tanh")];
}

impl Named for TextPooling {
    const NAMES: &'static [(Self, &'static str)] = &[(Self::End, "end"), (Self::Argmax, "argmax")];
}

impl Named for Resize {
    const NAMES: &'static [(Self, &'static str)] = &[(Self::ShortestEdge, "shortest_edge"), (Self::Squash, "squash")];
}

impl Named for CropRule {
    const NAMES: &'static [(Self, &'static str)] = &[(Self::RoundHalfEven, "round_half_even"), (Self::Floor, "floor")];
}

impl Named for Filter {
    const NAMES: &'static [(Self, &'static str)] = &[
        (Self::Bicubic, "bicubic"),
        (Self::Bilinear, "bilinear"),
        (Self::Box, "box"),
        (Self::Hamming, "hamming"),
        (Self::Lanczos, "lanczos"),
        (Self::Nearest, "nearest"),
    ];
}

/// The metadata of a model, apart from the keys that describe the file itself (file type, content id).
pub fn to_metadata(config: &Config) -> Metadata {
    let mut metadata = Metadata::new();
    let size = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    metadata.insert(keys::ARCHITECTURE, "clip");
    metadata.insert(keys::HAS_TEXT, config.text.is_some());
    metadata.insert(keys::HAS_IMAGE, config.image.is_some());
    if let Some(name) = &config.name {
        metadata.insert(keys::NAME, name.as_str());
    }
    metadata.insert(
        keys::DESCRIPTION,
        match (&config.text, &config.image) {
            (Some(_), None) => "text-only CLIP model",
            (None, Some(_)) => "vision-only CLIP model",
            _ => "two-tower CLIP model",
        },
    );
    let mut tower = |which: Tower, config: &TowerConfig, projection_dim: usize| {
        let keys = tower_keys(which);
        metadata.insert(keys.width, size(config.width));
        metadata.insert(keys.mlp, size(config.mlp));
        metadata.insert(keys.projection_dim, size(projection_dim));
        metadata.insert(keys.heads, size(config.heads));
        metadata.insert(keys.eps, config.eps);
        metadata.insert(keys.layers, size(config.layers));
        metadata.insert(keys.activation, config.activation.name());
    };
    if let Some(text) = &config.text {
        tower(Tower::Text, &text.tower, config.projection_dim);
    }
    if let Some(image) = &config.image {
        tower(Tower::Image, &image.tower, config.projection_dim);
    }
    if let Some(text) = &config.text {
        let vocabulary = &text.vocabulary;
        metadata.insert(keys::CONTEXT_LENGTH, size(vocabulary.context_length));
        metadata.insert(keys::CAUSAL, text.causal);
        metadata.insert(keys::TEXT_POOLING, text.pooling.name());
        metadata.insert(keys::TOKENS, vocabulary.tokens.clone());
        if let Some(merges) = &vocabulary.merges {
            metadata.insert(keys::MERGES, merges.clone());
        }
        metadata.insert(keys::START, vocabulary.start);
        metadata.insert(keys::END, vocabulary.end);
        metadata.insert(keys::PAD, vocabulary.pad);
        metadata.insert(keys::CLEAN, vocabulary.clean.as_str());
    }
    if let Some(image) = &config.image {
        let spec = &image.preprocessing;
        metadata.insert(keys::IMAGE_SIZE, spec.size);
        metadata.insert(keys::PATCH_SIZE, size(image.patch));
        metadata.insert(keys::IMAGE_MEAN, spec.mean);
        metadata.insert(keys::IMAGE_STD, spec.std);
        metadata.insert(keys::RESIZE_MODE, spec.resize.name());
        metadata.insert(keys::RESIZE_FILTER, spec.filter.name());
        metadata.insert(keys::CROP_RULE, spec.crop.name());
        metadata.insert(keys::IMAGE_POOLING, "class");
    }
    let activations = [config.image.as_ref().map(|c| c.tower.activation), config.text.as_ref().map(|c| c.tower.activation)];
    metadata.insert(keys::USE_GELU, activations.iter().flatten().next() != Some(&Activation::QuickGelu));
    metadata.insert(keys::LOGIT_SCALE, config.logit_scale);
    if let Some(bias) = config.logit_bias {
        metadata.insert(keys::LOGIT_BIAS, bias);
    }
    metadata.insert(keys::SCHEMA_VERSION, VERSION);
    if let Some(source) = &config.source {
        metadata.insert(keys::SOURCE_NAME, source.name.as_str());
        metadata.insert(keys::SOURCE_SHA256, source.sha256.as_str());
    }
    metadata
}

/// The configuration in a file's metadata, validated.
///
/// # Errors
/// [`Error::Gguf`] for a key that is missing or of the wrong type, [`Error::Key`] for a value out of range.
pub fn from_file(file: &File) -> Result<Config, Error> {
    let reader = Reader { file };
    reader.named_string(keys::ARCHITECTURE, "clip", &["clip"])?;
    let version = file.get::<u32>(keys::SCHEMA_VERSION)?.unwrap_or(VERSION);
    if version > VERSION {
        return Err(reader.wrong(keys::SCHEMA_VERSION, &format!("{VERSION} or lower (is there a newer edgeclip?)"), &version));
    }
    let text = if file.require::<bool>(keys::HAS_TEXT)? { Some(reader.text()?) } else { None };
    let image = if file.require::<bool>(keys::HAS_IMAGE)? { Some(reader.image()?) } else { None };
    let projection_dim = match (&text, &image) {
        (Some((_, text)), Some((_, image))) if text != image => {
            return Err(reader.wrong(
                &tower_keys(Tower::Image).projection_dim,
                &format!("{text}, as for the text encoder"),
                image,
            ));
        }
        (Some((_, dim)), _) | (None, Some((_, dim))) => *dim,
        (None, None) => return Err(reader.wrong(keys::HAS_IMAGE, "true, or else a text encoder", &false)),
    };
    let source = match (file.get::<String>(keys::SOURCE_NAME)?, file.get::<String>(keys::SOURCE_SHA256)?) {
        (Some(name), Some(sha256)) => Some(Source { name, sha256 }),
        _ => None,
    };
    let config = Config {
        name: file.get::<String>(keys::NAME)?,
        source,
        image: image.map(|(config, _)| config),
        text: text.map(|(config, _)| config),
        projection_dim,
        logit_scale: file.get::<f32>(keys::LOGIT_SCALE)?.unwrap_or(100f32.ln()),
        logit_bias: file.get::<f32>(keys::LOGIT_BIAS)?,
    };
    reader.checked(validate(&config))?;
    Ok(config)
}

/// Far above any model there is, and low enough that no product of two of them overflows. Those whose product sizes memory that no
/// tensor of the file backs have a limit together.
mod limits {
    pub(super) const WIDTH: usize = 1 << 14;
    pub(super) const MLP: usize = 1 << 17;
    pub(super) const LAYERS: usize = 1 << 10;
    pub(super) const CONTEXT: usize = 1 << 14;
    pub(super) const IMAGE: usize = 1 << 12;
    /// Tokens times the width of the MLP between its linears: 512 MiB as f32.
    pub(super) const HIDDEN: usize = 1 << 27;
}

/// A value of a configuration that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The key it has in a file.
    pub key: String,
    /// What it has to be.
    pub expected: String,
    /// What it is.
    pub found: String,
}

impl Invalid {
    fn new(key: impl Into<String>, expected: impl Into<String>, found: impl ToString) -> Self {
        Self { key: key.into(), expected: expected.into(), found: found.to_string() }
    }

    fn unless_within(key: impl Into<String>, value: usize, top: usize) -> Result<(), Self> {
        if (1..=top).contains(&value) { Ok(()) } else { Err(Self::new(key, format!("1 to {top}"), value)) }
    }
}

/// Checks a configuration that did not come from a file; [`from_file`] has done it.
///
/// # Errors
/// The first value that makes no sense.
pub fn validate(config: &Config) -> Result<(), Invalid> {
    if let Some(text) = &config.text {
        validate_text(text, config.projection_dim)?;
    }
    if let Some(image) = &config.image {
        validate_image(image, config.projection_dim)?;
    }
    if config.text.is_none() && config.image.is_none() {
        return Err(Invalid::new(keys::HAS_IMAGE, "true, or else a text encoder", false));
    }
    // Models stop at a factor of 100 or so; within these bounds no logit overflows.
    if !(1e-6..=1e6).contains(&config.logit_scale.exp()) {
        return Err(Invalid::new(keys::LOGIT_SCALE, "the logarithm of a factor from 1e-6 to 1e6", config.logit_scale));
    }
    match config.logit_bias {
        Some(bias) if !(-1e6..=1e6).contains(&bias) => Err(Invalid::new(keys::LOGIT_BIAS, "-1e6 to 1e6", bias)),
        _ => Ok(()),
    }
}

fn validate_tower(which: Tower, config: &TowerConfig, projection_dim: usize) -> Result<(), Invalid> {
    let keys = tower_keys(which);
    Invalid::unless_within(keys.width, config.width, limits::WIDTH)?;
    Invalid::unless_within(keys.mlp, config.mlp, limits::MLP)?;
    Invalid::unless_within(keys.layers, config.layers, limits::LAYERS)?;
    Invalid::unless_within(keys.projection_dim, projection_dim, limits::WIDTH)?;
    Invalid::unless_within(keys.heads.clone(), config.heads, config.width)?;
    if !config.width.is_multiple_of(config.heads) {
        return Err(Invalid::new(keys.heads, format!("a divisor of the width {}", config.width), config.heads));
    }
    if !(config.eps > 0.0 && config.eps < 1.0) {
        return Err(Invalid::new(keys.eps, "above 0 and below 1", config.eps));
    }
    Ok(())
}

fn validate_text(config: &TextConfig, projection_dim: usize) -> Result<(), Invalid> {
    validate_tower(Tower::Text, &config.tower, projection_dim)?;
    let tokens = config.vocabulary.context_length;
    Invalid::unless_within(keys::CONTEXT_LENGTH, tokens, limits::CONTEXT)?;
    Invalid::unless_within(tower_keys(Tower::Text).mlp, config.tower.mlp, limits::HIDDEN / tokens)
}

fn validate_image(config: &ImageConfig, projection_dim: usize) -> Result<(), Invalid> {
    validate_tower(Tower::Image, &config.tower, projection_dim)?;
    let size = config.preprocessing.size as usize;
    Invalid::unless_within(keys::IMAGE_SIZE, size, limits::IMAGE)?;
    Invalid::unless_within(keys::PATCH_SIZE, config.patch, size)?;
    if config.tokens() > limits::CONTEXT {
        return Err(Invalid::new(keys::PATCH_SIZE, format!("a patch for at most {} tokens", limits::CONTEXT), config.patch));
    }
    Invalid::unless_within(tower_keys(Tower::Image).mlp, config.tower.mlp, limits::HIDDEN / config.tokens())?;
    // What is left to be wrong there is mean or deviation.
    config.preprocessing.validate().map_err(|error| Invalid::new(keys::IMAGE_STD, "usable preprocessing", error))
}

struct Reader<'a> {
    file: &'a File,
}

impl Reader<'_> {
    fn wrong(&self, key: &str, expected: &str, found: &dyn std::fmt::Display) -> Error {
        Error::Key { file: self.file.path().to_owned(), key: key.into(), expected: expected.into(), found: found.to_string() }
    }

    fn checked(&self, result: Result<(), Invalid>) -> Result<(), Error> {
        result.map_err(|invalid| self.wrong(&invalid.key, &invalid.expected, &invalid.found))
    }

    fn size(&self, key: &str) -> Result<usize, Error> {
        Ok(self.file.require::<u32>(key)? as usize)
    }

    fn named_string(&self, key: &str, default: &str, names: &[&str]) -> Result<String, Error> {
        let name = self.file.get::<String>(key)?.unwrap_or(default.into());
        if names.contains(&name.as_str()) {
            Ok(name)
        } else {
            Err(self.wrong(key, &names.join(" or "), &Value::from(name.as_str())))
        }
    }

    fn named<T: Named>(&self, key: &str, default: T) -> Result<T, Error> {
        let Some(found) = self.file.get::<&str>(key)? else { return Ok(default) };
        let known = || T::NAMES.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(" or ");
        T::NAMES
            .iter()
            .find(|(_, name)| *name == found)
            .map(|(value, _)| *value)
            .ok_or_else(|| self.wrong(key, &known(), &Value::from(found)))
    }

    fn tower(&self, tower: Tower) -> Result<(TowerConfig, usize), Error> {
        let keys = tower_keys(tower);
        let gelu = if self.file.get::<bool>(keys::USE_GELU)?.unwrap_or(false) { Activation::Gelu } else { Activation::QuickGelu };
        let config = TowerConfig {
            width: self.size(&keys.width)?,
            heads: self.size(&keys.heads)?,
            layers: self.size(&keys.layers)?,
            mlp: self.size(&keys.mlp)?,
            eps: self.file.require::<f32>(&keys.eps)?,
            activation: self.named(&keys.activation, gelu)?,
        };
        Ok((config, self.size(&keys.projection_dim)?))
    }

    fn image(&self) -> Result<(ImageConfig, usize), Error> {
        let (tower, projection_dim) = self.tower(Tower::Image)?;
        let three = |key: &str| -> Result<[f32; 3], Error> {
            let values = self.file.require::<&[f32]>(key)?;
            values.try_into().map_err(|_| self.wrong(key, "3 numbers", &values.len()))
        };
        self.named_string(keys::IMAGE_POOLING, "class", &["class"])?;
        let preprocessing = Spec {
            size: self.file.require::<u32>(keys::IMAGE_SIZE)?,
            resize: self.named(keys::RESIZE_MODE, Resize::ShortestEdge)?,
            filter: self.named(keys::RESIZE_FILTER, Filter::Bicubic)?,
            crop: self.named(keys::CROP_RULE, CropRule::RoundHalfEven)?,
            mean: three(keys::IMAGE_MEAN)?,
            std: three(keys::IMAGE_STD)?,
        };
        let config = ImageConfig { tower, patch: self.size(keys::PATCH_SIZE)?, preprocessing };
        self.checked(validate_image(&config, projection_dim))?;
        Ok((config, projection_dim))
    }

    fn text(&self) -> Result<(TextConfig, usize), Error> {
        let (tower, projection_dim) = self.tower(Tower::Text)?;
        let tokens = self.file.require::<&Strings>(keys::TOKENS)?;
        let id = |key: &str, default: Option<&str>| -> Result<u32, Error> {
            match (self.file.get::<u32>(key)?, default) {
                (Some(id), _) if (id as usize) < tokens.len() => Ok(id),
                (Some(id), _) => Err(self.wrong(key, &format!("an id below {}", tokens.len()), &id)),
                (None, None) => Ok(0),
                (None, Some(name)) => {
                    let position = tokens.iter().rposition(|token| token == name);
                    Ok(position
                        .ok_or_else(|| self.wrong(key, &format!("an id, or the token {name} in {}", keys::TOKENS), &"neither"))?
                        as u32)
                }
            }
        };
        let clean = self.file.get::<&str>(keys::CLEAN)?.unwrap_or(Clean::Clip.as_str());
        let vocabulary = Vocabulary {
            tokens: tokens.clone(),
            merges: self.file.get::<&Strings>(keys::MERGES)?.cloned(),
            start: id(keys::START, Some("<|startoftext|>"))?,
            end: id(keys::END, Some("<|endoftext|>"))?,
            pad: id(keys::PAD, None)?,
            context_length: self.size(keys::CONTEXT_LENGTH)?,
            clean: clean.parse().map_err(|_| self.wrong(keys::CLEAN, Clean::Clip.as_str(), &Value::from(clean)))?,
        };
        let config = TextConfig {
            tower,
            causal: self.file.get::<bool>(keys::CAUSAL)?.unwrap_or(true),
            pooling: self.named(keys::TEXT_POOLING, TextPooling::End)?,
            vocabulary,
        };
        self.checked(validate_text(&config, projection_dim))?;
        Ok((config, projection_dim))
    }
}

#[cfg(test)]
mod tests;
