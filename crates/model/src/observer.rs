//! Looking at the values between stages.

use std::fmt;

use crate::Tower;

/// What has just been computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StageKind {
    /// Patches or tokens with their positions (and the first norm of the image encoder): `[tokens, width]`.
    Embedding,
    /// The residual stream after a block's attention: `[tokens, width]`.
    Attention,
    /// The residual stream after a block's MLP: `[tokens, width]`.
    Mlp,
    /// The embeddings: `[batch, projection_dim]`.
    Projection,
}

/// A named point of an encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stage {
    /// The encoder.
    pub tower: Tower,
    /// The block, from 0, for stages inside one.
    pub block: Option<usize>,
    /// What was computed.
    pub kind: StageKind,
}

impl fmt::Display for Stage {
    /// `image.embedding`, `text.block.3.mlp`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.", self.tower)?;
        if let Some(block) = self.block {
            write!(f, "block.{block}.")?;
        }
        f.write_str(match self.kind {
            StageKind::Embedding => "embedding",
            StageKind::Attention => "attention",
            StageKind::Mlp => "mlp",
            StageKind::Projection => "projection",
        })
    }
}

/// Is shown the values after each stage, in order: for checks, statistics and comparison.
pub trait Observer {
    /// `values` is `[rows, width]`.
    fn stage(&mut self, stage: Stage, width: usize, values: &[f32]);
}

/// Looks away.
impl Observer for () {
    fn stage(&mut self, _: Stage, _: usize, _: &[f32]) {}
}
