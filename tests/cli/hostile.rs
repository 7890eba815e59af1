//! Broken and hostile files: always one clear line and an exit code, never a panic, an abort or a wrong vector.

use std::{fs, path::Path};

use edgeclip_gguf::{File, TensorType};

use crate::support::*;

/// A GGUF header in bytes: counts, then keys and tensors as they are given.
fn gguf(tensor_count: u64, key_count: u64, rest: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = [b"GGUF", &3u32.to_le_bytes()[..], &tensor_count.to_le_bytes(), &key_count.to_le_bytes()].concat();
    bytes.extend(rest.concat());
    bytes
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

fn key(name: &str, ty: u32, value: &[u8]) -> Vec<u8> {
    [&string(name), &ty.to_le_bytes()[..], value].concat()
}

/// An f32 tensor of one dimension.
fn tensor(name: &str, len: u64, offset: u64) -> Vec<u8> {
    [&string(name), &1u32.to_le_bytes()[..], &len.to_le_bytes(), &0u32.to_le_bytes(), &offset.to_le_bytes()].concat()
}

/// The header, padded to 32, and so many bytes of data.
fn with_data(mut header: Vec<u8>, data: usize) -> Vec<u8> {
    header.resize(header.len().next_multiple_of(32) + data, 0);
    header
}

/// Writes the file and lets both commands that open models refuse it, with the same message.
fn refused(folder: &Path, bytes: &[u8]) -> String {
    let path = folder.join("bad.gguf").display().to_string();
    fs::write(&path, bytes).unwrap();
    let message = edgeclip(&["info", &path]).refused(2);
    assert_eq!(edgeclip(&["encode", "text", "a", "--model", &path]).refused(2), message);
    message.strip_prefix(&format!("{path}: ")).unwrap_or_else(|| panic!("the file is not named: {message}")).to_owned()
}

#[test]
fn truncated_models() {
    let path = scratch("truncated").join("cut.gguf").display().to_string();
    let whole = fs::read(small()).unwrap();
    let file = File::open(small()).unwrap();
    let last = file.tensors().last().unwrap();
    // What follows is padding, which may be missing.
    let end = (file.data_start() + last.offset + last.bytes.unwrap()) as usize;
    // Half of them in the header, where each byte means something else.
    let header = file.data_start() as usize;
    let offsets: Vec<usize> =
        (0..100).map(|i| i * header / 100).chain((1..=100).map(|i| header + i * (end - header) / 100 - 1)).collect();
    assert_eq!(offsets.len(), 200);
    for offset in offsets {
        fs::write(&path, &whole[..offset]).unwrap();
        let message = edgeclip(&["encode", "text", "a", "--model", &path]).refused(2);
        assert!(message.starts_with(&format!("{path}: ")), "{offset}: {message}");
    }
    fs::write(&path, &whole[..end]).unwrap();
    edgeclip(&["encode", "text", "a", "--model", &path]).ok();
}

#[test]
fn counts_and_lengths_of_2_to_the_60() {
    let folder = scratch("huge_counts");
    let huge = 1u64 << 60;
    let long = |ty: u32, rest: &[u8]| gguf(0, 1, &[key("a", ty, rest)]);
    for (what, bytes) in [
        ("tensors", gguf(huge, 0, &[])),
        ("keys", gguf(0, huge, &[])),
        ("length of a key", gguf(0, 1, &[huge.to_le_bytes().to_vec(), vec![0; 32]])),
        ("length of a string", long(8, &huge.to_le_bytes())),
        ("items of an array", long(9, &[&4u32.to_le_bytes()[..], &huge.to_le_bytes()].concat())),
        ("strings of an array", long(9, &[&8u32.to_le_bytes()[..], &huge.to_le_bytes()].concat())),
        ("elements of a tensor", with_data(gguf(1, 0, &[tensor("a", huge, 0)]), 64)),
        ("offset of a tensor", with_data(gguf(1, 0, &[tensor("a", 8, huge)]), 64)),
    ] {
        let message = refused(&folder, &bytes);
        assert!(message.contains("1152921504606846976") || message.contains("4611686018427387"), "{what}: {message}");
    }
}

#[test]
fn containers_that_contradict_themselves() {
    let folder = scratch("contradictions");
    for (bytes, parts) in [
        (gguf(0, 1, &[key("general.alignment", 4, &24u32.to_le_bytes())]), ["general.alignment", "24"]),
        (with_data(gguf(1, 0, &[tensor("a", 8, 8)]), 64), ["tensor a", "8"]),
        // The second starts inside the first.
        (with_data(gguf(2, 0, &[tensor("a", 16, 0), tensor("b", 8, 32)]), 64), ["tensor b", "64"]),
        (with_data(gguf(2, 0, &[tensor("a", 8, 0), tensor("a", 8, 32)]), 64), ["tensor a", "twice"]),
        (gguf(0, 2, &[key("k", 0, &[1]), key("k", 0, &[2])]), ["key k", "twice"]),
    ] {
        let message = refused(&folder, &bytes);
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }
}

#[test]
fn types_of_tomorrow_are_listed() {
    let path = scratch("tomorrow").join("new.gguf").display().to_string();
    let mut unknown = tensor("a", 8, 0);
    let ty = unknown.len() - 12;
    unknown[ty..ty + 4].copy_from_slice(&7777u32.to_le_bytes());
    fs::write(&path, with_data(gguf(1, 0, &[unknown]), 32)).unwrap();
    let text = edgeclip(&["info", &path, "--tensors"]).ok();
    assert!(text.contains("type 7777") && text.contains("unknown size"), "{text}");
    // Its extent is unknown, so it cannot be hashed.
    assert_eq!(edgeclip(&["info", &path, "--verify"]).run().code, Some(1));
}

/// The position in the file of a tensor's first byte, its type, and the file's bytes.
fn tensor_of(model: &str, name: &str) -> (usize, TensorType, Vec<u8>) {
    let file = File::open(model).unwrap();
    let info = file.tensor(name).unwrap();
    ((file.data_start() + info.offset) as usize, info.ty, fs::read(model).unwrap())
}

#[test]
fn a_model_with_nan_gives_no_vector() {
    let folder = scratch("nan_model");
    let path = folder.join("nan.gguf").display().to_string();
    let cat = picture("cat");
    // One f32, and one block's scale, which is an f16.
    for (model, name, ty, nan) in [
        (demo_f32(), "v.post_ln.weight", TensorType::F32, &f32::NAN.to_le_bytes()[..]),
        (demo_f32(), "v.blk.2.ffn_up.weight", TensorType::F32, &f32::NAN.to_le_bytes()),
        (demo_q8_0(), "v.blk.2.ffn_up.weight", TensorType::Q8_0, &[0x00, 0x7e]),
    ] {
        let (at, found, mut bytes) = tensor_of(model, name);
        assert_eq!(found, ty);
        bytes[at..at + nan.len()].copy_from_slice(nan);
        fs::write(&path, bytes).unwrap();
        for arguments in
            [&["encode", "image", &cat][..], &["classify", &cat, "--labels", "a cat"], &["similarity", "--image", &cat]]
        {
            let message = edgeclip(&[arguments, &["--model", &path]].concat()).refused(2);
            assert!(message.contains("not finite") && message.starts_with(&path), "{message}");
        }
        // The other encoder is not affected.
        edgeclip(&["encode", "text", "a cat", "--model", &path]).ok();
    }
}

/// A token whose row of the table overflows: texts with it are named, the others encoded.
#[test]
fn a_text_without_a_finite_vector_is_only_itself_an_error() {
    let folder = scratch("nan_text");
    let ids = json_lines(&edgeclip(&["tokenize", "dog", "--format", "jsonl", "--model", demo_f32()]).ok());
    let dog = ids[0]["ids"][1].as_u64().unwrap() as usize;
    let width = File::open(demo_f32()).unwrap().tensor("t.token_embd.weight").unwrap().dims[0] as usize;
    let path = with_values(demo_f32(), "t.token_embd.weight", &[(dog * width, f32::NAN)], &folder.join("nan.gguf"));
    let texts = ["a cat", "a dog", "a house", "my dog"];
    let arguments = [&["encode", "text"], &texts[..], &["--model", &path]].concat();
    for batch in ["1", "3", "32"] {
        let done = edgeclip(&[&arguments[..], &["--batch", batch]].concat()).run();
        let inputs: Vec<_> = json_lines(&done.text()).iter().map(|record| record["input"].clone()).collect();
        assert_eq!((done.code, inputs), (Some(1), vec!["a cat".into(), "a house".into()]), "{}", done.stderr);
        let lines: Vec<&str> = done.stderr.lines().collect();
        assert_eq!(lines.len(), 3, "{}", done.stderr);
        for (line, text) in lines.iter().zip(["a dog", "my dog"]) {
            assert!(line.starts_with(&format!("error: text \"{text}\": its vector is not finite: ")), "{line}");
        }
    }
    let message = edgeclip(&[&arguments[..], &["--strict", "--batch", "1"]].concat()).run();
    assert_eq!((message.code, message.stderr.lines().count()), (Some(1), 1));
    // All labels are needed for a probability, so this is an error of the whole, but with a name.
    let labels = ["classify", &picture("cat"), "--labels", "cat", "dog", "--template", "a {}", "--model", &path];
    assert!(edgeclip(&labels).refused(2).starts_with("label \"dog\": its vector is not finite: "));
    // And where everything is broken, that is said of the model, once.
    let start = json_lines(&edgeclip(&["tokenize", "", "--format", "jsonl", "--model", demo_f32()]).ok());
    let start = start[0]["ids"][0].as_u64().unwrap() as usize;
    let path = with_values(demo_f32(), "t.token_embd.weight", &[(start * width, f32::NAN)], &folder.join("broken.gguf"));
    for arguments in [&["encode", "text", "a", "b"][..], &["classify", &picture("cat"), "--labels", "a", "b"]] {
        let message = edgeclip(&[arguments, &["--model", &path]].concat()).refused(2);
        assert!(message.starts_with(&path), "{message}");
    }
}

/// A weight of the patch kernel so large that bright pixels overflow.
#[test]
fn a_picture_without_a_finite_vector_is_only_itself_an_error() {
    let folder = scratch("nan_picture");
    let path = with_values(demo_f32(), "v.patch_embd.weight", &[(0, 2.9e38)], &folder.join("overflow.gguf"));
    let grey = |name: &str, value: u8| {
        let mut encoder = png::Encoder::new(fs::File::create(folder.join(name)).unwrap(), 112, 112);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.write_header().unwrap().write_image_data(&[value; 112 * 112]).unwrap();
    };
    for (name, value) in [("dark.png", 120), ("white.png", 255), ("middle.png", 125)] {
        grey(name, value);
    }
    let arguments = ["encode", "image", "dark.png", "white.png", "middle.png", "--model", &path];
    let done = edgeclip(&arguments).folder(&folder).run();
    let inputs: Vec<_> = json_lines(&done.text()).iter().map(|record| record["input"].clone()).collect();
    assert_eq!((done.code, inputs), (Some(1), vec!["dark.png".into(), "middle.png".into()]), "{}", done.stderr);
    assert!(done.stderr.starts_with("error: white.png: its vector is not finite: "), "{}", done.stderr);
    assert_eq!(done.stderr.lines().count(), 2, "{}", done.stderr);
}

#[test]
fn pictures_that_are_none() {
    let folder = scratch("no_pictures");
    fs::write(folder.join("text.png"), "GIF is a format, and this a text").unwrap();
    fs::write(folder.join("empty.png"), "").unwrap();
    // A header of 10.8 GB of pixels, and nothing else.
    let mut huge = Vec::new();
    png::Encoder::new(&mut huge, 60_000, 60_000).write_header().unwrap();
    fs::write(folder.join("huge.png"), huge).unwrap();
    let mut cut = fs::read(picture("cat")).unwrap();
    cut.truncate(cut.len() / 2);
    fs::write(folder.join("cut.png"), cut).unwrap();
    for (name, part) in [
        ("text.png", "not a picture: expected PNG, JPEG, WebP, GIF, BMP or TIFF, found bytes \"GIF is a\""),
        ("empty.png", "not a picture: the file is empty"),
        ("huge.png", "picture of 60000 x 60000 pixels is over the limit of 178956970 pixels; raise it with --max-pixels"),
        ("cut.png", "damaged PNG picture: "),
        (".", "text.png: not a picture"),
    ] {
        let message =
            edgeclip(&["encode", "image", name, "--strict", "--batch", "1", "--model", demo_q8_0()]).folder(&folder).run();
        assert_eq!(message.code, Some(1), "{name}");
        if name != "." {
            assert!(message.stderr.starts_with(&format!("error: {name}: {part}")), "{}", message.stderr);
        }
        assert_eq!(message.stderr.lines().count(), 1, "{}", message.stderr);
        assert_eq!(message.text(), "");
    }
}

/// A copy of a small checkpoint with one file changed, and what `convert` says to it.
fn convert_refused(test: &str, file: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> String {
    let folder = scratch(test);
    let checkpoint = folder.join("checkpoint");
    fs::create_dir(&checkpoint).unwrap();
    for entry in fs::read_dir(root().join("tests/data/odd-f16")).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), checkpoint.join(entry.file_name())).unwrap();
    }
    let path = checkpoint.join(file);
    fs::write(&path, change(fs::read(&path).unwrap())).unwrap();
    let message = edgeclip(&["convert", "checkpoint", "--output", "out.gguf"]).folder(&folder).refused(2);
    assert_eq!(files(&folder), ["checkpoint"], "nothing is left behind");
    assert!(message.starts_with("checkpoint"), "{message}");
    message
}

