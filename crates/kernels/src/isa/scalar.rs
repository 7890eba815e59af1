//! The plain loops: the definition of every kernel.
//!
//! The bodies of the functions over rows are `inline(always)` so that another instruction set can compile the same loops with its own features
//! switched on ([`super::x86`]); that changes the speed and not one bit, since every float operation is written out, fused where it says so.

use std::array;

use super::{
    Activation, Isa, Kernels, NormArgs,
    tile::{Finish, FloatTile, Int8Tile, Layout, Tiles},
};
use crate::math::{erf, exp};

pub(super) static KERNELS: Kernels = Kernels {
    isa: Isa::Scalar,
    layout: Layout { rows: 2, columns: COLUMNS, depth: 4, wide: false, offset: 0 },
    tiles: Tiles {
        int8: &[int8::<1, false>, int8::<2, false>],
        int4: &[int8::<1, true>, int8::<2, true>],
        float: &[float::<1>, float::<2>],
    },
    finish,
    quantize_row,
    layer_norm,
    soft_max,
    activate,
};

const COLUMNS: usize = 16;

const LANES: usize = 16;

/// One value of sixteen: lane `i` with lane `i + 8`, then `i + 4`, `i + 2`, `i + 1`.
#[inline(always)]
fn fold(mut lanes: [f32; LANES], with: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] = with(lanes[i], lanes[i + width]);
        }
        width /= 2;
    }
    lanes[0]
}

/// `with` over `x` in lanes that begin as `start`.
#[inline(always)]
fn reduce(x: &[f32], start: f32, with: impl Fn(f32, f32) -> f32, join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [start; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for i in 0..LANES {
            lanes[i] = with(lanes[i], chunk[i]);
        }
    }
    for (i, &v) in rest.iter().enumerate() {
        lanes[i] = with(lanes[i], v);
    }
    fold(lanes, join)
}

/// The sum of `f(x)`.
#[inline(always)]
fn sum(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    reduce(x, 0.0, |sum, v| sum + f(v), |a, b| a + b)
}

