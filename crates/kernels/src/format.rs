//! ggml's storage formats: layout, quantizer and dequantizer, to the bit.
//!
//! Layouts and rounding follow ggml's reference quantizers (`quantize_row_q8_0_ref`, `quantize_row_q4_0_ref` in `ggml-quants.c`):
//! the scale is kept in f16, but the integers are computed with the scale before it was rounded.

use std::fmt;

use half::{bf16, f16};

/// A storage format of weights that the runtime computes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of a single.
    BF16,
    /// Blocks of 32: an f16 scale and 32 signed bytes.
    Q8_0,
    /// Blocks of 32: an f16 scale and 32 nibbles, offset by 8.
    Q4_0,
}

/// A ggml type id that names no [`Format`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownFormat(pub u32);

impl fmt::Display for UnknownFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ggml type {} cannot be computed with (supported: {})", self.0, Format::ALL.map(Format::name).join(", "))
    }
}

impl std::error::Error for UnknownFormat {}

/// One Q8_0 block as it lies in a file: `[d: f16][qs: i8; 32]`, value `d * qs[i]`.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(crate) struct Q8_0 {
    d: [u8; 2],
    qs: [i8; 32],
}
const _: () = assert!(size_of::<Q8_0>() == 34 && align_of::<Q8_0>() == 1);

/// One Q4_0 block as it lies in a file: `[d: f16][qs: u8; 16]`; element `i` is the low nibble of byte `i`, element `i + 16` the high
/// nibble, value `d * (nibble - 8)`.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(crate) struct Q4_0 {
    d: [u8; 2],
    qs: [u8; 16],
}
const _: () = assert!(size_of::<Q4_0>() == 18 && align_of::<Q4_0>() == 1);

impl Q8_0 {
    /// Elements of a block.
    pub(crate) const LEN: usize = 32;

    fn quantize(x: &[f32; Self::LEN]) -> Self {
        let amax = x.iter().fold(0f32, |m, v| m.max(v.abs()));
        let d = amax / 127.0;
        let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
        Self { d: f16::from_f32(d).to_le_bytes(), qs: x.map(|v| (v * inverse).round() as i8) }
    }

    /// The block's scale.
    pub(crate) fn scale(&self) -> f32 {
        f16::from_le_bytes(self.d).to_f32()
    }

    /// The block's integers.
    pub(crate) fn quants(&self) -> [i8; Self::LEN] {
        self.qs
    }
}

impl Q4_0 {
    /// Elements of a block.
    pub(crate) const LEN: usize = 32;

    fn quantize(x: &[f32; Self::LEN]) -> Self {
        // The extreme value, with its sign, maps to -8: the one level that has no positive twin is used.
        let (mut amax, mut extreme) = (0f32, 0f32);
        for &v in x {
            if amax < v.abs() {
                (amax, extreme) = (v.abs(), v);
            }
        }
        let d = extreme / -8.0;
        let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
        let nibble = |v: f32| ((v * inverse + 8.5) as i8).min(15) as u8;
        let mut qs = [0; 16];
        for i in 0..16 {
            qs[i] = nibble(x[i]) | (nibble(x[i + 16]) << 4);
        }
        Self { d: f16::from_f32(d).to_le_bytes(), qs }
    }

    /// The block's scale.
    pub(crate) fn scale(&self) -> f32 {
        f16::from_le_bytes(self.d).to_f32()
    }

