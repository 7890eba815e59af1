//! Floats that stand by themselves: f32, f16, bf16.

use half::{bf16, f16};

/// Writes `values` to `bytes`, `N` of them each.
pub(super) fn write<const N: usize>(values: &[f32], bytes: &mut [u8], store: impl Fn(f32) -> [u8; N]) {
    bytes.as_chunks_mut().0.iter_mut().zip(values).for_each(|(b, &v)| *b = store(v));
}

/// Reads `bytes`, `N` of them a value.
pub(super) fn read<const N: usize>(bytes: &[u8], values: &mut [f32], load: impl Fn([u8; N]) -> f32) {
    bytes.as_chunks().0.iter().zip(values).for_each(|(b, v)| *v = load(*b));
}

pub(super) fn to_f16(v: f32) -> [u8; 2] {
    f16::from_f32(v).to_le_bytes()
}

pub(super) fn from_f16(bytes: [u8; 2]) -> f32 {
    f16::from_le_bytes(bytes).to_f32()
}

pub(super) fn to_bf16(v: f32) -> [u8; 2] {
    bf16::from_f32(v).to_le_bytes()
}

pub(super) fn from_bf16(bytes: [u8; 2]) -> f32 {
    bf16::from_le_bytes(bytes).to_f32()
}
