//! Runs source and result side by side on probes that are compiled in, and compares the embeddings.
//!
//! Both encoders are gone through piece by piece, and of each piece source and result in turn, so that no more than one piece is in
//! memory. The source is computed in f32, from where it lies.

use edgeclip_model::{
    Compute, Config, ImageConfig, TextConfig, Threads, Tower, TowerConfig, Weights,
    parts::{Block, Head, ImageEmbedding, Pass, Stream, TextEmbedding, Workspace},
};
use edgeclip_preprocess::{Options as PictureOptions, Pixels, preprocess};
use edgeclip_tokenize::{Overlong, Tokenizer};
use serde::Serialize;

use crate::{Error, Options, Progress, Target};

/// The cosine between source and result for every probe.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// Of the image encoder.
    pub image: Option<Cosines>,
    /// Of the text encoder.
    pub text: Option<Cosines>,
}

/// The cosines of an encoder.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cosines {
    /// Of the probe that is furthest off.
    pub min: f64,
    /// Of all probes.
    pub mean: f64,
    /// Each.
    pub probes: Vec<Probe>,
}

/// A picture or sentence of the check.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Probe {
    /// The picture's name, or the sentence.
    pub input: String,
    /// Between the embeddings of source and result.
    pub cosine: f64,
}

impl Check {
    /// The probe that is furthest off, of both encoders.
    pub fn worst(&self) -> Option<&Probe> {
        let probes = [&self.image, &self.text].into_iter().flatten().flat_map(|cosines| &cosines.probes);
        probes.min_by(|a, b| a.cosine.total_cmp(&b.cosine))
    }
}

macro_rules! pictures {
    ($($name:literal),*) => {
        &[$(($name, include_bytes!(concat!("../probes/", $name)).as_slice())),*]
    };
}

/// See probes/README.md.
const PICTURES: &[(&str, &[u8])] =
    pictures!["bicycle.png", "cat.png", "dog.png", "house.png", "panda.png", "pizza.png", "red-car.png", "rocket.png"];

/// Labels, captions, short and long, plain and not. What a vocabulary has no words for becomes bytes, and what is too long is cut.
const SENTENCES: &[&str] = &[
    "a",
    "a cat",
    "a photo of a dog.",
    "a diagram",
    "an emoji of a rocket",
    "a red bicycle in the rain",
    "two people walking along the beach at sunset",
    "the number 42 on a blue door",
    "A BLACK AND WHITE PORTRAIT OF AN OLD FISHERMAN, 35MM FILM!",
    "it's a dog's life: she isn't here & won't be back",
    "une tasse de café près de la fenêtre",
    "日本の古いお寺と桜の花",
    "кошка спит на диване",
    "🍕🚀 pizza in space 👩‍🚀",
    "a wide landscape photograph of snow-covered mountains behind a calm lake, with a small wooden boat tied to a pier, autumn trees on \
     both sides, and a cloudy sky that is reflected in the water",
    "a busy street market in the evening with lanterns, stalls of fruit and vegetables, people under umbrellas, bicycles leaning \
     against a wall, steam rising from a food cart, a child holding a balloon, a dog under a table, and above them all a tangle of \
     cables, signs and balconies full of plants in the last light of a long day in summer",
];

/// Characters of a sentence that are enough to know it by.
pub(crate) const SHOWN_CHARS: usize = 40;

/// Tokens that go through a block at once; bounds the memory of models with large pictures.
const TOKENS_A_PASS: usize = 1024;

