//! ggml's storage formats: layout, quantizer and dequantizer, to the bit.
//!
//! Layouts and rounding follow ggml's reference quantizers (`quantize_row_q8_0_ref`, `quantize_row_q4_1_ref` and so on in
//! `ggml-quants.c`): scale and minimum are kept in f16, but the integers are computed with both before they were rounded. Beside that
//! simple rule there is a search for scales with less error ([`Format::quantize_searched`]).

mod block32;
mod k_quants;
mod plain;
mod search;

use std::fmt;

pub(crate) use self::{
    block32::{Q4_0, Q4_1, Q5_0, Q5_1, Q8_0},
    k_quants::{Q4K, Q6K},
};

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
    /// Blocks of 256: an f16 scale, a signed byte as scale of each 16, and 6 bits a value, offset by 32.
    Q6K,
    /// Blocks of 32: an f16 scale, an f16 minimum, and 5 bits a value.
    Q5_1,
    /// Blocks of 32: an f16 scale and 5 bits a value, offset by 16.
    Q5_0,
    /// Blocks of 32: an f16 scale, an f16 minimum, and 32 nibbles.
    Q4_1,
    /// Blocks of 256: an f16 scale of scales and one of minima, 6 bits for the scale and the minimum of each 32, and nibbles.
    Q4K,
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

/// A block of `LEN` values as it lies in a file. A value is `scale * quant + min`, rounded twice.
pub(crate) trait Block<const LEN: usize>: bytemuck::Pod {
    /// Elements that share a scale, and a minimum if there is one.
    const GROUP: usize;

    /// The simple rule.
    fn quantize(x: &[f32; LEN]) -> Self;

    /// The least error that a search finds, never more than the simple rule's.
    fn search(x: &[f32; LEN]) -> Self {
        Self::quantize(x)
    }

    /// The integers of the values.
    fn quants(&self) -> [i8; LEN];

    /// The scale of a group.
    fn scale(&self, group: usize) -> f32;

    /// The minimum of a group. That of a format without is -0, which added to a float is that float, be it 0 or -0.
    fn min(&self, group: usize) -> f32 {
        let _ = group;
        -0.0
    }

    fn dequantize(&self, y: &mut [f32; LEN]) {
        for (group, (y, q)) in y.chunks_exact_mut(Self::GROUP).zip(self.quants().chunks_exact(Self::GROUP)).enumerate() {
            let (scale, min) = (self.scale(group), self.min(group));
            y.iter_mut().zip(q).for_each(|(y, &q)| *y = scale * f32::from(q) + min);
        }
    }
}

/// Writes `values` to `bytes`, a block at a time.
fn write<const LEN: usize, B: Block<LEN>>(values: &[f32], bytes: &mut [u8], quantize: impl Fn(&[f32; LEN]) -> B) {
    let blocks: &mut [B] = bytemuck::cast_slice_mut(bytes);
    blocks.iter_mut().zip(values.as_chunks().0).for_each(|(block, x)| *block = quantize(x));
}

/// Reads `bytes` into `values`, a block at a time.
fn read<const LEN: usize, B: Block<LEN>>(bytes: &[u8], values: &mut [f32], dequantize: impl Fn(&B, &mut [f32; LEN])) {
    let blocks: &[B] = bytemuck::cast_slice(bytes);
    blocks.iter().zip(values.as_chunks_mut().0).for_each(|(block, y)| dequantize(block, y));
}

impl Format {
    /// All of them, largest first.
    pub const ALL: [Self; 10] =
        [Self::F32, Self::F16, Self::BF16, Self::Q8_0, Self::Q6K, Self::Q5_1, Self::Q5_0, Self::Q4_1, Self::Q4K, Self::Q4_0];

