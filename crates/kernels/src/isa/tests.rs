//! Every instruction set against the scalar kernels (bits), and the scalar kernels against f64 (a derived bound).

use super::*;

/// SplitMix64 (Steele, Lea and Flood 2014): a seed gives the same test everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in -1..1.
    fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.float()).collect()
    }
}

struct Int8Case {
    k: usize,
    q: Vec<i8>,
    scale: Vec<f32>,
    zero: Vec<i32>,
    group: usize,
    w: Vec<i8>,
    w_scale: Vec<f32>,
    /// Or empty.
    w_min: Vec<f32>,
    sum: Vec<f32>,
}

/// Size of a group, and whether there are minima: what the formats need.
const KINDS: [(usize, bool); 4] = [(GROUP, false), (GROUP, true), (HALF_GROUP, false), (HALF_GROUP, true)];

impl Int8Case {
    fn new(
        (m, n, k): (usize, usize, usize),
        (group, has_min): (usize, bool),
        mut level: impl FnMut() -> i8,
        random: &mut Random,
    ) -> Self {
        let q = (0..m * k).map(|_| level()).collect();
        let w: Vec<i8> = (0..n * k).map(|_| level()).collect();
        let groups = k / group;
        let w_scale: Vec<f32> = random.floats(n * groups).iter().map(|s| s * 0.01).collect();
        let w_min: Vec<f32> = if has_min { random.floats(n * groups) } else { Vec::new() };
        let sum = (0..n)
            .map(|col| {
                let scaled = (0..groups).fold(0.0, |sum, g| {
                    let group: i32 = w[col * k + g * group..][..group].iter().map(|&w| i32::from(w)).sum();
                    (group as f32).mul_add(w_scale[col * groups + g], sum)
                });
                let mins = if has_min { &w_min[col * groups..][..groups] } else { &[] };
                scaled + mins.iter().fold(0.0, |sum, min| (group as f32).mul_add(*min, sum))
            })
            .collect();
        let scale = random.floats(m).iter().map(|s| s.abs() * 0.05).collect();
        let zero = (0..m).map(|_| (random.next() % 256) as i32 - 128).collect();
        Self { k, q, scale, zero, group, w, w_scale, w_min, sum }
    }

    fn run(&self, kernels: &Kernels) -> Vec<f32> {
        let mut out = vec![f32::NAN; self.scale.len() * self.sum.len()];
        let x = Int8Rows { k: self.k, q: &self.q, scale: &self.scale, zero: &self.zero };
        let Self { group, w, w_scale, w_min, sum, .. } = self;
        (kernels.linear_int8)(x, Int8Weights { group: *group, q: w, scale: w_scale, min: w_min, sum }, &mut out);
        out
    }

