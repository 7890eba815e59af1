//! The pieces of an encoder. Each is loaded and run on its own, so that a check can go through a large model with one piece in memory.

use edgeclip_kernels::{
    Activation, Activations, Epilogue, Kernels, Linear, Norm as NormArgs, Rows, Threads,
    attention::{Qkv, Sequence, Shape, Strided, attention},
    layer_norm,
};
use edgeclip_preprocess::Pixels;

use crate::{
    Config, Error, ImageConfig, Observer, Stage, StageKind, TextConfig, TextPooling, Tower, TowerConfig, Weights,
    schema::{Id, Piece},
    weights::Loader,
};

/// The residual stream: the tokens of several inputs, one after the other.
#[derive(Clone, Debug)]
pub struct Stream {
    /// `[tokens, width]`
    pub values: Vec<f32>,
    /// Tokens of each input.
    pub lengths: Vec<usize>,
    /// The row of each input that becomes its embedding, counted within the input.
    pub pooled: Vec<usize>,
}

/// A LayerNorm's parameters.
#[derive(Debug)]
struct Norm {
    kernels: &'static Kernels,
    gain: Vec<f32>,
    shift: Vec<f32>,
    eps: f32,
}

impl Norm {
    fn load(loader: &Loader<'_>, tower: Tower, piece: Piece, config: &TowerConfig) -> Result<Self, Error> {
        Ok(Self {
            kernels: loader.kernels,
            gain: loader.values(Id::weight(tower, piece), &[config.width])?,
            shift: loader.values(Id::bias(tower, piece), &[config.width])?,
            eps: config.eps,
        })
    }

    /// The normalised rows, in the form that `next` wants.
    fn before(&self, next: &Linear, x: &[f32]) -> Activations {
        let mut activations = Activations::default();
        activations.set_layer_norm(next, x, self.args(), Threads::All);
        activations
    }

    fn args(&self) -> NormArgs<'_> {
        NormArgs { gain: &self.gain, shift: &self.shift, eps: self.eps }
    }
}

fn plain(linear: &Linear, x: &[f32]) -> Activations {
    let mut activations = Activations::default();
    activations.set(linear, x, Threads::All);
    activations
}

/// Pictures to the residual stream: patches, class token, positions, first norm.
#[derive(Debug)]
pub struct ImageEmbedding {
    kernels: &'static Kernels,
    config: ImageConfig,
    /// `[width, 3 * patch * patch]`
    patch: Linear,
    /// The class token, with its position added.
    class: Vec<f32>,
    /// `[patches, width]`
    positions: Vec<f32>,
    norm: Norm,
}

impl ImageEmbedding {
    /// Loads the piece.
    ///
    /// # Errors
    /// A tensor that is missing, of the wrong shape or of a type that cannot be computed with.
    pub fn load(config: &ImageConfig, weights: &dyn Weights, kernels: &'static Kernels) -> Result<Self, Error> {
        let loader = Loader { weights, kernels };
        let (width, side) = (config.tower.width, config.patch);
        let id = |piece| Id::weight(Tower::Image, piece);
        let mut class = loader.values(id(Piece::ClassEmbedding), &[width])?;
        let mut positions = loader.values(id(Piece::PositionEmbedding), &[width, config.tokens()])?;
        let rest = positions.split_off(width);
        class.iter_mut().zip(&positions).for_each(|(class, position)| *class += position);
        Ok(Self {
            kernels,
            config: config.clone(),
            patch: loader.matrix(id(Piece::PatchEmbedding), &[side, side, 3], width)?,
            class,
            positions: rest,
            norm: Norm::load(&loader, Tower::Image, Piece::PreNorm, &config.tower)?,
        })
    }

    /// Tokens of a picture.
    pub(crate) fn tokens(&self) -> usize {
        self.config.tokens()
    }

