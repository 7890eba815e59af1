//! Every checkpoint that is refused: with one line that names the file and the thing, and nothing left behind.

mod support;

use std::fs;

use edgeclip_convert::{Options, Target, convert};
use safetensors::Dtype;
use serde_json::json;
use support::{Copy, checkpoint, unchecked};

const K_PROJ: &str = "text_model.encoder.layers.0.self_attn.k_proj.weight";

const NO_WEIGHTS: &str = "expected a checkpoint, but the folder holds no weights (model.safetensors, pytorch_model.bin, \
     open_clip_model.safetensors, open_clip_pytorch_model.bin, their indices, or a single .pt, .pth or .gguf)";

#[test]
fn what_is_no_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let refusal = |name: &str| {
        let output = folder.path().join("m.gguf");
        let error = convert(&folder.path().join(name), &output, &Options::default(), &()).unwrap_err();
        assert!(!output.exists());
        error.to_string().replace(folder.path().to_str().unwrap(), "{}")
    };
    // What follows is the system's own.
    let message = refusal("nothing");
    assert!(message.starts_with("{}/nothing: cannot open it: "), "{message}");
    for (name, content, found) in [
        ("notes.txt", &b"x"[..], "found bytes \"x\"; is it a checkpoint, and whole?"),
        ("page.pt", b"<!DOCTYPE html>", "found bytes \"<!DOCTYP\"; is it a checkpoint, and whole?"),
        ("model.safetensors", b"version 4", "found bytes \"version \"; is it a checkpoint, and whole?"),
    ] {
        fs::write(folder.path().join(name), content).unwrap();
        assert_eq!(refusal(name), format!("{{}}/{name}: expected safetensors, a PyTorch file or GGUF, {found}"));
    }
    fs::write(folder.path().join("pointer.bin"), "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 605157884\n")
        .unwrap();
    assert_eq!(
        refusal("pointer.bin"),
        "{}/pointer.bin: this is Git LFS's pointer to the weights; fetch them with `git lfs pull`, or download the file itself"
    );
    fs::write(folder.path().join("empty.pt"), "").unwrap();
    assert_eq!(refusal("empty.pt"), "{}/empty.pt: the file is empty; get it again");
    fs::create_dir(folder.path().join("empty")).unwrap();
    assert_eq!(refusal("empty"), format!("{{}}/empty: {NO_WEIGHTS}"));
    fs::write(folder.path().join("empty/model.onnx"), "x").unwrap();
    assert_eq!(
        refusal("empty"),
        "{}/empty: the folder holds no weights that can be read, only model.onnx; take the safetensors or PyTorch files of this model"
    );
    fs::write(folder.path().join("empty/a.pt"), "x").unwrap();
    fs::write(folder.path().join("empty/b.pth"), "x").unwrap();
    assert_eq!(refusal("empty"), "{}/empty: which of these is it: a.pt, b.pth? give the path of one file");
}

#[test]
fn files_that_are_missing() {
    let copy = Copy::of("odd-f16").remove("model.safetensors");
    assert_eq!(copy.refusal(), format!("{{}}: {NO_WEIGHTS}"));
    assert_eq!(
        Copy::of("odd-f16").remove("config.json").refusal(),
        "{}: expected a Hugging Face CLIP folder, but it holds no config.json"
    );
    assert_eq!(
        Copy::of("odd-f16").remove("vocab.json").refusal(),
        "{}: expected a Hugging Face CLIP folder, but it holds no vocab.json (or tokenizer.json)"
    );
    assert_eq!(
        Copy::of("odd-f16").remove("merges.txt").refusal(),
        "{}: expected a Hugging Face CLIP folder, but it holds no merges.txt (or tokenizer.json)"
    );
    let message = Copy::of("odd-sharded").remove("model-00002-of-00003.safetensors").refusal();
    assert!(message.starts_with("{}/model-00002-of-00003.safetensors: cannot open it: "), "{message}");
}

