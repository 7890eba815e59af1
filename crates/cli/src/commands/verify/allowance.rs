//! How far from the published numbers a file may be because of the type of its weights.

use edgeclip_gguf::{File, TensorType};

/// Standard deviations that a value may be off. The cosines below are floors, which real files keep with room to spare, so that in units of
/// a file's own error it is 8 or more.
const DEVIATIONS: f64 = 4.0;

/// What the type of weights costs: a cosine between a file's vectors and the checkpoint's that has to be reckoned with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    /// The coarsest type in the file.
    pub(super) ty: TensorType,
    /// 1 for files that need none.
    pub(super) cosine: f64,
    /// Length of a vector.
    dim: f64,
}

impl Allowance {
    pub(super) fn of(file: &File, dim: usize) -> Self {
        let types = file.tensors().iter().map(|tensor| (tensor.ty, cosine(tensor.ty)));
        let (ty, cosine) = types.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((TensorType::F32, 1.0));
        Self { ty, cosine, dim: dim as f64 }
    }

    /// The distance of two vectors of length 1 at that cosine.
    fn distance(self) -> f64 {
        (2.0 * (1.0 - self.cosine)).sqrt()
    }

    /// A value of a vector of length 1. The distance is spread over all values alike: rounding errors have no direction.
    pub(super) fn value(self) -> f64 {
        DEVIATIONS * self.distance() / self.dim.sqrt()
    }

    /// The sum of the values of a vector of length 1: errors of so many values, each by itself.
    pub(super) fn sum(self) -> f64 {
        DEVIATIONS * self.distance()
    }

    /// A cosine: either vector is off along the other as it is along any axis.
    pub(super) fn cosine(self) -> f64 {
        self.value() * std::f64::consts::SQRT_2
    }
}

/// How far a probability can move if each logit moves by `logit`: up if its own rises and all others fall, or the other way round.
pub(super) fn probability(p: f64, logit: f64) -> f64 {
    let moved = |by: f64| {
        let own = p * by.exp();
        own / (own + (1.0 - p))
    };
    (moved(2.0 * logit) - p).max(p - moved(-2.0 * logit))
}

/// Of q8_0 and q4_0 the floors of docs/accuracy.md. The others follow, as 1 - cosine grows with the square of the rounding error: a bit
/// less is a step twice as large, so 4 times. A block's largest value is about 2.5 times its root mean square, so q8_0 is off by
/// 2.5 / 127 / sqrt(12) of the weights' size, f16 by 2^-11 / sqrt(3) at most, which is a 20th, bf16 by 8 times as much as f16.
fn cosine(ty: TensorType) -> f64 {
    match ty {
        TensorType::F32 | TensorType::F64 => 1.0,
        TensorType::F16 => 1.0 - 5e-4 / 400.0,
        TensorType::BF16 => 1.0 - 5e-4 / 400.0 * 64.0,
        TensorType::Q8_0 => 0.9995,
        TensorType::Q6_K => 0.99875,
        TensorType::Q5_0 | TensorType::Q5_1 | TensorType::Q5_K => 0.995,
        _ => 0.98,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowance(ty: TensorType) -> Allowance {
        Allowance { ty, cosine: cosine(ty), dim: 512.0 }
    }

    #[test]
    fn f32_needs_none() {
        let f32 = allowance(TensorType::F32);
        assert_eq!((f32.value(), f32.sum(), f32.cosine(), probability(0.3, 0.0)), (0.0, 0.0, 0.0, 0.0));
    }

    /// docs/verify.md has these.
    #[test]
    fn coarser_types_are_allowed_more() {
        let values = [TensorType::F16, TensorType::BF16, TensorType::Q8_0, TensorType::Q6_K, TensorType::Q5_0, TensorType::Q4_0]
            .map(|ty| format!("{:.4} {:.2}", allowance(ty).value(), 100.0 * allowance(ty).cosine()));
        assert_eq!(values, ["0.0003 0.04", "0.0022 0.32", "0.0056 0.79", "0.0088 1.25", "0.0177 2.50", "0.0354 5.00"]);
    }

    #[test]
    fn probabilities_move_with_logits() {
        // Of two equal logits, one up and one down by 0.5: 1 / (1 + 1 / e).
        assert!((probability(0.5, 0.5) - (1.0 / (1.0 + (-1.0f64).exp()) - 0.5)).abs() < 1e-12);
        for p in [0.0, 1.0] {
            assert_eq!(probability(p, 3.0), 0.0);
        }
    }
}
