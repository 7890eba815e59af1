//! Every tile of every instruction set by itself: against the formula, between pages that may not be touched, and against a list, so that none is
//! left out in silence.

use std::{collections::BTreeSet, slice};

use rustix::{
    mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap},
    param::page_size,
};

use super::*;
use crate::{
    disjoint::Disjoint,
    isa::tile::{Finish, FloatTile, Int8Tile},
};

/// A slice that ends, or begins, where a page begins, or ends, that may not be touched.
pub(super) struct Guarded<T> {
    map: *mut std::ffi::c_void,
    pages: usize,
    first: *mut T,
    len: usize,
}

impl<T: bytemuck::Pod> Guarded<T> {
    pub(super) fn new(values: &[T], at_end: bool) -> Self {
        let page = page_size();
        let bytes = size_of_val(values);
        let pages = bytes.div_ceil(page) + 2;
        // SAFETY: a new map, of which the first and the last page are shut; the slice lies on those in between.
        unsafe {
            let map = mmap_anonymous(std::ptr::null_mut(), pages * page, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
                .unwrap();
            mprotect(map, page, MprotectFlags::empty()).unwrap();
            mprotect(map.byte_add((pages - 1) * page), page, MprotectFlags::empty()).unwrap();
            let first: *mut T = map.byte_add(if at_end { (pages - 1) * page - bytes } else { page }).cast();
            slice::from_raw_parts_mut(first, values.len()).copy_from_slice(values);
            Self { map, pages, first, len: values.len() }
        }
    }

    pub(super) fn as_slice(&self) -> &[T] {
        // SAFETY: written at `new`.
        unsafe { slice::from_raw_parts(self.first, self.len) }
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: as above; `self` is borrowed mutably.
        unsafe { slice::from_raw_parts_mut(self.first, self.len) }
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        // SAFETY: the whole of a map that nobody refers to any more.
        unsafe { munmap(self.map, self.pages * page_size()) }.unwrap();
    }
}

/// Everything that runs here, and how it is called in the list.
fn all() -> Vec<(String, &'static Kernels)> {
    #[allow(unused_mut, reason = "only x86-64 has a twin")]
    let mut all: Vec<_> = Isa::available().map(|isa| (isa.name().to_owned(), Kernels::new(isa).unwrap())).collect();
    #[cfg(target_arch = "x86_64")]
    if Kernels::new(Isa::Avx512Vnni).is_ok() {
        all.push(("avx-vnni-evex".to_owned(), &avx_vnni::evex::KERNELS));
    }
    all
}

/// What a tile of integers is given, whole.
struct Case {
    m: usize,
    groups: usize,
    blocks: usize,
    steps: usize,
    four: bool,
    wide: bool,
    pairs: bool,
    columns: usize,
    depth: usize,
    x: Vec<i8>,
    start: Vec<i32>,
    w: Vec<u8>,
    floats: [Vec<f32>; 6],
}

impl Case {
    fn new(
        kernels: &Kernels,
        m: usize,
        four: bool,
        group: usize,
        groups: usize,
        level: &mut dyn FnMut() -> u8,
        random: &mut Random,
    ) -> Self {
        let layout = kernels.layout;
        let (columns, depth) = (layout.columns, layout.depth(four));
        let steps = group.min(32) / depth;
        let k = group * groups;
        Self {
            m,
            groups,
            blocks: group / (steps * depth),
            steps,
            four,
            wide: layout.is_wide(four),
            pairs: layout.pairs,
            columns,
            depth,
            x: (0..m * k).map(|_| level() as i8).collect(),
            start: (0..m * groups)
                .map(|_| if four || layout.offset > 0 { (random.next() % 1000) as i32 - 500 } else { 0 })
                .collect(),
            w: (0..columns * k / if four { 2 } else { 1 }).map(|_| level()).collect(),
            floats: [m, m, groups * columns, columns, columns, m * columns].map(|n| random.floats(n)),
        }
    }

