//! The pieces of an encoder. Each is loaded and run on its own, so that a check can go through a large model with one piece in memory.

use edgeclip_kernels::{Activations, Norm as NormArgs, Threads, attention::Sequence};

use crate::{
    Config, Error, ImageConfig, Observer, TextConfig, Tower, TowerConfig, Weights,
    schema::{Id, Piece},
    weights::Loader,
};

mod block;
mod head;
mod image;
mod text;

pub use block::Block;
pub use head::Head;
pub use image::ImageEmbedding;
pub use text::TextEmbedding;

/// The residual stream: the tokens of several inputs, one after the other. Texts that begin alike share the tokens they begin with.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// `[tokens, width]`
    values: Vec<f32>,
    /// The rows of every input's tokens, in order of position.
    rows: Vec<u32>,
    /// What attention goes through: of each input the tokens that are its own.
    sequences: Vec<Sequence>,
    /// Of each input the token that becomes its embedding, as a sequence of one query.
    pooled: Vec<Sequence>,
}

impl Stream {
    /// Number of inputs.
    pub fn inputs(&self) -> usize {
        self.pooled.len()
    }

    /// Makes the token at `position` of every input the one that becomes its embedding.
    ///
    /// # Panics
    /// If an input has no such token.
    pub fn pool(&mut self, position: usize) {
        for pooled in &mut self.pooled {
            assert!(position < pooled.keys.len(), "position {position} of {} tokens", pooled.keys.len());
            pooled.first = position;
        }
    }

    fn clear(&mut self) {
        self.values.clear();
        self.rows.clear();
        self.sequences.clear();
        self.pooled.clear();
    }

    /// Appends an input of `len` tokens. The first `shared` of them are those of the input before it, the others its own, in rows from
    /// `own` on; `pooled` is a position.
    fn push(&mut self, len: usize, shared: usize, own: u32, pooled: usize) {
        let before = self.pooled.last().map_or(0, |last| last.keys.start);
        let start = self.rows.len();
        self.rows.extend_from_within(before..before + shared);
        self.rows.extend((own..).take(len - shared));
        let keys = start..self.rows.len();
        if len > shared {
            let own = own as usize;
            self.sequences.push(Sequence { queries: own..own + len - shared, keys: keys.clone(), first: shared });
        }
        let input = self.pooled.len();
        self.pooled.push(Sequence { queries: input..input + 1, keys, first: pooled });
    }

    /// Writes the pooled rows one below the other.
    fn gather(&self, width: usize, out: &mut [f32]) {
        for (pooled, out) in self.pooled.iter().zip(out.chunks_exact_mut(width)) {
            let row = self.rows[pooled.keys.start + pooled.first] as usize;
            out.copy_from_slice(&self.values[row * width..][..width]);
        }
    }

    /// Of one input, leaves the first `tokens` tokens, or all if there are no more; the last of them is pooled if the pooled one is gone.
    ///
    /// # Panics
    /// If there is not one input.
    pub(crate) fn keep_first(&mut self, tokens: usize) {
        let [pooled] = self.pooled.as_slice() else { panic!("expected one input, found {}", self.inputs()) };
        let (all, pooled) = (pooled.keys.len(), pooled.first);
        let tokens = tokens.min(all);
        let mut values = std::mem::take(&mut self.values);
        values.truncate(values.len() / all * tokens);
        self.clear();
        self.values = values;
        self.push(tokens, 0, 0, pooled.min(tokens - 1));
    }

    /// After the pooled rows have taken the place of all others: every input is one token.
    fn keep_pooled(&mut self) {
        self.rows.clear();
        self.rows.extend(0..self.pooled.len() as u32);
        for (input, pooled) in self.pooled.iter_mut().enumerate() {
            *pooled = Sequence { queries: input..input + 1, keys: input..input + 1, first: 0 };
        }
        self.sequences.clear();
    }
}

/// Buffers for what a piece computes on its way; they grow to what the largest pass needs.
#[derive(Debug, Default)]
pub struct Workspace {
    activations: Activations,
    /// Query, key and value of each token, or key and value alone.
    qkv: Vec<f32>,
    /// The queries of pooled rows.
    query: Vec<f32>,
    attended: Vec<f32>,
    /// Between the two linears of an MLP; before that, what an embedding needs.
    hidden: Vec<f32>,
    /// Pooled rows.
    pooled: Vec<f32>,
}

/// How a piece runs: with which buffers, on which threads, and who looks on.
pub struct Pass<'a> {
    /// Buffers.
    pub workspace: &'a mut Workspace,
    /// Where the kernels compute.
    pub threads: Threads,
    /// Is shown stages and phases.
    pub observer: &'a mut dyn Observer,
}

/// The first `len` values of a buffer, whatever they are; it grows if it has to.
fn room(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    &mut buffer[..len]
}

/// A LayerNorm's parameters.
#[derive(Debug)]
struct Norm {
    gain: Vec<f32>,
    shift: Vec<f32>,
    eps: f32,
}

impl Norm {
    fn load(loader: &Loader<'_>, tower: Tower, piece: Piece, config: &TowerConfig) -> Result<Self, Error> {
        Ok(Self {
            gain: loader.values(Id::weight(tower, piece), &[config.width])?,
            shift: loader.values(Id::bias(tower, piece), &[config.width])?,
            eps: config.eps,
        })
    }

    fn args(&self) -> NormArgs<'_> {
        NormArgs { gain: &self.gain, shift: &self.shift, eps: self.eps }
    }
}

/// The image encoder's configuration, or the error that there is none.
///
/// # Errors
/// [`Error::NoTower`].
pub(crate) fn image_config<'c>(config: &'c Config, weights: &dyn Weights) -> Result<&'c ImageConfig, Error> {
    config.image.as_ref().ok_or_else(|| Error::NoTower { file: weights.path().to_owned(), tower: Tower::Image })
}

/// The text encoder's configuration, or the error that there is none.
///
/// # Errors
/// [`Error::NoTower`].
pub(crate) fn text_config<'c>(config: &'c Config, weights: &dyn Weights) -> Result<&'c TextConfig, Error> {
    config.text.as_ref().ok_or_else(|| Error::NoTower { file: weights.path().to_owned(), tower: Tower::Text })
}
