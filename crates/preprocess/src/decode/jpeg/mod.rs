//! JPEG, to the bit what libjpeg-turbo (and so Pillow) makes of it: its slow integer inverse transform, its
//! "fancy" chroma upsampling, its colour conversion. Decoders that are off by a level here and there are common;
//! photos are mostly JPEG, and a vector should not depend on the decoder.
//!
//! Read: baseline, extended sequential and progressive Huffman files of 8 bits, 1, 3 or 4 components, any scans,
//! restarts. This file reads the segments; [`scan`] and [`progressive`] the entropy-coded data, which [`huffman`] has the bits of; [`bands`] turns
//! blocks into pixels. A sequential file of one scan, as cameras write it, goes through all of them a row of MCUs at a time.
//!
//! A picture can be had at a half, a quarter or an eighth of its sides, as libjpeg scales: blocks become fewer samples, and those of subsampled
//! components less so, as far as that saves their upsampling.
//!
//! Sources: ITU-T T.81 (the format); libjpeg-turbo 3.x `jdapimin.c` (colour spaces), `jdmaster.c` (scaling), `jdsample.c`; the arithmetic's are
//! with it in [`edgeclip_kernels::jpeg`].

mod bands;
mod huffman;
mod progressive;
mod scan;

use edgeclip_kernels::jpeg::Block;

use self::bands::{Bands, Made};
use self::huffman::{Huffman, Kind};
use self::scan::Scan;
use super::{Cropped, Decoded, Format, Options, check_size, damaged, unsupported};
use crate::orientation::orientation;
use crate::resample::Stream;
use crate::{Error, Picture, Spec};

/// Scans of a file at most. Progressive files have about ten; each further one costs a pass over all blocks.
const MAX_SCANS: usize = 64;

/// Place, row by row, of the coefficient that is `i`th in zigzag order (T.81 figure A.6).
const NATURAL: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28, 35, 42,
    49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// One colour component: what its scans need, and what becomes of its blocks.
struct Component {
    id: u8,
    /// Sampling factors, 1 to 4.
    h: usize,
    v: usize,
    quantization: usize,
    /// Samples that a block becomes each way.
    side: usize,
    /// Samples that the picture needs, without padding.
    width: usize,
    height: usize,
    /// Blocks each way that the picture needs.
    blocks: (usize, usize),
    /// Blocks a row, padded to whole MCUs.
    blocks_wide: usize,
    /// `[blocks_high, blocks_wide]` of files of several scans; else empty.
    coefficients: Vec<Block>,
    /// The table in force when the component's first scan began, in natural order.
    table: Option<[u16; 64]>,
}

/// The frame header.
struct Frame {
    /// Of the picture that is made.
    width: usize,
    height: usize,
    /// Samples each way that a block of a component with the most of them becomes: 8, or fewer.
    side: usize,
    progressive: bool,
    h_max: usize,
    v_max: usize,
    mcus_wide: usize,
    mcus_high: usize,
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

/// Decodes a file; at a reduced size if its shorter side keeps `at_least` so many pixels then.
pub(super) fn decode(bytes: &[u8], options: &Options, at_least: Option<usize>) -> Result<Decoded, Error> {
    match read(bytes, options, at_least, &|_, _| None)? {
        Cropped::Picture(decoded) => Ok(decoded),
        Cropped::Crop(_) => unreachable!("no crop was asked for"),
    }
}

/// As [`decode`], but the crop alone where it can be had without the picture: of one that is upright, in the usual order of passes.
pub(super) fn crop(bytes: &[u8], spec: &Spec, options: &Options, at_least: Option<usize>) -> Result<Cropped, Error> {
    read(bytes, options, at_least, &|frame, orientation| {
        let upright = !options.exif || !(2..=8).contains(&orientation);
        spec.stream((frame.width, frame.height), frame.components.len()).filter(|_| upright)
    })
}

/// What makes a crop of a picture of an orientation, if anything does.
type Streams<'a> = &'a dyn Fn(&Frame, u8) -> Option<Stream<u8>>;

fn read(bytes: &[u8], options: &Options, at_least: Option<usize>, streams: Streams) -> Result<Cropped, Error> {
    let mut tables = Tables::default();
    let mut metadata = Metadata::default();
    let mut frame: Option<Frame> = None;
    let mut picture: Option<Bands> = None;
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
            0xc0..=0xc2 => frame = Some(start_of_frame(segment, marker == 0xc2, bytes.len(), options, at_least)?),
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
                let scan = Scan::new(segment, &bytes[at..], frame, &tables)?;
                at += if scan.is_whole(frame) && frame.has_whole_ratios() {
                    let bands =
                        picture.insert(Bands::new(frame, colour_space(frame, &metadata), streams(frame, metadata.orientation())));
                    scan.picture(frame, bands)?
                } else {
                    frame.allocate();
                    scan.coefficients(frame)?
                };
            }
            // What follows a scan is too late for the reference.
            0xe0..=0xef if scans == 0 => application(marker, segment, &mut metadata),
            _ => {}
        }
    }
    let frame = frame.ok_or_else(|| damaged(Format::Jpeg, "no frame header"))?;
    if frame.components.iter().any(|c| c.table.is_none()) {
        return Err(damaged(Format::Jpeg, "a component without a scan"));
    }
    if !frame.has_whole_ratios() {
        return Err(unsupported(Format::Jpeg, "a fractional sampling ratio"));
    }
    let orientation = metadata.orientation();
    let picture = picture.unwrap_or_else(|| frame.picture(colour_space(&frame, &metadata), streams(&frame, orientation)));
    Ok(match picture.finish() {
        Made::Picture(samples) => {
            Cropped::Picture(Decoded { picture: Picture::new(frame.width, frame.height, samples), orientation })
        }
        Made::Crop(rgb) => Cropped::Crop(rgb),
    })
}