    /// The definition, a value at a time.
    fn expected(&self, signed: bool, before: Option<f32>) -> Vec<f32> {
        let (m, columns, groups) = (self.m, self.columns, self.groups);
        let group = self.blocks * self.steps * self.depth;
        let [x_scale, zero, scale, sum, bias, from] = &self.floats;
        let weight = |k: usize, c: usize| {
            let (step, d) = (k / self.depth, k % self.depth);
            if self.four {
                i32::from(self.w[(step / 2 * columns + c) * self.depth + d] >> (step % 2 * 4) & 15)
            } else {
                let w = self.w[(step * columns + c) * self.depth + d];
                if signed { i32::from(w as i8) } else { i32::from(w) }
            }
        };
        let mut out = Vec::new();
        for r in 0..m {
            for c in 0..columns {
                let mut y = from[r * columns + c];
                for g in 0..groups {
                    let dot: i32 =
                        (g * group..(g + 1) * group).map(|k| i32::from(self.x[r * group * groups + k]) * weight(k, c)).sum();
                    y = ((self.start[r * groups + g] + dot) as f32).mul_add(scale[g * columns + c], y);
                }
                let y = x_scale[r].mul_add((-zero[r]).mul_add(sum[c], y), bias[c]);
                out.push(before.map_or(y, |before| before + y));
            }
        }
        out
    }

    /// The tile, with every buffer at an edge, and rows of `x` and `out` apart, as they are in a matrix; what is between rows must stay.
    fn run(&self, kernels: &Kernels, at_end: bool, before: Option<f32>) -> Vec<f32> {
        // No multiples of a vector: neither needs to begin on one.
        const BETWEEN: (usize, usize) = (20, 5);
        let k = self.x.len() / self.m;
        let row_bytes = if self.wide { 2 * k } else { k };
        let (stride, out_stride) = (row_bytes + BETWEEN.0, self.columns + BETWEEN.1);
        let mut x = vec![0x55; (self.m - 1) * stride + row_bytes];
        if self.pairs {
            x.resize((self.m - 1) / 2 * 2 * stride + 2 * row_bytes, 0x55);
        }
        for (r, row) in self.x.chunks_exact(k).enumerate() {
            for (i, &q) in row.iter().enumerate() {
                match self.wide {
                    true => x[r * stride + 2 * i..][..2].copy_from_slice(&i16::from(q).to_le_bytes()),
                    false if self.pairs => {
                        x[r / 2 * 2 * stride + (2 * (i / self.depth) + r % 2) * self.depth + i % self.depth] = q as u8
                    }
                    false => x[r * stride + i] = q as u8,
                }
            }
        }
        let canary = f32::from_bits(0x7fc1_2345);
        let mut out = vec![canary; (self.m - 1) * out_stride + self.columns];
        out.chunks_mut(out_stride).for_each(|row| row[..self.columns].fill(before.unwrap_or(f32::NAN)));
        let (x, start, w) = (Guarded::new(&x, at_end), Guarded::new(&self.start, at_end), Guarded::new(&self.w, at_end));
        let [x_scale, zero, scale, sum, bias, from] = self.floats.each_ref().map(|floats| Guarded::new(floats, at_end));
        let out = Guarded::new(&out, at_end);
        let tile = Int8Tile {
            x: x.first,
            stride,
            x_scale: x_scale.first,
            zero: zero.first,
            start: start.first,
            w: w.first,
            scale: scale.first,
            sum: sum.first,
            bias: bias.first,
            groups: self.groups,
            blocks: self.blocks,
            steps: self.steps,
            // Prefetching may go anywhere.
            ahead: w.first.wrapping_add(w.len),
            lines: 3,
            from: from.first,
            out: out.first,
            out_stride,
            add: before.is_some(),
        };
        let tiles = if self.four { kernels.tiles.int4 } else { kernels.tiles.int8 };
        // SAFETY: buffers of just the lengths that are asked for; those that must begin on a cache line are whole lines, and pages are.
        unsafe { tiles[self.m - 1](&tile) };
        let rows = || out.as_slice().chunks(out_stride);
        let mut between = rows().flat_map(|row| &row[self.columns..]);
        assert!(between.all(|value| value.to_bits() == canary.to_bits()), "{kernels:?} {}: between rows", self.m);
        rows().flat_map(|row| &row[..self.columns]).copied().collect()
    }
}

/// The first features of an instruction set that this machine lacks.
fn missing(isa: Isa) -> Option<&'static str> {
    #[cfg(target_arch = "x86_64")]
    return isa.features().iter().copied().find(|feature| match *feature {
        "avx2" => !is_x86_feature_detected!("avx2"),
        "fma" => !is_x86_feature_detected!("fma"),
        "avxvnni" => !is_x86_feature_detected!("avxvnni"),
        "avx512f" => !is_x86_feature_detected!("avx512f"),
        "avx512bw" => !is_x86_feature_detected!("avx512bw"),
        "avx512dq" => !is_x86_feature_detected!("avx512dq"),
        "avx512vl" => !is_x86_feature_detected!("avx512vl"),
        "avx512vnni" => !is_x86_feature_detected!("avx512vnni"),
        other => panic!("{other} is no feature that is known here"),
    });
    #[cfg(target_arch = "aarch64")]
    return isa.features().iter().copied().find(|feature| match *feature {
        "neon" => !std::arch::is_aarch64_feature_detected!("neon"),
        "dotprod" => !std::arch::is_aarch64_feature_detected!("dotprod"),
        "i8mm" => !std::arch::is_aarch64_feature_detected!("i8mm"),
        other => panic!("{other} is no feature that is known here"),
    });
}

