//! The entropy-coded data of one scan: Huffman codes to coefficients (T.81 F and G).
//!
//! Damaged data inside a scan is no error, as it is none for libjpeg: blocks that a marker cuts off stay as they
//! are until the next restart. The end of the file inside a scan is one.

use edgeclip_kernels::jpeg::Block;

use super::bands::Bands;
use super::huffman::{Bits, Huffman, LOOKS};
use super::{Format, Frame, NATURAL, Tables, cut, damaged, progressive};
use crate::Error;

/// One component's part in a scan.
pub(super) struct Coding<'a> {
    pub(super) component: usize,
    pub(super) dc: Option<&'a Huffman>,
    pub(super) ac: Option<&'a Huffman>,
}

/// What a progressive scan adds.
pub(super) struct Selection {
    pub(super) first: usize,
    pub(super) last: usize,
    pub(super) high: u32,
    pub(super) low: u32,
}

/// State that a restart resets.
#[derive(Default)]
pub(super) struct Prediction {
    pub(super) dc: [i32; 4],
    pub(super) end_of_band_run: u32,
}

/// A scan, from its header on.
pub(super) struct Scan<'a> {
    parts: Vec<Coding<'a>>,
    selection: Selection,
    restart_interval: usize,
    until_restart: usize,
    bits: Bits<'a>,
    prediction: Prediction,
    /// Whether the data of this restart interval have run out.
    starved: bool,
}

impl<'a> Scan<'a> {
    /// The scan whose header is `header` and whose data starts `data`; its components get their tables.
    pub(super) fn new(header: &[u8], data: &'a [u8], frame: &mut Frame, tables: &'a Tables) -> Result<Scan<'a>, Error> {
        let (parts, selection) = scan_header(header, frame, tables)?;
        for part in &parts {
            let component = &mut frame.components[part.component];
            if component.table.is_some() && !frame.progressive {
                return Err(damaged(Format::Jpeg, "a component is coded twice"));
            }
            if component.table.is_none() {
                let table = tables.quantization.get(component.quantization).copied().flatten();
                component.table = Some(table.ok_or_else(|| damaged(Format::Jpeg, "a quantization table is missing"))?);
            }
            // A DC refinement needs no table, other scans do.
            let needs_dc = !frame.progressive || selection.first == 0 && selection.high == 0;
            let needs_ac = !frame.progressive || selection.first > 0;
            if needs_dc && part.dc.is_none() || needs_ac && part.ac.is_none() {
                return Err(damaged(Format::Jpeg, "a Huffman table is missing"));
            }
        }
        Ok(Scan {
            parts,
            selection,
            restart_interval: tables.restart_interval,
            until_restart: tables.restart_interval,
            bits: Bits::new(data),
            prediction: Prediction::default(),
            starved: false,
        })
    }

    /// Whether this scan alone is the picture.
    pub(super) fn is_whole(&self, frame: &Frame) -> bool {
        !frame.progressive && self.parts.len() == frame.components.len()
    }

    /// Decodes a scan that is the picture, in the order of the frame or another; returns how long its data is.
    pub(super) fn picture(mut self, frame: &Frame, bands: &mut Bands) -> Result<usize, Error> {
        let mut blocks: Vec<Vec<Block>> = frame.components.iter().map(|c| vec![[0; 64]; c.v * c.blocks_wide]).collect();
        for row in 0..frame.mcus_high {
            blocks.iter_mut().for_each(|blocks| blocks.as_flattened_mut().fill(0));
            for column in 0..frame.mcus_wide {
                self.start_mcu();
                for part in &self.parts {
                    let component = &frame.components[part.component];
                    for y in 0..component.v {
                        let first = y * component.blocks_wide + column * component.h;
                        for block in &mut blocks[part.component][first..first + component.h] {
                            if !self.starved {
                                sequential_block(block, part, &mut self.bits, &mut self.prediction);
                                self.starved = self.bits.starved();
                            }
                        }
                    }
                }
                if self.bits.ended() && self.starved {
                    return Err(cut());
                }
            }
            bands.push(row, blocks.iter().map(Vec::as_slice));
        }
        Ok(self.bits.position())
    }

    /// Decodes a scan into the frame's coefficients; returns how long its data is.
    pub(super) fn coefficients(mut self, frame: &mut Frame) -> Result<usize, Error> {
        let single = match self.parts.as_slice() {
            [part] => Some(frame.components[part.component].blocks),
            _ => None,
        };
        let (wide, high) = single.unwrap_or((frame.mcus_wide, frame.mcus_high));
        for mcu in 0..wide * high {
            self.start_mcu();
            let (column, row) = (mcu % wide, mcu / wide);
            for part in &self.parts {
                let component = &mut frame.components[part.component];
                let (h, v) = if single.is_some() { (1, 1) } else { (component.h, component.v) };
                for y in row * v..(row + 1) * v {
                    for x in column * h..(column + 1) * h {
                        if !self.starved {
                            let block = &mut component.coefficients[y * component.blocks_wide + x];
                            if frame.progressive {
                                progressive::block(block, part, &self.selection, &mut self.bits, &mut self.prediction);
                            } else {
                                sequential_block(block, part, &mut self.bits, &mut self.prediction);
                            }
                            self.starved = self.bits.starved();
                        }
                    }
                }
            }
            if self.bits.ended() && self.starved {
                return Err(cut());
            }
            if self.starved && self.restart_interval == 0 {
                break;
            }
        }
        Ok(self.bits.position())
    }

    /// What comes before an MCU: a restart, if one is due.
    fn start_mcu(&mut self) {
        if self.restart_interval > 0 {
            if self.until_restart == 0 {
                self.bits.restart();
                self.prediction = Prediction::default();
                self.starved = false;
                self.until_restart = self.restart_interval;
            }
            self.until_restart -= 1;
        }
    }
}

