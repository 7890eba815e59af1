//! The reference's results, and checkpoints converted for a test.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its share")]

use std::path::{Path, PathBuf};

use edgeclip::{Clip, Embeddings, PictureOptions, Pixels, TokenBatch};
use edgeclip_convert::{Options, Target, convert};
use safetensors::SafeTensors;
use serde_json::Value;

/// Every checkpoint with goldens: the demo and the odd shapes of tests/data.
pub const CHECKPOINTS: [&str; 8] =
    ["demo", "odd-legacy", "odd-sharded", "odd-f16", "odd-bf16", "odd-wide", "odd-ids", "odd-blocks"];

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The folder of a checkpoint.
pub fn checkpoint(name: &str) -> PathBuf {
    if name == "demo" { root().join("models/demo") } else { root().join("tests/data").join(name) }
}

/// A checkpoint as a GGUF file in `folder`.
pub fn converted(name: &str, target: Target, folder: &Path) -> PathBuf {
    let path = folder.join(format!("{name}-{target}.gguf"));
    let options = Options { target, check: false, ..Options::default() };
    convert(&checkpoint(name), &path, &options, &()).unwrap_or_else(|error| panic!("{name} to {target}: {error}"));
    path
}

/// A model that was just converted, with the folder its file lives in.
pub struct Model {
    pub clip: Clip,
    pub folder: tempfile::TempDir,
}

impl Model {
    pub fn new(name: &str, target: Target) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let clip = Clip::load(converted(name, target, folder.path())).expect("a file we wrote loads");
        Self { clip, folder }
    }
}

/// What tools/make_goldens.py or tools/make_checkpoint_goldens.py stored of the reference.
pub struct Golden {
    pub pictures: Vec<PathBuf>,
    pub texts: Vec<String>,
    /// With start and end, unpadded.
    pub ids: Vec<Vec<u32>>,
    pub logit_scale: f32,
    pub logit_bias: Option<f32>,
    pub image: Embeddings,
    pub text: Embeddings,
    /// `[pictures, texts]`
    pub logits_per_image: Vec<f32>,
}

impl Golden {
    pub fn new(name: &str) -> Self {
        let folder = root().join("tests/data/golden");
        let json: Value = serde_json::from_slice(&std::fs::read(folder.join(format!("{name}.json"))).unwrap()).unwrap();
        let bytes = std::fs::read(folder.join(format!("{name}.safetensors"))).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let floats = |name: &str| -> (usize, Vec<f32>) {
            let view = tensors.tensor(name).unwrap();
            assert_eq!(view.dtype(), safetensors::Dtype::F32);
            (view.shape()[1], view.data().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
        };
        let embeddings = |name: &str| {
            let (dim, values) = floats(name);
            Embeddings::new(dim, values)
        };
        let array = |key: &str| json[key].as_array().unwrap().clone();
        Self {
            pictures: array("pictures").iter().map(|path| root().join(path.as_str().unwrap())).collect(),
            texts: array("texts").iter().map(|text| text["text"].as_str().unwrap().to_owned()).collect(),
            ids: array("texts")
                .iter()
                .map(|text| text["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect())
                .collect(),
            logit_scale: json["logit_scale"].as_f64().unwrap() as f32,
            logit_bias: json["logit_bias"].as_f64().map(|bias| bias as f32),
            image: embeddings("image_embeds"),
            text: embeddings("text_embeds"),
            logits_per_image: floats("logits_per_image").1,
        }
    }

    /// The pictures, preprocessed as the reference does it: no EXIF orientation.
    pub fn pixels(&self, clip: &Clip) -> Vec<Pixels> {
        let options = PictureOptions { exif: false, ..PictureOptions::default() };
        self.pictures.iter().map(|path| clip.preprocess_with(&std::fs::read(path).unwrap(), &options).unwrap()).collect()
    }

    pub fn tokens(&self, clip: &Clip) -> TokenBatch {
        clip.tokenize(&self.texts).unwrap()
    }
}

/// The largest difference between corresponding values of two sets of vectors, after normalisation.
pub fn max_difference(a: &Embeddings, b: &Embeddings) -> f32 {
    assert_eq!((a.dim(), a.len()), (b.dim(), b.len()));
    let (a, b) = (a.clone().normalized(), b.clone().normalized());
    // Not f32::max, which would let a NaN pass.
    a.values().iter().zip(b.values()).map(|(a, b)| (a - b).abs()).fold(0.0, |m, d| if d <= m { m } else { d })
}

/// The cosine of each vector with its counterpart.
pub fn pairwise_cosines(a: &Embeddings, b: &Embeddings) -> Vec<f32> {
    assert_eq!(a.len(), b.len());
    let all = a.cosines(b).unwrap();
    (0..a.len()).map(|i| all[i * b.len() + i]).collect()
}

pub fn bits(embeddings: &Embeddings) -> Vec<u32> {
    embeddings.values().iter().map(|v| v.to_bits()).collect()
}
