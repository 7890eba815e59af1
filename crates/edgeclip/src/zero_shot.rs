//! Zero-shot classification: labels and prompt templates to one vector a label.
//!
//! As in the notebook of the paper and open_clip's `build_zero_shot_classifier`: each label is put into each template, each prompt's
//! vector is normalised, a label's vectors are averaged, and the mean is normalised again.

use std::fmt;

use crate::{Clip, Embeddings, Logits, Overlong};

mod templates;

pub use templates::{IMAGENET_TEMPLATES, SIMPLE_TEMPLATES};

/// Prompts that are encoded in one call, so that a thousand labels in 80 templates do not lie in memory as 80,000 vectors. Prompts of one
/// call share the tokens they begin with: with fewer, every template's would be computed more often.
const PROMPTS: usize = 4096;

/// What is wrong with labels or templates.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// There are no labels.
    NoLabels,
    /// There are no templates.
    NoTemplates,
    /// A template does not say, or says more than once, where the label goes.
    Template {
        /// The template.
        template: String,
        /// How often `{}` is in it.
        found: usize,
    },
    /// A prompt cannot be encoded.
    Clip(crate::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLabels => f.write_str("there are no labels to choose from; give at least one"),
            Self::NoTemplates => f.write_str("there are no templates; give at least one, \"{}\" for the bare label"),
            Self::Template { template, found } => {
                write!(f, "template {template:?}: expected {{}} once, where the label goes, found it {found} times")
            }
            Self::Clip(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // Shown as its cause, whose own causes follow.
            Self::Clip(error) => error.source(),
            _ => None,
        }
    }
}

impl From<crate::Error> for Error {
    fn from(error: crate::Error) -> Self {
        Self::Clip(error)
    }
}

/// A sentence with a place for a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(String);

impl Template {
    /// A template; `{}` marks the label's place.
    ///
    /// # Errors
    /// [`Error::Template`] unless `{}` is in it exactly once.
    pub fn new(template: impl Into<String>) -> Result<Self, Error> {
        let template = template.into();
        match template.matches("{}").count() {
            1 => Ok(Self(template)),
            found => Err(Error::Template { template, found }),
        }
    }

    /// The label in its place.
    pub fn fill(&self, label: &str) -> String {
        // Once: a label may hold `{}` itself.
        self.0.replacen("{}", label, 1)
    }
}

/// Labels as vectors, which pictures are compared with.
#[derive(Clone, Debug)]
pub struct Classifier {
    labels: Vec<String>,
    vectors: Embeddings,
}

impl Classifier {
    /// Encodes every label in every template.
    ///
    /// ```no_run
    /// use edgeclip::{Clip, zero_shot::{Classifier, IMAGENET_TEMPLATES}};
    ///
    /// let clip = Clip::load("clip-vit-base-patch32-q8_0.gguf")?;
    /// let classifier = Classifier::new(&clip, &["dog", "cat"], &IMAGENET_TEMPLATES)?;
    /// let picture = clip.encode_image(&[clip.preprocess(&std::fs::read("cat.jpg")?)?])?;
    /// let probabilities = classifier.logits(&clip, &picture)?.softmax(); // [1, 2]
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NoLabels`], [`Error::NoTemplates`], [`Error::Template`], and [`Error::Clip`] for a prompt that is too long.
    pub fn new<L: AsRef<str>, T: AsRef<str>>(clip: &Clip, labels: &[L], templates: &[T]) -> Result<Self, Error> {
        Self::new_with(clip, labels, templates, Overlong::Error)
    }

    /// As [`new`](Self::new), with a choice of what happens to long prompts.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn new_with<L: AsRef<str>, T: AsRef<str>>(
        clip: &Clip,
        labels: &[L],
        templates: &[T],
        overlong: Overlong,
    ) -> Result<Self, Error> {
        let templates = templates.iter().map(|t| Template::new(t.as_ref())).collect::<Result<Vec<_>, _>>()?;
        if labels.is_empty() {
            return Err(Error::NoLabels);
        }
        if templates.is_empty() {
            return Err(Error::NoTemplates);
        }
        let mut means = Means::new(templates.len());
        let prompts: Vec<(usize, usize)> = (0..labels.len()).flat_map(|l| (0..templates.len()).map(move |t| (l, t))).collect();
        for pass in prompts.chunks(PROMPTS) {
            let texts: Vec<String> = pass.iter().map(|&(l, t)| templates[t].fill(labels[l].as_ref())).collect();
            let tokens = clip.tokenize_with(&texts, overlong)?;
            clip.encode_text(&tokens)?.normalized().rows().for_each(|vector| means.add(vector));
        }
        let labels = labels.iter().map(|label| label.as_ref().to_owned()).collect();
        let vectors = Embeddings::new(clip.embedding_dim(), means.done).normalized();
        Ok(Self { labels, vectors })
    }

    /// Appends the labels of another classifier of the same model, so that a long list can be encoded in steps.
    ///
    /// # Errors
    /// [`crate::Error::Model`] if the other is of another dimension, thus of another model.
    pub fn append(&mut self, other: Self) -> Result<(), crate::Error> {
        self.vectors.append(other.vectors)?;
        self.labels.extend(other.labels);
        Ok(())
    }

    /// The labels, in the order given.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// One vector a label, of length 1: `[labels, dim]`.
    pub fn vectors(&self) -> &Embeddings {
        &self.vectors
    }

    /// The logits of pictures, `[pictures, labels]`, with the model's own scale; their soft-max are the labels' probabilities.
    ///
    /// # Errors
    /// [`crate::Error::Model`] if the pictures were encoded by another model, of another dimension.
    pub fn logits(&self, clip: &Clip, pictures: &Embeddings) -> Result<Logits, crate::Error> {
        clip.logits_per_image(pictures, &self.vectors)
    }
}

/// Means of every `n` vectors that come by.
struct Means {
    n: usize,
    seen: usize,
    sum: Vec<f64>,
    done: Vec<f32>,
}

impl Means {
    fn new(n: usize) -> Self {
        Self { n, seen: 0, sum: Vec::new(), done: Vec::new() }
    }

    fn add(&mut self, vector: &[f32]) {
        if self.seen == 0 {
            self.sum = vec![0.0; vector.len()];
        }
        self.sum.iter_mut().zip(vector).for_each(|(sum, v)| *sum += f64::from(*v));
        self.seen += 1;
        if self.seen == self.n {
            self.done.extend(self.sum.iter().map(|sum| (sum / self.n as f64) as f32));
            self.seen = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_says_where_the_label_goes() {
        assert_eq!(Template::new("a {} of {").unwrap().fill("{} x"), "a {} x of {");
        for (template, times) in [("a photo", 0), ("{} and {}", 2), ("{ }", 0), ("", 0)] {
            let error = Template::new(template).unwrap_err();
            assert!(matches!(&error, Error::Template { found, .. } if *found == times), "{error}");
            assert!(error.to_string().contains(&format!("{template:?}")), "{error}");
        }
    }

    #[test]
    fn the_lists_are_whole() {
        let mut all: Vec<&str> = IMAGENET_TEMPLATES.to_vec();
        assert!(all.iter().all(|t| Template::new(*t).is_ok()));
        assert!(SIMPLE_TEMPLATES.iter().all(|t| all.contains(t)), "seven of the 80");
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 80);
    }

    #[test]
    fn means_span_passes() {
        let mut means = Means::new(3);
        for x in [1.0, 2.0, 6.0, 0.5, 0.5, 0.5, 9.0] {
            means.add(&[x, -x]);
        }
        assert_eq!(means.done, [3.0, -3.0, 0.5, -0.5]);
    }
}
