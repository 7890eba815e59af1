//! JPEG's arithmetic: a block in each half of a vector, whose instructions on words stay within halves anyway.
//!
//! Arrays are written out: what `map` calls has no features of its own, and instructions in it would stay calls.

use std::arch::x86_64::*;

use crate::{
    isa::jpeg::{self, Samples, Words},
    jpeg::Block,
};

pub(in crate::isa) fn transform(side: usize, blocks: &[Block], table: &[u16; 64], out: &mut [u8], stride: usize) {
    #[target_feature(enable = "avx2,fma")]
    fn inner(side: usize, blocks: &[Block], table: &[u16; 64], out: &mut [u8], stride: usize) {
        jpeg::transform::<Two>(side, blocks, table, out, stride);
    }
    // SAFETY: it is in the tables of sets with these instructions only.
    unsafe { inner(side, blocks, table, out, stride) };
}

pub(in crate::isa) fn double(row: &[u8], out: &mut [u8]) {
    #[target_feature(enable = "avx2,fma")]
    fn inner(row: &[u8], out: &mut [u8]) {
        jpeg::double::<Rows>(row, out);
    }
    // SAFETY: it is in the tables of sets with these instructions only.
    unsafe { inner(row, out) };
}

pub(in crate::isa) fn double_both(near: &[u8], far: &[u8], out: &mut [u8]) {
    #[target_feature(enable = "avx2,fma")]
    fn inner(near: &[u8], far: &[u8], out: &mut [u8]) {
        jpeg::double_both::<Rows>(near, far, out);
    }
    // SAFETY: it is in the tables of sets with these instructions only.
    unsafe { inner(near, far, out) };
}

pub(in crate::isa) fn rgb(yuv: [&[u8]; 3], out: &mut [u8]) {
    #[target_feature(enable = "avx2,fma")]
    fn inner(yuv: [&[u8]; 3], out: &mut [u8]) {
        jpeg::rgb::<Rows>(yuv, out);
    }
    // SAFETY: it is in the tables of sets with these instructions only.
    unsafe { inner(yuv, out) };
}

/// Two constants for the words that `unpack` puts side by side.
const fn pair(a: i16, b: i16) -> i32 {
    (a as u16 as i32) | (b as i32) << 16
}

/// Rows of two blocks.
#[derive(Clone, Copy)]
struct Two(__m256i);

impl Words for Two {
    /// Of the lower and of the upper half of each half.
    type Sums = [__m256i; 2];

    const BLOCKS: usize = 2;

    #[inline(always)]
    fn load(blocks: &[Block], row: usize) -> Self {
        let (low, high) = (&blocks[0].as_chunks::<8>().0[row], &blocks[1].as_chunks::<8>().0[row]);
        // SAFETY: see `Words`: the machine has the instruction; each has sixteen bytes.
        unsafe { Self(_mm256_loadu2_m128i(high.as_ptr().cast(), low.as_ptr().cast())) }
    }

    #[inline(always)]
    fn table(table: &[u16; 64], row: usize) -> Self {
        let row = &table.as_chunks::<8>().0[row];
        // SAFETY: see `Words`: the machine has the instructions; there are sixteen bytes.
        unsafe { Self(_mm256_broadcastsi128_si256(_mm_loadu_si128(row.as_ptr().cast()))) }
    }

    #[inline(always)]
    fn is_zero(self) -> bool {
        // SAFETY: see `Words`: the machine has the instruction.
        unsafe { _mm256_testz_si256(self.0, self.0) == 1 }
    }

    #[inline(always)]
    fn or(self, other: Self) -> Self {
        // SAFETY: see `Words`: the machine has the instruction.
        unsafe { Self(_mm256_or_si256(self.0, other.0)) }
    }

    #[inline(always)]
    fn but_first(self) -> Self {
        // SAFETY: see `Words`: the machine has the instruction.
        unsafe { Self(_mm256_srli_si256::<2>(self.0)) }
    }

