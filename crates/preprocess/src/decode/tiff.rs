//! The first page of a TIFF, in the modes of Pillow's `TiffImagePlugin`. The `tiff` crate unpacks strips and
//! tiles (uncompressed, LZW, Deflate, PackBits, fax); what the samples mean is decided here.

use std::io::Cursor;

use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::Tag;

use super::{Decoded, Format, Options, check_size, damaged, grey, unpack, unsupported};
use crate::orientation::orientation;
use crate::picture::Samples;
use crate::{Error, Picture};

/// Photometric interpretations that are read.
const WHITE_IS_ZERO: u32 = 0;
const BLACK_IS_ZERO: u32 = 1;
const RGB: u32 = 2;
const PALETTE: u32 = 3;
const CMYK: u32 = 5;

/// Kinds of extra samples.
const UNSPECIFIED: u32 = 0;
const ASSOCIATED: u32 = 1;

pub(super) fn decode(bytes: &[u8], options: &Options) -> Result<Decoded, Error> {
    let wrong = |e: tiff::TiffError| match e {
        tiff::TiffError::UnsupportedError(what) => unsupported(Format::Tiff, what),
        other => damaged(Format::Tiff, other),
    };
    // The crate refuses palettes and inverts white-is-zero; read as black-is-zero, the samples come as they are.
    let (photometric, bytes) = as_black_is_zero(bytes)?;
    let decoder = Decoder::new(Cursor::new(bytes.as_ref())).map_err(wrong)?;
    // Of metadata no more than the file holds, in the crate's own form: 32 bytes a value.
    let mut limits = Limits::default();
    limits.decoding_buffer_size = bytes.len().saturating_mul(32);
    let mut decoder = decoder.with_limits(limits);
    let (width, height) = decoder.dimensions().map_err(wrong)?;
    let (width, height) = check_size(width.into(), height.into(), options)?;
    let mut number = |tag| decoder.find_tag_unsigned::<u32>(tag).map_err(wrong);
    let samples_per_pixel = number(Tag::SamplesPerPixel)?.unwrap_or(1) as usize;
    let planar = number(Tag::PlanarConfiguration)?.unwrap_or(1);
    let turned = number(Tag::Orientation)?;
    let fill_order = number(Tag::FillOrder)?.unwrap_or(1);
    let mut numbers = |tag| decoder.find_tag_unsigned_vec::<u32>(tag).map_err(wrong);
    let bits = numbers(Tag::BitsPerSample)?.unwrap_or_else(|| vec![1]);
    let formats = numbers(Tag::SampleFormat)?.unwrap_or_else(|| vec![1]);
    let extra = numbers(Tag::ExtraSamples)?.unwrap_or_default();
    let colour_map = numbers(Tag::ColorMap)?.unwrap_or_default();
    let xmp = numbers(Tag::Unknown(700)).ok().flatten();

    if !matches!(photometric, WHITE_IS_ZERO | BLACK_IS_ZERO | RGB | PALETTE | CMYK) {
        return Err(unsupported(Format::Tiff, format_args!("photometric interpretation {photometric}")));
    }
    let bit = *bits.first().ok_or_else(|| damaged(Format::Tiff, "no bits a sample"))?;
    if bits.iter().any(|b| *b != bit) || !matches!(bit, 1 | 2 | 4 | 8 | 16) || formats.iter().any(|f| *f != 1) {
        return Err(unsupported(Format::Tiff, format_args!("{bits:?} bits a sample of format {formats:?}")));
    }
    if planar != 1 && samples_per_pixel > 1 {
        return Err(unsupported(Format::Tiff, "a plane for each channel"));
    }
    if fill_order != 1 {
        return Err(unsupported(Format::Tiff, "bits from the low end of each byte"));
    }
    let limit = width.saturating_mul(height).saturating_mul(samples_per_pixel.min(8)).saturating_mul(2).saturating_add(1 << 20);
    let mut limits = Limits::default();
    limits.decoding_buffer_size = limit;
    limits.intermediate_buffer_size = limit;
    let mut decoder = decoder.with_limits(limits);
    let raw = match decoder.read_image().map_err(wrong)? {
        DecodingResult::U8(x) => Raw::Bytes(x),
        DecodingResult::U16(x) => Raw::Words(x),
        _ => return Err(unsupported(Format::Tiff, format_args!("{bits:?} bits a sample of format {formats:?}"))),
    };
    let layout = Layout { photometric, bit: bit as usize, channels: samples_per_pixel, extra, width, height };
    let samples = layout.samples(raw, &colour_map)?;
    let xmp: Option<Vec<u8>> = xmp.map(|x| x.iter().map(|&b| b as u8).collect());
    let orientation = match turned {
        Some(value) => u8::try_from(value).unwrap_or(1),
        None => orientation(None, xmp.as_deref()),
    };
    Ok(Decoded { picture: Picture::new(width, height, samples), orientation })
}

