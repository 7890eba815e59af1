//! Resizes the part of a picture that survives the crop, in the picture's own mode, and converts it to RGB.
//!
//! The source is walked once, a few rows at a time: they are premultiplied in the columns in use if they
//! have alpha, resized horizontally into a band of rows, and the band is added to the sums of the output
//! rows that it touches. Memory is a band, the sums of one crop, and the weights, however elongated the picture.

use std::ops::Range;

use edgeclip_kernels::{
    Kernels,
    resize::{self, Band, Filter, ROWS, Taps},
};

use crate::picture::Samples;
use crate::{Error, Picture};

/// Sides of the whole resized picture, and the part of it that is wanted.
pub(crate) struct Target {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) columns: Range<usize>,
    pub(crate) rows: Range<usize>,
}

/// Rows that are resized horizontally before they are added up vertically: few enough for the cache.
pub(crate) const BAND: usize = 16;

/// Largest table of weights of one axis.
const MAX_TAPS_BYTES: usize = 256 << 20;

/// The crop, `[rows, columns, 3]` RGB.
pub(crate) fn resize_to_rgb(picture: &Picture, filter: Filter, target: &Target) -> Result<Vec<u8>, Error> {
    let resize = |samples: &[u8], channels, alpha| {
        if filter == Filter::Nearest {
            return Ok(pick(picture, samples, channels, target));
        }
        // Premultiplied only where the size changes at all; the reference copies a picture of the right size.
        let changes = (picture.width(), picture.height()) != (target.width, target.height);
        let alpha = if alpha && changes { Alpha::Last } else { Alpha::None };
        window::<u8>(picture, samples, channels, alpha, filter, target)
    };
    Ok(match picture.samples() {
        // Pillow resizes these by nearest neighbour, whatever the filter.
        Samples::Bilevel(x) => to_rgb(1, pick(picture, x, 1, target)),
        Samples::P(x, palette) => pick(picture, x, 1, target).iter().flat_map(|&i| palette[usize::from(i)]).collect(),
        Samples::L(x) => to_rgb(1, resize(x, 1, false)?),
        Samples::La(x) => resize(x, 2, true)?.as_chunks::<2>().0.iter().flat_map(|&[v, _]| [v; 3]).collect(),
        Samples::Rgb(x) => to_rgb(3, resize(x, 3, false)?),
        Samples::Rgba(x) => resize(x, 4, true)?.as_chunks::<4>().0.iter().flat_map(|&[r, g, b, _]| [r, g, b]).collect(),
        Samples::Cmyk(x) => to_rgb(4, resize(x, 4, false)?),
        Samples::I16(x) => {
            let grey = match filter {
                Filter::Nearest => pick(picture, x, 1, target),
                _ => window::<u16>(picture, x, 1, Alpha::None, filter, target)?,
            };
            // The reference clips 16-bit grey, it does not scale it: 256 and above are white.
            grey.iter().flat_map(|&v| [v.min(255) as u8; 3]).collect()
        }
    })
}

/// Samples of grey, colours or inks as RGB.
fn to_rgb(channels: usize, samples: Vec<u8>) -> Vec<u8> {
    match channels {
        1 => samples.iter().flat_map(|&v| [v; 3]).collect(),
        4 => samples.as_chunks::<4>().0.iter().flat_map(|&ink| cmyk_to_rgb(ink)).collect(),
        _ => samples,
    }
}

