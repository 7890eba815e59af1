//! The first frame of a GIF, in the modes of Pillow's `GifImagePlugin`: a palette stays a palette unless it is
//! the grey ramp, and the canvas around a smaller frame holds the transparent index, or 0.

use std::io::{Cursor, Read};

use gif::{ColorOutput, DecodeOptions, MemoryLimit};

use super::{Decoded, Format, Options, check_size, damaged};
use crate::picture::Samples;
use crate::{Error, Picture};

/// Signature and screen descriptor; the palette of all frames follows.
const HEAD: usize = 13;
/// The byte of it that says whether there is such a palette (bit 7) and how large it is (bits 0 to 2).
const FLAGS: usize = 10;

pub(super) fn decode(bytes: &[u8], options: &Options) -> Result<Decoded, Error> {
    let wrong = |e: gif::DecodingError| damaged(Format::Gif, e);
    let mut settings = DecodeOptions::new();
    settings.set_color_output(ColorOutput::Indexed);
    // The frame is checked below, before its buffer is made.
    settings.set_memory_limit(MemoryLimit::Unlimited);
    let (head, rest) =
        bytes.split_at_checked(HEAD).ok_or_else(|| damaged(Format::Gif, "the file ends before its header does"))?;
    let mut head = head.to_vec();
    if head[FLAGS] & 0x80 == 0 {
        // Without a palette the indices are grey. The `gif` crate refuses such files, so it is given the ramp.
        head[FLAGS] |= 0x87;
        head.extend((0..=255).flat_map(|grey| [grey; 3]));
    }
    let mut decoder = settings.read_info(Cursor::new(head).chain(rest)).map_err(wrong)?;
    let screen = (u64::from(decoder.width()), u64::from(decoder.height()));
    let Some(frame) = decoder.next_frame_info().map_err(wrong)? else {
        return Err(damaged(Format::Gif, "there is no picture in it"));
    };
    let (left, top) = (usize::from(frame.left), usize::from(frame.top));
    let (frame_width, frame_height) = (usize::from(frame.width), usize::from(frame.height));
    let (transparent, interlaced, local) = (frame.transparent, frame.interlaced, frame.palette.clone());
    // A frame that reaches over the screen enlarges it.
    let (width, height) = (screen.0.max((left + frame_width) as u64), screen.1.max((top + frame_height) as u64));
    let (width, height) = check_size(width, height, options)?;
    check_size(frame_width as u64, frame_height as u64, options)?;

    let mut indices = vec![0; frame_width * frame_height];
    // As stored: the crate's own way with interlaced rows takes some that compress well for cut.
    if !decoder.fill_buffer(&mut indices).map_err(wrong)? {
        return Err(damaged(Format::Gif, "the file ends before the picture does"));
    }
    let mut canvas = vec![transparent.unwrap_or(0); width * height];
    let passes: &[(usize, usize)] = if interlaced { &[(0, 8), (4, 8), (2, 4), (1, 2)] } else { &[(0, 1)] };
    let order = passes.iter().flat_map(|&(first, step)| (first..frame_height).step_by(step));
    for (y, row) in order.zip(indices.chunks_exact(frame_width)) {
        canvas[(top + y) * width + left..][..frame_width].copy_from_slice(row);
    }

    // The frame's own colours, else all frames'; the ramp is none. (A ramp over other colours of all frames is
    // a mode that the reference cannot resize, unless `exif_transpose` copies it first; then it has these colours.)
    let colours = [local.as_deref(), decoder.global_palette()].into_iter().flatten().find(|colours| !is_ramp(colours));
    let samples = match colours {
        None => Samples::L(canvas),
        Some(colours) => {
            let mut palette = Box::new([[0; 3]; 256]);
            for (slot, colour) in palette.iter_mut().zip(colours.as_chunks::<3>().0) {
                *slot = *colour;
            }
            Samples::P(canvas, palette)
        }
    };
    Ok(Decoded { picture: Picture::new(width, height, samples), orientation: 1 })
}

/// Whether each colour is grey of its own index.
fn is_ramp(colours: &[u8]) -> bool {
    colours.as_chunks::<3>().0.iter().enumerate().all(|(i, colour)| colour.iter().all(|&c| usize::from(c) == i))
}