enum Raw {
    Bytes(Vec<u8>),
    Words(Vec<u16>),
}

struct Layout {
    photometric: u32,
    bit: usize,
    channels: usize,
    extra: Vec<u32>,
    width: usize,
    height: usize,
}

impl Layout {
    fn samples(&self, raw: Raw, colour_map: &[u32]) -> Result<Samples, Error> {
        let pixels = self.width * self.height;
        let refused = || {
            let Layout { photometric, bit, channels, extra, .. } = self;
            unsupported(
                Format::Tiff,
                format_args!(
                    "photometric interpretation {photometric} with {channels} samples of {bit} bits and extra samples {extra:?}"
                ),
            )
        };
        let raw = match raw {
            Raw::Words(x) if self.channels == 1 && matches!(self.photometric, WHITE_IS_ZERO | BLACK_IS_ZERO) => {
                // Pillow does not invert white-is-zero of 16 bits.
                return (x.len() >= pixels).then(|| Samples::I16(x[..pixels].to_vec())).ok_or_else(refused);
            }
            // Of the other 16-bit samples the reference keeps the high byte.
            Raw::Words(x) => x.iter().map(|v| (v >> 8) as u8).collect(),
            Raw::Bytes(x) => x,
        };
        let bit = if self.bit == 16 { 8 } else { self.bit };
        // The crate leaves out unspecified extra samples of RGB.
        if self.photometric == RGB && self.extra == [UNSPECIFIED] && raw.len() == pixels * 3 {
            return Ok(Samples::Rgb(raw));
        }
        if bit < 8 && self.channels > 1 || raw.len() < (self.width * self.channels * bit).div_ceil(8) * self.height {
            return Err(refused());
        }
        let raw = unpack(&raw, self.width * self.channels, self.height, bit);
        let words = self.bit == 16;
        Ok(match (self.photometric, self.channels, self.extra.as_slice()) {
            (BLACK_IS_ZERO, 1, []) => grey(raw, bit),
            (WHITE_IS_ZERO, 1, []) => {
                let max = ((1u16 << bit) - 1) as u8;
                grey(raw.iter().map(|v| max - v).collect(), bit)
            }
            (PALETTE, 1, []) if !words => Samples::P(raw, palette(colour_map)),
            (BLACK_IS_ZERO, 2, [UNSPECIFIED]) if !words => Samples::L(raw.chunks_exact(2).map(|p| p[0]).collect()),
            (BLACK_IS_ZERO, 2, [2]) if !words => Samples::La(raw),
            (RGB, 3, []) => Samples::Rgb(raw),
            (RGB, 4, [UNSPECIFIED]) => Samples::Rgb(raw.as_chunks::<4>().0.iter().flat_map(|&[r, g, b, _]| [r, g, b]).collect()),
            (RGB, 4, [] | [2] | [999]) => Samples::Rgba(raw),
            (RGB, 4, [ASSOCIATED]) => Samples::Rgba(raw.as_chunks::<4>().0.iter().flat_map(|&p| unmultiply(p)).collect()),
            (CMYK, 4, []) => Samples::Cmyk(raw),
            _ => return Err(refused()),
        })
    }
}

