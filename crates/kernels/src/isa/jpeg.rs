//! JPEG's arithmetic, written once for what has eight columns of blocks in a vector: [`Words`] for the transforms, [`Samples`] for rows.

use super::scalar::jpeg as plain;
use crate::jpeg::{Block, CONST_BITS, PASS1_BITS};

/// The eight columns of a row of one block or two.
///
/// As with [`super::lanes::Lanes`], the implementations are only sound on a machine that has their instructions.
pub(super) trait Words: Copy {
    /// As many sums of 32 bits.
    type Sums: Copy;

    const BLOCKS: usize;

    /// A row of the first blocks, and the same of the table for each.
    fn load(blocks: &[Block], row: usize) -> Self;
    fn table(table: &[u16; 64], row: usize) -> Self;

    /// Whether all bits are zero.
    fn is_zero(self) -> bool;
    fn or(self, other: Self) -> Self;
    /// Without the first column.
    fn but_first(self) -> Self;

    /// These wrap.
    fn mul(self, by: Self) -> Self;
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;

    /// As sums, shifted left by `BITS`.
    fn wide<const BITS: i32>(self) -> Self::Sums;
    /// `self * A + other * B`.
    fn dot<const A: i16, const B: i16>(self, other: Self) -> Self::Sums;
    fn add(a: Self::Sums, b: Self::Sums) -> Self::Sums;
    fn sub(a: Self::Sums, b: Self::Sums) -> Self::Sums;
    /// Rounded, without `BITS` bits, saturated.
    fn narrow<const BITS: i32>(sums: Self::Sums) -> Self;

    /// Each block for itself.
    fn transpose(rows: [Self; 8]) -> [Self; 8];

    /// The first `N` columns of two rows of each block as samples, the blocks side by side.
    ///
    /// # Safety
    /// `out` is good for writes of `BLOCKS * N` bytes, and so it is `stride` behind.
    unsafe fn store<const N: usize>(rows: [Self; 2], out: *mut u8, stride: usize);
}

#[inline(always)]
pub(super) fn transform<W: Words>(side: usize, blocks: &[Block], table: &[u16; 64], out: &mut [u8], stride: usize) {
    match side {
        1 => plain::transform(1, blocks, table, out, stride),
        2 => row::<W, 2>(blocks, table, out, stride),
        4 => row::<W, 4>(blocks, table, out, stride),
        _ => row::<W, 8>(blocks, table, out, stride),
    }
}

#[inline(always)]
fn row<W: Words, const N: usize>(blocks: &[Block], table: &[u16; 64], out: &mut [u8], stride: usize) {
    let mut tables = [W::table(table, 0); 8];
    for y in 1..8 {
        tables[y] = W::table(table, y);
    }
    let wide = W::BLOCKS * N;
    let mut chunks = blocks.chunks_exact(W::BLOCKS);
    let mut x = 0;
    for blocks in &mut chunks {
        let out = &mut out[x..];
        assert!(out.len() >= (N - 1) * stride + wide, "room for the blocks");
        // SAFETY: the room.
        unsafe { group::<W, N>(blocks, table, &tables, out.as_mut_ptr(), stride) };
        x += wide;
    }
    if let [last] = chunks.remainder() {
        plain::transform(N, std::slice::from_ref(last), table, &mut out[x..], stride);
    }
}

/// # Safety
/// `out` is good for writes of `N` rows of `BLOCKS * N` bytes, `stride` apart.
#[inline(always)]
unsafe fn group<W: Words, const N: usize>(blocks: &[Block], table: &[u16; 64], tables: &[W; 8], out: *mut u8, stride: usize) {
    let mut rows = [W::load(blocks, 0); 8];
    let mut any = rows[0].but_first();
    for y in 1..8 {
        rows[y] = W::load(blocks, y);
        any = any.or(rows[y]);
    }
    if any.is_zero() {
        for (i, block) in blocks.iter().enumerate() {
            let value = plain::flat(block[0], table[0]);
            for y in 0..N {
                // SAFETY: the caller's.
                unsafe { out.add(y * stride + i * N).write_bytes(value, N) };
            }
        }
        return;
    }
    for y in 0..8 {
        rows[y] = rows[y].mul(tables[y]);
    }
    let columns = W::transpose(pass::<W, N, { (CONST_BITS - PASS1_BITS) as i32 }>(rows));
    let rows = W::transpose(pass::<W, N, { (CONST_BITS + PASS1_BITS + 3) as i32 }>(columns));
    for y in (0..N).step_by(2) {
        // SAFETY: the caller's.
        unsafe { W::store::<N>([rows[y], rows[y + 1]], out.add(y * stride), stride) };
    }
}

/// `N` rows of eight, with `BITS` bits less and those that fewer samples take; the others are anything.
#[inline(always)]
fn pass<W: Words, const N: usize, const BITS: i32>(x: [W; 8]) -> [W; 8] {
    match (N, BITS) {
        // Constants cannot be added up for a parameter.
        (2, 11) => two::<W, 13>(x),
        (2, _) => two::<W, 20>(x),
        (4, 11) => four::<W, 12>(x),
        (4, _) => four::<W, 19>(x),
        _ => eight::<W, BITS>(x),
    }
}

