//! From the bytes of a picture file to the pixels that a CLIP tower was trained on, to the last bit.
//!
//! The reference is OpenAI's `clip._transform`, that is torchvision's `Resize`, `CenterCrop`,
//! `convert("RGB")`, `ToTensor` and `Normalize` on a Pillow image. Order matters: the picture is resized in
//! the mode that its file has (palettes by nearest neighbour, alpha premultiplied) and becomes RGB only
//! afterwards. `docs/preprocessing.md` has the rules, mode by mode, and what is declared different.
//!
//! ```
//! use edgeclip_preprocess::{Options, Spec, preprocess};
//!
//! # let file = [b"BM\x3a\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\x18\0".as_slice(), &[0; 24], b"\x80\x40\x20\0"].concat();
//! let pixels = preprocess(&file, &Spec::openai(224), &Options::default())?;
//! assert_eq!(pixels.to_chw().len(), 3 * 224 * 224);
//! # Ok::<(), edgeclip_preprocess::Error>(())
//! ```

#![forbid(unsafe_code)]

mod decode;
mod error;
mod orientation;
mod picture;
mod pixels;
mod resample;
mod spec;

pub use edgeclip_kernels::resize::Filter;

pub use crate::decode::{Decode, Format, Options, decode, decode_for};
pub use crate::error::Error;
pub use crate::picture::{Mode, Picture};
pub use crate::pixels::Pixels;
pub use crate::spec::{CropRule, Resize, Spec};

/// [`decode_for`] and [`Spec::crop`] in one: a file's bytes to the crop that an image tower takes.
///
/// # Errors
/// Those of [`decode_for`] and [`Spec::crop`].
pub fn preprocess(bytes: &[u8], spec: &Spec, options: &Options) -> Result<Pixels, Error> {
    spec.validate()?;
    decode::crop(bytes, spec, options)
}
