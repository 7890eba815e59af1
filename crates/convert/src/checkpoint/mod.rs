//! A Hugging Face CLIPModel folder: configuration, vocabulary, and the tensors in place, under the names of the schema.

mod config;
mod json;
mod preprocessor;
mod safetensors;
mod stored;
#[cfg_attr(not(test), expect(dead_code, reason = "the layouts are not there yet"))]
mod torch;
mod vocabulary;

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

use ::safetensors::Dtype;
use bytes::Bytes;
use edgeclip_model::{
    Config, Format, Tensor, Tower, Weights,
    schema::{self, Id, Piece},
};
use edgeclip_preprocess::CropRule;
use edgeclip_tokenize::Tokenizer;

use self::{config::Architecture, safetensors::Entry};
use crate::{Error, error::SHOWN_NAMES, error::shown};

/// A checkpoint that holds exactly what its configuration says. Values have not been looked at.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    /// The folder.
    pub(crate) path: PathBuf,
    /// What people call it: the folder's name.
    pub(crate) name: String,
    /// Without `source`, which needs the hash.
    pub(crate) config: Config,
    /// For texts of that vocabulary.
    pub(crate) tokenizer: Tokenizer,
    /// The weights' files, in the order of their names.
    pub(crate) files: Vec<(PathBuf, Bytes)>,
    /// In the order of the schema.
    pub(crate) tensors: Vec<SourceTensor>,
    index: HashMap<String, usize>,
    /// What was assumed, for people.
    pub(crate) warnings: Vec<String>,
}

/// A tensor of the checkpoint that has a place in the model.
#[derive(Debug)]
pub(crate) struct SourceTensor {
    /// Its place.
    pub(crate) spec: schema::TensorSpec,
    /// Its name in the checkpoint.
    pub(crate) name: String,
    /// Which of the files it is in.
    pub(crate) file: usize,
    /// F32, F16 or BF16.
    pub(crate) format: Format,
    /// Its data.
    pub(crate) bytes: Bytes,
}

impl Checkpoint {
    /// Opens a folder and checks everything but the values of the weights.
    pub(crate) fn open(folder: &Path, crop: CropRule, name: Option<&str>) -> Result<Self, Error> {
        let found = fs::metadata(folder).map_err(|source| Error::io(folder, "open it", source))?;
        if !found.is_dir() {
            return Err(Error::NotAFolder { path: folder.to_owned() });
        }
        let config_path = folder.join("config.json");
        let architecture = Architecture::read(&config_path).map_err(|error| match error {
            Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => Error::NoCheckpoint {
                path: folder.to_owned(),
                missing: "config.json",
                unread: safetensors::unread_weights(folder),
            },
            error => error,
        })?;
        let folder_name = folder_name(folder);
        // First with nothing in it but sizes, so that no other file is measured against absurd ones.
        let mut config = architecture.config(name.unwrap_or(&folder_name));
        schema::validate(&config).map_err(|invalid| Error::Key {
            path: config_path.clone(),
            key: config::own_key(&invalid.key),
            expected: invalid.expected,
            found: invalid.found,
        })?;

        let mut warnings = Vec::new();
        if let Some(image) = &mut config.image {
            image.preprocessing = preprocessor::read(folder, architecture.image_size, crop, &mut warnings)?;
        }
        let (vocabulary, vocabulary_path) = vocabulary::read(folder, architecture.context_length)?;
        let (expected, found) = (architecture.vocab_size, vocabulary.tokens.len());
        if found != expected {
            let problem = format!("expected {expected} tokens, the vocab_size of config.json, found {found}");
            return Err(Error::Malformed { path: vocabulary_path, problem });
        }
        if let Some(text) = &mut config.text {
            text.pooling = architecture.pooling(&config_path, vocabulary.end)?;
            text.vocabulary = vocabulary.clone();
        }
        let tokenizer = Tokenizer::new(vocabulary).map_err(|error| Error::Vocabulary { path: vocabulary_path, error })?;

        let files = safetensors::open(folder)?;
        let mut entries = HashMap::new();
        for (file, weights) in files.iter().enumerate() {
            entries.extend(weights.tensors.iter().map(|entry| (entry.name.as_str(), (file, entry))));
        }
        // Some tools save the model as a part of another.
        let prefix = if !entries.is_empty() && entries.keys().all(|name| name.starts_with("model.")) { "model." } else { "" };
        let place = |file: usize| files[file].path.clone();
        let weights_path = || if files.len() == 1 { place(0) } else { folder.to_owned() };

        let mut missing = Vec::new();
        let logit_scale = format!("{prefix}logit_scale");
        match entries.remove(logit_scale.as_str()) {
            None => missing.push(logit_scale),
            Some((file, entry)) => config.logit_scale = scalar(&files[file].path, entry)?,
        }
        let mut tensors = Vec::new();
        for spec in schema::tensors(&config) {
            let name = format!("{prefix}{}", hugging_face_name(spec.id));
            match entries.remove(name.as_str()) {
                None => missing.push(name),
                Some((file, entry)) => tensors.push(source_tensor(spec, file, &files[file].path, entry)?),
            }
        }
        if !missing.is_empty() {
            let count = missing.len();
            missing.truncate(SHOWN_NAMES);
            return Err(Error::MissingTensors { path: weights_path(), names: missing, count });
        }
        // A buffer that older versions of transformers saved: 0, 1, 2 and so on.
        let mut left: Vec<&str> = entries.into_keys().filter(|name| !name.ends_with("_model.embeddings.position_ids")).collect();
        if !left.is_empty() {
            left.sort_unstable();
            let names = left.iter().take(SHOWN_NAMES).map(|name| shown(name)).collect();
            return Err(Error::LeftOverTensors { path: weights_path(), names, count: left.len() });
        }
        let index = tensors.iter().enumerate().map(|(i, tensor)| (tensor.spec.name.clone(), i)).collect();
        let files = files.into_iter().map(|file| (file.path, file.bytes)).collect();
        Ok(Self { path: folder.to_owned(), name: folder_name, config, tokenizer, files, tensors, index, warnings })
    }

