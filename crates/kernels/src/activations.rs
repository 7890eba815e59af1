//! The left-hand side of a [`Linear`]: rows of f32, or rows of signed bytes with a scale and a zero point each.

use crate::{
    Kernels, Linear, Threads,
    aligned::Aligned,
    disjoint::Disjoint,
    panels::Panels,
    scratch::{self, Scratch},
};

/// What a linear wants its input as; see [`Linear::precision`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// As it is.
    F32,
    /// Signed bytes, one scale and zero point a row, chosen from that row alone (so that a row's result does not depend on the rows
    /// beside it). A row that holds a value that is not finite gets the scale NaN, so that whatever is computed from it is NaN.
    Int8,
}

/// The parameters of a LayerNorm (Ba, Kiros and Hinton 2016; PyTorch's `layer_norm`).
#[derive(Clone, Copy, Debug)]
pub struct Norm<'a> {
    /// `[width]`
    pub gain: &'a [f32],
    /// `[width]`
    pub shift: &'a [f32],
    /// Added to the variance.
    pub eps: f32,
}

impl Norm<'_> {
    fn of_width(self, width: usize) -> Self {
        assert_eq!((self.gain.len(), self.shift.len()), (width, width), "gain and shift of a LayerNorm");
        self
    }
}

/// LayerNorm of the rows of `x`, in place.
///
/// # Panics
/// If `x` is not whole rows of the norm's width.
pub fn layer_norm(kernels: &Kernels, x: &mut [f32], norm: Norm<'_>, threads: Threads) {
    let width = norm.gain.len();
    let norm = norm.of_width(width);
    assert!(width > 0 && x.len().is_multiple_of(width), "{} values are no whole rows of {width}", x.len());
    let panels = Panels::new(x.len() / width, ROWS_A_TASK);
    let x = Disjoint::new(x);
    threads.for_each(panels.count, |panel| {
        scratch::with(|scratch| {
            let out = &mut scratch.floats[0];
            out.resize(width);
            for row in panels.rows(panel) {
                // SAFETY: a row belongs to one panel, and a panel to one call.
                let x = unsafe { x.part(row * width..(row + 1) * width) };
                (kernels.layer_norm)(x, norm, out);
                x.copy_from_slice(out);
            }
        });
    });
}

/// Rows that one thread takes at a time, where a tile does not say so.
const ROWS_A_TASK: usize = 8;

/// How activations lie in memory: what the linear they are for reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Rows of f32, `stride` after each other.
    Floats { stride: usize },
    /// Rows of integers.
    Int8 {
        /// Inputs, filled up to whole groups.
        k: usize,
        group: usize,
        /// What is too much in each weight, and taken off through [`Int8Rows::start`].
        offset: i32,
        /// Whether the weights have minima, which are factors of [`Int8Rows::group_sums`].
        sums: bool,
        /// Whether an integer takes two bytes.
        wide: bool,
        /// How many values of a row lie side by side, if two rows take turns.
        pairs: Option<usize>,
    },
}

impl Form {
    /// Of integers: bytes from one row to the next. The line in between keeps rows that are a power of two long from sharing the same few
    /// places of the cache.
    pub(crate) const fn row_bytes(k: usize, wide: bool) -> usize {
        (if wide { 2 * k } else { k }).next_multiple_of(64) + 64
    }
}

/// `[m, k]` rows, ready for a linear. Keeps its memory from one use to the next.
#[derive(Debug)]
pub struct Activations {
    m: usize,
    k: usize,
    form: Form,
    floats: Aligned<f32>,
    int8: Int8Rows,
}

/// Rows of integers, as [`crate::isa::tile::Int8Tile`] reads them.
#[derive(Debug)]
pub(crate) struct Int8Rows {
    /// `[m]` rows, [`Form::row_bytes`] after each other, or half as many pairs of them.
    pub(crate) q: Aligned<u8>,
    /// `[m, groups]`
    pub(crate) start: Aligned<i32>,
    /// `[m, groups]`, if asked for.
    pub(crate) group_sums: Aligned<f32>,
    /// `[m]`
    pub(crate) scale: Aligned<f32>,
    /// `[m]`
    pub(crate) zero: Aligned<f32>,
}

