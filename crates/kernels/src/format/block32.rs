//! Blocks of 32 with a scale of their own: Q8_0; Q5_0 and Q4_0, whose levels are signed; Q5_1 and Q4_1, which count from a minimum.

use std::array;

use super::{
    Block,
    plain::{from_f16, to_f16},
    search::{self, Closest},
};

/// Elements of a block.
const LEN: usize = 32;

/// Value `d * qs[i]`.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(crate) struct Q8_0 {
    /// f16
    d: [u8; 2],
    qs: [i8; LEN],
}
const _: () = assert!(size_of::<Q8_0>() == 34 && align_of::<Q8_0>() == 1);

/// Value `d * (level - 8)`. Element `i`'s level is the low nibble of byte `i`, that of element `i + 16` the high one.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(crate) struct Q4_0 {
    /// f16
    d: [u8; 2],
    qs: [u8; LEN / 2],
}
const _: () = assert!(size_of::<Q4_0>() == 18 && align_of::<Q4_0>() == 1);

/// Value `d * level + m`, nibbles as in [`Q4_0`].
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(crate) struct Q4_1 {
    /// f16
    d: [u8; 2],
    /// f16
    m: [u8; 2],
    qs: [u8; LEN / 2],
}
const _: () = assert!(size_of::<Q4_1>() == 20 && align_of::<Q4_1>() == 1);

/// Value `d * (level - 16)`. A level's low four bits are nibbles as in [`Q4_0`], the fifth is bit `i` of `qh`.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(crate) struct Q5_0 {
    /// f16
    d: [u8; 2],
    /// u32
    qh: [u8; 4],
    qs: [u8; LEN / 2],
}
const _: () = assert!(size_of::<Q5_0>() == 22 && align_of::<Q5_0>() == 1);

/// Value `d * level + m`, levels as in [`Q5_0`].
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(crate) struct Q5_1 {
    /// f16
    d: [u8; 2],
    /// f16
    m: [u8; 2],
    /// u32
    qh: [u8; 4],
    qs: [u8; LEN / 2],
}
const _: () = assert!(size_of::<Q5_1>() == 24 && align_of::<Q5_1>() == 1);

/// The low four bits of the levels.
fn nibbles(levels: &[u8; LEN]) -> [u8; LEN / 2] {
    array::from_fn(|i| (levels[i] & 15) | (levels[i + LEN / 2] << 4))
}

/// The fifth bits of the levels.
fn fifth_bits(levels: &[u8; LEN]) -> [u8; 4] {
    levels.iter().rev().fold(0u32, |bits, level| bits << 1 | u32::from(level >> 4 & 1)).to_le_bytes()
}

/// The levels, less `offset`.
fn levels(qs: &[u8; LEN / 2], qh: [u8; 4], offset: i8) -> [i8; LEN] {
    let high = u32::from_le_bytes(qh);
    let mut levels = [0; LEN];
    for i in 0..LEN / 2 {
        levels[i] = (qs[i] & 15 | ((high >> i & 1) << 4) as u8) as i8 - offset;
        levels[i + LEN / 2] = (qs[i] >> 4 | ((high >> (i + LEN / 2) & 1) << 4) as u8) as i8 - offset;
    }
    levels
}

/// 1 / d, and 0 for a scale of 0.
fn inverse(d: f32) -> f32 {
    if d == 0.0 { 0.0 } else { 1.0 / d }
}

/// ggml's rule for the levels `-half..half`: the extreme value, with its sign, maps to `-half`, so that the one level that has no
/// positive twin is used. The scale, and the levels plus `half`.
fn signed(x: &[f32; LEN], half: u8) -> (f32, [u8; LEN]) {
    let (mut amax, mut extreme) = (0f32, 0f32);
    for &v in x {
        if amax < v.abs() {
            (amax, extreme) = (v.abs(), v);
        }
    }
    let d = extreme / -f32::from(half);
    let (inverse, middle) = (inverse(d), f32::from(half) + 0.5);
    (d, x.map(|v| ((v * inverse + middle) as i8).min(2 * half as i8 - 1) as u8))
}

/// ggml's rule for the levels `0..=top`: the least value maps to 0, the largest to `top`. Scale, minimum and levels.
fn ranged(x: &[f32; LEN], top: u8) -> (f32, f32, [u8; LEN]) {
    let (mut min, mut max) = (f32::MAX, -f32::MAX);
    for &v in x {
        min = if v < min { v } else { min };
        max = if v > max { v } else { max };
    }
    let d = (max - min) / f32::from(top);
    let inverse = inverse(d);
    (d, min, x.map(|v| (((v - min) * inverse + 0.5) as i8).min(top as i8) as u8))
}

/// The closest of a block and those that a search for the scale finds; `new` makes one of a scale and of levels plus `half`.
fn search_signed<B: Block<LEN>>(x: &[f32; LEN], half: u8, simple: B, new: impl Fn(f32, [u8; LEN]) -> B) -> B {
    let (low, high) = (-f32::from(half), f32::from(half) - 1.0);
    let mut closest = Closest::new(x, simple);
    let mut d = search::signed(x, f32::from(half));
    for _ in 0..search::REFITS {
        let stored = from_f16(to_f16(d));
        let q = search::nearest(x, stored, 0.0, low, high);
        closest.offer(new(d, q.map(|q| (q - low) as u8)));
        d = search::scale_of(x, &q);
    }
    closest.block()
}

