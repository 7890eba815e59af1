//! Elementary functions in single precision whose bits do not depend on the platform's C library.
//!
//! Each is free of branches and built from operations that IEEE 754 defines exactly.

use crate::isa::lanes::Lanes;

/// e^x, with a relative error of at most 1.5 * 2^-23 over [-87.3, 88.7] (measured against f64 by `exp_is_accurate`); what it is at the
/// ends beyond them, which is neither 0 nor infinite; NaN for NaN.
///
/// Cody and Waite's reduction to [-ln 2 / 2, ln 2 / 2], then the Taylor polynomial of degree 7.
#[inline(always)]
pub(crate) fn exp<V: Lanes>(x: V) -> V {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    // ln 2 in two pieces; the first has few enough bits that its product with n is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    const TOP: f32 = 88.722_83;
    const BOTTOM: f32 = -87.336_54;
    // Adding and taking away 1.5 * 2^23 rounds to an integer, ties to even, on every instruction set; its lowest bits are that integer.
    const ROUND: f32 = 12_582_912.0;
    const TAYLOR: [f32; 7] = [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];

    let (top, bottom) = (V::splat(TOP), V::splat(BOTTOM));
    // Both give the second where one is not a number.
    let clamped = bottom.max(top.min(x));
    let rounded = clamped.fma(V::splat(LOG2_E), V::splat(ROUND));
    let n = rounded.sub(V::splat(ROUND));
    let r = n.fma(V::splat(-LN2_LOW), n.fma(V::splat(-LN2_HIGH), clamped));
    let mut p = V::splat(1.0 / 5040.0);
    for c in TAYLOR {
        p = r.fma(p, V::splat(c));
    }
    p.times_power(rounded)
}

/// The error function, within 3e-7 of the true value (measured against f64 by `erf_is_accurate`).
///
/// erf(x) = x P(x^2) for |x| < 1 and 1 - exp(-Q(|x|)) beyond, with polynomials fitted by tools/fit_erf.py.
#[inline(always)]
pub(crate) fn erf<V: Lanes>(x: V) -> V {
    let s = x.mul(x);
    let mut near = V::splat(NEAR[0]);
    for c in &NEAR[1..] {
        near = near.fma(s, V::splat(*c));
    }
    let t = x.abs().min(V::splat(4.0));
    let mut q = V::splat(FAR[0]);
    for c in &FAR[1..] {
        q = q.fma(t, V::splat(*c));
    }
    let one = V::splat(1.0);
    let far = one.sub(exp(V::splat(0.0).sub(q))).copysign(x);
    let y = t.if_less(one, near.mul(x), far);
    x.if_nan(V::splat(f32::NAN), y)
}

#[expect(clippy::approx_constant, reason = "a fitted coefficient that happens to be near 2 / sqrt(pi)")]
/// erf(x) / x as a polynomial of x^2 on [0, 1], highest power first.
const NEAR: [f32; 7] = [7.8824974e-05, -8.018855e-04, 5.189312e-03, -2.6854329e-02, 1.1283597e-01, -3.7612626e-01, 1.1283791e+00];
/// -ln(1 - erf(t)) as a polynomial of t on [1, 4], highest power first.
const FAR: [f32; 9] = [
    -1.5966638e-06,
    4.5259345e-05,
    -5.900877e-04,
    4.728193e-03,
    -2.6332093e-02,
    1.09923586e-01,
    6.319922e-01,
    1.1301361e+00,
    -2.960735e-04,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::lanes::{LANES, Plain};

    fn one(f: impl Fn(Plain) -> Plain, x: f32) -> f32 {
        let mut all = [0f32; LANES];
        f(Plain::splat(x)).store(&mut all);
        assert!(all.iter().all(|y| y.to_bits() == all[0].to_bits()));
        all[0]
    }

    fn exp(x: f32) -> f32 {
        one(super::exp, x)
    }

    fn erf(x: f32) -> f32 {
        one(super::erf, x)
    }

    #[test]
    fn exp_is_accurate() {
        let mut worst = 0f64;
        for i in 0..400_000u32 {
            let x = -87.3 + (88.72 + 87.3) * (i as f32 / 400_000.0);
            let truth = f64::from(x).exp();
            worst = worst.max((f64::from(exp(x)) - truth).abs() / truth);
        }
        assert!(worst < 1.5 * f64::from(f32::EPSILON), "{worst}");
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), exp(-87.336_54));
        assert_eq!(exp(f32::INFINITY), exp(88.722_83));
        assert!(exp(-200.0) < 1.2e-38 && exp(200.0) > 3.4e38 && exp(200.0) < f32::INFINITY);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn erf_is_accurate() {
        // Values of erf to 17 digits: SciPy 1.x `scipy.special.erf`, printed by tools/fit_erf.py.
        for &(x, truth) in ERF_VALUES {
            assert!((f64::from(erf(x)) - truth).abs() < 3e-7, "erf({x}) = {}, expected {truth}", erf(x));
            assert_eq!(erf(-x), -erf(x));
        }
        assert_eq!((erf(0.0), erf(30.0), erf(f32::INFINITY)), (0.0, 1.0, 1.0));
        assert!(erf(f32::NAN).is_nan());
    }

    const ERF_VALUES: &[(f32, f64)] = &[
        (0.000001, 1.1283791642462529e-06),
        (0.01, 0.011283415303662439),
        (0.1, 0.1124629176829705),
        (0.25, 0.2763263901682369),
        (0.5, 0.5204998778130465),
        (0.75, 0.7111556336535151),
        (0.9, 0.7969082004549684),
        (0.99, 0.838508073593712),
        (1.0, 0.8427007929497148),
        (1.01, 0.8468104923482801),
        (1.25, 0.9229001282564582),
        (1.5, 0.9661051464753108),
        (2.0, 0.9953222650189527),
        (2.5, 0.999593047982555),
        (3.0, 0.9999779095030014),
        (3.5, 0.9999992569016276),
        (3.9, 0.9999999652077781),
        (4.0, 0.9999999845827421),
        (4.5, 0.9999999998033839),
        (6.0, 1.0),
    ];
}
