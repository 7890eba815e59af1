//! PNG, in the modes of Pillow's `PngImagePlugin`: packed grey and palettes stay what they are, 16-bit grey
//! stays 16-bit, other 16-bit samples keep their high byte. A colour key (tRNS) is no alpha before the resize,
//! so it is ignored.

use std::io::Cursor;

use png::{BitDepth, ColorType, Transformations};

use super::{Decoded, Format, Options, check_size, damaged, grey, unpack};
use crate::orientation::orientation;
use crate::picture::Samples;
use crate::{Error, Picture};

pub(super) fn decode(bytes: &[u8], options: &Options) -> Result<Decoded, Error> {
    let wrong = |e: png::DecodingError| damaged(Format::Png, e);
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(Transformations::IDENTITY);
    let header = decoder.read_header_info().map_err(wrong)?;
    let (width, height) = check_size(header.width.into(), header.height.into(), options)?;
    let row_bytes = header.raw_row_length() as u64;
    // Deflate expands at most 1,032-fold: a short file cannot hold the pixels that its header claims.
    let needed = row_bytes.saturating_mul(height as u64) / 1032;
    if needed > bytes.len() as u64 {
        return Err(damaged(Format::Png, format_args!("{} bytes cannot hold {width} x {height} pixels", bytes.len())));
    }
    // Our own cap has passed; the decoder's would refuse pictures of 64 MiB. Metadata stays bounded by it.
    decoder.set_limits(png::Limits { bytes: (row_bytes as usize).saturating_mul(4).saturating_add(64 << 20) });
    let mut reader = decoder.read_info().map_err(wrong)?;
    let size = reader.output_buffer_size().ok_or_else(|| damaged(Format::Png, "the picture does not fit the memory"))?;
    let mut raw = vec![0; size];
    let frame = reader.next_frame(&mut raw).map_err(wrong)?;
    raw.truncate(frame.buffer_size());
    // What follows the pixels may hold an orientation; damage there is no reason to refuse the picture.
    let _ = reader.finish();
    let info = reader.info();

    let bits = frame.bit_depth as usize;
    let high_bytes = |raw: &[u8]| -> Vec<u8> { raw.chunks_exact(2).map(|pair| pair[0]).collect() };
    let samples = match (frame.color_type, frame.bit_depth) {
        (ColorType::Grayscale, BitDepth::Sixteen) => {
            Samples::I16(raw.as_chunks::<2>().0.iter().map(|&pair| u16::from_be_bytes(pair)).collect())
        }
        (ColorType::Grayscale, _) => grey(unpack(&raw, width, height, bits), bits),
        (ColorType::Indexed, _) => {
            let mut palette = Box::new([[0; 3]; 256]);
            let colours = info.palette.as_deref().unwrap_or_default().as_chunks::<3>().0;
            for (slot, colour) in palette.iter_mut().zip(colours) {
                *slot = *colour;
            }
            Samples::P(unpack(&raw, width, height, bits), palette)
        }
        (ColorType::Rgb, BitDepth::Sixteen) => Samples::Rgb(high_bytes(&raw)),
        (ColorType::Rgb, _) => Samples::Rgb(raw),
        (ColorType::Rgba, BitDepth::Sixteen) => Samples::Rgba(high_bytes(&raw)),
        (ColorType::Rgba, _) => Samples::Rgba(raw),
        // Pillow has no 16-bit LA and makes RGBA of it.
        (ColorType::GrayscaleAlpha, BitDepth::Sixteen) => {
            Samples::Rgba(raw.as_chunks::<4>().0.iter().flat_map(|&[l, _, a, _]| [l, l, l, a]).collect())
        }
        (ColorType::GrayscaleAlpha, _) => Samples::La(raw),
    };
    Ok(Decoded { picture: Picture::new(width, height, samples), orientation: png_orientation(info) })
}

fn png_orientation(info: &png::Info) -> u8 {
    let text_exif = info.uncompressed_latin1_text.iter().find(|t| t.keyword == RAW_EXIF).map(|t| t.text.clone()).or_else(|| {
        let chunk = info.compressed_latin1_text.iter().find(|t| t.keyword == RAW_EXIF)?;
        chunk.get_text().ok()
    });
    let exif = match &info.exif_metadata {
        Some(exif) => Some(exif.to_vec()),
        None => text_exif.and_then(|text| from_hex(&text)),
    };
    let xmp = info.utf8_text.iter().find(|t| t.keyword == "XML:com.adobe.xmp").and_then(|t| t.get_text().ok());
    orientation(exif.as_deref(), xmp.as_deref().map(str::as_bytes))
}

/// Where ImageMagick keeps EXIF: a text of three header lines and then hexadecimal digits.
const RAW_EXIF: &str = "Raw profile type exif";

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: String = text.split('\n').skip(3).flat_map(|line| line.chars().filter(|c| !c.is_whitespace())).collect();
    let nibble = |b: u8| char::from(b).to_digit(16).map(|d| d as u8);
    digits.as_bytes().chunks(2).map(|pair| Some(nibble(pair[0])? << 4 | nibble(*pair.get(1)?)?)).collect()
}
