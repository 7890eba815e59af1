//! NEON alone (Cortex-A72, so the Raspberry Pi 4): products of bytes in 16 bits, added to sums of 32 in pairs.

use std::{arch::aarch64::*, array};

use super::{COLUMNS, asm::prefetch, finish, float::FLOAT, high, low};
use crate::isa::tile::{Int8Fn, Int8Tile, Layout, Tiles};

/// Four rows by four columns are sixteen sums of four lanes each.
pub(super) const LAYOUT: Layout = Layout { rows: 4, columns: COLUMNS, depth: 16, wide: false, pairs: false, offset: 0 };

pub(super) const TILES: Tiles = Tiles { int8: INT8, int4: INT4, float: FLOAT };

static INT8: &[Int8Fn] = &[int8::<1>, int8::<2>, int8::<3>, int8::<4>];
static INT4: &[Int8Fn] = &[int4::<1>, int4::<2>, int4::<3>, int4::<4>];

/// # Safety
/// As [`Int8Fn`].
#[target_feature(enable = "neon")]
unsafe fn int8<const M: usize>(tile: &Int8Tile) {
    let Int8Tile { stride, groups, blocks, steps, mut ahead, from, .. } = *tile;
    // SAFETY: each pointer moves over what `Int8Tile` says it is good for, in the order of the groups and of the steps within, once for each quarter of
    // the columns; `from` is [M][16]. Prefetching touches nothing.
    unsafe {
        for column in [0, 4, 8, 12] {
            let (mut x, mut w, mut scale) = (tile.x, tile.w.add(16 * column), tile.scale.add(column));
            let mut sums: [float32x4_t; M] = array::from_fn(|r| vld1q_f32(from.add(r * COLUMNS + column)));
            for _ in 0..groups {
                if column == 0 {
                    ahead = prefetch(ahead, blocks * tile.lines);
                }
                let mut acc = [[vdupq_n_s32(0); 4]; M];
                // Two products of -128 with itself are no number of 16 bits: lower and upper halves are added one by one.
                macro_rules! step {
                    (|$sum:ident, $low:ident, $high:ident| $new:expr) => {
                        let ws: [int8x16_t; 4] = array::from_fn(|c| vld1q_s8(w.add(16 * c).cast()));
                        for r in 0..M {
                            let x = vld1q_s8(x.add(r * stride).cast());
                            for c in 0..4 {
                                let $sum = acc[r][c];
                                let ($low, $high) = (vmull_s8(vget_low_s8(x), vget_low_s8(ws[c])), vmull_high_s8(x, ws[c]));
                                acc[r][c] = $new;
                            }
                        }
                        (x, w) = (x.add(16), w.add(16 * COLUMNS));
                    };
                }
                // The first begins the sums, which so need no zeros.
                step!(|_sum, low, high| vpadalq_s16(vpaddlq_s16(low), high));
                for _ in 1..blocks * steps {
                    step!(|sum, low, high| vpadalq_s16(vpadalq_s16(sum, low), high));
                }
                let scales = vld1q_f32(scale);
                scale = scale.add(COLUMNS);
                for r in 0..M {
                    let [a, b, c, d] = acc[r];
                    let dots = vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d));
                    sums[r] = vfmaq_f32(sums[r], vcvtq_f32_s32(dots), scales);
                }
            }
            for r in 0..M {
                finish(tile, r, column, sums[r]);
            }
        }
    }
}

/// # Safety
/// As [`Int8Fn`].
#[target_feature(enable = "neon")]
unsafe fn int4<const M: usize>(tile: &Int8Tile) {
    let Int8Tile { stride, start, groups, blocks, steps, mut ahead, from, .. } = *tile;
    // Two steps: a group of 32, in which a lane sums four products of at most 15 * 128 in magnitude. Four lanes fit in 16 bits.
    debug_assert!(blocks == 1 && steps == 2);
    // SAFETY: as above.
    unsafe {
        for column in [0, 4, 8, 12] {
            let (mut x, mut w, mut scale) = (tile.x, tile.w.add(16 * column), tile.scale.add(column));
            let mut sums: [float32x4_t; M] = array::from_fn(|r| vld1q_f32(from.add(r * COLUMNS + column)));
            for g in 0..groups {
                if column == 0 {
                    ahead = prefetch(ahead, tile.lines);
                }
                let both: [uint8x16_t; 4] = array::from_fn(|c| vld1q_u8(w.add(16 * c)));
                w = w.add(16 * COLUMNS);
                let even = both.map(|both| low(both));
                let odd = both.map(|both| high(both));
                let scales = vld1q_f32(scale);
                scale = scale.add(COLUMNS);
                for r in 0..M {
                    let (x0, x1) = (vld1q_s8(x.add(r * stride).cast()), vld1q_s8(x.add(r * stride + 16).cast()));
                    let [a, b, c, d]: [int16x8_t; 4] = array::from_fn(|c| {
                        let sum = vmull_s8(vget_low_s8(x0), vget_low_s8(even[c]));
                        let sum = vmlal_high_s8(sum, x0, even[c]);
                        let sum = vmlal_s8(sum, vget_low_s8(x1), vget_low_s8(odd[c]));
                        vmlal_high_s8(sum, x1, odd[c])
                    });
                    let dots = vpaddlq_s16(vpaddq_s16(vpaddq_s16(a, b), vpaddq_s16(c, d)));
                    let dots = vaddq_s32(dots, vld1q_dup_s32(start.add(r * groups + g)));
                    sums[r] = vfmaq_f32(sums[r], vcvtq_f32_s32(dots), scales);
                }
                x = x.add(32);
            }
            for r in 0..M {
                finish(tile, r, column, sums[r]);
            }
        }
    }
}
