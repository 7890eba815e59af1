//! WebP: RGB, or RGBA where the file says that it has alpha. Of an animation, the first frame on a
//! transparent canvas, as libwebp's animation decoder (and so Pillow) gives it.

use std::borrow::Cow;
use std::io::Cursor;

use image_webp::WebPDecoder;

use super::{Decoded, Format, Options, check_size, damaged};
use crate::orientation::orientation;
use crate::picture::Samples;
use crate::{Error, Picture};

pub(super) fn decode(bytes: &[u8], options: &Options) -> Result<Decoded, Error> {
    let wrong = |e: image_webp::DecodingError| damaged(Format::WebP, e);
    let bytes = unblended(bytes);
    let mut decoder = WebPDecoder::new(Cursor::new(bytes.as_ref())).map_err(wrong)?;
    // Metadata that claim to be longer than the file would be allocated first and missed afterwards.
    decoder.set_memory_limit(bytes.len());
    let (width, height) = decoder.dimensions();
    let (width, height) = check_size(width.into(), height.into(), options)?;
    let alpha = decoder.has_alpha();
    let mut samples = vec![0; width * height * if alpha { 4 } else { 3 }];
    if decoder.is_animated() {
        decoder.read_frame(&mut samples).map_err(wrong)?;
    } else {
        decoder.read_image(&mut samples).map_err(wrong)?;
    }
    let exif = decoder.exif_metadata().ok().flatten();
    let xmp = decoder.xmp_metadata().ok().flatten();
    let samples = if alpha { Samples::Rgba(samples) } else { Samples::Rgb(samples) };
    Ok(Decoded { picture: Picture::new(width, height, samples), orientation: orientation(exif.as_deref(), xmp.as_deref()) })
}

/// The file with its first frame marked as not blended with the canvas, if there is one. Nothing is on the canvas yet, so
/// libwebp copies that frame; blending would round its colours, and lose those that are transparent.
fn unblended(bytes: &[u8]) -> Cow<'_, [u8]> {
    /// From the start of a frame's chunk: its flags, of which bit 1 says not to blend.
    const FLAGS: usize = 8 + 15;
    let mut at = 12;
    while let Some(&[a, b, c, d, length @ ..]) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        if [a, b, c, d] == *b"ANMF" {
            let mut copy = bytes.to_vec();
            if let Some(flags) = copy.get_mut(at + FLAGS) {
                *flags |= 2;
            }
            return copy.into();
        }
        // Chunks are padded to even lengths.
        at += 8 + (u32::from_le_bytes(length) as usize).next_multiple_of(2);
    }
    bytes.into()
}
