//! The resize of 8-bit samples.
//!
//! `vpmulld` is two operations for eight products on Intel's machines, `vpmaddwd` is one for sixteen. So a weight is split in words,
//! `w = high * 2^16 + low`, both signed: exact modulo 2^32, whatever the weight.

use std::arch::x86_64::*;

use crate::{
    isa::resize::{self, Columns, Sums},
    resize::{Band, FRACTION_BITS, ROWS, STEP, Taps},
};

pub(in crate::isa) fn horizontal_u8(band: Band<'_, u8>, channels: usize, taps: &Taps<i32>, out: &mut [u8]) {
    #[target_feature(enable = "avx2,fma")]
    fn inner(band: Band<'_, u8>, channels: usize, taps: &Taps<i32>, out: &mut [u8]) {
        resize::horizontal_u8::<Words>(band, channels, taps, out);
    }
    // SAFETY: it is in the tables of sets with these instructions only.
    unsafe { inner(band, channels, taps, out) };
}

pub(in crate::isa) fn vertical_u8(band: Band<'_, u8>, weights: &[i32], sums: &mut [i32]) {
    #[target_feature(enable = "avx2,fma")]
    fn inner(band: Band<'_, u8>, weights: &[i32], sums: &mut [i32]) {
        resize::vertical_u8::<Eight>(band, weights, sums);
    }
    // SAFETY: it is in the tables of sets with these instructions only.
    unsafe { inner(band, weights, sums) };
}

/// The sums of the products with the low and with the high words; in each quarter of a half one channel, or anywhere if there is only one.
#[derive(Clone, Copy)]
struct Words {
    low: __m256i,
    high: __m256i,
}

impl Sums for Words {
    /// Low and high words, those that [`quads`] makes even before the odd ones; of one channel the first are all.
    type Weights = [[__m256i; 2]; 2];

    // SAFETY: all bits may be zero.
    const ZERO: Self = unsafe { std::mem::zeroed() };

    #[inline(always)]
    fn weights<const CHANNELS: usize>(weights: &[i32; STEP]) -> Self::Weights {
        /// For each quarter of a half the words at these bytes.
        const fn words(bytes: [i8; 2]) -> [i8; 32] {
            let mut order = [0; 32];
            let mut i = 0;
            while i < 32 {
                order[i] = bytes[i / 2 % 2] + i as i8 % 2;
                i += 1;
            }
            order
        }
        /// The words at this byte of all weights, from the first quarter of a half on.
        const fn all(byte: i8) -> [i8; 32] {
            let mut order = [-1; 32];
            let mut i = 0;
            while i < 16 {
                order[i / 8 * 16 + i % 8] = i as i8 % 8 / 2 * 4 + byte + i as i8 % 2;
                i += 1;
            }
            order
        }
        // SAFETY: see `Sums`: the machine has the instructions.
        unsafe {
            let low = load(weights);
            let high = _mm256_add_epi32(low, _mm256_set1_epi32(0x8000));
            if CHANNELS == 1 {
                let join = |x| _mm256_permute4x64_epi64::<0b11_01_10_00>(x);
                let low = join(_mm256_shuffle_epi8(low, load(&const { all(0) })));
                let high = join(_mm256_shuffle_epi8(high, load(&const { all(2) })));
                return [[low; 2], [high; 2]];
            }
            [
                [
                    _mm256_shuffle_epi8(low, load(&const { words([0, 8]) })),
                    _mm256_shuffle_epi8(low, load(&const { words([4, 12]) })),
                ],
                [
                    _mm256_shuffle_epi8(high, load(&const { words([2, 10]) })),
                    _mm256_shuffle_epi8(high, load(&const { words([6, 14]) })),
                ],
            ]
        }
    }

    #[inline(always)]
    unsafe fn add<const CHANNELS: usize>(self, pixels: *const u8, [low, high]: &Self::Weights) -> Self {
        // SAFETY: the caller's, and see `Sums`: the machine has the instructions.
        unsafe {
            if CHANNELS == 1 {
                let x = _mm256_zextsi128_si256(_mm_cvtepu8_epi16(_mm_loadl_epi64(pixels.cast())));
                return Self {
                    low: _mm256_add_epi32(self.low, _mm256_madd_epi16(x, low[0])),
                    high: _mm256_add_epi32(self.high, _mm256_madd_epi16(x, high[0])),
                };
            }
            let x = quads::<CHANNELS>(pixels);
            let (even, odd) = (_mm256_and_si256(x, _mm256_set1_epi16(0xff)), _mm256_srli_epi16::<8>(x));
            let add = |sum, w: &[__m256i; 2]| {
                _mm256_add_epi32(_mm256_add_epi32(sum, _mm256_madd_epi16(even, w[0])), _mm256_madd_epi16(odd, w[1]))
            };
            Self { low: add(self.low, low), high: add(self.high, high) }
        }
    }

