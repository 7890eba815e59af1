//! A tensor as a container holds it.

use bytes::Bytes;
use edgeclip_model::Format;
use safetensors::Dtype;

/// A tensor in place: a window on a file's bytes, which need not be contiguous.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    /// As PyTorch states it: the dimension that changes fastest comes last.
    pub(crate) shape: Vec<usize>,
    /// Elements between neighbours along each dimension.
    pub(crate) strides: Vec<usize>,
    /// From the first element on. Whoever makes a `Stored` has checked that every element which shape and strides reach is in there.
    pub(crate) bytes: Bytes,
}

impl Stored {
    /// Number of elements; `None` if it overflows.
    pub(crate) fn elements(&self) -> Option<usize> {
        self.shape.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim))
    }

    /// The format of its elements, if weights may have it.
    pub(crate) fn format(&self) -> Option<Format> {
        match self.dtype {
            Dtype::F32 => Some(Format::F32),
            Dtype::F16 => Some(Format::F16),
            Dtype::BF16 => Some(Format::BF16),
            _ => None,
        }
    }

    /// Whether the elements lie side by side in the order of the indices.
    pub(crate) fn is_contiguous(&self) -> bool {
        // The stride of a dimension of one element is never used.
        let strides = self.shape.iter().zip(&self.strides).zip(contiguous(&self.shape));
        strides.into_iter().all(|((&dim, &stride), expected)| dim <= 1 || stride == expected)
    }

    /// The matrix with rows and columns exchanged.
    pub(crate) fn transposed(mut self) -> Self {
        self.shape.reverse();
        self.strides.reverse();
        self
    }

    /// Part `index` of `count` equal ones along the first dimension, `None` if it cannot be divided so.
    pub(crate) fn part(&self, index: usize, count: usize) -> Option<Self> {
        let (&rows, &stride) = (self.shape.first()?, self.strides.first()?);
        if !rows.is_multiple_of(count) {
            return None;
        }
        let mut part = self.clone();
        part.shape[0] = rows / count;
        // An empty tensor need not have any bytes.
        let skipped = index * (rows / count) * stride * (self.dtype.bitsize() / 8);
        part.bytes = self.bytes.slice(skipped.min(self.bytes.len())..);
        Some(part)
    }

    /// The elements in the order of the indices, in place if they lie so.
    pub(crate) fn read(&self) -> Bytes {
        let size = self.dtype.bitsize() / 8;
        let total = self.elements().unwrap_or(0) * size;
        if self.is_contiguous() {
            return self.bytes.slice(..total);
        }
        let mut out = Vec::with_capacity(total);
        // All but the last dimension, counted like an odometer.
        let (last, outer) = (self.shape.len() - 1, &self.shape[..self.shape.len() - 1]);
        let mut index = vec![0; outer.len()];
        while out.len() < total {
            let first: usize = index.iter().zip(&self.strides).map(|(i, stride)| i * stride).sum();
            for i in 0..self.shape[last] {
                let at = (first + i * self.strides[last]) * size;
                out.extend_from_slice(&self.bytes[at..at + size]);
            }
            for (i, &dim) in index.iter_mut().zip(outer).rev() {
                *i += 1;
                if *i < dim {
                    break;
                }
                *i = 0;
            }
        }
        out.into()
    }
}

/// The strides of a tensor whose elements lie in the order of its indices.
pub(super) fn contiguous(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1usize; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i].saturating_mul(shape[i].max(1));
    }
    strides
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(shape: &[usize], strides: &[usize], values: &[u16]) -> Stored {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Stored { name: "t".into(), dtype: Dtype::F16, shape: shape.into(), strides: strides.into(), bytes: bytes.into() }
    }

    fn values(stored: &Stored) -> Vec<u16> {
        stored.read().as_chunks().0.iter().map(|bytes| u16::from_le_bytes(*bytes)).collect()
    }

    #[test]
    fn windows() {
        let matrix = stored(&[2, 3], &[3, 1], &[0, 1, 2, 3, 4, 5]);
        assert!(matrix.is_contiguous());
        let transposed = matrix.clone().transposed();
        assert!(!transposed.is_contiguous());
        assert_eq!((transposed.shape.as_slice(), values(&transposed)), (&[3, 2][..], vec![0, 3, 1, 4, 2, 5]));
        assert_eq!(values(&matrix.part(1, 2).unwrap()), [3, 4, 5]);
        assert_eq!(values(&transposed.part(2, 3).unwrap()), [2, 5]);
        assert!(matrix.part(0, 3).is_none());
        assert_eq!(values(&stored(&[2, 2], &[0, 1], &[7, 8])), [7, 8, 7, 8]);
        assert_eq!(values(&stored(&[3, 2], &[1, 1], &[1, 2, 3, 4])), [1, 2, 2, 3, 3, 4]);
        assert_eq!(values(&stored(&[2, 1, 2], &[1, 9, 2], &[1, 2, 3, 4])), [1, 3, 2, 4]);
        assert_eq!(values(&stored(&[], &[], &[9])), [9]);
        assert!(stored(&[1, 3], &[77, 1], &[1, 2, 3]).is_contiguous());
        assert!(values(&stored(&[0, 3], &[3, 1], &[])).is_empty());
    }
}
