//! NEON with the dot products of ARMv8.2 (Cortex-A76, so the Raspberry Pi 5): `sdot` sums four products of bytes in each of four lanes.

use std::{arch::aarch64::*, array};

use super::{
    COLUMNS,
    asm::{load_anew, prefetch, vdotq_lane_s32},
    dots, finish, first,
    float::FLOAT,
    high, low,
};
use crate::isa::tile::{Int8Fn, Int8Tile, Layout, Tiles};

/// Of these functions.
pub(in crate::isa) const FEATURES: &[&str] = &["neon", "dotprod"];

pub(super) const LAYOUT: Layout = Layout { rows: 6, columns: COLUMNS, depth: 4, wide: false, pairs: false, offset: 0 };

pub(super) const TILES: Tiles = Tiles { int8: INT8, int4: INT4, float: FLOAT };

static INT8: &[Int8Fn] =
    &[int8::<1, false>, int8::<2, false>, int8::<3, false>, int8::<4, false>, int8::<5, false>, int8::<6, false>];
static INT4: &[Int8Fn] = &[int8::<1, true>, int8::<2, true>, int8::<3, true>, int8::<4, true>, int8::<5, true>, int8::<6, true>];

/// # Safety
/// As [`Int8Fn`], on a machine with [`FEATURES`].
#[target_feature(enable = "neon,dotprod")]
unsafe fn int8<const M: usize, const FOUR: bool>(tile: &Int8Tile) {
    let Int8Tile { stride, start, groups, blocks, steps, mut ahead, from, .. } = *tile;
    // With 4 bits groups are always of 32: a number of steps that the compiler knows.
    let (steps, group) = if FOUR { (8, 32) } else { (blocks * steps, blocks * steps * 4) };
    debug_assert!(group == blocks * tile.steps * 4);
    let first = first(group);
    // SAFETY: each pointer moves over what `Int8Tile` says it is good for, in the order of the groups and of the steps within, once for each half of
    // the columns; `from` is [M][16]. Steps are even in number. Prefetching touches nothing.
    unsafe {
        for column in [0, 8] {
            let (mut x, mut w, mut scale) = (tile.x, tile.w.add(4 * column), tile.scale.add(column));
            let mut sums: [[float32x4_t; 2]; M] =
                array::from_fn(|r| [0, 4].map(|c| vld1q_f32(from.add(r * COLUMNS + column + c))));
            for g in 0..groups {
                let mut acc = [[vdupq_n_s32(0); 2]; M];
                for r in 0..M {
                    acc[r] = [load_anew(&first), load_anew(&first)];
                }
                if column == 0 {
                    ahead = prefetch(ahead, blocks * tile.lines);
                }
                for _ in 0..steps / 2 {
                    // Two steps, of eight columns each.
                    let ws: [[int8x16_t; 2]; 2] = if FOUR {
                        let both = [vld1q_u8(w), vld1q_u8(w.add(16))];
                        w = w.add(4 * COLUMNS);
                        [both.map(|both| low(both)), both.map(|both| high(both))]
                    } else {
                        let step = |w: *const u8| [vld1q_s8(w.cast()), vld1q_s8(w.add(16).cast())];
                        let ws = [step(w), step(w.add(4 * COLUMNS))];
                        w = w.add(8 * COLUMNS);
                        ws
                    };
                    for r in 0..M {
                        let x = vld1_s8(x.add(r * stride).cast());
                        for c in 0..2 {
                            acc[r][c] = vdotq_lane_s32::<0>(acc[r][c], ws[0][c], x);
                        }
                        for c in 0..2 {
                            acc[r][c] = vdotq_lane_s32::<1>(acc[r][c], ws[1][c], x);
                        }
                    }
                    x = x.add(8);
                }
                let scales = [vld1q_f32(scale), vld1q_f32(scale.add(4))];
                scale = scale.add(COLUMNS);
                for r in 0..M {
                    let start = if FOUR { vld1q_dup_s32(start.add(r * groups + g)) } else { vdupq_n_s32(0) };
                    for c in 0..2 {
                        sums[r][c] = vfmaq_f32(sums[r][c], dots(acc[r][c], start, group), scales[c]);
                    }
                }
            }
            for r in 0..M {
                for c in 0..2 {
                    finish(tile, r, column + 4 * c, sums[r][c]);
                }
            }
        }
    }
}
