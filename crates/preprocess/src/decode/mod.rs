//! From a file's bytes to a [`Picture`] in Pillow's mode: the format by content, the cap before anything is
//! allocated, then the format's decoder, then the orientation.
//!
//! The decoders are driven below the level of the `image` crate, which expands palettes and converts modes:
//! the reference resizes before it converts, so the mode of the file matters.

mod bmp;
mod gif;
mod jpeg;
mod png;
mod tiff;
mod webp;

use std::fmt;

use crate::picture::Samples;
use crate::{Error, Picture, Pixels, Spec};

/// The formats that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// PNG; of an animation the default picture.
    Png,
    /// JPEG: baseline and progressive, 8 bits.
    Jpeg,
    /// WebP, lossy and lossless; of an animation the first frame.
    WebP,
    /// GIF; the first frame.
    Gif,
    /// Windows bitmap.
    Bmp,
    /// TIFF; the first page.
    Tiff,
}

impl Format {
    /// The format that the first bytes of a file show, whatever its name is.
    pub fn of(bytes: &[u8]) -> Option<Format> {
        if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
            Some(Format::Png)
        } else if bytes.starts_with(b"\xff\xd8\xff") {
            Some(Format::Jpeg)
        } else if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
            Some(Format::WebP)
        } else if bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a") {
            Some(Format::Gif)
        } else if bytes.starts_with(b"II\x2a\0") || bytes.starts_with(b"MM\0\x2a") {
            Some(Format::Tiff)
        } else if bytes.starts_with(b"BM") {
            Some(Format::Bmp)
        } else {
            None
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Png => "PNG",
            Format::Jpeg => "JPEG",
            Format::WebP => "WebP",
            Format::Gif => "GIF",
            Format::Bmp => "BMP",
            Format::Tiff => "TIFF",
        })
    }
}

/// How a file is decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Turn the picture upright as its EXIF orientation says. The reference pipelines do not (TIFF apart, which
    /// Pillow always turns), so `false` is for equality with them.
    pub exif: bool,
    /// Largest width times height. A pixel takes up to 12 bytes while its picture is decoded
    /// (a progressive JPEG of four components; 3 to 6 for most), and 1 to 4 afterwards.
    pub max_pixels: u64,
    /// Whether [`decode_for`] decodes all pixels of a photo. [`decode`] always does.
    pub decode: Decode,
}

/// How much of a JPEG is decoded for a crop that has far fewer pixels than it. Other formats are not affected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Decode {
    /// All of it: the vectors of the reference.
    #[default]
    Exact,
    /// At a half, a quarter or an eighth of its sides, as long as the shorter one keeps twice what the crop has: the reference on Pillow's
    /// `draft(None, (2 * size, 2 * size))`.
    Fast,
}

impl Default for Options {
    /// Orientation applied; 178,956,970 pixels, above which Pillow too refuses a file as a decompression bomb.
    fn default() -> Options {
        Options { exif: true, max_pixels: 178_956_970, decode: Decode::Exact }
    }
}

/// A decoder's result: the picture as stored, and its orientation (1 to 8).
struct Decoded {
    picture: Picture,
    orientation: u8,
}

impl Decoded {
    /// The picture as it is meant to be seen, if that is wanted.
    fn upright(self, wanted: bool) -> Picture {
        self.picture.upright(if wanted { self.orientation } else { 1 })
    }
}

/// What a JPEG gives for a crop.
enum Cropped {
    Picture(Decoded),
    /// `[size, size, 3]`.
    Crop(Vec<u8>),
}

/// Decodes a picture: PNG, JPEG, WebP, GIF, BMP or TIFF, by content and not by name.
///
/// # Errors
/// [`Error::UnknownFormat`], [`Error::TooManyPixels`] and [`Error::NoPixels`] before anything is decoded;
/// [`Error::Damaged`] for files that are cut or corrupt, [`Error::Unsupported`] for what is not read.
pub fn decode(bytes: &[u8], options: &Options) -> Result<Picture, Error> {
    decode_at(bytes, options, None)
}

/// [`decode`] for [`Spec::crop`]: a JPEG may come out smaller than it is, as [`Options::decode`] says.
///
/// # Errors
/// Those of [`decode`].
pub fn decode_for(bytes: &[u8], spec: &Spec, options: &Options) -> Result<Picture, Error> {
    decode_at(bytes, options, at_least(spec, options))
}

