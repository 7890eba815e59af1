//! `edgeclip tokenize` and `edgeclip preprocess`: what the encoders are given.

use std::{fs, io::BufReader};

use serde_json::Value;

use crate::support::*;

#[test]
fn ids_are_the_references() {
    let golden = Golden::demo();
    let texts = golden.texts();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let tokenize = |options: &[&str]| {
        let arguments = [&["tokenize", "--model", demo_q8_0(), "--format", "jsonl"], options, &["--"], &texts].concat();
        json_lines(&edgeclip(&arguments).ok())
    };
    let (plain, padded) = (tokenize(&[]), tokenize(&["--padded"]));
    for ((found, padded), expected) in plain.iter().zip(&padded).zip(golden.facts["texts"].as_array().unwrap()) {
        assert_eq!((&found["input"], &found["ids"]), (&expected["text"], &expected["ids"]));
        assert_eq!(found["pieces"].as_array().unwrap().len(), found["ids"].as_array().unwrap().len());
        let mut row = expected["ids"].as_array().unwrap().clone();
        row.resize(77, 0.into());
        assert_eq!(padded["ids"], Value::Array(row));
    }
}

#[test]
fn ids_can_be_read_back() {
    let decode = |ids: &str| edgeclip(&["tokenize", "--decode", ids, "--model", demo_q8_0()]);
    assert_eq!(decode("8190 550 3738 2697 539 320 2368 8191").ok(), "<|startoftext|>an emoji of a cat <|endoftext|>\n");
    let done = decode("1, 8192").run();
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.contains("expected ids below 8192, found \"8192\""), "{}", done.stderr);
}

#[test]
fn text_shows_ids_and_pieces() {
    let text = edgeclip(&["tokenize", "-", "--model", demo_q8_0()]).input("A cat!\n").ok();
    assert_eq!(
        text,
        "\"A cat!\"\n  ids     8190 320 2368 256 8191\n  pieces  <|startoftext|> a</w> cat</w> !</w> <|endoftext|>\n"
    );
}

fn read_png(path: &std::path::Path) -> (u32, u32, Vec<u8>) {
    let mut reader = png::Decoder::new(BufReader::new(fs::File::open(path).unwrap())).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Rgb, png::BitDepth::Eight));
    (info.width, info.height, pixels)
}

/// A picture that has the model's size already comes out as it went in, as bytes and as CLIP's normalised values.
#[test]
fn a_crop_is_what_the_model_sees() {
    let folder = scratch("crop");
    let pixels: Vec<u8> = (0..112 * 112 * 3).map(|i| (i * 7 % 251) as u8).collect();
    let mut encoder = png::Encoder::new(fs::File::create(folder.join("in.png")).unwrap(), 112, 112);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    for output in ["out.png", "out.npy"] {
        edgeclip(&["preprocess", "in.png", "--output", output, "--model", demo_q8_0()]).folder(&folder).ok();
    }
    assert_eq!(read_png(&folder.join("out.png")), (112, 112, pixels.clone()));
    let npy = fs::read(folder.join("out.npy")).unwrap();
    let (header, data) = npy.split_at(128);
    assert!(header.windows(24).any(|w| w == b"'shape': (3, 112, 112), "), "{}", String::from_utf8_lossy(header));
    // models/demo/preprocessor_config.json, the last two without digits that an f32 has no room for.
    let (mean, std) = ([0.48145466f32, 0.4578275, 0.40821073], [0.26862954f32, 0.261_302_6, 0.275_777_1]);
    for (i, value) in data.as_chunks::<4>().0.iter().enumerate() {
        let (channel, pixel) = (i / (112 * 112), i % (112 * 112));
        let expected = (f32::from(pixels[pixel * 3 + channel]) / 255.0 - mean[channel]) / std[channel];
        assert_eq!(f32::from_le_bytes(*value), expected);
    }
    assert_eq!(data.len(), 4 * 3 * 112 * 112);
}

#[test]
fn what_cannot_be_cropped_is_named() {
    let folder = scratch("no_crop");
    let refused = |picture: &str, output: &str, code| {
        edgeclip(&["preprocess", picture, "--output", output, "--model", demo_q8_0()]).folder(&folder).refused(code)
    };
    assert_eq!(refused("none.png", "out.png", 1), "none.png: no such file; check the path");
    assert_eq!(refused(&picture("cat"), "out.jpg", 2), "out.jpg: expected a name that ends with .png or .npy");
    assert!(refused("..", "out.png", 2).contains("expected one picture, found"));
    assert_eq!(files(&folder), [""; 0]);
}
