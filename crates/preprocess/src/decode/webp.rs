//! WebP: RGB, or RGBA where the file says that it has alpha. Of an animation, the first frame on a
//! transparent canvas, as libwebp's animation decoder (and so Pillow) gives it.

use std::io::Cursor;

use image_webp::WebPDecoder;

use super::{Decoded, Format, Options, check_size, damaged};
use crate::orientation::orientation;
use crate::picture::Samples;
use crate::{Error, Picture};

pub(super) fn decode(bytes: &[u8], options: &Options) -> Result<Decoded, Error> {
    let wrong = |e: image_webp::DecodingError| damaged(Format::WebP, e);
    let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(wrong)?;
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
