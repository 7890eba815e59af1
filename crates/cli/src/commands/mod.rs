//! The commands, one a file.

pub(crate) mod bench;
pub(crate) mod classify;
pub(crate) mod convert;
pub(crate) mod doctor;
pub(crate) mod encode;
pub(crate) mod eval;
pub(crate) mod info;
pub(crate) mod models;
pub(crate) mod preprocess;
pub(crate) mod pull;
pub(crate) mod similarity;
pub(crate) mod tokenize;
pub(crate) mod verify;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use edgeclip::{
    Overlong, Tower,
    zero_shot::{self, Classifier, IMAGENET_TEMPLATES, SIMPLE_TEMPLATES},
};

use crate::{
    console::Console,
    finite, interrupt,
    model::{self, Model},
    texts,
};

/// The file that a command is about, given by itself or by the environment.
fn file_or_environment(given: Option<PathBuf>, command: &str) -> Result<PathBuf> {
    match given.or_else(model::from_environment) {
        Some(path) => Ok(path),
        None => bail!("no file: name one, as in `edgeclip {command} model.gguf`, or set {}", model::VARIABLE),
    }
}

/// `--truncate` as the tokenizer wants it.
fn overlong(truncate: bool) -> Overlong {
    if truncate { Overlong::Truncate } else { Overlong::Error }
}

/// How labels become prompts.
#[derive(Clone, Debug, Args)]
pub(crate) struct PromptArgs {
    /// A prompt with {} where the label goes, such as "a photo of a {}."; several are averaged [default: the bare label]
    #[arg(long = "template", value_name = "T", conflicts_with = "templates", help_heading = "Labels")]
    template: Vec<String>,
    /// A list of templates that is built in
    #[arg(long, value_enum, default_value_t = Templates::None, help_heading = "Labels")]
    templates: Templates,
    /// Cut prompts that are longer than the model reads instead of failing
    #[arg(long, help_heading = "Labels")]
    truncate: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Templates {
    /// The bare label: for labels that are sentences already
    None,
    /// Seven of the 80 that do about as well
    Simple,
    /// The 80 of OpenAI's results on ImageNet, for photographs
    Imagenet,
}

impl PromptArgs {
    fn templates(&self) -> Vec<&str> {
        match self.templates {
            _ if !self.template.is_empty() => self.template.iter().map(String::as_str).collect(),
            Templates::None => vec!["{}"],
            Templates::Simple => SIMPLE_TEMPLATES.to_vec(),
            Templates::Imagenet => IMAGENET_TEMPLATES.to_vec(),
        }
    }

    /// Whether there are templates.
    pub(crate) fn has_templates(&self) -> bool {
        !self.template.is_empty() || self.templates != Templates::None
    }

    /// Whether long texts are cut.
    pub(crate) fn truncates(&self) -> bool {
        self.truncate
    }

    /// The labels' vectors; with a bar, because a thousand labels in 80 templates take minutes.
    pub(crate) fn classifier(&self, model: &Model, labels: &[String], console: &Console) -> Result<Classifier> {
        model.clip.preload(Tower::Text)?;
        let templates = self.templates();
        let labels_a_step = (PROMPTS_A_STEP / templates.len()).max(1);
        let bar = (labels.len() > labels_a_step).then(|| console.bar("labels", labels.len() as u64));
        let mut classifier: Option<Classifier> = None;
        for step in labels.chunks(labels_a_step) {
            interrupt::check()?;
            let encode = |labels: &[String]| Classifier::new_with(&model.clip, labels, &templates, overlong(self.truncate));
            let more = match encode(step) {
                Ok(more) => more,
                Err(error) => {
                    // The error knows a place among prompts, people know labels. If the empty text fails too, it is no label's fault.
                    if is_not_finite(&error) && Classifier::new(&model.clip, &[""], &["{}"]).is_ok() {
                        for label in step.chunks(1) {
                            if encode(label).is_err_and(|error| is_not_finite(&error)) {
                                bail!("label {}: {}", texts::quoted(&label[0]), finite::not_finite(Tower::Text));
                            }
                        }
                    }
                    return Err(error.into());
                }
            };
            match &mut classifier {
                Some(classifier) => classifier.append(more)?,
                None => classifier = Some(more),
            }
            if let Some(bar) = &bar {
                bar.advance(step.len() as u64);
            }
        }
        match classifier {
            Some(classifier) => Ok(classifier),
            None => Ok(Classifier::new(&model.clip, labels, &templates)?),
        }
    }
}

fn is_not_finite(error: &zero_shot::Error) -> bool {
    matches!(error, zero_shot::Error::Clip(error) if finite::is_not_finite(error))
}

/// Prompts between two looks at the progress bar and Ctrl-C.
const PROMPTS_A_STEP: usize = 4096;
