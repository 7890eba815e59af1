//! `vpdpbusd` on vectors of 256 bits: once in the VEX encoding of AVX-VNNI (Intel's Alder Lake and later, AMD's Zen 5), and once in the EVEX
//! encoding of AVX-512. The second is the twin of the first for tests on machines that lack it: one source, two encodings.

use std::{arch::x86_64::*, array};

use super::{
    Isa, Kernels, avx2,
    tile::{Int8Tile, Layout, TileBuffer, Tiles},
    x86::{opaque, x86_rows},
};

const COLUMNS: usize = 16;

/// Of these functions.
pub(super) const FEATURES: &[&str] = &["avx2", "fma", "avxvnni"];

x86_rows!("avx2,fma", crate::isa::avx2::Pair);

macro_rules! tiles {
    ($name:ident, $features:literal, $dot:ident) => {
        pub(super) mod $name {
            use super::*;

            pub(in crate::isa) static KERNELS: Kernels = Kernels {
                isa: Isa::AvxVnni,
                layout: Layout { rows: 6, columns: COLUMNS, depth: 4, wide: false, pairs: false, offset: 128 },
                tiles: Tiles {
                    int8: &[
                        int8::<1, false>,
                        int8::<2, false>,
                        int8::<3, false>,
                        int8::<4, false>,
                        int8::<5, false>,
                        int8::<6, false>,
                    ],
                    int4: &[int8::<1, true>, int8::<2, true>, int8::<3, true>, int8::<4, true>, int8::<5, true>, int8::<6, true>],
                    float: avx2::FLOAT,
                },
                finish: rows::finish,
                quantize_row: rows::quantize_row,
                layer_norm: rows::layer_norm,
                soft_max: rows::soft_max,
                divide: rows::divide,
                group_sums: avx2::group_sums,
                transpose: rows::transpose,
                sum_products: rows::sum_products,
                horizontal_u8: avx2::resize::horizontal_u8,
                vertical_u8: avx2::resize::vertical_u8,
                transform: avx2::jpeg::transform,
                double: avx2::jpeg::double,
                double_both: avx2::jpeg::double_both,
                rgb: avx2::jpeg::rgb,
            };

            /// # Safety
            /// As [`crate::isa::tile::Int8Fn`], on a machine with these features.
            #[target_feature(enable = $features)]
            unsafe fn int8<const M: usize, const FOUR: bool>(tile: &Int8Tile) {
                let Int8Tile { mut x, stride, start, mut w, mut scale, groups, blocks, steps, mut ahead, lines, .. } = *tile;
                let mut buffer = TileBuffer::ZERO;
                let sums = buffer.0.as_mut_ptr();
                let low = _mm256_set1_epi8(15);
                // SAFETY: each pointer moves over what `Int8Tile` says it is good for, in the order of the groups and of the steps within;
                // `from` and `sums` are [M][16]. `w`, `scale` and these keep the alignment of a vector. Prefetching touches nothing.
                unsafe {
                    for i in 0..2 * M {
                        _mm256_store_ps(sums.add(i * 8), _mm256_load_ps(tile.from.add(i * 8)));
                    }
                    for g in 0..groups {
                        let mut acc: [[__m256i; 2]; M] = array::from_fn(|r| [_mm256_set1_epi32(*start.add(r * groups + g)); 2]);
                        let mut step = |w: [__m256i; 2]| {
                            for r in 0..M {
                                let x = _mm256_set1_epi32(x.add(r * stride).cast::<i32>().read_unaligned());
                                acc[r] = [$dot(acc[r][0], w[0], x), $dot(acc[r][1], w[1], x)];
                            }
                            x = x.add(4);
                        };
                        for _ in 0..blocks {
                            for _ in 0..lines {
                                _mm_prefetch::<_MM_HINT_T0>(ahead.cast());
                                ahead = ahead.wrapping_add(64);
                            }
                            if FOUR {
                                for _ in 0..steps / 2 {
                                    let both = [_mm256_load_si256(w.cast()), _mm256_load_si256(w.add(32).cast())];
                                    w = w.add(64);
                                    step(both.map(|w| _mm256_and_si256(w, low)));
                                    step(both.map(|w| _mm256_and_si256(_mm256_srli_epi16::<4>(w), low)));
                                }
                            } else {
                                for _ in 0..steps {
                                    let both = [_mm256_load_si256(w.cast()), _mm256_load_si256(w.add(32).cast())];
                                    w = w.add(64);
                                    step(both);
                                }
                            }
                        }
                        let sums = opaque(sums);
                        let scales = [_mm256_load_ps(scale), _mm256_load_ps(scale.add(8))];
                        scale = scale.add(COLUMNS);
                        for r in 0..M {
                            for c in 0..2 {
                                let y = sums.add(r * COLUMNS + 8 * c);
                                _mm256_store_ps(y, _mm256_fmadd_ps(_mm256_cvtepi32_ps(acc[r][c]), scales[c], _mm256_load_ps(y)));
                            }
                        }
                    }
                    avx2::finish::<M>(tile, sums);
                }
            }
        }
    };
}

// Handed out by `Kernels::new` only where `FEATURES` are there.
tiles!(vex, "avx2,fma,avxvnni", _mm256_dpbusd_avx_epi32);
#[cfg(test)]
tiles!(evex, "avx2,fma,avx512vl,avx512vnni", _mm256_dpbusd_epi32);
