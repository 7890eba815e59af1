//! The models that are known by name: data, written by `tools/make_registry.py`.

use std::{fmt, sync::OnceLock};

use serde::Deserialize;

/// Everything that is known.
#[derive(Debug, Deserialize)]
pub struct Registry {
    /// Where it comes from.
    pub source: String,
    /// What runs.
    pub models: Vec<Model>,
    /// What does not run yet.
    pub not_yet: Vec<NotYet>,
}

/// A checkpoint.
#[derive(Debug, Deserialize)]
pub struct Model {
    /// open_clip's name of the architecture.
    pub architecture: String,
    /// open_clip's name of the weights.
    pub tag: String,
    /// Other names: OpenAI's.
    pub aliases: Vec<String>,
    /// Repositories of the Hub with these weights, the first to download first.
    pub repos: Vec<String>,
    /// OpenAI's own file.
    pub openai: Option<OpenAiFile>,
    /// The licence of the weights.
    pub licence: String,
    /// What the checkpoint was trained with; the architecture does not tell.
    pub activation: Activation,
    /// How pictures are prepared.
    pub preprocessing: Preprocessing,
    /// Numbers in all tensors.
    pub parameters: u64,
    /// Published accuracy.
    pub top1: Option<Top1>,
}

/// A file at an address that OpenAI's `clip` has.
#[derive(Debug, Deserialize)]
pub struct OpenAiFile {
    /// After the server's name.
    pub path: String,
    /// Under which name `clip` keeps it.
    pub name: String,
    /// What `clip` checks.
    pub sha256: String,
}

/// The function in the middle of each MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// x · sigmoid(1.702 x).
    QuickGelu,
    /// The exact one.
    Gelu,
}

/// open_clip's preset.
#[derive(Debug, Deserialize)]
pub struct Preprocessing {
    /// Side of the picture, pixels.
    pub size: u32,
    /// Of each channel.
    pub mean: [f64; 3],
    /// Of each channel.
    pub std: [f64; 3],
    /// `bicubic` or `bilinear`.
    pub interpolation: String,
    /// `shortest` or `squash`.
    pub resize_mode: String,
}

/// Zero-shot accuracy on ImageNet-1k.
#[derive(Debug, Deserialize)]
pub struct Top1 {
    /// Per cent.
    pub value: f64,
    /// Who says so.
    pub source: String,
}

/// An architecture that does not run yet.
#[derive(Debug, Deserialize)]
pub struct NotYet {
    /// open_clip's name.
    pub architecture: String,
    /// Its weights.
    pub tags: Vec<String>,
    /// Other names: OpenAI's.
    pub aliases: Vec<String>,
    /// Repositories of the Hub.
    pub repos: Vec<String>,
    /// Why not.
    pub reason: String,
}

impl Registry {
    /// The one in the program.
    pub fn get() -> &'static Self {
        static REGISTRY: OnceLock<Registry> = OnceLock::new();
        REGISTRY.get_or_init(|| {
            serde_json::from_str(include_str!("../data/models.json")).expect("the data are the ones that the tests have read")
        })
    }
}

impl Model {
    /// open_clip's name of the architecture with this checkpoint's activation, for weights that come without a configuration.
    pub fn open_clip_architecture(&self) -> String {
        match self.activation {
            Activation::QuickGelu => format!("{}-quickgelu", self.architecture),
            Activation::Gelu => self.architecture.clone(),
        }
    }
}

/// open_clip's pair, as in `ViT-B-32:openai`.
impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.architecture, self.tag)
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::QuickGelu => "quick_gelu",
            Self::Gelu => "gelu",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::{is_repo, is_sha256};

    #[test]
    fn data_are_sound() {
        let registry = Registry::get();
        let openai = registry.models.iter().filter(|model| model.openai.is_some());
        assert_eq!(
            openai.map(|model| model.aliases[0].as_str()).collect::<Vec<_>>(),
            ["ViT-B/32", "ViT-B/16", "ViT-L/14", "ViT-L/14@336px"]
        );
        assert!(registry.models.len() >= 16);
        let mut names = std::collections::HashSet::new();
        for model in &registry.models {
            assert!(names.insert(model.to_string()), "{model} twice");
            assert!(!model.repos.is_empty() && model.repos.iter().all(|repo| is_repo(repo)), "{model}");
            assert!(model.parameters > 100_000_000 && !model.licence.is_empty(), "{model}");
            assert!(
                model.top1.as_ref().is_none_or(|top1| (50.0..90.0).contains(&top1.value) && !top1.source.is_empty()),
                "{model}"
            );
            if let Some(file) = &model.openai {
                assert!(is_sha256(&file.sha256), "{model}");
                assert_eq!(file.path, format!("/clip/models/{}/{}", file.sha256, file.name));
            }
        }
        assert!(registry.not_yet.iter().all(|known| !known.reason.is_empty() && !known.tags.is_empty()));
    }

    /// Facts that cost accuracy if they are wrong, from open_clip's own lists.
    #[test]
    fn checkpoints_differ_where_architectures_do_not() {
        let model = |name: &str| Registry::get().models.iter().find(|model| model.to_string() == name).unwrap();
        for (name, activation) in [
            ("ViT-B-32:openai", Activation::QuickGelu),
            ("ViT-B-32:laion400m_e32", Activation::QuickGelu),
            ("ViT-B-16:laion400m_e32", Activation::Gelu),
            ("ViT-B-32:laion2b_s34b_b79k", Activation::Gelu),
            ("ViT-L-14:dfn2b", Activation::QuickGelu),
            ("ViT-L-14:dfn2b_s39b", Activation::Gelu),
        ] {
            assert_eq!(model(name).activation, activation, "{name}");
        }
        assert_eq!(model("ViT-B-32:openai").open_clip_architecture(), "ViT-B-32-quickgelu");
        assert_eq!(model("ViT-L-14:laion2b_s32b_b82k").preprocessing.mean, [0.5; 3]);
        assert_eq!(model("ViT-H-14-378:dfn5b").preprocessing.resize_mode, "squash");
        assert_eq!(model("ViT-L-14-336:openai").preprocessing.size, 336);
    }
}
