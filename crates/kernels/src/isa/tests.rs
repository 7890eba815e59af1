//! Every instruction set against the scalar kernels, bit for bit, and the kernels over rows against f64.

mod attention;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod encoding;
#[cfg(all(unix, any(target_arch = "x86_64", target_arch = "aarch64")))]
mod jpeg;
#[cfg(all(unix, any(target_arch = "x86_64", target_arch = "aarch64")))]
mod resize;
#[cfg(all(unix, any(target_arch = "x86_64", target_arch = "aarch64")))]
mod rows;
mod shapes;
#[cfg(all(unix, any(target_arch = "x86_64", target_arch = "aarch64")))]
mod tiles;

use bytes::Bytes;

use super::{tile::TileBuffer, *};
use crate::{
    Activations, Epilogue, Format, Groups, Linear, Norm, Rows, Threads,
    activations::layer_norm,
    attention::{Qkv, Sequence, Shape, Strided, attention},
};

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

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

fn scalar() -> &'static Kernels {
    Kernels::new(Isa::Scalar).unwrap()
}

/// All but the oracle itself; AVX-VNNI in its EVEX encoding where it has no other.
fn others() -> Vec<&'static Kernels> {
    #[allow(unused_mut, reason = "only x86-64 has a twin")]
    let mut all: Vec<_> = Isa::available().filter(|isa| *isa != Isa::Scalar).map(|isa| Kernels::new(isa).unwrap()).collect();
    #[cfg(target_arch = "x86_64")]
    if Kernels::new(Isa::Avx512Vnni).is_ok() {
        all.push(&avx_vnni::evex::KERNELS);
    }
    all
}

fn product(kernels: &'static Kernels, rows: &[Rows], groups: Groups, x: &[f32], epilogue: Epilogue) -> Vec<f32> {
    let n = rows.iter().map(|rows| rows.n).sum();
    let bias = (0..n).map(|i| (i % 7) as f32 * 0.25).collect();
    let linear = Linear::grouped(kernels, rows, Some(bias), groups).unwrap();
    let mut activations = Activations::default();
    activations.set(&linear, x, Threads::One);
    let mut out = vec![0.5; activations.m() * n];
    linear.forward(&activations, epilogue, &mut out, Threads::One);
    out
}

fn quantized(format: Format, n: usize, k: usize, random: &mut Random) -> Rows {
    let mut bytes = vec![0u8; n * format.row_bytes(k).unwrap()];
    // With a mean, so that minima matter.
    let values: Vec<f32> = random.floats(n * k).iter().map(|v| v * v * v + 0.1).collect();
    format.quantize(&values, &mut bytes);
    Rows { format, n, k, bytes: Bytes::from(bytes) }
}

#[test]
fn extremes_do_not_saturate() {
    let (n, k, m) = (33, 96, 7);
    // A Q8_0 block: f16 scale 1, then bytes that no quantizer of ours writes.
    let patterns: [fn(usize) -> i8; 5] =
        [|_| -128, |_| 127, |i| if i % 2 == 0 { -128 } else { 127 }, |i| if i == 5 { -128 } else { 0 }, |_| 0];
    let inputs: [fn(usize) -> f32; 4] =
        [|i| if i % 96 == 0 { -255.0 } else { 0.0 }, |_| 255.0, |i| if i % 2 == 0 { 127.0 } else { -128.0 }, |_| -3.0];
    for pattern in patterns {
        let mut bytes = Vec::new();
        for _ in 0..n * k / 32 {
            bytes.extend(0x3c00u16.to_le_bytes());
            bytes.extend((0..32).map(|i| pattern(i) as u8));
        }
        let rows = [Rows { format: Format::Q8_0, n, k, bytes: Bytes::from(bytes) }];
        for input in inputs {
            let x: Vec<f32> = (0..m * k).map(input).collect();
            let expected = product(scalar(), &rows, Groups::Stored, &x, Epilogue::Store);
            // Scales are 1 or small powers of it, so that the product of the values is known.
            for (i, y) in expected.iter().enumerate() {
                let (row, col) = (i / n, i % n);
                let truth: f64 = (0..k).map(|j| f64::from(x[row * k + j]) * f64::from(pattern(j % 32))).sum();
                let bias = (col % 7) as f64 * 0.25;
                assert!((f64::from(*y) - truth - bias).abs() <= 2e-3 * 255.0 * 128.0 * k as f64 / 255.0, "{y} {truth}");
            }
            for kernels in others() {
                assert_eq!(bits(&product(kernels, &rows, Groups::Stored, &x, Epilogue::Store)), bits(&expected), "{kernels:?}");
            }
        }
    }
}

