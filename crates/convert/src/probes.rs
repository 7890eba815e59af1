//! Pictures and sentences that are compiled in, and an encoder that is run on them piece by piece: each piece is loaded when it is its turn, so
//! that no more than one is in memory.

use edgeclip_model::{
    Compute, Config, ImageConfig, TextConfig, Threads, Tower, TowerConfig, Weights,
    parts::{Block, Head, ImageEmbedding, Pass, Stream, TextEmbedding, Workspace},
};
use edgeclip_preprocess::{Options as PictureOptions, Pixels, preprocess};
use edgeclip_tokenize::{Overlong, TokenBatch, Tokenizer};

use crate::{Error, Options, Progress, check::compute};

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

/// An encoder with its probes, for weights from anywhere. Every step asks whether to go on, and counts as one.
pub(crate) struct Encoder<'a> {
    config: &'a TowerConfig,
    inputs: Inputs<'a>,
    dim: usize,
    compute: Compute,
    progress: &'a dyn Progress,
    workspace: Workspace,
}

enum Inputs<'a> {
    Pictures(&'a ImageConfig, Vec<Pixels>),
    Texts(&'a TextConfig, TokenBatch),
}

impl<'a> Encoder<'a> {
    /// Those of a model whose weights are `source`: the image encoder first. Without a tokenizer there are no texts to run.
    ///
    /// # Errors
    /// [`Error::Isa`], [`Error::Probe`], [`Error::Vocabulary`].
    pub(crate) fn all(
        config: &'a Config,
        tokenizer: Option<&Tokenizer>,
        source: &dyn Weights,
        options: &Options,
        progress: &'a dyn Progress,
    ) -> Result<Vec<Self>, Error> {
        let compute = compute(options)?;
        let new = |tower: &'a TowerConfig, inputs| Self {
            config: tower,
            inputs,
            dim: config.projection_dim,
            compute,
            progress,
            workspace: Workspace::default(),
        };
        let mut all = Vec::new();
        if let Some(image) = &config.image {
            let pixels = PICTURES.iter().map(|&(name, bytes)| {
                let pixels = preprocess(bytes, &image.preprocessing, &PictureOptions::default());
                pixels.map_err(|error| Error::Probe { name, error })
            });
            all.push(new(&image.tower, Inputs::Pictures(image, pixels.collect::<Result<_, _>>()?)));
        }
        if let Some((text, tokenizer)) = config.text.as_ref().zip(tokenizer) {
            let tokens = tokenizer.tokenize(SENTENCES, Overlong::Truncate);
            // A text this short cannot be refused.
            let tokens = tokens.map_err(|error| Error::Vocabulary { path: source.path().to_owned(), error })?;
            all.push(new(&text.tower, Inputs::Texts(text, tokens)));
        }
        Ok(all)
    }

    pub(crate) fn tower(&self) -> Tower {
        match self.inputs {
            Inputs::Pictures(..) => Tower::Image,
            Inputs::Texts(..) => Tower::Text,
        }
    }

    /// Number of blocks.
    pub(crate) fn layers(&self) -> usize {
        self.config.layers
    }

    /// Steps of [`vectors`](Self::vectors).
    pub(crate) fn steps(&self) -> u64 {
        self.config.layers as u64 + 2
    }

    /// Length of a vector.
    pub(crate) fn dim(&self) -> usize {
        self.dim
    }

    /// The names of the pictures, or the sentences.
    pub(crate) fn probes(&self) -> Vec<&'static str> {
        match self.inputs {
            Inputs::Pictures(..) => PICTURES.iter().map(|(name, _)| *name).collect(),
            Inputs::Texts(..) => SENTENCES.to_vec(),
        }
    }

    /// The probes' vectors, one after the other.
    pub(crate) fn vectors(&mut self, weights: &dyn Weights) -> Result<Vec<f32>, Error> {
        let mut streams = self.embed(weights)?;
        for index in 0..self.config.layers {
            let block = self.block(index, weights)?;
            self.forward(&block, &mut streams)?;
        }
        let head = self.head(weights)?;
        self.project(&head, &streams)
    }

    /// A step: the probes, some at a time, as the blocks take them.
    pub(crate) fn embed(&mut self, weights: &dyn Weights) -> Result<Vec<Stream>, Error> {
        let (mut streams, mut quiet) = (Vec::new(), ());
        let mut pass = pass(&mut self.workspace, &mut quiet);
        match &self.inputs {
            Inputs::Pictures(config, pixels) => {
                let embedding = ImageEmbedding::load(config, weights, self.compute)?;
                for pixels in pixels.chunks((TOKENS_A_PASS / config.tokens()).max(1)) {
                    let mut stream = Stream::default();
                    embedding.forward(pixels, &mut stream, &mut pass)?;
                    streams.push(stream);
                }
            }
            Inputs::Texts(config, tokens) => {
                let embedding = TextEmbedding::load(config, weights, self.compute)?;
                let rows: Vec<&[u32]> = tokens.rows().collect();
                for rows in rows.chunks((TOKENS_A_PASS / config.vocabulary.context_length).max(1)) {
                    let mut stream = Stream::default();
                    embedding.forward(rows.iter().copied(), &mut stream, &mut pass)?;
                    streams.push(stream);
                }
            }
        }
        self.step()?;
        Ok(streams)
    }

    pub(crate) fn block(&self, index: usize, weights: &dyn Weights) -> Result<Block, Error> {
        let causal = matches!(self.inputs, Inputs::Texts(text, _) if text.causal);
        Ok(Block::load(self.config, self.tower(), causal, index, weights, self.compute)?)
    }

    /// A step: the streams go through a block.
    pub(crate) fn forward(&mut self, block: &Block, streams: &mut [Stream]) -> Result<(), Error> {
        streams.iter_mut().for_each(|stream| block.forward(stream, &mut pass(&mut self.workspace, &mut ())));
        self.step()
    }

    pub(crate) fn head(&self, weights: &dyn Weights) -> Result<Head, Error> {
        Ok(Head::load(self.config, self.tower(), self.dim, weights, self.compute)?)
    }

    /// A step: what has been through all blocks becomes vectors.
    pub(crate) fn project(&mut self, head: &Head, streams: &[Stream]) -> Result<Vec<f32>, Error> {
        let mut vectors = Vec::new();
        for stream in streams {
            let start = vectors.len();
            vectors.resize(start + stream.inputs() * self.dim, 0.0);
            head.forward(stream, &mut vectors[start..], &mut pass(&mut self.workspace, &mut ()));
        }
        self.step()?;
        Ok(vectors)
    }

    /// The first probe whose vector is not finite, shortened.
    pub(crate) fn not_finite(&self, vectors: &[f32]) -> Option<String> {
        let index = vectors.chunks_exact(self.dim).position(|row| row.iter().any(|value| !value.is_finite()))?;
        Some(self.probes().get(index)?.chars().take(SHOWN_CHARS).collect())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_probes_as_promised() {
        assert_eq!((PICTURES.len(), SENTENCES.len()), (8, 16));
    }
}
