//! The rules that reading and writing share: sizes, alignment, names, limits.

use crate::{ErrorKind, Metadata, TensorType, Value, limits};

/// The key that sets the alignment, and the alignment without it.
const ALIGNMENT_KEY: &str = "general.alignment";
const DEFAULT_ALIGNMENT: u64 = 32;

/// A tensor in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TensorInfo {
    /// The name, of 1 to 63 bytes.
    pub name: String,
    /// The dimensions in ggml's order: `dims[0]` is contiguous, so numpy's shape is the reverse. Up to four, none of them zero; no
    /// dimensions at all mean one element.
    pub dims: Vec<u64>,
    /// How the elements are stored. Take it from here, never from `general.file_type`, which two projects number differently.
    pub ty: TensorType,
    /// Where the data starts, counted from the start of the file's data.
    pub offset: u64,
    /// Bytes of the data without padding; `None` if the type's block is unknown.
    pub bytes: Option<u64>,
}

impl TensorInfo {
    /// Number of elements. It fits: see [`ErrorKind::DimensionSize`].
    pub fn elements(&self) -> u64 {
        self.dims.iter().product()
    }
}

/// `n` rounded up to a multiple of `alignment`, a power of two; `None` on overflow.
pub(crate) fn pad(n: u64, alignment: u64) -> Option<u64> {
    Some(n.checked_add(alignment - 1)? & !(alignment - 1))
}

/// The alignment that the metadata ask for.
///
/// The specification wants a multiple of 8, and every writer known uses 32. ggml takes any power of two, but with less than 8 the data
/// of a map could not be used in place.
pub(crate) fn alignment(metadata: &Metadata) -> Result<u64, ErrorKind> {
    match metadata.get(ALIGNMENT_KEY) {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(&Value::U32(n)) if n.is_power_of_two() && n >= 8 => Ok(n.into()),
        Some(other) => Err(ErrorKind::Alignment { found: other.describe() }),
    }
}

/// Checks name, dimensions and type of a tensor and gives the bytes of its data, if the type's block is known.
pub(crate) fn tensor_bytes(name: &str, dims: &[u64], ty: TensorType) -> Result<Option<u64>, ErrorKind> {
    if name.is_empty() || name.len() as u64 > limits::NAME_BYTES {
        return Err(ErrorKind::NameLength { name: name.to_owned() });
    }
    let name = || name.to_owned();
    if dims.len() as u64 > limits::DIMENSIONS {
        return Err(ErrorKind::DimensionCount { name: name(), found: dims.len() as u64 });
    }
    let size = || ErrorKind::DimensionSize { name: name(), dims: dims.to_vec() };
    // ggml counts in signed numbers, and divides by dimensions: neither zero nor 2^63 elements.
    let fits = |n: &u64| (1..=i64::MAX as u64).contains(n);
    dims.iter().try_fold(1u64, |n, &dim| n.checked_mul(dim).filter(fits)).ok_or_else(size)?;
    let Some(block) = ty.block() else {
        return Ok(None);
    };
    let (row, rows) = dims.split_first().map_or((1, 1), |(&row, rest)| (row, rest.iter().product::<u64>()));
    if !row.is_multiple_of(block.len) {
        return Err(ErrorKind::RowLength { name: name(), ty, block: block.len, found: row });
    }
    ty.row_bytes(row).and_then(|bytes| bytes.checked_mul(rows)).filter(fits).map(Some).ok_or_else(size)
}

/// Refuses a count or length above its limit.
pub(crate) fn check_limit(found: u64, limit: u64, item: impl FnOnce() -> String) -> Result<(), ErrorKind> {
    if found > limit {
        return Err(ErrorKind::Limit { item: item(), limit, found });
    }
    Ok(())
}

/// Refuses a key that is empty or too long.
pub(crate) fn check_key(key: &str) -> Result<(), ErrorKind> {
    if key.is_empty() {
        return Err(ErrorKind::EmptyKey);
    }
    check_limit(key.len() as u64, limits::KEY_BYTES, || "bytes of a key".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_rounds_up_and_never_wraps() {
        assert_eq!([0, 1, 32, 33].map(|n| pad(n, 32)), [Some(0), Some(32), Some(32), Some(64)]);
        assert_eq!(pad(u64::MAX, 32), None);
        assert_eq!(pad(u64::MAX - 31, 32), Some(u64::MAX - 31));
    }

    #[test]
    fn bytes_are_rows_of_blocks() {
        assert_eq!(tensor_bytes("w", &[64, 3, 2], TensorType::Q4_0).unwrap(), Some(2 * 18 * 6));
        assert_eq!(tensor_bytes("w", &[], TensorType::F32).unwrap(), Some(4));
        assert_eq!(tensor_bytes("w", &[5], TensorType::from_id(77)).unwrap(), None);
    }

    #[test]
    fn sizes_beyond_63_bits_are_refused() {
        for (dims, ty) in [
            (&[1 << 32, 1 << 32][..], TensorType::I8),
            (&[1 << 62, 2][..], TensorType::I8),
            (&[1 << 61][..], TensorType::F32),
            (&[u64::MAX][..], TensorType::from_id(77)),
            (&[4, 0, 4][..], TensorType::F32),
            (&[1 << 63, 0][..], TensorType::F32),
        ] {
            let error = tensor_bytes("w", dims, ty).unwrap_err();
            assert!(matches!(error, ErrorKind::DimensionSize { .. }), "{dims:?}: {error}");
        }
    }
}
