//! Scaled dot-product attention (Vaswani et al. 2017) over sequences of different lengths in one buffer.

use std::ops::Range;

use crate::{
    Threads,
    isa::{AttentionArgs, Kernels},
};

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

/// Rows of a buffer: row `i` is `values[i * stride + offset..][..width]`.
#[derive(Clone, Copy, Debug)]
pub struct Strided<'a> {
    /// The buffer.
    pub values: &'a [f32],
    /// From one row to the next.
    pub stride: usize,
    /// Of each row's first value.
    pub offset: usize,
}

/// Queries, keys and values, in one buffer or in several.
#[derive(Clone, Copy, Debug)]
pub struct Qkv<'a> {
    /// A row for each query.
    pub query: Strided<'a>,
    /// A row for each token.
    pub key: Strided<'a>,
    /// A row for each token.
    pub value: Strided<'a>,
}

/// A sequence, or as much of it as is computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Rows of the queries and of the output. Sequences follow each other: each begins where the one before it ends.
    pub queries: Range<usize>,
    /// The part of `rows` that lists the tokens of this sequence, in order of position.
    pub keys: Range<usize>,
    /// Position of the first query: in causal attention, the query `i` sees the tokens at positions up to `first + i`.
    pub first: usize,
}

/// Attention within each sequence; `rows` lists rows of key and value (see [`Sequence::keys`]), so that sequences may share tokens. `out` is
/// `[queries, width]`.
///
/// # Panics
/// If `width` is no multiple of `heads`, or a row is not in its buffer.
pub fn attention(
    kernels: &Kernels,
    shape: Shape,
    qkv: Qkv<'_>,
    rows: &[u32],
    sequences: &[Sequence],
    out: &mut [f32],
    threads: Threads,
) {
    let Shape { width, heads, causal } = shape;
    assert!(heads > 0 && width > 0 && width.is_multiple_of(heads), "width {width} is no multiple of {heads} heads");
    let _ = threads;
    for sequence in sequences {
        // Interim: gathered, and one query at a time.
        let keys = &rows[sequence.keys.clone()];
        for (i, query) in sequence.queries.clone().enumerate() {
            let seen = if causal { sequence.first + i + 1 } else { keys.len() };
            let mut buffer = vec![0f32; seen * 3 * width];
            for (&row, out) in keys[..seen].iter().zip(buffer.chunks_exact_mut(3 * width)) {
                let row = row as usize;
                out[width..2 * width].copy_from_slice(&qkv.key.values[row * qkv.key.stride + qkv.key.offset..][..width]);
                out[2 * width..].copy_from_slice(&qkv.value.values[row * qkv.value.stride + qkv.value.offset..][..width]);
            }
            let first = seen - 1;
            buffer[first * 3 * width..][..width]
                .copy_from_slice(&qkv.query.values[query * qkv.query.stride + qkv.query.offset..][..width]);
            let args = AttentionArgs { qkv: &buffer, width, heads, causal: false, first };
            (kernels.attention)(args, &mut out[query * width..][..width]);
        }
    }
}
