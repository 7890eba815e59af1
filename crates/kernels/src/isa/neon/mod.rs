//! ARM's NEON, which every 64-bit processor of theirs has, alone ([`plain`]) and with the dot products ([`dotprod`]) and matrix products ([`i8mm`]) of
//! bytes that came later. Weights of 8 bits stay as they are; those of 4 are 8 too large, and the sums are corrected by what that adds.

pub(crate) mod asm;
mod dotprod;
mod float;
mod i8mm;
mod jpeg;
mod lanes;
mod plain;
mod resize;

use std::arch::aarch64::*;

use self::lanes::Quad;
use super::{Isa, Kernels, rows, tile::Int8Tile};

pub(super) use self::{dotprod::FEATURES as DOTPROD, i8mm::FEATURES as I8MM};

/// Columns of a panel; the tiles of integers go through it in parts whose sums fit in registers.
const COLUMNS: usize = 16;

const fn kernels(isa: Isa, layout: super::tile::Layout, tiles: super::tile::Tiles) -> Kernels {
    Kernels {
        isa,
        layout,
        tiles,
        finish: rows::finish::<Quad>,
        quantize_row: rows::quantize_row::<Quad>,
        layer_norm: rows::layer_norm::<Quad>,
        soft_max: rows::soft_max::<Quad>,
        divide: rows::divide::<Quad>,
        group_sums,
        transpose: rows::transpose::<Quad>,
        sum_products: rows::sum_products::<Quad>,
        horizontal_u8: super::resize::horizontal_u8::<self::resize::Lanes>,
        vertical_u8: super::resize::vertical_u8::<self::resize::Eight>,
        transform: super::jpeg::transform::<self::jpeg::One>,
        double: super::jpeg::double::<self::jpeg::Rows>,
        double_both: super::jpeg::double_both::<self::jpeg::Rows>,
        rgb: super::jpeg::rgb::<self::jpeg::Rows>,
    }
}

/// Plain NEON is part of the architecture; the others are handed out by [`Kernels::new`] only where their features are.
pub(super) static PLAIN_KERNELS: Kernels = kernels(Isa::Neon, plain::LAYOUT, plain::TILES);
pub(super) static DOTPROD_KERNELS: Kernels = kernels(Isa::NeonDotprod, dotprod::LAYOUT, dotprod::TILES);
pub(super) static I8MM_KERNELS: Kernels = kernels(Isa::NeonI8mm, i8mm::LAYOUT, i8mm::TILES);

/// 1.5 * 2^23. Added to that as integers, numbers of up to 2^22 in magnitude are floats less it: sums that begin at it need no conversion, which takes two
/// or four times as long as a subtraction on most of these processors. Both are exact.
const ROUND: f32 = 12_582_912.0;

/// Dots of groups of this length are at most 256 * 128 * 128 = 2^22 in magnitude.
const ROUND_GROUP: usize = 256;

/// What the sums of a group begin at.
fn first(group: usize) -> [i32; 4] {
    [if group <= ROUND_GROUP { ROUND.to_bits() as i32 } else { 0 }; 4]
}

/// Sums that began at [`first`], with what is too much in them, as floats.
#[inline]
#[target_feature(enable = "neon")]
fn dots(sums: int32x4_t, start: int32x4_t, group: usize) -> float32x4_t {
    if group <= ROUND_GROUP {
        let round = vsubq_s32(vdupq_n_s32(ROUND.to_bits() as i32), start);
        vsubq_f32(vreinterpretq_f32_s32(sums), vreinterpretq_f32_s32(round))
    } else {
        vcvtq_f32_s32(vaddq_s32(sums, start))
    }
}

/// The lower halves of bytes: weights of 4 bits of an even step.
#[inline]
#[target_feature(enable = "neon")]
fn low(both: uint8x16_t) -> int8x16_t {
    vreinterpretq_s8_u8(vandq_u8(both, vdupq_n_u8(15)))
}

/// The upper halves: those of the odd step behind it.
#[inline]
#[target_feature(enable = "neon")]
fn high(both: uint8x16_t) -> int8x16_t {
    vreinterpretq_s8_u8(vshrq_n_u8::<4>(both))
}

/// The second step of a tile of integers, for four columns of a row.
///
/// # Safety
/// As [`super::tile::Int8Fn`], of a tile with these.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn finish(tile: &Int8Tile, r: usize, column: usize, y: float32x4_t) {
    // SAFETY: `sum` and `bias` are [16], `x_scale` and `zero` have the row, and so has `out`, of 16.
    unsafe {
        let at = tile.out.add(r * tile.out_stride + column);
        let y = vfmsq_f32(y, vld1q_dup_f32(tile.zero.add(r)), vld1q_f32(tile.sum.add(column)));
        let y = vfmaq_f32(vld1q_f32(tile.bias.add(column)), vld1q_dup_f32(tile.x_scale.add(r)), y);
        vst1q_f32(at, if tile.add { vaddq_f32(vld1q_f32(at), y) } else { y });
    }
}

/// Of groups of whole sixteens.
fn group_sums(q: &[i8], group: usize, sums: &mut [i32]) {
    for (q, sum) in q.chunks_exact(group).zip(sums) {
        // SAFETY: NEON is part of the architecture, and sixteen bytes are there.
        *sum = unsafe {
            let add = |total, q: &[i8; 16]| vpadalq_s16(total, vpaddlq_s8(vld1q_s8(q.as_ptr())));
            vaddvq_s32(q.as_chunks().0.iter().fold(vdupq_n_s32(0), add))
        };
    }
}
