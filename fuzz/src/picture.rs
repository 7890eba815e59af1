//! The bytes of a picture, to the crop that an encoder takes.

use edgeclip::{PictureOptions, Resize, Spec, decode};

use super::{Body, support::refused};

/// A quarter of a megapixel: what is large takes long under a sanitizer, and is the same code.
const PIXELS: u64 = 1 << 18;

/// The target.
pub fn new() -> Body {
    Box::new(|input| {
        let options = PictureOptions { max_pixels: PIXELS, ..PictureOptions::default() };
        let picture = match decode(input, &options) {
            Ok(picture) => picture,
            Err(error) => return refused(error),
        };
        let (width, height) = (picture.width() as u64, picture.height() as u64);
        assert!((1..=PIXELS).contains(&(width * height)), "{width} x {height}");
        for resize in [Resize::ShortestEdge, Resize::Squash] {
            match (Spec { resize, ..Spec::openai(28) }).crop(&picture) {
                Ok(pixels) => assert_eq!(pixels.crop().map(<[u8]>::len), Some(28 * 28 * 3)),
                Err(error) => refused(error),
            }
        }
    })
}
