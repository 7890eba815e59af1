//! Windows bitmaps, in the modes of Pillow's `BmpImagePlugin`: 1, 4 and 8 bits stay palettes unless the palette
//! is grey; 16, 24 and 32 bits are RGB, or RGBA where the masks say so; run-length encoding of 4 and 8 bits.

use super::{Decoded, Format, Options, check_size, damaged, unpack, unsupported};
use crate::picture::Samples;
use crate::{Error, Picture};

/// Compression methods of the format that are read.
const RAW: u32 = 0;
const RLE8: u32 = 1;
const RLE4: u32 = 2;
const BITFIELDS: u32 = 3;

struct Header {
    width: usize,
    height: usize,
    top_down: bool,
    bits: usize,
    compression: u32,
    colours: u32,
    /// Red, green, blue, alpha.
    masks: [u32; 4],
    /// Bytes of a palette entry.
    entry: usize,
    /// Where the palette starts.
    end: usize,
}

pub(super) fn decode(bytes: &[u8], options: &Options) -> Result<Decoded, Error> {
    let header = header(bytes, options)?;
    let (width, height, bits) = (header.width, header.height, header.bits);
    let offset = u32_at(bytes, 10)? as usize;
    let palette_len = if bits <= 8 { header.entry * header.colours as usize } else { 0 };
    let start = if offset == 0 { header.end + palette_len } else { offset };
    let data = bytes.get(start..).ok_or_else(cut)?;

    let samples = if bits <= 8 {
        if header.colours > 65_536 {
            return Err(unsupported(Format::Bmp, format_args!("a palette of {} colours", header.colours)));
        }
        let palette = bytes.get(header.end..header.end + palette_len).ok_or_else(cut)?;
        let indices = match header.compression {
            RAW => raw_indices(data, width, height, bits)?,
            RLE8 | RLE4 => run_lengths(data, width, height, header.compression == RLE4)?,
            other => return Err(unsupported(Format::Bmp, format_args!("compression {other} of {bits} bits"))),
        };
        indexed(indices, palette, header.entry, header.colours as usize)
    } else {
        colour(data, &header)?
    };
    let samples = if header.top_down { samples } else { flip(samples, width) };
    Ok(Decoded { picture: Picture::new(width, height, samples), orientation: 1 })
}

fn header(bytes: &[u8], options: &Options) -> Result<Header, Error> {
    let size = u32_at(bytes, 14)? as usize;
    let mut top_down = false;
    let (width, height, bits, compression, colours) = match size {
        12 => (u16_at(bytes, 18)?.into(), u16_at(bytes, 20)?.into(), u16_at(bytes, 24)?, RAW, 0),
        40 | 52 | 56 | 64 | 108 | 124 => {
            let height = u32_at(bytes, 22)? as i32;
            top_down = height < 0;
            (u32_at(bytes, 18)?, height.unsigned_abs(), u16_at(bytes, 28)?, u32_at(bytes, 30)?, u32_at(bytes, 46)?)
        }
        other => return Err(unsupported(Format::Bmp, format_args!("a header of {other} bytes"))),
    };
    let (width, height) = check_size(width.into(), height.into(), options)?;
    let bits = usize::from(bits);
    if !matches!(bits, 1 | 4 | 8 | 16 | 24 | 32) {
        return Err(unsupported(Format::Bmp, format_args!("{bits} bits a pixel")));
    }
    let mut masks = [0; 4];
    let mut end = 14 + size;
    if compression == BITFIELDS {
        // The masks follow a header of 40 bytes and are part of the longer ones at the same place.
        for (i, mask) in masks.iter_mut().enumerate().take(if size >= 56 { 4 } else { 3 }) {
            *mask = u32_at(bytes, 54 + 4 * i)?;
        }
        if size == 40 {
            end += 12;
        }
    }
    let colours = if colours == 0 && bits <= 8 { 1 << bits } else { colours };
    let entry = if size == 12 { 3 } else { 4 };
    Ok(Header { width, height, top_down, bits, compression, colours, masks, entry, end })
}