    #[inline(always)]
    fn mul(self, by: Self) -> Self {
        // SAFETY: see `Words`: the machine has the instruction.
        unsafe { Self(_mm256_mullo_epi16(self.0, by.0)) }
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        // SAFETY: see `Words`: the machine has the instruction.
        unsafe { Self(_mm256_add_epi16(self.0, other.0)) }
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        // SAFETY: see `Words`: the machine has the instruction.
        unsafe { Self(_mm256_sub_epi16(self.0, other.0)) }
    }

    #[inline(always)]
    fn wide<const BITS: i32>(self) -> Self::Sums {
        // SAFETY: see `Words`: the machine has the instructions.
        unsafe {
            let zero = _mm256_setzero_si256();
            // Above the zero a word is shifted by sixteen.
            let back = _mm_cvtsi32_si128(16 - BITS);
            [
                _mm256_sra_epi32(_mm256_unpacklo_epi16(zero, self.0), back),
                _mm256_sra_epi32(_mm256_unpackhi_epi16(zero, self.0), back),
            ]
        }
    }

    #[inline(always)]
    fn dot<const A: i16, const B: i16>(self, other: Self) -> Self::Sums {
        // SAFETY: see `Words`: the machine has the instructions.
        unsafe {
            let by = _mm256_set1_epi32(const { pair(A, B) });
            [
                _mm256_madd_epi16(_mm256_unpacklo_epi16(self.0, other.0), by),
                _mm256_madd_epi16(_mm256_unpackhi_epi16(self.0, other.0), by),
            ]
        }
    }

    #[inline(always)]
    fn add(a: Self::Sums, b: Self::Sums) -> Self::Sums {
        // SAFETY: see `Words`: the machine has the instruction.
        unsafe { [_mm256_add_epi32(a[0], b[0]), _mm256_add_epi32(a[1], b[1])] }
    }

    #[inline(always)]
    fn sub(a: Self::Sums, b: Self::Sums) -> Self::Sums {
        // SAFETY: see `Words`: the machine has the instruction.
        unsafe { [_mm256_sub_epi32(a[0], b[0]), _mm256_sub_epi32(a[1], b[1])] }
    }

    #[inline(always)]
    fn narrow<const BITS: i32>(sums: Self::Sums) -> Self {
        // SAFETY: see `Words`: the machine has the instructions.
        unsafe {
            let half = _mm256_set1_epi32(1 << (BITS - 1));
            Self(_mm256_packs_epi32(
                _mm256_srai_epi32::<BITS>(_mm256_add_epi32(sums[0], half)),
                _mm256_srai_epi32::<BITS>(_mm256_add_epi32(sums[1], half)),
            ))
        }
    }

    #[inline(always)]
    fn transpose(x: [Self; 8]) -> [Self; 8] {
        // SAFETY: see `Words`: the machine has the instructions.
        unsafe {
            // Words, pairs and fours of them that belong together, of the lower columns and of the upper.
            let mut low = [x[0].0; 4];
            let mut high = low;
            for i in 0..4 {
                low[i] = _mm256_unpacklo_epi16(x[2 * i].0, x[2 * i + 1].0);
                high[i] = _mm256_unpackhi_epi16(x[2 * i].0, x[2 * i + 1].0);
            }
            let mut out = x;
            for (half, words) in [low, high].into_iter().enumerate() {
                let upper = [_mm256_unpacklo_epi32(words[0], words[1]), _mm256_unpackhi_epi32(words[0], words[1])];
                let lower = [_mm256_unpacklo_epi32(words[2], words[3]), _mm256_unpackhi_epi32(words[2], words[3])];
                for i in 0..2 {
                    out[4 * half + 2 * i] = Self(_mm256_unpacklo_epi64(upper[i], lower[i]));
                    out[4 * half + 2 * i + 1] = Self(_mm256_unpackhi_epi64(upper[i], lower[i]));
                }
            }
            out
        }
    }