impl Metadata {
    /// As EXIF and XMP have it.
    fn orientation(&self) -> u8 {
        let exif = (!self.exif.is_empty()).then_some(self.exif.as_slice());
        orientation(exif, self.xmp.as_deref())
    }
}

impl Frame {
    /// Whether every component has a sample for a whole number of columns and rows.
    fn has_whole_ratios(&self) -> bool {
        self.components.iter().all(|c| self.h_max.is_multiple_of(c.h) && self.v_max.is_multiple_of(c.v))
    }

    /// Makes room for all coefficients, unless it is there.
    fn allocate(&mut self) {
        for component in self.components.iter_mut().filter(|component| component.coefficients.is_empty()) {
            component.coefficients = vec![[0; 64]; component.blocks_wide * self.mcus_high * component.v];
        }
    }

    /// The picture, from all coefficients.
    fn picture(&self, space: ColourSpace, stream: Option<Stream<u8>>) -> Bands {
        let mut bands = Bands::new(self, space, stream);
        for row in 0..self.mcus_high {
            bands.push(row, self.components.iter().map(|c| &c.coefficients[row * c.v * c.blocks_wide..][..c.v * c.blocks_wide]));
        }
        bands
    }
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

fn start_of_frame(
    segment: &[u8],
    progressive: bool,
    file_len: usize,
    options: &Options,
    at_least: Option<usize>,
) -> Result<Frame, Error> {
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
    let mut factors: Vec<_> = parts.iter().map(|p| sampling(p[1])).collect();
    if factors.iter().any(|(h, v)| !(1..=4).contains(h) || !(1..=4).contains(v)) {
        return Err(damaged(Format::Jpeg, "a sampling factor that is not 1 to 4"));
    }
    if let [only] = factors.as_mut_slice() {
        // Its blocks are in the order of the picture, whatever it is sampled by (T.81 A.2.2).
        *only = (1, 1);
    }
    let h_max = factors.iter().map(|f| f.0).max().unwrap_or(1);
    let v_max = factors.iter().map(|f| f.1).max().unwrap_or(1);
    let (mcus_wide, mcus_high) = (width.div_ceil(8 * h_max), height.div_ceil(8 * v_max));
    let reduced = |by: usize| at_least.is_some_and(|least| width.min(height) / by >= least);
    let side = [1, 2, 4].into_iter().find(|side| reduced(8 / side)).unwrap_or(8);
    let component = |(part, &(h, v)): (&[u8; 3], &(usize, usize))| {
        // Larger as long as that is no more than the picture has, both ways.
        let fits = |own: usize| (h_max * side).is_multiple_of(h * own) && (v_max * side).is_multiple_of(v * own);
        let mut own = side;
        while own < 8 && fits(2 * own) {
            own *= 2;
        }
        Component {
            id: part[0],
            h,
            v,
            quantization: usize::from(part[2]),
            side: own,
            width: (width * h * own).div_ceil(h_max * 8),
            height: (height * v * own).div_ceil(v_max * 8),
            blocks: ((width * h).div_ceil(h_max * 8), (height * v).div_ceil(v_max * 8)),
            blocks_wide: mcus_wide * h,
            coefficients: Vec::new(),
            table: None,
        }
    };
    let components = parts.iter().zip(&factors).map(component).collect();
    let (width, height) = ((width * side).div_ceil(8), (height * side).div_ceil(8));
    Ok(Frame { width, height, side, progressive, h_max, v_max, mcus_wide, mcus_high, components })
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
        for (i, &natural) in NATURAL.iter().enumerate() {
            table[usize::from(natural)] = if size == 64 { values[i].into() } else { u16_at(values, 2 * i)? };
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
        let (kind_of, set) = if kind >> 4 == 0 { (Kind::Dc, &mut tables.dc) } else { (Kind::Ac, &mut tables.ac) };
        let slot = set.get_mut(usize::from(kind & 15)).ok_or_else(|| damaged(Format::Jpeg, "a fifth Huffman table"))?;
        *slot = Some(
            Huffman::new(kind_of, counts, symbols).ok_or_else(|| damaged(Format::Jpeg, "a Huffman table with too many codes"))?,
        );
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
