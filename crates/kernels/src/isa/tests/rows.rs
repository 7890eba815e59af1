//! The kernels over rows between pages that may not be touched, and what `rows_are_the_same_on_every_instruction_set_and_near_f64` leaves out.

use super::{tiles::Guarded, *};

/// `(kernels, x, floats, bytes)`; what it gives is part of the result.
type Run<'a> = &'a dyn Fn(&Kernels, &[f32], &mut [f32], &mut [i8]) -> [f32; 2];

/// Runs each kernel on slices that end, or begin, at a shut page, and the scalar one on others; the names of those that ran.
pub(super) fn between_pages(kernels: &Kernels, random: &mut Random) -> [&'static str; 8] {
    for width in [1, 15, 16, 17, 64, 80, 100] {
        let x = random.floats(width);
        let (gain, shift) = (random.floats(width), random.floats(width));
        let (gains, shifts) = (random.floats(3 * 32), random.floats(3 * 32));
        let same = |name: &str, len: usize, run: Run<'_>| {
            let (mut floats, mut bytes) = (vec![f32::NAN; len], vec![99; width]);
            let expected = (bits(&run(scalar(), &x, &mut floats, &mut bytes)), bits(&floats), bytes);
            for at_end in [false, true] {
                let (x, mut floats) = (Guarded::new(&x, at_end), Guarded::new(&vec![f32::NAN; len], at_end));
                let mut bytes = Guarded::new(&vec![99; width], at_end);
                let result = bits(&run(kernels, x.as_slice(), floats.as_mut_slice(), bytes.as_mut_slice()));
                let found = (result, bits(floats.as_slice()), bytes.as_slice().to_vec());
                assert!(found == expected, "{kernels:?} {name} {width}");
            }
        };
        same("quantize_row", 0, &|kernels, x, _, q| (kernels.quantize_row)(x, q).into());
        same("layer_norm", width, &|kernels, x, out, _| {
            (kernels.layer_norm)(x, Norm { gain: &gain, shift: &shift, eps: 1e-5 }, out);
            [0.0; 2]
        });
        same("divide", width, &|kernels, x, out, _| {
            (kernels.divide)(x, 3.7, out);
            [0.0; 2]
        });
        same("soft_max", width.next_multiple_of(16), &|kernels, x, scores, _| {
            scores[..width].copy_from_slice(x);
            [(kernels.soft_max)(scores, width, 3.0), 0.0]
        });
        let stride = 21;
        same("transpose", (width - 1) * stride + 16, &|kernels, x, out, _| {
            (kernels.transpose)(&[x; 16], out, stride);
            [0.0; 2]
        });
        same("sum_products", 32, &|kernels, _, sums, _| {
            sums.fill(0.5);
            (kernels.sum_products)(&gains, &shifts, sums);
            [0.0; 2]
        });
        for epilogue in [Epilogue::Store, Epilogue::Add, Epilogue::Activate(Activation::Gelu)] {
            let (bias, filled) = ([0.5; 16], width.min(16));
            let tile: Vec<f32> = (0..32).map(|i| i as f32 - 16.0).collect();
            same("finish", 20 + filled, &|kernels, _, out, _| {
                if epilogue == Epilogue::Add {
                    out.fill(2.0);
                }
                let out = &crate::disjoint::Disjoint::new(out);
                (kernels.finish)(&tile::Finish { bias: &bias, epilogue, out, first: 0, stride: 20, filled }, &tile);
                [0.0; 2]
            });
        }
    }
    for group in [16, 32, 48] {
        let q: Vec<i8> = (0..3 * group).map(|_| (random.next() >> 56) as i8).collect();
        let sums: Vec<i32> = q.chunks(group).map(|q| q.iter().map(|&q| i32::from(q)).sum()).collect();
        for at_end in [false, true] {
            let (q, mut out) = (Guarded::new(&q, at_end), Guarded::new(&[i32::MAX; 3], at_end));
            (kernels.group_sums)(q.as_slice(), group, out.as_mut_slice());
            assert_eq!(out.as_slice(), sums, "{kernels:?} {group}");
        }
    }
    ["quantize_row", "layer_norm", "divide", "soft_max", "transpose", "sum_products", "finish", "group_sums"]
}

#[test]
fn soft_max_and_quotients_are_near_f64() {
    let mut random = Random(12);
    for seen in [1usize, 2, 15, 16, 17, 50, 64, 77, 257] {
        // Weights down to e^-80.
        let scores: Vec<f32> = random.floats(seen.next_multiple_of(16)).iter().map(|v| v * 80.0).collect();
        let mut weights = scores.clone();
        let total = (scalar().soft_max)(&mut weights, seen, 0.5);
        let top = scores[..seen].iter().fold(f32::NEG_INFINITY, |top, &v| top.max(v));
        let mut sum = 0.0;
        for (&score, &weight) in scores.iter().zip(&weights).take(seen) {
            let exponent = 0.5 * (f64::from(score) - f64::from(top));
            // The exponent is rounded twice, by 2^-24 of itself each; `exp` is off by 1.5 * 2^-23.
            let bound = exponent.exp() * (exponent.abs() * 2.0 + 3.0) * f64::from(f32::EPSILON) / 2.0 * 1.001;
            assert!((f64::from(weight) - exponent.exp()).abs() <= bound, "e^{exponent} = {weight}");
            sum += f64::from(weight);
        }
        assert!(weights[seen..].iter().all(|&weight| weight == 0.0), "{seen}");
        // Sixteen lanes of four: an addition for each 64, and at most ten to join them.
        let bound = sum * (seen.div_ceil(64) as f64 + 10.0) * f64::from(f32::EPSILON) / 2.0;
        assert!((f64::from(total) - sum).abs() <= bound, "{seen}: {total} {sum}");
        let mut out = vec![f32::NAN; seen];
        (scalar().divide)(&weights[..seen], total, &mut out);
        for (&weight, &y) in weights.iter().zip(&out) {
            // A division is one operation, which IEEE 754 rounds.
            assert_eq!(y, weight / total);
        }
    }
}

#[test]
fn rows_at_the_ends_of_the_levels() {
    for kernels in others().into_iter().chain([scalar()]) {
        for width in [1, 16, 21, 64] {
            let quantize = |x: &[f32]| {
                let mut q = vec![99; x.len()];
                let (scale, zero) = (kernels.quantize_row)(x, &mut q);
                (q, scale, zero)
            };
            // All of one sign: zero is at an end, and the value at the other.
            assert_eq!(quantize(&vec![255.0; width]), (vec![127; width], 1.0, -128.0), "{kernels:?} {width}");
            assert_eq!(quantize(&vec![-255.0; width]), (vec![-128; width], 1.0, 127.0), "{kernels:?} {width}");
            for nothing in [0.0, -0.0, f32::MIN_POSITIVE] {
                assert_eq!(quantize(&vec![nothing; width]), (vec![0; width], 0.0, 0.0), "{kernels:?} {nothing}");
            }
            // A range that is no f32 has no scale.
            let mut x = vec![f32::MAX; width + 1];
            x[width] = f32::MIN;
            assert!(quantize(&x).1.is_nan(), "{kernels:?} {width}");
            // Constant rows keep their value: the largest level is 255 away from zero, and the scale was rounded once.
            for value in [1e-30, 0.3, -0.7, 1e30] {
                let (q, scale, zero) = quantize(&vec![value; width]);
                let stored = f64::from(scale) * (f64::from(q[0]) - f64::from(zero));
                assert!((stored / f64::from(value) - 1.0).abs() <= f64::from(f32::EPSILON), "{kernels:?} {value} as {stored}");
            }
        }
    }
}
