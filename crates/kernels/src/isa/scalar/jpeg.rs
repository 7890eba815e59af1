//! JPEG's arithmetic as plain loops; see [`crate::jpeg`].

use crate::jpeg::{Block, CONST_BITS, PASS1_BITS};

pub(in crate::isa) fn transform(side: usize, blocks: &[Block], table: &[u16; 64], out: &mut [u8], stride: usize) {
    for (i, block) in blocks.iter().enumerate() {
        let out = &mut out[i * side..];
        if side == 1 || block[1..] == [0; 63] {
            let value = flat(block[0], table[0]);
            out.chunks_mut(stride).take(side).for_each(|row| row[..side].fill(value));
            continue;
        }
        match side {
            2 => inverse(block, table, two, out, stride),
            4 => inverse(block, table, four, out, stride),
            _ => inverse(block, table, eight, out, stride),
        }
    }
}

/// All samples of a block that has a DC coefficient only.
pub(in crate::isa) fn flat(dc: i16, quantization: u16) -> u8 {
    let value = saturated(i32::from(dc.wrapping_mul(quantization as i16)) << PASS1_BITS);
    sample(((i32::from(value) + 16) >> 5) as i16)
}

/// Columns first, then rows; `pass` gives `N` numbers for eight, with so many bits less.
fn inverse<const N: usize>(block: &Block, table: &[u16; 64], pass: fn([i16; 8], u32) -> [i16; N], out: &mut [u8], stride: usize) {
    let mut rows = [[0; 8]; N];
    for x in 0..8 {
        let column = std::array::from_fn(|y| block[y * 8 + x].wrapping_mul(table[y * 8 + x] as i16));
        for (row, value) in rows.iter_mut().zip(pass(column, CONST_BITS - PASS1_BITS)) {
            row[x] = value;
        }
    }
    for (row, out) in rows.into_iter().zip(out.chunks_mut(stride)) {
        out[..N].copy_from_slice(&pass(row, CONST_BITS + PASS1_BITS + 3).map(sample));
    }
}

/// Centred at 128.
fn sample(value: i16) -> u8 {
    value.saturating_add(128).clamp(0, 255) as u8
}

fn saturated(value: i32) -> i16 {
    value.clamp(i16::MIN.into(), i16::MAX.into()) as i16
}

/// Rounded, without `bits` bits.
fn narrow(sum: i32, bits: u32) -> i16 {
    saturated(sum.wrapping_add(1 << (bits - 1)) >> bits)
}

/// Constants are cosines times 2^13, rounded.
fn dot<const N: usize>(x: [i16; N], by: [i32; N]) -> i32 {
    x.into_iter().zip(by).fold(0, |sum: i32, (x, by)| sum.wrapping_add(i32::from(x) * by))
}

fn eight(x: [i16; 8], bits: u32) -> [i16; 8] {
    let shifted = |x: i16| i32::from(x) << CONST_BITS;
    let (even0, even1) = (shifted(x[0].wrapping_add(x[4])), shifted(x[0].wrapping_sub(x[4])));
    let (even2, even3) = (dot([x[2], x[6]], [4433, 4433 - 15137]), dot([x[2], x[6]], [4433 + 6270, 4433]));
    let even = [even0.wrapping_add(even3), even1.wrapping_add(even2), even1.wrapping_sub(even2), even0.wrapping_sub(even3)];
    let (z3, z4) = (x[3].wrapping_add(x[7]), x[1].wrapping_add(x[5]));
    let odd = [
        dot([x[1], x[7], z3, z4], [12299 - 7373, -7373, 9633, 9633 - 3196]),
        dot([x[3], x[5], z3, z4], [25172 - 20995, -20995, 9633 - 16069, 9633]),
        dot([x[5], x[3], z3, z4], [16819 - 20995, -20995, 9633, 9633 - 3196]),
        dot([x[7], x[1], z3, z4], [2446 - 7373, -7373, 9633 - 16069, 9633]),
    ];
    std::array::from_fn(|i| {
        let sum = if i < 4 { even[i].wrapping_add(odd[i]) } else { even[7 - i].wrapping_sub(odd[7 - i]) };
        narrow(sum, bits)
    })
}

/// The fifth coefficient counts for nothing.
fn four(x: [i16; 8], bits: u32) -> [i16; 4] {
    let (first, even) = (i32::from(x[0]) << (CONST_BITS + 1), dot([x[2], x[6]], [15137, -6270]));
    let odd =
        [dot([x[1], x[3], x[5], x[7]], [20995, 7373, -4926, -4176]), dot([x[1], x[3], x[5], x[7]], [8697, -17799, 11893, -1730])];
    [
        first.wrapping_add(even).wrapping_add(odd[0]),
        first.wrapping_sub(even).wrapping_add(odd[1]),
        first.wrapping_sub(even).wrapping_sub(odd[1]),
        first.wrapping_add(even).wrapping_sub(odd[0]),
    ]
    .map(|sum| narrow(sum, bits + 1))
}

/// Of the even coefficients only the first counts.
fn two(x: [i16; 8], bits: u32) -> [i16; 2] {
    let first = i32::from(x[0]) << (CONST_BITS + 2);
    let odd = dot([x[1], x[3], x[5], x[7]], [29692, -10426, 6967, -5906]);
    [narrow(first.wrapping_add(odd), bits + 2), narrow(first.wrapping_sub(odd), bits + 2)]
}

pub(in crate::isa) fn double(row: &[u8], out: &mut [u8]) {
    triangle(row.len(), |i| u16::from(row[i]), (1, 2), 2, 0..row.len(), out);
}

pub(in crate::isa) fn double_both(near: &[u8], far: &[u8], out: &mut [u8]) {
    triangle(near.len(), |i| u16::from(near[i]) * 3 + u16::from(far[i]), (8, 7), 4, 0..near.len(), out);
}

/// The pairs of samples of some of `len` values. `bias` is what is added before the shift in even and odd columns; `shift` also takes off the weight
/// that the values bring with them.
#[inline(always)]
pub(in crate::isa) fn triangle(
    len: usize,
    value: impl Fn(usize) -> u16,
    bias: (u16, u16),
    shift: u32,
    part: std::ops::Range<usize>,
    out: &mut [u8],
) {
    for i in part {
        let this = value(i) * 3;
        out[2 * i] = ((this + value(i.saturating_sub(1)) + bias.0) >> shift) as u8;
        out[2 * i + 1] = ((this + value((i + 1).min(len - 1)) + bias.1) >> shift) as u8;
    }
}

pub(in crate::isa) fn rgb([y, cb, cr]: [&[u8]; 3], out: &mut [u8]) {
    const HALF: i32 = 1 << 15;
    let clamp = |x: i32| x.clamp(0, 255) as u8;
    for (i, pixel) in out.as_chunks_mut::<3>().0.iter_mut().enumerate() {
        let (y, cb, cr) = (i32::from(y[i]), i32::from(cb[i]) - 128, i32::from(cr[i]) - 128);
        // 1.402, 0.34414, 0.71414 and 1.772 times 65,536, rounded.
        *pixel = [
            clamp(y + ((91_881 * cr + HALF) >> 16)),
            clamp(y + ((-22_554 * cb - 46_802 * cr + HALF) >> 16)),
            clamp(y + ((116_130 * cb + HALF) >> 16)),
        ];
    }
}
