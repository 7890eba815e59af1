//! The resize of 8-bit samples on every instruction set against the plain loops, which Pillow's own numbers test (`crate::resize`).

use super::{tiles::Guarded, *};
use crate::resize::{Band, FRACTION_BITS, Filter, STEP, Taps, horizontal_u8, round_u8, vertical_u8};

/// Input and output samples of an axis: tiny, up, down, and of more taps than there are samples.
const AXES: [(usize, usize); 9] = [(1, 1), (1, 5), (2, 3), (5, 2), (9, 40), (40, 9), (67, 3), (100, 99), (300, 7)];

pub(super) fn bytes(random: &mut Random, n: usize) -> Vec<u8> {
    (0..n).map(|_| (random.next() >> 56) as u8).collect()
}

/// `rows` rows without anything behind the last sample that the taps need, each kernel's output of as many.
fn same_horizontally(kernels: &Kernels, samples: &[u8], stride: usize, rows: usize, channels: usize, taps: &Taps<i32>) {
    let row_len = taps.len() * channels;
    let mut expected = vec![0xa5; rows * row_len];
    horizontal_u8(scalar(), Band { samples, stride }, channels, taps, &mut expected);
    for at_end in [false, true] {
        let (samples, mut out) = (Guarded::new(samples, at_end), Guarded::new(&vec![0x5a; rows * row_len], at_end));
        horizontal_u8(kernels, Band { samples: samples.as_slice(), stride }, channels, taps, out.as_mut_slice());
        assert!(out.as_slice() == expected, "{kernels:?}: {rows} rows of {} from {stride}, {channels} channels", taps.len());
    }
}

fn same_vertically(kernels: &Kernels, samples: &[u8], stride: usize, weights: &[i32], sums: &[i32]) {
    let mut expected = sums.to_vec();
    vertical_u8(scalar(), Band { samples, stride }, weights, &mut expected);
    for at_end in [false, true] {
        let (samples, weights) = (Guarded::new(samples, at_end), Guarded::new(weights, at_end));
        let mut found = Guarded::new(sums, at_end);
        vertical_u8(kernels, Band { samples: samples.as_slice(), stride }, weights.as_slice(), found.as_mut_slice());
        assert!(found.as_slice() == expected, "{kernels:?}: {} from {} rows of {stride}", sums.len(), weights.as_slice().len());
    }
}

/// Runs each kernel on slices that end, or begin, at a shut page, and the plain one on others; the names of those that ran.
pub(super) fn between_pages(kernels: &Kernels, random: &mut Random) -> [&'static str; 2] {
    for (input, output) in AXES {
        for filter in Filter::ALL.into_iter().filter(|filter| *filter != Filter::Nearest) {
            for channels in 1..=4 {
                // A window that begins or ends inside as well as the whole, and every number of rows modulo those that are taken together.
                let from = (random.next() % output as u64) as usize;
                for (window, rows) in [(0..output, 1), (0..from + 1, 2), (from..output, 3), (from..from + 1, 4), (0..output, 9)] {
                    let taps = Taps::new(input, output, filter, window).to_fixed();
                    let stride = input * channels + (random.next() % 3) as usize;
                    let samples = bytes(random, (rows - 1) * stride + taps.input().end * channels);
                    same_horizontally(kernels, &samples, stride, rows, channels, &taps);
                }
            }
        }
    }
    for len in [0, 1, 7, 8, 9, 31, 32, 33, 64, 67, 100] {
        for rows in [0, 1, 2, 3, 16, 17] {
            let stride = len + (random.next() % 5) as usize;
            let samples = bytes(random, if rows == 0 { 0 } else { (rows - 1) * stride + len });
            let mut any = |n| (0..n).map(|_| random.next() as i32).collect::<Vec<_>>();
            let (weights, sums) = (any(rows), any(len));
            same_vertically(kernels, &samples, stride, &weights, &sums);
        }
    }
    ["horizontal_u8", "vertical_u8"]
}