    /// The block's integers, in -8..=7.
    pub(crate) fn quants(&self) -> [i8; Self::LEN] {
        std::array::from_fn(|i| {
            let byte = self.qs[i % 16];
            (if i < 16 { byte & 15 } else { byte >> 4 }) as i8 - 8
        })
    }
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::F32, Self::F16, Self::BF16, Self::Q8_0, Self::Q4_0];

    /// The id that ggml and GGUF files use.
    pub const fn ggml_id(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q8_0 => 8,
            Self::BF16 => 30,
        }
    }

    /// The format with this ggml id.
    ///
    /// # Errors
    /// [`UnknownFormat`] if the runtime does not compute with it.
    pub fn from_ggml_id(id: u32) -> Result<Self, UnknownFormat> {
        Self::ALL.into_iter().find(|format| format.ggml_id() == id).ok_or(UnknownFormat(id))
    }

    /// ggml's name, lower case: `"q8_0"`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::Q8_0 => "q8_0",
            Self::Q4_0 => "q4_0",
        }
    }

    /// Elements of a block; a row must be a multiple of it.
    pub const fn block_len(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::BF16 => 1,
            Self::Q8_0 => Q8_0::LEN,
            Self::Q4_0 => Q4_0::LEN,
        }
    }

    /// Bytes of a block.
    pub const fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
            Self::Q8_0 => size_of::<Q8_0>(),
            Self::Q4_0 => size_of::<Q4_0>(),
        }
    }

    /// Whether values are stored as blocks of small integers.
    pub const fn is_quantized(self) -> bool {
        self.block_len() > 1
    }

    /// Bytes of a row of `len` elements, `None` if `len` is no multiple of the block or the size overflows.
    pub fn row_bytes(self, len: usize) -> Option<usize> {
        if !len.is_multiple_of(self.block_len()) {
            return None;
        }
        (len / self.block_len()).checked_mul(self.block_bytes())
    }

    /// Writes `values` in this format to `bytes`.
    ///
    /// # Panics
    /// If `bytes` is not [`row_bytes`](Self::row_bytes) of `values.len()`.
    pub fn quantize(self, values: &[f32], bytes: &mut [u8]) {
        assert_eq!(Some(bytes.len()), self.row_bytes(values.len()), "{} row of {} values", self.name(), values.len());
        match self {
            Self::F32 => bytes.chunks_exact_mut(4).zip(values).for_each(|(b, v)| b.copy_from_slice(&v.to_le_bytes())),
            Self::F16 => {
                bytes.chunks_exact_mut(2).zip(values).for_each(|(b, &v)| b.copy_from_slice(&f16::from_f32(v).to_le_bytes()))
            }
            Self::BF16 => {
                bytes.chunks_exact_mut(2).zip(values).for_each(|(b, &v)| b.copy_from_slice(&bf16::from_f32(v).to_le_bytes()))
            }
            Self::Q8_0 => {
                let blocks: &mut [Q8_0] = bytemuck::cast_slice_mut(bytes);
                blocks.iter_mut().zip(values.as_chunks().0).for_each(|(block, x)| *block = Q8_0::quantize(x));
            }
            Self::Q4_0 => {
                let blocks: &mut [Q4_0] = bytemuck::cast_slice_mut(bytes);
                blocks.iter_mut().zip(values.as_chunks().0).for_each(|(block, x)| *block = Q4_0::quantize(x));
            }
        }
    }

    /// Reads `bytes` of this format into `values`.
    ///
    /// # Panics
    /// If `bytes` is not [`row_bytes`](Self::row_bytes) of `values.len()`.
    pub fn dequantize(self, bytes: &[u8], values: &mut [f32]) {
        assert_eq!(Some(bytes.len()), self.row_bytes(values.len()), "{} row of {} values", self.name(), values.len());
        match self {
            Self::F32 => bytes.as_chunks().0.iter().zip(values).for_each(|(b, v)| *v = f32::from_le_bytes(*b)),
            Self::F16 => bytes.as_chunks().0.iter().zip(values).for_each(|(b, v)| *v = f16::from_le_bytes(*b).to_f32()),
            Self::BF16 => bytes.as_chunks().0.iter().zip(values).for_each(|(b, v)| *v = bf16::from_le_bytes(*b).to_f32()),
            Self::Q8_0 => {
                for (block, y) in bytemuck::cast_slice::<_, Q8_0>(bytes).iter().zip(values.as_chunks_mut::<32>().0) {
                    let d = block.scale();
                    *y = block.qs.map(|q| f32::from(q) * d);
                }
            }
            Self::Q4_0 => {
                for (block, y) in bytemuck::cast_slice::<_, Q4_0>(bytes).iter().zip(values.as_chunks_mut::<32>().0) {
                    let d = block.scale();
                    *y = block.quants().map(|q| f32::from(q) * d);
                }
            }
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_names_are_distinct_and_round_trip() {
        for format in Format::ALL {
            assert_eq!(Format::from_ggml_id(format.ggml_id()), Ok(format));
        }
        assert_eq!(Format::from_ggml_id(12), Err(UnknownFormat(12)));
    }

    #[test]
    fn a_row_must_be_whole_blocks() {
        assert_eq!(Format::Q4_0.row_bytes(64), Some(36));
        assert_eq!(Format::Q8_0.row_bytes(33), None);
        assert_eq!(Format::F32.row_bytes(usize::MAX), None);
    }

    #[test]
    fn q8_0_rounds_half_away_from_zero_with_the_unrounded_scale() {
        // amax 127 gives d = 1 exactly, so the values are the integers after rounding.
        let mut x = [0f32; 32];
        x[..6].copy_from_slice(&[127.0, 0.5, -0.5, 1.5, -2.5, 0.49]);
        let block = Q8_0::quantize(&x);
        assert_eq!(&block.quants()[..6], &[127, 1, -1, 2, -3, 0]);
        assert_eq!(block.scale(), 1.0);
    }

    #[test]
    fn q4_0_maps_the_signed_extreme_to_minus_eight_and_clips_at_seven() {
        let mut x = [0f32; 32];
        x[0] = 8.0;
        x[1] = -8.0;
        x[17] = 1.0;
        let block = Q4_0::quantize(&x);
        assert_eq!(block.scale(), -1.0);
        let q = block.quants();
        assert_eq!((q[0], q[1], q[17], q[2]), (-8, 7, -1, 0));
    }

    #[test]
    fn zero_blocks_stay_zero() {
        for format in Format::ALL {
            let mut bytes = vec![0xA5; format.row_bytes(64).unwrap()];
            format.quantize(&[0.0; 64], &mut bytes);
            let mut back = [f32::NAN; 64];
            format.dequantize(&bytes, &mut back);
            assert_eq!(back, [0.0; 64], "{format}");
        }
    }
}
