//! Sixteen floats at a time, the same on every instruction set: one vector, two, or an array.

use std::array;

pub(crate) const LANES: usize = 16;

/// Sixteen floats. Each function is the one of IEEE 754 in each lane, rounded once, so that results do not depend on who implements it.
///
/// The implementations of vectors are only sound on a machine that has their instructions: they are used in functions which are compiled
/// for those and reachable through a table of [`super::Kernels`] only.
pub(crate) trait Lanes: Copy {
    fn splat(x: f32) -> Self;
    fn load(x: &[f32; LANES]) -> Self;
    fn store(self, out: &mut [f32; LANES]);
    fn add(self, b: Self) -> Self;
    fn sub(self, b: Self) -> Self;
    fn mul(self, b: Self) -> Self;
    fn div(self, b: Self) -> Self;
    /// `self * b + c`, rounded once.
    fn fma(self, b: Self, c: Self) -> Self;
    /// `self` if it is below `b`, else `b`: also where one is not a number.
    fn min(self, b: Self) -> Self;
    /// `self` if it is above `b`, else `b`: also where one is not a number.
    fn max(self, b: Self) -> Self;
    fn abs(self) -> Self;
    fn copysign(self, sign: Self) -> Self;
    /// `then` where `self` is below `b`, `or` elsewhere.
    fn if_less(self, b: Self, then: Self, or: Self) -> Self;
    /// `then` where `self` is not a number, `or` elsewhere.
    fn if_nan(self, then: Self, or: Self) -> Self;
    /// `self * 2^n`, where `n` is in the lowest bits of `rounded`: `1.5 * 2^23 + n`, and both `n` and the result are those of [`crate::math::exp`].
    fn times_power(self, rounded: Self) -> Self;
    /// The nearest integers, ties to even, or -128 or 127 if they are beyond that.
    fn store_levels(self, out: &mut [i8; LANES]);
    /// Rows become columns.
    fn transpose(rows: [Self; LANES]) -> [Self; LANES];
    /// The sum of all: lane `i` with lane `i + 8`, then `i + 4`, `i + 2`, `i + 1`.
    fn sum(self) -> f32;
    /// The largest of all that are numbers.
    fn most(self) -> f32;

    /// The first lanes of `x`, zeros in the others.
    #[inline(always)]
    fn load_part(x: &[f32]) -> Self {
        let mut all = [0f32; LANES];
        all[..x.len()].copy_from_slice(x);
        Self::load(&all)
    }

    /// Writes the first lanes.
    #[inline(always)]
    fn store_part(self, out: &mut [f32]) {
        let mut all = [0f32; LANES];
        self.store(&mut all);
        out.copy_from_slice(&all[..out.len()]);
    }
}

/// Without vectors, or with those that the compiler makes of it.
#[derive(Clone, Copy)]
pub(crate) struct Plain([f32; LANES]);

impl Plain {
    #[inline(always)]
    fn map(self, f: impl Fn(f32) -> f32) -> Self {
        Self(self.0.map(f))
    }

    #[inline(always)]
    fn fold(self, with: impl Fn(f32, f32) -> f32) -> f32 {
        let mut lanes = self.0;
        let mut width = LANES / 2;
        while width > 0 {
            for i in 0..width {
                lanes[i] = with(lanes[i], lanes[i + width]);
            }
            width /= 2;
        }
        lanes[0]
    }

    #[inline(always)]
    fn zip(self, b: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Self(array::from_fn(|i| f(self.0[i], b.0[i])))
    }
}

impl Lanes for Plain {
    #[inline(always)]
    fn splat(x: f32) -> Self {
        Self([x; LANES])
    }

    #[inline(always)]
    fn load(x: &[f32; LANES]) -> Self {
        Self(*x)
    }

    #[inline(always)]
    fn store(self, out: &mut [f32; LANES]) {
        *out = self.0;
    }

    #[inline(always)]
    fn add(self, b: Self) -> Self {
        self.zip(b, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, b: Self) -> Self {
        self.zip(b, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, b: Self) -> Self {
        self.zip(b, |a, b| a * b)
    }

    #[inline(always)]
    fn div(self, b: Self) -> Self {
        self.zip(b, |a, b| a / b)
    }

    #[inline(always)]
    fn fma(self, b: Self, c: Self) -> Self {
        Self(array::from_fn(|i| self.0[i].mul_add(b.0[i], c.0[i])))
    }

    #[inline(always)]
    fn min(self, b: Self) -> Self {
        self.zip(b, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    fn max(self, b: Self) -> Self {
        self.zip(b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn abs(self) -> Self {
        self.map(f32::abs)
    }

    #[inline(always)]
    fn copysign(self, sign: Self) -> Self {
        self.zip(sign, f32::copysign)
    }

    #[inline(always)]
    fn if_less(self, b: Self, then: Self, or: Self) -> Self {
        Self(array::from_fn(|i| if self.0[i] < b.0[i] { then.0[i] } else { or.0[i] }))
    }

    #[inline(always)]
    fn if_nan(self, then: Self, or: Self) -> Self {
        Self(array::from_fn(|i| if self.0[i].is_nan() { then.0[i] } else { or.0[i] }))
    }

    #[inline(always)]
    fn times_power(self, rounded: Self) -> Self {
        // In two factors, since n reaches 128 and 2^128 is no f32.
        let power = |e: i32| f32::from_bits(((e + 127) as u32) << 23);
        self.zip(rounded, |p, rounded| {
            let n = rounded.to_bits() as i32 - 0x4b40_0000;
            p * power(n >> 1) * power(n - (n >> 1))
        })
    }

    #[inline(always)]
    fn store_levels(self, out: &mut [i8; LANES]) {
        *out = self.0.map(|level| level.round_ties_even() as i8);
    }

    #[inline(always)]
    fn transpose(rows: [Self; LANES]) -> [Self; LANES] {
        array::from_fn(|column| Self(array::from_fn(|row| rows[row].0[column])))
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        self.fold(|a, b| a + b)
    }

    #[inline(always)]
    fn most(self) -> f32 {
        self.fold(|a, b| if a > b { a } else { b })
    }
}