#[test]
fn configurations() {
    let refusal = |edit: fn(&mut serde_json::Value)| Copy::of("odd-f16").config(edit).refusal();
    assert_eq!(
        refusal(|c| c["model_type"] = json!("siglip")),
        "{}/config.json: model_type is \"siglip\", but only \"clip\" can be converted; take a CLIP checkpoint"
    );
    assert_eq!(
        refusal(|c| c["text_config"]["hidden_size"] = json!("wide")),
        "{}/config.json: text_config.hidden_size: expected a whole number, found \"wide\""
    );
    assert_eq!(
        refusal(|c| c["text_config"]["hidden_size"] = json!(u64::MAX)),
        "{}/config.json: text_config.hidden_size: expected 1 to 16384, found 18446744073709551615"
    );
    assert_eq!(
        refusal(|c| c["vision_config"]["image_size"] = json!(1_000_000_000)),
        "{}/config.json: vision_config.image_size: expected 1 to 4096, found 1000000000"
    );
    assert_eq!(
        refusal(|c| c["vision_config"]["num_hidden_layers"] = json!(4_000_000)),
        "{}/config.json: vision_config.num_hidden_layers: expected 1 to 1024, found 4000000"
    );
    assert_eq!(
        refusal(|c| c["vision_config"]["num_attention_heads"] = json!(0)),
        "{}/config.json: vision_config.num_attention_heads: expected 1 to 64, found 0"
    );
    assert_eq!(
        refusal(|c| c["text_config"]["num_attention_heads"] = json!(5)),
        "{}/config.json: text_config.num_attention_heads: expected a divisor of the width 72, found 5"
    );
    assert_eq!(
        refusal(|c| c["vision_config"]["num_channels"] = json!(4)),
        "{}/config.json: vision_config.num_channels: expected 3, found 4"
    );
    assert_eq!(
        refusal(|c| c["vision_config"]["image_size"] = json!([98, 100])),
        "{}/config.json: vision_config.image_size: expected the side of a square, found [98,100]"
    );
    assert_eq!(
        refusal(|c| c["text_config"]["hidden_act"] = json!("swish\u{1b}[31m")),
        "{}/config.json: text_config.hidden_act: expected quick_gelu, gelu, gelu_pytorch_tanh or gelu_new, found \"swish\\u{1b}[31m\""
    );
    assert_eq!(
        refusal(|c| c["text_config"]["eos_token_id"] = json!(49407)),
        "{}/config.json: text_config.eos_token_id: expected 613, the id of the tokenizer's end token, or 2 (pooling by the largest id), \
         found 49407"
    );
    assert_eq!(refusal(|c| c["text_config"] = json!(7)), "{}/config.json: text_config: expected an object, found 7");
    assert_eq!(
        Copy::of("odd-f16").write("config.json", "{").refusal(),
        "{}/config.json: not the JSON it should be: EOF while parsing an object at line 1 column 1"
    );
    assert_eq!(
        Copy::of("odd-f16").write("config.json", " ".repeat((1 << 20) + 1)).refusal(),
        "{}/config.json: expected at most 1048576 bytes, found 1048577; is it the right file?"
    );
    // Deep nesting neither overflows the stack nor takes long.
    assert_eq!(
        Copy::of("odd-f16").write("config.json", "[".repeat(1 << 20)).refusal(),
        "{}/config.json: not the JSON it should be: invalid type: sequence, expected a map at line 1 column 0"
    );
}

#[test]
fn preprocessing() {
    let refusal = |edit: fn(&mut serde_json::Value)| Copy::of("odd-f16").edit("preprocessor_config.json", edit).refusal();
    let file = "{}/preprocessor_config.json: ";
    assert_eq!(
        refusal(|c| c["size"] = json!({"shortest_edge": 256})),
        format!("{file}size: expected 98, the image_size of config.json, found 256")
    );
    assert_eq!(
        refusal(|c| c["crop_size"] = json!(224)),
        format!("{file}crop_size: expected 98, the image_size of config.json, found 224")
    );
    assert_eq!(
        refusal(|c| c["size"] = json!({"longest_edge": 98})),
        format!("{file}size: expected a number, shortest_edge, or height and width of a square, found {{\"longest_edge\":98}}")
    );
    assert_eq!(
        refusal(|c| c["do_center_crop"] = json!(false)),
        format!("{file}do_center_crop: expected true, or a size of height and width: the input has to be square, found false")
    );
    assert_eq!(refusal(|c| c["do_resize"] = json!(false)), format!("{file}do_resize: expected true, found false"));
    assert_eq!(refusal(|c| c["rescale_factor"] = json!(1.0)), format!("{file}rescale_factor: expected 1/255, found 1.0"));
    assert_eq!(
        refusal(|c| c["resample"] = json!(9)),
        format!("{file}resample: expected 0 to 5, the number of a Pillow filter, found 9")
    );
    assert_eq!(refusal(|c| c["image_mean"] = json!([0.5])), format!("{file}image_mean: expected three numbers, found [0.5]"));
    assert!(
        refusal(|c| c["image_std"] = json!([1, 0, 1])).starts_with(&format!("{file}image_std: expected usable preprocessing"))
    );
}