    /// The stream of a batch of pictures.
    ///
    /// # Errors
    /// [`Error::PictureSize`] if a picture is not of the model's size.
    pub fn forward(&self, pictures: &[Pixels], observer: &mut dyn Observer) -> Result<Stream, Error> {
        let (size, side, grid) = (self.config.preprocessing.size as usize, self.config.patch, self.config.grid());
        let (width, k) = (self.config.tower.width, 3 * side * side);
        let tokens = self.config.tokens();
        let mut chw = vec![0f32; 3 * size * size];
        let mut patches = vec![0f32; grid * grid * k];
        let mut embedded = vec![0f32; pictures.len() * tokens * width];
        for (index, (pixels, out)) in pictures.iter().zip(embedded.chunks_exact_mut(tokens * width)).enumerate() {
            if pixels.size() as usize != size {
                return Err(Error::PictureSize { index, expected: size, found: pixels.size() as usize });
            }
            pixels.write_chw(&mut chw);
            for (p, patch) in patches.chunks_exact_mut(k).enumerate() {
                let (top, left) = (p / grid * side, p % grid * side);
                for (line, row) in patch.chunks_exact_mut(side).enumerate() {
                    let (channel, y) = (line / side, top + line % side);
                    row.copy_from_slice(&chw[(channel * size + y) * size + left..][..side]);
                }
            }
            let (class, rest) = out.split_at_mut(width);
            class.copy_from_slice(&self.class);
            rest.copy_from_slice(&self.positions);
            self.patch.forward(&plain(&self.patch, &patches), Epilogue::Add, rest, Threads::All);
        }
        layer_norm(self.kernels, &mut embedded, self.norm.args(), Threads::All);
        let values = embedded;
        observer.stage(Stage { tower: Tower::Image, block: None, kind: StageKind::Embedding }, width, &values);
        Ok(Stream { values, lengths: vec![tokens; pictures.len()], pooled: vec![0; pictures.len()] })
    }
}

/// Token ids to the residual stream. The table of tokens stays where it is; only the rows that are used are read.
#[derive(Debug)]
pub struct TextEmbedding {
    width: usize,
    context_length: usize,
    causal: bool,
    pooling: TextPooling,
    end: u32,
    tokens: Rows,
    /// `[context_length, width]`
    positions: Vec<f32>,
}

impl TextEmbedding {
    /// Loads the piece.
    ///
    /// # Errors
    /// A tensor that is missing, of the wrong shape or of a type that cannot be computed with.
    pub fn load(config: &TextConfig, weights: &dyn Weights, kernels: &'static Kernels) -> Result<Self, Error> {
        let loader = Loader { weights, kernels };
        let id = |piece| Id::weight(Tower::Text, piece);
        let width = config.tower.width;
        Ok(Self {
            tokens: loader.rows(id(Piece::TokenEmbedding), &[width], config.vocabulary.tokens.len())?,
            positions: loader.values(id(Piece::PositionEmbedding), &[width, config.vocabulary.context_length])?,
            width,
            context_length: config.vocabulary.context_length,
            causal: config.causal,
            pooling: config.pooling,
            end: config.vocabulary.end,
        })
    }

    /// The stream of rows of ids, padded or not. What comes after the pooled position of a causal encoder cannot matter and is cut off.
    ///
    /// # Errors
    /// [`Error::Tokens`] for a row that is empty, too long, without the token to pool, or with an id that is not in the vocabulary.
    pub fn forward<'t>(&self, rows: impl Iterator<Item = &'t [u32]>, observer: &mut dyn Observer) -> Result<Stream, Error> {
        let width = self.width;
        let mut stream = Stream { values: Vec::new(), lengths: Vec::new(), pooled: Vec::new() };
        let row_bytes = self.tokens.bytes.len() / self.tokens.n;
        for (index, ids) in rows.enumerate() {
            let wrong = |problem: String| Error::Tokens { index, problem };
            if let Some(id) = ids.iter().find(|id| **id as usize >= self.tokens.n) {
                return Err(wrong(format!("expected ids below {}, found {id}", self.tokens.n)));
            }
            let pooled = self.pooling.position(ids, self.end);
            let pooled = pooled
                .ok_or_else(|| wrong(format!("expected the end token {} among {} ids, found none", self.end, ids.len())))?;
            let ids = if self.causal { &ids[..=pooled] } else { ids };
            if ids.len() > self.context_length {
                return Err(wrong(format!("expected at most {} ids, found {}", self.context_length, ids.len())));
            }
            let start = stream.values.len();
            stream.values.resize(start + ids.len() * width, 0.0);
            let positions = self.positions.chunks_exact(width);
            for ((out, position), &id) in stream.values[start..].chunks_exact_mut(width).zip(positions).zip(ids) {
                self.tokens.format.dequantize(&self.tokens.bytes[id as usize * row_bytes..][..row_bytes], out);
                out.iter_mut().zip(position).for_each(|(x, p)| *x += p);
            }
            stream.lengths.push(ids.len());
            stream.pooled.push(pooled);
        }
        observer.stage(Stage { tower: Tower::Text, block: None, kind: StageKind::Embedding }, width, &stream.values);
        Ok(stream)
    }
}

/// A pre-norm transformer block: `x += attention(norm(x))`, `x += mlp(norm(x))`.
#[derive(Debug)]
pub struct Block {
    kernels: &'static Kernels,
    tower: Tower,
    index: usize,
    shape: Shape,
    norm1: Norm,
    qkv: Linear,
    out: Linear,
    norm2: Norm,
    up: Linear,
    down: Linear,
    activation: Activation,
}

