//! What a model wants of a picture: size, resize, filter, crop rule, mean and deviation; and the geometry.

use std::ops::Range;

use edgeclip_kernels::resize::Filter;

use crate::{Error, Picture, Pixels, resample};

/// How the picture's sides become the crop's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resize {
    /// The shorter side becomes the crop's, the longer keeps the aspect ratio, truncated (CLIP).
    ShortestEdge,
    /// Both sides become the crop's; the aspect ratio is lost (SigLIP, CLIPA).
    Squash,
}

/// Where an odd remainder goes when the middle is cut out. The rules differ, by one pixel, only when the
/// remainder is 3 modulo 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CropRule {
    /// `int(round(remainder / 2))`, halves to even: torchvision's `CenterCrop`, thus OpenAI's and open_clip's.
    RoundHalfEven,
    /// `remainder // 2`: transformers' `center_crop`.
    Floor,
}

/// The preprocessing that a model was trained with.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// Side of the square crop, pixels.
    pub size: u32,
    /// How the picture's sides become the crop's.
    pub resize: Resize,
    /// Pillow's filter.
    pub filter: Filter,
    /// Where an odd remainder goes.
    pub crop: CropRule,
    /// Subtracted from each channel (R, G, B in 0..=1).
    pub mean: [f32; 3],
    /// Divides each channel after that.
    pub std: [f32; 3],
}

/// Longest side of a crop. The largest model in use has 896; the cap bounds what a hostile model file can allocate.
const MAX_SIZE: u32 = 4096;

impl Spec {
    /// The specification of OpenAI's models: shortest side, bicubic, round half to even, CLIP's mean and deviation.
    pub fn openai(size: u32) -> Spec {
        Spec {
            size,
            resize: Resize::ShortestEdge,
            filter: Filter::Bicubic,
            crop: CropRule::RoundHalfEven,
            mean: [0.48145466, 0.4578275, 0.40821073],
            std: [0.26862954, 0.261_302_6, 0.275_777_1],
        }
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Spec`] for a size of 0 or above 4096, a mean that is not finite, a deviation that is not finite and above 0.
    pub fn validate(&self) -> Result<(), Error> {
        let wrong = |field, expected, found: String| Err(Error::Spec { field, expected, found });
        if !(1..=MAX_SIZE).contains(&self.size) {
            return wrong("size", "1 to 4096 pixels", self.size.to_string());
        }
        if let Some(mean) = self.mean.iter().find(|x| !x.is_finite()) {
            return wrong("mean", "finite", mean.to_string());
        }
        if let Some(std) = self.std.iter().find(|x| !(x.is_finite() && **x > 0.0)) {
            return wrong("std", "finite and above 0", std.to_string());
        }
        Ok(())
    }

    /// Resizes the picture in its own mode, cuts the middle out and converts it to RGB.
    ///
    /// Only what survives the crop is computed, so the cost depends on the crop and on the source pixels under it.
    ///
    /// # Errors
    /// [`Error::Spec`], and [`Error::TooElongated`] where a side of the resized picture would not fit 31 bits
    /// (the reference cannot do those either) or its filter would need more than 256 MiB.
    pub fn crop(&self, picture: &Picture) -> Result<Pixels, Error> {
        self.validate()?;
        let (width, height) = (picture.width(), picture.height());
        let target = self.target(width, height).ok_or(Error::TooElongated { width, height })?;
        let crop = resample::resize_to_rgb(picture, self.filter, &target)?;
        Pixels::from_crop(self.size, crop, self.mean, self.std)
    }

    /// What makes the crop from rows of opaque samples of 8 bits as they come, if anything does.
    pub(crate) fn stream(&self, sides: (usize, usize), channels: usize) -> Option<resample::Stream<u8>> {
        resample::Stream::of(sides, channels, self.filter, &self.target(sides.0, sides.1)?)
    }

    fn target(&self, width: usize, height: usize) -> Option<resample::Target> {
        let (width, height) = self.resized(width, height)?;
        Some(resample::Target { width, height, columns: self.window(width), rows: self.window(height) })
    }

    /// Sides of the whole resized picture, which is never made.
    fn resized(&self, width: usize, height: usize) -> Option<(usize, usize)> {
        let size = self.size as usize;
        match self.resize {
            Resize::Squash => Some((size, size)),
            Resize::ShortestEdge => {
                let (short, long) = (width.min(height), width.max(height));
                // `int(size * long / short)` in Python: an exact quotient rounded to double, then truncated.
                // Both operands are exact below 2^53, so one division in f64 rounds alike.
                let product = (size as u64).checked_mul(long as u64).filter(|p| *p < 1 << 53)?;
                let scaled = (product as f64 / short as f64) as u64;
                let scaled = usize::try_from(scaled).ok().filter(|s| *s <= i32::MAX as usize)?;
                Some(if width <= height { (size, scaled) } else { (scaled, size) })
            }
        }
    }

    /// The part of a resized side that the crop keeps. A resized side is never shorter than the crop
    /// (the truncated quotient is at least `size`), so the zero padding of the reference cannot happen.
    fn window(&self, side: usize) -> Range<usize> {
        let size = self.size as usize;
        let remainder = side - size;
        let start = match self.crop {
            CropRule::Floor => remainder / 2,
            // n / 2 halves to even: 2m + 1 halves is m + 1/2, which goes to m + 1 where m is odd.
            CropRule::RoundHalfEven => remainder / 2 + usize::from(remainder % 4 == 3),
        };
        start..start + size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Python: `int(round(r / 2.0))` for r in 0..9, and `r // 2`.
    #[test]
    fn crop_offsets_are_pythons() {
        let offsets = |crop| -> Vec<usize> {
            let spec = Spec { crop, ..Spec::openai(8) };
            (8..17).map(|side| spec.window(side).start).collect()
        };
        assert_eq!(offsets(CropRule::RoundHalfEven), [0, 0, 1, 2, 2, 2, 3, 4, 4]);
        assert_eq!(offsets(CropRule::Floor), [0, 0, 1, 1, 2, 2, 3, 3, 4]);
    }

    /// torchvision's `_compute_resized_output_size([h, w], [224])`, which gives `[h, w]`.
    #[test]
    fn the_longer_side_is_truncated() {
        let spec = Spec::openai(224);
        assert_eq!(spec.resized(223, 225), Some((224, 226)));
        assert_eq!(spec.resized(3000, 17), Some((39529, 224)));
        assert_eq!(spec.resized(1, 60_000), Some((224, 13_440_000)));
        assert_eq!(spec.resized(7, 7), Some((224, 224)));
        assert_eq!(spec.resized(1, 10_000_000), None, "2,240,000,000 does not fit a C int");
    }

    #[test]
    fn nonsense_is_refused() {
        let field = |spec: Spec| match spec.validate() {
            Err(Error::Spec { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        assert_eq!(field(Spec::openai(0)), "size");
        assert_eq!(field(Spec::openai(4097)), "size");
        assert_eq!(field(Spec { mean: [0.0, f32::NAN, 0.0], ..Spec::openai(8) }), "mean");
        assert_eq!(field(Spec { std: [1.0, 1.0, 0.0], ..Spec::openai(8) }), "std");
    }
}
