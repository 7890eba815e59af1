//! AVX2 and FMA: for now the plain loops of [`super::scalar`], compiled with both features switched on.
//!
//! Hand-written tiles take their place one by one behind the same table; the bits stay.

use super::{Activation, AttentionArgs, Int8Rows, Int8Weights, Isa, Kernels, NormArgs, scalar};

/// Whether this machine can run these kernels. The features must be those of the functions below.
pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

/// Handed out by [`Kernels::new`] only after [`is_available`] has said yes.
pub(super) static KERNELS: Kernels = Kernels {
    isa: Isa::Avx2,
    quantize_row: |x, q| {
        // SAFETY: the table is only reachable on a machine with AVX2 and FMA.
        unsafe { quantize_row(x, q) }
    },
    linear_int8: |x, w, out| {
        // SAFETY: the table is only reachable on a machine with AVX2 and FMA.
        unsafe { linear_int8(x, w, out) }
    },
    linear_f32: |k, x, w, out| {
        // SAFETY: the table is only reachable on a machine with AVX2 and FMA.
        unsafe { linear_f32(k, x, w, out) }
    },
    layer_norm: |x, p, out| {
        // SAFETY: the table is only reachable on a machine with AVX2 and FMA.
        unsafe { layer_norm(x, p, out) }
    },
    attention: |args, out| {
        // SAFETY: the table is only reachable on a machine with AVX2 and FMA.
        unsafe { attention(args, out) }
    },
    activate: |activation, x| {
        // SAFETY: the table is only reachable on a machine with AVX2 and FMA.
        unsafe { activate(activation, x) }
    },
};

#[target_feature(enable = "avx2,fma")]
fn quantize_row(x: &[f32], q: &mut [i8]) -> (f32, i32) {
    scalar::quantize_row(x, q)
}

#[target_feature(enable = "avx2,fma")]
fn linear_int8(x: Int8Rows<'_>, w: Int8Weights<'_>, out: &mut [f32]) {
    scalar::linear_int8(x, w, out);
}

#[target_feature(enable = "avx2,fma")]
fn linear_f32(k: usize, x: &[f32], w: &[f32], out: &mut [f32]) {
    scalar::linear_f32(k, x, w, out);
}

#[target_feature(enable = "avx2,fma")]
fn layer_norm(x: &[f32], p: NormArgs<'_>, out: &mut [f32]) {
    scalar::layer_norm(x, p, out);
}

#[target_feature(enable = "avx2,fma")]
fn attention(args: AttentionArgs<'_>, out: &mut [f32]) {
    scalar::attention(args, out);
}

#[target_feature(enable = "avx2,fma")]
fn activate(activation: Activation, x: &mut [f32]) {
    scalar::activate(activation, x);
}