    /// The product in f64, and how far f32 may be from it: each of the fused sums over the groups, of scales and of minima, the zero-point term
    /// and its two sums of the same length, their sums with each other, and the final product round once, relative to the sum of magnitudes.
    fn truth(&self, row: usize, col: usize) -> (f64, f64) {
        let (mut value, mut magnitude) = (0f64, 0f64);
        for i in 0..self.k {
            let x = i32::from(self.q[row * self.k + i]) - self.zero[row];
            let at = (col * self.k + i) / self.group;
            let scaled = f64::from(self.w[col * self.k + i]) * f64::from(self.w_scale[at]);
            let min = self.w_min.get(at).map_or(0.0, |min| f64::from(*min));
            value += f64::from(x) * (scaled + min);
            magnitude +=
                (f64::from(self.q[row * self.k + i]).abs() + f64::from(self.zero[row]).abs()) * (scaled.abs() + min.abs());
        }
        let scale = f64::from(self.scale[row]);
        let roundings = 2.0 * (self.k / self.group) as f64 + 5.0;
        (value * scale, magnitude * scale * roundings * f64::from(f32::EPSILON))
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// All but the oracle itself.
fn others() -> impl Iterator<Item = &'static Kernels> {
    Isa::available().filter(|isa| *isa != Isa::Scalar).map(|isa| Kernels::new(isa).unwrap())
}

#[test]
fn int8_linear_is_the_product_and_the_same_on_every_instruction_set() {
    let oracle = Kernels::new(Isa::Scalar).unwrap();
    let mut random = Random(1);
    for k in [32, 64, 96, 608, 3072] {
        for m in 1..=9 {
            for n in [1, 3, 16, 17] {
                let mut levels = Random(m as u64 * 31 + n as u64);
                let mut alternate = 0u64;
                let mut extreme = || {
                    alternate += 1;
                    if alternate.is_multiple_of(2) { 127 } else { -128 }
                };
                let shape = (m, n, k);
                let cases = KINDS.into_iter().flat_map(|kind| {
                    [
                        Int8Case::new(shape, kind, || (levels.next() >> 56) as i8, &mut random),
                        Int8Case::new(shape, kind, || -128, &mut random),
                        Int8Case::new(shape, kind, || 127, &mut random),
                        Int8Case::new(shape, kind, &mut extreme, &mut random),
                    ]
                });
                for case in cases {
                    let expected = case.run(oracle);
                    for (i, &y) in expected.iter().enumerate() {
                        let (truth, bound) = case.truth(i / n, i % n);
                        assert!((f64::from(y) - truth).abs() <= bound, "{m} x {n} x {k}: {y}, expected {truth} within {bound}");
                    }
                    for kernels in others() {
                        assert_eq!(bits(&case.run(kernels)), bits(&expected), "{kernels:?}: {m} x {n} x {k}");
                    }
                }
            }
        }
    }
}

#[test]
fn f32_linear_is_the_product_and_the_same_on_every_instruction_set() {
    let oracle = Kernels::new(Isa::Scalar).unwrap();
    let mut random = Random(2);
    for k in [1, 2, 15, 16, 17, 40, 147, 768] {
        for m in [1, 2, 4, 5, 9] {
            for n in [1, 3, 33] {
                let (x, w) = (random.floats(m * k), random.floats(n * k));
                let mut expected = vec![f32::NAN; m * n];
                (oracle.linear_f32)(k, &x, &w, &mut expected);
                for (i, &y) in expected.iter().enumerate() {
                    let terms =
                        || x[i / n * k..][..k].iter().zip(&w[i % n * k..][..k]).map(|(a, b)| f64::from(*a) * f64::from(*b));
                    let bound = terms().map(f64::abs).sum::<f64>() * (k as f64 / 16.0 + 5.0) * f64::from(f32::EPSILON);
                    assert!((f64::from(y) - terms().sum::<f64>()).abs() <= bound);
                }
                for kernels in others() {
                    let mut out = vec![f32::NAN; m * n];
                    (kernels.linear_f32)(k, &x, &w, &mut out);
                    assert_eq!(bits(&out), bits(&expected), "{kernels:?}: {m} x {n} x {k}");
                }
            }
        }
    }
}

#[test]
fn quantized_rows_are_within_half_a_step() {
    let mut random = Random(3);
    let mut rows = vec![vec![0.0; 64], vec![2.5; 64], vec![-0.125; 64], vec![1e-42; 64], vec![3e38, -3e37, 1.0, 0.0]];
    for shift in [-0.9, 0.0, 0.5, 3.0] {
        rows.push(random.floats(333).iter().map(|v| v + shift).collect());
    }
    for x in rows {
        let mut expected = vec![99i8; x.len()];
        let (scale, zero) = (scalar::KERNELS.quantize_row)(&x, &mut expected);
        assert!(scale.is_finite() && (-128..=127).contains(&zero));
        for (&v, &q) in x.iter().zip(&expected) {
            // Half a step, and another half at the two ends, where the rounded zero point may push the range out by that much.
            let error = (scale * (i32::from(q) - zero) as f32 - v).abs();
            assert!(error <= 1.001 * scale.max(f32::MIN_POSITIVE), "{v} became {q}: scale {scale}, zero {zero}");
            if (-127..=126).contains(&q) {
                assert!(error <= 0.501 * scale.max(2.0 * f32::MIN_POSITIVE), "{v} became {q}: scale {scale}, zero {zero}");
            }
        }
        for kernels in others() {
            let mut q = vec![99i8; x.len()];
            let found = (kernels.quantize_row)(&x, &mut q);
            assert_eq!((found.0.to_bits(), found.1, &q), (scale.to_bits(), zero, &expected), "{kernels:?}");
        }
    }
}

#[test]
fn a_row_that_is_not_finite_gets_the_scale_nan() {
    for isa in Isa::available() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = vec![1.0; 40];
            x[37] = bad;
            assert!((Kernels::new(isa).unwrap().quantize_row)(&x, &mut [0; 40]).0.is_nan(), "{isa:?} {bad}");
        }
    }
}

