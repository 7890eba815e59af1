//! `edgeclip encode image|text`: inputs to vectors.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use edgeclip::{Embeddings, Tower};

use super::overlong;
use crate::{
    console::Console,
    inputs,
    model::{Model, ModelArgs},
    output::{
        records::{Format, Writer},
        sink::Sink,
    },
    pictures::{BatchArgs, PictureJob, ReadArgs},
    texts::{self, TextJob},
};

/// Turn pictures or texts into vectors
#[derive(Debug, Args)]
pub(crate) struct EncodeArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Image(ImageArgs),
    Text(TextArgs),
}

/// Turn pictures into vectors
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgeclip encode image cat.jpg dog.png --model b32.gguf
  edgeclip encode image photos/ 'more/**/*.jpg' --format npy --output photos.npy
  curl -s https://example.org/cat.jpg | edgeclip encode image - --normalize

Vectors are as the model gives them, like Python's model.encode_image; --normalize gives them length 1.
PNG, JPEG, WebP, GIF (first frame), BMP and TIFF are read, by content, whatever the name.")]
struct ImageArgs {
    /// Picture files, folders (all pictures in and below them, sorted), quoted patterns; - is one picture on standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    read: ReadArgs,
    #[command(flatten)]
    common: CommonArgs,
}

/// Turn texts into vectors
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgeclip encode text \"a diagram\" \"a dog\" \"a cat\" --model b32.gguf
  edgeclip encode text - < captions.txt --format csv --output captions.csv

Vectors are as the model gives them, like Python's model.encode_text; --normalize gives them length 1.
A text that starts with a dash goes behind --.")]
struct TextArgs {
    /// Texts, one vector each; - is the lines of standard input
    #[arg(required = true, value_name = "TEXT")]
    texts: Vec<String>,
    /// Cut texts that are longer than the model reads instead of failing
    #[arg(long, help_heading = "Input")]
    truncate: bool,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
struct CommonArgs {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    batch: BatchArgs,
    /// Divide each vector by its length
    #[arg(long, help_heading = "Output")]
    normalize: bool,
    /// Form of the output [default: by the extension of --output, else jsonl]
    #[arg(long, value_enum, help_heading = "Output")]
    format: Option<Format>,
    /// Write to this file, which appears when it is complete [default: standard output]
    #[arg(long, short, value_name = "FILE", help_heading = "Output")]
    output: Option<PathBuf>,
}

impl CommonArgs {
    fn format(&self) -> Format {
        let extension = self.output.as_ref().and_then(|path| path.extension()).map(|e| e.to_string_lossy().to_lowercase());
        self.format.unwrap_or(match extension.as_deref() {
            Some("json") => Format::Json,
            Some("csv") => Format::Csv,
            Some("npy") => Format::Npy,
            _ => Format::Jsonl,
        })
    }

    fn writer(&self, model: &Model, tower: Tower) -> Result<Writer> {
        model.require(tower)?;
        let sink = Sink::open(self.output.as_deref())?;
        Writer::new(sink, self.format(), model.origin.clone(), tower, self.normalize, model.clip.embedding_dim())
    }

    fn write(&self, writer: &mut Writer, input: &str, vector: &[f32]) -> Result<()> {
        if self.normalize {
            return writer.write(input, Embeddings::new(vector.len(), vector.to_vec()).normalized().row(0));
        }
        writer.write(input, vector)
    }
}

/// Runs the command.
pub(crate) fn run(args: EncodeArgs, console: &Console) -> Result<()> {
    match args.what {
        What::Image(args) => image(&args, console),
        What::Text(args) => text(&args, console),
    }
}

fn image(args: &ImageArgs, console: &Console) -> Result<()> {
    let model = args.common.model.load(console)?;
    let mut writer = args.common.writer(&model, Tower::Image)?.with_decode(args.read.policy());
    let job = PictureJob { clip: &model.clip, options: args.read.options(), batch: &args.common.batch, console };
    job.encode(&inputs::expand(&args.paths), |_, input, vector| {
        args.common.write(&mut writer, &input.label, vector)?;
        writer.flush()
    })?;
    writer.finish()
}

fn text(args: &TextArgs, console: &Console) -> Result<()> {
    let model = args.common.model.load(console)?;
    let mut writer = args.common.writer(&model, Tower::Text)?;
    let job = TextJob { clip: &model.clip, overlong: overlong(args.truncate), batch: &args.common.batch, console };
    job.encode(texts::texts(&args.texts), |text, vector| {
        args.common.write(&mut writer, text, vector)?;
        writer.flush()
    })?;
    writer.finish()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Parsed {
        #[command(flatten)]
        common: CommonArgs,
    }

    fn format(arguments: &[&str]) -> Format {
        Parsed::parse_from([&["x"], arguments].concat()).common.format()
    }

    #[test]
    fn a_files_extension_decides_unless_told() {
        assert_eq!(format(&[]), Format::Jsonl);
        assert_eq!(format(&["--output", "a.NPY"]), Format::Npy);
        assert_eq!(format(&["--output", "a.csv", "--format", "json"]), Format::Json);
        assert_eq!(format(&["--output", "a.txt"]), Format::Jsonl);
    }
}