#[test]
fn vocabularies() {
    let vocab = |edit: fn(&mut serde_json::Value)| Copy::of("odd-f16").edit("vocab.json", edit).refusal();
    assert_eq!(
        Copy::of("odd-f16").config(|c| c["text_config"]["vocab_size"] = json!(700)).refusal(),
        "{}/vocab.json: expected 700 tokens, the vocab_size of config.json, found 614"
    );
    assert_eq!(
        vocab(|v| v["!"] = json!(4_000_000_000u64)),
        "{}/vocab.json: token \"!\" has the id 4000000000, but there are only 614 tokens"
    );
    assert!(vocab(|v| v["!"] = json!(1)).starts_with("{}/vocab.json: two tokens have the id 1; one is "));
    assert!(vocab(|v| v["!"] = json!(-1)).starts_with("{}/vocab.json: not the JSON it should be: invalid value: integer `-1`"));
    assert_eq!(
        Copy::of("odd-f16").edit("tokenizer_config.json", |c| c["eos_token"] = json!("</s>")).refusal(),
        "{}/vocab.json: the vocabulary has no token \"</s>\", which starts or ends every text"
    );
    let merges = fs::read_to_string(checkpoint("odd-f16").join("merges.txt")).unwrap();
    let message = Copy::of("odd-f16").write("merges.txt", merges + "no such\n").refusal();
    assert!(message.starts_with("{}/vocab.json: merge 100 of the vocabulary, \"no such\", needs \"such\""), "{message}");
    assert_eq!(
        Copy::of("odd-f16").write("merges.txt", b"\xff\xfe").refusal(),
        "{}/merges.txt: expected UTF-8, found other bytes"
    );
}

#[test]
fn tensors() {
    let copy = Copy::of("odd-f16").tensors(|all| all.retain(|raw| raw.name != K_PROJ));
    assert_eq!(
        copy.refusal(),
        format!(
            "{{}}/model.safetensors: 1 tensor is missing: {K_PROJ}; are all files of the checkpoint there, and is config.json its own?"
        )
    );
    let copy =
        Copy::of("odd-f16").tensors(|all| all.retain(|raw| !raw.name.starts_with("text_model.encoder.layers.0.self_attn.")));
    assert_eq!(
        copy.refusal(),
        "{}/model.safetensors: 8 tensors are missing: text_model.encoder.layers.0.self_attn.q_proj.weight, \
         text_model.encoder.layers.0.self_attn.q_proj.bias, text_model.encoder.layers.0.self_attn.k_proj.weight, \
         text_model.encoder.layers.0.self_attn.k_proj.bias, text_model.encoder.layers.0.self_attn.v_proj.weight and 3 more; \
         are all files of the checkpoint there, and is config.json its own?"
    );
    let copy = Copy::of("odd-f16").tensors(|all| {
        let template = all.iter().find(|raw| raw.name == "logit_scale").unwrap().clone();
        all.extend(["z.lora", "evil\u{1b}[2J"].map(|name| support::Raw { name: name.into(), ..template.clone() }));
    });
    assert_eq!(
        copy.refusal(),
        "{}/model.safetensors: 2 tensors are no part of the model that config.json describes: evil\\u{1b}[2J, z.lora; is config.json that of \
         these weights?"
    );
    let copy = Copy::of("odd-f16").tensor(K_PROJ, |raw| raw.shape = vec![36, 144]);
    assert_eq!(
        copy.refusal(),
        format!(
            "{{}}/model.safetensors: tensor {K_PROJ}: expected the shape [72, 72], as config.json has it, found [36, 144]; is config.json that of these weights?"
        )
    );
    let copy = Copy::of("odd-f16").tensor(K_PROJ, |raw| raw.dtype = Dtype::I16);
    assert_eq!(
        copy.refusal(),
        format!("{{}}/model.safetensors: tensor {K_PROJ}: expected F32, F16 or BF16, found I16; save it as one of these")
    );
    let copy = Copy::of("odd-f16").tensor("logit_scale", |raw| raw.set(0, f32::INFINITY));
    assert_eq!(
        copy.refusal(),
        "{}/model.safetensors: tensor logit_scale: expected finite values, found inf at index 0; the checkpoint is damaged, get it again"
    );
}