impl Block {
    /// Loads block `index` of an encoder.
    ///
    /// # Errors
    /// A tensor that is missing, of the wrong shape or of a type that cannot be computed with.
    pub fn load(
        config: &TowerConfig,
        tower: Tower,
        causal: bool,
        index: usize,
        weights: &dyn Weights,
        kernels: &'static Kernels,
    ) -> Result<Self, Error> {
        let loader = Loader { weights, kernels };
        let (width, mlp) = (config.width, config.mlp);
        Ok(Self {
            kernels,
            tower,
            index,
            shape: Shape { width, heads: config.heads, causal },
            norm1: Norm::load(&loader, tower, Piece::Norm1(index), config)?,
            qkv: loader.linear(tower, &[Piece::Query(index), Piece::Key(index), Piece::Value(index)], width, width)?,
            out: loader.linear(tower, &[Piece::AttentionOutput(index)], width, width)?,
            norm2: Norm::load(&loader, tower, Piece::Norm2(index), config)?,
            up: loader.linear(tower, &[Piece::MlpIn(index)], width, mlp)?,
            down: loader.linear(tower, &[Piece::MlpOut(index)], mlp, width)?,
            activation: config.activation,
        })
    }

    /// Adds the block's two terms to the stream.
    pub fn forward(&self, stream: &mut Stream, observer: &mut dyn Observer) {
        let x = &mut stream.values;
        let width = self.shape.width;
        let mut show =
            |kind, values: &[f32]| observer.stage(Stage { tower: self.tower, block: Some(self.index), kind }, width, values);

        let mut qkv = vec![0f32; x.len() * 3];
        self.qkv.forward(&self.norm1.before(&self.qkv, x), Epilogue::Store, &mut qkv, Threads::All);
        let mut attended = vec![0f32; x.len()];
        let rows: Vec<u32> = (0..(x.len() / width) as u32).collect();
        let mut first = 0;
        let sequences: Vec<_> = stream
            .lengths
            .iter()
            .map(|length| {
                let all = first..first + length;
                first += length;
                Sequence { queries: all.clone(), keys: all, first: 0 }
            })
            .collect();
        let part = |offset| Strided { values: &qkv, stride: 3 * width, offset };
        let parts = Qkv { query: part(0), key: part(width), value: part(2 * width) };
        attention(self.kernels, self.shape, parts, &rows, &sequences, &mut attended, Threads::All);
        self.out.forward(&plain(&self.out, &attended), Epilogue::Add, x, Threads::All);
        show(StageKind::Attention, x);

        let mut hidden = vec![0f32; x.len() / width * self.up.n()];
        self.up.forward(&self.norm2.before(&self.up, x), Epilogue::Activate(self.activation), &mut hidden, Threads::All);
        self.down.forward(&plain(&self.down, &hidden), Epilogue::Add, x, Threads::All);
        show(StageKind::Mlp, x);
    }
}

/// The pooled rows to embeddings: last norm and projection.
#[derive(Debug)]
pub struct Head {
    tower: Tower,
    norm: Norm,
    projection: Linear,
}

impl Head {
    /// Loads an encoder's head.
    ///
    /// # Errors
    /// A tensor that is missing, of the wrong shape or of a type that cannot be computed with.
    pub fn load(
        config: &TowerConfig,
        tower: Tower,
        projection_dim: usize,
        weights: &dyn Weights,
        kernels: &'static Kernels,
    ) -> Result<Self, Error> {
        let loader = Loader { weights, kernels };
        Ok(Self {
            tower,
            norm: Norm::load(&loader, tower, Piece::PostNorm, config)?,
            projection: loader.matrix(Id::weight(tower, Piece::Projection), &[config.width], projection_dim)?,
        })
    }

    /// `[inputs, projection_dim]`, not normalised.
    pub fn forward(&self, stream: &Stream, observer: &mut dyn Observer) -> Vec<f32> {
        let width = self.norm.gain.len();
        let mut pooled = Vec::with_capacity(stream.lengths.len() * width);
        let mut first = 0;
        for (length, row) in stream.lengths.iter().zip(&stream.pooled) {
            pooled.extend_from_slice(&stream.values[(first + row) * width..][..width]);
            first += length;
        }
        let mut out = vec![0f32; stream.lengths.len() * self.projection.n()];
        self.projection.forward(&self.norm.before(&self.projection, &pooled), Epilogue::Store, &mut out, Threads::All);
        observer.stage(Stage { tower: self.tower, block: None, kind: StageKind::Projection }, self.projection.n(), &out);
        out
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
