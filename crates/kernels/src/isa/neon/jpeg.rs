//! JPEG's arithmetic: a block at a time, sixteen samples of a row.

use std::arch::aarch64::*;

use crate::{
    isa::jpeg::{Samples, Words},
    jpeg::Block,
};

/// A row of a block.
#[derive(Clone, Copy)]
pub(super) struct One(int16x8_t);

impl Words for One {
    type Sums = [int32x4_t; 2];

    const BLOCKS: usize = 1;

    #[inline(always)]
    fn load(blocks: &[Block], row: usize) -> Self {
        let row = &blocks[0].as_chunks::<8>().0[row];
        // SAFETY: NEON is part of the architecture, and eight words are there.
        unsafe { Self(vld1q_s16(row.as_ptr())) }
    }

    #[inline(always)]
    fn table(table: &[u16; 64], row: usize) -> Self {
        let row = &table.as_chunks::<8>().0[row];
        // SAFETY: NEON is part of the architecture, and eight words are there.
        unsafe { Self(vreinterpretq_s16_u16(vld1q_u16(row.as_ptr()))) }
    }

    #[inline(always)]
    fn is_zero(self) -> bool {
        // SAFETY: NEON is part of the architecture.
        unsafe { vmaxvq_u16(vreinterpretq_u16_s16(self.0)) == 0 }
    }

    #[inline(always)]
    fn or(self, other: Self) -> Self {
        // SAFETY: NEON is part of the architecture.
        unsafe { Self(vorrq_s16(self.0, other.0)) }
    }

    #[inline(always)]
    fn but_first(self) -> Self {
        // SAFETY: NEON is part of the architecture.
        unsafe { Self(vsetq_lane_s16::<0>(0, self.0)) }
    }

    #[inline(always)]
    fn mul(self, by: Self) -> Self {
        // SAFETY: NEON is part of the architecture.
        unsafe { Self(vmulq_s16(self.0, by.0)) }
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        // SAFETY: NEON is part of the architecture.
        unsafe { Self(vaddq_s16(self.0, other.0)) }
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        // SAFETY: NEON is part of the architecture.
        unsafe { Self(vsubq_s16(self.0, other.0)) }
    }

    #[inline(always)]
    fn wide<const BITS: i32>(self) -> Self::Sums {
        // SAFETY: NEON is part of the architecture.
        unsafe { [vshll_n_s16::<BITS>(vget_low_s16(self.0)), vshll_high_n_s16::<BITS>(self.0)] }
    }

    #[inline(always)]
    fn dot<const A: i16, const B: i16>(self, other: Self) -> Self::Sums {
        // SAFETY: NEON is part of the architecture.
        unsafe {
            [
                vmlal_n_s16(vmull_n_s16(vget_low_s16(self.0), A), vget_low_s16(other.0), B),
                vmlal_high_n_s16(vmull_high_n_s16(self.0, A), other.0, B),
            ]
        }
    }

    #[inline(always)]
    fn add(a: Self::Sums, b: Self::Sums) -> Self::Sums {
        // SAFETY: NEON is part of the architecture.
        unsafe { [vaddq_s32(a[0], b[0]), vaddq_s32(a[1], b[1])] }
    }

    #[inline(always)]
    fn sub(a: Self::Sums, b: Self::Sums) -> Self::Sums {
        // SAFETY: NEON is part of the architecture.
        unsafe { [vsubq_s32(a[0], b[0]), vsubq_s32(a[1], b[1])] }
    }

    #[inline(always)]
    fn narrow<const BITS: i32>(sums: Self::Sums) -> Self {
        // SAFETY: NEON is part of the architecture.
        unsafe {
            // Not the instruction that rounds, which would not wrap; nor that which narrows as it shifts, which takes no more than 16 bits.
            let [low, high] = sums.map(|x| vshrq_n_s32::<BITS>(vaddq_s32(x, vdupq_n_s32(1 << (BITS - 1)))));
            Self(vqmovn_high_s32(vqmovn_s32(low), high))
        }
    }

    #[inline(always)]
    fn transpose(x: [Self; 8]) -> [Self; 8] {
        // SAFETY: NEON is part of the architecture.
        unsafe {
            let words =
                |i: usize, j: usize| [vtrn1q_s16(x[i].0, x[j].0), vtrn2q_s16(x[i].0, x[j].0)].map(|x| vreinterpretq_s32_s16(x));
            let ([a, b], [c, d], [e, f], [g, h]) = (words(0, 1), words(2, 3), words(4, 5), words(6, 7));
            let pairs = |x, y| [vtrn1q_s32(x, y), vtrn2q_s32(x, y)].map(|x| vreinterpretq_s64_s32(x));
            let ([a, c], [b, d], [e, g], [f, h]) = (pairs(a, c), pairs(b, d), pairs(e, g), pairs(f, h));
            let fours = |x, y| [vtrn1q_s64(x, y), vtrn2q_s64(x, y)].map(|x| Self(vreinterpretq_s16_s64(x)));
            let ([p, t], [r, v], [q, u], [s, w]) = (fours(a, e), fours(c, g), fours(b, f), fours(d, h));
            [p, q, r, s, t, u, v, w]
        }
    }

