//! The row kernels of Pillow's resize, to the last bit.
//!
//! A picture is resized in two passes, horizontal first, and rounded to its own sample type after
//! each. Every output sample is a weighted sum over a span of input samples; the spans and weights
//! of one axis are a [`Taps`] table, made for a window of the output only, so that a crop costs
//! what it keeps. 8-bit samples use weights with 22 fractional bits, 16-bit samples use `f64`.
//!
//! Reference: Pillow 13.0.0, `libImaging/Resample.c` (the filters, the spans, the rounding) and
//! `libImaging/Geometry.c` (nearest neighbour).
//!
//! Nothing here allocates per row, and nothing knows pictures, modes or crops.

use std::ops::Range;

use crate::Kernels;

/// Fractional bits of an 8-bit weight: 32 bits less 8 for the sample and 2 for the sign and overshoot.
pub const FRACTION_BITS: u32 = 32 - 8 - 2;

/// Pillow's resampling filters, by Pillow's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Filter {
    /// The one sample under the centre of the output sample.
    Nearest,
    /// Mean over the area of the output sample.
    Box,
    /// Triangle, support 1.
    Bilinear,
    /// Hamming-windowed sinc, support 1.
    Hamming,
    /// Cubic convolution with a = -0.5 (Keys 1981), support 2.
    Bicubic,
    /// Lanczos-windowed sinc, support 3.
    Lanczos,
}

impl Filter {
    /// Every filter.
    pub const ALL: [Filter; 6] =
        [Filter::Nearest, Filter::Box, Filter::Bilinear, Filter::Hamming, Filter::Bicubic, Filter::Lanczos];

    /// Half the filter's width in output samples; 0 for [`Filter::Nearest`], which has no weights.
    fn support(self) -> f64 {
        match self {
            Filter::Nearest => 0.0,
            Filter::Box => 0.5,
            Filter::Bilinear | Filter::Hamming => 1.0,
            Filter::Bicubic => 2.0,
            Filter::Lanczos => 3.0,
        }
    }

    fn value(self, x: f64) -> f64 {
        let sinc = |x: f64| if x == 0.0 { 1.0 } else { (x * std::f64::consts::PI).sin() / (x * std::f64::consts::PI) };
        match self {
            // Half open at the left, so that a sample on the border of two output samples counts once.
            Filter::Nearest | Filter::Box => f64::from(u8::from(x > -0.5 && x <= 0.5)),
            Filter::Bilinear => (1.0 - x.abs()).max(0.0),
            Filter::Hamming => {
                let x = x.abs();
                if x == 0.0 {
                    return 1.0;
                }
                if x >= 1.0 {
                    return 0.0;
                }
                let x = x * std::f64::consts::PI;
                // The reference writes the window's constants as single precision literals.
                x.sin() / x * (f64::from(0.54f32) + f64::from(0.46f32) * x.cos())
            }
            Filter::Bicubic => {
                const A: f64 = -0.5;
                let x = x.abs();
                if x < 1.0 {
                    ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
                } else if x < 2.0 {
                    (((x - 5.0) * x + 8.0) * x - 4.0) * A
                } else {
                    0.0
                }
            }
            Filter::Lanczos => {
                if (-3.0..3.0).contains(&x) {
                    sinc(x) * sinc(x / 3.0)
                } else {
                    0.0
                }
            }
        }
    }
}

/// The input samples that one output sample is made of: `start .. start + len`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First input sample.
    pub start: usize,
    /// How many; at least 1.
    pub len: usize,
}

/// Spans and weights of a window of one axis: weights `[window, stride]`, row `i` valid up to `spans[i].len` and zero after it.
#[derive(Debug, Clone, PartialEq)]
pub struct Taps<W> {
    spans: Vec<Span>,
    weights: Vec<W>,
    stride: usize,
}

/// Rows that the kernels of the horizontal pass take together: one by one they cost about twice as much.
pub const ROWS: usize = 4;

/// Weights that the kernels take at a time; rows of weights are filled up to whole steps with zeros.
pub(crate) const STEP: usize = 8;