#[cfg(target_arch = "x86_64")]
const LIST: &str = include_str!("../../../tests/data/kernels-x86_64.txt");
#[cfg(target_arch = "aarch64")]
const LIST: &str = include_str!("../../../tests/data/kernels-aarch64.txt");

/// The list in tests/data names every kernel there is. Those whose features this machine has must have run; CI shows what this prints.
#[test]
fn every_kernel_of_the_list_was_executed() {
    let mut random = Random(11);
    let mut executed = BTreeSet::new();
    for (name, kernels) in all() {
        assert_eq!(kernels.tiles.int8.len(), kernels.layout.rows, "{name}");
        for m in 1..=kernels.layout.rows {
            for four in [false, true] {
                let signed = kernels.layout.offset == 0;
                for (group, groups) in [(32, 1), (32, 3), (16, 2), (64, 2), (608, 1)] {
                    if four && group != 32 {
                        continue;
                    }
                    let mut levels = Random(group as u64 + m as u64);
                    let (mut odd, mut even) = (0u8, 0u8);
                    let patterns: [&mut dyn FnMut() -> u8; 5] = [
                        &mut || (levels.next() >> 56) as u8,
                        &mut || 0x80,
                        &mut || 0x7f,
                        &mut || {
                            odd ^= 0xff;
                            0x80 ^ odd
                        },
                        &mut || {
                            even = even.wrapping_add(1);
                            if even == 7 { 0x80 } else { 0 }
                        },
                    ];
                    for level in patterns {
                        let case = Case::new(kernels, m, four, group, groups, level, &mut random);
                        for (at_end, before) in [(true, None), (false, Some(0.75))] {
                            let (y, expected) = (case.run(kernels, at_end, before), case.expected(signed, before));
                            assert_eq!(bits(&y), bits(&expected), "{name} {m} {four} {group} {groups}");
                        }
                    }
                }
                executed.insert(format!("{name} {} {m}", if four { "int4" } else { "int8" }));
            }
            float_tile(kernels, m, &mut random);
            executed.insert(format!("{name} float {m}"));
        }
        executed.extend(rows::between_pages(kernels, &mut random).map(|kernel| format!("{name} {kernel}")));
        executed.extend(jpeg::between_pages(kernels, &mut random).map(|kernel| format!("{name} {kernel}")));
        executed.extend(resize::between_pages(kernels, &mut random).map(|kernel| format!("{name} {kernel}")));
    }
    let (mut expected, mut absent) = (BTreeSet::new(), BTreeSet::new());
    for line in LIST.lines().filter(|line| !line.starts_with('#')) {
        let (isa, _) = line.split_once(' ').unwrap();
        // The twin needs what the largest set needs.
        let isa: Isa = if isa == "avx-vnni-evex" { Isa::Avx512Vnni } else { isa.parse().unwrap() };
        match missing(isa) {
            None => expected.insert(line.to_owned()),
            Some(feature) => absent.insert(format!("{line} (no {feature})")),
        };
    }
    executed.iter().for_each(|line| println!("kernel executed: {line}"));
    absent.iter().for_each(|line| println!("KERNEL THAT CANNOT RUN HERE: {line}"));
    println!("kernels: {} executed, {} that cannot run here", executed.len(), absent.len());
    assert_eq!(executed, expected, "the list of this architecture in crates/kernels/tests/data");
}