    /// Bytes of all weights' files.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.files.iter().map(|(_, bytes)| bytes.len() as u64).sum()
    }
}

/// The source as the encoders see it: floats in place, computed in f32.
impl Weights for Checkpoint {
    fn path(&self) -> &Path {
        &self.path
    }

    fn tensor(&self, name: &str) -> Result<Tensor, edgeclip_model::Error> {
        let missing = || edgeclip_model::Error::MissingTensor { file: self.path.clone(), name: name.into() };
        let source = &self.tensors[*self.index.get(name).ok_or_else(missing)?];
        Ok(Tensor { format: source.format, dims: source.spec.dims.clone(), bytes: source.bytes.clone() })
    }

    fn is_quantized(&self) -> bool {
        false
    }
}

fn folder_name(folder: &Path) -> String {
    let full = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    full.file_name().map_or_else(|| "clip".into(), |name| name.to_string_lossy().into_owned())
}

fn format_of(path: &Path, entry: &Entry) -> Result<Format, Error> {
    match entry.dtype {
        Dtype::F32 => Ok(Format::F32),
        Dtype::F16 => Ok(Format::F16),
        Dtype::BF16 => Ok(Format::BF16),
        other => Err(Error::Dtype { path: path.to_owned(), name: shown(&entry.name), found: other.to_string() }),
    }
}

fn shape(entry: &Entry) -> Vec<u64> {
    entry.shape.iter().map(|&dim| dim as u64).collect()
}

fn source_tensor(spec: schema::TensorSpec, file: usize, path: &Path, entry: &Entry) -> Result<SourceTensor, Error> {
    // PyTorch states the contiguous dimension last.
    let expected: Vec<u64> = spec.dims.iter().rev().copied().collect();
    let (name, found) = (entry.name.clone(), shape(entry));
    if found != expected {
        return Err(Error::Shape { path: path.to_owned(), name, expected, found });
    }
    Ok(SourceTensor { spec, file, format: format_of(path, entry)?, name, bytes: entry.bytes.clone() })
}

