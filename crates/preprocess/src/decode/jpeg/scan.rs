//! The entropy-coded data of one scan: Huffman codes to coefficients, sequential and progressive (T.81 F and G).
//!
//! Damaged data inside a scan is no error, as it is none for libjpeg: blocks that a marker cuts off stay as they
//! are until the next restart. The end of the file inside a scan is one.

use super::transform::{self, NATURAL};
use super::{Component, Format, Frame, Tables, cut, damaged};
use crate::Error;

/// Codes of up to this many bits are found with one look.
const LOOK: u32 = 9;

/// A Huffman table: symbols by code.
pub(super) struct Huffman {
    /// By the next [`LOOK`] bits: length of the code (0: longer than that) and its symbol.
    look: Box<[(u8, u8); 1 << LOOK]>,
    /// By length: the first code that is too large for it, left-aligned in 16 bits.
    limit: [u32; 18],
    /// By length: what to add to a code for its place among the symbols.
    offset: [i32; 17],
    symbols: Vec<u8>,
}

impl Huffman {
    /// From the number of codes of each length and their symbols; `None` if the lengths need more codes than there are.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Huffman> {
        let mut table =
            Huffman { look: Box::new([(0, 0); 1 << LOOK]), limit: [0; 18], offset: [0; 17], symbols: symbols.to_vec() };
        let (mut code, mut place) = (0u32, 0usize);
        for len in 1..=16u32 {
            table.offset[len as usize] = place as i32 - code as i32;
            for _ in 0..counts[len as usize - 1] {
                if code >= 1 << len {
                    return None;
                }
                if len <= LOOK {
                    let first = (code << (LOOK - len)) as usize;
                    table.look[first..first + (1 << (LOOK - len))].fill((len as u8, symbols[place]));
                }
                code += 1;
                place += 1;
            }
            table.limit[len as usize] = code << (16 - len);
            code <<= 1;
        }
        table.limit[17] = u32::MAX;
        Some(table)
    }
}

/// Bits of the entropy-coded data, from the high bit on; zeros where a marker or the end of the file stops them.
struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    buffer: u64,
    count: u32,
    /// Zeros at the end of the buffer that are not in the file.
    made_up: u32,
    ended: bool,
}

