//! AVX2 and FMA, without dot products of bytes. For weights of 8 bits both sides are widened to 16, whose products `vpmaddwd` sums in pairs,
//! exactly, for every value. Weights of 4 bits are the unsigned side of `vpmaddubsw`, whose sums of 16 bits hold a whole group.

pub(super) mod jpeg;
pub(super) mod resize;

use std::{arch::x86_64::*, array};

use super::{
    Isa, Kernels,
    lanes::{LANES, Lanes},
    tile::{FloatTile, Int8Tile, Layout, TileBuffer, Tiles},
    x86::{opaque, x86_rows},
};

const COLUMNS: usize = 16;

/// Of these functions. Every machine with AVX2 has FMA; the check costs nothing.
pub(super) const FEATURES: &[&str] = &["avx2", "fma"];

x86_rows!("avx2,fma", crate::isa::avx2::Pair);

/// Handed out by [`Kernels::new`] only where [`FEATURES`] are there.
pub(super) static KERNELS: Kernels = Kernels {
    isa: Isa::Avx2,
    layout: Layout { rows: 6, columns: COLUMNS, depth: 4, wide: true, pairs: false, offset: 0 },
    tiles: Tiles {
        int8: &[int8::<1>, int8::<2>, int8::<3>, int8::<4>, int8::<5>, int8::<6>],
        int4: &[int4::<1>, int4::<2>, int4::<3>, int4::<4>, int4::<5>, int4::<6>],
        float: FLOAT,
    },
    finish: rows::finish,
    quantize_row: rows::quantize_row,
    layer_norm: rows::layer_norm,
    soft_max: rows::soft_max,
    divide: rows::divide,
    group_sums,
    transpose: rows::transpose,
    sum_products: rows::sum_products,
    horizontal_u8: resize::horizontal_u8,
    vertical_u8: resize::vertical_u8,
    transform: jpeg::transform,
    double: jpeg::double,
    double_both: jpeg::double_both,
    rgb: jpeg::rgb,
};

/// Tiles of floats, also for the sets above this one whose vectors are as long.
pub(super) static FLOAT: &[super::tile::FloatFn] = &[float::<1>, float::<2>, float::<3>, float::<4>, float::<5>, float::<6>];