    #[inline(always)]
    fn samples<const CHANNELS: usize>(rows: [Self; ROWS]) -> [[u8; 4]; ROWS] {
        // SAFETY: see `Sums`: the machine has the instructions.
        unsafe {
            let mut sums = [_mm256_setzero_si256(); ROWS];
            for r in 0..ROWS {
                sums[r] = _mm256_add_epi32(rows[r].low, _mm256_slli_epi32::<16>(rows[r].high));
            }
            samples::<CHANNELS>(sums)
        }
    }
}

/// Eight pixels, four in each half: in every quarter of it the four bytes of one channel.
///
/// # Safety
/// `pixels` is good for reads of `4 * CHANNELS + 16` bytes.
#[inline]
#[target_feature(enable = "avx2")]
pub(in crate::isa) unsafe fn quads<const CHANNELS: usize>(pixels: *const u8) -> __m256i {
    // SAFETY: the caller's.
    let x = unsafe { _mm256_loadu2_m128i(pixels.add(4 * CHANNELS).cast(), pixels.cast()) };
    let order = const {
        let mut order = [-1i8; 32];
        let mut i = 0;
        while i < 8 * CHANNELS {
            let (half, channel, pixel) = (i / (4 * CHANNELS), i / 4 % CHANNELS, i % 4);
            order[half * 16 + channel * 4 + pixel] = (pixel * CHANNELS + channel) as i8;
            i += 1;
        }
        order
    };
    _mm256_shuffle_epi8(x, load(&order))
}

#[inline]
#[target_feature(enable = "avx2")]
pub(in crate::isa) fn load<T: bytemuck::Pod>(x: &T) -> __m256i {
    const { assert!(size_of::<T>() == 32) };
    // SAFETY: 32 bytes.
    unsafe { _mm256_loadu_si256(std::ptr::from_ref(x).cast()) }
}

/// The samples that are the sums of both halves, or of one channel of all quarters.
#[inline]
#[target_feature(enable = "avx2")]
pub(in crate::isa) fn samples<const CHANNELS: usize>(rows: [__m256i; ROWS]) -> [[u8; 4]; ROWS] {
    let mut words = [_mm_setzero_si128(); ROWS];
    for r in 0..ROWS {
        let mut sum = _mm_add_epi32(_mm256_castsi256_si128(rows[r]), _mm256_extracti128_si256::<1>(rows[r]));
        if CHANNELS == 1 {
            sum = _mm_add_epi32(sum, _mm_shuffle_epi32::<0b00_00_11_10>(sum));
            sum = _mm_add_epi32(sum, _mm_shuffle_epi32::<0b00_00_00_01>(sum));
        }
        let half = _mm_set1_epi32(1 << (FRACTION_BITS - 1));
        words[r] = _mm_srai_epi32::<{ FRACTION_BITS as i32 }>(_mm_add_epi32(sum, half));
    }
    let bytes = _mm_packus_epi16(_mm_packs_epi32(words[0], words[1]), _mm_packs_epi32(words[2], words[3]));
    let mut samples = [[0; 4]; ROWS];
    // SAFETY: sixteen bytes.
    unsafe { _mm_storeu_si128(samples.as_mut_ptr().cast(), bytes) };
    samples
}

/// Here `vpmulld` is as good: to join the samples of two rows takes as many instructions as it saves.
#[derive(Clone, Copy)]
struct Eight(__m256i);

impl Columns for Eight {
    #[inline(always)]
    fn load(sums: &[i32; 8]) -> Self {
        // SAFETY: see `Sums`: the machine has the instruction.
        unsafe { Self(load(sums)) }
    }

    #[inline(always)]
    fn add(self, samples: &[u8; 8], weight: i32) -> Self {
        // SAFETY: see `Sums`: the machine has the instructions; eight bytes are there.
        unsafe {
            let x = _mm256_cvtepu8_epi32(_mm_loadl_epi64(samples.as_ptr().cast()));
            Self(_mm256_add_epi32(self.0, _mm256_mullo_epi32(x, _mm256_set1_epi32(weight))))
        }
    }

    #[inline(always)]
    fn store(self, sums: &mut [i32; 8]) {
        // SAFETY: see `Sums`: the machine has the instruction; there is room for eight.
        unsafe { _mm256_storeu_si256(sums.as_mut_ptr().cast(), self.0) };
    }
}