/// Compares `result`, a file of the configuration `config` that was asked for with `options`, with `source`.
///
/// # Errors
/// What loading says; [`Error::Isa`]; [`Error::SourceNotFinite`] and [`Error::ResultNotFinite`]; [`Error::Interrupted`].
pub(crate) fn check(
    config: &Config,
    tokenizer: Option<&Tokenizer>,
    source: &dyn Weights,
    result: &dyn Weights,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Check, Error> {
    let pieces = |tower: &TowerConfig| tower.layers as u64 + 2;
    let image = config.image.as_ref().map_or(0, |image| pieces(&image.tower));
    let text = config.text.as_ref().map_or(0, |text| pieces(&text.tower));
    progress.begin("checking", 2 * (image + text));
    let compute = options.compute()?;
    let run = Run { config, sides: [source, result], target: options.target, compute, progress };
    Ok(Check {
        image: config.image.as_ref().map(|image| run.image(image)).transpose()?,
        text: config.text.as_ref().zip(tokenizer).map(|(text, tokenizer)| run.text(text, tokenizer)).transpose()?,
    })
}

struct Run<'a> {
    config: &'a Config,
    /// Source and result.
    sides: [&'a dyn Weights; 2],
    target: Target,
    compute: Compute,
    progress: &'a dyn Progress,
}

impl Run<'_> {
    fn image(&self, config: &ImageConfig) -> Result<Cosines, Error> {
        let pixels = |(name, bytes): &(&'static str, &[u8])| {
            preprocess(bytes, &config.preprocessing, &PictureOptions::default()).map_err(|error| Error::Probe { name, error })
        };
        let pixels: Vec<Pixels> = PICTURES.iter().map(pixels).collect::<Result<_, _>>()?;
        let (mut streams, mut workspace) = ([Vec::new(), Vec::new()], Workspace::default());
        for (weights, streams) in self.sides.iter().zip(&mut streams) {
            let embedding = ImageEmbedding::load(config, *weights, self.compute)?;
            for pixels in pixels.chunks((TOKENS_A_PASS / config.tokens()).max(1)) {
                let mut stream = Stream::default();
                embedding.forward(pixels, &mut stream, &mut pass(&mut workspace, &mut ()))?;
                streams.push(stream);
            }
            self.step()?;
        }
        let inputs = PICTURES.iter().map(|(name, _)| *name);
        self.rest(&config.tower, Tower::Image, false, streams, inputs)
    }

    fn text(&self, config: &TextConfig, tokenizer: &Tokenizer) -> Result<Cosines, Error> {
        let tokens = tokenizer.tokenize(SENTENCES, Overlong::Truncate);
        // A text this short cannot be refused.
        let tokens = tokens.map_err(|error| Error::Vocabulary { path: self.sides[0].path().to_owned(), error })?;
        let (mut streams, mut workspace) = ([Vec::new(), Vec::new()], Workspace::default());
        for (weights, streams) in self.sides.iter().zip(&mut streams) {
            let embedding = TextEmbedding::load(config, *weights, self.compute)?;
            let rows: Vec<&[u32]> = tokens.rows().collect();
            for rows in rows.chunks((TOKENS_A_PASS / config.vocabulary.context_length).max(1)) {
                let mut stream = Stream::default();
                embedding.forward(rows.iter().copied(), &mut stream, &mut pass(&mut workspace, &mut ()))?;
                streams.push(stream);
            }
            self.step()?;
        }
        self.rest(&config.tower, Tower::Text, config.causal, streams, SENTENCES.iter().copied())
    }

    /// Blocks and head.
    fn rest<'p>(
        &self,
        config: &TowerConfig,
        tower: Tower,
        causal: bool,
        mut streams: [Vec<Stream>; 2],
        inputs: impl Iterator<Item = &'p str> + Clone,
    ) -> Result<Cosines, Error> {
        let mut workspace = Workspace::default();
        for index in 0..config.layers {
            for (weights, streams) in self.sides.iter().zip(&mut streams) {
                let block = Block::load(config, tower, causal, index, *weights, self.compute)?;
                streams.iter_mut().for_each(|stream| block.forward(stream, &mut pass(&mut workspace, &mut ())));
                self.step()?;
            }
        }
        let dim = self.config.projection_dim;
        let mut embeddings = [Vec::new(), Vec::new()];
        for (side, ((weights, streams), embeddings)) in self.sides.iter().zip(&streams).zip(&mut embeddings).enumerate() {
            let head = Head::load(config, tower, dim, *weights, self.compute)?;
            for stream in streams {
                let start = embeddings.len();
                embeddings.resize(start + stream.inputs() * dim, 0.0);
                head.forward(stream, &mut embeddings[start..], &mut pass(&mut workspace, &mut ()));
            }
            if let Some(index) = embeddings.chunks_exact(dim).position(|row| row.iter().any(|value| !value.is_finite())) {
                let probe: String = inputs.clone().nth(index).unwrap_or_default().chars().take(SHOWN_CHARS).collect();
                let path = weights.path().to_owned();
                // The source comes first, so that its faults are not put down to the result.
                return Err(match side {
                    0 => Error::SourceNotFinite { path, tower, probe },
                    _ => Error::ResultNotFinite { path, tower, probe, target: self.target },
                });
            }
            self.step()?;
        }
        let [source, result] = &embeddings;
        let pairs = source.chunks_exact(dim).zip(result.chunks_exact(dim));
        let probes: Vec<Probe> =
            inputs.zip(pairs).map(|(input, (a, b))| Probe { input: input.to_owned(), cosine: cosine(a, b) }).collect();
        let min = probes.iter().map(|probe| probe.cosine).fold(f64::INFINITY, f64::min);
        let mean = probes.iter().map(|probe| probe.cosine).sum::<f64>() / probes.len() as f64;
        Ok(Cosines { min, mean, probes })
    }

    fn step(&self) -> Result<(), Error> {
        if self.progress.interrupted() {
            return Err(Error::Interrupted);
        }
        self.progress.advance(1);
        Ok(())
    }
}

