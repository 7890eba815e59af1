//! The published numbers: data, each with the model it is of and who published it.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use edgeclip::{Activation, Config};
use serde::{Deserialize, Serialize};

/// Numbers that others published, collected by hand, and those of the demo, which `tools/make_verify_demo.py` writes.
const BUILT_IN: [(&str, &str); 2] = [
    ("published.json", include_str!("../../../data/published.json")),
    ("published_demo.json", include_str!("../../../data/published_demo.json")),
];

/// One file of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Published {
    pub(super) sources: BTreeMap<String, Source>,
    pub(super) pictures: BTreeMap<String, Picture>,
    pub(super) models: Vec<Model>,
    pub(super) checks: Vec<Check>,
}

/// Who says so.
#[derive(Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    pub(super) what: String,
    pub(super) url: Option<String>,
}

/// A picture that others measured; they are not ours to pass on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Picture {
    /// The first digits, 8 at least, of the file's hash.
    pub(super) sha256: String,
    /// Where it can be had.
    pub(super) from: String,
}

/// A checkpoint of which there are numbers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Model {
    pub(super) name: String,
    /// Names that nothing else has: a file that calls itself so has to be this model.
    pub(super) names: Vec<String>,
    /// Names that other checkpoints of the architecture have too: a file that calls itself so and has other facts is one of those.
    pub(super) short_names: Vec<String>,
    /// Hashes of checkpoints with these weights.
    pub(super) sha256: Vec<String>,
    facts: Facts,
}

/// What a file says of itself, if it is the model.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Facts {
    projection_dim: usize,
    image_size: usize,
    patch_size: usize,
    activation: String,
    vocabulary: usize,
    context_length: usize,
}

/// One published quantity.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Check {
    /// The models that have it.
    pub(super) models: Vec<String>,
    /// Who published it.
    pub(super) source: String,
    /// How far off the publisher lets others be; token ids have to be equal.
    #[serde(default)]
    pub(super) tolerance: Tolerance,
    pub(super) quantity: Quantity,
}

/// `absolute + relative * |expected|`, as NumPy's and PyTorch's `allclose` have it.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tolerance {
    #[serde(default)]
    absolute: f64,
    #[serde(default)]
    relative: f64,
}

impl Tolerance {
    pub(super) fn around(self, expected: f64) -> f64 {
        self.absolute + self.relative * expected.abs()
    }
}

/// What was measured, and what came out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(super) enum Quantity {
    /// The ids of a text, with start and end.
    Tokens { text: String, ids: Vec<u32> },
    /// The first values of a vector, as the model gives it or at length 1.
    Vector { of: Input, normalized: bool, first: Vec<f64> },
    /// The sum of all values of a vector as the model gives it.
    Sum { of: Input, value: f64 },
    /// The model's scale times the cosines.
    Logits { picture: String, texts: Vec<String>, values: Vec<f64> },
    /// The soft-max of the logits.
    Probabilities { picture: String, texts: Vec<String>, values: Vec<f64> },
}

/// What a vector is of.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(super) enum Input {
    Text(String),
    Picture(String),
}

impl Quantity {
    /// The picture it is of, by its name among the pictures.
    pub(super) fn picture(&self) -> Option<&str> {
        match self {
            Self::Vector { of: Input::Picture(picture), .. }
            | Self::Sum { of: Input::Picture(picture), .. }
            | Self::Logits { picture, .. }
            | Self::Probabilities { picture, .. } => Some(picture),
            Self::Tokens { .. } | Self::Vector { .. } | Self::Sum { .. } => None,
        }
    }

    /// Whether the text encoder, or its tokenizer, has a part in it.
    pub(super) fn has_text(&self) -> bool {
        !matches!(self, Self::Vector { of: Input::Picture(_), .. } | Self::Sum { of: Input::Picture(_), .. })
    }
}

impl Published {
    /// All that is known.
    pub(super) fn built_in() -> Result<Vec<Self>> {
        BUILT_IN.iter().map(|(name, text)| serde_json::from_str(text).with_context(|| (*name).to_owned())).collect()
    }

    /// The checks of a model.
    pub(super) fn checks_of<'a>(&'a self, model: &'a Model) -> impl Iterator<Item = &'a Check> {
        self.checks.iter().filter(|check| check.models.contains(&model.name))
    }
}

/// The model that a file is, and the numbers among which it stands: by a name that is asked for, by the hash of its checkpoint, or by the
/// names that the file has.
pub(super) fn fitting<'a>(all: &'a [Published], config: &Config, asked: Option<&str>) -> Option<(&'a Published, &'a Model)> {
    let models = || all.iter().flat_map(|published| published.models.iter().map(move |model| (published, model)));
    if let Some(asked) = asked {
        return models().find(|(_, model)| {
            let mut names = [&model.name].into_iter().chain(&model.names).chain(&model.short_names);
            names.any(|name| folded(name) == folded(asked))
        });
    }
    let source = config.source.as_ref();
    let by_hash = |model: &Model| source.is_some_and(|source| model.sha256.contains(&source.sha256));
    let own: Vec<String> =
        [config.name.as_deref(), source.map(|source| &*source.name)].into_iter().flatten().map(folded).collect();
    let called = |names: &[String]| names.iter().any(|name| own.contains(&folded(name)));
    models()
        .find(|(_, model)| by_hash(model))
        .or_else(|| models().find(|(_, model)| called(&model.names)))
        .or_else(|| models().find(|(_, model)| called(&model.short_names) && model.differences(config).is_empty()))
}