/// # Safety
/// As [`super::tile::Int8Fn`], on a machine with AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn int8<const M: usize>(tile: &Int8Tile) {
    let Int8Tile { mut x, stride, start, mut w, mut scale, groups, blocks, steps, mut ahead, lines, .. } = *tile;
    let mut buffer = TileBuffer::ZERO;
    let sums = buffer.0.as_mut_ptr();
    // SAFETY: each pointer moves over what `Int8Tile` says it is good for, in the order of the groups and of the steps within; `from` and
    // `sums` are [M][16]. `w`, `scale` and these keep the alignment of a vector. Prefetching touches nothing.
    unsafe {
        for i in 0..2 * M {
            _mm256_store_ps(sums.add(i * 8), _mm256_load_ps(tile.from.add(i * 8)));
        }
        for g in 0..groups {
            let mut acc: [[__m256i; 2]; M] = array::from_fn(|r| [_mm256_set1_epi32(*start.add(r * groups + g)); 2]);
            for _ in 0..blocks {
                for _ in 0..lines {
                    _mm_prefetch::<_MM_HINT_T0>(ahead.cast());
                    ahead = ahead.wrapping_add(64);
                }
                for _ in 0..steps {
                    let ws =
                        [_mm256_cvtepi8_epi16(_mm_load_si128(w.cast())), _mm256_cvtepi8_epi16(_mm_load_si128(w.add(16).cast()))];
                    w = w.add(32);
                    for r in 0..M {
                        let x = _mm256_set1_epi32(x.add(r * stride).cast::<i32>().read_unaligned());
                        for c in 0..2 {
                            acc[r][c] = _mm256_add_epi32(acc[r][c], _mm256_madd_epi16(x, ws[c]));
                        }
                    }
                    x = x.add(4);
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
        finish::<M>(tile, sums);
    }
}

/// # Safety
/// As [`super::tile::Int8Fn`], on a machine with AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn int4<const M: usize>(tile: &Int8Tile) {
    let Int8Tile { mut x, stride, start, mut w, mut scale, groups, blocks, steps, mut ahead, lines, .. } = *tile;
    let mut buffer = TileBuffer::ZERO;
    let sums = buffer.0.as_mut_ptr();
    // Two products of at most 15 * 128 in magnitude, eight times: 30,720 fits in 16 bits.
    debug_assert!(steps <= 8);
    let (low, ones) = (_mm256_set1_epi8(15), _mm256_set1_epi16(1));
    // SAFETY: each pointer moves over what `Int8Tile` says it is good for, in the order of the groups and of the steps within; `from` and
    // `sums` are [M][16]. `w`, `scale` and these keep the alignment of a vector. Prefetching touches nothing.
    unsafe {
        for i in 0..2 * M {
            _mm256_store_ps(sums.add(i * 8), _mm256_load_ps(tile.from.add(i * 8)));
        }
        for g in 0..groups {
            let mut acc = [[_mm256_setzero_si256(); 2]; M];
            for _ in 0..blocks {
                for _ in 0..lines {
                    _mm_prefetch::<_MM_HINT_T0>(ahead.cast());
                    ahead = ahead.wrapping_add(64);
                }
                for _ in 0..steps / 2 {
                    let both = [_mm256_load_si256(w.cast()), _mm256_load_si256(w.add(32).cast())];
                    w = w.add(64);
                    for odd in 0..2 {
                        let ws = match odd {
                            0 => [_mm256_and_si256(both[0], low), _mm256_and_si256(both[1], low)],
                            _ => [
                                _mm256_and_si256(_mm256_srli_epi16::<4>(both[0]), low),
                                _mm256_and_si256(_mm256_srli_epi16::<4>(both[1]), low),
                            ],
                        };
                        for r in 0..M {
                            let x = _mm256_set1_epi32(x.add(r * stride).cast::<i32>().read_unaligned());
                            for c in 0..2 {
                                acc[r][c] = _mm256_add_epi16(acc[r][c], _mm256_maddubs_epi16(ws[c], x));
                            }
                        }
                        x = x.add(4);
                    }
                }
            }
            let sums = opaque(sums);
            let scales = [_mm256_load_ps(scale), _mm256_load_ps(scale.add(8))];
            scale = scale.add(COLUMNS);
            for r in 0..M {
                let start = _mm256_set1_epi32(*start.add(r * groups + g));
                for c in 0..2 {
                    let y = sums.add(r * COLUMNS + 8 * c);
                    let sum = _mm256_add_epi32(start, _mm256_madd_epi16(acc[r][c], ones));
                    _mm256_store_ps(y, _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), scales[c], _mm256_load_ps(y)));
                }
            }
        }
        finish::<M>(tile, sums);
    }
}

/// The second step of a tile of integers.
///
/// # Safety
/// As [`super::tile::Int8Fn`], on a machine with AVX2 and FMA; `sums` is `[M][16]`, on a cache line.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn finish<const M: usize>(tile: &Int8Tile, sums: *const f32) {
    // SAFETY: `sum` and `bias` are [16], on a cache line as `sums` is, `x_scale` and `zero` are [M], each row of `out` is [16].
    unsafe {
        let sum = [_mm256_load_ps(tile.sum), _mm256_load_ps(tile.sum.add(8))];
        let bias = [_mm256_load_ps(tile.bias), _mm256_load_ps(tile.bias.add(8))];
        for r in 0..M {
            let (scale, zero) = (_mm256_set1_ps(*tile.x_scale.add(r)), _mm256_set1_ps(-*tile.zero.add(r)));
            for c in 0..2 {
                let at = tile.out.add(r * tile.out_stride + 8 * c);
                let y = _mm256_fmadd_ps(zero, sum[c], _mm256_load_ps(sums.add(r * COLUMNS + 8 * c)));
                let y = _mm256_fmadd_ps(scale, y, bias[c]);
                _mm256_storeu_ps(at, if tile.add { _mm256_add_ps(_mm256_loadu_ps(at), y) } else { y });
            }
        }
    }
}

