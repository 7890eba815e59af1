//! Scales with less error than a simple rule's.
//!
//! A quantizer that maps the extremes of a block to its outermost levels spends levels where few values are. Here some dozens of scales around
//! that one are tried. For each, values go to their nearest levels, and for these levels the best scale is known (least squares); the scale
//! whose levels leave the least error wins, and is refitted with what is stored, an f16.
//!
//! [`LANES`] scales are tried at once, each in a lane of its own, and products are not fused: every build vectorises the loops and has the
//! same bits.

use super::Block;

/// How often levels and scale are fitted to each other after the search.
pub(super) const REFITS: usize = 3;

/// Scales that are tried at once.
pub(super) const LANES: usize = 8;
pub(super) type Lanes = [f32; LANES];

/// To the nearest integer in `low..=high`, ties to even.
#[inline(always)]
fn round(v: f32, low: f32, high: f32) -> f32 {
    // Between 2^23 and 2^24 the floats are the integers. Baseline x86-64 has no instruction for it.
    const INTEGERS: f32 = 12_582_912.0;
    (v.max(low).min(high) + INTEGERS) - INTEGERS
}

#[inline(always)]
fn inverse(d: f32) -> f32 {
    if d == 0.0 { 0.0 } else { 1.0 / d }
}

/// The level in `low..=high` whose value `d * level + m` is nearest, for each of `x`; 0 or the nearest to it for a scale of 0.
#[inline(always)]
pub(super) fn nearest<const N: usize>(x: &[f32; N], d: f32, m: f32, low: f32, high: f32) -> [f32; N] {
    let inverse = inverse(d);
    let mut q = [0f32; N];
    for i in 0..N {
        q[i] = round((x[i] - m) * inverse, low, high);
    }
    q
}

/// Sums over the levels that values go to: of the levels, of their products with the values, of their squares.
struct Sums {
    q: Lanes,
    xq: Lanes,
    qq: Lanes,
}

/// The sums for the levels `(x - m) / d` with each of the inverse scales.
#[inline(always)]
fn sums<const N: usize>(x: &[f32; N], m: f32, inverse: &Lanes, low: f32, high: f32) -> Sums {
    let mut sums = Sums { q: [0.0; LANES], xq: [0.0; LANES], qq: [0.0; LANES] };
    for &v in x {
        for lane in 0..LANES {
            let q = round((v - m) * inverse[lane], low, high);
            sums.q[lane] += q;
            sums.xq[lane] += v * q;
            sums.qq[lane] += q * q;
        }
    }
    sums
}

/// The squared errors of `x` at its nearest levels, with each of the scales and minima.
#[inline(always)]
pub(super) fn errors<const N: usize>(x: &[f32; N], d: &Lanes, m: &Lanes, low: f32, high: f32) -> Lanes {
    let inverse = d.map(inverse);
    let mut errors = [0f32; LANES];
    for &v in x {
        for lane in 0..LANES {
            let difference = round((v - m[lane]) * inverse[lane], low, high) * d[lane] + m[lane] - v;
            errors[lane] += difference * difference;
        }
    }
    errors
}

/// The scale of least error for given levels; 0 if all of these are.
pub(super) fn scale_of<const N: usize>(x: &[f32; N], q: &[f32; N]) -> f32 {
    let (mut xq, mut qq) = (0f32, 0f32);
    for i in 0..N {
        xq += x[i] * q[i];
        qq += q[i] * q[i];
    }
    if qq > 0.0 { xq / qq } else { 0.0 }
}

/// Scale and minimum of least error for given levels.
pub(super) fn line_of<const N: usize>(x: &[f32; N], q: &[f32; N]) -> (f32, f32) {
    // Relative to one of the values, so that little is lost when products are subtracted from each other.
    let origin = x[0];
    let [mut sum_x, mut sum_q, mut xq, mut qq] = [0f32; 4];
    for i in 0..N {
        sum_x += x[i] - origin;
        sum_q += q[i];
        xq += (x[i] - origin) * q[i];
        qq += q[i] * q[i];
    }
    let (d, m) = line(N as f32, sum_x, sum_q, xq, qq, f32::INFINITY);
    (d, m + origin)
}

