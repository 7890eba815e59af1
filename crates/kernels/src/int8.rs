//! Quantized weights as the int8 kernels read them: every value as the file has it, in one layout for all formats.

use rayon::prelude::*;

use crate::{
    Format, Rows,
    format::{Block, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q6K, Q8_0},
    isa::{GROUP, HALF_GROUP, Int8Weights},
};

/// What [`Int8Weights`] borrows.
#[derive(Debug)]
pub(crate) struct Int8 {
    group: usize,
    q: Vec<i8>,
    scale: Vec<f32>,
    min: Vec<f32>,
    sum: Vec<f32>,
}

impl Int8 {
    /// The integers of quantized `parts`, `n` rows of `k` in all: in groups of the smallest among them, with minima if one has them.
    pub(crate) fn pack(parts: &[Rows], n: usize, k: usize) -> Self {
        let group = parts.iter().map(|part| group(part.format)).min().unwrap_or(GROUP);
        let groups = k / group;
        let (mut q, mut scale, mut sum) = (vec![0i8; n * k], vec![0f32; n * groups], vec![0f32; n]);
        let mut first = 0;
        for part in parts {
            let rows = first..first + part.n;
            q[rows.start * k..rows.end * k]
                .par_chunks_exact_mut(k)
                .zip(scale[rows.start * groups..rows.end * groups].par_chunks_exact_mut(groups))
                .zip(&mut sum[rows])
                .zip(part.bytes.par_chunks_exact(part.bytes.len() / part.n))
                .with_min_len(16)
                .for_each(|(((q, scale), sum), bytes)| {
                    pack_row(part.format, bytes, group, q, scale);
                    // In the order of the groups, as the product is summed.
                    *sum = q.chunks_exact(group).zip(scale).fold(0.0, |sum, (q, scale)| {
                        let group: i32 = q.iter().map(|&q| i32::from(q)).sum();
                        (group as f32).mul_add(*scale, sum)
                    });
                });
            first += part.n;
        }
        let mut min = Vec::new();
        if parts.iter().any(|part| has_min(part.format)) {
            min.resize(n * groups, 0f32);
            let mut first = 0;
            for part in parts.iter() {
                let rows = first..first + part.n;
                min[rows.start * groups..rows.end * groups]
                    .par_chunks_exact_mut(groups)
                    .zip(&mut sum[rows])
                    .zip(part.bytes.par_chunks_exact(part.bytes.len() / part.n))
                    .with_min_len(16)
                    .for_each(|((min, sum), bytes)| {
                        pack_min(part.format, bytes, group, min);
                        *sum += min.iter().fold(0.0, |sum, min| (group as f32).mul_add(*min, sum));
                    });
                first += part.n;
            }
        }
        Self { group, q, scale, min, sum }
    }

    pub(crate) fn borrow(&self) -> Int8Weights<'_> {
        let Self { group, q, scale, min, sum } = self;
        Int8Weights { group: *group, q, scale, min, sum }
    }
}

/// Elements that share a scale.
fn group(format: Format) -> usize {
    if format == Format::Q6K { HALF_GROUP } else { GROUP }
}

fn has_min(format: Format) -> bool {
    matches!(format, Format::Q5_1 | Format::Q4_1 | Format::Q4K)
}

fn pack_row(format: Format, bytes: &[u8], group: usize, q: &mut [i8], scale: &mut [f32]) {
    match format {
        Format::Q8_0 => pack_blocks::<_, Q8_0>(bytes, group, q, scale),
        Format::Q6K => pack_blocks::<_, Q6K>(bytes, group, q, scale),
        Format::Q5_1 => pack_blocks::<_, Q5_1>(bytes, group, q, scale),
        Format::Q5_0 => pack_blocks::<_, Q5_0>(bytes, group, q, scale),
        Format::Q4_1 => pack_blocks::<_, Q4_1>(bytes, group, q, scale),
        Format::Q4K => pack_blocks::<_, Q4K>(bytes, group, q, scale),
        Format::Q4_0 => pack_blocks::<_, Q4_0>(bytes, group, q, scale),
        Format::F32 | Format::F16 | Format::BF16 => unreachable!("only quantized parts are packed"),
    }
}

/// `group` divides the format's own.
fn pack_blocks<const LEN: usize, B: Block<LEN>>(bytes: &[u8], group: usize, q: &mut [i8], scale: &mut [f32]) {
    let blocks: &[B] = bytemuck::cast_slice(bytes);
    for ((block, q), scale) in blocks.iter().zip(q.as_chunks_mut().0).zip(scale.chunks_exact_mut(LEN / group)) {
        *q = block.quants();
        scale.iter_mut().enumerate().for_each(|(i, scale)| *scale = block.scale(i * group / B::GROUP));
    }
}

fn pack_min(format: Format, bytes: &[u8], group: usize, min: &mut [f32]) {
    match format {
        Format::Q5_1 => block_mins::<_, Q5_1>(bytes, group, min),
        Format::Q4_1 => block_mins::<_, Q4_1>(bytes, group, min),
        Format::Q4K => block_mins::<_, Q4K>(bytes, group, min),
        // Beside parts that have minima.
        _ => min.fill(0.0),
    }
}

fn block_mins<const LEN: usize, B: Block<LEN>>(bytes: &[u8], group: usize, min: &mut [f32]) {
    let blocks: &[B] = bytemuck::cast_slice(bytes);
    for (block, min) in blocks.iter().zip(min.chunks_exact_mut(LEN / group)) {
        min.iter_mut().enumerate().for_each(|(i, min)| *min = block.min(i * group / B::GROUP));
    }
}
