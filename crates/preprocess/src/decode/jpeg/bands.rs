//! Coefficients to pixels, a row of MCUs at a time, so that samples stay in the cache: the inverse transform, libjpeg's "fancy" upsampling (a triangle
//! filter, `jdsample.c`) where a component has half the columns, half the rows or both, plain repetition elsewhere, and its colour conversion.

use std::ops::Range;

use edgeclip_kernels::{
    Kernels,
    jpeg::{self, Block},
    resize::Band,
};

use super::{ColourSpace, Component, Frame};
use crate::picture::Samples;
use crate::resample::{BAND, Stream};

/// Where rows of pixels go.
enum Output {
    /// All of them: `[height, width, channels]`.
    Picture(Vec<u8>),
    /// The part that is wanted, from some rows at a time.
    Crop { stream: Box<Stream<u8>>, rows: Vec<u8>, held: usize },
}

/// What became of them.
pub(super) enum Made {
    /// In Pillow's mode.
    Picture(Samples),
    /// RGB.
    Crop(Vec<u8>),
}

/// A picture that is finished from the top down.
pub(super) struct Bands {
    kernels: &'static Kernels,
    space: ColourSpace,
    parts: Vec<Part>,
    width: usize,
    height: usize,
    /// Rows of pixels that a row of MCUs makes.
    rows: usize,
    /// Whether the last of them needs the samples of the next.
    context: bool,
    /// Rows of pixels that are done.
    done: usize,
    /// Columns and rows that are wanted.
    wanted: (Range<usize>, Range<usize>),
    out: Output,
    /// Of inks, a row of colours.
    rgb: Vec<u8>,
}

/// One component's part of a band.
struct Part {
    /// Samples a block each way; rows of blocks in a band.
    side: usize,
    v: usize,
    blocks_wide: usize,
    /// Samples that the picture needs, without padding.
    width: usize,
    height: usize,
    /// Columns and rows of the picture for each sample.
    ratio: (usize, usize),
    /// Whether it is upsampled by a filter.
    fancy: bool,
    table: [u16; 64],
    /// The last row of the band before, then this band's: `[1 + v * side, blocks_wide * side]`.
    samples: Vec<u8>,
    /// A row of it that is upsampled.
    row: Vec<u8>,
}

impl Bands {
    /// Of a frame whose components have their tables, and whole sampling ratios; all of the picture, or what a stream makes of it.
    pub(super) fn new(frame: &Frame, space: ColourSpace, stream: Option<Stream<u8>>) -> Bands {
        let parts: Vec<Part> = frame.components.iter().map(|component| Part::new(component, frame)).collect();
        let len = frame.width * parts.len();
        let wanted = stream.as_ref().map_or((0..frame.width, 0..frame.height), Stream::source);
        let out = match stream {
            Some(stream) => Output::Crop { stream: Box::new(stream), rows: vec![0; BAND * len], held: 0 },
            None => Output::Picture(vec![0; frame.height * len]),
        };
        Bands {
            kernels: Kernels::best(),
            space,
            width: frame.width,
            height: frame.height,
            rows: frame.v_max * frame.side,
            context: parts.iter().any(|part| part.fancy && part.ratio.1 == 2),
            done: 0,
            wanted,
            out,
            rgb: if space == ColourSpace::Ycck { vec![0; 3 * frame.width] } else { Vec::new() },
            parts,
        }
    }