#[test]
fn a_row_that_is_not_finite_gets_the_scale_nan() {
    for kernels in others().into_iter().chain([scalar()]) {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for at in [0, 17, 37, 39] {
                let mut x = vec![1.0; 40];
                x[at] = bad;
                assert!((kernels.quantize_row)(&x, &mut [0; 40]).0.is_nan(), "{kernels:?} {bad} {at}");
            }
        }
    }
}

#[test]
fn rows_are_the_same_on_every_instruction_set_and_near_f64() {
    let mut random = Random(4);
    for width in [1, 4, 15, 16, 17, 20, 40, 63, 64, 65, 160, 768] {
        let (x, gain, shift) = (random.floats(width), random.floats(width), random.floats(width));
        let args = Norm { gain: &gain, shift: &shift, eps: 1e-5 };
        let norm = |kernels: &Kernels| {
            let mut out = vec![f32::NAN; width];
            (kernels.layer_norm)(&x, args, &mut out);
            out
        };
        let expected = norm(scalar());
        let mean = x.iter().map(|&v| f64::from(v)).sum::<f64>() / width as f64;
        let variance = x.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / width as f64;
        for i in 0..width {
            let truth = (f64::from(x[i]) - mean) / (variance + 1e-5).sqrt() * f64::from(gain[i]) + f64::from(shift[i]);
            // Of values up to 4: some ten roundings of 2^-24 relative, those of mean and deviation among them.
            assert!((f64::from(expected[i]) - truth).abs() < 4e-6, "{width}: {} {truth}", expected[i]);
        }
        let levels = |kernels: &Kernels| {
            let mut q = vec![99; width];
            let (scale, zero) = (kernels.quantize_row)(&x, &mut q);
            (q, scale.to_bits(), zero.to_bits())
        };
        let (q, scale, zero) = levels(scalar());
        for (v, q) in x.iter().zip(&q) {
            let stored = f64::from(f32::from_bits(scale)) * (f64::from(*q) - f64::from(f32::from_bits(zero)));
            // Half a level, and the roundings of level, zero point and inverse, each relative to 256 levels.
            assert!((f64::from(*v) - stored).abs() <= 0.501 * f64::from(f32::from_bits(scale)), "{v} as {stored}");
        }
        let scores: Vec<f32> = random.floats(width.next_multiple_of(16)).iter().map(|v| v * 20.0).collect();
        let soft = |kernels: &Kernels| {
            let mut scores = scores.clone();
            let total = (kernels.soft_max)(&mut scores, width, 0.125);
            (bits(&scores), total.to_bits())
        };
        let divided = |kernels: &Kernels| {
            let mut out = vec![f32::NAN; width];
            (kernels.divide)(&x, 3.7, &mut out);
            bits(&out)
        };
        for kernels in others() {
            assert_eq!(bits(&norm(kernels)), bits(&expected), "{kernels:?} {width}");
            assert_eq!(levels(kernels), levels(scalar()), "{kernels:?} {width}");
            assert_eq!(soft(kernels), soft(scalar()), "{kernels:?} {width}");
            assert_eq!(divided(kernels), divided(scalar()), "{kernels:?} {width}");
            let rows: Vec<Vec<f32>> = (0..16).map(|_| random.floats(width)).collect();
            let mut out = vec![f32::NAN; width * 20];
            let (mut sums, mut sums_of_scalar) = (vec![0.25; 16], vec![0.25; 16]);
            (kernels.sum_products)(&rows[0][..width / 16 * 16], &rows[1][..width / 16 * 16], &mut sums);
            for (i, (a, b)) in rows[0].iter().zip(&rows[1]).take(width / 16 * 16).enumerate() {
                sums_of_scalar[i % 16] = a.mul_add(*b, sums_of_scalar[i % 16]);
            }
            assert_eq!(bits(&sums), bits(&sums_of_scalar), "{kernels:?} {width}");
            (kernels.transpose)(&std::array::from_fn(|i| rows[i].as_slice()), &mut out, 20);
            for (i, value) in out.iter().enumerate() {
                let expected = rows.get(i % 20).map_or(f32::NAN, |row| row[i / 20]);
                assert_eq!(value.to_bits(), expected.to_bits(), "{kernels:?} {width} {i}");
            }
        }
    }
    let q: Vec<i8> = (0..192).map(|_| (random.next() >> 56) as i8).chain([-128; 96]).collect();
    for kernels in others().into_iter().chain([scalar()]) {
        for group in [16, 32, 96, 288] {
            let mut sums = vec![0; q.len() / group];
            (kernels.group_sums)(&q, group, &mut sums);
            for (q, sum) in q.chunks(group).zip(sums) {
                assert_eq!(sum, q.iter().map(|&q| i32::from(q)).sum::<i32>(), "{kernels:?} {group}");
            }
        }
    }
}

