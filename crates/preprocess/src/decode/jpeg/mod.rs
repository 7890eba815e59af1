//! JPEG, to the bit what libjpeg-turbo (and so Pillow) makes of it: its slow integer inverse transform, its
//! "fancy" chroma upsampling, its colour conversion. Decoders that are off by a level here and there are common;
//! photos are mostly JPEG, and a vector should not depend on the decoder.
//!
//! Read: baseline, extended sequential and progressive Huffman files of 8 bits, 1, 3 or 4 components, any scans,
//! restarts. This file reads the segments; [`scan`] the entropy-coded data, [`transform`] turns blocks into samples,
//! [`upsample`] components into pixels.
//!
//! Sources: ITU-T T.81 (the format); libjpeg-turbo 3.x `jdapimin.c` (colour spaces), `jidctint.c`, `jdsample.c`,
//! `jdcolor.c` (the arithmetic).

mod scan;
mod transform;
mod upsample;

use self::scan::Huffman;
use super::{Decoded, Format, Options, check_size, damaged, unsupported};
use crate::orientation::orientation;
use crate::{Error, Picture};

/// Scans of a file at most. Progressive files have about ten; each further one costs a pass over all blocks.
const MAX_SCANS: usize = 64;

/// One colour component: where its samples go, and what its scans need.
struct Component {
    id: u8,
    /// Sampling factors, 1 to 4.
    h: usize,
    v: usize,
    quantization: usize,
    /// Samples that the picture needs, without padding.
    width: usize,
    height: usize,
    /// Blocks a row, padded to whole MCUs.
    blocks_wide: usize,
    /// Samples, `[blocks_high * 8, blocks_wide * 8]`.
    plane: Vec<u8>,
    /// Coefficients of progressive files, `[blocks_high, blocks_wide, 64]` in natural order; else empty.
    coefficients: Vec<i16>,
    /// The table in force when the component's first scan began, in natural order.
    table: Option<[u16; 64]>,
}

/// The frame header.
struct Frame {
    width: usize,
    height: usize,
    progressive: bool,
    h_max: usize,
    v_max: usize,
    components: Vec<Component>,
}

#[derive(Default)]
struct Tables {
    quantization: [Option<[u16; 64]>; 4],
    dc: [Option<Huffman>; 4],
    ac: [Option<Huffman>; 4],
    restart_interval: usize,
}

#[derive(Default)]
struct Metadata {
    exif: Vec<u8>,
    xmp: Option<Vec<u8>>,
    jfif: bool,
    /// The colour transform of an Adobe segment.
    adobe: Option<u8>,
}

pub(super) fn decode(bytes: &[u8], options: &Options) -> Result<Decoded, Error> {
    let mut tables = Tables::default();
    let mut metadata = Metadata::default();
    let mut frame: Option<Frame> = None;
    let mut scans = 0;
    let mut at = 2;
    loop {
        let marker = next_marker(bytes, &mut at)?;
        match marker {
            0xd9 => break,
            // Restart markers and TEM stand alone; here they are strays.
            0x01 | 0xd0..=0xd8 => continue,
            _ => {}
        }
        let segment = segment(bytes, &mut at)?;
        match marker {
            0xc0..=0xc2 if frame.is_some() => return Err(damaged(Format::Jpeg, "two frame headers")),
            0xc0..=0xc2 => frame = Some(start_of_frame(segment, marker == 0xc2, bytes.len(), options)?),
            0xc3 | 0xc5..=0xc7 => return Err(unsupported(Format::Jpeg, "lossless or hierarchical coding")),
            0xc9..=0xcb | 0xcd..=0xcf => return Err(unsupported(Format::Jpeg, "arithmetic coding")),
            0xc4 => huffman_tables(segment, &mut tables)?,
            0xdb => quantization_tables(segment, &mut tables)?,
            0xdd => tables.restart_interval = usize::from(u16_at(segment, 0)?),
            0xda => {
                let frame = frame.as_mut().ok_or_else(|| damaged(Format::Jpeg, "a scan before the frame header"))?;
                scans += 1;
                if scans > MAX_SCANS {
                    return Err(unsupported(Format::Jpeg, format_args!("more than {MAX_SCANS} scans")));
                }
                at += scan::decode(segment, &bytes[at..], frame, &tables)?;
            }
            // What follows a scan is too late for the reference.
            0xe0..=0xef if scans == 0 => application(marker, segment, &mut metadata),
            _ => {}
        }
    }
    let mut frame = frame.ok_or_else(|| damaged(Format::Jpeg, "no frame header"))?;
    if frame.components.iter().any(|c| c.table.is_none()) {
        return Err(damaged(Format::Jpeg, "a component without a scan"));
    }
    if frame.progressive {
        frame.components.iter_mut().for_each(transform::planes);
    }
    let samples = upsample::pixels(&frame, colour_space(&frame, &metadata))?;
    let exif = (!metadata.exif.is_empty()).then_some(metadata.exif.as_slice());
    let orientation = orientation(exif, metadata.xmp.as_deref());
    Ok(Decoded { picture: Picture::new(frame.width, frame.height, samples), orientation })
}

