//! Weights as the tiles read them: panels of columns side by side, every value as the file has it.

use std::array;

use rayon::prelude::*;

use crate::{
    Format, Groups, Kernels, Rows,
    aligned::Aligned,
    format::{Block, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q6K, Q8_0},
    isa::lanes::LANES,
    scratch::{self, Scratch},
};

/// Elements that share a weight scale in most formats.
const GROUP: usize = 32;

/// Elements that share a weight scale in Q6_K.
const HALF_GROUP: usize = 16;

/// Integer weights, `w = scale * q + min`, in panels of [`Layout::columns`] outputs; the last one is filled up with zeros. Per panel:
/// `q` as [`crate::isa::tile::Int8Tile`] says, `[groups][columns]` of scales and of minima, `[columns]` of sums.
#[derive(Debug)]
pub(crate) struct Int8 {
    /// Inputs, filled up to whole groups.
    pub(crate) k: usize,
    pub(crate) group: usize,
    /// Whether two values share a byte.
    pub(crate) four: bool,
    /// What was added to the integers.
    pub(crate) offset: i32,
    pub(crate) q: Aligned<u8>,
    pub(crate) scale: Aligned<f32>,
    /// Or empty.
    pub(crate) min: Aligned<f32>,
    /// Of each column's values, for the zero point of the activations.
    pub(crate) sum: Aligned<f32>,
}

/// A panel, a row for each column, before its rows are interleaved.
struct Unpacked {
    /// `[columns][k]`
    q: Aligned<i8>,
    /// `[columns][groups]`
    scale: Vec<f32>,
    /// As many.
    min: Vec<f32>,
    /// Of the integers of each group, as many.
    totals: Vec<i32>,
    /// A matrix as large, in either order.
    floats: [Vec<f32>; 2],
}

impl Unpacked {
    fn new(columns: usize, k: usize, groups: usize) -> Self {
        let zeros = || vec![0.0; columns * groups];
        Self {
            q: Aligned::zeroed(columns * k),
            scale: zeros(),
            min: zeros(),
            totals: vec![0; columns * groups],
            floats: [zeros(), zeros()],
        }
    }

    /// Scales, minima (or none) and sums of the columns as the panel has them.
    fn finish(&mut self, kernels: &Kernels, group: usize, scale: &mut [f32], min: &mut [f32], sum: &mut [f32]) {
        let groups = scale.len() / sum.len();
        (kernels.group_sums)(&self.q, group, &mut self.totals);
        let [rows, turned] = &mut self.floats;
        rows.iter_mut().zip(&self.totals).for_each(|(float, total)| *float = *total as f32);
        transpose(kernels, rows, (groups, groups), turned, sum.len());
        transpose(kernels, &self.scale, (groups, groups), scale, sum.len());
        // In the order of the groups, as the product is summed.
        (kernels.sum_products)(turned, scale, sum);
        if !min.is_empty() {
            transpose(kernels, &self.min, (groups, groups), min, sum.len());
            turned.fill(group as f32);
            let minima = &mut rows[..sum.len()];
            minima.fill(0.0);
            (kernels.sum_products)(turned, min, minima);
            sum.iter_mut().zip(minima).for_each(|(sum, minimum)| *sum += *minimum);
        }
    }
}

