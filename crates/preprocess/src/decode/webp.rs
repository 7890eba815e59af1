//! WebP: RGB, or RGBA where the file says that it has alpha. Of an animation, the first frame on a
//! transparent canvas, as libwebp's animation decoder (and so Pillow) gives it.

use std::borrow::Cow;
use std::io::Cursor;
use std::ops::Range;

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
    check_sides(&bytes, width, height)?;
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
    /// Among a frame's flags, of which bit 1 says not to blend.
    const FLAGS: usize = 15;
    let Some((_, frame)) = chunks(bytes, 12).find(|(name, _)| name == b"ANMF") else { return bytes.into() };
    let mut copy = bytes.to_vec();
    if let Some(flags) = copy.get_mut(frame.start + FLAGS) {
        *flags |= 2;
    }
    copy.into()
}

/// Whether lossy data have the sides of the canvas, or of the first frame that they are in. The `image-webp` crate makes room for their
/// own sides and decodes them before it compares, or does not compare at all.
fn check_sides(bytes: &[u8], width: usize, height: usize) -> Result<(), Error> {
    /// Where a frame has its sides and where its data begin.
    const SIDES: usize = 6;
    const DATA: usize = 16;
    let check = |name: [u8; 4], data: Range<usize>, expected: (usize, usize)| {
        // A tag, a mark and the sides, whose upper two bits are for display.
        let Some([_, _, _, _, _, _, sides @ ..]) = bytes.get(data.start..).and_then(|rest| rest.first_chunk::<10>()) else {
            return Ok(());
        };
        let side = |i: usize| usize::from(u16::from_le_bytes([sides[i], sides[i + 1]]) & 0x3fff);
        let found = (side(0), side(2));
        if name == *b"VP8 " && found != expected {
            let [(width, height), (own_width, own_height)] = [expected, found];
            let what = format_args!("data of {own_width} x {own_height} pixels in a frame of {width} x {height}");
            return Err(damaged(Format::WebP, what));
        }
        Ok(())
    };
    let mut frames = 0;
    for (name, body) in chunks(bytes, 12) {
        check(name, body.clone(), (width, height))?;
        if name != *b"ANMF" || frames > 0 {
            continue;
        }
        frames += 1;
        let Some(&[a, b, c, d, e, f]) = bytes.get(body.start + SIDES..).and_then(|rest| rest.first_chunk()) else { continue };
        let side = |[a, b, c]: [u8; 3]| u32::from_le_bytes([a, b, c, 0]) as usize + 1;
        for (name, data) in chunks(bytes, body.start + DATA).take_while(|(_, data)| data.start < body.end) {
            check(name, data, (side([a, b, c]), side([d, e, f])))?;
        }
    }
    Ok(())
}

/// The chunks from a place on: names, and where their bodies are, which may end beyond the file.
fn chunks(bytes: &[u8], mut at: usize) -> impl Iterator<Item = ([u8; 4], Range<usize>)> {
    std::iter::from_fn(move || {
        let &[a, b, c, d, ref length @ ..] = bytes.get(at..)?.first_chunk::<8>()?;
        let body = at + 8..(at + 8).saturating_add(u32::from_le_bytes(*length) as usize);
        // Padded to even lengths.
        at = body.end.saturating_add(body.len() % 2);
        Some(([a, b, c, d], body))
    })
}
