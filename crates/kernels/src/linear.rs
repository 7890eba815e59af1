//! A weight matrix with its bias, packed once for the instruction set that will use it.

use std::fmt;

use bytes::Bytes;
use rayon::prelude::*;

use crate::{
    Activations, Format, Kernels, Precision,
    dense::{Floats, matmul},
    isa::{Activation, GROUP, Int8Weights},
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
    /// `[n]`
    bias: Option<Vec<f32>>,
}

#[derive(Debug)]
enum Weights {
    /// Signed bytes `[n][k]`, scales `[n][k / 32]`, row sums `[n]`.
    Int8 { q: Vec<i8>, scale: Vec<f32>, sum: Vec<f32> },
    /// f32 in our own fixed order of summation, `[n][k]`.
    Ordered(Vec<f32>),
    /// f32 parts, one below the other, multiplied by `gemm`.
    Gemm(Vec<Floats>),
}

impl Linear {
    /// Packs the rows of `parts`, one part below the other, for `kernels`.
    ///
    /// A file whose weights are all floats is computed by `gemm`, f32 in place without a copy; pass `ordered` for the few float weights of
    /// a quantized file, whose vectors must depend neither on the batch nor on the number of threads. If any part is quantized, all are
    /// computed in int8 (a float part is first quantized to Q8_0) unless its rows are no whole blocks, in which case all are dequantized.
    ///
    /// # Errors
    /// [`LinearError`] if a part's bytes or the bias do not fit the shape.
    pub fn new(kernels: &'static Kernels, parts: &[Rows], bias: Option<Vec<f32>>, ordered: bool) -> Result<Self, LinearError> {
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
        let quantized = parts.iter().any(|part| part.format.is_quantized());
        let weights = if quantized && k.is_multiple_of(GROUP) {
            pack_int8(parts, n, k)
        } else if ordered || quantized {
            let mut values = vec![0f32; n * k];
            let mut rest = values.as_mut_slice();
            for part in parts {
                let (own, below) = rest.split_at_mut(part.n * k);
                part.dequantize(own);
                rest = below;
            }
            Weights::Ordered(values)
        } else {
            Weights::Gemm(parts.iter().map(Rows::floats).collect())
        };
        Ok(Self { kernels, k, n, weights, bias })
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
            Weights::Int8 { .. } => Precision::Int8,
            Weights::Ordered(_) | Weights::Gemm(_) => Precision::F32,
        }
    }

    /// `x [m, k]` -> `out [m, n]`. The result of a row depends on that row alone, bit for bit, except for weights multiplied by `gemm`.
    ///
    /// # Panics
    /// If `x` is not in this linear's [`precision`](Self::precision) and width, or `out` is not `[m, n]`.
    pub fn forward(&self, x: &Activations, epilogue: Epilogue, out: &mut [f32]) {
        assert_eq!((x.k(), x.precision()), (self.k, self.precision()), "input of a linear");
        assert_eq!(out.len(), x.m() * self.n, "output of {} rows of {}", x.m(), self.n);
        if let Weights::Gemm(parts) = &self.weights {
            let x = x.as_f32().unwrap_or_default();
            let mut product = vec![0f32; out.len()];
            let mut column = 0;
            for part in parts {
                matmul(self.k, x, part.as_slice(), self.n, column, &mut product);
                column += part.as_slice().len() / self.k;
            }
            self.finish(epilogue, &mut product, out);
            return;
        }
        // A task is a few rows; the multiple of four is the tile of the int8 kernel.
        let rows = x.m().div_ceil(rayon::current_num_threads()).next_multiple_of(4).min(32);
        out.par_chunks_mut(rows * self.n).enumerate().for_each_init(
            || vec![0f32; rows * self.n],
            |product, (i, out)| {
                let product = &mut product[..out.len()];
                let (first, m) = (i * rows, out.len() / self.n);
                match &self.weights {
                    Weights::Int8 { q, scale, sum } => {
                        let x = x.as_int8(first, m).expect("the precision was checked above");
                        (self.kernels.linear_int8)(x, Int8Weights { q, scale, sum }, product);
                    }
                    Weights::Ordered(w) => {
                        let x = x.as_f32().unwrap_or_default();
                        (self.kernels.linear_f32)(self.k, &x[first * self.k..][..m * self.k], w, product);
                    }
                    Weights::Gemm(_) => unreachable!("returned above"),
                }
                self.finish(epilogue, product, out);
            },
        );
    }

    fn finish(&self, epilogue: Epilogue, product: &mut [f32], out: &mut [f32]) {
        if let Some(bias) = &self.bias {
            for row in product.chunks_exact_mut(self.n) {
                row.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
            }
        }
        match epilogue {
            Epilogue::Store => out.copy_from_slice(product),
            Epilogue::Add => out.iter_mut().zip(product).for_each(|(o, y)| *o += *y),
            Epilogue::Activate(activation) => {
                (self.kernels.activate)(activation, product);
                out.copy_from_slice(product);
            }
        }
    }
}