#[test]
fn one_value_that_is_not_finite() {
    for (model, value, shown) in
        [("odd-f16", f32::NAN, "NaN"), ("odd-ids", f32::NAN, "NaN"), ("odd-ids", f32::NEG_INFINITY, "-inf")]
    {
        let mut last = 0;
        let copy = Copy::of(model).tensor("vision_model.embeddings.patch_embedding.weight", |raw| {
            last = raw.shape.iter().product::<usize>() - 1;
            raw.set(last, value);
        });
        assert_eq!(
            copy.refusal(),
            format!(
                "{{}}/model.safetensors: tensor vision_model.embeddings.patch_embedding.weight: expected finite values, found {shown} at \
                 index {last}; the checkpoint is damaged, get it again"
            )
        );
    }
}

/// A safetensors file of this header and so many bytes of data.
fn safetensors(header: &str, data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; data]].concat()
}

#[test]
fn hostile_safetensors() {
    let refusal = |bytes: &[u8]| {
        let message = Copy::of("odd-f16").write("model.safetensors", bytes).refusal();
        message.strip_prefix("{}/model.safetensors: ").unwrap_or_else(|| panic!("no file in: {message}")).to_owned()
    };
    assert_eq!(refusal(b""), "the file is empty; get it again");
    assert_eq!(
        refusal(&(1u64 << 63).to_le_bytes()),
        "not a safetensors file: expected a header of at most 16777216 bytes, found 9223372036854775808"
    );
    assert_eq!(refusal(&1000u64.to_le_bytes()), "truncated: expected a header of 1000 bytes, found 0; download it again");
    assert_eq!(refusal(&safetensors("{\"a", 0)), "the header is unusable: EOF while parsing a string at line 1 column 3");
    let tensor = |name: &str, dtype: &str, shape: &str, start: u64, end: u64| {
        format!("\"{name}\":{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":[{start},{end}]}}")
    };
    let two = |a: String, b: String| format!("{{{a},{b}}}");
    assert_eq!(
        refusal(&safetensors(&two(tensor("a", "F32", "[4]", 0, 16), tensor("b", "F32", "[4]", 8, 24)), 24)),
        "tensor b: its data overlap others or leave a gap before them"
    );
    assert_eq!(
        refusal(&safetensors(&format!("{{{}}}", tensor("a", "F32", "[5]", 0, 16)), 16)),
        "a tensor's size is not that of its shape and type"
    );
    assert_eq!(
        refusal(&safetensors(&format!("{{{}}}", tensor("a", "F32", "[4294967296,4294967296,16]", 0, 16)), 16)),
        "a tensor's shape is too large for any file"
    );
    assert_eq!(
        refusal(&safetensors(&format!("{{{}}}", tensor("a", "F32", "[4]", 0, 16)), 12)),
        "truncated: expected 16 bytes of tensors, found 12; download it again"
    );
    assert_eq!(
        refusal(&safetensors(&format!("{{{}}}", tensor("a", "F32", "[4]", 0, 16)), 17)),
        "bytes follow the last tensor: expected 16 bytes of tensors, found 17; download it again"
    );
    // Eight tensors of 2^61 bytes less a little: the end of the last is near 2^64, where adding the header's length overflows.
    let size = (1u64 << 61) - 1;
    let many: Vec<String> =
        (0..8).map(|i| tensor(&format!("t{i}"), "U8", &format!("[{size}]"), i * size, (i + 1) * size)).collect();
    assert_eq!(
        refusal(&safetensors(&format!("{{{}}}", many.join(",")), 0)),
        format!("truncated: expected {} bytes of tensors, found 0; download it again", 8 * size)
    );
}

