//! The numbers that say how a tensor's elements are stored.
//!
//! A file from tomorrow may hold a type that nobody has named yet, so a [`TensorType`] is any number; what is known about it (a name,
//! a block) is looked up. What the bits inside a block mean belongs to the kernels: this crate only has to know how long a row is.

use std::fmt;

/// How the elements of a tensor are stored: ggml's `enum ggml_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TensorType(u32);

/// The unit in which a type stores its elements: `len` neighbours of a row in `bytes` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Elements in a block; 1 for plain numbers. The length of a row is a multiple of it.
    pub len: u64,
    /// Bytes of a block.
    pub bytes: u64,
}

/// A line of the table: number, name, and elements and bytes of a block.
type Entry = (u32, &'static str, Option<(u64, u64)>);

/// Declares the constants and the table from one list, so that they cannot drift apart.
macro_rules! tensor_types {
    ($($constant:ident = $id:literal, $name:literal, $block:expr;)*) => {
        impl TensorType {
            $(#[doc = concat!("`", $name, "`, number ", $id, ".")] pub const $constant: Self = Self($id);)*
        }

        const TABLE: &[Entry] = &[$(($id, $name, $block)),*];
    };
}

// Numbers: ggml/include/ggml.h; blocks: ggml/src/ggml-common.h (both of ggml as of 2026). `None` marks types that ggml once had and
// removed: it refuses them too, so their blocks do not matter. A fork uses number 42 with blocks of 128; ggml's own have 64.
tensor_types! {
    F32 = 0, "f32", Some((1, 4));
    F16 = 1, "f16", Some((1, 2));
    Q4_0 = 2, "q4_0", Some((32, 18));
    Q4_1 = 3, "q4_1", Some((32, 20));
    Q4_2 = 4, "q4_2", None;
    Q4_3 = 5, "q4_3", None;
    Q5_0 = 6, "q5_0", Some((32, 22));
    Q5_1 = 7, "q5_1", Some((32, 24));
    Q8_0 = 8, "q8_0", Some((32, 34));
    Q8_1 = 9, "q8_1", Some((32, 36));
    Q2_K = 10, "q2_k", Some((256, 84));
    Q3_K = 11, "q3_k", Some((256, 110));
    Q4_K = 12, "q4_k", Some((256, 144));
    Q5_K = 13, "q5_k", Some((256, 176));
    Q6_K = 14, "q6_k", Some((256, 210));
    Q8_K = 15, "q8_k", Some((256, 292));
    IQ2_XXS = 16, "iq2_xxs", Some((256, 66));
    IQ2_XS = 17, "iq2_xs", Some((256, 74));
    IQ3_XXS = 18, "iq3_xxs", Some((256, 98));
    IQ1_S = 19, "iq1_s", Some((256, 50));
    IQ4_NL = 20, "iq4_nl", Some((32, 18));
    IQ3_S = 21, "iq3_s", Some((256, 110));
    IQ2_S = 22, "iq2_s", Some((256, 82));
    IQ4_XS = 23, "iq4_xs", Some((256, 136));
    I8 = 24, "i8", Some((1, 1));
    I16 = 25, "i16", Some((1, 2));
    I32 = 26, "i32", Some((1, 4));
    I64 = 27, "i64", Some((1, 8));
    F64 = 28, "f64", Some((1, 8));
    IQ1_M = 29, "iq1_m", Some((256, 56));
    BF16 = 30, "bf16", Some((1, 2));
    Q4_0_4_4 = 31, "q4_0_4_4", None;
    Q4_0_4_8 = 32, "q4_0_4_8", None;
    Q4_0_8_8 = 33, "q4_0_8_8", None;
    TQ1_0 = 34, "tq1_0", Some((256, 54));
    TQ2_0 = 35, "tq2_0", Some((256, 66));
    IQ4_NL_4_4 = 36, "iq4_nl_4_4", None;
    IQ4_NL_4_8 = 37, "iq4_nl_4_8", None;
    IQ4_NL_8_8 = 38, "iq4_nl_8_8", None;
    MXFP4 = 39, "mxfp4", Some((32, 17));
    NVFP4 = 40, "nvfp4", Some((64, 36));
    Q1_0 = 41, "q1_0", Some((128, 18));
    Q2_0 = 42, "q2_0", Some((64, 18));
}

impl TensorType {
    /// The type of this number, whether anybody has named it or not.
    pub const fn from_id(id: u32) -> Self {
        Self(id)
    }

    /// The type of this lower-case name.
    pub fn from_name(name: &str) -> Option<Self> {
        TABLE.iter().find(|entry| entry.1 == name).map(|entry| Self(entry.0))
    }

    /// The number in the file.
    pub const fn id(self) -> u32 {
        self.0
    }

    /// The name in lower case, `"q8_0"`; `None` for a number that ggml has not given away.
    pub fn name(self) -> Option<&'static str> {
        self.entry().map(|entry| entry.1)
    }

    /// The block; `None` if the type is unknown or one that ggml has removed.
    pub fn block(self) -> Option<Block> {
        let (len, bytes) = self.entry()?.2?;
        Some(Block { len, bytes })
    }

    /// Bytes of a row of `ne0` elements; `None` if the block is unknown, if `ne0` is no multiple of its length, or on overflow.
    pub fn row_bytes(self, ne0: u64) -> Option<u64> {
        let block = self.block()?;
        if !ne0.is_multiple_of(block.len) {
            return None;
        }
        (ne0 / block.len).checked_mul(block.bytes)
    }

    fn entry(self) -> Option<&'static Entry> {
        let entry = TABLE.get(usize::try_from(self.0).ok()?)?;
        debug_assert_eq!(entry.0, self.0, "the table is sorted and has no holes");
        Some(entry)
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => f.pad(&format!("type {}", self.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_indexed_by_number() {
        for (index, entry) in TABLE.iter().enumerate() {
            assert_eq!(entry.0 as usize, index, "{}", entry.1);
        }
    }

    #[test]
    fn names_go_both_ways_and_unknown_numbers_have_none() {
        assert_eq!(TensorType::from_name("q6_k"), Some(TensorType::Q6_K));
        assert_eq!(TensorType::from_name("Q6_K"), None);
        assert_eq!(TensorType::Q4_0_8_8.to_string(), "q4_0_8_8");
        assert_eq!(TensorType::from_id(77).to_string(), "type 77");
        assert_eq!(TensorType::from_id(77).name(), None);
        assert_eq!(TensorType::from_id(u32::MAX).block(), None);
        assert_eq!(TensorType::Q4_2.block(), None);
    }

    #[test]
    fn rows_are_whole_blocks() {
        assert_eq!(TensorType::Q8_0.row_bytes(96), Some(3 * 34));
        assert_eq!(TensorType::Q8_0.row_bytes(95), None);
        assert_eq!(TensorType::F32.row_bytes(u64::MAX / 4), Some(u64::MAX / 4 * 4));
        assert_eq!(TensorType::F32.row_bytes(u64::MAX / 4 + 1), None);
        assert_eq!(TensorType::Q5_1.row_bytes(0), Some(0));
    }
}
