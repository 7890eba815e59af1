//! NEON with the matrix products of ARMv8.6: `smmla` multiplies two rows of eight bytes with two columns of eight, sixteen sums at a time.

use std::{arch::aarch64::*, array};

use super::{
    COLUMNS,
    asm::{load_anew, prefetch, vmmlaq_s32},
    dots, finish, first,
    float::FLOAT,
    high, low,
};
use crate::isa::tile::{Int8Fn, Int8Tile, Layout, Tiles};

/// Of these functions.
pub(in crate::isa) const FEATURES: &[&str] = &["neon", "dotprod", "i8mm"];

pub(super) const LAYOUT: Layout = Layout { rows: 6, columns: COLUMNS, depth: 8, wide: false, pairs: true, offset: 0 };

pub(super) const TILES: Tiles = Tiles { int8: INT8, int4: INT4, float: FLOAT };

/// By rows; those of an odd number have a pair of which one is not stored.
static INT8: &[Int8Fn] = &[
    int8::<1, 1, 4, false>,
    int8::<2, 1, 4, false>,
    int8::<3, 2, 4, false>,
    int8::<4, 2, 4, false>,
    int8::<5, 3, 4, false>,
    int8::<6, 3, 4, false>,
];
static INT4: &[Int8Fn] = &[
    int8::<1, 1, 2, true>,
    int8::<2, 1, 2, true>,
    int8::<3, 2, 2, true>,
    int8::<4, 2, 2, true>,
    int8::<5, 3, 2, true>,
    int8::<6, 3, 2, true>,
];

/// M rows in P pairs, and as many columns at a time as C pairs are: weights of 4 bits need registers to be taken apart.
///
/// # Safety
/// As [`Int8Fn`], on a machine with [`FEATURES`].
#[target_feature(enable = "neon,i8mm")]
unsafe fn int8<const M: usize, const P: usize, const C: usize, const FOUR: bool>(tile: &Int8Tile) {
    const { assert!(M.div_ceil(2) == P) };
    let Int8Tile { stride, start, groups, blocks, steps, mut ahead, from, .. } = *tile;
    // With 4 bits groups are always of 32: a number of steps that the compiler knows.
    let (steps, group) = if FOUR { (4, 32) } else { (blocks * steps, blocks * steps * 8) };
    debug_assert!(group == blocks * tile.steps * 8);
    let first = first(group);
    // The second row of a pair, or the first again where there is none.
    let odd = |p: usize| (2 * p + 1).min(M - 1);
    // SAFETY: each pointer moves over what `Int8Tile` says it is good for, in the order of the groups and of the steps within, once for each part of
    // the columns; `from` is [M][16]. Prefetching touches nothing.
    unsafe {
        for column in (0..COLUMNS).step_by(2 * C) {
            let (mut x, mut w, mut scale) = (tile.x, tile.w.add(8 * column), tile.scale.add(column));
            // Of two rows and two columns, here and in all that follows.
            let mut sums: [[float32x4_t; C]; P] = array::from_fn(|p| {
                let two = |r: usize, c: usize| vld1_f32(from.add(r * COLUMNS + column + 2 * c));
                array::from_fn(|c| vcombine_f32(two(2 * p, c), two(odd(p), c)))
            });
            for g in 0..groups {
                let mut acc = [[vdupq_n_s32(0); C]; P];
                for p in 0..P {
                    for c in 0..C {
                        acc[p][c] = load_anew(&first);
                    }
                }
                let mut step = |ws: [int8x16_t; C]| {
                    for p in 0..P {
                        let x = vld1q_s8(x.add(2 * p * stride).cast());
                        for c in 0..C {
                            acc[p][c] = vmmlaq_s32(acc[p][c], x, ws[c]);
                        }
                    }
                    x = x.add(16);
                };
                if column == 0 {
                    ahead = prefetch(ahead, blocks * tile.lines);
                }
                if FOUR {
                    for _ in 0..steps / 2 {
                        let both: [uint8x16_t; C] = array::from_fn(|c| vld1q_u8(w.add(16 * c)));
                        w = w.add(8 * COLUMNS);
                        step(both.map(|both| low(both)));
                        step(both.map(|both| high(both)));
                    }
                } else {
                    for _ in 0..steps {
                        let ws = array::from_fn(|c| vld1q_s8(w.add(16 * c).cast()));
                        w = w.add(8 * COLUMNS);
                        step(ws);
                    }
                }
                let scales: [float32x4_t; C] = array::from_fn(|c| vreinterpretq_f32_f64(vld1q_dup_f64(scale.add(2 * c).cast())));
                scale = scale.add(COLUMNS);
                for p in 0..P {
                    let start = if FOUR {
                        let row = |r: usize| vld1_dup_s32(start.add(r * groups + g));
                        vcombine_s32(row(2 * p), row(odd(p)))
                    } else {
                        vdupq_n_s32(0)
                    };
                    for c in 0..C {
                        sums[p][c] = vfmaq_f32(sums[p][c], dots(acc[p][c], start, group), scales[c]);
                    }
                }
            }
            for p in 0..P {
                for c in (0..C).step_by(2) {
                    let (a, b) = (sums[p][c], sums[p][c + 1]);
                    finish(tile, 2 * p, column + 2 * c, vcombine_f32(vget_low_f32(a), vget_low_f32(b)));
                    if odd(p) > 2 * p {
                        finish(tile, odd(p), column + 2 * c, vcombine_f32(vget_high_f32(a), vget_high_f32(b)));
                    }
                }
            }
        }
    }
}
