//! Blocks of 256 whose parts have small integers as scales, times a scale of the block: Q4_K and Q6_K.
//!
//! ggml's own quantizers of these types search. Here the simple rule takes the extremes of each part as the 32-blocks do, and the search is
//! ours: by plain squared error, where ggml weighs large values more.

use std::array;

use super::{
    Block,
    plain::{from_f16, to_f16},
    search::{self, Closest, Lanes},
};

/// Elements of a block.
const LEN: usize = 256;

/// Eight parts of 32 with a scale and a minimum each, integers of 6 bits: value `d * scale * level - dmin * min`. Of each 64 elements, the
/// level of element `i` is the low nibble of byte `i`, that of element `i + 32` the high one.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(crate) struct Q4K {
    /// f16
    d: [u8; 2],
    /// f16
    dmin: [u8; 2],
    /// See [`Q4K::six_bits`].
    scales: [u8; 12],
    qs: [u8; LEN / 2],
}
const _: () = assert!(size_of::<Q4K>() == 144 && align_of::<Q4K>() == 1);

/// Sixteen parts of 16 with a scale each, a signed byte: value `d * scale * (level - 32)`. A level's low four bits are a nibble of `ql`, the
/// upper two a quarter of a byte of `qh`, both shared between elements of the same half that are multiples of 32 apart.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(crate) struct Q6K {
    ql: [u8; LEN / 2],
    qh: [u8; LEN / 4],
    scales: [i8; LEN / 16],
    /// f16
    d: [u8; 2],
}
const _: () = assert!(size_of::<Q6K>() == 210 && align_of::<Q6K>() == 1);

/// The scale of a block: the largest of its parts' scales becomes `top`.
fn block_scale(parts: &[f32], top: f32) -> f32 {
    let largest = parts.iter().fold(0f32, |largest, &part| if part.abs() > largest.abs() { part } else { largest });
    from_f16(to_f16(largest / top))
}

/// `part` in multiples of `whole`.
fn multiple(part: f32, whole: f32, low: f32, high: f32) -> f32 {
    search::nearest(&[part], whole, 0.0, low, high)[0]
}

/// Integers around `at`, and itself, within `low..=high`.
fn around(at: f32, low: f32, high: f32) -> Lanes {
    let mut integers = [-4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0];
    integers.iter_mut().for_each(|i| *i = (at + *i).max(low).min(high));
    integers
}

impl Q4K {
    const PARTS: usize = 8;
    const PART: usize = 32;
    /// Largest scale and minimum of a part.
    const TOP: f32 = 63.0;
    const LEVELS: f32 = 15.0;

    /// Scale and minimum of a part. Those of the first four are the low six bits of bytes `part` and `part + 4`; those of the last four have
    /// their low four bits in byte `part + 4`, a nibble each, and their upper two above the six of the first four.
    fn six_bits(&self, part: usize) -> (u8, u8) {
        let s = &self.scales;
        if part < 4 {
            (s[part] & 63, s[part + 4] & 63)
        } else {
            ((s[part + 4] & 15) | (s[part - 4] >> 6 << 4), (s[part + 4] >> 4) | (s[part] >> 6 << 4))
        }
    }

    /// Every value at its nearest level.
    fn new(x: &[f32; LEN], d: f32, dmin: f32, parts: &[(f32, f32); Self::PARTS]) -> Self {
        let mut block = Self { d: to_f16(d), dmin: to_f16(dmin), scales: [0; 12], qs: [0; LEN / 2] };
        let six_bits = parts.map(|(scale, min)| (scale as u8, min as u8));
        for i in 0..4 {
            let ((scale, min), (scale_4, min_4)) = (six_bits[i], six_bits[i + 4]);
            block.scales[i] = scale | scale_4 >> 4 << 6;
            block.scales[i + 4] = min | min_4 >> 4 << 6;
            block.scales[i + 8] = (scale_4 & 15) | min_4 << 4;
        }
        let pairs = x.as_chunks::<{ Self::PART }>().0.chunks_exact(2).zip(block.qs.as_chunks_mut::<{ Self::PART }>().0);
        for (i, (x, qs)) in pairs.enumerate() {
            let [low, high] = array::from_fn(|half| {
                let (scale, min) = parts[2 * i + half];
                search::nearest(&x[half], d * scale, -(dmin * min), 0.0, Self::LEVELS)
            });
            *qs = array::from_fn(|i| low[i] as u8 | (high[i] as u8) << 4);
        }
        block
    }

    /// Integers for the scales and minima of the parts, the largest of each with all bits set.
    fn from_parts(x: &[f32; LEN], parts: &[(f32, f32); Self::PARTS]) -> (Self, [(f32, f32); Self::PARTS]) {
        let d = block_scale(&parts.map(|(d, _)| d), Self::TOP);
        let dmin = block_scale(&parts.map(|(_, m)| -m), Self::TOP);
        let integers = parts.map(|(scale, min)| (multiple(scale, d, 0.0, Self::TOP), multiple(-min, dmin, 0.0, Self::TOP)));
        (Self::new(x, d, dmin, &integers), integers)
    }

