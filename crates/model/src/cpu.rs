//! Both encoders of a file on the CPU.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use edgeclip_preprocess::Pixels;
use edgeclip_tokenize::TokenBatch;

use crate::{Compute, Config, Embeddings, Error, ImageTower, TextTower, Weights};

/// A device that runs whole encoders, so that everything between input and embedding can stay on its side.
pub trait Backend: Send + Sync {
    /// Pictures to embeddings, `[n, projection_dim]`, not normalised.
    ///
    /// # Errors
    /// What the encoder cannot load or encode.
    fn encode_image(&self, pictures: &[Pixels]) -> Result<Embeddings, Error>;

    /// Rows of ids to embeddings, `[n, projection_dim]`, not normalised.
    ///
    /// # Errors
    /// What the encoder cannot load or encode.
    fn encode_text(&self, tokens: &TokenBatch) -> Result<Embeddings, Error>;
}

/// The CPU. An encoder is loaded and packed when it is first used, so that searching by text never touches the image weights.
pub struct Cpu {
    config: Arc<Config>,
    weights: Box<dyn Weights>,
    compute: Compute,
    image: OnceLock<ImageTower>,
    text: OnceLock<TextTower>,
}

impl Cpu {
    /// Nothing is loaded yet.
    pub fn new(config: impl Into<Arc<Config>>, weights: impl Weights + 'static, compute: impl Into<Compute>) -> Self {
        Self {
            config: config.into(),
            weights: Box::new(weights),
            compute: compute.into(),
            image: OnceLock::new(),
            text: OnceLock::new(),
        }
    }

    /// The image encoder, loaded now if it was not.
    ///
    /// # Errors
    /// What [`ImageTower::load`] says.
    pub fn image(&self) -> Result<&ImageTower, Error> {
        // Two threads may both load; one result is kept. `OnceLock::get_or_try_init` is not stable.
        if let Some(tower) = self.image.get() {
            return Ok(tower);
        }
        let tower = ImageTower::load(&self.config, self.weights.as_ref(), self.compute)?;
        Ok(self.image.get_or_init(|| tower))
    }

    /// The text encoder, loaded now if it was not.
    ///
    /// # Errors
    /// What [`TextTower::load`] says.
    pub fn text(&self) -> Result<&TextTower, Error> {
        if let Some(tower) = self.text.get() {
            return Ok(tower);
        }
        let tower = TextTower::load(&self.config, self.weights.as_ref(), self.compute)?;
        Ok(self.text.get_or_init(|| tower))
    }

    /// What the encoders compute with.
    pub fn compute(&self) -> Compute {
        self.compute
    }
}

impl Backend for Cpu {
    fn encode_image(&self, pictures: &[Pixels]) -> Result<Embeddings, Error> {
        self.image()?.encode(pictures, &mut ())
    }

    fn encode_text(&self, tokens: &TokenBatch) -> Result<Embeddings, Error> {
        self.text()?.encode(tokens, &mut ())
    }
}

impl fmt::Debug for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cpu").field("weights", &self.weights.path()).field("compute", &self.compute).finish_non_exhaustive()
    }
}
