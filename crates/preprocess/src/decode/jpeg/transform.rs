//! Blocks of coefficients to blocks of samples: libjpeg's accurate integer inverse cosine transform
//! (`jidctint.c`, after Loeffler, Ligtenberg and Moschytz 1989), rounding for rounding.

use super::Component;

/// Place in natural order (row by row) of the coefficient that is `i`th in zigzag order (T.81 figure A.6).
pub(super) const NATURAL: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28, 35, 42,
    49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// Fractional bits of the constants, and extra bits that the first pass keeps.
const CONST_BITS: u32 = 13;
const PASS1_BITS: u32 = 2;

/// The plane of a progressive component, from its coefficients.
pub(super) fn planes(component: &mut Component) {
    let Some(table) = &component.table else { return };
    let stride = component.blocks_wide * 8;
    for (i, block) in component.coefficients.as_chunks::<64>().0.iter().enumerate() {
        let (x, y) = (i % component.blocks_wide, i / component.blocks_wide);
        inverse(block, table, &mut component.plane[y * 8 * stride + x * 8..], stride);
    }
    component.coefficients = Vec::new();
}

/// A block that has a DC coefficient only: what [`inverse`] gives for it, at once.
pub(super) fn flat(dc: i16, quantization: u16, out: &mut [u8], stride: usize) {
    let value = sample((i32::from(dc).wrapping_mul(quantization.into())).wrapping_add(4) >> 3);
    for row in out.chunks_mut(stride).take(8) {
        row[..8].fill(value);
    }
}

/// A block to `out`, rows of `stride`.
pub(super) fn inverse(block: &[i16; 64], table: &[u16; 64], out: &mut [u8], stride: usize) {
    let mut pass = [[0i32; 8]; 8];
    for x in 0..8 {
        let column: [i32; 8] = std::array::from_fn(|y| i32::from(block[y * 8 + x]).wrapping_mul(table[y * 8 + x].into()));
        if column[1..] == [0; 7] {
            for row in &mut pass {
                row[x] = column[0] << PASS1_BITS;
            }
            continue;
        }
        let values = butterfly(column, CONST_BITS - PASS1_BITS);
        for (row, value) in pass.iter_mut().zip(values) {
            row[x] = value;
        }
    }
    for (row, out) in pass.into_iter().zip(out.chunks_mut(stride)) {
        let values = butterfly(row, CONST_BITS + PASS1_BITS + 3);
        out[..8].copy_from_slice(&values.map(sample));
    }
}

/// Centred at 128.
fn sample(value: i32) -> u8 {
    value.saturating_add(128).clamp(0, 255) as u8
}

/// Eight points; the sums are rounded and shifted right by `shift`. Hostile coefficients may wrap.
fn butterfly(x: [i32; 8], shift: u32) -> [i32; 8] {
    let times = |a: i32, b: i32| a.wrapping_mul(b);
    let add = |a: i32, b: i32| a.wrapping_add(b);
    let sub = |a: i32, b: i32| a.wrapping_sub(b);

    // The even half. Constants are cosines times 2^13, rounded.
    let z = times(add(x[2], x[6]), 4433);
    let (even2, even3) = (sub(z, times(x[6], 15137)), add(z, times(x[2], 6270)));
    let (even0, even1) = (add(x[0], x[4]).wrapping_shl(CONST_BITS), sub(x[0], x[4]).wrapping_shl(CONST_BITS));
    let even = [add(even0, even3), add(even1, even2), sub(even1, even2), sub(even0, even3)];

    // The odd half.
    let z5 = times(add(add(x[7], x[3]), add(x[5], x[1])), 9633);
    let z1 = times(add(x[7], x[1]), -7373);
    let z2 = times(add(x[5], x[3]), -20995);
    let z3 = add(times(add(x[7], x[3]), -16069), z5);
    let z4 = add(times(add(x[5], x[1]), -3196), z5);
    let odd = [
        add(times(x[1], 12299), add(z1, z4)),
        add(times(x[3], 25172), add(z2, z3)),
        add(times(x[5], 16819), add(z2, z4)),
        add(times(x[7], 2446), add(z1, z3)),
    ];

    let round = |v: i32| add(v, 1 << (shift - 1)) >> shift;
    std::array::from_fn(|i| if i < 4 { round(add(even[i], odd[i])) } else { round(sub(even[7 - i], odd[7 - i])) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the definition (T.81 A.3.3) in double precision: never off by more than one level.
    #[test]
    fn blocks_are_near_the_definition() {
        let mut state = 1u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) as i32
        };
        for round in 0..40 {
            let mut block = [0i16; 64];
            for _ in 0..=round {
                block[random() as usize % 64] = (random() % 61 - 30) as i16;
            }
            let table: [u16; 64] = std::array::from_fn(|_| (random() % 12 + 1) as u16);
            let mut out = [0; 64];
            inverse(&block, &table, &mut out, 8);
            for y in 0..8 {
                for x in 0..8 {
                    let cosine = |n: usize, k: usize| ((2 * n + 1) as f64 * k as f64 * std::f64::consts::PI / 16.0).cos();
                    let c = |k: usize| if k == 0 { 0.5f64.sqrt() } else { 1.0 };
                    let mut sum = 0.0;
                    for v in 0..8 {
                        for u in 0..8 {
                            let value = f64::from(block[v * 8 + u]) * f64::from(table[v * 8 + u]);
                            sum += c(u) * c(v) * value * cosine(x, u) * cosine(y, v) / 4.0;
                        }
                    }
                    let expected = (sum + 128.0).clamp(0.0, 255.0);
                    let found = f64::from(out[y * 8 + x]);
                    assert!((found - expected).abs() <= 1.0, "{found} for {expected} in round {round}");
                }
            }
        }
    }

    #[test]
    fn flat_blocks_are_the_same() {
        for dc in -1100..1100 {
            let mut block = [0; 64];
            block[0] = dc;
            let (mut full, mut short) = ([1; 64], [2; 64]);
            inverse(&block, &[3; 64], &mut full, 8);
            flat(dc, 3, &mut short, 8);
            assert_eq!(full, short, "DC {dc}");
        }
    }
}
