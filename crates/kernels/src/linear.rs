//! A weight matrix with its bias, packed once for the instruction set that will use it.

use std::{fmt, ops::Range};

use bytes::Bytes;

use crate::{
    Activations, Format, Kernels, Precision, Threads,
    activations::{Form, Int8Rows},
    aligned::Aligned,
    attention::Strided,
    disjoint::Disjoint,
    isa::{
        Activation,
        tile::{Finish, FloatTile, Int8Tile, MOST_COLUMNS, TileBuffer},
    },
    packed::{Floats, Int8},
    panels::Panels,
};

/// Rows of a weight matrix as a file holds them: `bytes` is `[n, k]` in `format`, one row after the other.
#[derive(Clone, Debug)]
pub struct Rows {
    /// Storage format.
    pub format: Format,
    /// Number of rows: outputs.
    pub n: usize,
    /// Length of a row: inputs.
    pub k: usize,
    /// `n` rows of `format.row_bytes(k)`.
    pub bytes: Bytes,
}

/// What happens to a finished row of the product plus bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epilogue {
    /// `out = y`
    Store,
    /// `out = out + y`
    Add,
    /// `out = f(y)`
    Activate(Activation),
}

/// Which values of a row of quantized weights share a scale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Groups {
    /// Those that do in the file: every weight keeps its value.
    #[default]
    Stored,
    /// Where the weights take 8 bits and have no minima: a whole row, or else 128 or 64 values, if quantizing them anew changes the matrix by
    /// less than the bound in docs/kernels.md. Fewer scales to multiply with are faster.
    Coarse,
}

/// A matrix that cannot be packed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinearError {
    /// The bytes are not `n` rows of `k` in the format.
    Size {
        /// What the shape and format need; `None` if a row is no whole number of blocks.
        expected: Option<usize>,
        /// Length of the bytes.
        found: usize,
    },
    /// Parts have rows of different lengths.
    Inputs(usize, usize),
    /// The bias has another length than the rows there are.
    Bias {
        /// Rows.
        expected: usize,
        /// Length of the bias.
        found: usize,
    },
    /// No rows, or rows of no elements.
    Empty,
}

impl fmt::Display for LinearError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size { expected: Some(expected), found } => write!(f, "expected {expected} bytes, found {found}"),
            Self::Size { expected: None, .. } => write!(f, "the rows are no whole number of blocks"),
            Self::Inputs(a, b) => write!(f, "expected rows of {a} elements, found {b}"),
            Self::Bias { expected, found } => write!(f, "expected a bias of {expected} elements, found {found}"),
            Self::Empty => write!(f, "expected a matrix, found no elements"),
        }
    }
}

impl std::error::Error for LinearError {}

/// `y = x W^T + b`, with W `[n, k]` packed for a [`Kernels`].
#[derive(Debug)]
pub struct Linear {
    kernels: &'static Kernels,
    k: usize,
    n: usize,
    weights: Weights,
    /// `[n]`, filled up to whole panels with zeros.
    bias: Aligned<f32>,
}

#[derive(Debug)]
enum Weights {
    /// Integers with the scales and minima of their format.
    Int8(Int8),
    /// f32.
    Floats(Floats),
}

impl Linear {
    /// Packs the rows of `parts`, one part below the other, for `kernels`, every value as it is.
    ///
    /// Quantized parts are computed in int8, floats in f32. A mixture of both is dequantized and computed in f32.
    ///
    /// # Errors
    /// [`LinearError`] if a part's bytes or the bias do not fit the shape.
    pub fn new(kernels: &'static Kernels, parts: &[Rows], bias: Option<Vec<f32>>) -> Result<Self, LinearError> {
        Self::grouped(kernels, parts, bias, Groups::Stored)
    }

    /// As [`Linear::new`], with a choice of the groups that share a weight scale.
    ///
    /// # Errors
    /// As [`Linear::new`].
    pub fn grouped(
        kernels: &'static Kernels,
        parts: &[Rows],
        bias: Option<Vec<f32>>,
        groups: Groups,
    ) -> Result<Self, LinearError> {
        let k = parts.first().map_or(0, |part| part.k);
        let mut n = 0usize;
        for part in parts {
            if part.k != k {
                return Err(LinearError::Inputs(k, part.k));
            }
            let expected = part.format.row_bytes(k).and_then(|row| row.checked_mul(part.n));
            if expected != Some(part.bytes.len()) {
                return Err(LinearError::Size { expected, found: part.bytes.len() });
            }
            n += part.n;
        }
        if n == 0 || k == 0 {
            return Err(LinearError::Empty);
        }
        if let Some(bias) = &bias
            && bias.len() != n
        {
            return Err(LinearError::Bias { expected: n, found: bias.len() });
        }
        let weights = if parts.iter().all(|part| part.format.is_quantized()) {
            Weights::Int8(Int8::pack(kernels, parts, n, k, groups))
        } else {
            Weights::Floats(Floats::pack(kernels, parts, n, k))
        };
        Ok(Self { kernels, k, n, weights, bias: pad(kernels, n, bias.as_deref().unwrap_or_default()) })
    }

