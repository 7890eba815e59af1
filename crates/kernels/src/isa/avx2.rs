//! AVX2 and FMA, without instructions for bytes: weights and activations are widened to 16 bits, whose products `vpmaddwd` sums in pairs,
//! exactly, for every value.

use std::{arch::x86_64::*, array};

use super::{
    Isa, Kernels,
    tile::{FloatTile, Int8Tile, Layout, Tiles},
    x86::x86_rows,
};

const COLUMNS: usize = 16;

/// Of these functions. Every machine with AVX2 has FMA; the check costs nothing.
pub(super) const FEATURES: &[&str] = &["avx2", "fma"];

pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

x86_rows!("avx2,fma");

/// Handed out by [`Kernels::new`] only after [`is_available`] has said yes.
pub(super) static KERNELS: Kernels = Kernels {
    isa: Isa::Avx2,
    layout: Layout { rows: 6, columns: COLUMNS, depth: 2, wide: true, offset: 0 },
    tiles: Tiles {
        int8: &[int8::<1, false>, int8::<2, false>, int8::<3, false>, int8::<4, false>, int8::<5, false>, int8::<6, false>],
        int4: &[int8::<1, true>, int8::<2, true>, int8::<3, true>, int8::<4, true>, int8::<5, true>, int8::<6, true>],
        float: FLOAT,
    },
    finish: rows::finish,
    quantize_row: rows::quantize_row,
    layer_norm: rows::layer_norm,
    soft_max: rows::soft_max,
    activate: rows::activate,
};

/// Tiles of floats, also for the sets above this one whose vectors are as long.
pub(super) static FLOAT: &[super::tile::FloatFn] = &[float::<1>, float::<2>, float::<3>, float::<4>, float::<5>, float::<6>];

/// # Safety
/// As [`super::tile::Int8Fn`], on a machine with AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn int8<const M: usize, const FOUR: bool>(tile: &Int8Tile) {
    let Int8Tile { mut x, mut start, mut w, mut scale, groups, steps, mut ahead, lines, out } = *tile;
    let low = _mm_set1_epi8(15);
    // SAFETY: each pointer moves over what `Int8Tile` says it is good for, in the order of the groups and of the steps within, and `out` over
    // [M][16]; `w`, `scale` and `out` keep the alignment of a vector. Prefetching touches nothing.
    unsafe {
        for r in 0..M {
            _mm256_store_ps(out.add(r * COLUMNS), _mm256_setzero_ps());
            _mm256_store_ps(out.add(r * COLUMNS + 8), _mm256_setzero_ps());
        }
        for _ in 0..groups {
            for _ in 0..lines {
                _mm_prefetch::<_MM_HINT_T1>(ahead.cast());
                ahead = ahead.wrapping_add(64);
            }
            let mut acc: [[__m256i; 2]; M] = array::from_fn(|r| [_mm256_set1_epi32(*start.add(r)); 2]);
            start = start.add(M);
            let mut step = |w: [__m256i; 2]| {
                for r in 0..M {
                    let x = _mm256_set1_epi32(x.cast::<i32>().add(r).read_unaligned());
                    for c in 0..2 {
                        acc[r][c] = _mm256_add_epi32(acc[r][c], _mm256_madd_epi16(x, w[c]));
                    }
                }
                x = x.add(M * 4);
            };
            if FOUR {
                for _ in 0..steps / 2 {
                    let both = [_mm_load_si128(w.cast()), _mm_load_si128(w.add(16).cast())];
                    w = w.add(32);
                    step(both.map(|w| _mm256_cvtepu8_epi16(_mm_and_si128(w, low))));
                    step(both.map(|w| _mm256_cvtepu8_epi16(_mm_and_si128(_mm_srli_epi16::<4>(w), low))));
                }
            } else {
                for _ in 0..steps {
                    let both = [_mm_load_si128(w.cast()), _mm_load_si128(w.add(16).cast())];
                    w = w.add(32);
                    step(both.map(|w| _mm256_cvtepi8_epi16(w)));
                }
            }
            let scales = [_mm256_load_ps(scale), _mm256_load_ps(scale.add(8))];
            scale = scale.add(COLUMNS);
            for r in 0..M {
                for c in 0..2 {
                    let y = out.add(r * COLUMNS + 8 * c);
                    _mm256_store_ps(y, _mm256_fmadd_ps(_mm256_cvtepi32_ps(acc[r][c]), scales[c], _mm256_load_ps(y)));
                }
            }
        }
    }
}

/// # Safety
/// As [`super::tile::FloatFn`], on a machine with AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn float<const M: usize>(tile: &FloatTile) {
    let FloatTile { x, row_stride, k_stride, mut w, k, out } = *tile;
    // SAFETY: `x` is read where `FloatTile` says it may be, `w` moves over [k][16], `out` is [M][16], both on cache lines.
    unsafe {
        let mut acc = [[_mm256_setzero_ps(); 2]; M];
        for i in 0..k {
            let ws = [_mm256_load_ps(w), _mm256_load_ps(w.add(8))];
            w = w.add(COLUMNS);
            for r in 0..M {
                let x = _mm256_set1_ps(*x.add(r * row_stride + i * k_stride));
                acc[r] = [_mm256_fmadd_ps(x, ws[0], acc[r][0]), _mm256_fmadd_ps(x, ws[1], acc[r][1])];
            }
        }
        for r in 0..M {
            _mm256_store_ps(out.add(r * COLUMNS), acc[r][0]);
            _mm256_store_ps(out.add(r * COLUMNS + 8), acc[r][1]);
        }
    }
}
