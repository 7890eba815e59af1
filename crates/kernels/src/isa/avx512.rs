//! AVX-512 with VNNI: `vpdpbusd` sums four products of an unsigned and a signed byte in each of sixteen lanes. Weights are the unsigned side,
//! 128 (or 8) too large; the sums start from what that adds.

use std::{arch::x86_64::*, array};

use super::{
    Isa, Kernels, avx2,
    lanes::{LANES, Lanes},
    tile::{FloatTile, Int8Tile, Layout, Tiles},
    x86::x86_rows,
};

const COLUMNS: usize = 32;

/// Of these functions.
pub(super) const FEATURES: &[&str] = &["avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vnni"];

x86_rows!("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni", crate::isa::avx512::Vector);

/// Handed out by [`Kernels::new`] only where [`FEATURES`] are there.
pub(super) static KERNELS: Kernels = Kernels {
    isa: Isa::Avx512Vnni,
    layout: Layout { rows: 6, columns: COLUMNS, depth: 4, wide: false, pairs: false, offset: 128 },
    tiles: Tiles {
        int8: &[int8::<1, false>, int8::<2, false>, int8::<3, false>, int8::<4, false>, int8::<5, false>, int8::<6, false>],
        int4: &[int8::<1, true>, int8::<2, true>, int8::<3, true>, int8::<4, true>, int8::<5, true>, int8::<6, true>],
        float: &[float::<1>, float::<2>, float::<3>, float::<4>, float::<5>, float::<6>],
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
/// As [`super::tile::Int8Fn`], on a machine with [`FEATURES`].
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn int8<const M: usize, const FOUR: bool>(tile: &Int8Tile) {
    let Int8Tile {
        mut x, stride, start, mut w, mut scale, groups, blocks, steps, mut ahead, lines, from, out, out_stride, ..
    } = *tile;
    let low = _mm512_set1_epi8(15);
    // SAFETY: each pointer moves over what `Int8Tile` says it is good for, in the order of the groups and of the steps within; `from` is
    // [M][32] and each row of `out` [32]. `w`, `scale` and the like keep the alignment of a vector. Prefetching touches nothing.
    unsafe {
        let mut sums: [[__m512; 2]; M] =
            array::from_fn(|r| [_mm512_load_ps(from.add(r * COLUMNS)), _mm512_load_ps(from.add(r * COLUMNS + 16))]);
        for g in 0..groups {
            let mut acc: [[__m512i; 2]; M] = array::from_fn(|r| [_mm512_set1_epi32(*start.add(r * groups + g)); 2]);
            let mut step = |w: [__m512i; 2]| {
                for r in 0..M {
                    let x = _mm512_set1_epi32(x.add(r * stride).cast::<i32>().read_unaligned());
                    acc[r] = [_mm512_dpbusd_epi32(acc[r][0], w[0], x), _mm512_dpbusd_epi32(acc[r][1], w[1], x)];
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
            }
            let scales = [_mm512_load_ps(scale), _mm512_load_ps(scale.add(16))];
            // Those of the next panel.
            _mm_prefetch::<_MM_HINT_T0>(scale.wrapping_add(groups * COLUMNS).cast());
            _mm_prefetch::<_MM_HINT_T0>(scale.wrapping_add(groups * COLUMNS + 16).cast());
            scale = scale.add(COLUMNS);
            for r in 0..M {
                for c in 0..2 {
                    sums[r][c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc[r][c]), scales[c], sums[r][c]);
                }
            }
        }
        let sum = [_mm512_load_ps(tile.sum), _mm512_load_ps(tile.sum.add(16))];
        let bias = [_mm512_load_ps(tile.bias), _mm512_load_ps(tile.bias.add(16))];
        for r in 0..M {
            let (scale, zero) = (_mm512_set1_ps(*tile.x_scale.add(r)), _mm512_set1_ps(-*tile.zero.add(r)));
            for c in 0..2 {
                let at = out.add(r * out_stride + 16 * c);
                let y = _mm512_fmadd_ps(scale, _mm512_fmadd_ps(zero, sum[c], sums[r][c]), bias[c]);
                _mm512_storeu_ps(at, if tile.add { _mm512_add_ps(_mm512_loadu_ps(at), y) } else { y });
            }
        }
    }
}

/// # Safety
/// As [`super::tile::FloatFn`], on a machine with [`FEATURES`].
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn float<const M: usize>(tile: &FloatTile) {
    let FloatTile { x, stride, mut w, k, out, out_stride } = *tile;
    // SAFETY: `x` is read where `FloatTile` says it may be, `w` moves over [k][32], and each row of `out` is [32], all on cache lines.
    unsafe {
        let mut acc = [[_mm512_setzero_ps(); 2]; M];
        for i in 0..k {
            let ws = [_mm512_load_ps(w), _mm512_load_ps(w.add(16))];
            w = w.add(COLUMNS);
            for r in 0..M {
                let x = _mm512_set1_ps(*x.add(r * stride + i));
                acc[r] = [_mm512_fmadd_ps(x, ws[0], acc[r][0]), _mm512_fmadd_ps(x, ws[1], acc[r][1])];
            }
        }
        for r in 0..M {
            _mm512_store_ps(out.add(r * out_stride), acc[r][0]);
            _mm512_store_ps(out.add(r * out_stride + 16), acc[r][1]);
        }
    }
}

/// Sixteen floats as one vector.
#[derive(Clone, Copy)]
pub(super) struct Vector(__m512);

impl Lanes for Vector {
    #[inline(always)]
    fn splat(x: f32) -> Self {
        // SAFETY: see `Lanes`: the machine has the instruction.
        unsafe { Self(_mm512_set1_ps(x)) }
    }

    #[inline(always)]
    fn load(x: &[f32; LANES]) -> Self {
        // SAFETY: see `Lanes`: the machine has the instruction.
        unsafe { Self(_mm512_loadu_ps(x.as_ptr())) }
    }

    #[inline(always)]
    fn store(self, out: &mut [f32; LANES]) {
        // SAFETY: see `Lanes`: the machine has the instruction.
        unsafe {
            _mm512_storeu_ps(out.as_mut_ptr(), self.0);
        }
    }

    #[inline(always)]
    fn add(self, b: Self) -> Self {
        // SAFETY: see `Lanes`: the machine has the instruction.
        unsafe { Self(_mm512_add_ps(self.0, b.0)) }
    }

    #[inline(always)]
    fn sub(self, b: Self) -> Self {
        // SAFETY: see `Lanes`: the machine has the instruction.
        unsafe { Self(_mm512_sub_ps(self.0, b.0)) }
    }

    #[inline(always)]
    fn mul(self, b: Self) -> Self {
        // SAFETY: see `Lanes`: the machine has the instruction.
        unsafe { Self(_mm512_mul_ps(self.0, b.0)) }
    }

    #[inline(always)]
    fn div(self, b: Self) -> Self {
        // SAFETY: see `Lanes`: the machine has the instruction.
        unsafe { Self(_mm512_div_ps(self.0, b.0)) }
    }

    #[inline(always)]
    fn fma(self, b: Self, c: Self) -> Self {
        // SAFETY: see `Lanes`: the machine has the instruction.
        unsafe { Self(_mm512_fmadd_ps(self.0, b.0, c.0)) }
    }

    #[inline(always)]
    fn min(self, b: Self) -> Self {
        // SAFETY: see `Lanes`: the machine has the instruction.
        unsafe { Self(_mm512_min_ps(self.0, b.0)) }
    }

    #[inline(always)]
    fn max(self, b: Self) -> Self {
        // SAFETY: see `Lanes`: the machine has the instruction.
        unsafe { Self(_mm512_max_ps(self.0, b.0)) }
    }

    #[inline(always)]
    fn abs(self) -> Self {
        // SAFETY: see `Lanes`: the machine has the instruction.
        unsafe { Self(_mm512_andnot_ps(_mm512_set1_ps(-0.0), self.0)) }
    }

    #[inline(always)]
    fn copysign(self, sign: Self) -> Self {
        // SAFETY: see `Lanes`: the machine has the instruction.
        unsafe {
            let bit = _mm512_set1_ps(-0.0);
            Self(_mm512_or_ps(_mm512_andnot_ps(bit, self.0), _mm512_and_ps(bit, sign.0)))
        }
    }

    #[inline(always)]
    fn if_less(self, b: Self, then: Self, or: Self) -> Self {
        // SAFETY: see `Lanes`: the machine has the instruction.
        unsafe { Self(_mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(self.0, b.0), or.0, then.0)) }
    }

    #[inline(always)]
    fn if_nan(self, then: Self, or: Self) -> Self {
        // SAFETY: see `Lanes`: the machine has the instruction.
        unsafe { Self(_mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_UNORD_Q>(self.0, self.0), or.0, then.0)) }
    }

    #[inline(always)]
    fn times_power(self, rounded: Self) -> Self {
        // SAFETY: see `Lanes`: the machine has the instruction.
        unsafe { Self(_mm512_scalef_ps(self.0, _mm512_sub_ps(rounded.0, _mm512_set1_ps(12_582_912.0)))) }
    }

    #[inline(always)]
    fn store_levels(self, out: &mut [i8; LANES]) {
        // SAFETY: see `Lanes`: the machine has the instruction.
        unsafe {
            _mm_storeu_si128(out.as_mut_ptr().cast(), _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(self.0)));
        }
    }

    #[inline(always)]
    fn transpose(rows: [Self; LANES]) -> [Self; LANES] {
        let mut x = rows;
        // SAFETY: see `Lanes`: the machine has the instructions.
        unsafe { transpose_sixteen(&mut x) };
        x
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        // SAFETY: see `Lanes`: the machine has the instructions.
        unsafe { avx2::sum_eight(_mm256_add_ps(_mm512_castps512_ps256(self.0), _mm512_extractf32x8_ps::<1>(self.0))) }
    }

    #[inline(always)]
    fn most(self) -> f32 {
        // SAFETY: see `Lanes`: the machine has the instructions.
        unsafe { avx2::most_eight(_mm256_max_ps(_mm512_castps512_ps256(self.0), _mm512_extractf32x8_ps::<1>(self.0))) }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn transpose_sixteen(x: &mut [Vector; 16]) {
    let mut pairs = [_mm512_setzero_ps(); 16];
    for i in (0..16).step_by(2) {
        let (a, b) = (x[i].0, x[i + 1].0);
        (pairs[i], pairs[i + 1]) = (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    }
    // Of each four rows: column c, c + 4, c + 8 and c + 12 in quarters.
    let mut fours = [_mm512_setzero_ps(); 16];
    for i in (0..16).step_by(4) {
        for half in 0..2 {
            let (a, b) = (pairs[i + half], pairs[i + 2 + half]);
            fours[i + 2 * half] = _mm512_shuffle_ps::<0b01_00_01_00>(a, b);
            fours[i + 2 * half + 1] = _mm512_shuffle_ps::<0b11_10_11_10>(a, b);
        }
    }
    for column in 0..4 {
        let (a, b, c, d) = (fours[column], fours[4 + column], fours[8 + column], fours[12 + column]);
        // Quarters 0 and 2 of each, and 1 and 3; then every second of those.
        let even = (_mm512_shuffle_f32x4::<0b10_00_10_00>(a, b), _mm512_shuffle_f32x4::<0b10_00_10_00>(c, d));
        let odd = (_mm512_shuffle_f32x4::<0b11_01_11_01>(a, b), _mm512_shuffle_f32x4::<0b11_01_11_01>(c, d));
        x[column].0 = _mm512_shuffle_f32x4::<0b10_00_10_00>(even.0, even.1);
        x[4 + column].0 = _mm512_shuffle_f32x4::<0b10_00_10_00>(odd.0, odd.1);
        x[8 + column].0 = _mm512_shuffle_f32x4::<0b11_01_11_01>(even.0, even.1);
        x[12 + column].0 = _mm512_shuffle_f32x4::<0b11_01_11_01>(odd.0, odd.1);
    }
}