fn scan_header<'a>(header: &[u8], frame: &Frame, tables: &'a Tables) -> Result<(Vec<Coding<'a>>, Selection), Error> {
    let count = usize::from(*header.first().ok_or_else(cut)?);
    if !(1..=4).contains(&count) {
        return Err(damaged(Format::Jpeg, format_args!("a scan of {count} components")));
    }
    let mut parts: Vec<Coding> = Vec::new();
    for &[id, selectors] in header.get(1..1 + 2 * count).ok_or_else(cut)?.as_chunks::<2>().0 {
        let component = frame.components.iter().position(|c| c.id == id);
        let component = component.ok_or_else(|| damaged(Format::Jpeg, "a scan of a component that is not there"))?;
        let (dc, ac) = (usize::from(selectors >> 4), usize::from(selectors & 15));
        if dc > 3 || ac > 3 || parts.iter().any(|p| p.component == component) {
            return Err(damaged(Format::Jpeg, "a scan header that contradicts itself"));
        }
        parts.push(Coding { component, dc: tables.dc[dc].as_ref(), ac: tables.ac[ac].as_ref() });
    }
    let &[first, last, approximation] = header.get(1 + 2 * count..4 + 2 * count).and_then(|b| b.as_array()).ok_or_else(cut)?;
    let selection = Selection {
        first: first.into(),
        last: last.into(),
        high: u32::from(approximation >> 4),
        low: u32::from(approximation & 15),
    };
    // T.81 G.1.1.1: a scan is of DC or of the AC of one component.
    let ac_alone = selection.first > 0 && selection.last >= selection.first && selection.last < 64 && count == 1;
    if frame.progressive && (!(selection.first == 0 && selection.last == 0 || ac_alone) || selection.low > 13) {
        return Err(damaged(Format::Jpeg, "a progressive scan of no valid band"));
    }
    Ok((parts, selection))
}

/// A block of all coefficients; it was zero.
#[inline(always)]
fn sequential_block(block: &mut Block, part: &Coding, bits: &mut Bits, prediction: &mut Prediction) {
    let (Some(dc), Some(ac)) = (part.dc, part.ac) else { return };
    bits.fill();
    let look = bits.look(dc);
    let difference = if look.value() != 0 {
        bits.skip(look);
        look.value().into()
    } else {
        let size = bits.symbol(dc).min(16);
        bits.signed(size.into())
    };
    let value = prediction.dc[part.component].wrapping_add(difference);
    prediction.dc[part.component] = value;
    block[0] = value as i16;
    let mut k = 1;
    'next: while k < 64 {
        bits.fill();
        'looks: {
            for _ in 0..LOOKS {
                let look = bits.look(ac);
                if look.value() == 0 {
                    if look.is_end() {
                        bits.skip(look);
                        return;
                    }
                    break 'looks;
                }
                bits.skip(look);
                k += look.run();
                let Some(&place) = NATURAL.get(k) else { return };
                block[usize::from(place)] = look.value();
                k += 1;
                if k > 63 {
                    return;
                }
            }
            continue 'next;
        }
        // A code or a value that is too long for a look, or a run of zeros only.
        let symbol = bits.symbol(ac);
        let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        if size == 0 {
            if run < 15 {
                return;
            }
            k += 16;
            continue;
        }
        k += run;
        let value = bits.signed(size);
        let Some(&place) = NATURAL.get(k) else { return };
        block[usize::from(place)] = value as i16;
        k += 1;
    }
}