/// Weights that are stored per output sample, for [`Taps::new`] with the same arguments: as many as it needs at most, in whole steps.
///
/// Callers with untrusted sizes multiply this by the window's length and cap it before they allocate.
pub fn taps_per_sample(input: usize, output: usize, filter: Filter) -> usize {
    let scale = (input as f64 / output as f64).max(1.0);
    ((filter.support() * scale).ceil() as usize * 2 + 1).next_multiple_of(STEP)
}

impl Taps<f64> {
    /// The taps of the samples `window` of an axis that is resized from `input` to `output` samples.
    ///
    /// # Panics
    /// If `input` or `output` is 0, the window leaves `0..output`, or the filter is [`Filter::Nearest`]
    /// (see [`nearest`]).
    pub fn new(input: usize, output: usize, filter: Filter, window: Range<usize>) -> Taps<f64> {
        assert!(input > 0 && output > 0, "an axis of no samples");
        assert!(window.start <= window.end && window.end <= output, "window {window:?} of {output} samples");
        assert!(filter != Filter::Nearest, "nearest neighbour has no weights");

        // The reference passes the box in single precision.
        let scale = f64::from(input as f32) / output as f64;
        let filter_scale = scale.max(1.0);
        let support = filter.support() * filter_scale;
        let stride = taps_per_sample(input, output, filter);
        let inverse = 1.0 / filter_scale;

        let mut spans = Vec::with_capacity(window.len());
        let mut weights = vec![0.0; window.len() * stride];
        for (i, x) in window.enumerate() {
            let center = (x as f64 + 0.5) * scale;
            // `as usize` truncates and sends negatives to 0, which is the reference's clamp.
            let start = ((center - support + 0.5) as usize).min(input - 1);
            let end = ((center + support + 0.5) as usize).clamp(start + 1, input);
            let row = &mut weights[i * stride..][..end - start];
            let mut total = 0.0;
            for (k, weight) in row.iter_mut().enumerate() {
                *weight = filter.value(((k + start) as f64 - center + 0.5) * inverse);
                total += *weight;
            }
            if total != 0.0 {
                for weight in row {
                    *weight /= total;
                }
            }
            spans.push(Span { start, len: end - start });
        }
        Taps { spans, weights, stride }
    }

    /// The same taps with [`FRACTION_BITS`] fractional bits, halves rounded away from zero.
    pub fn to_fixed(&self) -> Taps<i32> {
        let one = f64::from(1u32 << FRACTION_BITS);
        let fixed = |w: &f64| if *w < 0.0 { (-0.5 + w * one) as i32 } else { (0.5 + w * one) as i32 };
        Taps { spans: self.spans.clone(), weights: self.weights.iter().map(fixed).collect(), stride: self.stride }
    }
}

#[cfg(test)]
impl Taps<i32> {
    /// The same spans with other weights.
    pub(crate) fn replaced(mut self, mut weight: impl FnMut() -> i32) -> Self {
        for (row, span) in self.weights.chunks_exact_mut(self.stride).zip(&self.spans) {
            row[..span.len].fill_with(&mut weight);
        }
        self
    }
}

impl<W> Taps<W> {
    /// Output samples in the window.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether the window is empty.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The span of each output sample; starts and ends never decrease.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The weights of output sample `i`, as many as its span is long.
    pub fn weights(&self, i: usize) -> &[W] {
        &self.weights[i * self.stride..][..self.spans[i].len]
    }

    /// The weights of output sample `i` in steps, the last one filled up with zeros.
    #[inline]
    pub(crate) fn steps(&self, i: usize) -> &[[W; STEP]] {
        let (steps, _) = self.weights[i * self.stride..][..self.stride].as_chunks();
        &steps[..self.spans[i].len.div_ceil(STEP)]
    }

    /// The input samples that the window touches.
    pub fn input(&self) -> Range<usize> {
        match (self.spans.first(), self.spans.last()) {
            (Some(first), Some(last)) => first.start..last.start + last.len,
            _ => 0..0,
        }
    }
}

