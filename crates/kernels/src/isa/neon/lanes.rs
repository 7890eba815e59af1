//! Sixteen floats as four vectors. Every function of this architecture is compiled for NEON, so that closures cost nothing here.

use std::{arch::aarch64::*, array};

use crate::isa::lanes::{LANES, Lanes};

#[derive(Clone, Copy)]
pub(super) struct Quad([float32x4_t; 4]);

impl Lanes for Quad {
    #[inline(always)]
    fn splat(x: f32) -> Self {
        // SAFETY: NEON is part of the architecture.
        unsafe { Self([vdupq_n_f32(x); 4]) }
    }

    #[inline(always)]
    fn load(x: &[f32; LANES]) -> Self {
        // SAFETY: NEON is part of the architecture, and sixteen floats are there.
        Self(array::from_fn(|i| unsafe { vld1q_f32(x.as_ptr().add(4 * i)) }))
    }

    #[inline(always)]
    fn store(self, out: &mut [f32; LANES]) {
        for i in 0..4 {
            // SAFETY: NEON is part of the architecture, and there is room for sixteen floats.
            unsafe { vst1q_f32(out.as_mut_ptr().add(4 * i), self.0[i]) };
        }
    }

    #[inline(always)]
    fn add(self, b: Self) -> Self {
        // SAFETY: NEON is part of the architecture.
        Self(array::from_fn(|i| unsafe { vaddq_f32(self.0[i], b.0[i]) }))
    }

    #[inline(always)]
    fn sub(self, b: Self) -> Self {
        // SAFETY: NEON is part of the architecture.
        Self(array::from_fn(|i| unsafe { vsubq_f32(self.0[i], b.0[i]) }))
    }

    #[inline(always)]
    fn mul(self, b: Self) -> Self {
        // SAFETY: NEON is part of the architecture.
        Self(array::from_fn(|i| unsafe { vmulq_f32(self.0[i], b.0[i]) }))
    }

    #[inline(always)]
    fn div(self, b: Self) -> Self {
        // SAFETY: NEON is part of the architecture.
        Self(array::from_fn(|i| unsafe { vdivq_f32(self.0[i], b.0[i]) }))
    }

    #[inline(always)]
    fn fma(self, b: Self, c: Self) -> Self {
        // SAFETY: NEON is part of the architecture.
        Self(array::from_fn(|i| unsafe { vfmaq_f32(c.0[i], self.0[i], b.0[i]) }))
    }

    #[inline(always)]
    fn min(self, b: Self) -> Self {
        // `fmin` gives what is not a number.
        self.if_less(b, self, b)
    }

    #[inline(always)]
    fn max(self, b: Self) -> Self {
        b.if_less(self, self, b)
    }

    #[inline(always)]
    fn abs(self) -> Self {
        // SAFETY: NEON is part of the architecture.
        Self(array::from_fn(|i| unsafe { vabsq_f32(self.0[i]) }))
    }

    #[inline(always)]
    fn copysign(self, sign: Self) -> Self {
        // SAFETY: NEON is part of the architecture.
        Self(array::from_fn(|i| unsafe { vbslq_f32(vdupq_n_u32(1 << 31), sign.0[i], self.0[i]) }))
    }

    #[inline(always)]
    fn if_less(self, b: Self, then: Self, or: Self) -> Self {
        // SAFETY: NEON is part of the architecture.
        Self(array::from_fn(|i| unsafe { vbslq_f32(vcltq_f32(self.0[i], b.0[i]), then.0[i], or.0[i]) }))
    }

    #[inline(always)]
    fn if_nan(self, then: Self, or: Self) -> Self {
        // SAFETY: NEON is part of the architecture.
        Self(array::from_fn(|i| unsafe { vbslq_f32(vceqq_f32(self.0[i], self.0[i]), or.0[i], then.0[i]) }))
    }

    #[inline(always)]
    fn times_power(self, rounded: Self) -> Self {
        // SAFETY: NEON is part of the architecture.
        Self(array::from_fn(|i| unsafe { times_power(self.0[i], rounded.0[i]) }))
    }

    #[inline(always)]
    fn store_levels(self, out: &mut [i8; LANES]) {
        // SAFETY: NEON is part of the architecture, and there is room for sixteen bytes.
        unsafe {
            let levels: [int16x4_t; 4] = array::from_fn(|i| vqmovn_s32(vcvtnq_s32_f32(self.0[i])));
            let low = vqmovn_s16(vcombine_s16(levels[0], levels[1]));
            vst1q_s8(out.as_mut_ptr(), vcombine_s8(low, vqmovn_s16(vcombine_s16(levels[2], levels[3]))));
        }
    }

    #[inline(always)]
    fn transpose(rows: [Self; LANES]) -> [Self; LANES] {
        let mut out = rows;
        for i in 0..4 {
            for j in 0..4 {
                // SAFETY: NEON is part of the architecture.
                let block = unsafe { transpose_four([0, 1, 2, 3].map(|r| rows[4 * i + r].0[j])) };
                for r in 0..4 {
                    out[4 * j + r].0[i] = block[r];
                }
            }
        }
        out
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        let [a, b, c, d] = self.0;
        // SAFETY: NEON is part of the architecture.
        unsafe {
            let four = vaddq_f32(vaddq_f32(a, c), vaddq_f32(b, d));
            let two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
            vget_lane_f32::<0>(two) + vget_lane_f32::<1>(two)
        }
    }

    #[inline(always)]
    fn most(self) -> f32 {
        let [a, b, c, d] = self.0;
        // SAFETY: NEON is part of the architecture. `fmaxnm` gives the one of two that is a number.
        unsafe { vmaxnmvq_f32(vmaxnmq_f32(vmaxnmq_f32(a, c), vmaxnmq_f32(b, d))) }
    }
}

/// `p * 2^n` in two factors, since `n` reaches 128 and 2^128 is no f32.
#[inline]
#[target_feature(enable = "neon")]
fn times_power(p: float32x4_t, rounded: float32x4_t) -> float32x4_t {
    let bias = vdupq_n_s32(127);
    let n = vsubq_s32(vreinterpretq_s32_f32(rounded), vdupq_n_s32(0x4b40_0000));
    let half = vshrq_n_s32::<1>(n);
    let first = vshlq_n_s32::<23>(vaddq_s32(half, bias));
    let second = vshlq_n_s32::<23>(vaddq_s32(vsubq_s32(n, half), bias));
    vmulq_f32(vmulq_f32(p, vreinterpretq_f32_s32(first)), vreinterpretq_f32_s32(second))
}

/// Four rows of four as columns.
#[inline]
#[target_feature(enable = "neon")]
fn transpose_four([a, b, c, d]: [float32x4_t; 4]) -> [float32x4_t; 4] {
    let (ab_even, ab_odd) = (vtrn1q_f32(a, b), vtrn2q_f32(a, b));
    let (cd_even, cd_odd) = (vtrn1q_f32(c, d), vtrn2q_f32(c, d));
    let low = |x, y| vreinterpretq_f32_f64(vtrn1q_f64(vreinterpretq_f64_f32(x), vreinterpretq_f64_f32(y)));
    let high = |x, y| vreinterpretq_f32_f64(vtrn2q_f64(vreinterpretq_f64_f32(x), vreinterpretq_f64_f32(y)));
    [low(ab_even, cd_even), low(ab_odd, cd_odd), high(ab_even, cd_even), high(ab_odd, cd_odd)]
}
