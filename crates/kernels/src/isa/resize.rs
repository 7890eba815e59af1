//! The resize of 8-bit samples, written once for what multiplies eight of them: [`Sums`] horizontally and [`Columns`] vertically.
//!
//! Sums are exact modulo 2^32, as the plain ones are, so that the order of additions is free.

use super::scalar;
use crate::resize::{Band, ROWS, STEP, Taps};

/// The sums of an output sample of up to four channels.
///
/// As with [`super::lanes::Lanes`], the implementations are only sound on a machine that has their instructions.
pub(super) trait Sums: Copy {
    /// What is made of eight weights, once for all rows.
    type Weights: Copy;

    const ZERO: Self;

    fn weights<const CHANNELS: usize>(weights: &[i32; STEP]) -> Self::Weights;

    /// Adds eight pixels times their weights.
    ///
    /// # Safety
    /// `pixels` is good for reads of `4 * CHANNELS + 16` bytes.
    unsafe fn add<const CHANNELS: usize>(self, pixels: *const u8, weights: &Self::Weights) -> Self;

    /// Rounded and clamped, the samples of each row from its first byte on.
    fn samples<const CHANNELS: usize>(rows: [Self; ROWS]) -> [[u8; 4]; ROWS];
}

/// The sums of eight columns.
pub(super) trait Columns: Copy {
    fn load(sums: &[i32; 8]) -> Self;
    fn add(self, samples: &[u8; 8], weight: i32) -> Self;
    fn store(self, sums: &mut [i32; 8]);
}

#[inline(always)]
pub(super) fn horizontal_u8<S: Sums>(band: Band<'_, u8>, channels: usize, taps: &Taps<i32>, out: &mut [u8]) {
    match channels {
        1 => groups::<S, 1>(band, taps, out),
        2 => groups::<S, 2>(band, taps, out),
        3 => groups::<S, 3>(band, taps, out),
        _ => groups::<S, 4>(band, taps, out),
    }
}

#[inline(always)]
fn groups<S: Sums, const CHANNELS: usize>(band: Band<'_, u8>, taps: &Taps<i32>, out: &mut [u8]) {
    let row_len = taps.len() * CHANNELS;
    for (i, out) in out.chunks_mut(ROWS * row_len).enumerate() {
        let rows = Band { samples: band.at_row(i * ROWS), ..band };
        match out.len() / row_len {
            1 => group::<S, CHANNELS, 1>(rows, taps, out),
            2 => group::<S, CHANNELS, 2>(rows, taps, out),
            3 => group::<S, CHANNELS, 3>(rows, taps, out),
            _ => group::<S, CHANNELS, ROWS>(rows, taps, out),
        }
    }
}

#[inline(always)]
fn group<S: Sums, const CHANNELS: usize, const M: usize>(rows: Band<'_, u8>, taps: &Taps<i32>, out: &mut [u8]) {
    let row_len = taps.len() * CHANNELS;
    for (i, span) in taps.spans().iter().enumerate() {
        let mut at: [&[u8]; M] = [&[]; M];
        for r in 0..M {
            at[r] = &rows.at_row(r)[span.start * CHANNELS..];
        }
        // The last row is the one that ends first.
        let len = at[M - 1].len();
        assert!(len >= span.len * CHANNELS, "a row ends before its taps do");
        // A step reads sixteen bytes from its first pixel on, and from its fifth.
        let whole = (len + 4 * CHANNELS).saturating_sub(16) / (STEP * CHANNELS);
        let mut sums = [S::ZERO; ROWS];
        let mut steps = taps.steps(i).iter().enumerate();
        for (s, weights) in steps.by_ref().take(whole) {
            let mut pixels = [std::ptr::null(); M];
            for r in 0..M {
                pixels[r] = at[r].as_ptr().wrapping_add(s * STEP * CHANNELS);
            }
            // SAFETY: `whole` steps have their bytes in the last row, and so they have in the others.
            unsafe { add::<S, CHANNELS, M>(&mut sums, pixels, weights) };
        }
        for (s, weights) in steps {
            let (mut ends, mut pixels) = ([[0; 32]; M], [std::ptr::null(); M]);
            for r in 0..M {
                ends[r] = end(&at[r][s * STEP * CHANNELS..]);
                pixels[r] = ends[r].as_ptr();
            }
            // SAFETY: of at most four channels.
            unsafe { add::<S, CHANNELS, M>(&mut sums, pixels, weights) };
        }
        let samples = S::samples::<CHANNELS>(sums);
        for r in 0..M {
            out[r * row_len + i * CHANNELS..][..CHANNELS].copy_from_slice(&samples[r][..CHANNELS]);
        }
    }
}

/// Adds a step of each row. Written out, since a loop over rows may stay one and keep the sums in memory.
///
/// # Safety
/// Each of `pixels` is good for reads of `4 * CHANNELS + 16` bytes.
#[inline(always)]
unsafe fn add<S: Sums, const CHANNELS: usize, const M: usize>(
    sums: &mut [S; ROWS],
    pixels: [*const u8; M],
    weights: &[i32; STEP],
) {
    const { assert!(ROWS == 4) };
    let weights = S::weights::<CHANNELS>(weights);
    // SAFETY: the caller's.
    unsafe {
        sums[0] = sums[0].add::<CHANNELS>(pixels[0], &weights);
        if M > 1 {
            sums[1] = sums[1].add::<CHANNELS>(pixels[1], &weights);
        }
        if M > 2 {
            sums[2] = sums[2].add::<CHANNELS>(pixels[2], &weights);
        }
        if M > 3 {
            sums[3] = sums[3].add::<CHANNELS>(pixels[3], &weights);
        }
    }
}

/// The end of a row as the bytes of a step. What lies behind the taps meets weights of zero.
#[cold]
fn end(rest: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    let len = rest.len().min(bytes.len());
    bytes[..len].copy_from_slice(&rest[..len]);
    bytes
}

#[inline(always)]
pub(super) fn vertical_u8<C: Columns>(band: Band<'_, u8>, weights: &[i32], sums: &mut [i32]) {
    if weights.is_empty() {
        return;
    }
    let (eights, rest) = sums.as_chunks_mut::<8>();
    let (wide, narrow) = eights.as_chunks_mut::<4>();
    let mut first = 0;
    for sums in wide {
        columns::<C, 4>(band, first, weights, sums);
        first += 32;
    }
    for sums in narrow {
        columns::<C, 1>(band, first, weights, std::array::from_mut(sums));
        first += 8;
    }
    if !rest.is_empty() {
        scalar::vertical_u8(Band { samples: &band.samples[first..], ..band }, weights, rest);
    }
}

/// `N` eights of columns from `first` on, whose sums stay in registers.
#[inline(always)]
fn columns<C: Columns, const N: usize>(band: Band<'_, u8>, first: usize, weights: &[i32], sums: &mut [[i32; 8]; N]) {
    let mut acc = [C::load(&sums[0]); N];
    for i in 1..N {
        acc[i] = C::load(&sums[i]);
    }
    for (y, &weight) in weights.iter().enumerate() {
        let row: &[[u8; 8]; N] = band.at_row(y)[first..].as_chunks().0.first_chunk().expect("a band of whole rows");
        for i in 0..N {
            acc[i] = acc[i].add(&row[i], weight);
        }
    }
    for i in 0..N {
        acc[i].store(&mut sums[i]);
    }
}
