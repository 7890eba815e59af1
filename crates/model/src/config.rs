//! The configuration of a model.

use std::fmt;

use edgeclip_kernels::Activation;
use edgeclip_preprocess::Spec;
use edgeclip_tokenize::Vocabulary;

/// One of the two encoders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tower {
    /// Pictures to embeddings.
    Image,
    /// Token ids to embeddings.
    Text,
}

impl Tower {
    /// `"image"` or `"text"`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Text => "text",
        }
    }
}

impl fmt::Display for Tower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Everything that decides a vector, apart from the weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// What people call the model, if known.
    pub name: Option<String>,
    /// Where the weights came from.
    pub source: Option<Source>,
    /// The image encoder, if there is one.
    pub image: Option<ImageConfig>,
    /// The text encoder, if there is one.
    pub text: Option<TextConfig>,
    /// Length of an embedding, of both towers.
    pub projection_dim: usize,
    /// Natural logarithm of the factor between cosine and logit.
    pub logit_scale: f32,
    /// Added to the logit (SigLIP).
    pub logit_bias: Option<f32>,
}

/// The checkpoint a file was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Name of the folder or file, or of a repository.
    pub name: String,
    /// Hex sha256 of the checkpoint's weights (of a sharded one: over its files in the order of their names).
    pub sha256: String,
}

/// The transformer that both encoders are.
#[derive(Clone, Debug, PartialEq)]
pub struct TowerConfig {
    /// Values of a token.
    pub width: usize,
    /// Attention heads; a divisor of the width.
    pub heads: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Width between the two linears of a block's MLP.
    pub mlp: usize,
    /// Added to the variance in every LayerNorm.
    pub eps: f32,
    /// Between the two linears of a block's MLP.
    pub activation: Activation,
}

/// The image encoder: patches, a class token, blocks, and the class token's row as the result.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageConfig {
    /// The transformer.
    pub tower: TowerConfig,
    /// Side of a square patch, pixels.
    pub patch: usize,
    /// How a picture becomes pixels, with the side of the square input.
    pub preprocessing: Spec,
}

impl ImageConfig {
    /// Patches along a side; what a patch does not fill is not seen, as in a strided convolution.
    pub fn grid(&self) -> usize {
        self.preprocessing.size as usize / self.patch
    }

    /// Tokens of a picture: one a patch, and the class token.
    pub fn tokens(&self) -> usize {
        self.grid() * self.grid() + 1
    }
}

/// The text encoder: token and position embeddings, blocks, and one row as the result.
#[derive(Clone, Debug, PartialEq)]
pub struct TextConfig {
    /// The transformer.
    pub tower: TowerConfig,
    /// Whether a token sees only itself and the tokens before it.
    pub causal: bool,
    /// Which row is the result.
    pub pooling: TextPooling,
    /// The tokenizer's lists, rules and context length.
    pub vocabulary: Vocabulary,
}

/// Which row of the text encoder's output is the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TextPooling {
    /// The row of the largest id, the first if there are several: OpenAI's `text.argmax(dim=-1)`, and transformers' for configurations
    /// with the legacy `eos_token_id` 2.
    Argmax,
    /// The row of the first end token.
    End,
}

impl TextPooling {
    /// The pooled position of a row of ids, `None` if the row is empty or the token looked for is absent.
    pub fn position(self, ids: &[u32], end: u32) -> Option<usize> {
        match self {
            Self::Argmax => {
                let largest = ids.iter().max()?;
                ids.iter().position(|id| id == largest)
            }
            Self::End => ids.iter().position(|&id| id == end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pooled_positions() {
        assert_eq!(TextPooling::Argmax.position(&[5, 9, 3, 9], 3), Some(1));
        assert_eq!(TextPooling::End.position(&[5, 9, 3, 9, 3], 3), Some(2));
        assert_eq!(TextPooling::End.position(&[5, 9], 3), None);
        assert_eq!(TextPooling::Argmax.position(&[], 3), None);
    }
}
