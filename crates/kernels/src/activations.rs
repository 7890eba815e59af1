//! The left-hand side of a [`Linear`](crate::Linear): rows of f32, or rows of signed bytes with a scale and a zero point each.

use rayon::prelude::*;

use crate::{
    Linear, Threads,
    isa::{Int8Rows, Kernels, NormArgs},
};

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

/// LayerNorm of the rows of `x`, in place.
///
/// # Panics
/// If `x` is not whole rows of the norm's width.
pub fn layer_norm(kernels: &Kernels, x: &mut [f32], norm: Norm<'_>, threads: Threads) {
    let _ = threads;
    let args = NormArgs { gain: norm.gain, shift: norm.shift, eps: norm.eps };
    assert!(x.len().is_multiple_of(norm.gain.len()), "rows of {}", norm.gain.len());
    for row in x.chunks_exact_mut(norm.gain.len()) {
        let copy = row.to_vec();
        (kernels.layer_norm)(&copy, args, row);
    }
}

/// What a linear wants its input as; see [`Linear::precision`](crate::Linear::precision).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// As it is.
    F32,
    /// Signed bytes, one scale and zero point a row, chosen from that row alone (so that a row's result does not depend on the rows
    /// beside it). A row that holds a value that is not finite gets the scale NaN, so that whatever is computed from it is NaN.
    Int8,
}

/// `[m, k]` rows, ready for a linear.
#[derive(Debug)]
pub struct Activations {
    k: usize,
    values: Values,
}

#[derive(Debug)]
enum Values {
    F32(Vec<f32>),
    Int8 { q: Vec<i8>, scale: Vec<f32>, zero: Vec<i32> },
}

impl Default for Activations {
    fn default() -> Self {
        Self { k: 0, values: Values::F32(Vec::new()) }
    }
}

impl Activations {
    /// Rows `x[m, k]` as they are, in the form that `linear` takes.
    ///
    /// # Panics
    /// If `x` is not whole rows of the linear's inputs.
    pub fn set(&mut self, linear: &Linear, x: &[f32], threads: Threads) {
        let _ = threads;
        *self = Self::build(linear.kernels(), linear.precision(), linear.k(), x, |x, out| out.copy_from_slice(x));
    }

    /// LayerNorm of rows `x[m, k]`, in the form that `linear` takes.
    ///
    /// # Panics
    /// If `x` is not whole rows of the linear's inputs, or the norm is of another width.
    pub fn set_layer_norm(&mut self, linear: &Linear, x: &[f32], norm: Norm<'_>, threads: Threads) {
        let _ = threads;
        assert_eq!((norm.gain.len(), norm.shift.len()), (linear.k(), linear.k()), "gain and shift of a LayerNorm");
        let args = NormArgs { gain: norm.gain, shift: norm.shift, eps: norm.eps };
        let kernels = linear.kernels();
        *self = Self::build(kernels, linear.precision(), linear.k(), x, |x, out| (kernels.layer_norm)(x, args, out));
    }

    /// `m` rows of unsigned bytes as they are, 0 to 255, for a linear of [`Linear::for_bytes`]: `fill(row, out)` writes a row.
    ///
    /// # Panics
    /// If the linear does not take bytes.
    pub fn set_bytes(&mut self, linear: &Linear, m: usize, fill: impl Fn(usize, &mut [u8]) + Sync + Send, threads: Threads) {
        let _ = threads;
        let k = linear.k();
        let mut bytes = vec![0u8; m * k];
        bytes.chunks_exact_mut(k).enumerate().for_each(|(i, row)| fill(i, row));
        let q = bytes.iter().map(|b| (b ^ 0x80) as i8).collect();
        *self = Self { k, values: Values::Int8 { q, scale: vec![1.0; m], zero: vec![-128; m] } };
    }

    fn build(kernels: &Kernels, precision: Precision, k: usize, x: &[f32], row: impl Fn(&[f32], &mut [f32]) + Sync) -> Self {
        assert!(k > 0 && x.len().is_multiple_of(k), "{} values are no whole rows of {k}", x.len());
        let values = match precision {
            Precision::F32 => {
                let mut values = vec![0f32; x.len()];
                values.par_chunks_exact_mut(k).zip(x.par_chunks_exact(k)).with_min_len(8).for_each(|(out, x)| row(x, out));
                Values::F32(values)
            }
            Precision::Int8 => {
                let m = x.len() / k;
                let (mut q, mut scale, mut zero) = (vec![0i8; x.len()], vec![0f32; m], vec![0i32; m]);
                q.par_chunks_exact_mut(k)
                    .zip(x.par_chunks_exact(k))
                    .zip(scale.par_iter_mut().zip(&mut zero))
                    .with_min_len(8)
                    .for_each_init(
                        || vec![0f32; k],
                        |scratch, ((q, x), (scale, zero))| {
                            row(x, scratch);
                            (*scale, *zero) = (kernels.quantize_row)(scratch, q);
                        },
                    );
                Values::Int8 { q, scale, zero }
            }
        };
        Self { k, values }
    }

    /// Length of a row.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Number of rows.
    pub fn m(&self) -> usize {
        match &self.values {
            Values::F32(values) => values.len() / self.k,
            Values::Int8 { scale, .. } => scale.len(),
        }
    }

    /// The form the rows are in.
    pub fn precision(&self) -> Precision {
        match self.values {
            Values::F32(_) => Precision::F32,
            Values::Int8 { .. } => Precision::Int8,
        }
    }

    /// The rows as f32, if that is what they are.
    pub fn as_f32(&self) -> Option<&[f32]> {
        match &self.values {
            Values::F32(values) => Some(values),
            Values::Int8 { .. } => None,
        }
    }

    /// Rows `first..first + m`, if they are signed bytes.
    pub(crate) fn as_int8(&self, first: usize, m: usize) -> Option<Int8Rows<'_>> {
        match &self.values {
            Values::F32(_) => None,
            Values::Int8 { q, scale, zero } => {
                let rows = first..first + m;
                Some(Int8Rows {
                    k: self.k,
                    q: &q[first * self.k..][..m * self.k],
                    scale: &scale[rows.clone()],
                    zero: &zero[rows],
                })
            }
        }
    }
}
