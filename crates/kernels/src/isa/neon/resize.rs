//! The resize of 8-bit samples: a table look-up widens a pixel to 32 bits, and `mla` takes its weight from a lane. Splitting weights for `smlal`, as AVX2
//! does for `vpmaddwd`, would take two instructions for as many products.

use std::arch::aarch64::*;

use crate::{
    isa::resize::{Columns, Sums},
    resize::{FRACTION_BITS, ROWS, STEP},
};

/// In each lane the sum of a channel, or, if there is one only, of every fourth pixel.
#[derive(Clone, Copy)]
pub(super) struct Lanes(int32x4_t);

impl Sums for Lanes {
    type Weights = [int32x4_t; 2];

    // SAFETY: all bits may be zero.
    const ZERO: Self = unsafe { std::mem::zeroed() };

    #[inline(always)]
    fn weights<const CHANNELS: usize>(weights: &[i32; STEP]) -> Self::Weights {
        // SAFETY: NEON is part of the architecture, and eight weights are there.
        unsafe { [vld1q_s32(weights.as_ptr()), vld1q_s32(weights[4..].as_ptr())] }
    }

    #[inline(always)]
    unsafe fn add<const CHANNELS: usize>(self, pixels: *const u8, weights: &Self::Weights) -> Self {
        let mut sum = self.0;
        // SAFETY: NEON is part of the architecture; the caller vouches for the bytes.
        unsafe {
            if CHANNELS == 1 {
                let x = vmovl_u8(vld1_u8(pixels));
                sum = vmlaq_s32(sum, vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(x))), weights[0]);
                return Self(vmlaq_s32(sum, vreinterpretq_s32_u32(vmovl_high_u16(x)), weights[1]));
            }
            for half in 0..2 {
                let x = vld1q_u8(pixels.add(half * 4 * CHANNELS));
                sum = vmlaq_laneq_s32::<0>(sum, pixel::<CHANNELS, 0>(x), weights[half]);
                sum = vmlaq_laneq_s32::<1>(sum, pixel::<CHANNELS, 1>(x), weights[half]);
                sum = vmlaq_laneq_s32::<2>(sum, pixel::<CHANNELS, 2>(x), weights[half]);
                sum = vmlaq_laneq_s32::<3>(sum, pixel::<CHANNELS, 3>(x), weights[half]);
            }
        }
        Self(sum)
    }

    #[inline(always)]
    fn samples<const CHANNELS: usize>(rows: [Self; ROWS]) -> [[u8; 4]; ROWS] {
        let mut samples = [[0; 4]; ROWS];
        for r in 0..ROWS {
            // SAFETY: NEON is part of the architecture.
            let word = unsafe {
                let sum = if CHANNELS == 1 { vdupq_n_s32(vaddvq_s32(rows[r].0)) } else { rows[r].0 };
                // Not `vrshrq`, which would not wrap.
                let sum = vaddq_s32(sum, vdupq_n_s32(1 << (FRACTION_BITS - 1)));
                let words = vqmovun_s32(vshrq_n_s32::<{ FRACTION_BITS as i32 }>(sum));
                vget_lane_u32::<0>(vreinterpret_u32_u8(vqmovn_u16(vcombine_u16(words, words))))
            };
            samples[r] = word.to_le_bytes();
        }
        samples
    }
}

/// The channels of pixel `I` of four, a lane each.
#[inline(always)]
fn pixel<const CHANNELS: usize, const I: usize>(x: uint8x16_t) -> int32x4_t {
    const {
        assert!(CHANNELS <= 4 && I < 4);
    }
    let order = const {
        // Bytes from beyond the table are zero.
        let mut order = [0xff; 16];
        let mut channel = 0;
        while channel < CHANNELS {
            order[4 * channel] = (I * CHANNELS + channel) as u8;
            channel += 1;
        }
        order
    };
    // SAFETY: NEON is part of the architecture, and sixteen bytes are there.
    unsafe { vreinterpretq_s32_u8(vqtbl1q_u8(x, vld1q_u8(order.as_ptr()))) }
}

#[derive(Clone, Copy)]
pub(super) struct Eight([int32x4_t; 2]);

impl Columns for Eight {
    #[inline(always)]
    fn load(sums: &[i32; 8]) -> Self {
        // SAFETY: NEON is part of the architecture, and eight sums are there.
        unsafe { Self([vld1q_s32(sums.as_ptr()), vld1q_s32(sums[4..].as_ptr())]) }
    }

    #[inline(always)]
    fn add(self, samples: &[u8; 8], weight: i32) -> Self {
        // SAFETY: NEON is part of the architecture, and eight bytes are there.
        unsafe {
            let x = vmovl_u8(vld1_u8(samples.as_ptr()));
            Self([
                vmlaq_n_s32(self.0[0], vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(x))), weight),
                vmlaq_n_s32(self.0[1], vreinterpretq_s32_u32(vmovl_high_u16(x)), weight),
            ])
        }
    }

    #[inline(always)]
    fn store(self, sums: &mut [i32; 8]) {
        // SAFETY: NEON is part of the architecture, and there is room for eight sums.
        unsafe {
            vst1q_s32(sums.as_mut_ptr(), self.0[0]);
            vst1q_s32(sums[4..].as_mut_ptr(), self.0[1]);
        }
    }
}
