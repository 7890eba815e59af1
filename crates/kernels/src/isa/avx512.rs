//! AVX-512 with VNNI: `vpdpbusd` sums four products of an unsigned and a signed byte in each of sixteen lanes. Weights are the unsigned side,
//! 128 (or 8) too large; the sums start from what that adds.

use std::{arch::x86_64::*, array};

use super::{
    Isa, Kernels,
    tile::{FloatTile, Int8Tile, Layout, Tiles},
    x86::x86_rows,
};

const COLUMNS: usize = 32;

/// Of these functions.
pub(super) const FEATURES: &[&str] = &["avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vnni"];

pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni")
}

x86_rows!("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni");

/// Handed out by [`Kernels::new`] only after [`is_available`] has said yes.
pub(super) static KERNELS: Kernels = Kernels {
    isa: Isa::Avx512Vnni,
    layout: Layout { rows: 8, columns: COLUMNS, depth: 4, wide: false, offset: 128 },
    tiles: Tiles {
        int8: &[
            int8::<1, false>,
            int8::<2, false>,
            int8::<3, false>,
            int8::<4, false>,
            int8::<5, false>,
            int8::<6, false>,
            int8::<7, false>,
            int8::<8, false>,
        ],
        int4: &[
            int8::<1, true>,
            int8::<2, true>,
            int8::<3, true>,
            int8::<4, true>,
            int8::<5, true>,
            int8::<6, true>,
            int8::<7, true>,
            int8::<8, true>,
        ],
        float: &[float::<1>, float::<2>, float::<3>, float::<4>, float::<5>, float::<6>, float::<7>, float::<8>],
    },
    finish: rows::finish,
    quantize_row: rows::quantize_row,
    layer_norm: rows::layer_norm,
    soft_max: rows::soft_max,
    activate: rows::activate,
};

/// # Safety
/// As [`super::tile::Int8Fn`], on a machine with [`FEATURES`].
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn int8<const M: usize, const FOUR: bool>(tile: &Int8Tile) {
    let Int8Tile { mut x, mut start, mut w, mut scale, groups, steps, mut ahead, lines, out } = *tile;
    let low = _mm512_set1_epi8(15);
    // SAFETY: each pointer moves over what `Int8Tile` says it is good for, in the order of the groups and of the steps within, and `out` over
    // [M][32]; `w`, `scale` and `out` keep the alignment of a vector. Prefetching touches nothing.
    unsafe {
        for r in 0..2 * M {
            _mm512_store_ps(out.add(r * 16), _mm512_setzero_ps());
        }
        for _ in 0..groups {
            for _ in 0..lines {
                _mm_prefetch::<_MM_HINT_T1>(ahead.cast());
                ahead = ahead.wrapping_add(64);
            }
            let mut acc: [[__m512i; 2]; M] = array::from_fn(|r| [_mm512_set1_epi32(*start.add(r)); 2]);
            start = start.add(M);
            let mut step = |w: [__m512i; 2]| {
                for r in 0..M {
                    let x = _mm512_set1_epi32(x.cast::<i32>().add(r).read_unaligned());
                    acc[r] = [_mm512_dpbusd_epi32(acc[r][0], w[0], x), _mm512_dpbusd_epi32(acc[r][1], w[1], x)];
                }
                x = x.add(M * 4);
            };
            if FOUR {
                for _ in 0..steps / 2 {
                    let both = [_mm512_load_si512(w.cast()), _mm512_load_si512(w.add(64).cast())];
                    w = w.add(128);
                    step(both.map(|w| _mm512_and_si512(w, low)));
                    step(both.map(|w| _mm512_and_si512(_mm512_srli_epi16::<4>(w), low)));
                }
            } else {
                for _ in 0..steps {
                    let both = [_mm512_load_si512(w.cast()), _mm512_load_si512(w.add(64).cast())];
                    w = w.add(128);
                    step(both);
                }
            }
            let scales = [_mm512_load_ps(scale), _mm512_load_ps(scale.add(16))];
            scale = scale.add(COLUMNS);
            for r in 0..M {
                for c in 0..2 {
                    let y = out.add(r * COLUMNS + 16 * c);
                    _mm512_store_ps(y, _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc[r][c]), scales[c], _mm512_load_ps(y)));
                }
            }
        }
    }
}

/// # Safety
/// As [`super::tile::FloatFn`], on a machine with [`FEATURES`].
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn float<const M: usize>(tile: &FloatTile) {
    let FloatTile { x, row_stride, k_stride, mut w, k, out } = *tile;
    // SAFETY: `x` is read where `FloatTile` says it may be, `w` moves over [k][32], `out` is [M][32], both on cache lines.
    unsafe {
        let mut acc = [[_mm512_setzero_ps(); 2]; M];
        for i in 0..k {
            let ws = [_mm512_load_ps(w), _mm512_load_ps(w.add(16))];
            w = w.add(COLUMNS);
            for r in 0..M {
                let x = _mm512_set1_ps(*x.add(r * row_stride + i * k_stride));
                acc[r] = [_mm512_fmadd_ps(x, ws[0], acc[r][0]), _mm512_fmadd_ps(x, ws[1], acc[r][1])];
            }
        }
        for r in 0..M {
            _mm512_store_ps(out.add(r * COLUMNS), acc[r][0]);
            _mm512_store_ps(out.add(r * COLUMNS + 16), acc[r][1]);
        }
    }
}