/// # Safety
/// As [`super::tile::FloatFn`], on a machine with AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn float<const M: usize>(tile: &FloatTile) {
    let FloatTile { x, stride, mut w, k, out, out_stride } = *tile;
    // SAFETY: `x` is read where `FloatTile` says it may be, `w` moves over [k][16], and each row of `out` is [16], all on cache lines.
    unsafe {
        let mut acc = [[_mm256_setzero_ps(); 2]; M];
        for i in 0..k {
            let ws = [_mm256_load_ps(w), _mm256_load_ps(w.add(8))];
            w = w.add(COLUMNS);
            for r in 0..M {
                let x = _mm256_set1_ps(*x.add(r * stride + i));
                acc[r] = [_mm256_fmadd_ps(x, ws[0], acc[r][0]), _mm256_fmadd_ps(x, ws[1], acc[r][1])];
            }
        }
        for r in 0..M {
            _mm256_store_ps(out.add(r * out_stride), acc[r][0]);
            _mm256_store_ps(out.add(r * out_stride + 8), acc[r][1]);
        }
    }
}

/// Sixteen floats as two vectors.
#[derive(Clone, Copy)]
pub(super) struct Pair([__m256; 2]);

impl Lanes for Pair {
    #[inline(always)]
    fn splat(x: f32) -> Self {
        // SAFETY: see `Lanes`: the machine has the instruction.
        unsafe { Self([_mm256_set1_ps(x); 2]) }
    }

    #[inline(always)]
    fn load(x: &[f32; LANES]) -> Self {
        // SAFETY: see `Lanes`: the machine has the instruction.
        unsafe { Self([_mm256_loadu_ps(x.as_ptr()), _mm256_loadu_ps(x[8..].as_ptr())]) }
    }

    #[inline(always)]
    fn store(self, out: &mut [f32; LANES]) {
        // SAFETY: see `Lanes`: the machine has the instruction.
        unsafe {
            _mm256_storeu_ps(out.as_mut_ptr(), self.0[0]);
            _mm256_storeu_ps(out[8..].as_mut_ptr(), self.0[1]);
        }
    }

    #[inline(always)]
    fn add(self, b: Self) -> Self {
        // SAFETY: see `Lanes`: the machine has the instruction.
        unsafe { Self([_mm256_add_ps(self.0[0], b.0[0]), _mm256_add_ps(self.0[1], b.0[1])]) }
    }

    #[inline(always)]
    fn sub(self, b: Self) -> Self {
        // SAFETY: see `Lanes`: the machine has the instruction.
        unsafe { Self([_mm256_sub_ps(self.0[0], b.0[0]), _mm256_sub_ps(self.0[1], b.0[1])]) }
    }

    #[inline(always)]
    fn mul(self, b: Self) -> Self {
        // SAFETY: see `Lanes`: the machine has the instruction.
        unsafe { Self([_mm256_mul_ps(self.0[0], b.0[0]), _mm256_mul_ps(self.0[1], b.0[1])]) }
    }

    #[inline(always)]
    fn div(self, b: Self) -> Self {
        // SAFETY: see `Lanes`: the machine has the instruction.
        unsafe { Self([_mm256_div_ps(self.0[0], b.0[0]), _mm256_div_ps(self.0[1], b.0[1])]) }
    }

