//! What the file gives where others published what it should.

use std::collections::HashMap;

use anyhow::{Context, Result};
use edgeclip::{Clip, Embeddings, PictureOptions, Tower};
use sha2::{Digest, Sha256};

use super::{
    allowance::{self, Allowance},
    published::{Check, Input, Picture, Published, Quantity, Source},
};
use crate::{
    console::Console,
    inputs::{self, Missing},
    interrupt, texts,
};

/// A check and what came of it.
pub(super) struct Row<'a> {
    /// What is compared.
    pub(super) what: String,
    pub(super) outcome: Outcome,
    /// Who published the number; absent for what the file says of itself.
    pub(super) source: Option<&'a Source>,
}

pub(super) enum Outcome {
    /// Numbers, one by one.
    Numbers { values: Vec<f64>, expected: Vec<f64>, tolerances: Vec<f64> },
    /// Anything that is the same or not.
    Words { value: String, expected: String },
    /// It could not be computed, which a sound file can.
    Broken(String),
    /// Why it was not computed.
    Open(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Pass,
    Fail,
    NotChecked,
}

impl Row<'_> {
    pub(super) fn verdict(&self) -> Verdict {
        let passes = match &self.outcome {
            Outcome::Numbers { values, expected, tolerances } => {
                let mut all = values.iter().zip(expected).zip(tolerances);
                // Not the other way round: what is no number passes nothing.
                values.len() == expected.len() && all.all(|((value, expected), tolerance)| (value - expected).abs() <= *tolerance)
            }
            Outcome::Words { value, expected } => value == expected,
            Outcome::Broken(_) => false,
            Outcome::Open(_) => return Verdict::NotChecked,
        };
        if passes { Verdict::Pass } else { Verdict::Fail }
    }
}

/// The pictures that were found among those given, by their names among the published ones.
#[derive(Default)]
pub(super) struct Pictures<'a>(HashMap<&'a str, Vec<u8>>);

impl<'a> Pictures<'a> {
    /// Reads all that are given and keeps those whose hash a check asks for; names of files do not matter. What cannot be read is reported.
    pub(super) fn find(
        known: impl Iterator<Item = (&'a str, &'a Picture)> + Clone,
        given: &[Result<inputs::Input, Missing>],
        console: &Console,
    ) -> Result<Self> {
        let mut found = HashMap::new();
        let bar = console.bar("pictures", given.len() as u64);
        for input in given {
            interrupt::check()?;
            match input.as_ref().map(|input| (&input.label, input.read())) {
                Ok((_, Ok(bytes))) => {
                    let hash: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
                    if let Some((name, _)) = known.clone().find(|(_, picture)| hash.starts_with(&picture.sha256)) {
                        found.insert(name, bytes);
                    }
                }
                Ok((label, Err(error))) => console.failure(label, &error, false)?,
                Err((label, error)) => console.failure(label, error, false)?,
            }
            bar.advance(1);
        }
        drop(bar);
        if found.is_empty() && !given.is_empty() {
            console.note("none of the pictures is one that is needed here; they are told by the sha256 of their files");
        }
        Ok(Self(found))
    }
}

/// Computes what checks ask for, each vector once.
pub(super) struct Measure<'a> {
    clip: &'a Clip,
    published: &'a Published,
    pictures: Pictures<'a>,
    allowance: Allowance,
    texts: HashMap<String, Embeddings>,
    images: HashMap<String, Embeddings>,
}

impl<'a> Measure<'a> {
    pub(super) fn new(clip: &'a Clip, published: &'a Published, pictures: Pictures<'a>) -> Self {
        let allowance = Allowance::of(clip.file(), clip.embedding_dim());
        Self { clip, published, pictures, allowance, texts: HashMap::new(), images: HashMap::new() }
    }

