//! A decoded picture in the mode that Pillow would give it.

use std::fmt;

use crate::Error;

/// Pillow's modes, as far as the formats we read produce them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// "1": black and white, a byte of 0 or 255 a pixel.
    Bilevel,
    /// "L": grey.
    L,
    /// "LA": grey and alpha.
    La,
    /// "P": index into a palette of 256 RGB colours. Transparency of a palette is not kept: the reference drops it too.
    P,
    /// "RGB".
    Rgb,
    /// "RGBA".
    Rgba,
    /// "CMYK": ink, 255 is full.
    Cmyk,
    /// "I;16": grey of 16 bits.
    I16,
}

impl Mode {
    /// Samples a pixel.
    pub fn channels(self) -> usize {
        match self {
            Mode::Bilevel | Mode::L | Mode::P | Mode::I16 => 1,
            Mode::La => 2,
            Mode::Rgb => 3,
            Mode::Rgba | Mode::Cmyk => 4,
        }
    }
}

impl fmt::Display for Mode {
    /// Pillow's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Bilevel => "1",
            Mode::L => "L",
            Mode::La => "LA",
            Mode::P => "P",
            Mode::Rgb => "RGB",
            Mode::Rgba => "RGBA",
            Mode::Cmyk => "CMYK",
            Mode::I16 => "I;16",
        })
    }
}

/// Colours of a [`Mode::P`] picture; those that the file leaves out are black.
pub(crate) type Palette = Box<[[u8; 3]; 256]>;

/// Samples, `[height, width, channels]`, with what they mean.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Samples {
    Bilevel(Vec<u8>),
    L(Vec<u8>),
    La(Vec<u8>),
    P(Vec<u8>, Palette),
    Rgb(Vec<u8>),
    Rgba(Vec<u8>),
    Cmyk(Vec<u8>),
    I16(Vec<u16>),
}

impl Samples {
    fn mode(&self) -> Mode {
        match self {
            Samples::Bilevel(_) => Mode::Bilevel,
            Samples::L(_) => Mode::L,
            Samples::La(_) => Mode::La,
            Samples::P(..) => Mode::P,
            Samples::Rgb(_) => Mode::Rgb,
            Samples::Rgba(_) => Mode::Rgba,
            Samples::Cmyk(_) => Mode::Cmyk,
            Samples::I16(_) => Mode::I16,
        }
    }

    fn len(&self) -> usize {
        match self {
            Samples::I16(x) => x.len(),
            Samples::Bilevel(x) | Samples::L(x) | Samples::La(x) | Samples::P(x, _) => x.len(),
            Samples::Rgb(x) | Samples::Rgba(x) | Samples::Cmyk(x) => x.len(),
        }
    }
}

/// A decoded picture, upright if that was asked for, in the mode of its file.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    width: usize,
    height: usize,
    samples: Samples,
}

impl Picture {
    /// A picture from samples; the decoders' way in.
    ///
    /// # Panics
    /// If the number of samples is not what the sides and the mode say: a decoder's mistake.
    pub(crate) fn new(width: usize, height: usize, samples: Samples) -> Picture {
        assert_eq!(samples.len(), width * height * samples.mode().channels(), "samples of a {width} x {height} picture");
        assert!(width > 0 && height > 0, "a picture without pixels");
        Picture { width, height, samples }
    }

    /// An RGB picture from bytes, `[height, width, 3]`, for callers that have pixels and no file.
    ///
    /// # Errors
    /// [`Error::NoPixels`] and [`Error::Length`].
    pub fn from_rgb(width: usize, height: usize, rgb: Vec<u8>) -> Result<Picture, Error> {
        if width == 0 || height == 0 {
            return Err(Error::NoPixels { width: width as u64, height: height as u64 });
        }
        let expected = width.checked_mul(height).and_then(|n| n.checked_mul(3)).unwrap_or(usize::MAX);
        if rgb.len() != expected {
            return Err(Error::Length { what: "picture [height, width, 3]", expected, found: rgb.len() });
        }
        Ok(Picture::new(width, height, Samples::Rgb(rgb)))
    }

    /// Width in pixels, after orientation.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels, after orientation.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Pillow's mode.
    pub fn mode(&self) -> Mode {
        self.samples.mode()
    }

