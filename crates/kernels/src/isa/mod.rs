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
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx_vnni;
mod jpeg;
pub(crate) mod lanes;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
mod resize;
mod rows;
mod scalar;
pub(crate) mod tile;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::{fmt, str::FromStr};

use crate::{
    Norm,
    jpeg::Block,
    resize::{Band, Taps},
};

/// An instruction set that has kernels of its own, from the slowest to the fastest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// What every machine has.
    Scalar,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// The same with AVX-VNNI: dot products of bytes, 256 bits at a time.
    AvxVnni,
    /// x86-64 with AVX-512 and its VNNI: 512 bits at a time.
    Avx512Vnni,
    /// What every 64-bit ARM has.
    Neon,
    /// The same with dot products of bytes (ARMv8.2).
    NeonDotprod,
    /// The same with products of matrices of bytes (ARMv8.6).
    NeonI8mm,
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
    pub const ALL: [Self; 7] =
        [Self::Scalar, Self::Avx2, Self::AvxVnni, Self::Avx512Vnni, Self::Neon, Self::NeonDotprod, Self::NeonI8mm];

    /// Those that this machine can run, slowest first; never empty.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|isa| Kernels::new(*isa).is_ok())
    }

    /// The features of a processor that its kernels need, as Linux and Rust name them; empty for [`Isa::Scalar`], and where this build has no
    /// kernels for the set.
    pub const fn features(self) -> &'static [&'static str] {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => avx2::FEATURES,
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => avx_vnni::FEATURES,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => avx512::FEATURES,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => &["neon"],
            #[cfg(target_arch = "aarch64")]
            Self::NeonDotprod => neon::DOTPROD,
            #[cfg(target_arch = "aarch64")]
            Self::NeonI8mm => neon::I8MM,
            _ => &[],
        }
    }

    /// Those of [`features`](Self::features) that this machine lacks.
    pub fn missing(self) -> impl Iterator<Item = &'static str> {
        self.features().iter().copied().filter(|feature| !has(feature))
    }

    /// Lower-case name, as `EDGECLIP_ISA` takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::AvxVnni => "avx-vnni",
            Self::Avx512Vnni => "avx512-vnni",
            Self::Neon => "neon",
            Self::NeonDotprod => "neon-dotprod",
            Self::NeonI8mm => "neon-i8mm",
        }
    }
}

/// Whether this machine has a feature that one of [`Isa::features`] names.
fn has(feature: &str) -> bool {
    macro_rules! any {
        ($detected:ident: $($name:tt)*) => {
            match feature {
                $($name => std::arch::$detected!($name),)*
                _ => false,
            }
        };
    }
    #[cfg(target_arch = "x86_64")]
    return any!(is_x86_feature_detected: "avx2" "fma" "avxvnni" "avx512f" "avx512bw" "avx512dq" "avx512vl" "avx512vnni");
    #[cfg(target_arch = "aarch64")]
    return any!(is_aarch64_feature_detected: "neon" "dotprod" "i8mm");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        let _ = feature;
        false
    }
}

/// Asks for the cache line at `pointer`, which will be written and may be anything. Does nothing where there is no such instruction.
#[inline(always)]
pub(crate) fn prefetch_to_write(pointer: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every processor of this architecture has the instruction, which faults at no address.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_ET0 }>(pointer.cast());
    }
    #[cfg(target_arch = "aarch64")]
    neon::asm::prefetch_to_write(pointer);
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = pointer;
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

/// The functions of one instruction set. A table can only be had through [`Kernels::new`], which checks that the machine can run it;
/// having one is the proof that its functions may be called.
pub struct Kernels {
    isa: Isa,
    pub(crate) layout: tile::Layout,
    pub(crate) tiles: tile::Tiles,
    /// `(finish, tile)`: makes the results of a tile and puts them into the output.
    pub(crate) finish: fn(&tile::Finish<'_>, &[f32]),
    /// Quantizes one row: `(x, q) -> (scale, zero)`, with `x = scale * (q - zero)`.
    pub(crate) quantize_row: fn(&[f32], &mut [i8]) -> (f32, f32),
    /// LayerNorm of one row, two passes: `(x, parameters, out)`.
    pub(crate) layer_norm: fn(&[f32], Norm<'_>, &mut [f32]),
    /// `(scores, seen, scale) -> sum`: the first `seen` become `exp(scale * score - most)`, the others 0.
    pub(crate) soft_max: fn(&mut [f32], usize, f32) -> f32,
    /// `(x, by, out)`: `out = x / by`.
    pub(crate) divide: fn(&[f32], f32, &mut [f32]),
    /// `(q, group, sums)`: the sum of each group; a group is a multiple of 16.
    pub(crate) group_sums: fn(&[i8], usize, &mut [i32]),
    /// `(rows, out, stride)`: sixteen rows of the same length as columns, `out[i * stride + row]`.
    pub(crate) transpose: fn(&[&[f32]; lanes::LANES], &mut [f32], usize),
    /// `(a, b, sums)`: adds the products of two matrices, value by value, along their columns: `sums[c] = fma(a[row][c], b[row][c], sums[c])` in
    /// the order of the rows, which are whole vectors.
    pub(crate) sum_products: fn(&[f32], &[f32], &mut [f32]),
    /// `(band, channels, taps, out)`: rows of 8-bit samples resized horizontally; see [`crate::resize::horizontal_u8`].
    pub(crate) horizontal_u8: fn(Band<'_, u8>, usize, &Taps<i32>, &mut [u8]),
    /// `(band, weights, sums)`: adds rows of 8-bit samples to the sums of one; see [`crate::resize::vertical_u8`].
    pub(crate) vertical_u8: fn(Band<'_, u8>, &[i32], &mut [i32]),
    /// `(side, blocks, table, out, stride)`: JPEG's inverse transform of a row of blocks; see [`crate::jpeg::transform`].
    pub(crate) transform: fn(usize, &[Block], &[u16; 64], &mut [u8], usize),
    /// `(row, out)`: twice the columns; see [`crate::jpeg::double`].
    pub(crate) double: fn(&[u8], &mut [u8]),
    /// `(near, far, out)`: twice the rows and columns; see [`crate::jpeg::double_both`].
    pub(crate) double_both: fn(&[u8], &[u8], &mut [u8]),
    /// `([y, cb, cr], out)`; see [`crate::jpeg::rgb`].
    pub(crate) rgb: fn([&[u8]; 3], &mut [u8]),
}

impl Kernels {
    /// The kernels for `isa`.
    ///
    /// # Errors
    /// [`UnsupportedIsa`] if this machine or this build lacks it.
    pub fn new(isa: Isa) -> Result<&'static Self, UnsupportedIsa> {
        if isa.missing().next().is_some() {
            return Err(UnsupportedIsa(isa));
        }
        match isa {
            Isa::Scalar => Ok(&scalar::KERNELS),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Ok(&avx2::KERNELS),
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni => Ok(&avx_vnni::vex::KERNELS),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => Ok(&avx512::KERNELS),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => Ok(&neon::PLAIN_KERNELS),
            #[cfg(target_arch = "aarch64")]
            Isa::NeonDotprod => Ok(&neon::DOTPROD_KERNELS),
            #[cfg(target_arch = "aarch64")]
            Isa::NeonI8mm => Ok(&neon::I8MM_KERNELS),
            _ => Err(UnsupportedIsa(isa)),
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
