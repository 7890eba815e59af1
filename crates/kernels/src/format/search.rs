//! Scales with less error than a simple rule's.
//!
//! A quantizer that maps the extremes of a block to its outermost levels spends levels where few values are. Here some dozens of scales around
//! that one are tried. For each, values go to their nearest levels, and for these levels the best scale is known (least squares); the scale
//! whose levels leave the least error wins, and is refitted with what is stored, an f16.
//!
//! Sums are in [`LANES`] lanes and products are not fused, so that every build vectorises the loops and has the same bits.

use std::array;

use super::Block;

/// How often levels and scale are fitted to each other after the search.
pub(super) const REFITS: usize = 3;

const LANES: usize = 8;

/// The sums of `f(i)` over `0..N`, each of `S` by itself.
#[inline(always)]
fn sums<const N: usize, const S: usize>(f: impl Fn(usize) -> [f32; S]) -> [f32; S] {
    let mut lanes = [[0f32; LANES]; S];
    for first in (0..N).step_by(LANES) {
        for lane in 0..LANES {
            let terms = f(first + lane);
            for s in 0..S {
                lanes[s][lane] += terms[s];
            }
        }
    }
    lanes.map(|lanes| lanes.iter().sum())
}

/// To the nearest integer in `low..=high`, ties to even.
#[inline(always)]
fn round(v: f32, low: f32, high: f32) -> f32 {
    // Between 2^23 and 2^24 the floats are the integers. Baseline x86-64 has no instruction for it.
    const INTEGERS: f32 = 12_582_912.0;
    let v = if v > low { v } else { low };
    let v = if v < high { v } else { high };
    (v + INTEGERS) - INTEGERS
}

/// The level in `low..=high` whose value `d * level + m` is nearest, for each of `x`; 0 or the nearest to it for a scale of 0.
pub(super) fn nearest<const N: usize>(x: &[f32; N], d: f32, m: f32, low: f32, high: f32) -> [f32; N] {
    let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
    x.map(|v| round((v - m) * inverse, low, high))
}

/// The scale of least error for given levels; 0 if all of these are.
pub(super) fn scale_of<const N: usize>(x: &[f32; N], q: &[f32; N]) -> f32 {
    let [xq, qq] = sums::<N, 2>(|i| [x[i] * q[i], q[i] * q[i]]);
    if qq > 0.0 { xq / qq } else { 0.0 }
}

/// Scale and minimum of least error for given levels, the minimum at most `max`.
pub(super) fn line_of<const N: usize>(x: &[f32; N], q: &[f32; N], max: f32) -> (f32, f32) {
    let [x, q, xq, qq] = sums::<N, 4>(|i| [x[i], q[i], x[i] * q[i], q[i] * q[i]]);
    line(N as f32, x, q, xq, qq, max)
}

#[inline(always)]
fn line(n: f32, x: f32, q: f32, xq: f32, qq: f32, max: f32) -> (f32, f32) {
    let determinant = n * qq - q * q;
    if determinant <= 0.0 {
        // All levels are the same.
        return (0.0, (x / n).min(max));
    }
    let m = (qq * x - q * xq) / determinant;
    if m > max { ((xq - max * q) / qq, max) } else { ((n * xq - q * x) / determinant, m) }
}

/// The scale for the levels `-half..half` that leaves the least error of those tried; 0 if all of `x` are.
///
/// Levels reach from 2 less to 2 more than the extreme value, its sign always on the side of `-half`: the other side is better in less than
/// one block of a thousand of bell-shaped weights.
pub(super) fn signed<const N: usize>(x: &[f32; N], half: f32) -> f32 {
    let (mut amax, mut extreme) = (0f32, 0f32);
    for &v in x {
        if amax < v.abs() {
            (amax, extreme) = (v.abs(), v);
        }
    }
    if amax < f32::MIN_POSITIVE {
        return 0.0;
    }
    let (mut best, mut scale) = (0f32, 0f32);
    for step in -16..=16 {
        let inverse = -(half + step as f32 / 8.0) / extreme;
        let [xq, qq] = sums::<N, 2>(|i| {
            let q = round(x[i] * inverse, -half, half - 1.0);
            [x[i] * q, q * q]
        });
        // With the best scale xq / qq the squared error is that of zeros less this.
        let gain = xq * xq / qq;
        if gain > best {
            (best, scale) = (gain, xq / qq);
        }
    }
    scale
}

/// Scale and minimum for the levels `0..=top` that leave the least error of those tried, the minimum at most `max`.
///
/// Either end of the range moves in by up to one and a quarter steps of the scale, or out by half of one.
pub(super) fn ranged<const N: usize>(x: &[f32; N], top: f32, max: f32) -> (f32, f32) {
    const SHIFTS: usize = 7;
    let shift = |i: usize| (i as f32 * 1.75 / (SHIFTS - 1) as f32) - 0.5;
    let (mut low, mut high) = (max, f32::MIN);
    for &v in x {
        low = if v < low { v } else { low };
        high = if v > high { v } else { high };
    }
    let step = (high - low) / top;
    if !(f32::MIN_POSITIVE..f32::INFINITY).contains(&step) {
        return (0.0, low);
    }
    // Relative to the least value, so that little is lost when squares are subtracted from each other.
    let x: [f32; N] = array::from_fn(|i| x[i] - low);
    let [sum_x, sum_xx] = sums::<N, 2>(|i| [x[i], x[i] * x[i]]);
    let (mut best, mut found) = (f32::INFINITY, (step, 0.0));
    for i in 0..SHIFTS {
        for j in 0..SHIFTS {
            let first = shift(i) * step;
            let inverse = top / (high - low - shift(j) * step - first);
            let [q, xq, qq] = sums::<N, 3>(|i| {
                let q = round((x[i] - first) * inverse, 0.0, top);
                [q, x[i] * q, q * q]
            });
            let (d, m) = line(N as f32, sum_x, q, xq, qq, max - low);
            let error = sum_xx + d * (d * qq - 2.0 * xq) + m * (m * N as f32 - 2.0 * sum_x + 2.0 * d * q);
            if error < best {
                (best, found) = (error, (d, m));
            }
        }
    }
    (found.0, found.1 + low)
}

/// The sum of the squared errors of `x` at its nearest levels.
pub(super) fn error<const N: usize>(x: &[f32; N], d: f32, m: f32, low: f32, high: f32) -> f32 {
    let q = nearest(x, d, m, low, high);
    let [error] = sums::<N, 1>(|i| {
        let difference = q[i] * d + m - x[i];
        [difference * difference]
    });
    error
}

/// Of the blocks offered, the one whose values, as they will be read, are closest to what they stand for.
pub(super) struct Closest<'a, const LEN: usize, B> {
    x: &'a [f32; LEN],
    block: B,
    error: f64,
}

impl<'a, const LEN: usize, B: Block<LEN>> Closest<'a, LEN, B> {
    pub(super) fn new(x: &'a [f32; LEN], block: B) -> Self {
        let mut closest = Self { x, block, error: f64::INFINITY };
        closest.offer(block);
        closest
    }

    /// Takes `block` if it is closer than all before.
    pub(super) fn offer(&mut self, block: B) {
        let mut y = [0f32; LEN];
        block.dequantize(&mut y);
        let error = self.x.iter().zip(&y).fold(0.0, |sum, (x, y)| sum + (f64::from(*x) - f64::from(*y)).powi(2));
        if error < self.error {
            (self.block, self.error) = (block, error);
        }
    }

    pub(super) fn block(self) -> B {
        self.block
    }
}