#[test]
fn layer_norm_attention_and_activations_agree_with_f64_and_each_other() {
    let mut random = Random(4);
    for width in [4, 20, 40, 160, 768] {
        let (x, gain, shift) = (random.floats(width), random.floats(width), random.floats(width));
        let args = NormArgs { gain: &gain, shift: &shift, eps: 1e-5 };
        let mut expected = vec![f32::NAN; width];
        (scalar::KERNELS.layer_norm)(&x, args, &mut expected);
        let mean = x.iter().map(|&v| f64::from(v)).sum::<f64>() / width as f64;
        let variance = x.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / width as f64;
        for i in 0..width {
            let truth = (f64::from(x[i]) - mean) / (variance + 1e-5).sqrt() * f64::from(gain[i]) + f64::from(shift[i]);
            // Of values up to 4: some ten roundings of 2^-24 relative, those of mean and deviation among them.
            assert!((f64::from(expected[i]) - truth).abs() < 4e-6, "{width}: {} {truth}", expected[i]);
        }
        for kernels in others() {
            let mut out = vec![f32::NAN; width];
            (kernels.layer_norm)(&x, args, &mut out);
            assert_eq!(bits(&out), bits(&expected), "{kernels:?}");
        }

        let (heads, tokens) = (if width == 40 { 2 } else { 4 }, 7);
        let qkv: Vec<f32> = random.floats(tokens * 3 * width).iter().map(|v| v * 3.0).collect();
        for causal in [false, true] {
            let args = AttentionArgs { qkv: &qkv, width, heads, causal, first: 0 };
            let mut expected = vec![f32::NAN; tokens * width];
            (scalar::KERNELS.attention)(args, &mut expected);
            let size = width / heads;
            for (i, &y) in expected.iter().enumerate() {
                let (token, head, d) = (i / width, i % width / size, i % size);
                let at = |t: usize, part: usize, d: usize| f64::from(qkv[t * 3 * width + part * width + head * size + d]);
                let seen = if causal { token + 1 } else { tokens };
                let weight = |j| ((0..size).map(|d| at(token, 0, d) * at(j, 1, d)).sum::<f64>() / (size as f64).sqrt()).exp();
                let total: f64 = (0..seen).map(weight).sum();
                let truth = (0..seen).map(|j| weight(j) * at(j, 2, d)).sum::<f64>() / total;
                // Logits are sums of `size` products up to 9, over sqrt(size): up to 9 * 14 at the widest head here, 192. They are off by some
                // 2^-22 of that, 3e-5, which the soft-max turns into as much relative error of weights on values up to 3.
                assert!((f64::from(y) - truth).abs() < 2e-4, "{width} {causal}: {y} {truth}");
            }
            for kernels in others() {
                let mut out = vec![f32::NAN; 3 * width];
                (kernels.attention)(AttentionArgs { first: 2, ..args }, &mut out);
                assert_eq!(bits(&out), bits(&expected[2 * width..5 * width]), "{kernels:?}");
            }
        }
    }

    let x: Vec<f32> = (-3000..=3000).map(|i| i as f32 * 0.004).collect();
    let normal = |x: f64| {
        // Phi(x) by Simpson's rule from -12: independent of any erf.
        let (low, steps) = (-12.0f64, 4000);
        let h = (x - low) / f64::from(steps);
        let f = |t: f64| (-t * t / 2.0).exp();
        let inner: f64 = (1..steps).map(|i| f(low + h * f64::from(i)) * if i % 2 == 1 { 4.0 } else { 2.0 }).sum();
        (f(low) + inner + f(x)) * h / 3.0 / (2.0 * std::f64::consts::PI).sqrt()
    };
    for activation in [Activation::QuickGelu, Activation::Gelu, Activation::GeluTanh] {
        let mut expected = x.clone();
        (scalar::KERNELS.activate)(activation, &mut expected);
        for (&v, &y) in x.iter().zip(&expected).step_by(37) {
            let v = f64::from(v);
            let truth = match activation {
                Activation::QuickGelu => v / (1.0 + (-1.702 * v).exp()),
                Activation::Gelu => v * normal(v),
                Activation::GeluTanh => {
                    0.5 * v * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (v + 0.044715 * v.powi(3))).tanh())
                }
            };
            // exp is off by 1.8e-7 relative, erf by 3e-7 absolute, times v; then a few roundings, and Simpson's rule itself.
            assert!((f64::from(y) - truth).abs() < 2e-6 * v.abs().max(1.0), "{activation:?}({v}) = {y}, expected {truth}");
        }
        for kernels in others() {
            let mut out = x.clone();
            (kernels.activate)(activation, &mut out);
            assert_eq!(bits(&out), bits(&expected), "{kernels:?} {activation:?}");
        }
    }
}

#[test]
fn names_round_trip_and_the_absent_is_an_error() {
    for isa in Isa::ALL {
        assert_eq!(isa.name().parse(), Ok(isa));
    }
    assert!("avx9".parse::<Isa>().unwrap_err().contains("scalar, avx2"));
    assert!(Isa::available().any(|isa| isa == Isa::Scalar));
    assert!(Isa::available().all(|isa| Kernels::new(isa).unwrap().isa() == isa));
}