/// A name in the one form in which names are compared: lower case, anything between letters and digits a single dash. `ViT-B/32`,
/// `ViT-B-32` and `vit_b_32` are one, so are `ViT-B-32:openai` and `ViT-B-32__openai`.
fn folded(name: &str) -> String {
    let words = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_lowercase()
}

impl Model {
    /// The facts in which a file is another model: what, published, found.
    pub(super) fn differences(&self, config: &Config) -> Vec<(&'static str, String, String)> {
        let facts = &self.facts;
        let mut differences = Vec::new();
        let mut compare = |what, expected: &dyn ToString, found: &dyn ToString| {
            let (expected, found) = (expected.to_string(), found.to_string());
            if expected != found {
                differences.push((what, expected, found));
            }
        };
        compare("dimensions", &facts.projection_dim, &config.projection_dim);
        if let Some(image) = &config.image {
            compare("image size", &facts.image_size, &image.preprocessing.size);
            compare("patch size", &facts.patch_size, &image.patch);
            compare("image activation", &facts.activation, &name_of(image.tower.activation));
        }
        if let Some(text) = &config.text {
            compare("tokens", &facts.vocabulary, &text.vocabulary.tokens.len());
            compare("context length", &facts.context_length, &text.vocabulary.context_length);
            compare("text activation", &facts.activation, &name_of(text.tower.activation));
        }
        differences
    }
}

fn name_of(activation: Activation) -> &'static str {
    match activation {
        Activation::QuickGelu => "quick_gelu",
        Activation::Gelu => "gelu",
        Activation::GeluTanh => "gelu_tanh",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_in_one_form() {
        for name in ["ViT-B-32:openai", "ViT-B-32::openai", "vit_b_32__OpenAI", "ViT-B/32 (openai)"] {
            assert_eq!(folded(name), "vit-b-32-openai");
        }
        assert_ne!(folded("ViT-L/14"), folded("ViT-L/14@336px"));
    }

    /// Each number has somebody who published it, a model, and all that is needed to measure it again.
    #[test]
    fn the_data_are_whole() {
        let all = Published::built_in().unwrap();
        let mut names: Vec<String> = Vec::new();
        for published in &all {
            for source in published.sources.values() {
                assert!(!source.what.is_empty());
                assert!(source.url.as_ref().is_none_or(|url| url.starts_with("https://")), "{source:?}");
            }
            for (name, picture) in &published.pictures {
                let digits = picture.sha256.len();
                assert!((8..=64).contains(&digits) && picture.sha256.bytes().all(|b| b"0123456789abcdef".contains(&b)), "{name}");
                assert!(!picture.from.is_empty(), "{name}");
                assert!(published.checks.iter().any(|check| check.quantity.picture() == Some(name)), "{name} is not used");
            }
            for model in &published.models {
                assert!(published.checks_of(model).next().is_some(), "{}", model.name);
                assert!(model.sha256.iter().all(|hash| hash.len() == 64), "{}", model.name);
                names.extend(model.names.iter().chain(&model.short_names).map(|name| folded(name)));
            }
            for check in &published.checks {
                assert!(published.sources.contains_key(&check.source), "{check:?}");
                assert!(!check.models.is_empty(), "{check:?}");
                assert!(check.models.iter().all(|name| published.models.iter().any(|model| model.name == *name)), "{check:?}");
                assert!(check.quantity.picture().is_none_or(|name| published.pictures.contains_key(name)), "{check:?}");
                let is_sound = |expected: &[f64]| {
                    !expected.is_empty() && expected.iter().all(|v| v.is_finite() && check.tolerance.around(*v) > 0.0)
                };
                match &check.quantity {
                    Quantity::Tokens { ids, .. } => assert!(ids.len() > 2, "{check:?}"),
                    Quantity::Vector { first, .. } => assert!(is_sound(first), "{check:?}"),
                    Quantity::Sum { value, .. } => assert!(is_sound(&[*value]), "{check:?}"),
                    Quantity::Logits { texts, values, .. } => {
                        assert!(is_sound(values) && texts.len() == values.len(), "{check:?}");
                    }
                    Quantity::Probabilities { texts, values, .. } => {
                        assert!(is_sound(values) && texts.len() == values.len(), "{check:?}");
                        assert!((values.iter().sum::<f64>() - 1.0).abs() < 1e-6, "{check:?}");
                    }
                }
            }
        }
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count, "a name is there twice");
    }

    #[test]
    fn the_page_lists_them_all() {
        let page = include_str!("../../../../../docs/verify.md");
        let joined = |values: &[f64]| values.iter().map(f64::to_string).collect::<Vec<_>>().join(" ");
        let published: Published = serde_json::from_str(BUILT_IN[0].1).unwrap();
        for check in &published.checks {
            let numbers = match &check.quantity {
                Quantity::Tokens { ids, .. } => ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" "),
                Quantity::Vector { first, .. } => joined(first),
                Quantity::Sum { value, .. } => value.to_string(),
                Quantity::Logits { values, .. } | Quantity::Probabilities { values, .. } => joined(values),
            };
            assert!(page.contains(&format!("| {numbers} |")), "{numbers} is not in docs/verify.md");
        }
    }
}