/// Scale and minimum of least error, the minimum at most `max`, from the sums over `n` values and their levels.
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
#[inline(always)]
pub(super) fn signed<const N: usize>(x: &[f32; N], half: f32) -> f32 {
    const BATCHES: usize = 4;
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
    for batch in 0..BATCHES {
        let mut inverse = [0f32; LANES];
        for lane in 0..LANES {
            let more = ((batch * LANES + lane) as f32 + 0.5) / 8.0 - 2.0;
            inverse[lane] = -(half + more) / extreme;
        }
        let Sums { xq, qq, .. } = sums(x, 0.0, &inverse, -half, half - 1.0);
        for lane in 0..LANES {
            // With the best scale xq / qq the squared error is that of zeros less this.
            let gain = xq[lane] * xq[lane] / qq[lane];
            if gain > best {
                (best, scale) = (gain, xq[lane] / qq[lane]);
            }
        }
    }
    scale
}

/// Scale and minimum for the levels `0..=top` that leave the least error of those tried, the minimum at most `max`.
///
/// Either end of the range moves in by up to one and a quarter steps of the scale, or out by half of one.
#[inline(always)]
pub(super) fn ranged<const N: usize>(x: &[f32; N], top: f32, max: f32) -> (f32, f32) {
    let shift = |i: usize| i as f32 / 4.0 - 0.5;
    let (mut low, mut high) = (max, f32::MIN);
    for &v in x {
        low = low.min(v);
        high = high.max(v);
    }
    let step = (high - low) / top;
    if !(f32::MIN_POSITIVE..f32::INFINITY).contains(&step) {
        return (0.0, low);
    }
    // Relative to the least value, so that little is lost when squares are subtracted from each other.
    let x = x.map(|v| v - low);
    let (sum_x, sum_xx) = x.iter().fold((0.0, 0.0), |(x, xx), v| (x + v, xx + v * v));
    let (mut best, mut found) = (f32::INFINITY, (step, 0.0));
    for i in 0..LANES {
        let first = shift(i) * step;
        let mut inverse = [0f32; LANES];
        for lane in 0..LANES {
            inverse[lane] = top / (high - low - shift(lane) * step - first);
        }
        let Sums { q, xq, qq } = sums(&x, first, &inverse, 0.0, top);
        for lane in 0..LANES {
            let (q, xq, qq) = (q[lane], xq[lane], qq[lane]);
            let (d, m) = line(N as f32, sum_x, q, xq, qq, max - low);
            let error = sum_xx + d * (d * qq - 2.0 * xq) + m * (m * N as f32 - 2.0 * sum_x + 2.0 * d * q);
            if error < best {
                (best, found) = (error, (d, m));
            }
        }
    }
    (found.0, found.1 + low)
}

/// Of the blocks offered, the one whose values, as they will be read, are closest to what they stand for.
pub(super) struct Closest<'a, const LEN: usize, B> {
    x: &'a [f32; LEN],
    block: B,
    error: f64,
}

impl<'a, const LEN: usize, B: Block<LEN>> Closest<'a, LEN, B> {
    pub(super) fn new(x: &'a [f32; LEN], block: B) -> Self {
        Self { x, block, error: Self::error(x, &block) }
    }

    fn error(x: &[f32; LEN], block: &B) -> f64 {
        let mut y = [0f32; LEN];
        block.dequantize(&mut y);
        x.iter().zip(&y).fold(0.0, |sum, (x, y)| sum + (f64::from(*x) - f64::from(*y)).powi(2))
    }

    /// Takes `block` if it is closer than all before. Beyond the range of an f16 the first stays: broken values must not become zeros.
    pub(super) fn offer(&mut self, block: B) {
        let error = Self::error(self.x, &block);
        if error < self.error && self.error.is_finite() {
            (self.block, self.error) = (block, error);
        }
    }

    pub(super) fn block(self) -> B {
        self.block
    }
}
