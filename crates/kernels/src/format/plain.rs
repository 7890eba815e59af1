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

/// As `f16::to_f32` has it, which asks the processor for its features at every call; this is a few operations, or a few for many values together.
pub(super) fn from_f16(bytes: [u8; 2]) -> f32 {
    // Exponents are 112 higher in f32; the highest stands for what is not finite, the lowest for numbers that have no leading 1.
    const HIGHER: u32 = 112 << 23;
    const ONE: u32 = 1 << 23;
    let half = u32::from(u16::from_le_bytes(bytes));
    let magnitude = (half & 0x7fff) << 13;
    let value = match half & 0x7c00 {
        0 => (f32::from_bits(magnitude + HIGHER + ONE) - f32::from_bits(HIGHER + ONE)).to_bits(),
        0x7c00 => magnitude + 2 * HIGHER,
        _ => magnitude + HIGHER,
    };
    f32::from_bits(value | (half & 0x8000) << 16)
}

pub(super) fn to_bf16(v: f32) -> [u8; 2] {
    bf16::from_f32(v).to_le_bytes()
}

pub(super) fn from_bf16(bytes: [u8; 2]) -> f32 {
    bf16::from_le_bytes(bytes).to_f32()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_is_the_float_of_its_value() {
        for bits in 0..=u16::MAX {
            let (found, expected) = (from_f16(bits.to_le_bytes()), f16::from_bits(bits).to_f32());
            let same = found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan();
            assert!(same, "{bits:#06x}: {found}, expected {expected}");
        }
    }
}
