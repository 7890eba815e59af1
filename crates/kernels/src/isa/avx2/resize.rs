//! The resize of 8-bit samples.
//!
//! `vpmulld` takes two slots and ten cycles on Intel's machines, so a weight is split into words, `w = high * 2^16 + low`, both signed, and
//! `vpmaddwd` multiplies four samples of a channel with four of each: exact modulo 2^32, for every weight, in any order.

use std::{arch::x86_64::*, ptr};

use crate::isa::scalar;
use crate::resize::{Band, FRACTION_BITS, STEP, Taps};

/// Rows that share the split of a weight: as many sums as there are registers for.
const ROWS: usize = 4;

pub(in crate::isa) fn horizontal_u8(band: Band<'_, u8>, channels: usize, taps: &Taps<i32>, out: &mut [u8]) {
    let horizontal = match channels {
        1 => horizontal_u8_of::<1>,
        2 => horizontal_u8_of::<2>,
        3 => horizontal_u8_of::<3>,
        _ => horizontal_u8_of::<4>,
    };
    // SAFETY: it is in the tables of sets with these instructions only.
    unsafe { horizontal(band, taps, out) };
}

#[target_feature(enable = "avx2,fma")]
fn horizontal_u8_of<const CHANNELS: usize>(band: Band<'_, u8>, taps: &Taps<i32>, out: &mut [u8]) {
    let row_len = taps.len() * CHANNELS;
    for (i, out) in out.chunks_mut(ROWS * row_len).enumerate() {
        let rows = Band { samples: band.from_row(i * ROWS), ..band };
        match out.len() / row_len {
            1 => rows_of::<CHANNELS, 1>(rows, taps, out),
            2 => rows_of::<CHANNELS, 2>(rows, taps, out),
            3 => rows_of::<CHANNELS, 3>(rows, taps, out),
            _ => rows_of::<CHANNELS, 4>(rows, taps, out),
        }
    }
}

#[target_feature(enable = "avx2,fma")]
fn rows_of<const CHANNELS: usize, const M: usize>(rows: Band<'_, u8>, taps: &Taps<i32>, out: &mut [u8]) {
    let row_len = taps.len() * CHANNELS;
    for (i, span) in taps.spans().iter().enumerate() {
        let mut at: [&[u8]; M] = [&[]; M];
        for r in 0..M {
            at[r] = &rows.from_row(r)[span.start * CHANNELS..];
        }
        assert!(at[M - 1].len() >= span.len * CHANNELS, "a row ends before its taps do");
        let mut sums = [Sums { low: _mm256_setzero_si256(), high: _mm256_setzero_si256() }; M];
        let mut steps = taps.steps(i).iter().enumerate();
        // A step reads 16 bytes from its fifth pixel on. The last row is the one that ends first.
        let whole = (at[M - 1].len() + 4 * CHANNELS).saturating_sub(16) / (STEP * CHANNELS);
        for (s, weights) in steps.by_ref().take(whole) {
            let weights = Weights::split(weights);
            for r in 0..M {
                // SAFETY: of the last row as many bytes are there, of the others more.
                let x = unsafe { quads::<CHANNELS>(at[r].as_ptr().add(s * STEP * CHANNELS)) };
                sums[r].add(x, &weights);
            }
        }
        for (s, weights) in steps {
            let weights = Weights::split(weights);
            for r in 0..M {
                let end = end(&at[r][s * STEP * CHANNELS..]);
                // SAFETY: 4 * CHANNELS + 16 is at most 32.
                let x = unsafe { quads::<CHANNELS>(end.as_ptr()) };
                sums[r].add(x, &weights);
            }
        }
        let mut bytes = [0u8; 16];
        let mut words = [_mm_setzero_si128(); ROWS];
        for r in 0..M {
            words[r] = sums[r].rounded();
        }
        let packed = _mm_packus_epi16(_mm_packs_epi32(words[0], words[1]), _mm_packs_epi32(words[2], words[3]));
        // SAFETY: sixteen bytes.
        unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), packed) };
        for r in 0..M {
            out[r * row_len + i * CHANNELS..][..CHANNELS].copy_from_slice(&bytes[4 * r..][..CHANNELS]);
        }
    }
}

/// The end of a row as a step's bytes. What lies behind the taps meets weights of zero.
#[cold]
fn end(rest: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    let len = rest.len().min(32);
    bytes[..len].copy_from_slice(&rest[..len]);
    bytes
}