    #[inline(always)]
    unsafe fn store<const N: usize>(rows: [Self; 2], out: *mut u8, stride: usize) {
        for (row, out) in rows.into_iter().zip([out, out.wrapping_add(stride)]) {
            // SAFETY: NEON is part of the architecture; the caller vouches for the bytes.
            unsafe {
                let bytes = veor_u8(vreinterpret_u8_s8(vqmovn_s16(row.0)), vdup_n_u8(0x80));
                match N {
                    8 => vst1_u8(out, bytes),
                    4 => out.cast::<u32>().write_unaligned(vget_lane_u32::<0>(vreinterpret_u32_u8(bytes))),
                    _ => out.cast::<u16>().write_unaligned(vget_lane_u16::<0>(vreinterpret_u16_u8(bytes))),
                }
            }
        }
    }
}

pub(super) struct Rows;

/// Sixteen bytes as words.
///
/// # Safety
/// They are there.
#[inline(always)]
unsafe fn words(row: *const u8) -> [uint16x8_t; 2] {
    // SAFETY: NEON is part of the architecture; the caller vouches for the bytes.
    unsafe {
        let bytes = vld1q_u8(row);
        [vmovl_u8(vget_low_u8(bytes)), vmovl_high_u8(bytes)]
    }
}

/// `3 * near + far`.
#[inline(always)]
fn weighted(near: [uint16x8_t; 2], far: [uint16x8_t; 2]) -> [uint16x8_t; 2] {
    // SAFETY: NEON is part of the architecture.
    unsafe { [vmlaq_n_u16(far[0], near[0], 3), vmlaq_n_u16(far[1], near[1], 3)] }
}

/// Even and odd columns of sixteen values and their neighbours, interleaved.
///
/// # Safety
/// `out` is good for writes of 32 bytes.
#[inline(always)]
unsafe fn columns<const SHIFT: i32>([before, this, after]: [[uint16x8_t; 2]; 3], even: u16, odd: u16, out: *mut u8) {
    // SAFETY: NEON is part of the architecture; the caller vouches for the bytes.
    unsafe {
        let column = |values: [uint16x8_t; 2], bias: u16| {
            let [low, high] = values.map(|x| vshrn_n_u16::<SHIFT>(vaddq_u16(x, vdupq_n_u16(bias))));
            vcombine_u8(low, high)
        };
        vst2q_u8(out, uint8x16x2_t(column(weighted(this, before), even), column(weighted(this, after), odd)));
    }
}

impl Samples for Rows {
    const DOUBLED: usize = 16;
    const PIXELS: usize = 16;

    #[inline(always)]
    unsafe fn double(row: *const u8, out: *mut u8) {
        // SAFETY: the caller's.
        unsafe { columns::<2>([words(row.sub(1)), words(row), words(row.add(1))], 1, 2, out) };
    }

    #[inline(always)]
    unsafe fn double_both(near: *const u8, far: *const u8, out: *mut u8) {
        // SAFETY: the caller's.
        unsafe {
            let value = |near, far| weighted(words(near), words(far));
            let values = [value(near.sub(1), far.sub(1)), value(near, far), value(near.add(1), far.add(1))];
            columns::<4>(values, 8, 7, out);
        }
    }

    #[inline(always)]
    unsafe fn rgb([y, cb, cr]: [*const u8; 3], out: *mut u8) {
        // SAFETY: NEON is part of the architecture; the caller vouches for the bytes.
        unsafe {
            let widened = |row| words(row).map(|x| vreinterpretq_s16_u16(x));
            let (y, cb, cr) = (widened(y), widened(cb), widened(cr));
            let [low, high] = [0, 1].map(|i| {
                let centre = vdupq_n_s16(128);
                pixels(y[i], vsubq_s16(cb[i], centre), vsubq_s16(cr[i], centre))
            });
            let [red, green, blue] = [0, 1, 2].map(|c| vcombine_u8(vqmovun_s16(low[c]), vqmovun_s16(high[c])));
            vst3q_u8(out, uint8x16x3_t(red, green, blue));
        }
    }
}

/// Red, green and blue of eight pixels before they are clamped, from chroma centred at 0.
///
/// Factors of more than a half are those less or more a whole one: 1.402 = 1 + 0.402, 1.772 = 2 - 0.228, -0.71414 = -1 + 0.28586.
#[inline(always)]
fn pixels(y: int16x8_t, cb: int16x8_t, cr: int16x8_t) -> [int16x8_t; 3] {
    // SAFETY: NEON is part of the architecture.
    unsafe {
        let rounded = |[low, high]: [int32x4_t; 2]| vrshrn_high_n_s32::<16>(vrshrn_n_s32::<16>(low), high);
        let product = |x: int16x8_t, by| [vmull_n_s16(vget_low_s16(x), by), vmull_high_n_s16(x, by)];
        let red = vaddq_s16(vaddq_s16(y, cr), rounded(product(cr, 26_345)));
        let blue = vaddq_s16(vaddq_s16(y, vaddq_s16(cb, cb)), rounded(product(cb, -14_942)));
        let [low, high] = product(cb, -22_554);
        let green = [vmlal_n_s16(low, vget_low_s16(cr), 18_734), vmlal_high_n_s16(high, cr, 18_734)];
        [red, vaddq_s16(vsubq_s16(y, cr), rounded(green)), blue]
    }
}