/// What the components mean.
#[derive(Clone, Copy, PartialEq)]
enum ColourSpace {
    Grey,
    Rgb,
    YCbCr,
    Cmyk,
    Ycck,
}

/// libjpeg's guess: JFIF and Adobe segments first, then the component ids.
fn colour_space(frame: &Frame, metadata: &Metadata) -> ColourSpace {
    match (frame.components.len(), metadata.adobe) {
        (1, _) => ColourSpace::Grey,
        (3, Some(0)) if !metadata.jfif => ColourSpace::Rgb,
        (3, None) if !metadata.jfif && frame.components.iter().map(|c| c.id).eq(*b"RGB") => ColourSpace::Rgb,
        (3, _) => ColourSpace::YCbCr,
        (_, None | Some(0)) => ColourSpace::Cmyk,
        _ => ColourSpace::Ycck,
    }
}

/// The next marker's code; `at` moves behind it. Junk between segments is skipped, as libjpeg does.
fn next_marker(bytes: &[u8], at: &mut usize) -> Result<u8, Error> {
    while let Some(&[first, second]) = bytes.get(*at..*at + 2).and_then(|b| b.as_array::<2>()) {
        if first == 0xff && second != 0 && second != 0xff {
            *at += 2;
            return Ok(second);
        }
        *at += 1;
    }
    Err(cut())
}

/// The body of a segment; `at` moves behind it.
fn segment<'a>(bytes: &'a [u8], at: &mut usize) -> Result<&'a [u8], Error> {
    let len = usize::from(u16_at(bytes, *at)?);
    let body = bytes.get(*at + 2..*at + len.max(2)).ok_or_else(cut)?;
    *at += len.max(2);
    Ok(body)
}

fn application(marker: u8, segment: &[u8], metadata: &mut Metadata) {
    const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
    if marker == 0xe0 && segment.starts_with(b"JFIF\0") {
        metadata.jfif = true;
    } else if marker == 0xe1 && segment.starts_with(b"Exif\0\0") {
        // A block too long for one segment goes on in the next, without the prefix.
        let body = if metadata.exif.is_empty() { segment } else { &segment[6..] };
        metadata.exif.extend_from_slice(body);
    } else if marker == 0xe1 && segment.starts_with(XMP) {
        metadata.xmp = Some(segment[XMP.len()..].to_vec());
    } else if marker == 0xee && segment.starts_with(b"Adobe") && segment.len() >= 12 {
        metadata.adobe = Some(segment[11]);
    }
}

