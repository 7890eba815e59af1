//! JPEG. The decoder gives the components as they are stored, and the colour conversion is libjpeg's, done here:
//! what differs from Pillow is the inverse cosine transform and the chroma upsampling, by a few levels
//! (`docs/preprocessing.md` has the measured sizes).

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::{Decoded, Format, Options, check_size, damaged, unsupported};
use crate::orientation::orientation;
use crate::picture::Samples;
use crate::{Error, Picture};

pub(super) fn decode(bytes: &[u8], options: &Options) -> Result<Decoded, Error> {
    let wrong = |e: zune_jpeg::errors::DecodeErrors| damaged(Format::Jpeg, e);
    let side = usize::from(u16::MAX);
    let settings = DecoderOptions::default().set_max_width(side).set_max_height(side).set_strict_mode(false);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), settings);
    decoder.decode_headers().map_err(wrong)?;
    let info = decoder.info().ok_or_else(|| damaged(Format::Jpeg, "no frame header"))?;
    let (width, height) = check_size(info.width.into(), info.height.into(), options)?;
    // A block of 8 x 8 pixels takes at least two bits of each scan that codes it, so 32 pixels a bit are out of reach.
    if (width * height) as u64 / 256 > bytes.len() as u64 {
        return Err(damaged(Format::Jpeg, format_args!("{} bytes cannot hold {width} x {height} pixels", bytes.len())));
    }
    let stored = decoder.input_colorspace().ok_or_else(|| damaged(Format::Jpeg, "no colour space"))?;
    if !matches!(stored, ColorSpace::Luma | ColorSpace::YCbCr | ColorSpace::RGB | ColorSpace::CMYK | ColorSpace::YCCK) {
        return Err(unsupported(Format::Jpeg, format_args!("{} components", info.components)));
    }
    decoder.set_options(settings.jpeg_set_out_colorspace(stored));
    let mut raw = decoder.decode().map_err(wrong)?;
    if !has_end(bytes) {
        return Err(damaged(Format::Jpeg, "the file ends before the picture does"));
    }
    let samples = match stored {
        ColorSpace::Luma => Samples::L(raw),
        ColorSpace::RGB => Samples::Rgb(raw),
        ColorSpace::YCbCr => {
            let tables = Chroma::new();
            raw.as_chunks_mut::<3>().0.iter_mut().for_each(|p| *p = tables.rgb(*p));
            Samples::Rgb(raw)
        }
        _ => {
            if stored == ColorSpace::YCCK {
                // libjpeg makes CMY of YCC by way of RGB.
                let tables = Chroma::new();
                for pixel in raw.as_chunks_mut::<4>().0 {
                    let [y, cb, cr, k] = *pixel;
                    let [r, g, b] = tables.rgb([y, cb, cr]);
                    *pixel = [255 - r, 255 - g, 255 - b, k];
                }
            }
            // Pillow takes every CMYK JPEG to be inverted, as Adobe writes them.
            raw.iter_mut().for_each(|v| *v = 255 - *v);
            Samples::Cmyk(raw)
        }
    };
    let orientation = orientation(decoder.exif().map(Vec::as_slice), decoder.xmp().map(Vec::as_slice));
    Ok(Decoded { picture: Picture::new(width, height, samples), orientation })
}

/// Whether there is an end marker; the decoder fills what is missing with grey and says nothing.
fn has_end(bytes: &[u8]) -> bool {
    bytes.windows(2).rev().any(|pair| pair == b"\xff\xd9")
}

/// libjpeg's tables from YCbCr to RGB (ITU-R BT.601 full range, 16 fractional bits).
struct Chroma {
    cr_red: [i32; 256],
    cb_blue: [i32; 256],
    cr_green: [i32; 256],
    cb_green: [i32; 256],
}

impl Chroma {
    fn new() -> Chroma {
        const HALF: i32 = 1 << 15;
        let fix = |x: f64| (x * 65536.0 + 0.5) as i32;
        let table = |f: &dyn Fn(i32) -> i32| std::array::from_fn(|i| f(i as i32 - 128));
        Chroma {
            cr_red: table(&|x| (fix(1.402) * x + HALF) >> 16),
            cb_blue: table(&|x| (fix(1.772) * x + HALF) >> 16),
            cr_green: table(&|x| -fix(0.714136286) * x),
            // The rounding half of the sum of both green terms is kept here.
            cb_green: table(&|x| -fix(0.344136286) * x + HALF),
        }
    }

    fn rgb(&self, [y, cb, cr]: [u8; 3]) -> [u8; 3] {
        let (y, cb, cr) = (i32::from(y), usize::from(cb), usize::from(cr));
        let clamp = |x: i32| x.clamp(0, 255) as u8;
        [clamp(y + self.cr_red[cr]), clamp(y + ((self.cb_green[cb] + self.cr_green[cr]) >> 16)), clamp(y + self.cb_blue[cb])]
    }
}
