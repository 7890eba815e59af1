//! Whole encoders.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use edgeclip_kernels::Threads;
use edgeclip_preprocess::Pixels;
use edgeclip_tokenize::TokenBatch;
use rayon::prelude::*;

use crate::{
    Compute, Config, Embeddings, Error, Observer, Phase, Tower, TowerConfig, Weights,
    equalize::{self, Blank},
    parts::{Block, Head, ImageEmbedding, Pass, Stream, TextEmbedding, Workspace, image_config, text_config},
    plan::{Split, TextPlan},
    pool::Pool,
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
    plans: Pool<TextPlan>,
    body: Body,
}

/// What both have behind their embedding.
#[derive(Debug)]
struct Body {
    tower: Tower,
    file: PathBuf,
    projection_dim: usize,
    blocks: Vec<Block>,
    head: Head,
    buffers: Pool<Buffers>,
}

/// What a pass needs.
#[derive(Debug, Default)]
struct Buffers {
    stream: Stream,
    workspace: Workspace,
    /// `[inputs, projection_dim]`
    vectors: Vec<f32>,
}

impl ImageTower {
    /// Loads and packs the image encoder, with outlier channels moved ([`crate::equalize`]) if the weights are quantized and that was not
    /// done when they were.
    ///
    /// # Errors
    /// [`Error::NoTower`], or a tensor that is missing, of the wrong shape or of a type that cannot be computed with.
    pub fn load(config: &Config, weights: &dyn Weights, compute: impl Into<Compute>) -> Result<Self, Error> {
        let compute = compute.into();
        let image = image_config(config, weights)?;
        let load = |weights: &dyn Weights| -> Result<Self, Error> {
            let embedding = ImageEmbedding::load(image, weights, compute)?;
            Ok(Self { embedding, body: Body::load(config, &image.tower, Tower::Image, false, weights, compute)? })
        };
        let blank = |tower: &Self| Blank::picture(&tower.embedding, tower.body.blocks.iter().map(Ok));
        equalize::load(&image.tower, Tower::Image, weights, compute, load, blank)
    }

    /// Pictures to embeddings, `[n, projection_dim]`, not normalised.
    ///
    /// If there are as many pictures as threads, every thread computes its own; otherwise all work on each.
    ///
    /// # Errors
    /// [`Error::PictureSize`], [`Error::NotFinite`].
    pub fn encode(&self, pictures: &[Pixels], observer: &mut dyn Observer) -> Result<Embeddings, Error> {
        observer.phase(Phase::Embedding);
        pictures.iter().enumerate().try_for_each(|(index, pixels)| self.embedding.check(index, pixels))?;
        let split = Split::pictures(pictures.len(), self.embedding.tokens(), observer.is_watching());
        let range = |i| split.range(i, pictures.len());
        self.body.encode(
            pictures.len(),
            split.passes,
            split.threads,
            observer,
            |i, stream, pass| self.embedding.forward(&pictures[range(i)], stream, pass),
            |i, place| range(i).enumerate().for_each(|(vector, picture)| place(picture, vector)),
        )
    }
}

impl TextTower {
    /// Loads and packs the text encoder, as [`ImageTower::load`] does.
    ///
    /// # Errors
    /// [`Error::NoTower`], or a tensor that is missing, of the wrong shape or of a type that cannot be computed with.
    pub fn load(config: &Config, weights: &dyn Weights, compute: impl Into<Compute>) -> Result<Self, Error> {
        let compute = compute.into();
        let text = text_config(config, weights)?;
        let load = |weights: &dyn Weights| -> Result<Self, Error> {
            let embedding = TextEmbedding::load(text, weights, compute)?;
            let body = Body::load(config, &text.tower, Tower::Text, text.causal, weights, compute)?;
            Ok(Self { embedding, plans: Pool::default(), body })
        };
        let blank = |tower: &Self| Blank::text(&tower.embedding, tower.body.blocks.iter().map(Ok));
        equalize::load(&text.tower, Tower::Text, weights, compute, load, blank)
    }

    /// Rows of ids to embeddings, `[n, projection_dim]`, not normalised.
    ///
    /// Rows that are the same are computed once, and so are, in a causal encoder, the tokens that several rows of a pass begin with. An
    /// observer sees the different tokens in the order of the sorted rows.
    ///
    /// # Errors
    /// [`Error::Tokens`], [`Error::NotFinite`].
    pub fn encode(&self, tokens: &TokenBatch, observer: &mut dyn Observer) -> Result<Embeddings, Error> {
        observer.phase(Phase::Embedding);
        self.plans.with(|plan| {
            let threads = plan.set(&self.embedding, tokens, observer.is_watching())?;
            let (plan, passes) = (&*plan, plan.passes());
            self.body.encode(
                tokens.len(),
                passes.len(),
                threads,
                observer,
                |i, stream, pass| self.embedding.forward(plan.texts(tokens, &passes[i]), stream, pass),
                |i, place| plan.places(tokens, &passes[i]).for_each(|(row, vector)| place(row, vector)),
            )
        })
    }
}

impl Body {
    fn load(
        config: &Config,
        own: &TowerConfig,
        tower: Tower,
        causal: bool,
        weights: &dyn Weights,
        compute: Compute,
    ) -> Result<Self, Error> {
        let blocks = (0..own.layers).map(|i| Block::load(own, tower, causal, i, weights, compute));
        Ok(Self {
            tower,
            file: weights.path().to_owned(),
            projection_dim: config.projection_dim,
            blocks: blocks.collect::<Result<_, _>>()?,
            head: Head::load(own, tower, config.projection_dim, weights, compute)?,
            buffers: Pool::default(),
        })
    }

    /// `embed` makes the stream of a pass, `places` says for which inputs a vector of the pass is: `place(input, vector)`.
    fn encode(
        &self,
        inputs: usize,
        passes: usize,
        threads: Threads,
        observer: &mut dyn Observer,
        embed: impl Fn(usize, &mut Stream, &mut Pass<'_>) -> Result<(), Error> + Sync,
        places: impl Fn(usize, &mut dyn FnMut(usize, usize)) + Sync,
    ) -> Result<Embeddings, Error> {
        let dim = self.projection_dim;
        let values = Mutex::new(vec![0f32; inputs * dim]);
        let run = |i: usize, observer: &mut dyn Observer| -> Result<(), Error> {
            self.buffers.with(|Buffers { stream, workspace, vectors }| {
                let mut pass = Pass { workspace, threads, observer };
                embed(i, stream, &mut pass)?;
                for block in &self.blocks {
                    block.forward(stream, &mut pass);
                }
                vectors.resize(stream.inputs() * dim, 0.0);
                self.head.forward(stream, vectors, &mut pass);
                let mut values = values.lock().unwrap_or_else(PoisonError::into_inner);
                places(i, &mut |input, vector| {
                    values[input * dim..][..dim].copy_from_slice(&vectors[vector * dim..][..dim]);
                });
                Ok(())
            })
        };
        match threads {
            Threads::One if passes > 1 => (0..passes).into_par_iter().with_max_len(1).try_for_each(|i| run(i, &mut ()))?,
            _ => (0..passes).try_for_each(|i| run(i, observer))?,
        }
        let values = values.into_inner().unwrap_or_else(PoisonError::into_inner);
        match values.chunks_exact(dim).position(|row| row.iter().any(|v| !v.is_finite())) {
            Some(index) => Err(Error::NotFinite { file: self.file.clone(), tower: self.tower, index }),
            None => Ok(Embeddings::new(dim, values)),
        }
    }
}