fn start_of_frame(segment: &[u8], progressive: bool, file_len: usize, options: &Options) -> Result<Frame, Error> {
    let (height, width) = (u16_at(segment, 1)?, u16_at(segment, 3)?);
    if segment[0] != 8 {
        return Err(unsupported(Format::Jpeg, format_args!("{} bits a sample", segment[0])));
    }
    let (width, height) = check_size(width.into(), height.into(), options)?;
    // A block of 8 x 8 pixels takes two bits at least, except in progressive files, where a run may cover many
    // blocks but the first scan still spends a bit on each: a file of n bytes has no more than 512 n pixels.
    if (width * height) as u64 / 512 > file_len as u64 {
        return Err(damaged(Format::Jpeg, format_args!("{file_len} bytes cannot hold {width} x {height} pixels")));
    }
    let count = usize::from(*segment.get(5).ok_or_else(cut)?);
    if !matches!(count, 1 | 3 | 4) {
        return Err(unsupported(Format::Jpeg, format_args!("{count} components")));
    }
    let parts = segment.get(6..6 + 3 * count).ok_or_else(cut)?.as_chunks::<3>().0;
    let sampling = |byte: u8| (usize::from(byte >> 4), usize::from(byte & 15));
    let factors: Vec<_> = parts.iter().map(|p| sampling(p[1])).collect();
    if factors.iter().any(|(h, v)| !(1..=4).contains(h) || !(1..=4).contains(v)) {
        return Err(damaged(Format::Jpeg, "a sampling factor that is not 1 to 4"));
    }
    let h_max = factors.iter().map(|f| f.0).max().unwrap_or(1);
    let v_max = factors.iter().map(|f| f.1).max().unwrap_or(1);
    let (mcus_wide, mcus_high) = (width.div_ceil(8 * h_max), height.div_ceil(8 * v_max));
    let component = |(part, &(h, v)): (&[u8; 3], &(usize, usize))| {
        let (blocks_wide, blocks_high) = (mcus_wide * h, mcus_high * v);
        let samples = blocks_wide * blocks_high * 64;
        Component {
            id: part[0],
            h,
            v,
            quantization: usize::from(part[2]),
            width: (width * h).div_ceil(h_max),
            height: (height * v).div_ceil(v_max),
            blocks_wide,
            plane: vec![0; samples],
            coefficients: vec![0; if progressive { samples } else { 0 }],
            table: None,
        }
    };
    let components = parts.iter().zip(&factors).map(component).collect();
    Ok(Frame { width, height, progressive, h_max, v_max, components })
}

fn quantization_tables(mut segment: &[u8], tables: &mut Tables) -> Result<(), Error> {
    while let Some((&kind, rest)) = segment.split_first() {
        let slot = tables
            .quantization
            .get_mut(usize::from(kind & 15))
            .ok_or_else(|| damaged(Format::Jpeg, "a fifth quantization table"))?;
        let size = if kind >> 4 == 0 { 64 } else { 128 };
        let values = rest.get(..size).ok_or_else(cut)?;
        let mut table = [0; 64];
        for (i, &natural) in transform::NATURAL.iter().enumerate() {
            table[natural] = if size == 64 { values[i].into() } else { u16_at(values, 2 * i)? };
        }
        *slot = Some(table);
        segment = &rest[size..];
    }
    Ok(())
}

fn huffman_tables(mut segment: &[u8], tables: &mut Tables) -> Result<(), Error> {
    while let Some((&kind, rest)) = segment.split_first() {
        let counts = rest.first_chunk::<16>().ok_or_else(cut)?;
        let total: usize = counts.iter().map(|&c| usize::from(c)).sum();
        let symbols = rest.get(16..16 + total).ok_or_else(cut)?;
        let set = if kind >> 4 == 0 { &mut tables.dc } else { &mut tables.ac };
        let slot = set.get_mut(usize::from(kind & 15)).ok_or_else(|| damaged(Format::Jpeg, "a fifth Huffman table"))?;
        *slot = Some(Huffman::new(counts, symbols).ok_or_else(|| damaged(Format::Jpeg, "a Huffman table with too many codes"))?);
        segment = &rest[16 + total..];
    }
    Ok(())
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, Error> {
    bytes.get(at..).and_then(|b| b.first_chunk()).map(|b| u16::from_be_bytes(*b)).ok_or_else(cut)
}

fn cut() -> Error {
    damaged(Format::Jpeg, "the file ends before the picture does")
}
