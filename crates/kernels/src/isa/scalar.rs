//! The plain loops: the definition of every kernel.
//!
//! The bodies are `inline(always)` so that another instruction set can compile the same loops with its own features switched on
//! ([`super::avx2`]); that changes the speed and not one bit, since every float operation is written out, fused where it says so.

use std::array;

use super::{Activation, AttentionArgs, GROUP, HALF_GROUP, Int8Rows, Int8Weights, Isa, Kernels, NormArgs};
use crate::math::{erf, exp};

pub(super) static KERNELS: Kernels =
    Kernels { isa: Isa::Scalar, quantize_row, linear_int8, linear_f32, layer_norm, attention, activate };

const LANES: usize = 16;

#[inline(always)]
fn fold(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for i in 0..LANES {
            lanes[i] = a[i].mul_add(b[i], lanes[i]);
        }
    }
    for (i, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
        lanes[i] = a.mul_add(*b, lanes[i]);
    }
    fold(lanes)
}

/// The sum of `f(x)` in lanes.
#[inline(always)]
fn sum(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for i in 0..LANES {
            lanes[i] += f(chunk[i]);
        }
    }
    for (i, &v) in rest.iter().enumerate() {
        lanes[i] += f(v);
    }
    fold(lanes)
}

#[inline(always)]
pub(super) fn quantize_row(x: &[f32], q: &mut [i8]) -> (f32, i32) {
    // The range contains zero, so that the zero point is a level and a constant row keeps its value.
    let (mut low, mut high, mut finite) = (0f32, 0f32, true);
    for &v in x {
        low = if v < low { v } else { low };
        high = if v > high { v } else { high };
        finite &= v.is_finite();
    }
    let scale = (high - low) / 255.0;
    if !finite || !scale.is_finite() {
        // A broken row must stay visibly broken all the way to the embedding.
        q.fill(0);
        return (f32::NAN, 0);
    }
    if scale < f32::MIN_POSITIVE {
        q.fill(0);
        return (0.0, 0);
    }
    let inverse = 1.0 / scale;
    let zero = (-128.0 - low * inverse).round_ties_even();
    for (q, &v) in q.iter_mut().zip(x) {
        let level = (v * inverse).round_ties_even() + zero;
        let level = if level < -128.0 { -128.0 } else { level };
        let level = if level > 127.0 { 127.0 } else { level };
        *q = level as i32 as i8;
    }
    (scale, zero as i32)
}

#[inline(always)]
pub(super) fn linear_int8(x: Int8Rows<'_>, w: Int8Weights<'_>, out: &mut [f32]) {
    match w.group {
        GROUP => int8_groups::<GROUP>(x, w, out),
        HALF_GROUP => int8_groups::<HALF_GROUP>(x, w, out),
        group => unreachable!("weights in groups of {group}"),
    }
}

#[inline(always)]
fn int8_groups<const G: usize>(x: Int8Rows<'_>, w: Int8Weights<'_>, out: &mut [f32]) {
    if w.min.is_empty() {
        int8_product::<G, false>(x, w, &[], out);
    } else {
        // [m, k / G], exact. A minimum is a factor of the sum of its group of activations.
        let sums: Vec<f32> = x.q.as_chunks::<G>().0.iter().map(|q| q.iter().map(|&q| i32::from(q)).sum::<i32>() as f32).collect();
        int8_product::<G, true>(x, w, &sums, out);
    }
}

#[inline(always)]
fn int8_product<const G: usize, const MIN: bool>(x: Int8Rows<'_>, w: Int8Weights<'_>, sums: &[f32], out: &mut [f32]) {
    let n = w.sum.len();
    let m = x.scale.len();
    // Four rows share each load of the weights.
    let whole = m / 4 * 4;
    let (fours, ones) = out.split_at_mut(whole * n);
    for (i, out) in fours.chunks_exact_mut(4 * n).enumerate() {
        int8_rows::<4, G, MIN>(x, w, sums, 4 * i, out);
    }
    for (i, out) in ones.chunks_exact_mut(n).enumerate() {
        int8_rows::<1, G, MIN>(x, w, sums, whole + i, out);
    }
}