/// Premultiplied colour to plain, truncating, as Pillow unpacks "RGBa".
fn unmultiply([r, g, b, a]: [u8; 4]) -> [u8; 4] {
    if a == 0 {
        return [0; 4];
    }
    let divide = |c: u8| (u32::from(c) * 255 / u32::from(a)).min(255) as u8;
    [divide(r), divide(g), divide(b), a]
}

/// The colour map holds all reds, then all greens, then all blues, of 16 bits.
fn palette(map: &[u32]) -> Box<[[u8; 3]; 256]> {
    let mut palette = Box::new([[0; 3]; 256]);
    let colours = map.len() / 3;
    for (i, slot) in palette.iter_mut().enumerate().take(colours) {
        *slot = [map[i], map[colours + i], map[2 * colours + i]].map(|v| (v / 256) as u8);
    }
    palette
}

/// The photometric interpretation of the first page, and the file with that field set to black-is-zero where the
/// `tiff` crate would refuse or change the samples.
///
/// Fields that are read and claim more values than the file can hold are refused here: the crate makes room for all that a
/// field claims, up to 256 MiB, before it looks for them.
fn as_black_is_zero(bytes: &[u8]) -> Result<(u32, std::borrow::Cow<'_, [u8]>), Error> {
    const PHOTOMETRIC: u16 = 262;
    /// What the crate asks for, and what `decode` does. Others may be nonsense in a good picture.
    const READ: [u16; 22] =
        [256, 257, 258, 259, PHOTOMETRIC, 266, 273, 274, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 338, 339, 347, 530];
    let cut = || damaged(Format::Tiff, "the file ends before its directory does");
    let big_endian = bytes.starts_with(b"MM");
    let u16_at = |at: usize| -> Result<u16, Error> {
        let pair = *bytes.get(at..).and_then(|b| b.first_chunk()).ok_or_else(cut)?;
        Ok(if big_endian { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) })
    };
    let u32_at = |at: usize| -> Result<u32, Error> {
        let four = *bytes.get(at..).and_then(|b| b.first_chunk()).ok_or_else(cut)?;
        Ok(if big_endian { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) })
    };
    let directory = u32_at(4)? as usize;
    // Where the interpretation stands.
    let mut place = None;
    for i in 0..usize::from(u16_at(directory)?) {
        let entry = directory + 2 + 12 * i;
        let (tag, count) = (u16_at(entry)?, u32_at(entry + 4)?);
        let size = match u16_at(entry + 2)? {
            3 | 8 => 2,
            4 | 9 | 11 | 13 => 4,
            5 | 10 | 12 | 16..=18 => 8,
            _ => 1,
        };
        if READ.contains(&tag) && u64::from(count) * size > bytes.len() as u64 {
            return Err(damaged(Format::Tiff, format_args!("field {tag} has {count} values, more than the file has bytes for")));
        }
        if tag == PHOTOMETRIC && place.is_none() {
            place = Some(entry + 8);
        }
    }
    // Pillow reads a file without the field as white-is-zero; the `tiff` crate reports it missing.
    let Some(place) = place else { return Ok((WHITE_IS_ZERO, bytes.into())) };
    let photometric = u32::from(u16_at(place)?);
    if !matches!(photometric, WHITE_IS_ZERO | PALETTE) {
        return Ok((photometric, bytes.into()));
    }
    let mut patched = bytes.to_vec();
    let black = if big_endian { [0, 1] } else { [1, 0] };
    patched[place..place + 2].copy_from_slice(&black);
    Ok((photometric, patched.into()))
}