    /// A matrix for inputs that are bytes ([`Activations::set_bytes`]): `fill(row, values)` writes the `k` values of each of `n` rows, which are
    /// quantized here to int8 with a scale of its own for each 32. It has no bias yet.
    ///
    /// # Panics
    /// If there are no rows, or none of any length.
    pub fn for_bytes(kernels: &'static Kernels, n: usize, k: usize, fill: impl Fn(usize, &mut [f32]) + Sync) -> Self {
        assert!(n > 0 && k > 0, "a matrix of {n} rows of {k}");
        let weights = Weights::Int8(Int8::quantize(kernels, n, k, fill));
        Self { kernels, k, n, weights, bias: pad(kernels, n, &[]) }
    }

    /// Gives it another bias.
    ///
    /// # Panics
    /// If it is not `[n]`.
    pub fn set_bias(&mut self, bias: &[f32]) {
        assert_eq!(bias.len(), self.n, "bias of a linear");
        self.bias[..bias.len()].copy_from_slice(bias);
    }

    /// What it was packed for.
    pub fn kernels(&self) -> &'static Kernels {
        self.kernels
    }

    /// How many values of a row share a weight scale; `None` for floats.
    pub fn group(&self) -> Option<usize> {
        match &self.weights {
            Weights::Int8(w) => Some(w.group),
            Weights::Floats(_) => None,
        }
    }

    /// Outputs.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Inputs.
    pub fn k(&self) -> usize {
        self.k
    }

    /// The form this linear takes its input in.
    pub fn precision(&self) -> Precision {
        match self.weights {
            Weights::Int8(_) => Precision::Int8,
            Weights::Floats(_) => Precision::F32,
        }
    }

    pub(crate) fn form(&self) -> Form {
        match &self.weights {
            Weights::Int8(w) => Form::Int8 {
                k: w.k,
                group: w.group,
                offset: w.offset,
                sums: !w.min.is_empty(),
                wide: self.kernels.layout.is_wide(w.four),
                pairs: self.kernels.layout.pairs.then(|| self.kernels.layout.depth(w.four)),
            },
            // Rows that are a power of two long would share the same few places of the cache.
            Weights::Floats(_) => Form::Floats { stride: self.k.next_multiple_of(16) + 16 },
        }
    }

    /// `x [m, k]` -> `out [m, n]`. The result of a row depends on that row alone, bit for bit.
    ///
    /// # Panics
    /// If `x` was not made for this linear or one like it, or `out` is not `[m, n]`.
    pub fn forward(&self, x: &Activations, epilogue: Epilogue, out: &mut [f32], threads: Threads) {
        assert_eq!((x.k(), x.form()), (self.k, self.form()), "input of a linear");
        assert_eq!(out.len(), x.m() * self.n, "output of {} rows of {}", x.m(), self.n);
        if out.is_empty() {
            return;
        }
        let layout = self.kernels.layout;
        let (panels, columns) = (Panels::whole(x.m(), layout.rows, layout.together()), self.n.div_ceil(layout.columns));
        let depth = match &self.weights {
            Weights::Int8(w) => w.k * if layout.is_wide(w.four) { 2 } else { 1 },
            Weights::Floats(_) => self.k * size_of::<f32>(),
        };
        // The activations of a block stay in the cache beside a panel of weights.
        let block = (ROWS_CACHED_BYTES / (depth * layout.rows)).clamp(1, panels.count);
        let blocks = panels.count.div_ceil(block);
        let small = x.m() * self.n * self.k < MACS_FOR_THREADS;
        let threads = if small { Threads::One } else { threads };
        let chunks = match threads.count() {
            1 => 1,
            threads => (TASKS_A_THREAD * threads).div_ceil(blocks).min(columns),
        };
        let out = Disjoint::new(out);
        threads.for_each(blocks * chunks, |task| {
            let (at, chunk) = (task / chunks, task % chunks);
            let rows = at * block..((at + 1) * block).min(panels.count);
            let columns = columns * chunk / chunks..columns * (chunk + 1) / chunks;
            self.task(x, panels, rows, columns, epilogue, &out);
        });
    }

    fn task(
        &self,
        x: &Activations,
        panels: Panels,
        rows: Range<usize>,
        columns: Range<usize>,
        epilogue: Epilogue,
        out: &Disjoint<'_, f32>,
    ) {
        let (mut buffer, mut from) = (TileBuffer::ZERO, TileBuffer::ZERO);
        let width = self.kernels.layout.columns;
        for column in columns.clone() {
            let first = column * width;
            let filled = width.min(self.n - first);
            for panel in rows.clone() {
                let rows_of = panels.rows(panel);
                let at = |row: usize| row * self.n + first;
                rows_of.clone().for_each(|row| out.prefetch(at(row)..at(row) + filled));
                // Into the buffer, what is not finished with the product or does not fit.
                match &self.weights {
                    Weights::Int8(w) => {
                        let ahead = (column + 1 < columns.end).then(|| (panel - rows.start, rows.len()));
                        if !w.min.is_empty() {
                            self.minima(w, x.int8(), rows_of.clone(), column, &mut from.0);
                        }
                        let add = epilogue == Epilogue::Add;
                        if filled == width && (add || epilogue == Epilogue::Store) {
                            let out = out.pointer(at(rows_of.start)..at(rows_of.end - 1) + width);
                            let place = Place { out, stride: self.n, add };
                            // SAFETY: the rows are in the output, and rows and columns of different tasks are apart.
                            unsafe { self.int8_tile(w, x.int8(), rows_of, column, ahead, &from, place) };
                            continue;
                        }
                        let place = Place { out: buffer.0.as_mut_ptr(), stride: width, add: false };
                        // SAFETY: a buffer has room for the largest tile.
                        unsafe { self.int8_tile(w, x.int8(), rows_of.clone(), column, ahead, &from, place) };
                    }
                    Weights::Floats(w) => self.float_tile(w, x, rows_of.clone(), column, &mut buffer.0),
                }
                let finish = Finish {
                    bias: match self.weights {
                        Weights::Int8(_) => &[0.0; MOST_COLUMNS][..width],
                        Weights::Floats(_) => &self.bias[first..][..width],
                    },
                    epilogue,
                    out,
                    first: at(rows_of.start),
                    stride: self.n,
                    filled,
                };
                (self.kernels.finish)(&finish, &buffer.0[..rows_of.len() * width]);
            }
        }
    }

    /// What minima contribute: each is a factor of the sum of its group of activations.
    fn minima(&self, w: &Int8, x: &Int8Rows, rows: Range<usize>, column: usize, out: &mut [f32]) {
        let groups = w.k / w.group;
        let size = groups * self.kernels.layout.columns;
        let sums = Strided { values: &x.group_sums, stride: groups, offset: rows.start * groups };
        multiply_floats(self.kernels, sums, rows.len(), &w.min[column * size..][..size], out, self.kernels.layout.columns);
    }

    /// `ahead`: which of how many tiles it is that together ask for the next panel.
    ///
    /// # Safety
    /// There are as many rows of a panel's columns at the place as `rows`, which nobody else touches.
    #[expect(clippy::too_many_arguments, reason = "which rows, which columns, from where to where")]
    unsafe fn int8_tile(
        &self,
        w: &Int8,
        x: &Int8Rows,
        rows: Range<usize>,
        column: usize,
        ahead: Option<(usize, usize)>,
        from: &TileBuffer,
        place: Place,
    ) {
        let layout = self.kernels.layout;
        let (groups, width, m, first) = (w.k / w.group, layout.columns, rows.len(), column * layout.columns);
        let bytes = w.panel_bytes(width);
        let q = &w.q[column * bytes..][..bytes];
        let scale = &w.scale[first * groups..][..groups * width];
        let start = &x.start[rows.start * groups..rows.end * groups];
        let stride = Form::row_bytes(w.k, layout.is_wide(w.four));
        let x_q = &x.q[rows.start * stride..rows.end.next_multiple_of(layout.together()) * stride];
        // A block is as long as most groups.
        let steps = w.group.min(32) / layout.depth(w.four);
        let blocks = w.group / (steps * layout.depth(w.four));
        let (ahead, lines) = match ahead {
            Some((tile, tiles)) => {
                let lines = (bytes / 64).div_ceil(groups * blocks * tiles);
                (q.as_ptr().wrapping_add(bytes + tile * lines * groups * blocks * 64), lines)
            }
            None => (q.as_ptr(), 0),
        };
        // Sums of 4 bits are only known to fit for the groups that the formats have.
        assert!(!w.four || w.group == 32);
        assert!(blocks * steps * layout.depth(w.four) == w.group && (steps == 1 || steps.is_multiple_of(2)));
        assert!(rows.start.is_multiple_of(layout.together()));
        let tile = Int8Tile {
            x: x_q.as_ptr(),
            stride,
            x_scale: x.scale[rows.clone()].as_ptr(),
            zero: x.zero[rows.clone()].as_ptr(),
            start: start.as_ptr(),
            w: q.as_ptr(),
            scale: scale.as_ptr(),
            sum: w.sum[first..][..width].as_ptr(),
            bias: self.bias[first..][..width].as_ptr(),
            groups,
            blocks,
            steps,
            ahead,
            lines,
            from: from.0.as_ptr(),
            out: place.out,
            out_stride: place.stride,
            add: place.add,
        };
        let tiles = if w.four { self.kernels.tiles.int4 } else { self.kernels.tiles.int8 };
        // SAFETY: the slices above have the lengths that a tile of `m` rows reads and writes; what belongs to a panel of weights is whole cache
        // lines from the start of a buffer that begins on one, and `from` is a `TileBuffer`. The caller answers for the place, and `Kernels`
        // exists only where its instructions do.
        unsafe { tiles[m - 1](&tile) };
    }

    fn float_tile(&self, w: &Floats, x: &Activations, rows: Range<usize>, column: usize, out: &mut [f32]) {
        let Form::Floats { stride } = x.form() else { unreachable!("the form was compared") };
        let size = self.k * self.kernels.layout.columns;
        let x = Strided { values: x.floats(), stride, offset: rows.start * stride };
        multiply_floats(self.kernels, x, rows.len(), &w.0[column * size..][..size], out, self.kernels.layout.columns);
    }
}