    /// The parts' integers with the least error near those given.
    fn adjusted(&self, x: &[f32; LEN], parts: &[(f32, f32); Self::PARTS]) -> [(f32, f32); Self::PARTS] {
        let (d, dmin) = (from_f16(self.d), from_f16(self.dmin));
        let x = x.as_chunks::<{ Self::PART }>().0;
        array::from_fn(|part| {
            let (scale, min) = parts[part];
            let (mut least, mut best) = (f32::INFINITY, (scale, min));
            let mins = around(min, 0.0, Self::TOP);
            for scale in [scale - 1.0, scale, scale + 1.0] {
                let scale = scale.clamp(0.0, Self::TOP);
                let errors = search::errors(&x[part], &[d * scale; _], &mins.map(|min| -(dmin * min)), 0.0, Self::LEVELS);
                for (error, min) in errors.into_iter().zip(mins) {
                    if error < least {
                        (least, best) = (error, (scale, min));
                    }
                }
            }
            best
        })
    }

    /// The block's scale of scales and scale of minima with the least error for its integers.
    fn refitted(&self, x: &[f32; LEN]) -> (f32, f32) {
        let q = self.quants();
        let [mut uu, mut uv, mut vv, mut ux, mut vx] = [0f64; 5];
        for (i, (&x, q)) in x.iter().zip(q).enumerate() {
            let (scale, min) = self.six_bits(i / Self::PART);
            let (u, v, x) = (f64::from(scale) * f64::from(q), -f64::from(min), f64::from(x));
            (uu, uv, vv, ux, vx) = (uu + u * u, uv + u * v, vv + v * v, ux + u * x, vx + v * x);
        }
        let determinant = uu * vv - uv * uv;
        if determinant <= 0.0 {
            // No minimum, or all levels the same.
            return (if uu > 0.0 { (ux / uu) as f32 } else { 0.0 }, 0.0);
        }
        (((ux * vv - vx * uv) / determinant) as f32, ((vx * uu - ux * uv) / determinant) as f32)
    }
}

impl Block<LEN> for Q4K {
    const GROUP: usize = Self::PART;

    fn quantize(x: &[f32; LEN]) -> Self {
        let parts = array::from_fn(|part| {
            let x = &x[part * Self::PART..][..Self::PART];
            let (low, high) = x.iter().fold((0f32, f32::MIN), |(low, high), &v| (low.min(v), high.max(v)));
            ((high - low) / Self::LEVELS, low)
        });
        Self::from_parts(x, &parts).0
    }

    fn search(x: &[f32; LEN]) -> Self {
        let mut closest = Closest::new(x, Self::quantize(x));
        // A minimum is subtracted, so it cannot be above 0.
        let parts = array::from_fn(|part| search::ranged(&x.as_chunks::<{ Self::PART }>().0[part], Self::LEVELS, 0.0));
        let (mut block, mut parts) = Self::from_parts(x, &parts);
        closest.offer(block);
        for _ in 0..search::REFITS {
            parts = block.adjusted(x, &parts);
            block = Self::new(x, from_f16(block.d), from_f16(block.dmin), &parts);
            closest.offer(block);
            let (d, dmin) = block.refitted(x);
            block = Self::new(x, from_f16(to_f16(d)), from_f16(to_f16(dmin)), &parts);
            closest.offer(block);
        }
        closest.block()
    }

    fn quants(&self) -> [i8; LEN] {
        let mut quants = [0; LEN];
        for (quants, qs) in quants.as_chunks_mut::<64>().0.iter_mut().zip(self.qs.as_chunks::<32>().0) {
            for i in 0..32 {
                quants[i] = (qs[i] & 15) as i8;
                quants[i + 32] = (qs[i] >> 4) as i8;
            }
        }
        quants
    }

    fn scale(&self, group: usize) -> f32 {
        from_f16(self.d) * f32::from(self.six_bits(group).0)
    }

    fn min(&self, group: usize) -> f32 {
        -(from_f16(self.dmin) * f32::from(self.six_bits(group).1))
    }
}

impl Q6K {
    const PARTS: usize = 16;
    const PART: usize = 16;
    const LOW: f32 = -32.0;
    const HIGH: f32 = 31.0;
    /// The scale of a part that is largest in magnitude; a signed byte reaches one further down than up.
    const TOP: f32 = -128.0;