/// The smaller one; `b` if `a` is not a number.
#[inline(always)]
fn min(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

/// The larger one; `b` if `a` is not a number.
#[inline(always)]
fn max(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

#[inline(always)]
pub(super) fn quantize_row(x: &[f32], q: &mut [i8]) -> (f32, f32) {
    // The range contains zero, so that the zero point is a level and a constant row keeps its value.
    let low = reduce(x, 0.0, |low, v| min(v, low), min);
    let high = reduce(x, 0.0, |high, v| max(v, high), max);
    let infinity = f32::INFINITY.to_bits();
    let broken = x.iter().fold(0u32, |broken, v| broken | u32::from(v.to_bits() & !(1 << 31) >= infinity)) != 0;
    let scale = (high - low) / 255.0;
    if broken || !scale.is_finite() {
        // A broken row must stay visibly broken all the way to the embedding.
        q.fill(0);
        return (f32::NAN, 0.0);
    }
    if scale < f32::MIN_POSITIVE {
        q.fill(0);
        return (0.0, 0.0);
    }
    let inverse = 1.0 / scale;
    let zero = (-128.0 - low * inverse).round_ties_even();
    for (q, &v) in q.iter_mut().zip(x) {
        let level = min(127.0, max(-128.0, (v * inverse).round_ties_even() + zero));
        // SAFETY: between -128 and 127, and not NaN: `min` and `max` give their bound where the other is.
        *q = unsafe { level.to_int_unchecked::<i32>() } as i8;
    }
    (scale, zero)
}

/// Soft-max of the first `seen` of `scores` times `scale`, not yet divided by its sum, which is returned. The scores after them become zero.
#[inline(always)]
pub(super) fn soft_max(scores: &mut [f32], seen: usize, scale: f32) -> f32 {
    let (scores, unseen) = scores.split_at_mut(seen);
    unseen.fill(0.0);
    for score in scores.iter_mut() {
        *score *= scale;
    }
    let top = reduce(scores, f32::NEG_INFINITY, |top, v| max(v, top), max);
    for score in scores.iter_mut() {
        *score = exp(*score - top);
    }
    sum(scores, |v| v)
}

#[inline(always)]
pub(super) fn layer_norm(x: &[f32], p: NormArgs<'_>, out: &mut [f32]) {
    let n = x.len() as f32;
    let mean = sum(x, |v| v) / n;
    let variance = sum(x, |v| (v - mean) * (v - mean)) / n;
    let rstd = 1.0 / (variance + p.eps).sqrt();
    for (((y, &v), &gain), &shift) in out.iter_mut().zip(x).zip(p.gain).zip(p.shift) {
        *y = ((v - mean) * rstd).mul_add(gain, shift);
    }
}

#[inline(always)]
pub(super) fn activate(activation: Activation, x: &mut [f32]) {
    match activation {
        Activation::QuickGelu => x.iter_mut().for_each(|v| *v /= 1.0 + exp(*v * -1.702)),
        Activation::Gelu => x.iter_mut().for_each(|v| *v = 0.5 * *v * (1.0 + erf(*v * std::f32::consts::FRAC_1_SQRT_2))),
        // 0.5 (1 + tanh u) is sigmoid(2 u).
        Activation::GeluTanh => x.iter_mut().for_each(|v| {
            const ROOT: f32 = 0.797_884_6; // sqrt(2 / pi)
            let u = ROOT * (0.044_715 * *v * *v).mul_add(*v, *v);
            *v /= 1.0 + exp(-2.0 * u);
        }),
    }
}

#[inline(always)]
pub(super) fn finish(finish: &Finish<'_>, tile: &mut [f32]) {
    let columns = finish.columns;
    if let Some(int8) = &finish.int8 {
        let groups = int8.min.len() / columns;
        for (r, row) in tile.chunks_exact_mut(columns).enumerate() {
            for (c, (y, sum)) in row.as_chunks_mut::<16>().0.iter_mut().zip(int8.sum.as_chunks::<16>().0).enumerate() {
                if groups > 0 {
                    // Those of the minima apart from those of the scales, in the order of the groups.
                    let mut low = [0f32; 16];
                    let sums = &int8.group_sums[r * groups..][..groups];
                    for (min, group_sum) in int8.min.as_chunks::<16>().0.iter().skip(c).step_by(columns / 16).zip(sums) {
                        for i in 0..16 {
                            low[i] = group_sum.mul_add(min[i], low[i]);
                        }
                    }
                    for i in 0..16 {
                        y[i] += low[i];
                    }
                }
                for i in 0..16 {
                    y[i] = int8.scale[r] * (-int8.zero[r]).mul_add(sum[i], y[i]);
                }
            }
        }
    }
    if !finish.bias.is_empty() {
        for row in tile.chunks_exact_mut(columns) {
            row.iter_mut().zip(finish.bias).for_each(|(y, bias)| *y += bias);
        }
    }
    if let Some(activation) = finish.activation {
        activate(activation, tile);
    }
}

/// # Safety
/// As [`super::tile::Int8Fn`].
unsafe fn int8<const M: usize, const FOUR: bool>(tile: &Int8Tile) {
    let step = COLUMNS * 4;
    let mut sums = [[0f32; COLUMNS]; M];
    for g in 0..tile.groups {
        let mut acc: [[i32; COLUMNS]; M] = array::from_fn(|r| {
            // SAFETY: `start` is [groups][M].
            [unsafe { *tile.start.add(g * M + r) }; COLUMNS]
        });
        for s in g * tile.steps..(g + 1) * tile.steps {
            // SAFETY: `w` is [k / 4][COLUMNS][4] bytes, or half as many if a byte holds the values of two steps; `x` is [k / 4][M][4].
            let (w, x) = unsafe {
                let at = if FOUR { s / 2 } else { s };
                let w = &*tile.w.add(at * step).cast::<[[i8; 4]; COLUMNS]>();
                (w, &*tile.x.add(s * M * 4).cast::<[[i8; 4]; M]>())
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
    // SAFETY: `out` is [M][COLUMNS].
    unsafe { *tile.out.cast::<[[f32; COLUMNS]; M]>() = sums };
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
            let x = unsafe { *tile.x.add(r * tile.row_stride + k * tile.k_stride) };
            for c in 0..COLUMNS {
                acc[r][c] = x.mul_add(w[c], acc[r][c]);
            }
        }
    }
    // SAFETY: `out` is [M][COLUMNS].
    unsafe { *tile.out.cast::<[[f32; COLUMNS]; M]>() = acc };
}