#[test]
fn activations_are_the_same_on_every_instruction_set_and_near_f64() {
    let x: Vec<f32> = (-3000..=3000).map(|i| i as f32 * 0.004).collect();
    // The product with 1.
    let one = [Rows { format: Format::F32, n: 1, k: 1, bytes: Bytes::copy_from_slice(&1f32.to_le_bytes()) }];
    let normal = |x: f64| {
        // Phi(x) by Simpson's rule from -12: independent of any erf.
        let (low, steps) = (-12.0f64, 4000);
        let h = (x - low) / f64::from(steps);
        let f = |t: f64| (-t * t / 2.0).exp();
        let inner: f64 = (1..steps).map(|i| f(low + h * f64::from(i)) * if i % 2 == 1 { 4.0 } else { 2.0 }).sum();
        (f(low) + inner + f(x)) * h / 3.0 / (2.0 * std::f64::consts::PI).sqrt()
    };
    for activation in [Activation::QuickGelu, Activation::Gelu, Activation::GeluTanh] {
        let expected = product(scalar(), &one, Groups::Stored, &x, Epilogue::Activate(activation));
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
            let y = product(kernels, &one, Groups::Stored, &x, Epilogue::Activate(activation));
            assert_eq!(bits(&y), bits(&expected), "{kernels:?} {activation:?}");
        }
    }
}

#[test]
fn threads_and_other_rows_do_not_matter() {
    let mut random = Random(5);
    let (m, n, k) = (50, 200, 768);
    let x = random.floats(m * k);
    let (gain, shift) = (random.floats(k), random.floats(k));
    let norm = Norm { gain: &gain, shift: &shift, eps: 1e-5 };
    let pools = [1, 2, 3, 5].map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap());
    for format in [Format::Q8_0, Format::Q4_1, Format::F16] {
        let rows = quantized(format, n, k, &mut random);
        for kernels in others().into_iter().chain([scalar()]) {
            let linear = Linear::new(kernels, std::slice::from_ref(&rows), None).unwrap();
            let run = |x: &[f32], threads| {
                let mut activations = Activations::default();
                activations.set_layer_norm(&linear, x, norm, threads);
                let mut out = vec![f32::NAN; x.len() / k * n];
                linear.forward(&activations, Epilogue::Store, &mut out, threads);
                let mut normed = x.to_vec();
                layer_norm(kernels, &mut normed, norm, threads);
                (bits(&out), bits(&normed))
            };
            let expected = run(&x, Threads::One);
            for pool in &pools {
                let threads = pool.current_num_threads();
                assert!(pool.install(|| run(&x, Threads::All)) == expected, "{kernels:?} {format} {threads}");
            }
            for row in [0, 7, 49] {
                let (out, normed) = run(&x[row * k..][..k], Threads::One);
                assert!(out == expected.0[row * n..][..n] && normed == expected.1[row * k..][..k], "{kernels:?} {format} {row}");
            }
        }
    }
}

#[test]
fn buffers_of_tiles_begin_on_a_cache_line() {
    assert_eq!(align_of::<TileBuffer>(), 64);
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