/// Indices of uncompressed rows, which are padded to 4 bytes.
fn raw_indices(data: &[u8], width: usize, height: usize, bits: usize) -> Result<Vec<u8>, Error> {
    let stride = stride(width, bits);
    let data = data.get(..row_span(stride, (width * bits).div_ceil(8), height)).ok_or_else(cut)?;
    let mut out = Vec::with_capacity(width * height);
    for row in data.chunks(stride) {
        out.extend(unpack(row, width, 1, bits));
    }
    Ok(out)
}

/// Run-length encoded indices, by the reference's reader: a run is cut at the end of its row, a literal is not,
/// and what the data does not reach is index 0.
fn run_lengths(data: &[u8], width: usize, height: usize, nibbles: bool) -> Result<Vec<u8>, Error> {
    let total = width * height;
    let mut out: Vec<u8> = Vec::new();
    let mut x = 0;
    let mut at = 0;
    while out.len() < total {
        let Some(&[count, value]) = data.get(at..at + 2).and_then(|pair| pair.as_array::<2>()) else { break };
        at += 2;
        let pair = [value >> 4, value & 15];
        match (count, value) {
            (0, 0) => {
                out.resize(out.len().next_multiple_of(width), 0);
                x = 0;
            }
            (0, 1) => break,
            (0, 2) => {
                let Some(&[right, up]) = data.get(at..at + 2).and_then(|pair| pair.as_array::<2>()) else { break };
                at += 2;
                let skip = usize::from(right) + usize::from(up) * width;
                out.resize(out.len() + skip.min(total - out.len()), 0);
                x = out.len() % width;
            }
            (0, literal) => {
                let wanted = usize::from(literal).min(total - out.len());
                let stored = if nibbles { wanted.div_ceil(2) } else { wanted };
                let found = &data[at..data.len().min(at + stored)];
                at += found.len();
                match nibbles {
                    true => out.extend(found.iter().flat_map(|b| [b >> 4, b & 15]).take(wanted)),
                    false => out.extend_from_slice(found),
                }
                if found.len() < stored || out.len() == total {
                    break;
                }
                x += usize::from(literal);
                // Literals are padded to 16 bits; the pixel data itself starts at an even offset in sane files.
                at += stored % 2;
            }
            (run, _) => {
                let run = usize::from(run).min(width.saturating_sub(x));
                match nibbles {
                    true => out.extend((0..run).map(|i| pair[i % 2])),
                    false => out.resize(out.len() + run, value),
                }
                x += run;
            }
        }
    }
    if out.len() < total {
        return Err(cut());
    }
    out.truncate(total);
    Ok(out)
}

/// Grey or bilevel if the palette is the ramp, else a palette.
fn indexed(mut indices: Vec<u8>, palette: &[u8], entry: usize, colours: usize) -> Samples {
    let blue_first = |i: usize| palette.get(i * entry..i * entry + 3);
    let grey = (0..colours).all(|i| {
        let value = if colours == 2 { (i * 255) as u8 } else { i as u8 };
        i < 256 && blue_first(i).is_some_and(|bgr| bgr.iter().all(|&c| c == value))
    });
    if grey && colours <= 2 {
        indices.iter_mut().for_each(|v| *v = if *v == 0 { 0 } else { 255 });
        return Samples::Bilevel(indices);
    }
    if grey {
        return Samples::L(indices);
    }
    let mut table = Box::new([[0; 3]; 256]);
    for (i, slot) in table.iter_mut().enumerate().take(colours) {
        if let Some(&[b, g, r]) = blue_first(i).and_then(|bgr| bgr.as_array::<3>()) {
            *slot = [r, g, b];
        }
    }
    Samples::P(indices, table)
}

/// 16, 24 and 32 bits a pixel.
fn colour(data: &[u8], header: &Header) -> Result<Samples, Error> {
    let (width, height, bits) = (header.width, header.height, header.bits);
    let (pixel, alpha) = layout(header)?;
    let stride = stride(width, bits);
    let row_bytes = width * bits / 8;
    let data = data.get(..row_span(stride, row_bytes, height)).ok_or_else(cut)?;
    let channels = if alpha { 4 } else { 3 };
    let mut out = Vec::with_capacity(width * height * channels);
    for row in data.chunks(stride) {
        for stored in row[..row_bytes].chunks_exact(bits / 8) {
            out.extend_from_slice(&pixel(stored)[..channels]);
        }
    }
    Ok(if alpha { Samples::Rgba(out) } else { Samples::Rgb(out) })
}