    /// One check; an `Err` is an interrupt or a mistake in the data.
    pub(super) fn row(&mut self, check: &Check) -> Result<Row<'a>> {
        interrupt::check()?;
        if let Some(reason) = self.missing(&check.quantity) {
            return self.open(check, &reason);
        }
        let outcome = self.outcome(check).unwrap_or_else(|error| Outcome::Broken(error.to_string()));
        Ok(Row { outcome, ..self.open(check, "")? })
    }

    /// A check that is not made.
    pub(super) fn open(&self, check: &Check, reason: &str) -> Result<Row<'a>> {
        let source = self.published.sources.get(&check.source).with_context(|| format!("no source {}", check.source))?;
        Ok(Row { what: what(&check.quantity), outcome: Outcome::Open(reason.to_owned()), source: Some(source) })
    }

    /// Why a check cannot be made.
    fn missing(&self, quantity: &Quantity) -> Option<String> {
        let config = self.clip.config();
        let no = |tower: Tower| Some(format!("this file has no {tower} encoder"));
        match quantity.picture() {
            Some(_) if config.image.is_none() => no(Tower::Image),
            _ if quantity.has_text() && config.text.is_none() => no(Tower::Text),
            Some(name) if !self.pictures.0.contains_key(name) => {
                let Picture { sha256, from } = self.published.pictures.get(name)?;
                let shown = sha256.get(..8).unwrap_or(sha256);
                Some(format!("needs {name} (sha256 {shown}...) of {from}: give it with --picture"))
            }
            _ => None,
        }
    }

    fn outcome(&mut self, check: &Check) -> Result<Outcome> {
        let published = |expected: &[f64]| expected.iter().map(|v| check.tolerance.around(*v)).collect::<Vec<f64>>();
        Ok(match &check.quantity {
            Quantity::Tokens { text, ids } => {
                let found = self.clip.tokenize(&[text])?;
                Outcome::Words { value: joined(found.ids()), expected: joined(ids) }
            }
            Quantity::Vector { of, normalized, first } => {
                let mut vector = self.vector(of)?;
                let length = if *normalized { 1.0 } else { length(&vector) };
                if *normalized {
                    vector = vector.normalized();
                }
                let values = vector.values().iter().take(first.len()).map(|v| f64::from(*v)).collect();
                let tolerances = published(first).into_iter().map(|t| t + length * self.allowance.value()).collect();
                Outcome::Numbers { values, expected: first.clone(), tolerances }
            }
            Quantity::Sum { of, value } => {
                let vector = self.vector(of)?;
                let sum = vector.values().iter().map(|v| f64::from(*v)).sum();
                let tolerance = check.tolerance.around(*value) + length(&vector) * self.allowance.sum();
                Outcome::Numbers { values: vec![sum], expected: vec![*value], tolerances: vec![tolerance] }
            }
            Quantity::Logits { picture, texts, values } => {
                let logits = self.logits(picture, texts)?;
                let tolerances = published(values).into_iter().map(|t| t + self.logit_allowance()).collect();
                Outcome::Numbers { values: wide(logits.values()), expected: values.clone(), tolerances }
            }
            Quantity::Probabilities { picture, texts, values } => {
                let probabilities = self.logits(picture, texts)?.softmax();
                let allowed = |(p, t): (&f64, f64)| t + allowance::probability(*p, self.logit_allowance());
                let tolerances = values.iter().zip(published(values)).map(allowed).collect();
                Outcome::Numbers { values: wide(probabilities.values()), expected: values.clone(), tolerances }
            }
        })
    }

    fn logit_allowance(&self) -> f64 {
        f64::from(self.clip.config().logit_scale.exp()) * self.allowance.cosine()
    }

    fn logits(&mut self, picture: &str, texts: &[String]) -> Result<edgeclip::Logits> {
        let image = self.image(picture)?;
        let mut vectors = Embeddings::new(self.clip.embedding_dim(), Vec::new());
        for text in texts {
            vectors.append(self.text(text)?)?;
        }
        Ok(self.clip.logits_per_image(&image, &vectors)?)
    }

    fn vector(&mut self, of: &Input) -> Result<Embeddings> {
        match of {
            Input::Text(text) => self.text(text),
            Input::Picture(name) => self.image(name),
        }
    }

    fn text(&mut self, text: &str) -> Result<Embeddings> {
        if let Some(vector) = self.texts.get(text) {
            return Ok(vector.clone());
        }
        let vector = self.clip.encode_text(&self.clip.tokenize(&[text])?)?;
        self.texts.insert(text.to_owned(), vector.clone());
        Ok(vector)
    }

    /// As the references read pictures: without a look at the EXIF orientation.
    fn image(&mut self, name: &str) -> Result<Embeddings> {
        if let Some(vector) = self.images.get(name) {
            return Ok(vector.clone());
        }
        let bytes = self.pictures.0.get(name).with_context(|| format!("no picture {name}"))?;
        let options = PictureOptions { exif: false, ..PictureOptions::default() };
        let vector = self.clip.encode_image(&[self.clip.preprocess_with(bytes, &options)?])?;
        self.images.insert(name.to_owned(), vector.clone());
        Ok(vector)
    }
}

/// A check in a few words.
fn what(quantity: &Quantity) -> String {
    let of = |input: &Input| match input {
        Input::Text(text) => texts::quoted(text),
        Input::Picture(name) => name.clone(),
    };
    match quantity {
        Quantity::Tokens { text, .. } => format!("{}: tokens", texts::quoted(text)),
        Quantity::Vector { of: input, normalized, first } => {
            format!("{}: {} values{}", of(input), first.len(), if *normalized { ", length 1" } else { "" })
        }
        Quantity::Sum { of: input, .. } => format!("{}: sum of all values", of(input)),
        Quantity::Logits { picture, texts, .. } => format!("{picture}: logits of {} texts", texts.len()),
        Quantity::Probabilities { picture, texts, .. } => format!("{picture}: probabilities of {} texts", texts.len()),
    }
}

fn joined(ids: &[u32]) -> String {
    ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|v| f64::from(*v)).collect()
}

/// The Euclidean length of a single vector.
fn length(vector: &Embeddings) -> f64 {
    vector.values().iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(outcome: Outcome) -> Verdict {
        Row { what: String::new(), outcome, source: None }.verdict()
    }

    #[test]
    fn what_is_no_number_fails() {
        let numbers =
            |values: &[f64]| Outcome::Numbers { values: values.to_vec(), expected: vec![1.0, 2.0], tolerances: vec![0.5, 0.0] };
        assert_eq!(verdict(numbers(&[1.5, 2.0])), Verdict::Pass);
        for wrong in [&[1.51, 2.0][..], &[1.0, 2.1], &[1.0, f64::NAN], &[f64::INFINITY, 2.0], &[1.0]] {
            assert_eq!(verdict(numbers(wrong)), Verdict::Fail, "{wrong:?}");
        }
        assert_eq!(verdict(Outcome::Open(String::new())), Verdict::NotChecked);
        assert_eq!(verdict(Outcome::Broken(String::new())), Verdict::Fail);
    }
}
