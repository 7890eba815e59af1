//! JPEG's arithmetic on every instruction set against the plain loops, and those against the definition.

use super::{resize::bytes, tiles::Guarded, *};
use crate::jpeg::{Block, double, double_both, rgb, transform};

const SIDES: [usize; 4] = [1, 2, 4, 8];

/// The rows of blocks between shut pages, and what lies between rows untouched.
fn same_samples(kernels: &Kernels, blocks: &[Block], table: &[u16; 64], gap: usize) {
    for side in SIDES {
        let wide = blocks.len() * side;
        let stride = wide + gap;
        let len = if wide == 0 { 0 } else { (side - 1) * stride + wide };
        let mut expected = vec![0xa5; len];
        transform(scalar(), side, blocks, table, &mut expected, stride);
        for at_end in [false, true] {
            let (blocks, mut out) = (Guarded::new(blocks, at_end), Guarded::new(&vec![0xa5; len], at_end));
            transform(kernels, side, blocks.as_slice(), table, out.as_mut_slice(), stride);
            assert!(out.as_slice() == expected, "{kernels:?}: {} blocks of {side}", blocks.as_slice().len());
        }
    }
}

fn same_rows(kernels: &Kernels, random: &mut Random, mut row: impl FnMut(&mut Random, usize) -> Vec<u8>) {
    for len in (1..=70).chain([96, 97, 127, 200]) {
        let rows = [row(random, len), row(random, len), row(random, len)];
        let mut expected = [vec![0xa5; 2 * len], vec![0xa5; 2 * len], vec![0xa5; 3 * len]];
        double(scalar(), &rows[0], &mut expected[0]);
        double_both(scalar(), &rows[0], &rows[1], &mut expected[1]);
        rgb(scalar(), [&rows[0], &rows[1], &rows[2]], &mut expected[2]);
        for at_end in [false, true] {
            let rows = [0, 1, 2].map(|i| Guarded::new(&rows[i], at_end));
            let [a, b, c] = [0, 1, 2].map(|i| rows[i].as_slice());
            let mut out = [2, 2, 3].map(|times| Guarded::new(&vec![0x5a; times * len], at_end));
            double(kernels, a, out[0].as_mut_slice());
            double_both(kernels, a, b, out[1].as_mut_slice());
            rgb(kernels, [a, b, c], out[2].as_mut_slice());
            for (i, what) in ["twice the columns", "twice both", "colours"].into_iter().enumerate() {
                assert!(out[i].as_slice() == expected[i], "{kernels:?}: {what} of {len} samples");
            }
        }
    }
}

/// A block with some coefficients of up to so many in magnitude.
fn block(random: &mut Random, coefficients: usize, most: u64) -> Block {
    let mut block = [0; 64];
    for _ in 0..coefficients {
        let value = (random.next() % (2 * most + 1)) as i64 - most as i64;
        block[random.next() as usize % 64] = value as i16;
    }
    block
}

/// Runs each kernel on slices that end, or begin, at a shut page, and the plain one on others; the names of those that ran.
pub(super) fn between_pages(kernels: &Kernels, random: &mut Random) -> [&'static str; 4] {
    for count in 0..=5 {
        for (coefficients, most) in [(1, 200), (4, 60), (64, 1000), (0, 0)] {
            let blocks: Vec<Block> = (0..count).map(|_| block(random, coefficients, most)).collect();
            let table = std::array::from_fn(|_| (random.next() % 40 + 1) as u16);
            same_samples(kernels, &blocks, &table, (random.next() % 3) as usize);
        }
    }
    same_rows(kernels, random, bytes);
    ["transform", "double", "double_both", "rgb"]
}

/// Hostile coefficients and tables wrap and saturate at the same places.
#[test]
fn extremes_of_jpeg_are_the_same() {
    let mut random = Random(31);
    let ends = [i16::MIN, i16::MAX, -1, 0, 1, 0x4000, -0x4000, 1023, -1024];
    for kernels in others() {
        for round in 0..200 {
            let mut any = |n: usize| random.next() as usize % n;
            let blocks: [Block; 3] = [(); 3].map(|()| match round % 4 {
                0 => std::array::from_fn(|_| ends[any(ends.len())]),
                1 => [ends[any(ends.len())]; 64],
                2 => std::array::from_fn(|i| if i == 0 { ends[any(ends.len())] } else { 0 }),
                _ => std::array::from_fn(|_| any(1 << 16) as i16),
            });
            let table = match round % 3 {
                0 => std::array::from_fn(|_| any(1 << 16) as u16),
                1 => [1; 64],
                _ => [u16::MAX; 64],
            };
            same_samples(kernels, &blocks, &table, 0);
        }
        same_rows(kernels, &mut random, |random, len| (0..len).map(|_| [0, 255][(random.next() >> 60) as usize % 2]).collect());
    }
}