/// A stored pixel of 2 to 4 bytes to RGBA.
type Unpack = fn(&[u8]) -> [u8; 4];

/// How a stored pixel becomes RGBA, and whether its alpha counts.
fn layout(header: &Header) -> Result<(Unpack, bool), Error> {
    /// Fields of 5 or 6 bits to 8, truncating as the reference does.
    fn field(value: u16, shift: u32, bits: u32) -> u8 {
        let max = (1u32 << bits) - 1;
        ((u32::from(value >> shift) & max) * 255 / max) as u8
    }
    fn word(p: &[u8]) -> u16 {
        u16::from_le_bytes([p[0], p[1]])
    }
    let bgr: Unpack = |p| [p[2], p[1], p[0], 255];
    let bgr15: Unpack = |p| [field(word(p), 10, 5), field(word(p), 5, 5), field(word(p), 0, 5), 255];
    let bgr16: Unpack = |p| [field(word(p), 11, 5), field(word(p), 5, 6), field(word(p), 0, 5), 255];
    let [r, g, b, a] = header.masks;
    Ok(match (header.compression, header.bits, [r, g, b]) {
        (RAW, 16, _) | (BITFIELDS, 16, [0x7c00, 0x3e0, 0x1f]) => (bgr15, false),
        (BITFIELDS, 16, [0xf800, 0x7e0, 0x1f]) => (bgr16, false),
        (RAW, 24 | 32, _) | (BITFIELDS, 24, [0xff_0000, 0xff00, 0xff]) => (bgr, false),
        (BITFIELDS, 32, rgb) => match (rgb, a) {
            ([0xff_0000, 0xff00, 0xff], 0) => (bgr, false),
            ([0xff_0000, 0xff00, 0xff], 0xff00_0000) | ([0, 0, 0], 0) => (|p| [p[2], p[1], p[0], p[3]], true),
            ([0xff00_0000, 0xff_0000, 0xff00], 0) => (|p| [p[3], p[2], p[1], 255], false),
            ([0xff00_0000, 0xff_0000, 0xff00], 0xff) => (|p| [p[3], p[2], p[1], p[0]], true),
            ([0xff00_0000, 0xff00, 0xff], 0) => (|p| [p[3], p[1], p[0], 255], false),
            ([0xff00_0000, 0xff00, 0xff], 0xff_0000) => (|p| [p[3], p[1], p[0], p[2]], true),
            ([0xff, 0xff00, 0xff_0000], 0xff00_0000) => (|p| [p[0], p[1], p[2], p[3]], true),
            _ => return Err(unsupported(Format::Bmp, format_args!("colour masks {r:#x}, {g:#x}, {b:#x}, {a:#x}"))),
        },
        (compression, bits, _) => {
            return Err(unsupported(Format::Bmp, format_args!("compression {compression} of {bits} bits")));
        }
    })
}

/// Rows stored bottom up, turned.
fn flip(samples: Samples, width: usize) -> Samples {
    let turn = |x: Vec<u8>, channels: usize| x.rchunks_exact(width * channels).flatten().copied().collect();
    match samples {
        Samples::Bilevel(x) => Samples::Bilevel(turn(x, 1)),
        Samples::L(x) => Samples::L(turn(x, 1)),
        Samples::P(x, palette) => Samples::P(turn(x, 1), palette),
        Samples::Rgb(x) => Samples::Rgb(turn(x, 3)),
        Samples::Rgba(x) => Samples::Rgba(turn(x, 4)),
        other => other,
    }
}

/// Bytes of a row with its padding to 32 bits.
fn stride(width: usize, bits: usize) -> usize {
    (width * bits).div_ceil(32) * 4
}

/// Bytes of all rows; the last may lack its padding.
fn row_span(stride: usize, row_bytes: usize, height: usize) -> usize {
    stride * (height - 1) + row_bytes
}

fn cut() -> Error {
    damaged(Format::Bmp, "the file ends before the picture does")
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, Error> {
    bytes.get(at..).and_then(|b| b.first_chunk()).map(|b| u16::from_le_bytes(*b)).ok_or_else(cut)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, Error> {
    bytes.get(at..).and_then(|b| b.first_chunk()).map(|b| u32::from_le_bytes(*b)).ok_or_else(cut)
}