impl Default for Activations {
    fn default() -> Self {
        let int8 = Int8Rows {
            q: Aligned::new(),
            start: Aligned::new(),
            group_sums: Aligned::new(),
            scale: Aligned::new(),
            zero: Aligned::new(),
        };
        Self { m: 0, k: 0, form: Form::Floats { stride: 0 }, floats: Aligned::new(), int8 }
    }
}

/// Where rows come from.
enum Source<'a> {
    Plain(&'a [f32]),
    Normed(&'a [f32], Norm<'a>),
}

impl Activations {
    /// Rows `x[m, k]` as they are, in the form that `linear` takes.
    ///
    /// # Panics
    /// If `x` is not whole rows of the linear's inputs.
    pub fn set(&mut self, linear: &Linear, x: &[f32], threads: Threads) {
        self.fill(linear, x.len(), Source::Plain(x), threads);
    }

    /// LayerNorm of rows `x[m, k]`, in the form that `linear` takes.
    ///
    /// # Panics
    /// If `x` is not whole rows of the linear's inputs, or the norm is of another width.
    pub fn set_layer_norm(&mut self, linear: &Linear, x: &[f32], norm: Norm<'_>, threads: Threads) {
        self.fill(linear, x.len(), Source::Normed(x, norm.of_width(linear.k())), threads);
    }

    /// `m` rows of unsigned bytes as they are, 0 to 255, for a linear of [`Linear::for_bytes`]: `fill(row, out)` writes a row.
    ///
    /// # Panics
    /// If the linear does not take integers.
    pub fn set_bytes(&mut self, linear: &Linear, m: usize, fill: impl Fn(usize, &mut [u8]) + Sync + Send, threads: Threads) {
        assert_eq!(linear.precision(), Precision::Int8, "bytes are for integers");
        self.rows(linear, m, threads, |row, _, q| {
            let bytes: &mut [u8] = bytemuck::cast_slice_mut(q);
            fill(row, bytes);
            bytes.iter_mut().for_each(|byte| *byte ^= 0x80);
            (1.0, -128.0)
        });
    }

    fn fill(&mut self, linear: &Linear, len: usize, source: Source<'_>, threads: Threads) {
        let (kernels, k) = (linear.kernels(), linear.k());
        assert!(len.is_multiple_of(k), "{len} values are no whole rows of {k}");
        let m = len / k;
        match linear.form() {
            Form::Floats { stride } => {
                (self.m, self.k, self.form) = (m, k, linear.form());
                self.floats.resize(m * stride);
                let (tasks, out) = (Panels::new(m, ROWS_A_TASK), Disjoint::new(&mut self.floats));
                threads.for_each(tasks.count, |task| {
                    for row in tasks.rows(task) {
                        // SAFETY: a row belongs to one task, and a task to one call.
                        let out = unsafe { out.part(row * stride..row * stride + k) };
                        match &source {
                            Source::Plain(x) => out.copy_from_slice(&x[row * k..][..k]),
                            Source::Normed(x, norm) => (kernels.layer_norm)(&x[row * k..][..k], *norm, out),
                        }
                    }
                });
            }
            Form::Int8 { .. } => self.rows(linear, m, threads, |row, floats, q| {
                let x = match &source {
                    Source::Plain(x) => &x[row * k..][..k],
                    Source::Normed(x, norm) => {
                        floats.resize(k);
                        (kernels.layer_norm)(&x[row * k..][..k], *norm, floats);
                        floats
                    }
                };
                (kernels.quantize_row)(x, q)
            }),
        }
    }

