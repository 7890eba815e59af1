//! Scaled dot-product attention (Vaswani et al. 2017) over sequences of different lengths in one buffer.

use rayon::prelude::*;

use crate::isa::{AttentionArgs, Kernels};

/// The shape of an attention layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Values of a token; a multiple of `heads`.
    pub width: usize,
    /// Number of heads; each sees `width / heads` values, and logits are divided by the root of that.
    pub heads: usize,
    /// Whether a token sees only itself and the tokens before it.
    pub causal: bool,
}

/// Attention within each sequence. `qkv` is `[tokens, 3 * width]`, query, key and value of a token side by side, sequences one after the
/// other; `lengths` are the sequences' numbers of tokens; `out` is `[tokens, width]`.
///
/// # Panics
/// If the lengths do not sum to the tokens of both buffers, or `width` is no multiple of `heads`.
pub fn attention(kernels: &Kernels, shape: Shape, lengths: &[usize], qkv: &[f32], out: &mut [f32]) {
    let Shape { width, heads, causal } = shape;
    let tokens: usize = lengths.iter().sum();
    assert!(heads > 0 && width > 0 && width.is_multiple_of(heads), "width {width} is no multiple of {heads} heads");
    assert_eq!((qkv.len(), out.len()), (tokens * 3 * width, tokens * width), "buffers of {tokens} tokens of width {width}");

    // One task is a few rows of one sequence.
    const ROWS: usize = 8;
    let mut tasks = Vec::new();
    let (mut qkv, mut out) = (qkv, out);
    for &length in lengths {
        let (sequence, qkv_rest) = qkv.split_at(length * 3 * width);
        let (rows, out_rest) = out.split_at_mut(length * width);
        tasks.extend(rows.chunks_mut(ROWS * width).enumerate().map(|(i, rows)| (i * ROWS, sequence, rows)));
        (qkv, out) = (qkv_rest, out_rest);
    }
    tasks.into_par_iter().for_each(|(first, qkv, rows)| {
        (kernels.attention)(AttentionArgs { qkv, width, heads, causal, first }, rows);
    });
}
