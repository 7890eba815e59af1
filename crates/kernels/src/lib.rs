//! The arithmetic of edgeclip: block formats, packed linears, attention, norms, activations, Pillow's resize rows and
//! JPEG's arithmetic.
//!
//! This crate knows slices. It knows no files and no models: a weight arrives as [`bytes::Bytes`] with a [`Format`] and a shape.
//!
//! * [`Format`]: the storage formats of ggml that the runtime computes with, quantized and dequantized to the bit as ggml does, and a search
//!   for scales with less error.
//! * [`Kernels`]: one table of functions for each instruction set, chosen once at run time.
//! * [`Linear`]: a weight matrix packed for such a table, with its bias and the fused [`Epilogue`].
//! * [`Activations`]: the left-hand side of a linear, quantized in the same pass as the LayerNorm that makes it.
//! * [`attention`], [`resize`], [`jpeg`].
//!
//! # Order of summation
//! Every sum of floats in this crate has one order, whatever the instruction set, the batch and the number of threads: a product of floats in
//! the order of its inputs, the groups of a quantized weight along the row, other sums in lanes (`isa::rows`). Vectors therefore agree bit for bit
//! between machines.

#[cfg(target_endian = "big")]
compile_error!("edgeclip reads little-endian weights in place and has not been ported to big-endian machines");

mod activations;
mod aligned;
pub mod attention;
mod disjoint;
mod format;
pub mod isa;
pub mod jpeg;
mod linear;
mod math;
mod packed;
mod panels;
mod region;
pub mod resize;
mod scratch;
mod threads;

pub use activations::{Activations, Norm, Precision, layer_norm};
pub use format::{Format, UnknownFormat};
pub use isa::{Activation, Isa, Kernels, UnsupportedIsa};
pub use linear::{Epilogue, Groups, Linear, LinearError, Rows};
pub use threads::Threads;
