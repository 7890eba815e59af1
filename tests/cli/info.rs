//! `edgeclip info`.

use std::fs;

use edgeclip_gguf::File;
use serde_json::Value;

use crate::support::*;

#[test]
fn a_model_is_described() {
    let text = edgeclip(&["info", demo_q8_0()]).ok();
    // models/demo/README.md and config.json.
    for part in [
        "8,777,216 parameters",
        "112 x 112 pixels in patches of 16 x 16; width 256, 5 blocks, 4 heads",
        "77 tokens of 8192",
        "q8_0",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(!text.contains("v.blk.0.attn_q.weight"));
    let tensors = edgeclip(&["info", "--tensors"]).env("EDGECLIP_MODEL", demo_q8_0()).ok();
    let row = tensors.lines().find(|line| line.contains("v.blk.0.ffn_down.weight")).unwrap();
    // 256 x 1024 in blocks of 32 values in 34 bytes.
    assert_eq!(
        row.split_whitespace().collect::<Vec<_>>(),
        ["v.blk.0.ffn_down.weight", "q8_0", "256", "x", "1024", "278.5", "kB"]
    );
}

#[test]
fn json_says_the_same() {
    let info: Value = serde_json::from_str(&edgeclip(&["info", demo_f32(), "--json", "--tensors"]).ok()).unwrap();
    assert_eq!((&info["clip"], &info["version"], &info["problem"]), (&true.into(), &3.into(), &Value::Null));
    assert_eq!(info["parameters"], 8_777_216);
    assert_eq!(info["types"]["f32"]["elements"], 8_777_216);
    assert_eq!(info["metadata"]["clip.text.context_length"], 77);
    assert_eq!(info["metadata"]["tokenizer.ggml.tokens"]["length"], 8192);
    assert_eq!(info["metadata"]["clip.vision.image_mean"][1].to_string(), "0.4578275");
    let tensors = info["tensors"].as_array().unwrap();
    let bytes: u64 = tensors.iter().map(|tensor| tensor["bytes"].as_u64().unwrap()).sum();
    assert_eq!(bytes, 4 * 8_777_216);
}

#[test]
fn a_flipped_bit_is_noticed() {
    let path = scratch("flipped").join("model.gguf");
    let mut bytes = fs::read(small()).unwrap();
    fs::write(&path, &bytes).unwrap();
    let path = path.display().to_string();
    assert!(edgeclip(&["info", &path, "--verify"]).ok().contains("match"));
    let file = File::open(&path).unwrap();
    let tensor = &file.tensors()[file.tensors().len() / 2];
    bytes[(file.data_start() + tensor.offset) as usize] ^= 1;
    drop(file);
    fs::write(&path, &bytes).unwrap();
    let done = edgeclip(&["info", &path, "--verify", "--json"]).run();
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.contains("the content id does not match: expected "), "{}", done.stderr);
    let info: Value = serde_json::from_str(&done.text()).unwrap();
    assert_eq!(info["verify"]["match"], false);
    assert_ne!(info["verify"]["stored"], info["verify"]["computed"]);
}

#[test]
fn without_a_file_the_error_says_what_to_do() {
    let message = edgeclip(&["info"]).refused(2);
    assert!(message.contains("edgeclip info model.gguf") && message.contains("EDGECLIP_MODEL"), "{message}");
}

/// Any GGUF file can be looked at.
#[test]
fn a_file_of_something_else_is_shown() {
    let other = root().join("crates/gguf/tests/data/all_values.gguf").display().to_string();
    let text = edgeclip(&["info", &other, "--tensors"]).ok();
    assert!(text.contains("not usable as a CLIP model"), "{text}");
    for tensor in File::open(&other).unwrap().tensors() {
        assert!(text.contains(&tensor.name), "{}", tensor.name);
    }
    let done = edgeclip(&["info", &other, "--verify"]).run();
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.contains("there is no edgeclip.content_id to verify"), "{}", done.stderr);
}