#[inline(always)]
fn int8_rows<const M: usize, const G: usize, const MIN: bool>(
    x: Int8Rows<'_>,
    w: Int8Weights<'_>,
    sums: &[f32],
    m: usize,
    out: &mut [f32],
) {
    let n = w.sum.len();
    let groups = x.k / G;
    let rows: [&[[i8; G]]; M] = array::from_fn(|r| x.q[(m + r) * x.k..][..x.k].as_chunks().0);
    let row_sums: [&[f32]; M] = array::from_fn(|r| if MIN { &sums[(m + r) * groups..][..groups] } else { &[] });
    for col in 0..n {
        let weights = w.q[col * x.k..][..x.k].as_chunks::<G>().0;
        let scales = &w.scale[col * groups..][..groups];
        let mut acc = [0f32; M];
        for g in 0..groups {
            for r in 0..M {
                let mut dot = 0i32;
                for i in 0..G {
                    dot += i32::from(rows[r][g][i]) * i32::from(weights[g][i]);
                }
                acc[r] = (dot as f32).mul_add(scales[g], acc[r]);
            }
        }
        if MIN {
            let mut low = [0f32; M];
            for (g, min) in w.min[col * groups..][..groups].iter().enumerate() {
                for r in 0..M {
                    low[r] = row_sums[r][g].mul_add(*min, low[r]);
                }
            }
            for r in 0..M {
                acc[r] += low[r];
            }
        }
        for r in 0..M {
            let shifted = (-(x.zero[m + r] as f32)).mul_add(w.sum[col], acc[r]);
            out[r * n + col] = x.scale[m + r] * shifted;
        }
    }
}

#[inline(always)]
pub(super) fn linear_f32(k: usize, x: &[f32], w: &[f32], out: &mut [f32]) {
    let n = w.len() / k;
    for (four, out) in x.chunks(4 * k).zip(out.chunks_mut(4 * n)) {
        for (col, w) in w.chunks_exact(k).enumerate() {
            for (r, x) in four.chunks_exact(k).enumerate() {
                out[r * n + col] = dot(x, w);
            }
        }
    }
}

#[inline(always)]
pub(super) fn layer_norm(x: &[f32], p: NormArgs<'_>, out: &mut [f32]) {
    let n = x.len() as f32;
    let mean = sum(x, |v| v) / n;
    let variance = sum(x, |v| (v - mean) * (v - mean)) / n;
    let rstd = 1.0 / (variance + p.eps).sqrt();
    for (((y, &v), &gain), &shift) in out.iter_mut().zip(x).zip(p.gain).zip(p.shift) {
        *y = ((v - mean) * rstd).mul_add(gain, shift);
    }
}

#[inline(always)]
pub(super) fn attention(args: AttentionArgs<'_>, out: &mut [f32]) {
    let AttentionArgs { qkv, width, heads, causal, first } = args;
    let (stride, size) = (3 * width, width / heads);
    let tokens = qkv.len() / stride;
    let scale = 1.0 / (size as f32).sqrt();
    let mut scores = vec![0f32; tokens];
    for (row, out) in out.chunks_exact_mut(width).enumerate() {
        let token = first + row;
        let seen = if causal { token + 1 } else { tokens };
        let scores = &mut scores[..seen];
        for (head, out) in out.chunks_exact_mut(size).enumerate() {
            let query = &qkv[token * stride + head * size..][..size];
            let mut top = f32::NEG_INFINITY;
            for (j, score) in scores.iter_mut().enumerate() {
                *score = dot(query, &qkv[j * stride + width + head * size..][..size]) * scale;
                top = if *score > top { *score } else { top };
            }
            for score in scores.iter_mut() {
                *score = exp(*score - top);
            }
            let total = sum(scores, |v| v);
            out.fill(0.0);
            for (j, score) in scores.iter().enumerate() {
                let value = &qkv[j * stride + 2 * width + head * size..][..size];
                for (y, v) in out.iter_mut().zip(value) {
                    *y = score.mul_add(*v, *y);
                }
            }
            for y in out {
                *y /= total;
            }
        }
    }
}

#[inline(always)]
pub(super) fn activate(activation: Activation, x: &mut [f32]) {
    match activation {
        Activation::QuickGelu => x.iter_mut().for_each(|v| *v /= 1.0 + exp(*v * -1.702)),
        Activation::Gelu => x.iter_mut().for_each(|v| *v = 0.5 * *v * (1.0 + erf(*v * std::f32::consts::FRAC_1_SQRT_2))),
        // 0.5 (1 + tanh u) is sigmoid(2 u).
        Activation::GeluTanh => x.iter_mut().for_each(|v| {
            const ROOT: f32 = 0.797_884_6; // sqrt(2 / pi)
            let u = ROOT * (0.044_715 * *v * *v).mul_add(*v, *v);
            *v /= 1.0 + exp(-2.0 * u);
        }),
    }
}