    #[inline(always)]
    unsafe fn store<const N: usize>(rows: [Self; 2], out: *mut u8, stride: usize) {
        // SAFETY: the caller's, and see `Words`: the machine has the instructions.
        unsafe {
            let bytes = _mm256_xor_si256(_mm256_packs_epi16(rows[0].0, rows[1].0), _mm256_set1_epi8(-128));
            // Both blocks of the first row, then those of the second.
            let bytes = _mm256_permute4x64_epi64::<0b11_01_10_00>(bytes);
            let (first, second) = (_mm256_castsi256_si128(bytes), _mm256_extracti128_si256::<1>(bytes));
            for (row, out) in [(first, out), (second, out.add(stride))] {
                match N {
                    8 => _mm_storeu_si128(out.cast(), row),
                    4 => _mm_storel_epi64(out.cast(), _mm_shuffle_epi32::<0b11_01_10_00>(row)),
                    _ => {
                        let row = _mm_shufflelo_epi16::<0b11_01_10_00>(_mm_shuffle_epi32::<0b11_01_10_00>(row));
                        out.cast::<i32>().write_unaligned(_mm_cvtsi128_si32(row));
                    }
                }
            }
        }
    }
}

struct Rows;

/// Sixteen bytes as words.
///
/// # Safety
/// They are there.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn words(row: *const u8) -> __m256i {
    // SAFETY: the caller's.
    _mm256_cvtepu8_epi16(unsafe { _mm_loadu_si128(row.cast()) })
}

/// `3 * near + far`.
#[inline]
#[target_feature(enable = "avx2")]
fn weighted(near: __m256i, far: __m256i) -> __m256i {
    _mm256_add_epi16(_mm256_add_epi16(near, far), _mm256_slli_epi16::<1>(near))
}

/// Even and odd columns of sixteen values and their neighbours.
#[inline]
#[target_feature(enable = "avx2")]
fn columns<const SHIFT: i32>([before, this, after]: [__m256i; 3], even: i16, odd: i16) -> __m256i {
    let even = _mm256_add_epi16(weighted(this, before), _mm256_set1_epi16(even));
    let odd = _mm256_add_epi16(weighted(this, after), _mm256_set1_epi16(odd));
    let odd = _mm256_slli_epi16::<8>(_mm256_srli_epi16::<SHIFT>(odd));
    _mm256_or_si256(_mm256_srli_epi16::<SHIFT>(even), odd)
}

impl Samples for Rows {
    const DOUBLED: usize = 16;
    const PIXELS: usize = 32;

    #[inline(always)]
    unsafe fn double(row: *const u8, out: *mut u8) {
        // SAFETY: the caller's, and see `Samples`: the machine has the instructions.
        unsafe {
            let values = [words(row.sub(1)), words(row), words(row.add(1))];
            _mm256_storeu_si256(out.cast(), columns::<2>(values, 1, 2));
        }
    }

    #[inline(always)]
    unsafe fn double_both(near: *const u8, far: *const u8, out: *mut u8) {
        // SAFETY: the caller's, and see `Samples`: the machine has the instructions.
        unsafe {
            let values = [
                weighted(words(near.sub(1)), words(far.sub(1))),
                weighted(words(near), words(far)),
                weighted(words(near.add(1)), words(far.add(1))),
            ];
            _mm256_storeu_si256(out.cast(), columns::<4>(values, 8, 7));
        }
    }