    pub(crate) fn samples(&self) -> &Samples {
        &self.samples
    }

    /// The picture turned upright: EXIF orientation 1 to 8, as `PIL.ImageOps.exif_transpose` does; anything else leaves it.
    pub(crate) fn upright(self, orientation: u8) -> Picture {
        if !(2..=8).contains(&orientation) {
            return self;
        }
        let (width, height) = (self.width, self.height);
        let turn = |x: Vec<u8>, channels| turn(&x, width, height, channels, orientation);
        let samples = match self.samples {
            Samples::Bilevel(x) => Samples::Bilevel(turn(x, 1)),
            Samples::L(x) => Samples::L(turn(x, 1)),
            Samples::La(x) => Samples::La(turn(x, 2)),
            Samples::P(x, palette) => Samples::P(turn(x, 1), palette),
            Samples::Rgb(x) => Samples::Rgb(turn(x, 3)),
            Samples::Rgba(x) => Samples::Rgba(turn(x, 4)),
            Samples::Cmyk(x) => Samples::Cmyk(turn(x, 4)),
            Samples::I16(x) => Samples::I16(self::turn(&x, width, height, 1, orientation)),
        };
        let (width, height) = if orientation >= 5 { (height, width) } else { (width, height) };
        Picture { width, height, samples }
    }
}

/// Copies `[height, width, channels]` into the upright order.
fn turn<T: Copy>(source: &[T], width: usize, height: usize, channels: usize, orientation: u8) -> Vec<T> {
    let (out_width, out_height) = if orientation >= 5 { (height, width) } else { (width, height) };
    let mut out = Vec::with_capacity(source.len());
    for y in 0..out_height {
        for x in 0..out_width {
            // Mirrored coordinates in the upright picture.
            let (mx, my) = (out_width - 1 - x, out_height - 1 - y);
            // Where EXIF says that this pixel was stored: (column, row).
            let (column, row) = match orientation {
                2 => (mx, y),
                3 => (mx, my),
                4 => (x, my),
                5 => (y, x),
                6 => (y, mx),
                7 => (my, mx),
                8 => (my, x),
                _ => (x, y),
            };
            out.extend_from_slice(&source[(row * width + column) * channels..][..channels]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `ImageOps.exif_transpose` makes of the 3 x 2 picture `0 1 2 / 3 4 5`.
    #[test]
    fn orientations_are_pillows() {
        let upright = |orientation| {
            let picture = Picture::new(3, 2, Samples::L(vec![0, 1, 2, 3, 4, 5])).upright(orientation);
            let Samples::L(samples) = picture.samples().clone() else { panic!("mode changed") };
            (picture.width(), picture.height(), samples)
        };
        assert_eq!(upright(0), (3, 2, vec![0, 1, 2, 3, 4, 5]));
        assert_eq!(upright(1), (3, 2, vec![0, 1, 2, 3, 4, 5]));
        assert_eq!(upright(2), (3, 2, vec![2, 1, 0, 5, 4, 3]));
        assert_eq!(upright(3), (3, 2, vec![5, 4, 3, 2, 1, 0]));
        assert_eq!(upright(4), (3, 2, vec![3, 4, 5, 0, 1, 2]));
        assert_eq!(upright(5), (2, 3, vec![0, 3, 1, 4, 2, 5]));
        assert_eq!(upright(6), (2, 3, vec![3, 0, 4, 1, 5, 2]));
        assert_eq!(upright(7), (2, 3, vec![5, 2, 4, 1, 3, 0]));
        assert_eq!(upright(8), (2, 3, vec![2, 5, 1, 4, 0, 3]));
        assert_eq!(upright(9), (3, 2, vec![0, 1, 2, 3, 4, 5]));
    }

    #[test]
    fn rgb_lengths_are_checked() {
        assert!(Picture::from_rgb(1, 2, vec![0; 6]).is_ok());
        assert_eq!(
            Picture::from_rgb(1, 2, vec![0; 5]),
            Err(Error::Length { what: "picture [height, width, 3]", expected: 6, found: 5 })
        );
        assert_eq!(Picture::from_rgb(0, 2, vec![]), Err(Error::NoPixels { width: 0, height: 2 }));
        assert!(Picture::from_rgb(usize::MAX, 2, vec![0; 6]).is_err());
    }
}