#[test]
fn truncated_and_mutated_weights_never_panic() {
    let copy = Copy::of("odd-bf16");
    let whole = fs::read(copy.file("model.safetensors")).unwrap();
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    for end in (0..header).step_by(97).chain((header..whole.len()).step_by(20_011)) {
        fs::write(copy.file("model.safetensors"), &whole[..end]).unwrap();
        assert!(copy.convert(&unchecked(Target::F16)).is_err(), "cut at {end}");
    }
    // A small multiplicative generator (Knuth's MMIX constants).
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    for _ in 0..60 {
        let mut bytes = whole.clone();
        bytes[random() % header] = random() as u8;
        fs::write(copy.file("model.safetensors"), &bytes).unwrap();
        // Either verdict is fine.
        let _ = copy.convert(&unchecked(Target::F16));
    }
}

#[test]
fn indices() {
    let refusal = |edit: fn(&mut serde_json::Value)| {
        let message = Copy::of("odd-sharded").edit("model.safetensors.index.json", edit).refusal();
        message.strip_prefix("{}/model.safetensors.index.json: ").unwrap_or_else(|| panic!("no file in: {message}")).to_owned()
    };
    for name in ["../secret.safetensors", "/etc/passwd", "sub/model.safetensors", "..\\x.safetensors", ".safetensors", ""] {
        let copy = Copy::of("odd-sharded")
            .edit("model.safetensors.index.json", |index| index["weight_map"]["logit_scale"] = json!(name));
        let expected = format!("expected names of files in the same folder, found \"{name}\"");
        assert_eq!(copy.refusal(), format!("{{}}/model.safetensors.index.json: {expected}"));
    }
    assert_eq!(
        refusal(|index| index["weight_map"]["ghost"] = json!("model-00001-of-00003.safetensors")),
        "tensor ghost is not in model-00001-of-00003.safetensors, where the index has it"
    );
    assert!(refusal(|index| *index = json!({})).starts_with("not the JSON it should be: missing field `weight_map`"));
    let copy = Copy::of("odd-sharded");
    let copy = copy.edit("model.safetensors.index.json", |index| index["weight_map"]["x"] = json!("twice.safetensors"));
    fs::copy(copy.file("model-00003-of-00003.safetensors"), copy.file("twice.safetensors")).unwrap();
    let message = copy.refusal();
    assert!(message.ends_with(" is in two of its files"), "{message}");
}

#[test]
fn outputs() {
    let copy = Copy::of("odd-f16");
    let refusal = |output: &std::path::Path| {
        let error = convert(&copy.path(), output, &unchecked(Target::F16), &()).unwrap_err();
        error.to_string().replace(copy.path().to_str().unwrap(), "{}")
    };
    let before = fs::read(copy.file("model.safetensors")).unwrap();
    assert_eq!(
        refusal(&copy.file("model.safetensors")),
        "{}/model.safetensors: the output would overwrite a file of the checkpoint"
    );
    assert_eq!(refusal(&copy.file("config.json")), "{}/config.json: the output would overwrite a file of the checkpoint");
    assert_eq!(refusal(&copy.path()), "{}: the output has to be a file, this is a folder");
    assert_eq!(refusal(&copy.file("no/where.gguf")), "{}/no/where.gguf: the folder that it should go into does not exist");
    assert_eq!(fs::read(copy.file("model.safetensors")).unwrap(), before);
    convert(&copy.path(), &copy.file("m.gguf"), &unchecked(Target::F16), &()).unwrap();
}

/// Weights so large that f32 overflows on the way: the check says so instead of comparing infinities.
#[test]
fn a_source_that_overflows() {
    let copy = Copy::of("odd-ids").tensor("visual_projection.weight", |raw| (0..20).for_each(|i| raw.set(i, f32::MAX)));
    let message = copy.refusal_of(&Options { target: Target::F32, ..Options::default() });
    assert_eq!(
        message,
        "{}: the checkpoint itself is broken: its image encoder, computed in f32, gives a vector that is not finite for the probe \
         \"bicycle.png\"; get another checkpoint"
    );
}

/// Nobody ever writes into these pipes.
#[cfg(unix)]
#[test]
fn a_named_pipe_is_not_waited_for() {
    for name in ["config.json", "vocab.json", "preprocessor_config.json", "model.safetensors"] {
        let copy = Copy::of("odd-ids").remove(name);
        let made = std::process::Command::new("mkfifo").arg(copy.file(name)).status().unwrap();
        assert!(made.success());
        let message = copy.refusal();
        assert!(message.starts_with(&format!("{{}}/{name}: cannot ")), "{message}");
        assert!(message.ends_with("it is not a regular file"), "{message}");
    }
}