/// Nearest neighbour.
fn pick<T: Copy + Default>(picture: &Picture, samples: &[T], channels: usize, target: &Target) -> Vec<T> {
    let columns = resize::nearest(picture.width(), target.width, target.columns.clone());
    let rows = resize::nearest(picture.height(), target.height, target.rows.clone());
    let mut out = Vec::with_capacity(rows.len() * columns.len() * channels);
    for row in rows {
        for &column in &columns {
            match (row, column) {
                (Some(y), Some(x)) => out.extend_from_slice(&samples[(y * picture.width() + x) * channels..][..channels]),
                _ => out.extend(std::iter::repeat_n(T::default(), channels)),
            }
        }
    }
    out
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Alpha {
    None,
    /// The last channel is alpha; the others are premultiplied for the resize.
    Last,
}

/// A sample type with Pillow's arithmetic for it.
pub(crate) trait Sample: Copy + Default {
    type Weight: Copy;
    type Sum: Copy + Default;
    fn taps(taps: Taps<f64>) -> Taps<Self::Weight>;
    fn horizontal(kernels: &Kernels, band: Band<'_, Self>, channels: usize, taps: &Taps<Self::Weight>, out: &mut [Self]);
    fn vertical(kernels: &Kernels, band: Band<'_, Self>, weights: &[Self::Weight], sums: &mut [Self::Sum]);
    fn round(sums: &[Self::Sum], out: &mut [Self]);
    fn premultiply(pixels: &mut [Self], channels: usize);
    fn divide(pixels: &mut [Self], channels: usize);
}

impl Sample for u8 {
    type Weight = i32;
    type Sum = i32;
    fn taps(taps: Taps<f64>) -> Taps<i32> {
        taps.to_fixed()
    }
    fn horizontal(kernels: &Kernels, band: Band<'_, u8>, channels: usize, taps: &Taps<i32>, out: &mut [u8]) {
        resize::horizontal_u8(kernels, band, channels, taps, out);
    }
    fn vertical(kernels: &Kernels, band: Band<'_, u8>, weights: &[i32], sums: &mut [i32]) {
        resize::vertical_u8(kernels, band, weights, sums);
    }
    fn round(sums: &[i32], out: &mut [u8]) {
        resize::round_u8(sums, out);
    }
    fn premultiply(pixels: &mut [u8], channels: usize) {
        if channels == 4 {
            pixels.as_chunks_mut().0.iter_mut().for_each(|pixel| *pixel = premultiplied(*pixel));
            return;
        }
        for pixel in pixels.chunks_exact_mut(channels) {
            if let [colours @ .., alpha] = pixel {
                for colour in colours {
                    *colour = multiply_255(*colour, *alpha);
                }
            }
        }
    }
    fn divide(pixels: &mut [u8], channels: usize) {
        for pixel in pixels.chunks_exact_mut(channels) {
            if let [colours @ .., alpha @ 1..=254] = pixel {
                for colour in colours {
                    *colour = (255 * u32::from(*colour) / u32::from(*alpha)).min(255) as u8;
                }
            }
        }
    }
}

impl Sample for u16 {
    type Weight = f64;
    type Sum = f64;
    fn taps(taps: Taps<f64>) -> Taps<f64> {
        taps
    }
    fn horizontal(_: &Kernels, band: Band<'_, u16>, _: usize, taps: &Taps<f64>, out: &mut [u16]) {
        resize::horizontal_u16(band, taps, out);
    }
    fn vertical(_: &Kernels, band: Band<'_, u16>, weights: &[f64], sums: &mut [f64]) {
        resize::vertical_u16(band, weights, sums);
    }
    fn round(sums: &[f64], out: &mut [u16]) {
        resize::round_u16(sums, out);
    }
    // 16-bit pictures with alpha are read as 8-bit RGBA.
    fn premultiply(_: &mut [u16], _: usize) {}
    fn divide(_: &mut [u16], _: usize) {}
}

/// a * b / 255, rounded, by Pillow's `MULDIV255`.
fn multiply_255(a: u8, b: u8) -> u8 {
    let t = u32::from(a) * u32::from(b) + 128;
    (((t >> 8) + t) >> 8) as u8
}

/// [`multiply_255`] of three colours and the alpha behind them, two colours at a time in halves of a word: four times as fast.
fn premultiplied(pixel: [u8; 4]) -> [u8; 4] {
    const LOW: u32 = 0x00ff_00ff;
    let x = u32::from_le_bytes(pixel);
    let alpha = x >> 24;
    // At most 255 * 255 + 128 + 254 in a half: nothing is carried out of it.
    let multiply = |colours: u32| {
        let t = colours * alpha + 0x0080_0080;
        (((t >> 8) & LOW) + t) >> 8 & LOW
    };
    (multiply(x & LOW) | multiply((x >> 8) & 0xff) << 8 | alpha << 24).to_le_bytes()
}

/// Pillow's `cmyk2rgb`.
fn cmyk_to_rgb([c, m, y, k]: [u8; 4]) -> [u8; 3] {
    let light = 255 - k;
    [c, m, y].map(|ink| light - multiply_255(ink, light))
}

/// The window of one axis: weights, or none where the side stays as it is and the reference skips the pass.
fn axis<S: Sample>(
    (width, height): (usize, usize),
    input: usize,
    output: usize,
    window: &Range<usize>,
    filter: Filter,
) -> Result<Option<Taps<S::Weight>>, Error> {
    if input == output {
        return Ok(None);
    }
    let bytes = resize::taps_per_sample(input, output, filter).saturating_mul(window.len()).saturating_mul(size_of::<f64>());
    if bytes > MAX_TAPS_BYTES {
        return Err(Error::TooElongated { width, height });
    }
    Ok(Some(S::taps(Taps::new(input, output, filter, window.clone()))))
}

/// Resizes with a filter; `samples` are `[height, width, channels]`, the result `[rows, columns, channels]`.
fn window<S: Sample>(
    picture: &Picture,
    samples: &[S],
    channels: usize,
    alpha: Alpha,
    filter: Filter,
    target: &Target,
) -> Result<Vec<S>, Error> {
    let sides = (picture.width(), picture.height());
    let passes = Passes::<S>::new(sides, filter, target)?;
    if let Passes { horizontal: Some(horizontal), vertical: Some(vertical), vertical_first: true } = &passes {
        return Ok(window_vertical_first::<S>(Kernels::best(), sides.0, samples, channels, alpha, horizontal, vertical));
    }
    let stride = sides.0 * channels;
    let mut stream = Stream::new(sides.0, channels, alpha, passes, target);
    for start in stream.rows.clone().step_by(BAND) {
        stream.add(start, Band { samples: &samples[start * stride..], stride }, BAND.min(stream.rows.end - start));
    }
    Ok(stream.finish())
}

/// The weights of both passes.
struct Passes<S: Sample> {
    horizontal: Option<Taps<S::Weight>>,
    vertical: Option<Taps<S::Weight>>,
    /// Of two passes.
    vertical_first: bool,
}

impl<S: Sample> Passes<S> {
    fn new(sides: (usize, usize), filter: Filter, target: &Target) -> Result<Passes<S>, Error> {
        let horizontal = axis::<S>(sides, sides.0, target.width, &target.columns, filter)?;
        let vertical = axis::<S>(sides, sides.1, target.height, &target.rows, filter)?;
        let vertical_first = horizontal.is_some() && vertical.is_some() && vertical_first(sides, target);
        Ok(Passes { horizontal, vertical, vertical_first })
    }
}

/// The part of a picture that is wanted, from its rows as they come, from the top down.
pub(crate) struct Stream<S: Sample> {
    kernels: &'static Kernels,
    channels: usize,
    alpha: Alpha,
    passes: Passes<S>,
    /// The columns and rows that count.
    columns: Range<usize>,
    rows: Range<usize>,
    /// Samples of a row of the part.
    row_len: usize,
    out: Vec<S>,
    sums: Vec<S::Sum>,
    /// Premultiplied rows.
    scratch: Vec<S>,
    /// Rows that are resized horizontally.
    band: Vec<S>,
    /// The first output row that is not finished yet.
    first: usize,
}

impl Stream<u8> {
    /// Of opaque samples of 8 bits; none where the reference wants another order of passes, or none.
    pub(crate) fn of(sides: (usize, usize), channels: usize, filter: Filter, target: &Target) -> Option<Stream<u8>> {
        let passes =
            Passes::new(sides, filter, target).ok().filter(|passes| filter != Filter::Nearest && !passes.vertical_first)?;
        Some(Stream::new(sides.0, channels, Alpha::None, passes, target))
    }

    /// The part as RGB.
    pub(crate) fn finish_rgb(self) -> Vec<u8> {
        to_rgb(self.channels, self.finish())
    }
}

impl<S: Sample> Stream<S> {
    fn new(width: usize, channels: usize, alpha: Alpha, passes: Passes<S>, target: &Target) -> Stream<S> {
        let columns = passes.horizontal.as_ref().map_or(target.columns.clone(), Taps::input);
        let rows = passes.vertical.as_ref().map_or(target.rows.clone(), Taps::input);
        let row_len = target.columns.len() * channels;
        let len = target.rows.len() * row_len;
        Stream {
            kernels: Kernels::best(),
            channels,
            alpha,
            row_len,
            out: vec![S::default(); len],
            sums: vec![S::Sum::default(); if passes.vertical.is_some() { len } else { 0 }],
            scratch: vec![S::default(); if alpha == Alpha::Last { ROWS.min(rows.len()) * width * channels } else { 0 }],
            band: vec![S::default(); BAND * row_len],
            first: 0,
            columns,
            rows,
            passes,
        }
    }

    /// The columns and rows of the source that count.
    pub(crate) fn source(&self) -> (Range<usize>, Range<usize>) {
        (self.columns.clone(), self.rows.clone())
    }

    /// Adds `count` rows from `start` on, no more than [`BAND`], which come behind those before.
    pub(crate) fn add(&mut self, start: usize, source: Band<'_, S>, count: usize) {
        let (channels, row_len, stride) = (self.channels, self.row_len, source.stride);
        let used = self.columns.start * channels..self.columns.end * channels;
        let end = start + count;
        for (y, resized) in (0..count).step_by(ROWS).zip(self.band.chunks_mut(ROWS * row_len)) {
            let count = ROWS.min(count - y);
            let mut source = Band { samples: &source.samples[y * stride..], stride };
            if self.alpha == Alpha::Last {
                let rows = source.samples.chunks_exact(stride).zip(self.scratch.chunks_exact_mut(stride));
                for (row, premultiplied) in rows.take(count) {
                    premultiplied[used.clone()].copy_from_slice(&row[used.clone()]);
                    S::premultiply(&mut premultiplied[used.clone()], channels);
                }
                source.samples = &self.scratch;
            }
            let resized = &mut resized[..count * row_len];
            match &self.passes.horizontal {
                Some(taps) => S::horizontal(self.kernels, source, channels, taps, resized),
                None => {
                    for (row, resized) in source.samples.chunks_exact(stride).zip(resized.chunks_exact_mut(row_len)) {
                        resized.copy_from_slice(&row[used.clone()]);
                    }
                }
            }
        }
        let Some(taps) = &self.passes.vertical else {
            let first = (start - self.rows.start) * row_len;
            self.out[first..][..count * row_len].copy_from_slice(&self.band[..count * row_len]);
            return;
        };
        for (i, span) in taps.spans().iter().enumerate().skip(self.first) {
            if span.start >= end {
                break;
            }
            // The part of the band that this output row takes, and its weights.
            let (from, to) = (span.start.max(start), (span.start + span.len).min(end));
            if from >= to {
                continue;
            }
            let weights = &taps.weights(i)[from - span.start..to - span.start];
            let rows = Band { samples: &self.band[(from - start) * row_len..], stride: row_len };
            S::vertical(self.kernels, rows, weights, &mut self.sums[i * row_len..][..row_len]);
        }
        self.first += taps.spans()[self.first..].iter().take_while(|s| s.start + s.len <= end).count();
    }

    fn finish(mut self) -> Vec<S> {
        if self.passes.vertical.is_some() {
            S::round(&self.sums, &mut self.out);
        }
        if self.alpha == Alpha::Last {
            S::divide(&mut self.out, self.channels);
        }
        self.out
    }
}

/// Whether the reference runs the vertical pass first: Pillow 13.0.0 does where the height loses more than twice what the width loses
/// (python-pillow/Pillow pull request 9549; the rule was found by trying 700 sizes). Older Pillows never do.
fn vertical_first(sides: (usize, usize), target: &Target) -> bool {
    let loss = |from: usize, to: usize| from as i64 - to as i64;
    let (width, height) = (loss(sides.0, target.width), loss(sides.1, target.height));
    height > 0 && height > 2 * width
}

/// As [`window`], the vertical pass first: each output row is summed from the source at full width, then resized horizontally.
fn window_vertical_first<S: Sample>(
    kernels: &Kernels,
    width: usize,
    samples: &[S],
    channels: usize,
    alpha: Alpha,
    horizontal: &Taps<S::Weight>,
    vertical: &Taps<S::Weight>,
) -> Vec<S> {
    let stride = width * channels;
    let used = horizontal.input().start * channels..horizontal.input().end * channels;
    let row_len = horizontal.len() * channels;
    let mut out = vec![S::default(); vertical.len() * row_len];
    let mut sums = vec![S::Sum::default(); used.len()];
    let mut scratch = vec![S::default(); if alpha == Alpha::Last { used.len() } else { 0 }];
    let mut line = vec![S::default(); stride];
    for (i, (out, span)) in out.chunks_exact_mut(row_len).zip(vertical.spans()).enumerate() {
        let rows = &samples[span.start * stride + used.start..];
        sums.fill(S::Sum::default());
        if alpha == Alpha::Last {
            for (row, weight) in rows.chunks(stride).zip(vertical.weights(i)) {
                scratch.copy_from_slice(&row[..used.len()]);
                S::premultiply(&mut scratch, channels);
                S::vertical(kernels, Band { samples: &scratch, stride }, std::slice::from_ref(weight), &mut sums);
            }
        } else {
            S::vertical(kernels, Band { samples: rows, stride }, vertical.weights(i), &mut sums);
        }
        S::round(&sums, &mut line[used.clone()]);
        S::horizontal(kernels, Band { samples: &line, stride }, channels, horizontal, out);
    }
    if alpha == Alpha::Last {
        S::divide(&mut out, channels);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_premultiplied_one_by_one() {
        for alpha in 0..=255 {
            for colour in 0..=255u8 {
                let pixel = [colour, colour.wrapping_mul(3), 255 - colour, alpha];
                let [r, g, b, _] = pixel.map(|x| multiply_255(x, alpha));
                assert_eq!(premultiplied(pixel), [r, g, b, alpha]);
            }
        }
    }
}