impl Int8 {
    /// The integers of quantized `parts`, `n` rows of `k` in all: in groups of the smallest among them, with minima if one has them.
    pub(crate) fn pack(kernels: &Kernels, parts: &[Rows], n: usize, k: usize, groups: Groups) -> Self {
        let group = parts.iter().map(|part| group(part.format)).min().unwrap_or(GROUP);
        let all = |formats: &[Format]| parts.iter().all(|part| formats.contains(&part.format));
        // Q4_0 counts from -8, the others from 0.
        let nibbles = match () {
            () if all(&[Format::Q4_0]) => Some(8),
            () if all(&[Format::Q4_1, Format::Q4K]) => Some(0),
            () => None,
        };
        let has_min = parts.iter().any(|part| has_min(part.format));
        if groups == Groups::Coarse
            && nibbles.is_none()
            && !has_min
            && let Some(group) = coarse(parts, k)
        {
            return Self::build(kernels, (n, k), group, None, false, |row, q, scale, _| {
                if let Some((format, bytes)) = find(parts, row) {
                    scratch::with(|Scratch { floats: [values, ..], .. }| {
                        values.resize(k);
                        format.dequantize(bytes, values);
                        quantize_groups(values, group, q, scale);
                    });
                }
            });
        }
        Self::build(kernels, (n, k), group, nibbles, has_min, |row, q, scale, min| {
            if let Some((format, bytes)) = find(parts, row) {
                unpack(format, bytes, group, q, scale, min);
            }
        })
    }

    /// Integers for `n` rows of `k` values that `fill` writes: 8 bits and a scale for each group.
    pub(crate) fn quantize(kernels: &Kernels, n: usize, k: usize, fill: impl Fn(usize, &mut [f32]) + Sync) -> Self {
        Self::build(kernels, (n, k.next_multiple_of(GROUP)), GROUP, None, false, |row, q, scale, _| {
            scratch::with(|Scratch { floats: [values, ..], .. }| {
                values.resize(k);
                fill(row, values);
                quantize_groups(values, GROUP, q, scale);
            });
        })
    }

    /// `nibbles`: what to add to values that share a byte, if they do. `unpack(row, q, scale, min)` fills in a row's `[k]` and `[groups]`.
    fn build(
        kernels: &Kernels,
        (n, k): (usize, usize),
        group: usize,
        nibbles: Option<i32>,
        has_min: bool,
        unpack: impl Fn(usize, &mut [i8], &mut [f32], &mut [f32]) + Sync,
    ) -> Self {
        let layout = kernels.layout;
        let columns = layout.columns;
        let (panels, groups) = (n.div_ceil(columns), k / group);
        let (four, offset) = (nibbles.is_some(), nibbles.unwrap_or(layout.offset));
        let panel_bytes = columns * k / if four { 2 } else { 1 };
        let mut q = Aligned::weights(panels * panel_bytes);
        let mut scale = Aligned::weights(panels * groups * columns);
        let mut min = Aligned::weights(if has_min { scale.len() } else { 0 });
        let mut sum = Aligned::weights(panels * columns);
        let mut no_min = vec![[0f32; 0]; panels];
        let mins: Vec<&mut [f32]> = match has_min {
            true => min.chunks_exact_mut(groups * columns).collect(),
            false => no_min.iter_mut().map(|none| none.as_mut_slice()).collect(),
        };
        q.par_chunks_exact_mut(panel_bytes)
            .zip(scale.par_chunks_exact_mut(groups * columns))
            .zip(mins)
            .zip(sum.par_chunks_exact_mut(columns))
            .enumerate()
            .for_each_init(
                || Unpacked::new(columns, k, groups),
                |rows, (panel, (((q, scale), min), sum))| {
                    let filled = columns.min(n - panel * columns);
                    rows.q[filled * k..].fill(0);
                    rows.scale[filled * groups..].fill(0.0);
                    rows.min[filled * groups..].fill(0.0);
                    for c in 0..filled {
                        unpack(
                            panel * columns + c,
                            &mut rows.q[c * k..][..k],
                            &mut rows.scale[c * groups..][..groups],
                            &mut rows.min[c * groups..][..groups],
                        );
                    }
                    rows.finish(kernels, group, scale, min, sum);
                    interleave(kernels, &mut rows.q, k, four, offset, q);
                },
            );
        Self { k, group, four, offset, q, scale, min, sum }
    }

    /// Columns of a panel and bytes of its integers.
    pub(crate) fn panel_bytes(&self, columns: usize) -> usize {
        columns * self.k / if self.four { 2 } else { 1 }
    }
}