/// The header of a safetensors file as text, and the data.
fn split(bytes: &[u8]) -> (String, Vec<u8>) {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (String::from_utf8(bytes[8..8 + length].to_vec()).unwrap(), bytes[8 + length..].to_vec())
}

fn join(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// The begin and end of a tensor's data.
fn place(header: &str, name: &str) -> (usize, usize) {
    let header: serde_json::Value = serde_json::from_str(header).unwrap();
    let at = |i: usize| header[name]["data_offsets"][i].as_u64().unwrap() as usize;
    (at(0), at(1))
}

#[test]
fn a_checkpoint_with_nan_is_refused_by_tensor() {
    let name = "vision_model.encoder.layers.1.mlp.fc1.weight";
    let message = convert_refused("nan_checkpoint", "model.safetensors", |bytes| {
        let (header, mut data) = split(&bytes);
        let at = place(&header, name).0 + 2 * 5;
        data[at..at + 2].copy_from_slice(&[0x00, 0x7e]);
        join(&header, &data)
    });
    assert!(message.contains(name) && message.contains("NaN at index 5"), "{message}");
}

#[test]
fn safetensors_with_overlapping_tensors() {
    let (bias, gain) = ("text_model.final_layer_norm.bias", "text_model.final_layer_norm.weight");
    let message = convert_refused("overlap", "model.safetensors", |bytes| {
        let (header, data) = split(&bytes);
        let [bias, gain] = [bias, gain].map(|name| place(&header, name));
        let [bias, gain] = [bias, gain].map(|(start, end)| format!("\"data_offsets\":[{start},{end}]"));
        assert!(header.contains(&gain), "{gain}");
        join(&header.replace(&gain, &bias), &data)
    });
    assert!(message.contains("model.safetensors"), "{message}");
}

#[test]
fn safetensors_with_a_header_of_2_to_the_63() {
    let message = convert_refused("huge_header", "model.safetensors", |mut bytes| {
        bytes[..8].copy_from_slice(&(1u64 << 63).to_le_bytes());
        bytes
    });
    assert!(message.contains("model.safetensors") && message.contains("header"), "{message}");
}

#[test]
fn safetensors_that_are_cut_or_empty() {
    for (test, length) in [("cut_7", 7), ("cut_1000", 1000), ("cut_all", 0)] {
        let message = convert_refused(test, "model.safetensors", |mut bytes| {
            bytes.truncate(length);
            bytes
        });
        assert!(message.contains("model.safetensors"), "{message}");
    }
}

#[test]
fn configurations_with_absurd_sizes() {
    for (i, (from, to)) in [
        ("\"hidden_size\": 72", "\"hidden_size\": 1099511627776"),
        ("\"hidden_size\": 72", "\"hidden_size\": -72"),
        ("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 18446744073709551615"),
        ("\"image_size\": 98", "\"image_size\": 4294967296"),
        ("\"patch_size\": 14", "\"patch_size\": 0"),
        ("\"num_attention_heads\": 3", "\"num_attention_heads\": 0"),
        ("\"vocab_size\": 614", "\"vocab_size\": 1e300"),
        ("\"intermediate_size\": 100", "\"intermediate_size\": \"many\""),
    ]
    .into_iter()
    .enumerate()
    {
        let message = convert_refused(&format!("absurd_{i}"), "config.json", |bytes| {
            let text = String::from_utf8(bytes).unwrap();
            assert!(text.contains(from), "{from}");
            text.replace(from, to).into_bytes()
        });
        assert!(message.starts_with("checkpoint/config.json: ") && message.contains("expected"), "{to}: {message}");
    }
}

#[test]
fn configurations_that_are_no_json() {
    for (i, text) in ["", "[]", "{", "null", "\u{0}"].into_iter().enumerate() {
        let message = convert_refused(&format!("no_json_{i}"), "config.json", |_| text.into());
        assert!(message.contains("config.json"), "{message}");
    }
    // As deep as the parser's stack would be.
    let message = convert_refused("deep_json", "config.json", |_| "[".repeat(100_000).into_bytes());
    assert!(message.contains("config.json"), "{message}");
}

/// Nobody ever writes into the pipe.
#[cfg(unix)]
#[test]
fn pipes_in_folders_are_left_out() {
    let folder = scratch("pipes-in-folders");
    fs::copy(root().join("models/demo/pictures/cat.png"), folder.join("cat.png")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(folder.join("dog.png")).status().unwrap().success());
    let folder = folder.display().to_string();
    let records = json_lines(&edgeclip(&["encode", "image", &folder, "--model", small()]).ok());
    assert_eq!(records.len(), 1);
}

#[test]
fn absurd_numbers_of_threads_are_refused() {
    for threads in ["100000", "18446744073709551615"] {
        let done = edgeclip(&["tokenize", "a", "--model", small(), "--threads", threads]).run();
        assert_eq!(done.code, Some(2));
        assert!(done.stderr.contains("--threads"), "{}", done.stderr);
    }
}
