//! Whole encoders.

use edgeclip_kernels::Kernels;
use edgeclip_preprocess::Pixels;
use edgeclip_tokenize::TokenBatch;

use crate::{
    Config, Embeddings, Error, Observer, Tower, Weights,
    parts::{Block, Head, ImageEmbedding, Stream, TextEmbedding, image_config, text_config},
};

/// The image encoder, packed.
#[derive(Debug)]
pub struct ImageTower {
    embedding: ImageEmbedding,
    body: Body,
}

/// The text encoder, packed.
#[derive(Debug)]
pub struct TextTower {
    embedding: TextEmbedding,
    body: Body,
}

/// What both have behind their embedding.
#[derive(Debug)]
struct Body {
    tower: Tower,
    file: std::path::PathBuf,
    projection_dim: usize,
    blocks: Vec<Block>,
    head: Head,
}

/// Tokens in one pass. Bounds the memory of a large batch; a batch this large gains nothing from being larger.
const TOKENS_A_PASS: usize = 1024;

impl ImageTower {
    /// Loads and packs the image encoder.
    ///
    /// # Errors
    /// [`Error::NoTower`], or a tensor that is missing, of the wrong shape or of a type that cannot be computed with.
    pub fn load(config: &Config, weights: &dyn Weights, kernels: &'static Kernels) -> Result<Self, Error> {
        let image = image_config(config, weights)?;
        let embedding = ImageEmbedding::load(image, weights, kernels)?;
        let blocks = (0..image.tower.layers).map(|i| Block::load(&image.tower, Tower::Image, false, i, weights, kernels));
        let blocks = blocks.collect::<Result<_, _>>()?;
        let head = Head::load(&image.tower, Tower::Image, config.projection_dim, weights, kernels)?;
        let file = weights.path().to_owned();
        Ok(Self { embedding, body: Body { tower: Tower::Image, file, projection_dim: config.projection_dim, blocks, head } })
    }

    /// Pictures to embeddings, `[n, projection_dim]`, not normalised.
    ///
    /// # Errors
    /// [`Error::PictureSize`], [`Error::NotFinite`].
    pub fn encode(&self, pictures: &[Pixels], observer: &mut dyn Observer) -> Result<Embeddings, Error> {
        let mut values = Vec::with_capacity(pictures.len() * self.body.projection_dim);
        let pictures_a_pass = (TOKENS_A_PASS / self.embedding.tokens()).max(1);
        for (i, pass) in pictures.chunks(pictures_a_pass).enumerate() {
            let first = i * pictures_a_pass;
            let stream = self.embedding.forward(pass, observer).map_err(|error| error.in_batch(first))?;
            values.extend(self.body.encode(stream, first, observer)?);
        }
        Ok(Embeddings::new(self.body.projection_dim, values))
    }
}

impl TextTower {
    /// Loads and packs the text encoder.
    ///
    /// # Errors
    /// [`Error::NoTower`], or a tensor that is missing, of the wrong shape or of a type that cannot be computed with.
    pub fn load(config: &Config, weights: &dyn Weights, kernels: &'static Kernels) -> Result<Self, Error> {
        let text = text_config(config, weights)?;
        let embedding = TextEmbedding::load(text, weights, kernels)?;
        let blocks = (0..text.tower.layers).map(|i| Block::load(&text.tower, Tower::Text, text.causal, i, weights, kernels));
        let blocks = blocks.collect::<Result<_, _>>()?;
        let head = Head::load(&text.tower, Tower::Text, config.projection_dim, weights, kernels)?;
        let file = weights.path().to_owned();
        Ok(Self { embedding, body: Body { tower: Tower::Text, file, projection_dim: config.projection_dim, blocks, head } })
    }

    /// Rows of ids to embeddings, `[n, projection_dim]`, not normalised.
    ///
    /// # Errors
    /// [`Error::Tokens`], [`Error::NotFinite`].
    pub fn encode(&self, tokens: &TokenBatch, observer: &mut dyn Observer) -> Result<Embeddings, Error> {
        let mut values = Vec::with_capacity(tokens.len() * self.body.projection_dim);
        let mut first = 0;
        while first < tokens.len() {
            let mut last = first + 1;
            let mut total = tokens.row(first).len();
            while last < tokens.len() && total + tokens.row(last).len() <= TOKENS_A_PASS {
                total += tokens.row(last).len();
                last += 1;
            }
            let rows = (first..last).map(|i| tokens.row(i));
            let stream = self.embedding.forward(rows, observer).map_err(|error| error.in_batch(first))?;
            values.extend(self.body.encode(stream, first, observer)?);
            first = last;
        }
        Ok(Embeddings::new(self.body.projection_dim, values))
    }
}

impl Body {
    fn encode(&self, mut stream: Stream, first: usize, observer: &mut dyn Observer) -> Result<Vec<f32>, Error> {
        for block in &self.blocks {
            block.forward(&mut stream, observer);
        }
        let values = self.head.forward(&stream, observer);
        match values.chunks_exact(self.projection_dim).position(|row| row.iter().any(|v| !v.is_finite())) {
            Some(row) => Err(Error::NotFinite { file: self.file.clone(), tower: self.tower, index: first + row }),
            None => Ok(values),
        }
    }
}