/// Where a tile of integers goes.
struct Place {
    out: *mut f32,
    /// From one row to the next.
    stride: usize,
    /// To what is there.
    add: bool,
}

/// `out[rows][columns] = x[rows][k] w[k][columns]` for the columns of one panel; rows of `out` are `out_stride` after each other.
///
/// # Panics
/// If a buffer is too short, or `w` or a row of `out` does not begin on a cache line.
pub(crate) fn multiply_floats(kernels: &Kernels, x: Strided<'_>, rows: usize, w: &[f32], out: &mut [f32], out_stride: usize) {
    let columns = kernels.layout.columns;
    let k = w.len() / columns;
    let x_len = x.offset + (rows - 1) * x.stride + k;
    assert!(x_len <= x.values.len() && (rows - 1) * out_stride + columns <= out.len(), "a product of {rows} rows");
    let aligned = |first: &[f32]| first.as_ptr().cast::<TileBuffer>().is_aligned();
    assert!(aligned(w) && aligned(out) && out_stride.is_multiple_of(16), "not on a cache line");
    let tile =
        FloatTile { x: x.values[x.offset..].as_ptr(), stride: x.stride, w: w.as_ptr(), k, out: out.as_mut_ptr(), out_stride };
    // SAFETY: lengths and alignment were checked above. `Kernels` exists only where its instructions do.
    unsafe { kernels.tiles.float[rows - 1](&tile) };
}

