//! Plain f32 products by the `gemm` crate, behind slices.

use bytes::Bytes;
use gemm::Parallelism;

use crate::Threads;

/// f32 values that are owned, or lie in place in shared bytes (a mapped file).
#[derive(Clone, Debug)]
pub(crate) enum Floats {
    Owned(Vec<f32>),
    /// Length and alignment were checked by [`Floats::in_place`].
    Shared(Bytes),
}

impl Floats {
    /// The bytes as f32 without a copy, `None` if they are not aligned for it.
    pub(crate) fn in_place(bytes: &Bytes) -> Option<Self> {
        bytemuck::try_cast_slice::<u8, f32>(bytes).ok().map(|_| Self::Shared(bytes.clone()))
    }

    pub(crate) fn as_slice(&self) -> &[f32] {
        match self {
            Self::Owned(values) => values,
            Self::Shared(bytes) => bytemuck::cast_slice(bytes),
        }
    }
}

/// A pointer that may cross threads; each thread writes columns of its own.
#[derive(Clone, Copy)]
struct Columns(*mut f32);
// SAFETY: the pointer is only used by `matmul`, which gives disjoint columns to each thread.
unsafe impl Send for Columns {}
// SAFETY: as above.
unsafe impl Sync for Columns {}

impl Columns {
    fn pointer(&self) -> *mut f32 {
        self.0
    }
}

/// `out[.., column..column + n] (+)= x[m, k] w[n, k]^T`, where `out` is `[m, stride]`; `add` keeps what was there as a term.
///
/// # Panics
/// If a buffer does not have its shape, or there are no rows.
pub(crate) fn matmul(k: usize, x: &[f32], w: &[f32], stride: usize, column: usize, out: &mut [f32], add: bool, threads: Threads) {
    assert!(k > 0 && !x.is_empty() && x.len().is_multiple_of(k) && w.len().is_multiple_of(k), "rows of {k}");
    let (m, n) = (x.len() / k, w.len() / k);
    assert_eq!(out.len(), m * stride, "output of {m} rows of {stride}");
    assert!(column <= stride && n <= stride - column, "columns {column}..{} of {stride}", column + n);

    // Columns are split, not rows, so that each thread reads only its share of the weights. A multiple of 64 suits gemm's tiles.
    let share = if m * n * k < 1 << 20 { n } else { n.div_ceil(threads.count()).next_multiple_of(64) };
    let out = Columns(out.as_mut_ptr());
    threads.for_each(n.div_ceil(share.max(1)), |i| {
        let w = &w[i * share * k..((i + 1) * share).min(n) * k];
        let first = column + i * share;
        // SAFETY: `gemm` reads `[m, k]` of x (row stride k, column stride 1) and `[k, n_i]` of w transposed (row stride 1, column stride
        // k), both whole by the assertions above, and writes `[m, n_i]` at `first` with row stride `stride`: m rows of `stride` lie in
        // `out`, and the columns `first..first + n_i` of different threads are disjoint and within `stride`. `out` is borrowed mutably
        // for the whole call.
        unsafe {
            gemm::gemm(
                m,
                w.len() / k,
                k,
                out.pointer().add(first),
                1,
                stride as isize,
                add,
                x.as_ptr(),
                1,
                k as isize,
                w.as_ptr(),
                k as isize,
                1,
                if add { 1.0 } else { 0.0 },
                1.0,
                false,
                false,
                false,
                Parallelism::None,
            );
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_its_columns_and_no_others() {
        for (m, n, k) in [(1, 1, 1), (3, 5, 7), (2, 200, 64), (50, 129, 96)] {
            let x: Vec<f32> = (0..m * k).map(|i| (i % 13) as f32 - 6.0).collect();
            let w: Vec<f32> = (0..n * k).map(|i| (i % 7) as f32 - 3.0).collect();
            let stride = n + 3;
            let mut out = vec![f32::NAN; m * stride];
            matmul(k, &x, &w, stride, 2, &mut out, false, Threads::All);
            for (r, row) in out.chunks(stride).enumerate() {
                assert!(row[0].is_nan() && row[1].is_nan() && row[n + 2].is_nan());
                for c in 0..n {
                    // Small integers: exact in any order.
                    let expected: f32 = (0..k).map(|i| x[r * k + i] * w[c * k + i]).sum();
                    assert_eq!(row[c + 2], expected, "{m} x {n} x {k} at {r}, {c}");
                }
            }
        }
    }
}