    #[inline(always)]
    unsafe fn rgb([y, cb, cr]: [*const u8; 3], out: *mut u8) {
        // SAFETY: the caller's, and see `Samples`: the machine has the instructions.
        unsafe {
            let (zero, centre) = (_mm256_setzero_si256(), _mm256_set1_epi16(128));
            let y = _mm256_loadu_si256(y.cast());
            let cb = _mm256_loadu_si256(cb.cast());
            let cr = _mm256_loadu_si256(cr.cast());
            let low = pixels(
                _mm256_unpacklo_epi8(y, zero),
                _mm256_sub_epi16(_mm256_unpacklo_epi8(cb, zero), centre),
                _mm256_sub_epi16(_mm256_unpacklo_epi8(cr, zero), centre),
            );
            let high = pixels(
                _mm256_unpackhi_epi8(y, zero),
                _mm256_sub_epi16(_mm256_unpackhi_epi8(cb, zero), centre),
                _mm256_sub_epi16(_mm256_unpackhi_epi8(cr, zero), centre),
            );
            let red = _mm256_packus_epi16(low[0], high[0]);
            let green = _mm256_packus_epi16(low[1], high[1]);
            let blue = _mm256_packus_epi16(low[2], high[2]);
            // The sixteen pixels of each half in three parts.
            for part in 0..3 {
                let order = &INTERLEAVED[part];
                let bytes = _mm256_or_si256(
                    _mm256_or_si256(_mm256_shuffle_epi8(red, both(&order[0])), _mm256_shuffle_epi8(green, both(&order[1]))),
                    _mm256_shuffle_epi8(blue, both(&order[2])),
                );
                _mm_storeu_si128(out.add(16 * part).cast(), _mm256_castsi256_si128(bytes));
                _mm_storeu_si128(out.add(48 + 16 * part).cast(), _mm256_extracti128_si256::<1>(bytes));
            }
        }
    }
}

/// Where the bytes of a third of sixteen pixels are among those of each channel.
const INTERLEAVED: [[[i8; 16]; 3]; 3] = {
    let mut order = [[[-1; 16]; 3]; 3];
    let mut i = 0;
    while i < 48 {
        order[i / 16][i % 3][i % 16] = (i / 3) as i8;
        i += 1;
    }
    order
};

/// Sixteen bytes in both halves.
#[inline]
#[target_feature(enable = "avx2")]
fn both(bytes: &[i8; 16]) -> __m256i {
    // SAFETY: sixteen bytes.
    _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
}

/// Red, green and blue of sixteen pixels before they are clamped, from chroma centred at 0.
///
/// Factors of more than a half are those less or more a whole one: 1.402 = 1 + 0.402, 1.772 = 2 - 0.228, -0.71414 = -1 + 0.28586. A product of twice the
/// chroma whose upper word is rounded and halved is the reference's, rounded once.
#[inline]
#[target_feature(enable = "avx2")]
fn pixels(y: __m256i, cb: __m256i, cr: __m256i) -> [__m256i; 3] {
    let (cb2, cr2) = (_mm256_add_epi16(cb, cb), _mm256_add_epi16(cr, cr));
    let red = _mm256_add_epi16(_mm256_add_epi16(y, cr), product(cr2, 26_345));
    let blue = _mm256_add_epi16(_mm256_add_epi16(y, cb2), product(cb2, -14_942));
    let (by, half) = (_mm256_set1_epi32(const { pair(-22_554, 18_734) }), _mm256_set1_epi32(1 << 15));
    let low = _mm256_add_epi32(_mm256_madd_epi16(_mm256_unpacklo_epi16(cb, cr), by), half);
    let high = _mm256_add_epi32(_mm256_madd_epi16(_mm256_unpackhi_epi16(cb, cr), by), half);
    let green = _mm256_packs_epi32(_mm256_srai_epi32::<16>(low), _mm256_srai_epi32::<16>(high));
    let green = _mm256_add_epi16(_mm256_sub_epi16(y, cr), green);
    [red, green, blue]
}

/// Half the product of a factor of 16 fractional bits, rounded.
#[inline]
#[target_feature(enable = "avx2")]
fn product(twice: __m256i, by: i16) -> __m256i {
    let upper = _mm256_mulhi_epi16(twice, _mm256_set1_epi16(by));
    _mm256_srai_epi16::<1>(_mm256_add_epi16(upper, _mm256_set1_epi16(1)))
}