/// On all threads, with nobody looking on.
fn pass<'a>(workspace: &'a mut Workspace, observer: &'a mut ()) -> Pass<'a> {
    Pass { workspace, threads: Threads::All, observer }
}

/// Of two finite vectors; of two zero vectors 1, of one 0.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    let norms = (dot(a, a) * dot(b, b)).sqrt();
    if norms > 0.0 { dot(a, b) / norms } else { f64::from(u8::from(a == b)) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::checkpoint::Checkpoint;
    use edgeclip_model::Tensor;

    #[test]
    fn cosines() {
        assert_eq!(cosine(&[3.0, 4.0], &[6.0, 8.0]), 1.0);
        assert_eq!(cosine(&[1.0, 0.0], &[0.0, 2.0]), 0.0);
        assert_eq!(cosine(&[0.0, 0.0], &[0.0, 0.0]), 1.0);
        assert_eq!(cosine(&[0.0, 0.0], &[0.0, 1.0]), 0.0);
    }

    /// A checkpoint of which one tensor reads as NaN.
    struct Broken<'a>(&'a Checkpoint, &'static str);

    impl Weights for Broken<'_> {
        fn path(&self) -> &Path {
            Path::new("m.gguf")
        }

        fn tensor(&self, name: &str) -> Result<Tensor, edgeclip_model::Error> {
            let mut tensor = self.0.tensor(name)?;
            if name == self.1 {
                tensor.bytes = vec![0xff; tensor.bytes.len()].into();
            }
            Ok(tensor)
        }

        fn is_quantized(&self) -> bool {
            false
        }
    }

    #[test]
    fn it_is_said_which_side_is_not_finite() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/odd-f16");
        let source = Checkpoint::open(&folder, &Options::default()).unwrap();
        let options = Options { target: Target::Q4_0, ..Options::default() };
        let run = |a: &dyn Weights, b: &dyn Weights| check(&source.config, source.tokenizer.as_ref(), a, b, &options, &());
        run(&source, &source).unwrap();
        for (name, tower, probe) in [("v.post_ln.bias", "image", "bicycle.png"), ("t.post_ln.bias", "text", "a")] {
            let broken = Broken(&source, name);
            assert_eq!(
                run(&source, &broken).unwrap_err().to_string(),
                format!(
                    "m.gguf: not written: as q4_0 the {tower} encoder gives a vector that is not finite for the probe \"{probe}\", where \
                     the checkpoint's is finite; take a wider --type"
                )
            );
            assert!(
                matches!(run(&broken, &broken), Err(Error::SourceNotFinite { .. })),
                "both are broken: the source is to blame"
            );
        }
    }

    #[test]
    fn there_are_as_many_probes_as_promised() {
        assert_eq!((PICTURES.len(), SENTENCES.len()), (8, 16));
    }
}
