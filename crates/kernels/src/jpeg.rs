//! The arithmetic of JPEG, to the last bit: what libjpeg-turbo's kernels make of coefficients and of subsampled rows.
//!
//! Its accurate inverse transform of integers (`jidctint.c`, after Loeffler, Ligtenberg and Moschytz 1989) and the reduced ones that give fewer
//! samples (`jidctred.c`), means of adjacent ones, its triangle filter (`jdsample.c`) and its colour conversion (`jdcolor.c`). Between its steps a number has 16 bits, as
//! in the reference's kernels for vectors: products with the quantization table wrap, the results of the first pass saturate. No encoder's
//! coefficients get there, so that its plain code gives the same.
//!
//! Nothing here knows files, components or scans.

use crate::Kernels;

/// Fractional bits of the transforms' constants, and extra bits that the first pass keeps.
pub(crate) const CONST_BITS: u32 = 13;
pub(crate) const PASS1_BITS: u32 = 2;

/// The coefficients of a block, row by row.
pub type Block = [i16; 64];

/// A row of blocks of one component to its samples.
///
/// `side`: how many samples a block becomes each way, 8, 4, 2 or 1; `table`: the quantization, in the order of a block; `out`: `side` rows of
/// `stride` samples, the last as long as the blocks need.
///
/// # Panics
/// If `side` is none of these, or `out` is shorter.
pub fn transform(kernels: &Kernels, side: usize, blocks: &[Block], table: &[u16; 64], out: &mut [u8], stride: usize) {
    let wide = blocks.len() * side;
    assert!(matches!(side, 1 | 2 | 4 | 8), "blocks of {side} samples");
    if blocks.is_empty() {
        return;
    }
    assert!(wide <= stride && out.len() >= (side - 1) * stride + wide, "{side} rows of {wide} samples, {stride} apart");
    (kernels.transform)(side, blocks, table, out, stride);
}

/// Twice the columns of a row: three quarters of the nearer sample and one of the farther, the ends repeated.
///
/// # Panics
/// If `out` is not twice as long as `row`.
pub fn double(kernels: &Kernels, row: &[u8], out: &mut [u8]) {
    assert_eq!(out.len(), 2 * row.len(), "twice the columns");
    (kernels.double)(row, out);
}

/// A row of twice the rows and twice the columns: [`double`] in both directions, rounded once. `near` and `far` are the rows that it lies between.
///
/// # Panics
/// If `far` is not as long as `near`, or `out` not twice as long.
pub fn double_both(kernels: &Kernels, near: &[u8], far: &[u8], out: &mut [u8]) {
    assert_eq!(far.len(), near.len(), "rows of one component");
    assert_eq!(out.len(), 2 * near.len(), "twice the columns");
    (kernels.double_both)(near, far, out);
}

/// YCbCr (ITU-R BT.601, full range) to RGB, `[len, 3]`.
///
/// # Panics
/// If the rows are not equally long, or `out` not three times as long.
pub fn rgb(kernels: &Kernels, [y, cb, cr]: [&[u8]; 3], out: &mut [u8]) {
    assert!(y.len() == cb.len() && y.len() == cr.len(), "rows of one picture");
    assert_eq!(out.len(), 3 * y.len(), "three samples a pixel");
    (kernels.rgb)([y, cb, cr], out);
}