impl Rows {
    fn dequantize(&self, values: &mut [f32]) {
        let row = self.bytes.len() / self.n;
        values
            .par_chunks_exact_mut(self.k)
            .zip(self.bytes.par_chunks_exact(row))
            .with_min_len(16)
            .for_each(|(values, bytes)| self.format.dequantize(bytes, values));
    }

    fn floats(&self) -> Floats {
        if self.format == Format::F32
            && let Some(floats) = Floats::in_place(&self.bytes)
        {
            return floats;
        }
        let mut values = vec![0f32; self.n * self.k];
        self.dequantize(&mut values);
        Floats::Owned(values)
    }
}

fn pack_int8(parts: &[Rows], n: usize, k: usize) -> Weights {
    let groups = k / GROUP;
    let (mut q, mut scale, mut sum) = (vec![0i8; n * k], vec![0f32; n * groups], vec![0f32; n]);
    let mut first = 0;
    for part in parts {
        let row = part.bytes.len() / part.n;
        let rows = first..first + part.n;
        q[rows.start * k..rows.end * k]
            .par_chunks_exact_mut(k)
            .zip(scale[rows.start * groups..rows.end * groups].par_chunks_exact_mut(groups))
            .zip(&mut sum[rows])
            .zip(part.bytes.par_chunks_exact(row))
            .with_min_len(16)
            .for_each(|(((q, scale), sum), bytes)| {
                pack_row(part.format, bytes, q.as_chunks_mut().0, scale);
                // In the order of the blocks, as the product is summed.
                *sum = q.as_chunks::<GROUP>().0.iter().zip(scale).fold(0.0, |sum, (q, scale)| {
                    let block: i32 = q.iter().map(|&q| i32::from(q)).sum();
                    (block as f32).mul_add(*scale, sum)
                });
            });
        first += part.n;
    }
    Weights::Int8 { q, scale, sum }
}

fn pack_row(format: Format, bytes: &[u8], q: &mut [[i8; GROUP]], scale: &mut [f32]) {
    use crate::format::{Q4_0, Q8_0};
    match format {
        Format::Q8_0 => bytemuck::cast_slice::<_, Q8_0>(bytes)
            .iter()
            .zip(q.iter_mut().zip(scale))
            .for_each(|(block, (q, scale))| (*q, *scale) = (block.quants(), block.scale())),
        Format::Q4_0 => bytemuck::cast_slice::<_, Q4_0>(bytes)
            .iter()
            .zip(q.iter_mut().zip(scale))
            .for_each(|(block, (q, scale))| (*q, *scale) = (block.quants(), block.scale())),
        Format::F32 | Format::F16 | Format::BF16 => {
            let mut values = vec![0f32; q.len() * GROUP];
            format.dequantize(bytes, &mut values);
            let mut blocks = vec![0u8; q.len() * Format::Q8_0.block_bytes()];
            Format::Q8_0.quantize(&values, &mut blocks);
            pack_row(Format::Q8_0, &blocks, q, scale);
        }
    }
}
