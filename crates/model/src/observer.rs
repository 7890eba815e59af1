//! Looking at the values between stages, and at the time that phases take.

use std::fmt;

use crate::Tower;

/// What has just been computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StageKind {
    /// Patches or tokens with their positions (and the first norm of the image encoder): `[tokens, width]`. Tokens that several texts
    /// begin with are one row, in the order of [`TextTower::encode`](crate::TextTower::encode).
    Embedding,
    /// The residual stream after a block's attention: `[tokens, width]`; after that of the last block `[batch, width]`, as nothing but the
    /// pooled rows is computed from there on.
    Attention,
    /// The residual stream after a block's MLP: `[tokens, width]`, after that of the last block `[batch, width]`.
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

/// What is being computed, for profiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// From pixels or ids to the residual stream, with the checks of both and the order of texts.
    Embedding,
    /// LayerNorms inside blocks, and the quantization of every linear's input.
    Norm,
    /// Query, key and value.
    Qkv,
    /// Attention itself.
    Attention,
    /// The linear behind attention.
    AttentionOutput,
    /// The MLP's first linear with the activation.
    MlpUp,
    /// The MLP's second linear.
    MlpDown,
    /// The norm and the projection of the pooled rows.
    Head,
}

impl Phase {
    /// All, in the order in which a pass first enters them.
    pub const ALL: [Self; 8] =
        [Self::Embedding, Self::Norm, Self::Qkv, Self::Attention, Self::AttentionOutput, Self::MlpUp, Self::MlpDown, Self::Head];
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Embedding => "embedding",
            Self::Norm => "norm",
            Self::Qkv => "qkv",
            Self::Attention => "attention",
            Self::AttentionOutput => "attention output",
            Self::MlpUp => "mlp up",
            Self::MlpDown => "mlp down",
            Self::Head => "head",
        })
    }
}

/// Is shown the values after each stage, in order: for checks, statistics and comparison.
pub trait Observer {
    /// `values` is `[rows, width]`.
    fn stage(&mut self, stage: Stage, width: usize, values: &[f32]);

    /// Everything from here to the next call, or to the end, belongs to `phase`.
    fn phase(&mut self, _phase: Phase) {}

    /// Whether there is anybody to see it. Passes are then computed one after the other instead of side by side, each on all threads.
    fn is_watching(&self) -> bool {
        true
    }
}

/// Looks away.
impl Observer for () {
    fn stage(&mut self, _: Stage, _: usize, _: &[f32]) {}

    fn is_watching(&self) -> bool {
        false
    }
}
