//! preprocessor_config.json: how a picture becomes pixels, with the defaults of transformers' `CLIPImageProcessor`.

use std::path::Path;

use edgeclip_preprocess::{CropRule, Filter, Resize, Spec};
use serde_json::Value;

use super::json::Object;
use crate::Error;

const LIMIT: u64 = 1 << 20;

/// OpenAI's preprocessing, for inputs with sides of `image_size` pixels.
pub(super) fn openai(image_size: usize, crop: CropRule) -> Spec {
    Spec { crop, ..Spec::openai(u32::try_from(image_size).unwrap_or(u32::MAX)) }
}

/// The preprocessing of the folder's model, whose input has sides of `image_size` pixels.
///
/// The crop rule is the caller's: a checkpoint does not say it, and the pipelines that exist differ.
pub(super) fn read(folder: &Path, image_size: usize, crop: CropRule, warnings: &mut Vec<String>) -> Result<Spec, Error> {
    let own = openai(image_size, crop);
    let size = own.size;
    // Since version 5 transformers may write everything about inputs into one file.
    let (separate, joint) = (folder.join("preprocessor_config.json"), folder.join("processor_config.json"));
    if separate.exists() {
        return spec(&Object::read(&separate, LIMIT)?, own);
    }
    if joint.exists()
        && let Some(object) = Object::read(&joint, LIMIT)?.object("image_processor")?
    {
        return spec(&object, own);
    }
    warnings.push(format!(
        "{} has no preprocessor_config.json: assuming OpenAI's preprocessing (shortest side to {size}, bicubic, CLIP's mean and std)",
        folder.display()
    ));
    Ok(own)
}

fn spec(config: &Object<'_>, own: Spec) -> Result<Spec, Error> {
    for key in ["do_resize", "do_rescale"] {
        if config.truth(key)? == Some(false) {
            return Err(config.wrong(key, "true", &false.into()));
        }
    }
    if let Some(factor) = config.float("rescale_factor")?
        && (factor - 1.0 / 255.0).abs() > 1e-8
    {
        return Err(config.wrong("rescale_factor", "1/255", &f64::from(factor).into()));
    }
    let centre_crop = config.truth("do_center_crop")?.unwrap_or(true);
    let (resize, resized) = resize(config)?;
    let cropped = if centre_crop { crop_size(config)? } else { None };
    let expected = format!("{}, the image_size of config.json", own.size);
    for (key, side) in [("size", resized), ("crop_size", cropped)] {
        if let Some(side) = side
            && side != u64::from(own.size)
        {
            return Err(config.wrong(key, expected, &side.into()));
        }
    }
    if !centre_crop && resize == Resize::ShortestEdge {
        return Err(config.wrong(
            "do_center_crop",
            "true, or a size of height and width: the input has to be square",
            &false.into(),
        ));
    }
    let filter = match config.size("resample")? {
        None | Some(3) => Filter::Bicubic,
        Some(0) => Filter::Nearest,
        Some(1) => Filter::Lanczos,
        Some(2) => Filter::Bilinear,
        Some(4) => Filter::Box,
        Some(5) => Filter::Hamming,
        Some(other) => return Err(config.wrong("resample", "0 to 5, the number of a Pillow filter", &other.into())),
    };
    let normalised = config.truth("do_normalize")?.unwrap_or(true);
    let (mean, std) = if normalised {
        (config.three("image_mean")?.unwrap_or(own.mean), config.three("image_std")?.unwrap_or(own.std))
    } else {
        ([0.0; 3], [1.0; 3])
    };
    let spec = Spec { resize, filter, mean, std, ..own };
    spec.validate().map_err(|error| config.wrong("image_std", "usable preprocessing", &error.to_string().into()))?;
    Ok(spec)
}

/// `size`: a number (old files) or `shortest_edge` for the shortest side, `height` and `width` for both.
fn resize(config: &Object<'_>) -> Result<(Resize, Option<u64>), Error> {
    let Some(value) = config.get("size") else { return Ok((Resize::ShortestEdge, None)) };
    let wrong = || config.wrong("size", "a number, shortest_edge, or height and width of a square", value);
    match value {
        Value::Object(_) => {
            let size = config.object("size")?.unwrap_or_else(|| config.empty("size"));
            let mut keys: Vec<&str> = size.keys().collect();
            keys.sort_unstable();
            match keys.as_slice() {
                ["shortest_edge"] => Ok((Resize::ShortestEdge, size.size("shortest_edge")?.map(|side| side as u64))),
                ["height", "width"] if size.get("height") == size.get("width") => {
                    Ok((Resize::Squash, size.size("height")?.map(|side| side as u64)))
                }
                _ => Err(wrong()),
            }
        }
        Value::Array(_) => Ok((Resize::Squash, config.side("size")?.map(|side| side as u64))),
        _ => Ok((Resize::ShortestEdge, Some(value.as_u64().ok_or_else(wrong)?))),
    }
}

fn crop_size(config: &Object<'_>) -> Result<Option<u64>, Error> {
    let side = match config.get("crop_size") {
        Some(Value::Object(_)) => {
            let crop = config.object("crop_size")?.unwrap_or_else(|| config.empty("crop_size"));
            let (height, width) = (crop.size("height")?, crop.size("width")?);
            if height != width {
                let found = config.get("crop_size").unwrap_or(&Value::Null);
                return Err(config.wrong("crop_size", "a square", found));
            }
            height
        }
        _ => config.side("crop_size")?,
    };
    Ok(side.map(|side| side as u64))
}
