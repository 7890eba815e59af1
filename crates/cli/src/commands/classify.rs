//! `edgeclip classify`: which label fits a picture.

use std::{
    fs,
    io::Write,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use edgeclip::{Embeddings, Tower, zero_shot::Classifier};
use serde::Serialize;

use super::PromptArgs;
use crate::{
    console::Console,
    inputs,
    model::{Model, ModelArgs, Origin},
    output::{
        json::{self, Array},
        sink::Sink,
        table::{Align, table},
        visible,
    },
    pictures::{BatchArgs, PictureJob, ReadArgs},
};

/// Say which of some labels fits a picture (zero-shot)
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgeclip classify cat.jpg --labels \"a dog\" \"a cat\" --model b32.gguf
  edgeclip classify photos/ --labels dog cat bird --template \"a photo of a {}.\"
  edgeclip classify photos/ --labels-file animals.txt --templates imagenet --top-k 3 --format csv

The probabilities are the soft-max over the labels of the cosines times the model's own scale.
Labels are encoded as they stand unless there are templates; with several, each label's normalised vectors are averaged.")]
pub(crate) struct ClassifyArgs {
    /// Picture files, folders (all pictures in and below them, sorted), quoted patterns; - is one picture on standard input
    #[arg(required = true, value_name = "PICTURE")]
    pictures: Vec<PathBuf>,
    /// The labels to choose from
    #[arg(long, short, num_args = 1.., value_name = "LABEL", required_unless_present = "labels_file", help_heading = "Labels")]
    labels: Vec<String>,
    /// A file with one label a line; empty lines do not count
    #[arg(long, value_name = "FILE", help_heading = "Labels")]
    labels_file: Option<PathBuf>,
    #[command(flatten)]
    prompts: PromptArgs,
    /// Show so many labels, the best first
    #[arg(long, value_name = "K", default_value = "5", help_heading = "Output")]
    top_k: NonZeroUsize,
    /// Form of the output
    #[arg(long, value_enum, default_value_t = Format::Text, help_heading = "Output")]
    format: Format,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    read: ReadArgs,
    #[command(flatten)]
    batch: BatchArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// One array of {input, model, labels: [{label, probability, cosine}]}
    Json,
    /// One such object a line
    Jsonl,
    /// Columns input, rank, label, probability, cosine
    Csv,
}

#[derive(Serialize)]
struct Classified<'a> {
    input: &'a str,
    model: &'a Origin,
    /// How the picture was decoded, if not as by the reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    decode: Option<&'static str>,
    labels: Vec<Ranked<'a>>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Ranked<'a> {
    label: &'a str,
    probability: f32,
    cosine: f32,
}

/// Runs the command.
pub(crate) fn run(args: ClassifyArgs, console: &Console) -> Result<()> {
    let mut labels = args.labels.clone();
    if let Some(path) = &args.labels_file {
        labels.extend(read_labels(path)?);
    }
    let model = args.model.load(console)?;
    model.require(Tower::Image)?;
    model.require(Tower::Text)?;
    let classifier = args.prompts.classifier(&model, &labels, console)?;
    let mut sink = Sink::open(None)?;
    let mut array = Array::default();
    let mut first = true;
    if args.format == Format::Csv {
        csv::Writer::from_writer(&mut sink).write_record(["input", "rank", "label", "probability", "cosine"])?;
    }
    let job = PictureJob { clip: &model.clip, options: args.read.options(), batch: &args.batch, console };
    job.encode(&inputs::expand(&args.pictures), |_, input, vector| {
        let labels = rank(&model, &classifier, vector, args.top_k.get())?;
        let classified = Classified { input: &input.label, model: &model.origin, decode: args.read.policy(), labels };
        if args.format == Format::Text && !std::mem::take(&mut first) {
            writeln!(sink)?;
        }
        write(&mut sink, args.format, &classified, &mut array)?;
        Ok(sink.flush()?)
    })?;
    if args.format == Format::Json {
        array.end(&mut sink)?;
    }
    sink.commit()
}

/// The best labels, the best first; of equal ones the earlier.
fn rank<'a>(model: &Model, classifier: &'a Classifier, vector: &[f32], top_k: usize) -> Result<Vec<Ranked<'a>>> {
    let picture = Embeddings::new(vector.len(), vector.to_vec());
    let probabilities = classifier.logits(&model.clip, &picture)?.softmax();
    let cosines = picture.cosines(classifier.vectors())?;
    let ranked = classifier.labels().iter().zip(probabilities.values()).zip(cosines);
    let mut ranked: Vec<Ranked> = ranked.map(|((label, &probability), cosine)| Ranked { label, probability, cosine }).collect();
    // By cosine: small probabilities may be equal as f32.
    ranked.sort_by(|a, b| b.cosine.total_cmp(&a.cosine));
    ranked.truncate(top_k);
    Ok(ranked)
}

fn write(sink: &mut Sink, format: Format, classified: &Classified, array: &mut Array) -> Result<()> {
    match format {
        Format::Text => {
            let row = |ranked: &Ranked| vec![format!("{:.2} %", ranked.probability * 100.0), ranked.label.to_owned()];
            let rows: Vec<Vec<String>> = classified.labels.iter().map(row).collect();
            writeln!(sink, "{}", visible(&classified.input.replace('\n', "\\n")))?;
            for line in table(&[Align::Right, Align::Left], &rows).lines() {
                writeln!(sink, "  {line}")?;
            }
        }
        Format::Json => array.item(sink, classified)?,
        Format::Jsonl => json::line(sink, classified)?,
        Format::Csv => {
            let mut csv = csv::Writer::from_writer(sink);
            for (i, ranked) in classified.labels.iter().enumerate() {
                let (rank, probability, cosine) =
                    ((i + 1).to_string(), ranked.probability.to_string(), ranked.cosine.to_string());
                csv.write_record([classified.input, &rank, ranked.label, &probability, &cosine])?;
            }
            csv.flush()?;
        }
    }
    Ok(())
}

/// Bytes of a file of labels, far above any list there is.
const MAX_LABELS: u64 = 16 << 20;

/// One label a line, without blanks around it.
fn read_labels(path: &Path) -> Result<Vec<String>> {
    let problem = || format!("{}: cannot read the labels", path.display());
    let bytes = inputs::read_all(fs::File::open(path).with_context(problem)?, MAX_LABELS).with_context(problem)?;
    let text = String::from_utf8(bytes).with_context(problem)?;
    let labels: Vec<String> =
        text.trim_start_matches('\u{feff}').lines().map(str::trim).filter(|l| !l.is_empty()).map(str::to_owned).collect();
    if labels.is_empty() {
        bail!("{}: expected one label a line, found none", path.display());
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_lines() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, "\u{feff}a dog \r\n\n  a cat\n").unwrap();
        assert_eq!(read_labels(file.path()).unwrap(), ["a dog", "a cat"]);
        fs::write(&file, "\n \n").unwrap();
        assert!(read_labels(file.path()).unwrap_err().to_string().ends_with("expected one label a line, found none"));
    }
}
