//! Instruction sets, and the table of kernels for each.
//!
//! Every set implements the same short list of functions, in the same order, with the same bits as a result. `scalar` is both the
//! product on machines without anything better and the oracle of the others.
//!
//! # Lanes
//! A sum of `n` products of floats is sixteen partial sums, `lane[i % 16] = fma(a[i], b[i], lane[i % 16])` in rising order of `i`, folded
//! in halves: lane `i` plus lane `i + 8`, then `i + 4`, `i + 2`, `i + 1`.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod scalar;

use std::{fmt, str::FromStr};

/// An instruction set that has kernels of its own, from the slowest to the fastest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// What every machine has.
    Scalar,
    /// x86-64 with AVX2 and FMA.
    Avx2,
}

/// An instruction set that this machine (or this build) does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnsupportedIsa(pub Isa);

impl fmt::Display for UnsupportedIsa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let available = Isa::available().map(|isa| isa.name()).collect::<Vec<_>>().join(", ");
        write!(f, "this machine has no {} (available: {available})", self.0.name())
    }
}

impl std::error::Error for UnsupportedIsa {}

impl Isa {
    /// All that have kernels, available or not.
    pub const ALL: [Self; 2] = [Self::Scalar, Self::Avx2];

    /// Those that this machine can run, slowest first; never empty.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|isa| Kernels::new(*isa).is_ok())
    }

    /// Lower-case name, as `EDGECLIP_ISA` takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
        }
    }
}

impl FromStr for Isa {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|isa| isa.name() == name)
            .ok_or_else(|| format!("no instruction set {name:?} (known: {})", known()))
    }
}

/// The non-linearity between the two linears of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// x * sigmoid(1.702 x), as OpenAI's checkpoints have it.
    QuickGelu,
    /// x * Phi(x) with the error function (Hendrycks and Gimpel 2016), PyTorch's `nn.GELU()`.
    Gelu,
    /// The tanh approximation of the same paper, PyTorch's `nn.GELU("tanh")`.
    GeluTanh,
}

/// Rows of signed bytes with a scale and a zero point each: `x = scale * (q - zero)`.
#[derive(Clone, Copy)]
pub(crate) struct Int8Rows<'a> {
    pub(crate) k: usize,
    /// `[m, k]`
    pub(crate) q: &'a [i8],
    /// `[m]`
    pub(crate) scale: &'a [f32],
    /// `[m]`
    pub(crate) zero: &'a [i32],
}

/// A weight matrix of signed bytes with a scale for each group along a row, and maybe a minimum: `w = scale * q + min`.
#[derive(Clone, Copy)]
pub(crate) struct Int8Weights<'a> {
    /// Elements that share a scale: [`GROUP`] or [`HALF_GROUP`].
    pub(crate) group: usize,
    /// `[n, k]`
    pub(crate) q: &'a [i8],
    /// `[n, k / group]`
    pub(crate) scale: &'a [f32],
    /// `[n, k / group]`, or empty if all are 0.
    pub(crate) min: &'a [f32],
    /// `[n]`, the sum of each row's values, for the zero point.
    pub(crate) sum: &'a [f32],
}

/// Elements that share a weight scale in most formats.
pub(crate) const GROUP: usize = 32;

/// Elements that share a weight scale in Q6_K.
pub(crate) const HALF_GROUP: usize = 16;

/// Attention of one sequence: what to read and which rows to compute.
#[derive(Clone, Copy)]
pub(crate) struct AttentionArgs<'a> {
    /// `[tokens, 3 * width]`: query, key and value of each token.
    pub(crate) qkv: &'a [f32],
    pub(crate) width: usize,
    pub(crate) heads: usize,
    pub(crate) causal: bool,
    /// The token of the first row of the output.
    pub(crate) first: usize,
}

/// LayerNorm's parameters, `[width]` each.
#[derive(Clone, Copy)]
pub(crate) struct NormArgs<'a> {
    pub(crate) gain: &'a [f32],
    pub(crate) shift: &'a [f32],
    pub(crate) eps: f32,
}

/// The functions of one instruction set. A table can only be had through [`Kernels::new`], which checks that the machine can run it;
/// having one is the proof that its functions may be called.
pub struct Kernels {
    isa: Isa,
    /// Quantizes one row: `(x, q) -> (scale, zero)`.
    pub(crate) quantize_row: fn(&[f32], &mut [i8]) -> (f32, i32),
    /// `out[m, n] = x W^T` in int8 with f32 sums of the groups, those of the scales and those of the minima apart. No bias.
    pub(crate) linear_int8: fn(Int8Rows<'_>, Int8Weights<'_>, &mut [f32]),
    /// `out[m, n] = x[m, k] W[n, k]^T`, sums in lanes. No bias.
    pub(crate) linear_f32: fn(usize, &[f32], &[f32], &mut [f32]),
    /// LayerNorm of one row, two passes: `(x, parameters, out)`.
    pub(crate) layer_norm: fn(&[f32], NormArgs<'_>, &mut [f32]),
    /// Rows `first..` of the attention of one sequence.
    pub(crate) attention: fn(AttentionArgs<'_>, &mut [f32]),
    /// In place.
    pub(crate) activate: fn(Activation, &mut [f32]),
}

impl Kernels {
    /// The kernels for `isa`.
    ///
    /// # Errors
    /// [`UnsupportedIsa`] if this machine or this build lacks it.
    pub fn new(isa: Isa) -> Result<&'static Self, UnsupportedIsa> {
        match isa {
            Isa::Scalar => Ok(&scalar::KERNELS),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 if avx2::is_available() => Ok(&avx2::KERNELS),
            Isa::Avx2 => Err(UnsupportedIsa(isa)),
        }
    }

    /// The fastest that this machine has.
    pub fn best() -> &'static Self {
        Isa::ALL.into_iter().rev().find_map(|isa| Self::new(isa).ok()).unwrap_or(&scalar::KERNELS)
    }

    /// What these kernels are written for.
    pub fn isa(&self) -> Isa {
        self.isa
    }
}

impl fmt::Debug for Kernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Kernels").field(&self.isa).finish()
    }
}

#[cfg(test)]
mod tests;