    /// The id that ggml and GGUF files use.
    pub const fn ggml_id(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q4_1 => 3,
            Self::Q5_0 => 6,
            Self::Q5_1 => 7,
            Self::Q8_0 => 8,
            Self::Q4K => 12,
            Self::Q6K => 14,
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
            Self::Q6K => "q6_k",
            Self::Q5_1 => "q5_1",
            Self::Q5_0 => "q5_0",
            Self::Q4_1 => "q4_1",
            Self::Q4K => "q4_k",
            Self::Q4_0 => "q4_0",
        }
    }

    /// Elements of a block; a row must be a multiple of it.
    pub const fn block_len(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::BF16 => 1,
            Self::Q8_0 | Self::Q5_1 | Self::Q5_0 | Self::Q4_1 | Self::Q4_0 => 32,
            Self::Q6K | Self::Q4K => 256,
        }
    }

    /// Bytes of a block.
    pub const fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
            Self::Q8_0 => size_of::<Q8_0>(),
            Self::Q6K => size_of::<Q6K>(),
            Self::Q5_1 => size_of::<Q5_1>(),
            Self::Q5_0 => size_of::<Q5_0>(),
            Self::Q4_1 => size_of::<Q4_1>(),
            Self::Q4K => size_of::<Q4K>(),
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

    /// Writes `values` in this format to `bytes`, by the simple rule: scales from the extremes of each block, as ggml has it.
    ///
    /// # Panics
    /// If `bytes` is not [`row_bytes`](Self::row_bytes) of `values.len()`.
    pub fn quantize(self, values: &[f32], bytes: &mut [u8]) {
        self.check(values.len(), bytes.len());
        match self {
            Self::F32 => plain::write(values, bytes, f32::to_le_bytes),
            Self::F16 => plain::write(values, bytes, plain::to_f16),
            Self::BF16 => plain::write(values, bytes, plain::to_bf16),
            Self::Q8_0 => write(values, bytes, Q8_0::quantize),
            Self::Q6K => write(values, bytes, Q6K::quantize),
            Self::Q5_1 => write(values, bytes, Q5_1::quantize),
            Self::Q5_0 => write(values, bytes, Q5_0::quantize),
            Self::Q4_1 => write(values, bytes, Q4_1::quantize),
            Self::Q4K => write(values, bytes, Q4K::quantize),
            Self::Q4_0 => write(values, bytes, Q4_0::quantize),
        }
    }

    /// Writes `values` in this format to `bytes`, with a search for the scales of least squared error. No block is further from its values
    /// than [`quantize`](Self::quantize) leaves it; where there is nothing to gain (floats, [`Q8_0`](Self::Q8_0)) the bytes are the same.
    ///
    /// # Panics
    /// If `bytes` is not [`row_bytes`](Self::row_bytes) of `values.len()`.
    pub fn quantize_searched(self, values: &[f32], bytes: &mut [u8]) {
        self.check(values.len(), bytes.len());
        match self {
            Self::F32 | Self::F16 | Self::BF16 | Self::Q8_0 => self.quantize(values, bytes),
            Self::Q6K => write(values, bytes, Q6K::search),
            Self::Q5_1 => write(values, bytes, Q5_1::search),
            Self::Q5_0 => write(values, bytes, Q5_0::search),
            Self::Q4_1 => write(values, bytes, Q4_1::search),
            Self::Q4K => write(values, bytes, Q4K::search),
            Self::Q4_0 => write(values, bytes, Q4_0::search),
        }
    }

    /// Reads `bytes` of this format into `values`.
    ///
    /// # Panics
    /// If `bytes` is not [`row_bytes`](Self::row_bytes) of `values.len()`.
    pub fn dequantize(self, bytes: &[u8], values: &mut [f32]) {
        self.check(values.len(), bytes.len());
        match self {
            Self::F32 => plain::read(bytes, values, f32::from_le_bytes),
            Self::F16 => plain::read(bytes, values, plain::from_f16),
            Self::BF16 => plain::read(bytes, values, plain::from_bf16),
            Self::Q8_0 => read(bytes, values, Q8_0::dequantize),
            Self::Q6K => read(bytes, values, Q6K::dequantize),
            Self::Q5_1 => read(bytes, values, Q5_1::dequantize),
            Self::Q5_0 => read(bytes, values, Q5_0::dequantize),
            Self::Q4_1 => read(bytes, values, Q4_1::dequantize),
            Self::Q4K => read(bytes, values, Q4K::dequantize),
            Self::Q4_0 => read(bytes, values, Q4_0::dequantize),
        }
    }

    fn check(self, values: usize, bytes: usize) {
        assert_eq!(Some(bytes), self.row_bytes(values), "{} row of {values} values", self.name());
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
            assert_eq!(Format::ALL.into_iter().filter(|other| other.name() == format.name()).count(), 1);
        }
        assert_eq!(Format::from_ggml_id(13), Err(UnknownFormat(13)));
    }

    #[test]
    fn a_row_must_be_whole_blocks() {
        assert_eq!(Format::Q4_0.row_bytes(64), Some(36));
        assert_eq!(Format::Q8_0.row_bytes(33), None);
        assert_eq!(Format::Q6K.row_bytes(512), Some(420));
        assert_eq!(Format::Q4K.row_bytes(128), None);
        assert_eq!(Format::F32.row_bytes(usize::MAX), None);
    }

    #[test]
    fn zero_blocks_stay_zero() {
        for format in Format::ALL {
            for quantize in [Format::quantize, Format::quantize_searched] {
                let mut bytes = vec![0xA5; format.row_bytes(512).unwrap()];
                quantize(format, &[0.0; 512], &mut bytes);
                let mut back = [f32::NAN; 512];
                format.dequantize(&bytes, &mut back);
                assert_eq!(back, [0.0; 512], "{format}");
            }
        }
    }
}