/// Activations that are read again for every panel of weights: half of a second-level cache of 1 MiB.
const ROWS_CACHED_BYTES: usize = 512 << 10;

/// Enough that threads which do not run all the time end together.
const TASKS_A_THREAD: usize = 4;

/// Below so many multiply-adds waking another thread costs more than it saves.
const MACS_FOR_THREADS: usize = 1 << 20;

/// `bias`, or zeros if there is none, in whole panels.
fn pad(kernels: &Kernels, n: usize, bias: &[f32]) -> Aligned<f32> {
    let mut padded = Aligned::zeroed(n.next_multiple_of(kernels.layout.columns));
    padded[..bias.len()].copy_from_slice(bias);
    padded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(format: Format, n: usize, k: usize, value: impl Fn(usize) -> f32) -> Rows {
        let values: Vec<f32> = (0..n * k).map(value).collect();
        let mut bytes = vec![0u8; n * format.row_bytes(k).unwrap()];
        format.quantize(&values, &mut bytes);
        Rows { format, n, k, bytes: Bytes::from(bytes) }
    }

    fn dequantized(part: &Rows) -> Vec<f32> {
        let mut values = vec![f32::NAN; part.n * part.k];
        part.format.dequantize(&part.bytes, &mut values);
        values
    }

    fn on(linear: &Linear, x: &[f32]) -> Activations {
        let mut activations = Activations::default();
        activations.set(linear, x, Threads::All);
        activations
    }

    fn run(linear: &Linear, x: &[f32], epilogue: Epilogue, start: f32) -> Vec<f32> {
        let x = on(linear, x);
        let mut out = vec![start; x.m() * linear.n()];
        linear.forward(&x, epilogue, &mut out, Threads::All);
        out
    }

    /// Small integers, exact in every format used here and in any order: one result for all ways of computing it.
    #[test]
    fn every_kind_of_weights_gives_the_product() {
        let (n, k, m) = (5, 64, 7);
        // Levels of Q8_0 with the scale 1: the extreme of each block is 127.
        let weight = |i: usize| if i.is_multiple_of(32) { 127.0 } else { (i * 7 % 11) as f32 - 5.0 };
        // Levels of an activation row with the scale 1 and the zero point -128 or so: 0 and 255 are among them.
        let x: Vec<f32> = (0..m * k).map(|i: usize| if i.is_multiple_of(k) { 255.0 } else { (i * 5 % 13) as f32 }).collect();
        let expected: Vec<f32> =
            (0..m * n).map(|i| (0..k).map(|j| x[i / n * k + j] * weight(i % n * k + j)).sum::<f32>() + (i % n) as f32).collect();
        let bias = || Some((0..n).map(|i| i as f32).collect());
        let kernels = Kernels::best();
        let part = |format, first: usize, n| rows(format, n, k, move |i| weight(first * k + i));
        let cases = [
            (vec![part(Format::F32, 0, 5)], Precision::F32),
            (vec![part(Format::F16, 0, 2), part(Format::F32, 2, 3)], Precision::F32),
            (vec![part(Format::Q8_0, 0, 5)], Precision::Int8),
            (vec![part(Format::Q8_0, 0, 1), part(Format::Q8_0, 1, 4)], Precision::Int8),
            (vec![part(Format::Q8_0, 0, 3), part(Format::BF16, 3, 2)], Precision::F32),
        ];
        for (parts, precision) in cases {
            let formats: Vec<_> = parts.iter().map(|part| part.format).collect();
            let linear = Linear::new(kernels, &parts, bias()).unwrap();
            assert_eq!((linear.precision(), linear.n(), linear.k()), (precision, n, k), "{formats:?}");
            assert_eq!(run(&linear, &x, Epilogue::Store, f32::NAN), expected, "{formats:?}");
            let added: Vec<f32> = expected.iter().map(|y| y + 3.0).collect();
            assert_eq!(run(&linear, &x, Epilogue::Add, 3.0), added, "{formats:?}");
            // The product of each value and 1.
            let one = Linear::new(kernels, &[rows(Format::F32, 1, 1, |_| 1.0)], None).unwrap();
            let activate = Epilogue::Activate(Activation::QuickGelu);
            assert_eq!(run(&linear, &x, activate, f32::NAN), run(&one, &expected, activate, f32::NAN), "{formats:?}");
        }
    }

    /// The packed product against that of the values that the format stores with those that the activations do, in f64.
    fn check_product(parts: &[Rows], x: &[f32]) {
        let formats: Vec<_> = parts.iter().map(|part| part.format).collect();
        let linear = Linear::new(Kernels::best(), parts, None).unwrap();
        assert_eq!(linear.precision(), Precision::Int8, "{formats:?}");
        let (n, k) = (linear.n(), linear.k());
        let mut w = Vec::new();
        for part in parts {
            w.extend(dequantized(part));
        }
        let x = on(&linear, x);
        let mut out = vec![f32::NAN; x.m() * n];
        linear.forward(&x, Epilogue::Store, &mut out, Threads::All);
        for (i, &y) in out.iter().enumerate() {
            let (row, col) = (i / n, i % n);
            let (q, scale, zero) = x.levels(row);
            let (mut truth, mut magnitude) = (0f64, 0f64);
            for (&q, &w) in q.iter().zip(&w[col * k..][..k]) {
                truth += scale * (f64::from(q) - zero) * f64::from(w);
                // A value may be the small difference of a product and a minimum of up to the largest value of the row.
                magnitude += scale * (f64::from(q).abs() + zero.abs());
            }
            let largest = w[col * k..][..k].iter().fold(0f64, |m, w| m.max(f64::from(*w).abs()));
            // Each of up to k / 16 fused sums of scales and as many of minima, once in the product and once in the sum for the zero point, and
            // five more operations; twice the largest value bounds the product as well as the minimum. And the value itself was rounded.
            let bound = magnitude * 3.0 * largest * (2.0 * (k / 16) as f64 + 7.0) * f64::from(f32::EPSILON);
            assert!((f64::from(y) - truth).abs() <= bound, "{formats:?}: {y}, expected {truth} within {bound}");
            assert!(bound < 2e-3 * magnitude * largest, "a bound of {bound} says nothing");
        }
    }

    #[test]
    fn every_format_gives_the_product_of_its_values_alone_and_beside_others() {
        let (n, k, m) = (5, 768, 6);
        let noise = |i: usize, seed: usize| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0;
        let x: Vec<f32> = (0..m * k).map(|i| noise(i, 3) * 2.0 + 0.3).collect();
        let quantized = || Format::ALL.into_iter().filter(|format| format.is_quantized());
        // With a mean, so that minima matter.
        let part = |format, n, seed| rows(format, n, k, |i| noise(i, seed).powi(3) * 0.1 + 0.02);
        for format in quantized() {
            check_product(&[part(format, n, 1)], &x);
            for other in quantized() {
                check_product(&[part(format, 2, 1), part(other, n, 2), part(Format::Q8_0, 1, 4)], &x);
            }
        }
    }

    /// Patches of 14 pixels are no whole groups; several panels, so that what fills one up must not come from another.
    #[test]
    fn bytes_of_any_length_give_the_product() {
        for (n, k) in [(200, 588), (33, 3), (70, 768)] {
            let values: Vec<f32> = (0..n * k).map(|i| ((i * 7919) % 2003) as f32 / 1001.0 - 1.0).collect();
            let bias: Vec<f32> = (0..n).map(|i| i as f32).collect();
            let mut linear = Linear::for_bytes(Kernels::best(), n, k, |row, out| out.copy_from_slice(&values[row * k..][..k]));
            linear.set_bias(&bias);
            let byte = |row: usize, i: usize| ((row * 31 + i * 7) % 256) as u8;
            let mut x = Activations::default();
            let fill = |row: usize, out: &mut [u8]| out.iter_mut().enumerate().for_each(|(i, out)| *out = byte(row, i));
            x.set_bytes(&linear, 7, fill, Threads::All);
            let mut out = vec![f32::NAN; 7 * n];
            linear.forward(&x, Epilogue::Store, &mut out, Threads::All);
            for (i, y) in out.iter().enumerate() {
                let (row, col) = (i / n, i % n);
                let truth: f64 = (0..k).map(|j| f64::from(byte(row, j)) * f64::from(values[col * k + j])).sum();
                // Weights of up to 1 in 127 levels are off by half a level at most, by 0.29 of one in root mean squares; six times that.
                let bound = 6.0 * 0.29 / 127.0 * (0..k).map(|j| f64::from(byte(row, j)).powi(2)).sum::<f64>().sqrt() + 1e-2;
                assert!((f64::from(*y) - truth - f64::from(bias[col])).abs() < bound, "{n} {k}: {y} {truth}");
            }
        }
    }

    #[test]
    fn no_rows_in_are_no_rows_out() {
        for format in Format::ALL {
            let linear = Linear::new(Kernels::best(), &[rows(format, 200, 256, |_| 1.0)], None).unwrap();
            assert!(run(&linear, &[], Epilogue::Store, 0.0).is_empty(), "{format}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let kernels = Kernels::best();
        let good = || rows(Format::Q8_0, 2, 32, |_| 1.0);
        let short = Rows { bytes: good().bytes.slice(1..), ..good() };
        let ragged = Rows { k: 33, ..good() };
        let error = |parts: &[Rows], bias| Linear::new(kernels, parts, bias).unwrap_err();
        assert_eq!(error(&[short], None), LinearError::Size { expected: Some(68), found: 67 });
        assert_eq!(error(&[ragged], None), LinearError::Size { expected: None, found: 68 });
        assert_eq!(error(&[good(), rows(Format::F32, 1, 8, |_| 0.0)], None), LinearError::Inputs(32, 8));
        assert_eq!(error(&[good()], Some(vec![0.0; 3])), LinearError::Bias { expected: 2, found: 3 });
        assert_eq!(error(&[], None), LinearError::Empty);
    }
}