/// The simple rule: the largest of a group becomes 127.
fn quantize_groups(values: &[f32], group: usize, q: &mut [i8], scale: &mut [f32]) {
    // Added to a small number it rounds it to an integer, ties to even, and leaves that in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    for ((values, q), scale) in values.chunks(group).zip(q.chunks_mut(group)).zip(scale) {
        *scale = largest(values) / 127.0;
        let inverse = if *scale > 0.0 { 1.0 / *scale } else { 0.0 };
        let (q, padding) = q.split_at_mut(values.len());
        q.iter_mut().zip(values).for_each(|(q, v)| *q = (v * inverse + ROUND).to_bits() as i8);
        padding.fill(0);
    }
}

/// The largest magnitude of all that are numbers.
fn largest(values: &[f32]) -> f32 {
    // In lanes, since each comparison waits for the one before it; the order makes no difference.
    let mut lanes = [0f32; LANES];
    let join = |most: f32, v: f32| if v.abs() > most { v.abs() } else { most };
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        lanes = array::from_fn(|i| join(lanes[i], chunk[i]));
    }
    lanes.into_iter().chain(rest.iter().copied()).fold(0.0, join)
}

/// The largest group that changes the matrix by less than [`COARSE_ERROR`]: a row, 128 or 64.
fn coarse(parts: &[Rows], k: usize) -> Option<usize> {
    let rows: Vec<(Format, &[u8])> = parts
        .iter()
        .filter(|part| part.n > 0)
        .flat_map(|part| part.bytes.chunks_exact(part.bytes.len() / part.n).map(|bytes| (part.format, bytes)))
        .collect();
    let fits = |group: usize, step: usize| {
        let (error, size) = rows
            .par_iter()
            .step_by(step)
            .with_min_len(16)
            .map_init(
                || (vec![0f32; k], vec![0i8; k], vec![0f32; k / group]),
                |(values, q, scale), (format, bytes)| {
                    format.dequantize(bytes, values);
                    quantize_groups(values, group, q, scale);
                    let values = values.chunks_exact(group).zip(q.chunks_exact(group)).zip(scale);
                    values.fold((0f64, 0f64), |(error, size), ((values, q), scale)| {
                        let (mut e, mut s) = (0f32, 0f32);
                        for (v, &q) in values.iter().zip(q) {
                            let off = v - *scale * f32::from(q);
                            (e, s) = (e + off * off, s + v * v);
                        }
                        (error + f64::from(e), size + f64::from(s))
                    })
                },
            )
            .reduce(|| (0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
        error.sqrt() <= COARSE_ERROR * size.sqrt()
    };
    // A few rows can say no.
    let mut groups = [k, 128, 64].into_iter().filter(|&group| k.is_multiple_of(group) && group > GROUP);
    groups.find(|&group| fits(group, 16) && fits(group, 1))
}

/// How much quantizing anew may change a matrix, in root mean squares: with normally distributed weights groups of 128 do so by 0.61 %, rows of 768
/// by 0.75 %, while activations of 8 bits are off by about as much (docs/kernels.md).
const COARSE_ERROR: f64 = 0.0065;

/// Rows `[columns][k]` as `[k / depth][columns][depth]` bytes, or two steps of that in one. The rows are lost.
fn interleave(kernels: &Kernels, rows: &mut [i8], k: usize, four: bool, offset: i32, out: &mut [u8]) {
    let (columns, depth) = (kernels.layout.columns, kernels.layout.depth(four));
    rows.iter_mut().for_each(|q| *q = q.wrapping_add(offset as i8));
    let mut len = k;
    if four {
        // In place: half a row, its values and those `depth` after them in the upper halves.
        len /= 2;
        for row in rows.chunks_exact_mut(k) {
            for i in 0..len {
                let at = i / depth * 2 * depth + i % depth;
                row[i] = row[at] | row[at + depth] << 4;
            }
        }
    }
    if depth == size_of::<f32>() {
        // Four bytes change places as a float does, which nobody looks into.
        transpose(kernels, bytemuck::cast_slice(rows), (k / depth, len / depth), bytemuck::cast_slice_mut(out), columns);
    } else {
        for (c, row) in rows.chunks_exact(k).enumerate() {
            let row: &[u8] = bytemuck::cast_slice(&row[..len]);
            match depth {
                2 => turns::<2>(row, c, columns, out),
                8 => turns::<8>(row, c, columns, out),
                16 => turns::<16>(row, c, columns, out),
                _ => unreachable!("depths of `Layout`"),
            }
        }
    }
}

/// A row as column `c`: `DEPTH` values at a time, as one word or vector.
fn turns<const DEPTH: usize>(row: &[u8], c: usize, columns: usize, out: &mut [u8]) {
    let steps = out.as_chunks_mut::<DEPTH>().0.iter_mut().skip(c).step_by(columns);
    steps.zip(row.as_chunks::<DEPTH>().0).for_each(|(out, values)| *out = *values);
}

/// `[columns][len]`, each row `stride` after the one before it, as `[len][columns]`.
fn transpose(kernels: &Kernels, rows: &[f32], (stride, len): (usize, usize), out: &mut [f32], columns: usize) {
    for first in (0..columns).step_by(LANES) {
        let row = |i| &rows[(first + i) * stride..][..len];
        (kernels.transpose)(&array::from_fn(row), &mut out[first..], columns);
    }
}

/// Elements that share a scale.
fn group(format: Format) -> usize {
    if format == Format::Q6K { HALF_GROUP } else { GROUP }
}

fn has_min(format: Format) -> bool {
    matches!(format, Format::Q5_1 | Format::Q4_1 | Format::Q4K)
}

/// A row; `group` divides the format's own.
fn unpack(format: Format, bytes: &[u8], group: usize, q: &mut [i8], scale: &mut [f32], min: &mut [f32]) {
    match format {
        Format::Q8_0 => unpack_blocks::<_, Q8_0>(bytes, group, q, scale, min),
        Format::Q6K => unpack_blocks::<_, Q6K>(bytes, group, q, scale, min),
        Format::Q5_1 => unpack_blocks::<_, Q5_1>(bytes, group, q, scale, min),
        Format::Q5_0 => unpack_blocks::<_, Q5_0>(bytes, group, q, scale, min),
        Format::Q4_1 => unpack_blocks::<_, Q4_1>(bytes, group, q, scale, min),
        Format::Q4K => unpack_blocks::<_, Q4K>(bytes, group, q, scale, min),
        Format::Q4_0 => unpack_blocks::<_, Q4_0>(bytes, group, q, scale, min),
        Format::F32 | Format::F16 | Format::BF16 => unreachable!("only quantized parts are packed as integers"),
    }
    if !has_min(format) {
        // Beside parts that have minima.
        min.fill(0.0);
    }
}

fn unpack_blocks<const LEN: usize, B: Block<LEN>>(bytes: &[u8], group: usize, q: &mut [i8], scale: &mut [f32], min: &mut [f32]) {
    let blocks: &[B] = bytemuck::cast_slice(bytes);
    let a_block = LEN / group;
    for (((block, q), scale), min) in
        blocks.iter().zip(q.as_chunks_mut().0).zip(scale.chunks_exact_mut(a_block)).zip(min.chunks_exact_mut(a_block))
    {
        *q = block.quants();
        for (i, (scale, min)) in scale.iter_mut().zip(min).enumerate() {
            let own = i * group / B::GROUP;
            (*scale, *min) = (block.scale(own), block.min(own));
        }
    }
}

/// f32 weights in panels, `[panel][k][columns]`, the last one filled up with zeros.
#[derive(Debug)]
pub(crate) struct Floats(pub(crate) Aligned<f32>);

impl Floats {
    /// The values of `parts`, `n` rows of `k` in all.
    pub(crate) fn pack(kernels: &Kernels, parts: &[Rows], n: usize, k: usize) -> Self {
        let columns = kernels.layout.columns;
        let mut panels = Aligned::weights(n.div_ceil(columns) * k * columns);
        panels.par_chunks_exact_mut(k * columns).enumerate().for_each_init(
            || vec![0f32; LANES * k],
            |rows, (panel, out)| {
                for first in (0..columns).step_by(LANES) {
                    let at = panel * columns + first;
                    for (i, row) in rows.chunks_exact_mut(k).enumerate() {
                        match find(parts, at + i) {
                            Some((format, bytes)) => format.dequantize(bytes, row),
                            None => row.fill(0.0),
                        }
                    }
                    let row = |i| &rows[i * k..][..k];
                    (kernels.transpose)(&array::from_fn(row), &mut out[first..], columns);
                }
            },
        );
        Self(panels)
    }
}

/// Row `row` of all parts, one below the other.
fn find(parts: &[Rows], mut row: usize) -> Option<(Format, &[u8])> {
    for part in parts {
        if row < part.n {
            let bytes = part.bytes.len() / part.n;
            return Some((part.format, &part.bytes[row * bytes..][..bytes]));
        }
        row -= part.n;
    }
    None
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::Isa;

    fn rows(format: Format, n: usize, k: usize) -> Rows {
        let values: Vec<f32> = (0..n * k).map(|i| ((i * 7919) % 2003) as f32 / 1001.0 - 0.9).collect();
        let mut bytes = vec![0; n * format.row_bytes(k).unwrap()];
        format.quantize(&values, &mut bytes);
        Rows { format, n, k, bytes: Bytes::from(bytes) }
    }

    /// On one thread or on several, for each instruction set.
    #[test]
    fn a_panel_is_what_its_rows_make_it() {
        let (n, k) = (70, 512);
        let pools = [1, 3].map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap());
        for format in Format::ALL.into_iter().filter(|format| format.is_quantized()) {
            let parts = [rows(format, n, k)];
            for isa in Isa::available() {
                let kernels = Kernels::new(isa).unwrap();
                let [one, three] =
                    pools.each_ref().map(|pool| pool.install(|| Int8::pack(kernels, &parts, n, k, Groups::Stored)));
                assert!(one.q[..] == three.q[..] && one.scale[..] == three.scale[..], "{isa:?} {format}");
                assert!(one.min[..] == three.min[..] && one.sum[..] == three.sum[..], "{isa:?} {format}");
                let (columns, groups) = (kernels.layout.columns, k / one.group);
                for row in 0..one.sum.len() {
                    let (mut q, mut scale, mut min) = (vec![0; k], vec![0.0; groups], vec![0.0; groups]);
                    if let Some((format, bytes)) = find(&parts, row) {
                        unpack(format, bytes, one.group, &mut q, &mut scale, &mut min);
                    }
                    let total = |q: &[i8]| q.iter().map(|&q| i32::from(q)).sum::<i32>() as f32;
                    let totals = q.chunks_exact(one.group).map(total);
                    let mut sum = totals.zip(&scale).fold(0f32, |sum, (total, scale)| total.mul_add(*scale, sum));
                    sum += min.iter().fold(0f32, |sum, min| (one.group as f32).mul_add(*min, sum));
                    assert_eq!(one.sum[row], sum, "{isa:?} {format} {row}");
                    let panel = row / columns * groups * columns;
                    let packed = |values: &[f32], g: usize| values[panel + g * columns + row % columns];
                    assert!((0..groups).all(|g| packed(&one.scale, g) == scale[g]), "{isa:?} {format} {row}");
                    assert!(one.min.is_empty() || (0..groups).all(|g| packed(&one.min, g) == min[g]), "{isa:?} {format} {row}");
                }
            }
        }
    }
}