/// The closest of a block and those that a search for scale and minimum finds; `new` makes one of scale, minimum and levels.
fn search_ranged<B: Block<LEN>>(x: &[f32; LEN], top: u8, simple: B, new: impl Fn(f32, f32, [u8; LEN]) -> B) -> B {
    let mut closest = Closest::new(x, simple);
    let (mut d, mut m) = search::ranged(x, f32::from(top), f32::INFINITY);
    for _ in 0..search::REFITS {
        let stored = [d, m].map(|v| from_f16(to_f16(v)));
        let q = search::nearest(x, stored[0], stored[1], 0.0, f32::from(top));
        closest.offer(new(d, m, q.map(|q| q as u8)));
        (d, m) = search::line_of(x, &q);
    }
    closest.block()
}

impl Block<LEN> for Q8_0 {
    const GROUP: usize = LEN;

    fn quantize(x: &[f32; LEN]) -> Self {
        let amax = x.iter().fold(0f32, |m, v| m.max(v.abs()));
        let d = amax / 127.0;
        let inverse = inverse(d);
        Self { d: to_f16(d), qs: x.map(|v| (v * inverse).round() as i8) }
    }

    fn quants(&self) -> [i8; LEN] {
        self.qs
    }

    fn scale(&self, _: usize) -> f32 {
        from_f16(self.d)
    }
}

impl Q4_0 {
    fn new(d: f32, levels: [u8; LEN]) -> Self {
        Self { d: to_f16(d), qs: nibbles(&levels) }
    }
}

impl Block<LEN> for Q4_0 {
    const GROUP: usize = LEN;

    fn quantize(x: &[f32; LEN]) -> Self {
        let (d, levels) = signed(x, 8);
        Self::new(d, levels)
    }

    fn search(x: &[f32; LEN]) -> Self {
        search_signed(x, 8, Self::quantize(x), Self::new)
    }

    fn quants(&self) -> [i8; LEN] {
        levels(&self.qs, [0; 4], 8)
    }

    fn scale(&self, _: usize) -> f32 {
        from_f16(self.d)
    }
}

impl Q4_1 {
    fn new(d: f32, m: f32, levels: [u8; LEN]) -> Self {
        Self { d: to_f16(d), m: to_f16(m), qs: nibbles(&levels) }
    }
}

impl Block<LEN> for Q4_1 {
    const GROUP: usize = LEN;

    fn quantize(x: &[f32; LEN]) -> Self {
        let (d, m, levels) = ranged(x, 15);
        Self::new(d, m, levels)
    }

    fn search(x: &[f32; LEN]) -> Self {
        search_ranged(x, 15, Self::quantize(x), Self::new)
    }

    fn quants(&self) -> [i8; LEN] {
        levels(&self.qs, [0; 4], 0)
    }

    fn scale(&self, _: usize) -> f32 {
        from_f16(self.d)
    }

    fn min(&self, _: usize) -> f32 {
        from_f16(self.m)
    }
}

impl Q5_0 {
    fn new(d: f32, levels: [u8; LEN]) -> Self {
        Self { d: to_f16(d), qh: fifth_bits(&levels), qs: nibbles(&levels) }
    }
}

impl Block<LEN> for Q5_0 {
    const GROUP: usize = LEN;

    fn quantize(x: &[f32; LEN]) -> Self {
        let (d, levels) = signed(x, 16);
        Self::new(d, levels)
    }

    fn search(x: &[f32; LEN]) -> Self {
        search_signed(x, 16, Self::quantize(x), Self::new)
    }

    fn quants(&self) -> [i8; LEN] {
        levels(&self.qs, self.qh, 16)
    }

    fn scale(&self, _: usize) -> f32 {
        from_f16(self.d)
    }
}

impl Q5_1 {
    fn new(d: f32, m: f32, levels: [u8; LEN]) -> Self {
        Self { d: to_f16(d), m: to_f16(m), qh: fifth_bits(&levels), qs: nibbles(&levels) }
    }
}

impl Block<LEN> for Q5_1 {
    const GROUP: usize = LEN;

    fn quantize(x: &[f32; LEN]) -> Self {
        let (d, m, levels) = ranged(x, 31);
        Self::new(d, m, levels)
    }

    fn search(x: &[f32; LEN]) -> Self {
        search_ranged(x, 31, Self::quantize(x), Self::new)
    }

    fn quants(&self) -> [i8; LEN] {
        levels(&self.qs, self.qh, 0)
    }

    fn scale(&self, _: usize) -> f32 {
        from_f16(self.d)
    }

    fn min(&self, _: usize) -> f32 {
        from_f16(self.m)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q8_0_rounds_half_away_from_zero_with_the_unrounded_scale() {
        // amax 127 gives d = 1 exactly, so the values are the integers after rounding.
        let mut x = [0f32; 32];
        x[..6].copy_from_slice(&[127.0, 0.5, -0.5, 1.5, -2.5, 0.49]);
        let block = Q8_0::quantize(&x);
        assert_eq!(&block.quants()[..6], &[127, 1, -1, 2, -3, 0]);
        assert_eq!(block.scale(0), 1.0);
    }

    #[test]
    fn q4_0_maps_the_signed_extreme_to_minus_eight_and_clips_at_seven() {
        let mut x = [0f32; 32];
        x[0] = 8.0;
        x[1] = -8.0;
        x[17] = 1.0;
        let block = Q4_0::quantize(&x);
        assert_eq!(block.scale(0), -1.0);
        let q = block.quants();
        assert_eq!((q[0], q[1], q[17], q[2]), (-8, 7, -1, 0));
    }

    #[test]
    fn levels_survive_packing() {
        let levels: [u8; 32] = array::from_fn(|i| (i * 7 % 32) as u8);
        assert_eq!(Q5_1::new(1.0, 0.0, levels).quants(), levels.map(|level| level as i8));
        assert_eq!(Q5_0::new(1.0, levels).quants(), levels.map(|level| level as i8 - 16));
        assert_eq!(Q4_1::new(1.0, 0.0, levels.map(|level| level / 2)).quants(), levels.map(|level| level as i8 / 2));
    }
}
