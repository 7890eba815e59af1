//! The tensors: what they are, their names and dimensions.

use crate::{Config, Tower, TowerConfig};

/// What a tensor is for; a converter's policy goes by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A bias, a norm's gain or shift, the class token.
    Vector,
    /// One row a token.
    TokenEmbedding,
    /// One row a position.
    PositionEmbedding,
    /// The kernel of the strided convolution.
    PatchEmbedding,
    /// Query, key or value of attention.
    Attention,
    /// Out of attention.
    AttentionOutput,
    /// One of the MLP's linears.
    Mlp,
    /// Into the shared space.
    Projection,
}

/// What a tensor is, within its encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Piece {
    /// One row a token.
    TokenEmbedding,
    /// One row a position.
    PositionEmbedding,
    /// The token in front of the patches.
    ClassEmbedding,
    /// The kernel of the strided convolution.
    PatchEmbedding,
    /// The norm before the blocks.
    PreNorm,
    /// The norm of the pooled row.
    PostNorm,
    /// Into the shared space.
    Projection,
    /// Of a block: query.
    Query(usize),
    /// Of a block: key.
    Key(usize),
    /// Of a block: value.
    Value(usize),
    /// Of a block: what comes out of attention.
    AttentionOutput(usize),
    /// Of a block: the norm before attention.
    Norm1(usize),
    /// Of a block: the norm before the MLP.
    Norm2(usize),
    /// Of a block: the first linear of the MLP.
    MlpIn(usize),
    /// Of a block: the second linear of the MLP.
    MlpOut(usize),
}

/// Identifies a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id {
    /// The encoder it belongs to.
    pub tower: Tower,
    /// What it is.
    pub piece: Piece,
    /// A linear's or norm's bias (or shift), not its weight (or gain).
    pub bias: bool,
}

impl Id {
    /// The weight of a piece.
    pub fn weight(tower: Tower, piece: Piece) -> Self {
        Self { tower, piece, bias: false }
    }

    /// The bias of a piece.
    pub fn bias(tower: Tower, piece: Piece) -> Self {
        Self { tower, piece, bias: true }
    }

    /// The tensor's name in the file.
    pub fn name(self) -> String {
        let tower = match self.tower {
            Tower::Text => "t",
            Tower::Image => "v",
        };
        let stem = match self.piece {
            // The one tensor without an ending.
            Piece::ClassEmbedding => return format!("{tower}.class_embd"),
            // And these have no prefix.
            Piece::Projection => match self.tower {
                Tower::Text => "text_projection".to_owned(),
                Tower::Image => "visual_projection".to_owned(),
            },
            Piece::TokenEmbedding => format!("{tower}.token_embd"),
            Piece::PositionEmbedding => format!("{tower}.position_embd"),
            Piece::PatchEmbedding => format!("{tower}.patch_embd"),
            Piece::PreNorm => format!("{tower}.pre_ln"),
            Piece::PostNorm => format!("{tower}.post_ln"),
            Piece::Query(block) => format!("{tower}.blk.{block}.attn_q"),
            Piece::Key(block) => format!("{tower}.blk.{block}.attn_k"),
            Piece::Value(block) => format!("{tower}.blk.{block}.attn_v"),
            Piece::AttentionOutput(block) => format!("{tower}.blk.{block}.attn_out"),
            Piece::Norm1(block) => format!("{tower}.blk.{block}.ln1"),
            Piece::Norm2(block) => format!("{tower}.blk.{block}.ln2"),
            Piece::MlpIn(block) => format!("{tower}.blk.{block}.ffn_down"),
            Piece::MlpOut(block) => format!("{tower}.blk.{block}.ffn_up"),
        };
        format!("{stem}.{}", if self.bias { "bias" } else { "weight" })
    }

    /// What it is for.
    pub fn role(self) -> Role {
        match self.piece {
            _ if self.bias => Role::Vector,
            Piece::ClassEmbedding | Piece::PreNorm | Piece::PostNorm | Piece::Norm1(_) | Piece::Norm2(_) => Role::Vector,
            Piece::TokenEmbedding => Role::TokenEmbedding,
            Piece::PositionEmbedding => Role::PositionEmbedding,
            Piece::PatchEmbedding => Role::PatchEmbedding,
            Piece::Projection => Role::Projection,
            Piece::Query(_) | Piece::Key(_) | Piece::Value(_) => Role::Attention,
            Piece::AttentionOutput(_) => Role::AttentionOutput,
            Piece::MlpIn(_) | Piece::MlpOut(_) => Role::Mlp,
        }
    }
}

/// A tensor that the schema asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Which one.
    pub id: Id,
    /// Its name in the file.
    pub name: String,
    /// Dimensions, the contiguous one first, as in the file.
    pub dims: Vec<u64>,
}

/// All tensors of a model, in the order they are written.
pub fn tensors(config: &Config) -> Vec<TensorSpec> {
    let mut all = Vec::new();
    let mut push = |id: Id, dims: &[usize]| {
        let dims = dims.iter().map(|&dim| dim as u64).collect();
        all.push(TensorSpec { id, name: id.name(), dims });
    };
    if let Some(text) = &config.text {
        let (tower, width, vocabulary) = (Tower::Text, text.tower.width, &text.vocabulary);
        push(Id::weight(tower, Piece::TokenEmbedding), &[width, vocabulary.tokens.len()]);
        push(Id::weight(tower, Piece::PositionEmbedding), &[width, vocabulary.context_length]);
        encoder(&text.tower, tower, config.projection_dim, &mut push);
    }
    if let Some(image) = &config.image {
        let (tower, width, patch) = (Tower::Image, image.tower.width, image.patch);
        push(Id::weight(tower, Piece::ClassEmbedding), &[width]);
        push(Id::weight(tower, Piece::PatchEmbedding), &[patch, patch, 3, width]);
        push(Id::weight(tower, Piece::PositionEmbedding), &[width, image.tokens()]);
        push(Id::weight(tower, Piece::PreNorm), &[width]);
        push(Id::bias(tower, Piece::PreNorm), &[width]);
        encoder(&image.tower, tower, config.projection_dim, &mut push);
    }
    all
}

fn encoder(config: &TowerConfig, tower: Tower, projection_dim: usize, push: &mut impl FnMut(Id, &[usize])) {
    let (width, mlp) = (config.width, config.mlp);
    for block in 0..config.layers {
        for piece in [Piece::Query(block), Piece::Key(block), Piece::Value(block), Piece::AttentionOutput(block)] {
            push(Id::weight(tower, piece), &[width, width]);
            push(Id::bias(tower, piece), &[width]);
        }
        for piece in [Piece::Norm1(block), Piece::Norm2(block)] {
            push(Id::weight(tower, piece), &[width]);
            push(Id::bias(tower, piece), &[width]);
        }
        for (piece, inputs, outputs) in [(Piece::MlpIn(block), width, mlp), (Piece::MlpOut(block), mlp, width)] {
            push(Id::weight(tower, piece), &[inputs, outputs]);
            push(Id::bias(tower, piece), &[outputs]);
        }
    }
    push(Id::weight(tower, Piece::PostNorm), &[width]);
    push(Id::bias(tower, Piece::PostNorm), &[width]);
    push(Id::weight(tower, Piece::Projection), &[width, projection_dim]);
}
