//! Scaled dot-product attention (Vaswani et al. 2017) over sequences of different lengths in one buffer.

use std::ops::Range;

use crate::{
    Kernels, Threads,
    disjoint::Disjoint,
    isa::{lanes::LANES, tile::MOST_ROWS},
    linear::multiply_floats,
    panels::Panels,
    scratch::{self, Scratch},
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
/// If `width` is no multiple of `heads`, a row is not in its buffer, or the sequences are not one after the other.
pub fn attention(
    kernels: &Kernels,
    shape: Shape,
    qkv: Qkv<'_>,
    rows: &[u32],
    sequences: &[Sequence],
    out: &mut [f32],
    threads: Threads,
) {
    let Shape { width, heads, .. } = shape;
    assert!(heads > 0 && width > 0 && width.is_multiple_of(heads), "width {width} is no multiple of {heads} heads");
    let queries = sequences.iter().fold(0, |first, sequence| {
        assert!(sequence.queries.start == first && sequence.queries.end >= first, "sequences are one after the other");
        sequence.queries.end
    });
    assert_eq!(out.len(), queries * width, "output of {queries} queries of width {width}");
    let out = Disjoint::new(out);
    threads.for_each(sequences.len() * heads, |task| {
        let sequence = &sequences[task / heads];
        if !sequence.queries.is_empty() {
            head(kernels, shape, qkv, &rows[sequence.keys.clone()], sequence, task % heads, &out);
        }
    });
}

/// One head of one sequence: `softmax(Q K^T / sqrt(size)) V` for a few queries at a time, whose scores stay in the nearest cache.
fn head(
    kernels: &Kernels,
    Shape { width, heads, causal }: Shape,
    qkv: Qkv<'_>,
    rows: &[u32],
    sequence: &Sequence,
    head: usize,
    out: &Disjoint<'_, f32>,
) {
    let (size, columns, keys) = (width / heads, kernels.layout.columns, rows.len());
    let last = sequence.first + sequence.queries.len();
    assert!(keys > 0 && (!causal || last <= keys), "{last} positions of a sequence of {keys}");
    let scale = 1.0 / (size as f32).sqrt();
    let (key_panels, size_panels) = (keys.div_ceil(columns), size.div_ceil(columns));
    // Rows of scores that are a power of two apart would share the same few places of the cache.
    let stride = key_panels * columns + 16;
    let value_stride = size_panels * columns;
    scratch::with(|Scratch { floats: [keys_t, values, scores, result, zeros], .. }| {
        keys_t.resize(key_panels * size * columns);
        values.resize(size_panels * keys * columns);
        scores.resize(kernels.layout.rows * stride);
        result.resize(kernels.layout.rows * value_stride);
        zeros.resize(size);
        zeros.fill(0.0);
        // Panels [size][columns] of keys and [keys][columns] of values; what fills up the last ones is zero.
        for (panel, rows) in keys_t.chunks_exact_mut(size * columns).zip(rows.chunks(columns)) {
            for first in (0..columns).step_by(LANES) {
                let mut block: [&[f32]; LANES] = [zeros; LANES];
                for (key, &row) in block.iter_mut().zip(rows.iter().skip(first)) {
                    *key = &qkv.key.row(row as usize)[head * size..][..size];
                }
                (kernels.transpose)(&block, &mut panel[first..], columns);
            }
        }
        if !size.is_multiple_of(columns) {
            values[(size_panels - 1) * keys * columns..].fill(0.0);
        }
        for (j, &row) in rows.iter().enumerate() {
            let value = &qkv.value.row(row as usize)[head * size..][..size];
            for (panel, value) in values.chunks_exact_mut(keys * columns).zip(value.chunks(columns)) {
                let (whole, rest) = value.as_chunks::<LANES>();
                let (out, out_rest) = panel[j * columns..][..value.len()].as_chunks_mut::<LANES>();
                out.copy_from_slice(whole);
                out_rest.copy_from_slice(rest);
            }
        }
        let panels = Panels::new(sequence.queries.len(), kernels.layout.rows);
        for panel in 0..panels.count {
            let queries = panels.rows(panel);
            // Later positions than these no query of the panel sees.
            let seen = |query: usize| if causal { sequence.first + query + 1 } else { keys };
            let most = seen(queries.end - 1);
            let first = sequence.queries.start + queries.start;
            let query = Strided { offset: first * qkv.query.stride + qkv.query.offset + head * size, ..qkv.query };
            for (at, keys) in keys_t.chunks_exact(size * columns).take(most.div_ceil(columns)).enumerate() {
                multiply_floats(kernels, query, queries.len(), keys, &mut scores[at * columns..], stride);
            }
            let mut totals = [0f32; MOST_ROWS];
            for ((row, total), query) in scores.chunks_exact_mut(stride).zip(&mut totals).zip(queries.clone()) {
                *total = (kernels.soft_max)(&mut row[..most.next_multiple_of(LANES)], seen(query), scale);
            }
            let weights = Strided { values: scores, stride, offset: 0 };
            for (at, values) in values.chunks_exact(keys * columns).enumerate() {
                let out = &mut result[at * columns..];
                multiply_floats(kernels, weights, queries.len(), &values[..most * columns], out, value_stride);
            }
            for (r, (row, total)) in result.chunks_exact(value_stride).zip(totals).take(queries.len()).enumerate() {
                let from = (first + r) * width + head * size;
                // SAFETY: rows of different sequences and columns of different heads are apart, and no other part of this call is alive.
                let out = unsafe { out.part(from..from + size) };
                (kernels.divide)(&row[..size], total, out);
            }
        }
    });
}

impl<'a> Strided<'a> {
    /// What is there of a row.
    fn row(self, row: usize) -> &'a [f32] {
        &self.values[row * self.stride + self.offset..]
    }
}
