//! The pooled rows to embeddings.

use edgeclip_kernels::{Epilogue, Linear};

use super::{Norm, Pass, Stream, room};
use crate::{Compute, Error, Phase, Stage, StageKind, Tower, TowerConfig, Weights, schema::Piece, weights::Loader};

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
        compute: impl Into<Compute>,
    ) -> Result<Self, Error> {
        let compute = compute.into();
        let loader = Loader { weights, compute };
        Ok(Self {
            tower,
            norm: Norm::load(&loader, tower, Piece::PostNorm, config)?,
            projection: loader.projection(tower, config.width, projection_dim)?,
        })
    }

    /// Writes `[inputs, projection_dim]`, not normalised.
    ///
    /// # Panics
    /// If `out` is of another size.
    pub fn forward(&self, stream: &Stream, out: &mut [f32], pass: &mut Pass<'_>) {
        pass.observer.phase(Phase::Head);
        let (workspace, projection, width) = (&mut *pass.workspace, &self.projection, self.projection.k());
        let pooled = room(&mut workspace.pooled, stream.inputs() * width);
        stream.gather(width, pooled);
        workspace.activations.set_layer_norm(projection, pooled, self.norm.args(), pass.threads);
        projection.forward(&workspace.activations, Epilogue::Store, out, pass.threads);
        pass.observer.stage(Stage { tower: self.tower, block: None, kind: StageKind::Projection }, projection.n(), out);
    }
}