/// [`decode_for`] and [`Spec::crop`] in one, without the picture between them where that is possible: a photo's pixels are several times the memory
/// of everything else.
pub(crate) fn crop(bytes: &[u8], spec: &Spec, options: &Options) -> Result<Pixels, Error> {
    if Format::of(bytes) != Some(Format::Jpeg) {
        return spec.crop(&decode(bytes, options)?);
    }
    match jpeg::crop(bytes, spec, options, at_least(spec, options))? {
        Cropped::Picture(decoded) => spec.crop(&decoded.upright(options.exif)),
        Cropped::Crop(rgb) => Pixels::from_crop(spec.size, rgb, spec.mean, spec.std),
    }
}

/// How many pixels the shorter side of a JPEG keeps at least.
fn at_least(spec: &Spec, options: &Options) -> Option<usize> {
    match options.decode {
        Decode::Exact => None,
        Decode::Fast => Some((spec.size as usize).saturating_mul(2)),
    }
}

/// A JPEG at a reduced size if its shorter side keeps `at_least` so many pixels then.
fn decode_at(bytes: &[u8], options: &Options, at_least: Option<usize>) -> Result<Picture, Error> {
    let format = Format::of(bytes).ok_or_else(|| Error::UnknownFormat { start: bytes[..bytes.len().min(8)].to_vec() })?;
    let decoded = match format {
        Format::Png => png::decode(bytes, options),
        Format::Jpeg => jpeg::decode(bytes, options, at_least),
        Format::WebP => webp::decode(bytes, options),
        Format::Gif => gif::decode(bytes, options),
        Format::Bmp => bmp::decode(bytes, options),
        Format::Tiff => tiff::decode(bytes, options),
    }?;
    // Pillow turns TIFF pictures upright while it loads them, so the plain reference has them upright too.
    let upright = options.exif || format == Format::Tiff;
    Ok(decoded.upright(upright))
}

/// The sides as `usize`, if there is a pixel and no more than the cap; every decoder asks before it allocates.
fn check_size(width: u64, height: u64, options: &Options) -> Result<(usize, usize), Error> {
    if width == 0 || height == 0 {
        return Err(Error::NoPixels { width, height });
    }
    let pixels = width.checked_mul(height);
    // 2^60 pixels of 8 bytes would not fit an allocation, whatever the caller allows.
    match pixels.filter(|p| *p <= options.max_pixels.min(1 << 59)) {
        Some(_) => Ok((width as usize, height as usize)),
        None => Err(Error::TooManyPixels { width, height, limit: options.max_pixels }),
    }
}

fn damaged(format: Format, reason: impl fmt::Display) -> Error {
    Error::Damaged { format, reason: one_line(reason) }
}

fn unsupported(format: Format, what: impl fmt::Display) -> Error {
    Error::Unsupported { format, what: one_line(what) }
}

/// Some decoders' messages have several lines.
fn one_line(message: impl fmt::Display) -> String {
    message.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Samples of 1, 2, 4 or 8 bits, packed from the high bit on in rows of whole bytes, one a byte.
///
/// `packed`: `[height, ceil(width * bits / 8)]`, or longer; the values are not scaled.
fn unpack(packed: &[u8], width: usize, height: usize, bits: usize) -> Vec<u8> {
    let row_bytes = (width * bits).div_ceil(8);
    if bits == 8 {
        return packed[..row_bytes * height].to_vec();
    }
    let mask = ((1u16 << bits) - 1) as u8;
    let mut out = Vec::with_capacity(width * height);
    for row in packed.chunks_exact(row_bytes).take(height) {
        out.extend((0..width).map(|x| {
            let bit = x * bits;
            row[bit / 8] >> (8 - bits - bit % 8) & mask
        }));
    }
    out
}

/// Grey of 1 bit as Pillow's "1", of 2, 4 and 8 bits as "L" scaled to 0..=255.
fn grey(mut values: Vec<u8>, bits: usize) -> Samples {
    let scale = 255 / ((1u16 << bits) - 1) as u8;
    values.iter_mut().for_each(|v| *v = v.wrapping_mul(scale));
    if bits == 1 { Samples::Bilevel(values) } else { Samples::L(values) }
}