/// Sums wrap, whatever a weight is; those that split it must carry.
#[test]
fn every_weight_is_multiplied_exactly() {
    let mut random = Random(21);
    let extremes =
        [i32::MIN, i32::MAX, 0x7fff, 0x8000, -0x8000, -0x8001, 0xffff, -1, 0x7fff_8000, 0x7fff_7fff, 1 << FRACTION_BITS];
    for kernels in others() {
        for channels in 1..=4 {
            for (input, output) in [(STEP, 3), (60, 4)] {
                for level in [None, Some(255), Some(1)] {
                    let taps =
                        Taps::new(input, output, Filter::Lanczos, 0..output).to_fixed().replaced(|| match random.next() % 2 {
                            0 => random.next() as i32,
                            _ => extremes[random.next() as usize % extremes.len()],
                        });
                    let samples = match level {
                        None => bytes(&mut random, 5 * input * channels),
                        Some(level) => vec![level; 5 * input * channels],
                    };
                    same_horizontally(kernels, &samples, input * channels, 5, channels, &taps);
                }
            }
        }
        for weight in extremes {
            same_vertically(kernels, &[255; 3 * 41], 41, &[weight, weight.wrapping_neg(), weight], &[i32::MAX; 41]);
        }
    }
}

/// White stays white and black black under every filter, negative lobes and all; edges overshoot into the clamp, not around.
#[test]
fn extremes_are_clamped() {
    for kernels in others().into_iter().chain([scalar()]) {
        for (input, output) in AXES {
            for filter in [Filter::Bicubic, Filter::Lanczos] {
                let taps = Taps::new(input, output, filter, 0..output).to_fixed();
                for channels in 1..=4 {
                    for level in [0, 255] {
                        let mut out = vec![level ^ 0x5a; 3 * output * channels];
                        let samples = vec![level; 3 * input * channels];
                        horizontal_u8(kernels, Band { samples: &samples, stride: input * channels }, channels, &taps, &mut out);
                        assert!(out.iter().all(|&x| x == level), "{kernels:?} {input} to {output}");
                    }
                    let edges: Vec<u8> = (0..3 * input * channels).map(|i| if i / channels % 8 < 4 { 0 } else { 255 }).collect();
                    same_horizontally(kernels, &edges, input * channels, 3, channels, &taps);
                }
                for i in 0..output {
                    let mut sums = vec![0; 37];
                    let mut out = vec![0xa5; 37];
                    vertical_u8(kernels, Band { samples: &vec![255; input * 37], stride: 37 }, taps.weights(i), &mut sums);
                    round_u8(&sums, &mut out);
                    assert!(out.iter().all(|&x| x == 255), "{kernels:?} {input} to {output}");
                }
            }
        }
    }
}

/// What is not there is not read, but refused.
#[test]
fn short_bands_are_refused() {
    let taps = Taps::new(40, 9, Filter::Bicubic, 0..9).to_fixed();
    for kernels in others().into_iter().chain([scalar()]) {
        let panics = |run: &dyn Fn()| std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err();
        let horizontal = |samples: usize, channels: usize, out: usize| {
            let band = vec![1; samples];
            horizontal_u8(kernels, Band { samples: &band, stride: 120 }, channels, &taps, &mut vec![0; out]);
        };
        assert!(!panics(&|| horizontal(240, 3, 54)), "{kernels:?}");
        assert!(panics(&|| horizontal(239, 3, 54)), "{kernels:?}: a sample of the last row is missing");
        assert!(panics(&|| horizontal(240, 3, 53)), "{kernels:?}: no whole rows");
        assert!(panics(&|| horizontal(240, 0, 54)), "{kernels:?}: no channels");
        assert!(panics(&|| horizontal(240, 5, 54)), "{kernels:?}: too many channels");
        for len in [5, 8, 32, 45] {
            let vertical = |samples: usize| {
                let band = vec![1; samples];
                vertical_u8(kernels, Band { samples: &band, stride: len }, &[1, 2, 3], &mut vec![0; len]);
            };
            assert!(!panics(&|| vertical(3 * len)), "{kernels:?}");
            assert!(panics(&|| vertical(3 * len - 1)), "{kernels:?}: a sample of the last row is missing");
        }
    }
}