/// Eight pixels, four in each half: in every quarter of it the four bytes of one channel.
///
/// # Safety
/// `pixels` is good for reads of `4 * CHANNELS + 16` bytes.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn quads<const CHANNELS: usize>(pixels: *const u8) -> __m256i {
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
#[target_feature(enable = "avx2,fma")]
fn load<T: bytemuck::Pod>(x: &T) -> __m256i {
    const { assert!(size_of::<T>() == 32) };
    // SAFETY: 32 bytes.
    unsafe { _mm256_loadu_si256(ptr::from_ref(x).cast()) }
}

/// The weights of eight pixels, four in each half: in all quarters of it the words of the first and the third, or of the second and the fourth.
struct Weights {
    low: [__m256i; 2],
    high: [__m256i; 2],
}

impl Weights {
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn split(weights: &[i32; STEP]) -> Self {
        const fn order(first: i8) -> [i8; 32] {
            let mut order = [0; 32];
            let mut i = 0;
            while i < 32 {
                let word = [first, first + 1, first + 8, first + 9];
                order[i] = word[i % 4];
                i += 1;
            }
            order
        }
        let w = load(weights);
        let carried = _mm256_add_epi32(w, _mm256_set1_epi32(0x8000));
        Self {
            low: [_mm256_shuffle_epi8(w, load(&const { order(0) })), _mm256_shuffle_epi8(w, load(&const { order(4) }))],
            high: [
                _mm256_shuffle_epi8(carried, load(&const { order(2) })),
                _mm256_shuffle_epi8(carried, load(&const { order(6) })),
            ],
        }
    }
}

/// The sums of one output sample: in each quarter of a half one channel.
#[derive(Clone, Copy)]
struct Sums {
    low: __m256i,
    high: __m256i,
}

impl Sums {
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn add(&mut self, x: __m256i, weights: &Weights) {
        let x = [_mm256_and_si256(x, _mm256_set1_epi16(0xff)), _mm256_srli_epi16::<8>(x)];
        for i in 0..2 {
            self.low = _mm256_add_epi32(self.low, _mm256_madd_epi16(x[i], weights.low[i]));
            self.high = _mm256_add_epi32(self.high, _mm256_madd_epi16(x[i], weights.high[i]));
        }
    }

    /// As words that need only be clamped.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn rounded(self) -> __m128i {
        let sum = _mm256_add_epi32(self.low, _mm256_slli_epi32::<16>(self.high));
        let sum = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
        _mm_srai_epi32::<{ FRACTION_BITS as i32 }>(_mm_add_epi32(sum, _mm_set1_epi32(1 << (FRACTION_BITS - 1))))
    }
}

pub(in crate::isa) fn vertical_u8(band: Band<'_, u8>, weights: &[i32], sums: &mut [i32]) {
    // SAFETY: it is in the tables of sets with these instructions only.
    unsafe { vertical(band, weights, sums) };
}

#[target_feature(enable = "avx2,fma")]
fn vertical(band: Band<'_, u8>, weights: &[i32], sums: &mut [i32]) {
    let (wide, rest) = sums.as_chunks_mut::<32>();
    for (i, sums) in wide.iter_mut().enumerate() {
        columns::<4>(band, i * 32, weights, sums.as_chunks_mut().0.first_chunk_mut().expect("four of eight"));
    }
    let at = wide.len() * 32;
    let (eights, rest) = rest.as_chunks_mut::<8>();
    for (i, sums) in eights.iter_mut().enumerate() {
        columns::<1>(band, at + i * 8, weights, std::array::from_mut(sums));
    }
    if !rest.is_empty() && !weights.is_empty() {
        scalar::vertical_u8(Band { samples: &band.samples[at + eights.len() * 8..], ..band }, weights, rest);
    }
}

/// `N` eights of columns from `first` on, whose sums stay in registers.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn columns<const N: usize>(band: Band<'_, u8>, first: usize, weights: &[i32], sums: &mut [[i32; 8]; N]) {
    let mut acc = [_mm256_setzero_si256(); N];
    for i in 0..N {
        acc[i] = load(&sums[i]);
    }
    for (y, &weight) in weights.iter().enumerate() {
        let (row, weight) = (band.from_row(y)[first..].as_chunks::<8>().0, _mm256_set1_epi32(weight));
        let row: &[[u8; 8]; N] = row.first_chunk().expect("a band of whole rows");
        for i in 0..N {
            // SAFETY: eight bytes.
            let x = _mm256_cvtepu8_epi32(unsafe { _mm_loadl_epi64(row[i].as_ptr().cast()) });
            acc[i] = _mm256_add_epi32(acc[i], _mm256_mullo_epi32(x, weight));
        }
    }
    for i in 0..N {
        // SAFETY: eight sums.
        unsafe { _mm256_storeu_si256(sums[i].as_mut_ptr().cast(), acc[i]) };
    }
}
