//! Pictures to vectors: a batch is read and preprocessed in parallel, while the one before it is encoded. Two batches are in memory.

use std::num::NonZeroUsize;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use edgeclip::{Clip, Decode, PictureOptions, Pixels, Tower};
use rayon::prelude::*;
use serde_json::Value;

use crate::{
    console::Console,
    finite,
    inputs::{Input, Missing},
    interrupt,
};

/// How picture files are read.
#[derive(Clone, Debug, Args)]
pub(crate) struct ReadArgs {
    /// Take pictures as they are stored, whatever their EXIF orientation says (the Python reference does so)
    #[arg(long, help_heading = "Pictures")]
    no_exif: bool,
    /// Refuse pictures of more pixels than this [default: 178956970, Pillow's limit]
    #[arg(long, value_name = "N", help_heading = "Pictures")]
    max_pixels: Option<u64>,
    /// How JPEG files are decoded
    #[arg(long, value_enum, default_value_t = DecodeArg::Exact, help_heading = "Pictures")]
    decode: DecodeArg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DecodeArg {
    /// All pixels, as the Python reference does
    Exact,
    /// Large ones at a half, a quarter or an eighth of their sides, at least twice the model's: faster, the vectors differ a little
    Fast,
}

impl ReadArgs {
    pub(crate) fn options(&self) -> PictureOptions {
        let default = PictureOptions::default();
        let decode = match self.decode {
            DecodeArg::Exact => Decode::Exact,
            DecodeArg::Fast => Decode::Fast,
        };
        PictureOptions { exif: !self.no_exif, max_pixels: self.max_pixels.unwrap_or(default.max_pixels), decode }
    }

    /// What results say about [`Decode`], if it was not the reference's.
    pub(crate) fn policy(&self) -> Option<&'static str> {
        match self.decode {
            DecodeArg::Exact => None,
            DecodeArg::Fast => Some("fast"),
        }
    }

    /// Writes [`policy`](Self::policy) into a report.
    pub(crate) fn note(&self, report: &mut Value) {
        if let Some(decode) = self.policy() {
            report["decode"] = decode.into();
        }
    }
}

/// How many inputs, and what to do about bad ones.
#[derive(Clone, Debug, Args)]
pub(crate) struct BatchArgs {
    /// Encode so many inputs at a time; speed and memory depend on it, vectors of quantized models do not
    #[arg(long, value_name = "N", default_value = "32", help_heading = "Input")]
    pub(crate) batch: NonZeroUsize,
    /// Stop at the first input that fails (exit code 1) instead of skipping it
    #[arg(long, help_heading = "Input")]
    pub(crate) strict: bool,
}

/// Everything about a run over pictures but the pictures.
pub(crate) struct PictureJob<'a> {
    pub(crate) clip: &'a Clip,
    pub(crate) options: PictureOptions,
    pub(crate) batch: &'a BatchArgs,
    pub(crate) console: &'a Console,
}

impl PictureJob<'_> {
    /// The preprocessed picture.
    fn pixels(&self, input: &Input) -> Result<Pixels> {
        Ok(self.clip.preprocess_with(&input.read()?, &self.options)?)
    }

    /// The preprocessed pictures of a batch, `None` where there is no input.
    fn read(&self, batch: &[Result<Input, Missing>]) -> Vec<Option<Result<Pixels>>> {
        batch.par_iter().map(|input| input.as_ref().ok().map(|input| self.pixels(input))).collect()
    }

    /// A grey picture.
    fn probe(&self) -> Result<Pixels> {
        let spec = self.clip.config().image.as_ref().map(|image| &image.preprocessing).context("there is no image encoder")?;
        let grey = vec![128; 3 * spec.size as usize * spec.size as usize];
        Ok(Pixels::from_crop(spec.size, grey, spec.mean, spec.std)?)
    }

    /// Calls `each` with the position, the input and the vector (as the model gives it) of every picture that can be encoded, in order.
    /// The others are reported.
    pub(crate) fn encode(
        &self,
        inputs: &[Result<Input, Missing>],
        mut each: impl FnMut(usize, &Input, &[f32]) -> Result<()>,
    ) -> Result<()> {
        let size = self.batch.batch.get();
        let bar = (inputs.len() > size).then(|| self.console.bar("pictures", inputs.len() as u64));
        let mut batches = inputs.chunks(size).enumerate().peekable();
        let mut ahead = None;
        while let Some((b, batch)) = batches.next() {
            interrupt::check()?;
            let read = ahead.take().unwrap_or_else(|| self.read(batch));
            let (mut pixels, mut encoded) = (Vec::new(), Vec::new());
            // What an interrupt kept from being read is no failure.
            interrupt::check()?;
            for (i, (input, result)) in batch.iter().zip(read).enumerate() {
                match (input, result) {
                    (Ok(input), Some(Ok(picture))) => {
                        pixels.push(picture);
                        encoded.push((b * size + i, input));
                    }
                    (Ok(input), Some(Err(error))) => self.console.failure(&input.label, &error, self.batch.strict)?,
                    (Err((label, error)), _) => self.console.failure(label, error, self.batch.strict)?,
                    (Ok(_), None) => {}
                }
            }
            // A pipe may keep the next batch waiting, but not the vectors of this one.
            let next = batches.peek().map(|(_, next)| *next);
            let next = next.filter(|next| next.iter().flatten().all(Input::is_at_hand));
            if !pixels.is_empty() {
                let encode = || finite::encode(&pixels, |pixels| self.clip.encode_image(pixels), || self.probe());
                let (vectors, read) = rayon::join(encode, || next.map(|next| self.read(next)));
                ahead = read;
                for ((index, input), vector) in encoded.into_iter().zip(vectors?) {
                    match vector {
                        Some(vector) => each(index, input, &vector)?,
                        None => self.console.failure(&input.label, &finite::not_finite(Tower::Image), self.batch.strict)?,
                    }
                }
            }
            if let Some(bar) = &bar {
                bar.advance(batch.len() as u64);
            }
        }
        Ok(())
    }
}
