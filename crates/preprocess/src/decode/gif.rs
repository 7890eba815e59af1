//! The first frame of a GIF, in the modes of Pillow's `GifImagePlugin`: a palette stays a palette unless it is
//! the grey ramp, and the canvas around a smaller frame holds the transparent index, or 0.

use std::io::Cursor;

use gif::{ColorOutput, DecodeOptions, MemoryLimit};

use super::{Decoded, Format, Options, check_size, damaged};
use crate::picture::Samples;
use crate::{Error, Picture};

pub(super) fn decode(bytes: &[u8], options: &Options) -> Result<Decoded, Error> {
    let wrong = |e: gif::DecodingError| damaged(Format::Gif, e);
    let mut settings = DecodeOptions::new();
    settings.set_color_output(ColorOutput::Indexed);
    // The frame is checked below, before its buffer is made.
    settings.set_memory_limit(MemoryLimit::Unlimited);
    let mut decoder = settings.read_info(Cursor::new(bytes)).map_err(wrong)?;
    let screen = (u64::from(decoder.width()), u64::from(decoder.height()));
    let Some(frame) = decoder.next_frame_info().map_err(wrong)? else {
        return Err(damaged(Format::Gif, "there is no picture in it"));
    };
    let (left, top) = (usize::from(frame.left), usize::from(frame.top));
    let (frame_width, frame_height) = (usize::from(frame.width), usize::from(frame.height));
    let (transparent, local) = (frame.transparent, frame.palette.clone());
    // A frame that reaches over the screen enlarges it.
    let (width, height) = (screen.0.max((left + frame_width) as u64), screen.1.max((top + frame_height) as u64));
    let (width, height) = check_size(width, height, options)?;
    check_size(frame_width as u64, frame_height as u64, options)?;

    let mut indices = vec![0; frame_width * frame_height];
    decoder.read_into_buffer(&mut indices).map_err(wrong)?;
    let mut canvas = vec![transparent.unwrap_or(0); width * height];
    for (y, row) in indices.chunks_exact(frame_width).enumerate() {
        canvas[(top + y) * width + left..][..frame_width].copy_from_slice(row);
    }

    let colours = local.as_deref().or(decoder.global_palette()).unwrap_or_default();
    let (colours, _) = colours.as_chunks::<3>();
    let grey_ramp = colours.iter().enumerate().all(|(i, colour)| colour.iter().all(|&c| usize::from(c) == i));
    let samples = if grey_ramp {
        Samples::L(canvas)
    } else {
        let mut palette = Box::new([[0; 3]; 256]);
        for (slot, colour) in palette.iter_mut().zip(colours) {
            *slot = *colour;
        }
        Samples::P(canvas, palette)
    };
    Ok(Decoded { picture: Picture::new(width, height, samples), orientation: 1 })
}
