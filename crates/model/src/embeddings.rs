//! Rows of vectors.

use crate::Error;

/// `[n, dim]` vectors, as the encoder gives them: not normalised.
#[derive(Clone, Debug, PartialEq)]
pub struct Embeddings {
    dim: usize,
    values: Vec<f32>,
}

impl Embeddings {
    /// Rows of `dim` values.
    ///
    /// # Panics
    /// If `dim` is 0 or `values` is not whole rows.
    pub fn new(dim: usize, values: Vec<f32>) -> Self {
        assert!(dim > 0 && values.len().is_multiple_of(dim), "{} values are no whole rows of {dim}", values.len());
        Self { dim, values }
    }

    /// Length of a vector.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Number of vectors.
    pub fn len(&self) -> usize {
        self.values.len() / self.dim
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// All values, `[n, dim]`.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Vector `i`.
    ///
    /// # Panics
    /// If there are not that many.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.dim..][..self.dim]
    }

    /// The vectors in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.dim)
    }

    /// Each divided by its Euclidean length, PyTorch's `x / x.norm(dim=-1, keepdim=True)`. A zero vector stays zero.
    pub fn normalized(mut self) -> Self {
        for row in self.values.chunks_exact_mut(self.dim) {
            let norm = row.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>().sqrt();
            if norm > 0.0 {
                row.iter_mut().for_each(|v| *v = (f64::from(*v) / norm) as f32);
            }
        }
        self
    }

    /// The cosine of every pair, `[self.len(), other.len()]`; 0 with a zero vector.
    ///
    /// # Errors
    /// [`Error::Dimension`] if the vectors differ in length.
    pub fn cosines(&self, other: &Self) -> Result<Vec<f32>, Error> {
        if self.dim != other.dim {
            return Err(Error::Dimension { expected: self.dim, found: other.dim });
        }
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        let norms: Vec<f64> = other.rows().map(|row| dot(row, row).sqrt()).collect();
        let mut cosines = Vec::with_capacity(self.len() * other.len());
        for a in self.rows() {
            let norm = dot(a, a).sqrt();
            cosines.extend(other.rows().zip(&norms).map(|(b, other)| {
                let product = norm * other;
                if product > 0.0 { (dot(a, b) / product) as f32 } else { 0.0 }
            }));
        }
        Ok(cosines)
    }

    /// Appends the vectors of another.
    ///
    /// # Errors
    /// [`Error::Dimension`] if they differ in length.
    pub fn append(&mut self, other: Self) -> Result<(), Error> {
        if self.dim != other.dim {
            return Err(Error::Dimension { expected: self.dim, found: other.dim });
        }
        self.values.extend(other.values);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosine_is_of_directions() {
        let a = Embeddings::new(2, vec![3.0, 4.0, 0.0, 0.0]);
        let b = Embeddings::new(2, vec![6.0, 8.0, -4.0, 3.0, -3.0, -4.0]);
        assert_eq!(a.cosines(&b).unwrap(), [1.0, 0.0, -1.0, 0.0, 0.0, 0.0]);
        assert_eq!(a.normalized().values(), [0.6, 0.8, 0.0, 0.0]);
        let c = Embeddings::new(3, vec![0.0; 3]);
        assert!(matches!(b.cosines(&c), Err(Error::Dimension { expected: 2, found: 3 })));
    }
}