impl<'a> Bits<'a> {
    fn new(data: &'a [u8]) -> Bits<'a> {
        Bits { data, at: 0, buffer: 0, count: 0, made_up: 0, ended: false }
    }

    /// At least 57 bits in the buffer.
    fn fill(&mut self) {
        while self.count <= 56 {
            let byte = match (self.data.get(self.at), self.data.get(self.at + 1)) {
                (Some(0xff), Some(0)) => {
                    self.at += 2;
                    0xff
                }
                (Some(0xff), Some(_)) => {
                    self.made_up += 8;
                    0
                }
                (Some(0xff) | None, _) => {
                    self.ended = true;
                    self.made_up += 8;
                    0
                }
                (Some(&byte), _) => {
                    self.at += 1;
                    byte
                }
            };
            self.buffer |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    /// The next `n` bits, 0 to 16; the caller has filled.
    fn take(&mut self, n: u32) -> u32 {
        // In two steps, because a shift by 64 is none.
        let value = (self.buffer >> 1 >> (63 - n)) as u32;
        self.buffer <<= n;
        self.count -= n;
        value
    }

    fn bit(&mut self) -> bool {
        self.fill();
        self.take(1) == 1
    }

    /// The next symbol; 0 for a code that is none, as libjpeg has it. At least 41 bits are left in the buffer.
    fn symbol(&mut self, table: &Huffman) -> u8 {
        self.fill();
        let (len, symbol) = table.look[(self.buffer >> (64 - LOOK)) as usize];
        if len > 0 {
            self.take(len.into());
            return symbol;
        }
        let next = (self.buffer >> 48) as u32;
        let mut len = LOOK as usize + 1;
        while next >= table.limit[len] {
            len += 1;
        }
        if len > 16 {
            self.take(16);
            return 0;
        }
        let code = self.take(len as u32) as i32;
        table.symbols.get((code + table.offset[len]) as usize).copied().unwrap_or(0)
    }

    /// A difference or coefficient of `size` bits, 0 to 16, with its sign (T.81 F.2.2.1).
    fn signed(&mut self, size: u32) -> i32 {
        if size == 0 {
            return 0;
        }
        let value = self.take(size) as i32;
        if value < 1 << (size - 1) { value - (1 << size) + 1 } else { value }
    }

    /// Whether bits were used that are not in the file.
    fn starved(&self) -> bool {
        self.count < self.made_up
    }

    /// Drops the rest of the interval and moves behind the restart marker, if that comes next.
    fn restart(&mut self) {
        (self.buffer, self.count, self.made_up) = (0, 0, 0);
        let mut at = self.at;
        while let Some(pair) = self.data.get(at..at + 2) {
            match pair {
                [0xff, 0xd0..=0xd7] => {
                    self.at = at + 2;
                    return;
                }
                [0xff, 1..=0xfe] => break,
                _ => at += 1,
            }
        }
        self.at = at.min(self.data.len());
    }
}

/// One component's part in a scan.
struct Part {
    component: usize,
    dc: usize,
    ac: usize,
}

/// What a progressive scan adds.
struct Band {
    first: usize,
    last: usize,
    high: u32,
    low: u32,
}

/// State that a restart resets.
#[derive(Default)]
struct Prediction {
    dc: [i32; 4],
    end_of_band_run: u32,
}

/// Decodes the scan whose header is `header` and whose data starts `data`; returns how long the data is.
pub(super) fn decode(header: &[u8], data: &[u8], frame: &mut Frame, tables: &Tables) -> Result<usize, Error> {
    let (parts, band) = scan_header(header, frame)?;
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
        let needs_dc = !frame.progressive || band.first == 0 && band.high == 0;
        let needs_ac = !frame.progressive || band.first > 0;
        if needs_dc && tables.dc[part.dc].is_none() || needs_ac && tables.ac[part.ac].is_none() {
            return Err(damaged(Format::Jpeg, "a Huffman table is missing"));
        }
    }
    let single = match parts.as_slice() {
        [part] => {
            let component = &frame.components[part.component];
            Some((component.width.div_ceil(8), component.height.div_ceil(8)))
        }
        _ => None,
    };
    let (wide, high) = single.unwrap_or((frame.width.div_ceil(8 * frame.h_max), frame.height.div_ceil(8 * frame.v_max)));
    let mut bits = Bits::new(data);
    let mut prediction = Prediction::default();
    let mut starved = false;
    let mut until_restart = tables.restart_interval;
    for mcu in 0..wide * high {
        if tables.restart_interval > 0 {
            if until_restart == 0 {
                bits.restart();
                prediction = Prediction::default();
                starved = false;
                until_restart = tables.restart_interval;
            }
            until_restart -= 1;
        }
        let (column, row) = (mcu % wide, mcu / wide);
        for part in &parts {
            let progressive = frame.progressive;
            let component = &mut frame.components[part.component];
            let (h, v) = if single.is_some() { (1, 1) } else { (component.h, component.v) };
            for y in row * v..(row + 1) * v {
                for x in column * h..(column + 1) * h {
                    let state = (&mut bits, &mut prediction);
                    if progressive {
                        if !starved {
                            let start = (y * component.blocks_wide + x) * 64;
                            let block = (&mut component.coefficients[start..start + 64]).try_into().expect("64 coefficients");
                            progressive_block(block, part, &band, tables, state);
                        }
                    } else {
                        sequential_block(component, (x, y), part, tables, state, starved);
                    }
                    starved |= bits.starved();
                }
            }
        }
        if bits.ended && starved {
            return Err(cut());
        }
        if starved && frame.progressive && tables.restart_interval == 0 {
            break;
        }
    }
    Ok(bits.at)
}

fn scan_header(header: &[u8], frame: &Frame) -> Result<(Vec<Part>, Band), Error> {
    let count = usize::from(*header.first().ok_or_else(cut)?);
    if !(1..=4).contains(&count) {
        return Err(damaged(Format::Jpeg, format_args!("a scan of {count} components")));
    }
    let mut parts: Vec<Part> = Vec::new();
    for &[id, selectors] in header.get(1..1 + 2 * count).ok_or_else(cut)?.as_chunks::<2>().0 {
        let component = frame.components.iter().position(|c| c.id == id);
        let component = component.ok_or_else(|| damaged(Format::Jpeg, "a scan of a component that is not there"))?;
        let (dc, ac) = (usize::from(selectors >> 4), usize::from(selectors & 15));
        if dc > 3 || ac > 3 || parts.iter().any(|p| p.component == component) {
            return Err(damaged(Format::Jpeg, "a scan header that contradicts itself"));
        }
        parts.push(Part { component, dc, ac });
    }
    let &[first, last, approximation] = header.get(1 + 2 * count..4 + 2 * count).and_then(|b| b.as_array()).ok_or_else(cut)?;
    let band =
        Band { first: first.into(), last: last.into(), high: u32::from(approximation >> 4), low: u32::from(approximation & 15) };
    // T.81 G.1.1.1: a scan is of DC or of the AC of one component.
    let ac_alone = band.first > 0 && band.last >= band.first && band.last < 64 && count == 1;
    if frame.progressive && (!(band.first == 0 && band.last == 0 || ac_alone) || band.low > 13) {
        return Err(damaged(Format::Jpeg, "a progressive scan of no valid band"));
    }
    Ok((parts, band))
}

fn sequential_block(
    component: &mut Component,
    (x, y): (usize, usize),
    part: &Part,
    tables: &Tables,
    (bits, prediction): (&mut Bits, &mut Prediction),
    starved: bool,
) {
    let mut block = [0i16; 64];
    let mut flat = true;
    if let (false, Some(dc), Some(ac)) = (starved, &tables.dc[part.dc], &tables.ac[part.ac]) {
        let size = bits.symbol(dc).min(16);
        let value = prediction.dc[part.component].wrapping_add(bits.signed(size.into()));
        prediction.dc[part.component] = value;
        block[0] = value as i16;
        let mut k = 1;
        while k < 64 {
            let symbol = bits.symbol(ac);
            let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
            if size == 0 {
                if run < 15 {
                    break;
                }
                k += 16;
                continue;
            }
            k += run;
            let value = bits.signed(size);
            if k > 63 {
                break;
            }
            block[NATURAL[k]] = value as i16;
            flat = false;
            k += 1;
        }
    }
    let table = component.table.as_ref().expect("set when the scan began");
    let stride = component.blocks_wide * 8;
    let out = &mut component.plane[y * 8 * stride + x * 8..];
    if flat { transform::flat(block[0], table[0], out, stride) } else { transform::inverse(&block, table, out, stride) }
}

fn progressive_block(
    block: &mut [i16; 64],
    part: &Part,
    band: &Band,
    tables: &Tables,
    (bits, prediction): (&mut Bits, &mut Prediction),
) {
    match (band.first, band.high) {
        (0, 0) => {
            if let Some(dc) = &tables.dc[part.dc] {
                let size = bits.symbol(dc).min(16);
                let value = prediction.dc[part.component].wrapping_add(bits.signed(size.into()));
                prediction.dc[part.component] = value;
                block[0] = value.wrapping_shl(band.low) as i16;
            }
        }
        (0, _) => {
            if bits.bit() {
                block[0] |= 1 << band.low;
            }
        }
        (_, 0) => {
            if let Some(ac) = &tables.ac[part.ac] {
                first_pass(block, band, ac, bits, &mut prediction.end_of_band_run);
            }
        }
        _ => {
            if let Some(ac) = &tables.ac[part.ac] {
                refinement(block, band, ac, bits, &mut prediction.end_of_band_run);
            }
        }
    }
}

/// The first bits of a band's AC coefficients (T.81 G.1.2.2).
fn first_pass(block: &mut [i16; 64], band: &Band, ac: &Huffman, bits: &mut Bits, run_left: &mut u32) {
    if *run_left > 0 {
        *run_left -= 1;
        return;
    }
    let mut k = band.first;
    while k <= band.last {
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
        block[NATURAL[k]] = value.wrapping_shl(band.low) as i16;
        k += 1;
    }
}

/// One more bit of a band's AC coefficients (T.81 G.1.2.3).
fn refinement(block: &mut [i16; 64], band: &Band, ac: &Huffman, bits: &mut Bits, run_left: &mut u32) {
    let bit = 1i16 << band.low;
    let refine = |value: &mut i16, bits: &mut Bits| {
        if bits.bit() && *value & bit == 0 {
            *value = value.wrapping_add(if *value >= 0 { bit } else { -bit });
        }
    };
    let mut k = band.first;
    if *run_left == 0 {
        while k <= band.last {
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
            while k <= band.last {
                let value = &mut block[NATURAL[k]];
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
        while k <= band.last {
            let value = &mut block[NATURAL[k]];
            if *value != 0 {
                refine(value, bits);
            }
            k += 1;
        }
        *run_left -= 1;
    }
}