fn float_tile(kernels: &Kernels, m: usize, random: &mut Random) {
    let columns = kernels.layout.columns;
    for k in [1, 2, 7, 64] {
        let (x, w) = (random.floats(m * k), random.floats(k * columns));
        let expected: Vec<f32> = (0..m * columns)
            .map(|i| (0..k).fold(0f32, |y, j| x[i / columns * k + j].mul_add(w[j * columns + i % columns], y)))
            .collect();
        for at_end in [false, true] {
            let (x, w) = (Guarded::new(&x, at_end), Guarded::new(&w, at_end));
            let out = Guarded::new(&vec![f32::NAN; m * columns], at_end);
            let tile = FloatTile { x: x.first, stride: k, w: w.first, k, out: out.first, out_stride: columns };
            // SAFETY: as for tiles of integers.
            unsafe { kernels.tiles.float[m - 1](&tile) };
            assert_eq!(bits(out.as_slice()), bits(&expected), "{kernels:?} {m} x {k}");
        }
    }
}

#[test]
fn nothing_beside_the_tile_is_written() {
    for (name, kernels) in all() {
        let columns = kernels.layout.columns;
        let tile: Vec<f32> = (0..2 * columns).map(|i| i as f32).collect();
        for filled in 1..=columns {
            for epilogue in [Epilogue::Store, Epilogue::Activate(Activation::Gelu)] {
                let (first, stride) = (5, columns + 9);
                let mut out = vec![f32::NAN; first + 2 * stride];
                let finish = Finish { bias: &vec![1.0; columns], epilogue, out: &Disjoint::new(&mut out), first, stride, filled };
                (kernels.finish)(&finish, &tile);
                for (i, value) in out.iter().enumerate() {
                    let inside = i >= first && (i - first) % stride < filled && (i - first) / stride < 2;
                    assert_eq!(!value.is_nan(), inside, "{name} {filled} {i}");
                }
            }
        }
    }
}

/// Buffers of a thread hold whatever the last user left.
#[test]
fn what_was_computed_before_does_not_matter() {
    let mut random = Random(3);
    let (tokens, width) = (9, 40);
    let shape = Shape { width, heads: 2, causal: true };
    let rows: Vec<u32> = (0..tokens as u32).collect();
    let good = random.floats(tokens * 3 * width);
    let broken = vec![f32::NAN; 40 * 3 * width];
    let weights = [quantized(Format::Q4_1, 33, 64, &mut random)];
    let x = random.floats(3 * 64);
    for (_, kernels) in all() {
        let attend = |qkv: &[f32], tokens: usize, rows: &[u32]| {
            let part = |offset| Strided { values: qkv, stride: 3 * width, offset };
            let mut out = vec![0f32; tokens * width];
            let sequences = [Sequence { queries: 0..tokens, keys: 0..tokens, first: 0 }];
            let parts = Qkv { query: part(0), key: part(width), value: part(2 * width) };
            attention(kernels, shape, parts, rows, &sequences, &mut out, Threads::One);
            bits(&out)
        };
        let fresh = std::thread::scope(|scope| scope.spawn(|| attend(&good, tokens, &rows)).join().unwrap());
        attend(&broken, 40, &(0..40).collect::<Vec<u32>>());
        assert_eq!(attend(&good, tokens, &rows), fresh, "{kernels:?}");

        let expected = product(kernels, &weights, Groups::Stored, &x, Epilogue::Store);
        let linear = Linear::new(kernels, &weights, Some((0..33).map(|i| (i % 7) as f32 * 0.25).collect())).unwrap();
        let mut activations = Activations::default();
        activations.set(&linear, &vec![f32::NAN; 20 * 64], Threads::One);
        linear.forward(&activations, Epilogue::Store, &mut vec![0.0; 20 * 33], Threads::One);
        activations.set(&linear, &x, Threads::One);
        let mut out = vec![f32::NAN; 3 * 33];
        linear.forward(&activations, Epilogue::Store, &mut out, Threads::One);
        assert_eq!(bits(&out), bits(&expected), "{kernels:?}");
    }
}
