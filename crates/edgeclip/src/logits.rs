//! Scaled cosines, and what they mean as probabilities.

/// `[pictures, texts]`: the cosine of each pair, times the exponential of the model's `logit_scale`, plus its `logit_bias` if it has one.
#[derive(Clone, Debug, PartialEq)]
pub struct Logits {
    columns: usize,
    values: Vec<f32>,
}

impl Logits {
    pub(crate) fn new(columns: usize, values: Vec<f32>) -> Self {
        Self { columns, values }
    }

    /// All values, row by row.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The rows in order, one a picture; none if there are no texts.
    pub fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.columns.max(1))
    }

    /// The soft-max of each row: `logits.softmax(dim=-1)`.
    pub fn softmax(&self) -> Self {
        let mut values = Vec::with_capacity(self.values.len());
        for row in self.rows() {
            let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let weights: Vec<f64> = row.iter().map(|v| f64::from(v - top).exp()).collect();
            let total: f64 = weights.iter().sum();
            values.extend(weights.iter().map(|weight| (weight / total) as f32));
        }
        Self { columns: self.columns, values }
    }

    /// The sigmoid of each value: the probability of each pair by itself, for models trained so (SigLIP).
    pub fn sigmoid(&self) -> Self {
        Self {
            columns: self.columns,
            values: self.values.iter().map(|v| (1.0 / (1.0 + (-f64::from(*v)).exp())) as f32).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softmax_survives_large_logits() {
        let logits = Logits::new(3, vec![1000.0, 999.0, -1000.0, 2.0, 2.0, 2.0]);
        let p = logits.softmax();
        // 1 / (1 + e^-1)
        assert!((p.values()[0] - 0.731_058_6).abs() < 1e-6 && p.values()[2] == 0.0);
        assert!(p.values()[3..].iter().all(|v| (v - 1.0 / 3.0).abs() < 1e-6));
        assert_eq!(Logits::new(1, vec![0.0]).sigmoid().values(), [0.5]);
    }
}