/// Rows of a picture's samples, as they lie in it.
#[derive(Clone, Copy, Debug)]
pub struct Band<'a, T> {
    /// From the beginning of the first row on; of the last row those samples must be there that are used.
    pub samples: &'a [T],
    /// From the beginning of a row to that of the next.
    pub stride: usize,
}

impl<'a, T> Band<'a, T> {
    /// What is there from the beginning of row `y` on.
    #[inline]
    pub(crate) fn at_row(self, y: usize) -> &'a [T] {
        &self.samples[y * self.stride..]
    }
}

/// The horizontal pass for rows of 8-bit samples.
///
/// `band`: rows `[width, channels]`, as many as `out` has; `out`: `[rows, taps.len(), channels]`. See [`ROWS`].
///
/// # Panics
/// If `channels` is not 1 to 4, `out` is not whole rows, or the band is shorter than the taps need.
pub fn horizontal_u8(kernels: &Kernels, band: Band<'_, u8>, channels: usize, taps: &Taps<i32>, out: &mut [u8]) {
    assert!((1..=4).contains(&channels), "{channels} channels");
    if taps.is_empty() || out.is_empty() {
        return;
    }
    assert_eq!(out.len() % (taps.len() * channels), 0, "whole rows of {} samples", taps.len());
    (kernels.horizontal_u8)(band, channels, taps, out);
}

/// Adds a band of rows to the sums of one output row of the vertical pass, 8-bit samples.
///
/// `band`: as many rows as `weights`, of `sums.len()` samples, in the order of the picture; start the sums at 0 and finish them with
/// [`round_u8`]. A band at a time keeps the memory of a very tall picture bounded.
///
/// # Panics
/// If `band` is shorter than `weights` and `sums` say.
pub fn vertical_u8(kernels: &Kernels, band: Band<'_, u8>, weights: &[i32], sums: &mut [i32]) {
    (kernels.vertical_u8)(band, weights, sums);
}

/// Rounds and clamps the sums of [`vertical_u8`].
///
/// # Panics
/// If the slices differ in length.
pub fn round_u8(sums: &[i32], out: &mut [u8]) {
    assert_eq!(sums.len(), out.len(), "a sample for every sum");
    for (sample, &sum) in out.iter_mut().zip(sums) {
        *sample = round_fixed(sum);
    }
}

/// Half up, then clamped to a byte.
pub(crate) fn round_fixed(sum: i32) -> u8 {
    (sum.wrapping_add(1 << (FRACTION_BITS - 1)) >> FRACTION_BITS).clamp(0, 255) as u8
}

/// The horizontal pass for rows of 16-bit samples of one channel; see [`horizontal_u8`].
///
/// # Panics
/// If the band is shorter than the taps need.
pub fn horizontal_u16(band: Band<'_, u16>, taps: &Taps<f64>, out: &mut [u16]) {
    if taps.is_empty() {
        return;
    }
    for (y, out) in out.chunks_exact_mut(taps.len()).enumerate() {
        let row = band.at_row(y);
        for (i, (sample, span)) in out.iter_mut().zip(&taps.spans).enumerate() {
            let mut sum = 0.0;
            for (&x, &weight) in row[span.start..span.start + span.len].iter().zip(taps.weights(i)) {
                sum += f64::from(x) * weight;
            }
            *sample = round_f64(sum);
        }
    }
}

/// [`vertical_u8`] for 16-bit samples; rows are added in order, so that the sums round as the reference's.
///
/// # Panics
/// If `band` is shorter than `weights` and `sums` say.
pub fn vertical_u16(band: Band<'_, u16>, weights: &[f64], sums: &mut [f64]) {
    for (y, &weight) in weights.iter().enumerate() {
        let row = &band.at_row(y)[..sums.len()];
        for (sum, &sample) in sums.iter_mut().zip(row) {
            *sum += f64::from(sample) * weight;
        }
    }
}

/// Rounds and clamps the sums of [`vertical_u16`].
///
/// # Panics
/// If the slices differ in length.
pub fn round_u16(sums: &[f64], out: &mut [u16]) {
    assert_eq!(sums.len(), out.len(), "a sample for every sum");
    for (sample, &sum) in out.iter_mut().zip(sums) {
        *sample = round_f64(sum);
    }
}