#[inline(always)]
fn eight<W: Words, const BITS: i32>(x: [W; 8]) -> [W; 8] {
    let (even0, even1) = (x[0].plus(x[4]).wide::<13>(), x[0].minus(x[4]).wide::<13>());
    let (even2, even3) = (x[2].dot::<4433, { 4433 - 15137 }>(x[6]), x[2].dot::<{ 4433 + 6270 }, 4433>(x[6]));
    let even = [W::add(even0, even3), W::add(even1, even2), W::sub(even1, even2), W::sub(even0, even3)];
    let (z3, z4) = (x[3].plus(x[7]), x[1].plus(x[5]));
    let (z3, z4) = (z3.dot::<{ 9633 - 16069 }, 9633>(z4), z3.dot::<9633, { 9633 - 3196 }>(z4));
    let odd = [
        W::add(x[1].dot::<{ 12299 - 7373 }, -7373>(x[7]), z4),
        W::add(x[3].dot::<{ 25172 - 20995 }, -20995>(x[5]), z3),
        W::add(x[5].dot::<{ 16819 - 20995 }, -20995>(x[3]), z4),
        W::add(x[7].dot::<{ 2446 - 7373 }, -7373>(x[1]), z3),
    ];
    let mut out = x;
    for i in 0..4 {
        out[i] = W::narrow::<BITS>(W::add(even[i], odd[i]));
        out[7 - i] = W::narrow::<BITS>(W::sub(even[i], odd[i]));
    }
    out
}

#[inline(always)]
fn four<W: Words, const BITS: i32>(x: [W; 8]) -> [W; 8] {
    let (first, even) = (x[0].wide::<14>(), x[2].dot::<15137, -6270>(x[6]));
    let even = [W::add(first, even), W::sub(first, even)];
    let odd = [
        W::add(x[1].dot::<20995, 7373>(x[3]), x[5].dot::<-4926, -4176>(x[7])),
        W::add(x[1].dot::<8697, -17799>(x[3]), x[5].dot::<11893, -1730>(x[7])),
    ];
    let mut out = x;
    for i in 0..2 {
        out[i] = W::narrow::<BITS>(W::add(even[i], odd[i]));
        out[3 - i] = W::narrow::<BITS>(W::sub(even[i], odd[i]));
    }
    out
}

#[inline(always)]
fn two<W: Words, const BITS: i32>(x: [W; 8]) -> [W; 8] {
    let first = x[0].wide::<15>();
    let odd = W::add(x[1].dot::<29692, -10426>(x[3]), x[5].dot::<6967, -5906>(x[7]));
    let mut out = x;
    out[0] = W::narrow::<BITS>(W::add(first, odd));
    out[1] = W::narrow::<BITS>(W::sub(first, odd));
    out
}

/// Steps along rows. As of [`Words`], the implementations need their instructions.
pub(super) trait Samples {
    /// Samples that are doubled at a time, and pixels that are converted.
    const DOUBLED: usize;
    const PIXELS: usize;

    /// # Safety
    /// `row` is good for reads from one byte before it to one behind [`DOUBLED`](Self::DOUBLED), `out` for writes of twice that.
    unsafe fn double(row: *const u8, out: *mut u8);

    /// # Safety
    /// As [`double`](Self::double), of both rows.
    unsafe fn double_both(near: *const u8, far: *const u8, out: *mut u8);

    /// # Safety
    /// `yuv` are good for reads of [`PIXELS`](Self::PIXELS) bytes, `out` for writes of three times that.
    unsafe fn rgb(yuv: [*const u8; 3], out: *mut u8);
}

/// Where steps of `step` begin that fill `first..end`: the last ends there, and may repeat some of what the one before did. None if it is too short.
#[inline(always)]
fn starts(first: usize, end: usize, step: usize) -> impl Iterator<Item = usize> {
    let last = end.checked_sub(step).filter(|last| *last >= first);
    last.into_iter().flat_map(move |last| (first..last).step_by(step).chain([last]))
}

#[inline(always)]
pub(super) fn double<S: Samples>(row: &[u8], out: &mut [u8]) {
    let len = row.len();
    let value = |i: usize| u16::from(row[i]);
    if len < S::DOUBLED + 2 {
        return plain::double(row, out);
    }
    assert_eq!(out.len(), 2 * len, "twice the columns");
    plain::triangle(len, value, (1, 2), 2, 0..1, out);
    for i in starts(1, len - 1, S::DOUBLED) {
        // SAFETY: a sample before and one behind are there, and two for each of these.
        unsafe { S::double(row.as_ptr().add(i), out.as_mut_ptr().add(2 * i)) };
    }
    plain::triangle(len, value, (1, 2), 2, len - 1..len, out);
}

#[inline(always)]
pub(super) fn double_both<S: Samples>(near: &[u8], far: &[u8], out: &mut [u8]) {
    let len = near.len();
    let value = |i: usize| u16::from(near[i]) * 3 + u16::from(far[i]);
    if len < S::DOUBLED + 2 {
        return plain::double_both(near, far, out);
    }
    assert!(far.len() == len && out.len() == 2 * len, "twice the columns");
    plain::triangle(len, value, (8, 7), 4, 0..1, out);
    for i in starts(1, len - 1, S::DOUBLED) {
        // SAFETY: a sample before and one behind are there in both rows, and two for each of these.
        unsafe { S::double_both(near.as_ptr().add(i), far.as_ptr().add(i), out.as_mut_ptr().add(2 * i)) };
    }
    plain::triangle(len, value, (8, 7), 4, len - 1..len, out);
}

#[inline(always)]
pub(super) fn rgb<S: Samples>([y, cb, cr]: [&[u8]; 3], out: &mut [u8]) {
    if y.len() < S::PIXELS {
        return plain::rgb([y, cb, cr], out);
    }
    assert!(cb.len() == y.len() && cr.len() == y.len() && out.len() == 3 * y.len(), "rows of one picture");
    for i in starts(0, y.len(), S::PIXELS) {
        // SAFETY: so many are there from each of the beginnings on.
        unsafe { S::rgb([y.as_ptr().add(i), cb.as_ptr().add(i), cr.as_ptr().add(i)], out.as_mut_ptr().add(3 * i)) };
    }
}
