//! The blocks of progressive scans (T.81 G): each scan adds bits to some of their coefficients.

use edgeclip_kernels::jpeg::Block;

use super::NATURAL;
use super::huffman::{Bits, Huffman};
use super::scan::{Coding, Prediction, Selection};

pub(super) fn block(block: &mut Block, coding: &Coding, selection: &Selection, bits: &mut Bits, prediction: &mut Prediction) {
    match (selection.first, selection.high) {
        (0, 0) => {
            if let Some(dc) = coding.dc {
                let size = bits.symbol(dc).min(16);
                let value = prediction.dc[coding.component].wrapping_add(bits.signed(size.into()));
                prediction.dc[coding.component] = value;
                block[0] = value.wrapping_shl(selection.low) as i16;
            }
        }
        (0, _) => {
            if bits.bit() {
                block[0] |= 1 << selection.low;
            }
        }
        (_, 0) => {
            if let Some(ac) = coding.ac {
                first_pass(block, selection, ac, bits, &mut prediction.end_of_band_run);
            }
        }
        _ => {
            if let Some(ac) = coding.ac {
                refinement(block, selection, ac, bits, &mut prediction.end_of_band_run);
            }
        }
    }
}

/// The first bits of a band's AC coefficients (T.81 G.1.2.2).
fn first_pass(block: &mut Block, selection: &Selection, ac: &Huffman, bits: &mut Bits, run_left: &mut u32) {
    if *run_left > 0 {
        *run_left -= 1;
        return;
    }
    let mut k = selection.first;
    while k <= selection.last {
        let symbol = bits.symbol(ac);
        let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
        if size == 0 {
            if run < 15 {
                *run_left = (1 << run) - 1 + bits.take(run);
                break;
            }
            k += 16;
            continue;
        }
        k += run as usize;
        let value = bits.signed(size);
        if k > 63 {
            break;
        }
        block[usize::from(NATURAL[k])] = value.wrapping_shl(selection.low) as i16;
        k += 1;
    }
}

/// One more bit of a band's AC coefficients (T.81 G.1.2.3).
fn refinement(block: &mut Block, selection: &Selection, ac: &Huffman, bits: &mut Bits, run_left: &mut u32) {
    let bit = 1i16 << selection.low;
    let refine = |value: &mut i16, bits: &mut Bits| {
        if bits.bit() && *value & bit == 0 {
            *value = value.wrapping_add(if *value >= 0 { bit } else { -bit });
        }
    };
    let mut k = selection.first;
    if *run_left == 0 {
        while k <= selection.last {
            let symbol = bits.symbol(ac);
            let (mut run, size) = (u32::from(symbol >> 4), symbol & 15);
            let mut new = 0;
            if size != 0 {
                new = if bits.bit() { bit } else { -bit };
            } else if run < 15 {
                *run_left = (1 << run) + bits.take(run);
                break;
            }
            // Over `run` coefficients that are still zero; those that are not get their bit on the way.
            while k <= selection.last {
                let value = &mut block[usize::from(NATURAL[k])];
                if *value != 0 {
                    refine(value, bits);
                } else if run == 0 {
                    if new != 0 {
                        *value = new;
                    }
                    k += 1;
                    break;
                } else {
                    run -= 1;
                }
                k += 1;
            }
        }
    }
    if *run_left > 0 {
        while k <= selection.last {
            let value = &mut block[usize::from(NATURAL[k])];
            if *value != 0 {
                refine(value, bits);
            }
            k += 1;
        }
        *run_left -= 1;
    }
}