    /// Adds the blocks of MCU row `row` of each component, `[v, blocks_wide]`; rows come in order.
    pub(super) fn push<'a>(&mut self, row: usize, blocks: impl Iterator<Item = &'a [Block]>) {
        let made = (row + 1) * self.rows;
        // Rows that are wanted, or the last beside them.
        if made >= self.wanted.1.start && row * self.rows <= self.wanted.1.end {
            for (part, blocks) in self.parts.iter_mut().zip(blocks) {
                part.transform(self.kernels, blocks);
            }
        }
        let end = if made >= self.height { self.height } else { made - usize::from(self.context) };
        while self.done < end {
            if self.wanted.1.contains(&self.done) {
                for part in &mut self.parts {
                    part.upsample(self.kernels, self.done, row);
                }
                self.pixels(row);
            }
            self.done += 1;
        }
        for part in &mut self.parts {
            let stride = part.stride();
            part.samples.copy_within(part.v * part.side * stride.., 0);
        }
    }

    /// The row of pixels that is next, of upsampled rows.
    fn pixels(&mut self, row: usize) {
        let (columns, channels) = (self.wanted.0.clone(), self.parts.len());
        let len = self.width * channels;
        let out = match &mut self.out {
            Output::Picture(out) => &mut out[self.done * len..][..len],
            Output::Crop { rows, held, .. } => &mut rows[*held * len..][..len],
        };
        let out = &mut out[columns.start * channels..columns.end * channels];
        let mut rows = [[].as_slice(); 4];
        for (slot, part) in rows.iter_mut().zip(&self.parts) {
            *slot = &part.upsampled(self.done, row)[columns.clone()];
        }
        let [a, b, c, d] = rows;
        match self.space {
            ColourSpace::Grey => out.copy_from_slice(a),
            ColourSpace::YCbCr => jpeg::rgb(self.kernels, [a, b, c], out),
            ColourSpace::Rgb => {
                for (x, pixel) in out.as_chunks_mut::<3>().0.iter_mut().enumerate() {
                    *pixel = [a[x], b[x], c[x]];
                }
            }
            // libjpeg makes ink of YCC by way of RGB, and Pillow inverts all ink, since Adobe stores it inverted.
            ColourSpace::Ycck => {
                let rgb = &mut self.rgb[..3 * columns.len()];
                jpeg::rgb(self.kernels, [a, b, c], rgb);
                for (x, (pixel, &[r, g, b])) in out.as_chunks_mut::<4>().0.iter_mut().zip(rgb.as_chunks().0).enumerate() {
                    *pixel = [r, g, b, 255 - d[x]];
                }
            }
            ColourSpace::Cmyk => {
                for (x, pixel) in out.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                    *pixel = [a[x], b[x], c[x], d[x]].map(|ink| 255 - ink);
                }
            }
        }
        if let Output::Crop { stream, rows, held } = &mut self.out {
            *held += 1;
            if *held == BAND || self.done + 1 == self.wanted.1.end {
                stream.add(self.done + 1 - *held, Band { samples: rows, stride: len }, *held);
                *held = 0;
            }
        }
    }

    pub(super) fn finish(self) -> Made {
        match (self.out, self.parts.len()) {
            (Output::Crop { stream, .. }, _) => Made::Crop(stream.finish_rgb()),
            (Output::Picture(out), 1) => Made::Picture(Samples::L(out)),
            (Output::Picture(out), 3) => Made::Picture(Samples::Rgb(out)),
            (Output::Picture(out), _) => Made::Picture(Samples::Cmyk(out)),
        }
    }
}

impl Part {
    fn new(component: &Component, frame: &Frame) -> Part {
        let &Component { h, v, side, blocks_wide, width, height, table, .. } = component;
        let ratio = (frame.h_max * frame.side / (h * side), frame.v_max * frame.side / (v * side));
        // libjpeg repeats what is too narrow for a filter, and where a block becomes one sample.
        let fancy = frame.side > 1 && (ratio == (1, 2) || matches!(ratio, (2, 1 | 2)) && width > 2);
        Part {
            side,
            v,
            blocks_wide,
            width,
            height,
            ratio,
            fancy,
            table: table.unwrap_or([0; 64]),
            samples: vec![0; (1 + v * side) * blocks_wide * side],
            row: vec![0; if ratio == (1, 1) { 0 } else { width * ratio.0 }],
        }
    }

    fn stride(&self) -> usize {
        self.blocks_wide * self.side
    }

    fn transform(&mut self, kernels: &Kernels, blocks: &[Block]) {
        let stride = self.stride();
        for (y, blocks) in blocks.chunks_exact(self.blocks_wide).enumerate() {
            let out = &mut self.samples[(1 + y * self.side) * stride..];
            jpeg::transform(kernels, self.side, blocks, &self.table, out, stride);
        }
    }

    /// Row `i` of the component, of the band of MCU row `row` or the last before it.
    fn sample_row(&self, i: usize, row: usize) -> &[u8] {
        &self.samples[(i + 1 - row * self.v * self.side) * self.stride()..][..self.width]
    }

    /// Row `y` of the picture, which [`upsample`](Self::upsample) made.
    fn upsampled(&self, y: usize, row: usize) -> &[u8] {
        if self.ratio == (1, 1) { self.sample_row(y, row) } else { &self.row }
    }

    fn upsample(&mut self, kernels: &Kernels, y: usize, row: usize) {
        if self.ratio == (1, 1) {
            return;
        }
        let mut out = std::mem::take(&mut self.row);
        let i = y / self.ratio.1;
        let this = self.sample_row(i, row);
        // The nearest row on the other side of this half; at the borders the row itself.
        let other = || {
            let other = if y.is_multiple_of(2) { i.saturating_sub(1) } else { (i + 1).min(self.height - 1) };
            self.sample_row(other, row)
        };
        match self.ratio {
            (1, 2) if self.fancy => {
                let bias = if y.is_multiple_of(2) { 1 } else { 2 };
                for ((out, &a), &b) in out.iter_mut().zip(this).zip(other()) {
                    *out = ((u16::from(a) * 3 + u16::from(b) + bias) >> 2) as u8;
                }
            }
            (2, 1) if self.fancy => jpeg::double(kernels, this, &mut out),
            (2, 2) if self.fancy => jpeg::double_both(kernels, this, other(), &mut out),
            (h, _) => {
                for (out, &value) in out.chunks_exact_mut(h).zip(this) {
                    out.fill(value);
                }
            }
        }
        self.row = out;
    }
}