    #[inline(always)]
    fn fma(self, b: Self, c: Self) -> Self {
        // SAFETY: see `Lanes`: the machine has the instruction.
        unsafe { Self([_mm256_fmadd_ps(self.0[0], b.0[0], c.0[0]), _mm256_fmadd_ps(self.0[1], b.0[1], c.0[1])]) }
    }

    #[inline(always)]
    fn min(self, b: Self) -> Self {
        // SAFETY: see `Lanes`: the machine has the instruction.
        unsafe { Self([_mm256_min_ps(self.0[0], b.0[0]), _mm256_min_ps(self.0[1], b.0[1])]) }
    }

    #[inline(always)]
    fn max(self, b: Self) -> Self {
        // SAFETY: see `Lanes`: the machine has the instruction.
        unsafe { Self([_mm256_max_ps(self.0[0], b.0[0]), _mm256_max_ps(self.0[1], b.0[1])]) }
    }

    #[inline(always)]
    fn abs(self) -> Self {
        let Self([a, b]) = self;
        // SAFETY: see `Lanes`: the machine has the instructions.
        unsafe {
            let bit = _mm256_set1_ps(-0.0);
            Self([_mm256_andnot_ps(bit, a), _mm256_andnot_ps(bit, b)])
        }
    }

    #[inline(always)]
    fn copysign(self, sign: Self) -> Self {
        let Self([a, b]) = self.abs();
        // SAFETY: see `Lanes`: the machine has the instructions.
        unsafe {
            let bit = _mm256_set1_ps(-0.0);
            Self([_mm256_or_ps(a, _mm256_and_ps(bit, sign.0[0])), _mm256_or_ps(b, _mm256_and_ps(bit, sign.0[1]))])
        }
    }

    #[inline(always)]
    fn if_less(self, b: Self, then: Self, or: Self) -> Self {
        // SAFETY: see `Lanes`: the machine has the instructions.
        unsafe {
            let low = _mm256_cmp_ps::<_CMP_LT_OQ>(self.0[0], b.0[0]);
            let high = _mm256_cmp_ps::<_CMP_LT_OQ>(self.0[1], b.0[1]);
            Self([_mm256_blendv_ps(or.0[0], then.0[0], low), _mm256_blendv_ps(or.0[1], then.0[1], high)])
        }
    }

    #[inline(always)]
    fn if_nan(self, then: Self, or: Self) -> Self {
        // SAFETY: see `Lanes`: the machine has the instructions.
        unsafe {
            let low = _mm256_cmp_ps::<_CMP_UNORD_Q>(self.0[0], self.0[0]);
            let high = _mm256_cmp_ps::<_CMP_UNORD_Q>(self.0[1], self.0[1]);
            Self([_mm256_blendv_ps(or.0[0], then.0[0], low), _mm256_blendv_ps(or.0[1], then.0[1], high)])
        }
    }

    #[inline(always)]
    fn times_power(self, rounded: Self) -> Self {
        // SAFETY: see `Lanes`: the machine has the instructions.
        unsafe { Self([times_power(self.0[0], rounded.0[0]), times_power(self.0[1], rounded.0[1])]) }
    }

    #[inline(always)]
    fn store_levels(self, out: &mut [i8; LANES]) {
        // SAFETY: see `Lanes`: the machine has the instructions.
        unsafe {
            let (low, high) = (_mm256_cvtps_epi32(self.0[0]), _mm256_cvtps_epi32(self.0[1]));
            // Packing works within halves of a register, and saturates.
            let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(low, high));
            let bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
            _mm_storeu_si128(out.as_mut_ptr().cast(), bytes);
        }
    }

    #[inline(always)]
    fn transpose(rows: [Self; LANES]) -> [Self; LANES] {
        let mut x = rows;
        // SAFETY: see `Lanes`: the machine has the instructions.
        unsafe {
            for (first, half) in [(0, 0), (0, 1), (8, 0), (8, 1)] {
                transpose_eight(&mut x, first, half);
            }
        }
        // The quarters off the diagonal change places.
        for i in 0..8 {
            (x[i].0[1], x[i + 8].0[0]) = (x[i + 8].0[0], x[i].0[1]);
        }
        x
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        // SAFETY: see `Lanes`: the machine has the instructions.
        unsafe { sum_eight(_mm256_add_ps(self.0[0], self.0[1])) }
    }

    #[inline(always)]
    fn most(self) -> f32 {
        // SAFETY: see `Lanes`: the machine has the instructions.
        unsafe { most_eight(_mm256_max_ps(self.0[0], self.0[1])) }
    }
}

