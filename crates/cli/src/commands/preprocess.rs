//! `edgeclip preprocess`: what the model sees of a picture, to look at or to compare.

use std::{io::Write, path::PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use edgeclip::Tower;
use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};

use crate::{
    console::{Console, Failed},
    inputs,
    model::ModelArgs,
    output::{npy, sink::Sink},
    pictures::ReadArgs,
};

/// Write what the model sees of a picture, as PNG or npy
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgeclip preprocess photo.jpg --output crop.png --model b32.gguf
  edgeclip preprocess photo.jpg --output pixels.npy      # f32 [3, size, size], Python's preprocess(image)")]
pub(crate) struct PreprocessArgs {
    /// The picture; - is standard input
    #[arg(value_name = "PICTURE")]
    picture: PathBuf,
    /// The file to write; its extension, png or npy, says what
    #[arg(long, short, value_name = "FILE", help_heading = "Output")]
    output: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    read: ReadArgs,
}

/// Runs the command.
pub(crate) fn run(args: PreprocessArgs, console: &Console) -> Result<()> {
    let extension = args.output.extension().map(|e| e.to_string_lossy().to_lowercase());
    let png = match extension.as_deref() {
        Some("png") => true,
        Some("npy") => false,
        _ => bail!("{}: expected a name that ends with .png or .npy", args.output.display()),
    };
    let model = args.model.load(console)?;
    model.require(Tower::Image)?;
    let mut inputs = inputs::expand(std::slice::from_ref(&args.picture));
    let input = match (inputs.pop(), inputs.len()) {
        (Some(Ok(input)), 0) => input,
        (Some(Err((label, error))), 0) => return Err(Failed(format!("{label}: {error}")).into()),
        (_, others) => bail!("{}: expected one picture, found {}", args.picture.display(), others + 1),
    };
    let pixels = match input.read().and_then(|bytes| Ok(model.clip.preprocess_with(&bytes, &args.read.options())?)) {
        Ok(pixels) => pixels,
        Err(error) => return Ok(console.failure(&input.label, &error, true)?),
    };
    let size = pixels.size();
    let mut sink = Sink::open(Some(&args.output))?;
    match (png, pixels.crop()) {
        (true, Some(crop)) => {
            write_png(&mut sink, size, crop).with_context(|| format!("{}: cannot write it", args.output.display()))?
        }
        _ => npy::write(&mut sink, &[3, size as usize, size as usize], &pixels.to_chw())?,
    }
    sink.commit()
}

/// The crop, `[size, size, 3]`.
fn write_png(out: impl Write, size: u32, crop: &[u8]) -> Result<()> {
    Ok(PngEncoder::new(out).write_image(crop, size, size, ExtendedColorType::Rgb8)?)
}
