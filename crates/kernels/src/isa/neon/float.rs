//! Tiles of floats, for all sets of NEON.

use std::arch::aarch64::*;

use super::COLUMNS;
use crate::isa::tile::{FloatFn, FloatTile};

/// Of up to six rows: 24 sums, 4 vectors of weights and a value are 29 of 32 registers.
pub(super) static FLOAT: &[FloatFn] = &[float::<1>, float::<2>, float::<3>, float::<4>, float::<5>, float::<6>];

/// # Safety
/// As [`FloatFn`].
#[target_feature(enable = "neon")]
unsafe fn float<const M: usize>(tile: &FloatTile) {
    let FloatTile { x, stride, mut w, k, out, out_stride } = *tile;
    // SAFETY: `x` is read where `FloatTile` says it may be, `w` moves over [k][16], and each row of `out` is [16].
    unsafe {
        let mut acc = [[vdupq_n_f32(0.0); 4]; M];
        for i in 0..k {
            let ws: [float32x4_t; 4] = [vld1q_f32(w), vld1q_f32(w.add(4)), vld1q_f32(w.add(8)), vld1q_f32(w.add(12))];
            w = w.add(COLUMNS);
            for r in 0..M {
                let x = *x.add(r * stride + i);
                for c in 0..4 {
                    acc[r][c] = vfmaq_n_f32(acc[r][c], ws[c], x);
                }
            }
        }
        for r in 0..M {
            for c in 0..4 {
                vst1q_f32(out.add(r * out_stride + 4 * c), acc[r][c]);
            }
        }
    }
}
