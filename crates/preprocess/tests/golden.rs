//! Every golden of `tools/make_picture_goldens.py`: what Pillow and torchvision make of a picture, we make.
//!
//! Every format is decoded exactly, so the crop must be equal to the last bit; what is declared different in
//! `docs/preprocessing.md` has a test of its own at the end.

use std::path::PathBuf;

use edgeclip_preprocess::{CropRule, Decode, Filter, Options, Resize, Spec, decode, decode_for, preprocess};
use serde_json::Value;
use sha2::{Digest, Sha256};

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
fn check(case: &Value, crops: &[u8]) -> Result<(), String> {
    let file = case["file"].as_str().expect("file");
    let bytes = std::fs::read(data().join("pictures").join(file)).map_err(|e| e.to_string())?;
    let method = if case["fast"] == true { Decode::Fast } else { Decode::Exact };
    let options = Options { exif: case["exif"] == true, decode: method, ..Options::default() };
    let spec = spec(case);
    let picture = decode_for(&bytes, &spec, &options).map_err(|e| e.to_string())?;
    let sides = (picture.width() as u64, picture.height() as u64);
    let expected = (case["width"].as_u64().unwrap(), case["height"].as_u64().unwrap());
    if sides != expected || picture.mode().to_string() != case["mode"] {
        return Err(format!("{sides:?} {}, expected {expected:?} {}", picture.mode(), case["mode"]));
    }
    let pixels = spec.crop(&picture).map_err(|e| e.to_string())?;
    let crop = pixels.crop().expect("bytes");
    // A JPEG is not even made whole then.
    if preprocess(&bytes, &spec, &options).as_ref() != Ok(&pixels) {
        return Err("decoded and cropped in one, the crop differs".into());
    }
    if let Some(offset) = case["offset"].as_u64() {
        let differences = || crop.iter().zip(&crops[offset as usize..]).map(|(a, b)| a.abs_diff(*b)).filter(|&d| d > 0);
        if let Some(largest) = differences().max() {
            return Err(format!("{} of {} samples differ, by up to {largest}", differences().count(), crop.len()));
        }
    }
    if hex(&Sha256::digest(crop)) != case["sha256"].as_str().expect("a digest") {
        return Err("the crop differs".into());
    }
    if let Some(expected) = case["tensor_sha256"].as_str() {
        let values = pixels.to_chw();
        let first: Vec<String> = values[..4].iter().map(|v| format!("{:08x}", v.to_bits())).collect();
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        if hex(&Sha256::digest(&bytes)) != expected {
            return Err(format!("the tensor differs; it starts {first:?}, expected {}", case["first_values"]));
        }
    }
    Ok(())
}

/// Runs all cases of files that end in `suffix`, of which there are `at_least` so many.
fn run(suffix: &str, at_least: usize) {
    let manifest = manifest();
    let crops = std::fs::read(data().join("crops.bin")).expect("the crops are in the repository");
    let selected = |c: &&Value| c["file"].as_str().is_some_and(|f| f.ends_with(suffix)) && c["declared_different"] != true;
    let cases: Vec<&Value> = manifest["cases"].as_array().expect("cases").iter().filter(selected).collect();
    assert!(cases.len() >= at_least, "{} cases, expected {at_least}", cases.len());
    let failures: Vec<String> =
        cases.iter().filter_map(|case| check(case, &crops).err().map(|message| format!("{case}: {message}"))).collect();
    assert!(failures.is_empty(), "{} of {} cases fail:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

#[test]
fn png_crops_are_equal() {
    run(".png", 151);
}

#[test]
fn jpeg_crops_are_equal() {
    run(".jpg", 83);
}

#[test]
fn webp_crops_are_equal() {
    run(".webp", 9);
}

#[test]
fn gif_crops_are_equal() {
    run(".gif", 12);
}

#[test]
fn bmp_crops_are_equal() {
    run(".bmp", 15);
}

#[test]
fn tiff_crops_are_equal() {
    run(".tif", 26);
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

/// Where the scans of a progressive JPEG leave bits out, the reference smooths the edges of blocks. We do not.
#[test]
fn unfinished_progressive_jpeg_is_declared_different() {
    let manifest = manifest();
    let crops = std::fs::read(data().join("crops.bin")).expect("the crops are in the repository");
    let case = manifest["cases"].as_array().expect("cases").iter().find(|c| c["file"] == "progressive-unfinished.jpg");
    let case = case.expect("the case");
    assert_eq!(case["declared_different"], true);
    let offset = case["offset"].as_u64().expect("offset") as usize;
    let bytes = std::fs::read(data().join("pictures/progressive-unfinished.jpg")).unwrap();
    let pixels = spec(case).crop(&decode(&bytes, &Options::default()).unwrap()).unwrap();
    let largest = pixels.crop().unwrap().iter().zip(&crops[offset..]).map(|(a, b)| a.abs_diff(*b)).max();
    assert_eq!(largest, Some(3), "our decoder, or the reference's, has changed");
}
