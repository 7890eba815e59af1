//! Every golden of `tools/make_picture_goldens.py`: what Pillow and torchvision make of a picture, we make.
//!
//! PNG, GIF, BMP, TIFF and WebP are decoded exactly, so the crop must be equal to the last bit.
//! JPEG may differ by what `docs/preprocessing.md` measures.

use std::path::PathBuf;

use edgeclip_preprocess::{CropRule, Filter, Options, Resize, Spec, decode};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Largest and mean difference of a crop from the reference's, in levels of 255.
struct Difference {
    largest: u8,
    mean: f64,
}

fn data() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

fn manifest() -> Value {
    let text = std::fs::read_to_string(data().join("manifest.json")).expect("the manifest is in the repository");
    serde_json::from_str(&text).expect("the manifest is JSON")
}

fn spec(case: &Value) -> Spec {
    let filter = match case["filter"].as_str().unwrap_or("bicubic") {
        "nearest" => Filter::Nearest,
        "box" => Filter::Box,
        "bilinear" => Filter::Bilinear,
        "hamming" => Filter::Hamming,
        "bicubic" => Filter::Bicubic,
        "lanczos" => Filter::Lanczos,
        other => panic!("filter {other}"),
    };
    let resize = if case["resize"] == "squash" { Resize::Squash } else { Resize::ShortestEdge };
    let crop = if case["crop_rule"] == "floor" { CropRule::Floor } else { CropRule::RoundHalfEven };
    Spec { resize, filter, crop, ..Spec::openai(case["size"].as_u64().expect("size") as u32) }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Runs a case; a message if it fails.
fn check(case: &Value, crops: &[u8]) -> Result<Difference, String> {
    let file = case["file"].as_str().expect("file");
    let bytes = std::fs::read(data().join("pictures").join(file)).map_err(|e| e.to_string())?;
    let options = Options { exif: case["exif"] == true, ..Options::default() };
    let picture = decode(&bytes, &options).map_err(|e| e.to_string())?;
    let sides = (picture.width() as u64, picture.height() as u64);
    let expected = (case["width"].as_u64().unwrap(), case["height"].as_u64().unwrap());
    if sides != expected || picture.mode().to_string() != case["mode"] {
        return Err(format!("{sides:?} {}, expected {expected:?} {}", picture.mode(), case["mode"]));
    }
    let pixels = spec(case).crop(&picture).map_err(|e| e.to_string())?;
    let crop = pixels.crop().expect("bytes");
    if case["exact"] != false {
        if let Some(expected) = case["tensor_sha256"].as_str() {
            let values = pixels.to_chw();
            let first: Vec<String> = values[..4].iter().map(|v| format!("{:08x}", v.to_bits())).collect();
            let sum: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            if hex(&Sha256::digest(&sum)) != expected {
                return Err(format!("the tensor differs; it starts {first:?}, expected {}", case["first_values"]));
            }
        }
    }
    let Some(offset) = case["offset"].as_u64() else {
        return match hex(&Sha256::digest(crop)) == case["sha256"].as_str().unwrap() {
            true => Ok(Difference { largest: 0, mean: 0.0 }),
            false => Err("the crop differs".into()),
        };
    };
    let expected = &crops[offset as usize..][..crop.len()];
    let differences: Vec<u8> = crop.iter().zip(expected).map(|(a, b)| a.abs_diff(*b)).collect();
    let largest = *differences.iter().max().expect("a crop has pixels");
    let mean = differences.iter().map(|&d| f64::from(d)).sum::<f64>() / differences.len() as f64;
    if case["exact"] != false && largest > 0 {
        let count = differences.iter().filter(|&&d| d > 0).count();
        return Err(format!("{count} of {} samples differ, by up to {largest}", crop.len()));
    }
    Ok(Difference { largest, mean })
}

fn run(select: impl Fn(&Value) -> bool, limit: &Difference, at_least: usize) {
    let manifest = manifest();
    let crops = std::fs::read(data().join("crops.bin")).expect("the crops are in the repository");
    let cases: Vec<&Value> = manifest["cases"].as_array().expect("cases").iter().filter(|c| select(c)).collect();
    assert!(cases.len() >= at_least, "{} cases, expected {at_least}", cases.len());
    let mut failures = Vec::new();
    let (mut worst, mut sum) = (Difference { largest: 0, mean: 0.0 }, 0.0);
    for case in &cases {
        match check(case, &crops) {
            Ok(d) => {
                if d.largest > limit.largest || d.mean > limit.mean {
                    failures.push(format!("{case}: largest difference {}, mean {:.3}", d.largest, d.mean));
                }
                worst = Difference { largest: worst.largest.max(d.largest), mean: worst.mean.max(d.mean) };
                sum += d.mean;
            }
            Err(message) => failures.push(format!("{case}: {message}")),
        }
    }
    println!(
        "{} cases: largest difference {}, largest mean {:.4}, mean of means {:.4}",
        cases.len(),
        worst.largest,
        worst.mean,
        sum / cases.len() as f64
    );
    assert!(failures.is_empty(), "{} of {} cases fail:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

fn ends(case: &Value, suffix: &str) -> bool {
    case["file"].as_str().is_some_and(|f| f.ends_with(suffix))
}

const EXACT: Difference = Difference { largest: 0, mean: 0.0 };

#[test]
fn png_crops_are_equal() {
    run(|c| ends(c, ".png"), &EXACT, 150);
}

#[test]
fn gif_crops_are_equal() {
    run(|c| ends(c, ".gif"), &EXACT, 8);
}

#[test]
fn bmp_crops_are_equal() {
    run(|c| ends(c, ".bmp"), &EXACT, 15);
}

#[test]
fn tiff_crops_are_equal() {
    run(|c| ends(c, ".tif") && c["declared_different"] != true, &EXACT, 26);
}

#[test]
fn webp_crops_are_equal() {
    run(|c| ends(c, ".webp"), &EXACT, 8);
}
/// Measured with Pillow 13.0.0: 3 and 0.41 where the chroma is subsampled, 1 and 0.03 where it is not.
#[test]
fn jpeg_crops_are_close() {
    run(|c| ends(c, ".jpg"), &Difference { largest: 3, mean: 0.45 }, 18);
}

/// Pillow 13.0.0 resizes 16-bit grey of a big-endian TIFF with the bytes of each sample swapped. We resize the
/// samples, as Pillow does for the same picture in a little-endian file.
#[test]
fn big_endian_16_bit_tiff_is_declared_different() {
    let manifest = manifest();
    let crops = std::fs::read(data().join("crops.bin")).expect("the crops are in the repository");
    let cases = manifest["cases"].as_array().expect("cases");
    let case = |name: &str| cases.iter().find(|c| c["file"] == name).expect("the case");
    let big = case("grey16-big-endian.tif");
    assert_eq!(big["declared_different"], true);
    assert!(check(big, &crops).is_err_and(|e| e.contains("samples differ")), "Pillow's rule, or ours, has changed");
    let picture = |name: &str| decode(&std::fs::read(data().join("pictures").join(name)).unwrap(), &Options::default()).unwrap();
    assert_eq!(picture("grey16-big-endian.tif"), picture("grey16-little-endian.tif"));
    assert!(check(case("grey16-little-endian.tif"), &crops).is_ok());
}