/// All 2^24 colours would take a minute emulated: every pair of chroma with some luma.
#[test]
fn extremes_of_colour_are_the_same() {
    let all: Vec<u8> = (0..=255).collect();
    let (mut expected, mut found) = ([0; 768], [0; 768]);
    for kernels in others() {
        for cb in 0..=255 {
            for luma in [0, 1, 127, 128, 254, 255] {
                let (luma_row, cb_row) = ([luma; 256], [cb; 256]);
                let rows = [luma_row.as_slice(), &cb_row, &all];
                rgb(scalar(), rows, &mut expected);
                rgb(kernels, rows, &mut found);
                assert!(found == expected, "{kernels:?}: luma {luma}, Cb {cb}");
            }
        }
    }
}

/// Against the definition (T.81 A.3.3) in double precision, of fewer samples the means of its squares: never off by more than one level.
#[test]
fn blocks_are_near_the_definition() {
    let mut random = Random(32);
    let cosine = |n: usize, k: usize| ((2 * n + 1) as f64 * k as f64 * std::f64::consts::PI / 16.0).cos();
    let c = |k: usize| if k == 0 { 0.5f64.sqrt() } else { 1.0 };
    for round in 0..40 {
        let block = block(&mut random, round + 1, 30);
        let table: [u16; 64] = std::array::from_fn(|_| (random.next() % 12 + 1) as u16);
        let whole: [f64; 64] = std::array::from_fn(|i| {
            let term = |j: usize| {
                let (u, v) = (j % 8, j / 8);
                f64::from(block[j]) * f64::from(table[j]) * c(u) * c(v) * cosine(i % 8, u) * cosine(i / 8, v) / 4.0
            };
            (0..64).map(term).sum()
        });
        for side in SIDES {
            let mut out = vec![0; side * side];
            transform(scalar(), side, &[block], &table, &mut out, side);
            let step = 8 / side;
            for (i, found) in out.into_iter().enumerate() {
                let (left, top) = (i % side * step, i / side * step);
                let square = (0..step * step).map(|j| whole[(top + j / step) * 8 + left + j % step]);
                let expected = (square.sum::<f64>() / (step * step) as f64 + 128.0).clamp(0.0, 255.0);
                assert!((f64::from(found) - expected).abs() <= 1.0, "{found} for {expected} of {side}, round {round}");
            }
        }
    }
}

/// What a block with a DC coefficient only gives at once is what the transforms give for it.
#[test]
fn flat_blocks_are_the_same() {
    for kernels in others().into_iter().chain([scalar()]) {
        for dc in (-1100..1100).chain([i16::MIN, i16::MAX]) {
            // The other one is not flat, nor does its coefficient count for anything in a row of its own.
            let (mut flat, mut other) = ([0; 64], [0; 64]);
            (flat[0], other[0], other[63]) = (dc, dc, 1);
            let mut table = [3; 64];
            table[63] = 0;
            for side in SIDES {
                let (mut expected, mut found) = (vec![0x5a; 2 * side * side], vec![0xa5; 2 * side * side]);
                transform(kernels, side, &[flat; 2], &table, &mut found, 2 * side);
                transform(kernels, side, &[other; 2], &table, &mut expected, 2 * side);
                assert_eq!(found, expected, "{kernels:?}: DC {dc}, {side} samples");
            }
        }
    }
}

/// What is not there is not written to, but refused.
#[test]
fn short_rows_of_samples_are_refused() {
    for kernels in others().into_iter().chain([scalar()]) {
        let panics = |run: &dyn Fn()| std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err();
        let blocks = |side: usize, len: usize, stride: usize| {
            transform(kernels, side, &[[1; 64]; 4], &[1; 64], &mut vec![0; len], stride);
        };
        for side in SIDES {
            assert!(!panics(&|| blocks(side, 4 * side * side, 4 * side)), "{kernels:?}");
            assert!(panics(&|| blocks(side, 4 * side * side - 1, 4 * side)), "{kernels:?}: a sample is missing");
            assert!(panics(&|| blocks(side, 1000, 4 * side - 1)), "{kernels:?}: rows overlap");
        }
        assert!(panics(&|| blocks(3, 1000, 100)), "{kernels:?}: no such transform");
        for len in [1, 17, 40] {
            let row = vec![1; len];
            let short = &row[1..];
            assert!(panics(&|| double(kernels, &row, &mut vec![0; 2 * len - 1])), "{kernels:?}");
            assert!(panics(&|| double_both(kernels, &row, short, &mut vec![0; 2 * len])), "{kernels:?}");
            assert!(panics(&|| double_both(kernels, &row, &row, &mut vec![0; 2 * len - 1])), "{kernels:?}");
            assert!(panics(&|| rgb(kernels, [&row, &row, short], &mut vec![0; 3 * len])), "{kernels:?}");
            assert!(panics(&|| rgb(kernels, [&row, &row, &row], &mut vec![0; 3 * len - 1])), "{kernels:?}");
        }
    }
}