    /// `quantize(row, scratch, q)` writes a row's integers and gives its scale and zero point.
    fn rows(
        &mut self,
        linear: &Linear,
        m: usize,
        threads: Threads,
        quantize: impl Fn(usize, &mut Aligned<f32>, &mut [i8]) -> (f32, f32) + Sync + Send,
    ) {
        let (kernels, form) = (linear.kernels(), linear.form());
        let Form::Int8 { k, group, offset, sums, wide, pairs } = form else { unreachable!("the caller has looked") };
        let (groups, row_bytes) = (k / group, Form::row_bytes(k, wide));
        (self.m, self.k, self.form) = (m, linear.k(), form);
        let Int8Rows { q, start, group_sums, scale, zero } = &mut self.int8;
        let together = if pairs.is_some() { 2 } else { 1 };
        q.resize(m.next_multiple_of(together) * row_bytes);
        start.resize(m * groups);
        group_sums.resize(if sums { m * groups } else { 0 });
        scale.resize(m);
        zero.resize(m);
        let tasks = Panels::whole(m, ROWS_A_TASK, together);
        let (q, start, group_sums) = (Disjoint::new(q), Disjoint::new(start), Disjoint::new(group_sums));
        let (scale, zero) = (Disjoint::new(scale), Disjoint::new(zero));
        threads.for_each(tasks.count, |task| {
            scratch::with(|Scratch { floats: [floats, ..], bytes }| {
                for row in tasks.rows(task) {
                    let first = row / together * together;
                    // SAFETY: rows that lie together belong to one task, and a task to one call.
                    let (q, start, group_sums, scale, zero) = unsafe {
                        (
                            q.part(first * row_bytes..(first + together) * row_bytes),
                            start.part(row * groups..(row + 1) * groups),
                            group_sums.part(if sums { row * groups..(row + 1) * groups } else { 0..0 }),
                            scale.part(row..row + 1),
                            zero.part(row..row + 1),
                        )
                    };
                    let narrow: &mut [i8] = match wide || pairs.is_some() {
                        true => {
                            bytes.resize(k);
                            bytes
                        }
                        false => bytemuck::cast_slice_mut(&mut q[..k]),
                    };
                    (scale[0], zero[0]) = quantize(row, floats, &mut narrow[..linear.k()]);
                    narrow[linear.k()..].fill(0);
                    if offset == 0 && !sums {
                        start.fill(0);
                    } else {
                        (kernels.group_sums)(narrow, group, start);
                    }
                    for (out, sum) in group_sums.iter_mut().zip(&*start) {
                        *out = *sum as f32;
                    }
                    start.iter_mut().for_each(|sum| *sum *= -offset);
                    if wide {
                        let wide: &mut [i16] = bytemuck::cast_slice_mut(&mut q[..2 * k]);
                        wide.iter_mut().zip(&**bytes).for_each(|(wide, q)| *wide = i16::from(*q));
                    }
                    if let Some(depth) = pairs {
                        let turns = q[row % 2 * depth..].chunks_mut(2 * depth).zip(bytes.chunks_exact(depth));
                        turns.for_each(|(q, bytes)| q[..depth].copy_from_slice(bytemuck::cast_slice(bytes)));
                    }
                }
            });
        });
    }

    /// Length of a row.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Number of rows.
    pub fn m(&self) -> usize {
        self.m
    }

    pub(crate) fn form(&self) -> Form {
        self.form
    }

    /// The floats, in this [`Form`].
    pub(crate) fn floats(&self) -> &[f32] {
        &self.floats
    }

    /// The integers, in this [`Form`].
    pub(crate) fn int8(&self) -> &Int8Rows {
        &self.int8
    }

    /// The integers of a row, its scale and its zero point.
    #[cfg(test)]
    pub(crate) fn levels(&self, row: usize) -> (Vec<i32>, f64, f64) {
        let Form::Int8 { k, wide, pairs, .. } = self.form else { panic!("no integers") };
        let bytes = &self.int8.q[if pairs.is_some() { row / 2 * 2 } else { row } * Form::row_bytes(k, wide)..];
        let q = match (wide, pairs) {
            (true, _) => bytemuck::cast_slice::<u8, i16>(&bytes[..2 * self.k]).iter().map(|&q| q.into()).collect(),
            (false, None) => bytes[..self.k].iter().map(|&q| i32::from(q as i8)).collect(),
            (false, Some(depth)) => {
                let at = |i: usize| (2 * (i / depth) + row % 2) * depth + i % depth;
                (0..self.k).map(|i| i32::from(bytes[at(i)] as i8)).collect()
            }
        };
        (q, f64::from(self.int8.scale[row]), f64::from(self.int8.zero[row]))
    }
}