/// `p * 2^n` in two factors, since `n` reaches 128 and 2^128 is no f32.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn times_power(p: __m256, rounded: __m256) -> __m256 {
    let bias = _mm256_set1_epi32(127);
    let n = _mm256_sub_epi32(_mm256_castps_si256(rounded), _mm256_set1_epi32(0x4b40_0000));
    let half = _mm256_srai_epi32::<1>(n);
    let first = _mm256_slli_epi32::<23>(_mm256_add_epi32(half, bias));
    let second = _mm256_slli_epi32::<23>(_mm256_add_epi32(_mm256_sub_epi32(n, half), bias));
    _mm256_mul_ps(_mm256_mul_ps(p, _mm256_castsi256_ps(first)), _mm256_castsi256_ps(second))
}

/// Lane `i` with `i + 4`, then `i + 2`, `i + 1`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn sum_eight(x: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}

/// The largest of all that are numbers.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn most_eight(x: __m256) -> f32 {
    let four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
    let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
}

/// Turns the eight rows from `first` on of one half.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn transpose_eight(x: &mut [Pair; LANES], first: usize, half: usize) {
    let mut pairs = [_mm256_setzero_ps(); 8];
    for i in (0..8).step_by(2) {
        let (a, b) = (x[first + i].0[half], x[first + i + 1].0[half]);
        (pairs[i], pairs[i + 1]) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    }
    // Of each four rows: columns 0 and 4, 1 and 5, 2 and 6, 3 and 7 in halves.
    let mut fours = [_mm256_setzero_ps(); 8];
    for i in [0, 4] {
        for j in 0..2 {
            let (a, b) = (pairs[i + j], pairs[i + 2 + j]);
            fours[i + 2 * j] = _mm256_shuffle_ps::<0b01_00_01_00>(a, b);
            fours[i + 2 * j + 1] = _mm256_shuffle_ps::<0b11_10_11_10>(a, b);
        }
    }
    for i in 0..4 {
        x[first + i].0[half] = _mm256_permute2f128_ps::<0x20>(fours[i], fours[i + 4]);
        x[first + i + 4].0[half] = _mm256_permute2f128_ps::<0x31>(fours[i], fours[i + 4]);
    }
}

/// Of groups of whole sixteens: what `vpsadbw` sums of the bytes made unsigned, less what made them so.
pub(super) fn group_sums(q: &[i8], group: usize, sums: &mut [i32]) {
    #[target_feature(enable = "avx2,fma")]
    fn inner(q: &[i8], group: usize, sums: &mut [i32]) {
        for (q, sum) in q.chunks_exact(group).zip(sums) {
            let mut total = _mm_setzero_si128();
            for q in q.as_chunks::<16>().0 {
                // SAFETY: sixteen bytes are there.
                let q = unsafe { _mm_loadu_si128(q.as_ptr().cast()) };
                total = _mm_add_epi32(total, _mm_sad_epu8(_mm_xor_si128(q, _mm_set1_epi8(-128)), _mm_setzero_si128()));
            }
            *sum = _mm_cvtsi128_si32(total) + _mm_extract_epi32::<2>(total) - 128 * group as i32;
        }
    }
    // SAFETY: it is in the tables of sets with these instructions only.
    unsafe { inner(q, group, sums) }
}
