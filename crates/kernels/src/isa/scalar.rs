//! The plain loops: the definition of every tile, and what runs where there is nothing better.

pub(super) mod jpeg;

use std::array;

use super::{
    Isa, Kernels,
    lanes::Plain,
    rows,
    tile::{FloatTile, Int8Tile, Layout, Tiles},
};
use crate::resize::{Band, Taps, round_fixed};

pub(super) static KERNELS: Kernels = Kernels {
    isa: Isa::Scalar,
    layout: Layout { rows: 2, columns: COLUMNS, depth: 4, wide: false, pairs: false, offset: 0 },
    tiles: Tiles {
        int8: &[int8::<1, false>, int8::<2, false>],
        int4: &[int8::<1, true>, int8::<2, true>],
        float: &[float::<1>, float::<2>],
    },
    finish: rows::finish::<Plain>,
    quantize_row: rows::quantize_row::<Plain>,
    layer_norm: rows::layer_norm::<Plain>,
    soft_max: rows::soft_max::<Plain>,
    divide: rows::divide::<Plain>,
    group_sums,
    transpose: rows::transpose::<Plain>,
    sum_products: rows::sum_products::<Plain>,
    horizontal_u8,
    vertical_u8,
    transform: jpeg::transform,
    double: jpeg::double,
    double_both: jpeg::double_both,
    rgb: jpeg::rgb,
};

const COLUMNS: usize = 16;

fn group_sums(q: &[i8], group: usize, sums: &mut [i32]) {
    for (q, sum) in q.chunks_exact(group).zip(sums) {
        *sum = q.iter().map(|&q| i32::from(q)).sum();
    }
}

fn horizontal_u8(band: Band<'_, u8>, channels: usize, taps: &Taps<i32>, out: &mut [u8]) {
    let horizontal = match channels {
        1 => horizontal_u8_of::<1>,
        2 => horizontal_u8_of::<2>,
        3 => horizontal_u8_of::<3>,
        _ => horizontal_u8_of::<4>,
    };
    for (y, out) in out.chunks_exact_mut(taps.len() * channels).enumerate() {
        horizontal(band.at_row(y), taps, out);
    }
}

fn horizontal_u8_of<const CHANNELS: usize>(row: &[u8], taps: &Taps<i32>, out: &mut [u8]) {
    let (row, _) = row.as_chunks::<CHANNELS>();
    let (out, _) = out.as_chunks_mut::<CHANNELS>();
    for (i, (pixel, span)) in out.iter_mut().zip(taps.spans()).enumerate() {
        let mut sums = [0i32; CHANNELS];
        for (sample, &weight) in row[span.start..span.start + span.len].iter().zip(taps.weights(i)) {
            for c in 0..CHANNELS {
                sums[c] = sums[c].wrapping_add(i32::from(sample[c]).wrapping_mul(weight));
            }
        }
        *pixel = sums.map(round_fixed);
    }
}

pub(super) fn vertical_u8(band: Band<'_, u8>, weights: &[i32], sums: &mut [i32]) {
    for (y, &weight) in weights.iter().enumerate() {
        let row = &band.at_row(y)[..sums.len()];
        for (sum, &sample) in sums.iter_mut().zip(row) {
            *sum = sum.wrapping_add(i32::from(sample).wrapping_mul(weight));
        }
    }
}

/// # Safety
/// As [`super::tile::Int8Fn`].
unsafe fn int8<const M: usize, const FOUR: bool>(tile: &Int8Tile) {
    let (step, steps) = (COLUMNS * 4, tile.blocks * tile.steps);
    // SAFETY: `from` is [M][COLUMNS], `sum` and `bias` are [COLUMNS].
    let (mut sums, sum, bias): ([[f32; COLUMNS]; M], &[f32; COLUMNS], &[f32; COLUMNS]) =
        unsafe { (*tile.from.cast(), &*tile.sum.cast(), &*tile.bias.cast()) };
    for g in 0..tile.groups {
        let mut acc: [[i32; COLUMNS]; M] = array::from_fn(|r| {
            // SAFETY: `start` is [M][groups].
            [unsafe { *tile.start.add(r * tile.groups + g) }; COLUMNS]
        });
        for s in g * steps..(g + 1) * steps {
            // SAFETY: `w` is [k / 4][COLUMNS][4] bytes, or half as many if a byte holds the values of two steps; each row of `x` is [k].
            let (w, x): (&[[i8; 4]; COLUMNS], [&[i8; 4]; M]) = unsafe {
                let at = if FOUR { s / 2 } else { s };
                (&*tile.w.add(at * step).cast(), array::from_fn(|r| &*tile.x.add(r * tile.stride + s * 4).cast()))
            };
            for r in 0..M {
                for c in 0..COLUMNS {
                    for d in 0..4 {
                        let w = match FOUR {
                            true => w[c][d] >> (s % 2 * 4) & 15,
                            false => w[c][d],
                        };
                        acc[r][c] += i32::from(x[r][d]) * i32::from(w);
                    }
                }
            }
        }
        // SAFETY: `scale` is [groups][COLUMNS].
        let scale = unsafe { &*tile.scale.add(g * COLUMNS).cast::<[f32; COLUMNS]>() };
        for r in 0..M {
            for c in 0..COLUMNS {
                sums[r][c] = (acc[r][c] as f32).mul_add(scale[c], sums[r][c]);
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        // SAFETY: `x_scale` and `zero` are [M], each row of `out` is [COLUMNS].
        let (scale, zero, out): (f32, f32, &mut [f32; COLUMNS]) =
            unsafe { (*tile.x_scale.add(r), *tile.zero.add(r), &mut *tile.out.add(r * tile.out_stride).cast()) };
        for c in 0..COLUMNS {
            let y = scale.mul_add((-zero).mul_add(sum[c], sums[c]), bias[c]);
            out[c] = if tile.add { out[c] + y } else { y };
        }
    }
}

/// # Safety
/// As [`super::tile::FloatFn`].
unsafe fn float<const M: usize>(tile: &FloatTile) {
    let mut acc = [[0f32; COLUMNS]; M];
    for k in 0..tile.k {
        // SAFETY: `w` is [k][COLUMNS].
        let w = unsafe { &*tile.w.add(k * COLUMNS).cast::<[f32; COLUMNS]>() };
        for r in 0..M {
            // SAFETY: `x` has this element, as `FloatTile` says.
            let x = unsafe { *tile.x.add(r * tile.stride + k) };
            for c in 0..COLUMNS {
                acc[r][c] = x.mul_add(w[c], acc[r][c]);
            }
        }
    }
    for (r, acc) in acc.into_iter().enumerate() {
        // SAFETY: each row of `out` is [COLUMNS].
        unsafe { *tile.out.add(r * tile.out_stride).cast() = acc };
    }
}
