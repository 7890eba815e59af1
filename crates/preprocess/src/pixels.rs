//! The crop, as bytes with mean and deviation, or as numbers.

use crate::Error;

/// What an image tower takes: a square RGB crop.
#[derive(Debug, Clone, PartialEq)]
pub struct Pixels {
    size: u32,
    data: Data,
}

#[derive(Debug, Clone, PartialEq)]
enum Data {
    /// `[size, size, 3]`; kept as bytes, so that a patch embedding can run on them.
    Crop { crop: Vec<u8>, mean: [f32; 3], std: [f32; 3] },
    /// `[3, size, size]`, normalised by the caller.
    Values(Vec<f32>),
}

impl Pixels {
    /// From a crop of bytes, `[size, size, 3]` RGB, with the model's mean and deviation.
    ///
    /// # Errors
    /// [`Error::Length`].
    pub fn from_crop(size: u32, crop: Vec<u8>, mean: [f32; 3], std: [f32; 3]) -> Result<Pixels, Error> {
        check("crop [size, size, 3]", size, crop.len())?;
        Ok(Pixels { size, data: Data::Crop { crop, mean, std } })
    }

    /// From normalised values, `[3, size, size]`.
    ///
    /// # Errors
    /// [`Error::Length`].
    pub fn from_f32(size: u32, values: Vec<f32>) -> Result<Pixels, Error> {
        check("pixels [3, size, size]", size, values.len())?;
        Ok(Pixels { size, data: Data::Values(values) })
    }

    /// Side in pixels.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// The crop as bytes, `[size, size, 3]` RGB, unless made by [`Pixels::from_f32`].
    pub fn crop(&self) -> Option<&[u8]> {
        match &self.data {
            Data::Crop { crop, .. } => Some(crop),
            Data::Values(_) => None,
        }
    }

    /// The mean and deviation that go with [`Pixels::crop`].
    pub fn normalization(&self) -> Option<([f32; 3], [f32; 3])> {
        match &self.data {
            Data::Crop { mean, std, .. } => Some((*mean, *std)),
            Data::Values(_) => None,
        }
    }

    /// Writes `[3, size, size]`: `(x / 255 - mean) / std` in single precision, bit for bit what
    /// torchvision's `ToTensor` and `Normalize` give.
    ///
    /// # Panics
    /// If `out` is not `3 * size * size` long.
    pub fn write_chw(&self, out: &mut [f32]) {
        match &self.data {
            Data::Values(values) => out.copy_from_slice(values),
            Data::Crop { crop, mean, std } => {
                assert_eq!(out.len(), crop.len(), "room for [3, size, size]");
                let plane = crop.len() / 3;
                for (c, plane) in out.chunks_exact_mut(plane).enumerate() {
                    let table: [f32; 256] = std::array::from_fn(|x| (x as f32 / 255.0 - mean[c]) / std[c]);
                    for (value, pixel) in plane.iter_mut().zip(crop.as_chunks::<3>().0) {
                        *value = table[usize::from(pixel[c])];
                    }
                }
            }
        }
    }

    /// [`Pixels::write_chw`] into a new vector.
    pub fn to_chw(&self) -> Vec<f32> {
        let mut out = vec![0.0; 3 * self.size as usize * self.size as usize];
        self.write_chw(&mut out);
        out
    }
}

fn check(what: &'static str, size: u32, found: usize) -> Result<(), Error> {
    // A size whose square does not fit a usize matches no buffer.
    let expected = (size as usize).checked_mul(size as usize).and_then(|n| n.checked_mul(3)).unwrap_or(usize::MAX);
    if found != expected || size == 0 {
        return Err(Error::Length { what, expected, found });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_checked() {
        let unit = ([0.0; 3], [1.0; 3]);
        assert!(Pixels::from_crop(2, vec![0; 12], unit.0, unit.1).is_ok());
        assert_eq!(
            Pixels::from_crop(2, vec![0; 11], unit.0, unit.1),
            Err(Error::Length { what: "crop [size, size, 3]", expected: 12, found: 11 })
        );
        assert!(Pixels::from_f32(u32::MAX, vec![0.0; 3]).is_err());
        assert!(Pixels::from_f32(0, vec![]).is_err());
    }

    /// Channel c of pixel i is at `[c][i]`; values as torch 2.15 prints them for bytes 0, 128, 255 and CLIP's red.
    #[test]
    fn planes_are_channels() {
        let crop = vec![0, 1, 2, 128, 4, 5, 255, 7, 8, 9, 10, 11];
        let (mean, std) = ([0.48145466, 0.0, 0.0], [0.26862954, 1.0, 1.0]);
        let values = Pixels::from_crop(2, crop, mean, std).unwrap().to_chw();
        assert_eq!(values[4..8], [1.0 / 255.0, 4.0 / 255.0, 7.0 / 255.0, 10.0 / 255.0]);
        assert_eq!(values[..3].iter().map(|x| x.to_bits()).collect::<Vec<_>>(), RED_BITS);
    }

    const RED_BITS: [u32; 3] = [0xbfe5_68dc, 0x3d9c_5620, 0x3ff7_1541];
}