/// A tensor of one value, with or without a dimension.
fn scalar(path: &Path, entry: &Entry) -> Result<f32, Error> {
    if !matches!(entry.shape.as_slice(), [] | [1]) {
        return Err(Error::Shape { path: path.to_owned(), name: entry.name.clone(), expected: Vec::new(), found: shape(entry) });
    }
    let mut value = [0f32];
    format_of(path, entry)?.dequantize(&entry.bytes, &mut value);
    if !value[0].is_finite() {
        return Err(Error::NotFinite { path: path.to_owned(), name: entry.name.clone(), index: 0, value: value[0] });
    }
    Ok(value[0])
}

/// The name that transformers' `CLIPModel` has for a tensor of the schema.
fn hugging_face_name(id: Id) -> String {
    let model = match id.tower {
        Tower::Text => "text_model",
        Tower::Image => "vision_model",
    };
    let layer = |block: usize, part: &str| format!("{model}.encoder.layers.{block}.{part}");
    let stem = match (id.piece, id.tower) {
        // The one tensor without an ending.
        (Piece::ClassEmbedding, _) => return format!("{model}.embeddings.class_embedding"),
        (Piece::Projection, Tower::Text) => "text_projection".to_owned(),
        (Piece::Projection, Tower::Image) => "visual_projection".to_owned(),
        (Piece::TokenEmbedding, _) => format!("{model}.embeddings.token_embedding"),
        (Piece::PositionEmbedding, _) => format!("{model}.embeddings.position_embedding"),
        (Piece::PatchEmbedding, _) => format!("{model}.embeddings.patch_embedding"),
        // transformers' own spelling.
        (Piece::PreNorm, _) => format!("{model}.pre_layrnorm"),
        (Piece::PostNorm, Tower::Image) => format!("{model}.post_layernorm"),
        (Piece::PostNorm, Tower::Text) => format!("{model}.final_layer_norm"),
        (Piece::Query(block), _) => layer(block, "self_attn.q_proj"),
        (Piece::Key(block), _) => layer(block, "self_attn.k_proj"),
        (Piece::Value(block), _) => layer(block, "self_attn.v_proj"),
        (Piece::AttentionOutput(block), _) => layer(block, "self_attn.out_proj"),
        (Piece::Norm1(block), _) => layer(block, "layer_norm1"),
        (Piece::Norm2(block), _) => layer(block, "layer_norm2"),
        (Piece::MlpIn(block), _) => layer(block, "mlp.fc1"),
        (Piece::MlpOut(block), _) => layer(block, "mlp.fc2"),
    };
    format!("{stem}.{}", if id.bias { "bias" } else { "weight" })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names as transformers 5.23 writes them.
    #[test]
    fn names_are_transformers() {
        let (text, image) = (Tower::Text, Tower::Image);
        for (id, expected) in [
            (Id::weight(text, Piece::TokenEmbedding), "text_model.embeddings.token_embedding.weight"),
            (Id::weight(text, Piece::PositionEmbedding), "text_model.embeddings.position_embedding.weight"),
            (Id::bias(text, Piece::Query(11)), "text_model.encoder.layers.11.self_attn.q_proj.bias"),
            (Id::weight(text, Piece::MlpIn(0)), "text_model.encoder.layers.0.mlp.fc1.weight"),
            (Id::bias(text, Piece::PostNorm), "text_model.final_layer_norm.bias"),
            (Id::weight(image, Piece::ClassEmbedding), "vision_model.embeddings.class_embedding"),
            (Id::weight(image, Piece::PatchEmbedding), "vision_model.embeddings.patch_embedding.weight"),
            (Id::weight(image, Piece::PreNorm), "vision_model.pre_layrnorm.weight"),
            (Id::weight(image, Piece::AttentionOutput(3)), "vision_model.encoder.layers.3.self_attn.out_proj.weight"),
            (Id::weight(image, Piece::MlpOut(3)), "vision_model.encoder.layers.3.mlp.fc2.weight"),
            (Id::bias(image, Piece::Norm2(3)), "vision_model.encoder.layers.3.layer_norm2.bias"),
            (Id::weight(image, Piece::PostNorm), "vision_model.post_layernorm.weight"),
            (Id::weight(text, Piece::Projection), "text_projection.weight"),
            (Id::weight(image, Piece::Projection), "visual_projection.weight"),
        ] {
            assert_eq!(hugging_face_name(id), expected);
        }
    }
}