/// Half away from zero, clamped to 16 bits.
fn round_f64(sum: f64) -> u16 {
    // From f64, `as` truncates and saturates.
    if sum >= 0.0 { (sum + 0.5) as u16 } else { 0 }
}

/// Which input sample each sample of `window` takes, by nearest neighbour, when an axis is resized from
/// `input` to `output` samples; `None` where the running sum has left the input (the reference writes 0).
///
/// The reference adds the step once a sample in double precision, and so does this, from the first
/// sample on: a product would round differently.
///
/// # Panics
/// If `output` is 0.
pub fn nearest(input: usize, output: usize, window: Range<usize>) -> Vec<Option<usize>> {
    assert!(output > 0, "an axis of no samples");
    let step = f64::from(input as f32) / output as f64;
    let mut position = step * 0.5;
    for _ in 0..window.start {
        position += step;
    }
    window
        .map(|_| {
            let index = position as usize;
            position += step;
            (index < input).then_some(index)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;

    /// The plain kernels; `isa::tests` holds the others against them.
    fn plain() -> &'static Kernels {
        Kernels::new(Isa::Scalar).unwrap()
    }

    /// Rows that lie one behind the other.
    fn band<T>(samples: &[T], stride: usize) -> Band<'_, T> {
        Band { samples, stride }
    }

    /// Weights of every filter for 7 -> 3 samples, as `Image.resize` of Pillow 13.0.0 shows them on seven pictures with
    /// one white sample each: `(row of 7 inputs) -> 3 outputs`, 8 bits.
    #[test]
    fn impulses_are_pillows() {
        for (filter, expected) in PILLOW_IMPULSES {
            let taps = Taps::new(7, 3, filter, 0..3).to_fixed();
            for (i, row) in expected.iter().enumerate() {
                let mut source = [0; 7];
                source[i] = 255;
                let mut out = [0xa5; 3];
                horizontal_u8(plain(), band(&source, 7), 1, &taps, &mut out);
                assert_eq!(out, *row, "{filter:?}, sample {i}");
            }
        }
    }

    /// A window is that part of the whole table.
    #[test]
    fn windows_are_parts() {
        for (input, output) in [(1, 5), (5, 1), (17, 9), (9, 17), (100, 100), (60_000, 3)] {
            for filter in Filter::ALL.into_iter().filter(|f| *f != Filter::Nearest) {
                let whole = Taps::new(input, output, filter, 0..output);
                for start in 0..output {
                    let part = Taps::new(input, output, filter, start..output);
                    assert_eq!(part.spans(), &whole.spans()[start..]);
                    assert_eq!(part.weights(0), whole.weights(start));
                }
                assert!(whole.spans().iter().all(|s| s.len >= 1 && s.start + s.len <= input));
                assert!(whole.spans().is_sorted_by_key(|s| s.start) && whole.spans().is_sorted_by_key(|s| s.start + s.len));
                assert_eq!(whole.input().end, input);
            }
        }
    }

    /// Weights add up to one, so that flat areas stay flat: within half a step a weight.
    #[test]
    fn weights_add_up() {
        for (input, output) in [(1, 7), (1000, 7), (7, 1000), (224, 225)] {
            for filter in Filter::ALL.into_iter().filter(|f| *f != Filter::Nearest) {
                let taps = Taps::new(input, output, filter, 0..output).to_fixed();
                for i in 0..output {
                    let weights = taps.weights(i);
                    let sum: i64 = weights.iter().map(|&w| i64::from(w)).sum();
                    assert!(
                        (sum - (1 << FRACTION_BITS)).unsigned_abs() as usize <= weights.len(),
                        "{filter:?} {input} -> {output}"
                    );
                }
            }
        }
    }

    /// Bands of any height give the same sums, channels do not mix, and sums round half up.
    #[test]
    fn bands_and_channels() {
        let source: Vec<u8> = (0..40u32).map(|i| (i * 37 % 251) as u8).collect();
        let weights = [1 << 20, 3 << 20, -(1 << 20), 1 << 20, 0];
        let mut whole = [0; 8];
        vertical_u8(plain(), band(&source, 8), &weights, &mut whole);
        let mut parts = [0; 8];
        vertical_u8(plain(), band(&source[..16], 8), &weights[..2], &mut parts);
        vertical_u8(plain(), band(&source[16..], 8), &weights[2..], &mut parts);
        assert_eq!(whole, parts);

        let taps = Taps::new(10, 4, Filter::Bicubic, 1..4).to_fixed();
        for channels in 1..=4 {
            let mut mixed = vec![0xa5; 3 * channels];
            horizontal_u8(plain(), band(&source, 10 * channels), channels, &taps, &mut mixed);
            for c in 0..channels {
                let plane: Vec<u8> = source[..10 * channels].iter().skip(c).step_by(channels).copied().collect();
                let mut single = [0xa5; 3];
                horizontal_u8(plain(), band(&plane, 10), 1, &taps, &mut single);
                assert_eq!(single, [mixed[c], mixed[channels + c], mixed[2 * channels + c]]);
            }
        }

        let half = 1 << (FRACTION_BITS - 1);
        let mut out = [0xa5; 5];
        round_u8(&[half - 1, half, -5, i32::MAX - half, 255 << FRACTION_BITS], &mut out);
        assert_eq!(out, [0, 1, 0, 255, 255]);
    }

    /// Pillow clamps the two bytes of a 16-bit sample on their own.
    #[test]
    fn words_overshoot_as_pillows() {
        let mut out = [0xa5a5; 6];
        round_u16(&[0.49, 0.5, -3.0, 65_535.4, 65_536.0, 65_541.0], &mut out);
        assert_eq!(out, [0, 1, 0, 65_535, 65_535, 65_535]);
        let mut sums = [0.0; 2];
        vertical_u16(band(&[1, 2, 3, 4], 2), &[0.5, 2.0], &mut sums);
        assert_eq!(sums, [6.5, 9.0]);
        let taps = Taps::new(2, 1, Filter::Box, 0..1);
        horizontal_u16(band(&[1000, 2001], 2), &taps, &mut out[..1]);
        assert_eq!(out[0], 1501);
    }

    /// The step is added up; where it rounds otherwise than the product (8 -> 7, sample 3), Pillow has the sum's.
    #[test]
    fn nearest_adds_up() {
        let plain =
            |input, output| nearest(input, output, 0..output).into_iter().map(|i| i.map_or(-1, |i| i as i64)).collect::<Vec<_>>();
        assert_eq!(plain(3, 3), [0, 1, 2]);
        assert_eq!(plain(8, 7), PILLOW_8_TO_7);
        assert_eq!(plain(2, 5), [0, 0, 1, 1, 1]);
        assert_eq!(nearest(60_000, 7, 3..5), nearest(60_000, 7, 0..7)[3..5]);
    }

    const PILLOW_IMPULSES: [(Filter, [[u8; 3]; 7]); 5] = [
        (Filter::Box, [[128, 0, 0], [128, 0, 0], [0, 85, 0], [0, 85, 0], [0, 85, 0], [0, 0, 128], [0, 0, 128]]),
        (Filter::Bilinear, [[91, 0, 0], [109, 15, 0], [55, 60, 0], [0, 105, 0], [0, 60, 55], [0, 15, 109], [0, 0, 91]]),
        (Filter::Hamming, [[98, 0, 0], [125, 3, 0], [32, 60, 0], [0, 129, 0], [0, 60, 32], [0, 3, 125], [0, 0, 98]]),
        (Filter::Bicubic, [[98, 0, 0], [112, 12, 0], [54, 70, 0], [0, 107, 0], [0, 70, 54], [0, 12, 112], [0, 0, 98]]),
        (Filter::Lanczos, [[100, 0, 4], [113, 15, 0], [60, 74, 0], [0, 106, 0], [0, 74, 60], [0, 15, 113], [4, 0, 100]]),
    ];
    const PILLOW_8_TO_7: [i64; 7] = [0, 1, 2, 3, 5, 6, 7];
}
