//! A tensor as a container holds it.

use bytes::Bytes;
use safetensors::Dtype;

/// A tensor in place: a window on a file's bytes, which need not be contiguous.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    /// As PyTorch states it: the dimension that changes fastest comes last.
    pub(super) shape: Vec<usize>,
    /// Elements between neighbours along each dimension.
    pub(super) strides: Vec<usize>,
    /// From the first element on. Whoever makes a `Stored` has checked that every element which shape and strides reach is in there.
    pub(super) bytes: Bytes,
}

/// The strides of a tensor whose elements lie in the order of its indices.
pub(super) fn contiguous(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1usize; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i].saturating_mul(shape[i].max(1));
    }
    strides
}