    /// Every value at its nearest level.
    fn new(x: &[f32; LEN], d: f32, parts: &[f32; Self::PARTS]) -> Self {
        let mut levels = [0u8; LEN];
        let pairs = levels.as_chunks_mut::<{ Self::PART }>().0.iter_mut().zip(x.as_chunks::<{ Self::PART }>().0);
        for ((levels, x), scale) in pairs.zip(parts) {
            *levels = search::nearest(x, d * scale, 0.0, Self::LOW, Self::HIGH).map(|q| (q - Self::LOW) as u8);
        }
        let (mut ql, mut qh) = ([0u8; LEN / 2], [0u8; LEN / 4]);
        let halves = ql.as_chunks_mut::<64>().0.iter_mut().zip(qh.as_chunks_mut::<32>().0);
        for (levels, (ql, qh)) in levels.as_chunks::<128>().0.iter().zip(halves) {
            for quarter in 0..4 {
                for i in 0..32 {
                    let level = levels[quarter * 32 + i];
                    ql[quarter % 2 * 32 + i] |= (level & 15) << (quarter / 2 * 4);
                    qh[i] |= level >> 4 << (2 * quarter);
                }
            }
        }
        Self { ql, qh, scales: parts.map(|scale| scale as i8), d: to_f16(d) }
    }

    /// Integers for the scales of the parts, the largest of them as large as can be.
    fn from_parts(x: &[f32; LEN], parts: &[f32; Self::PARTS]) -> (Self, [f32; Self::PARTS]) {
        let d = block_scale(parts, Self::TOP);
        let integers = parts.map(|scale| multiple(scale, d, Self::TOP, -Self::TOP - 1.0));
        (Self::new(x, d, &integers), integers)
    }

    /// The parts' integers with the least error near those given.
    fn adjusted(&self, x: &[f32; LEN], parts: &[f32; Self::PARTS]) -> [f32; Self::PARTS] {
        let d = from_f16(self.d);
        let x = x.as_chunks::<{ Self::PART }>().0;
        array::from_fn(|part| {
            let (mut least, mut best) = (f32::INFINITY, parts[part]);
            let scales = around(parts[part], Self::TOP, -Self::TOP - 1.0);
            let errors = search::errors(&x[part], &scales.map(|scale| d * scale), &[0.0; _], Self::LOW, Self::HIGH);
            for (error, scale) in errors.into_iter().zip(scales) {
                if error < least {
                    (least, best) = (error, scale);
                }
            }
            best
        })
    }

    /// The block's scale with the least error for its integers.
    fn refitted(&self, x: &[f32; LEN]) -> f32 {
        let (mut uu, mut ux) = (0f64, 0f64);
        for (i, (&x, q)) in x.iter().zip(self.quants()).enumerate() {
            let u = f64::from(self.scales[i / Self::PART]) * f64::from(q);
            (uu, ux) = (uu + u * u, ux + u * f64::from(x));
        }
        if uu > 0.0 { (ux / uu) as f32 } else { 0.0 }
    }
}

impl Block<LEN> for Q6K {
    const GROUP: usize = Self::PART;

    fn quantize(x: &[f32; LEN]) -> Self {
        let parts = array::from_fn(|part| {
            let x = &x[part * Self::PART..][..Self::PART];
            x.iter().fold(0f32, |extreme, &v| if v.abs() > extreme.abs() { v } else { extreme }) / Self::LOW
        });
        Self::from_parts(x, &parts).0
    }

    fn search(x: &[f32; LEN]) -> Self {
        let mut closest = Closest::new(x, Self::quantize(x));
        let parts = array::from_fn(|part| search::signed(&x.as_chunks::<{ Self::PART }>().0[part], -Self::LOW));
        let (mut block, mut parts) = Self::from_parts(x, &parts);
        closest.offer(block);
        for _ in 0..search::REFITS {
            parts = block.adjusted(x, &parts);
            block = Self::new(x, from_f16(block.d), &parts);
            closest.offer(block);
            block = Self::new(x, from_f16(to_f16(block.refitted(x))), &parts);
            closest.offer(block);
        }
        closest.block()
    }

    fn quants(&self) -> [i8; LEN] {
        let mut quants = [0; LEN];
        let halves = self.ql.as_chunks::<64>().0.iter().zip(self.qh.as_chunks::<32>().0);
        for (quants, (ql, qh)) in quants.as_chunks_mut::<128>().0.iter_mut().zip(halves) {
            for quarter in 0..4 {
                for i in 0..32 {
                    let low = ql[quarter % 2 * 32 + i] >> (quarter / 2 * 4) & 15;
                    let high = qh[i] >> (2 * quarter) & 3;
                    quants[quarter * 32 + i] = (low | high << 4) as i8 + Self::LOW as i8;
                }
            }
        }
        quants
    }

    fn scale(&self, group: usize) -> f32 {
        from_f16(self.d) * f32::from(self.scales[group])
    }
}
