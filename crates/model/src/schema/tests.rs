//! What is written is read back, files of clip.cpp are read with its meanings, and every senseless value is refused by its key.

use edgeclip_gguf::{Value, Writer};

use super::*;

/// A model with a value in every field that is not the default of its key.
fn config() -> Config {
    let tower = |width, heads, activation| TowerConfig { width, heads, layers: 2, mlp: 4 * width, eps: 1e-6, activation };
    Config {
        name: Some("test".into()),
        source: Some(Source { name: "folder".into(), sha256: "00ff".into() }),
        image: Some(ImageConfig {
            tower: tower(64, 2, Activation::GeluTanh),
            patch: 16,
            preprocessing: Spec {
                size: 50,
                resize: Resize::Squash,
                filter: Filter::Bilinear,
                crop: CropRule::Floor,
                mean: [0.1, 0.2, 0.3],
                std: [0.5, 0.25, 0.125],
            },
        }),
        text: Some(TextConfig {
            tower: tower(48, 3, Activation::Gelu),
            causal: false,
            pooling: TextPooling::Argmax,
            vocabulary: Vocabulary {
                tokens: Strings::from_iter(["a", "b</w>", "<|endoftext|>", "<|startoftext|>"]),
                merges: Some(Strings::from_iter(["a b</w>"])),
                start: 3,
                end: 2,
                pad: 1,
                context_length: 16,
                clean: Clean::Clip,
            },
        }),
        projection_dim: 24,
        logit_scale: 2.5,
        logit_bias: Some(-3.5),
    }
}

fn read(metadata: &Metadata) -> Result<Config, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    Writer::create(&path, metadata, &[]).unwrap().finish().unwrap();
    from_file(&File::open(&path).unwrap())
}

#[test]
fn what_is_written_is_read() {
    let both = config();
    assert_eq!(read(&to_metadata(&both)).unwrap(), both);
    let text = Config { image: None, source: None, name: None, logit_bias: None, ..config() };
    assert_eq!(read(&to_metadata(&text)).unwrap(), text);
    let image = Config { text: None, ..config() };
    assert_eq!(read(&to_metadata(&image)).unwrap(), image);
}

/// clip.cpp's writer (`convert_hf_to_gguf.py`) knows none of our additional keys; its runtime's fixed rules are the defaults.
#[test]
fn files_of_clip_cpp_are_read_with_its_rules() {
    let ours = to_metadata(&config());
    let theirs = [
        "general.architecture",
        "clip.has_text_encoder",
        "clip.has_vision_encoder",
        "general.description",
        "clip.text.context_length",
        "clip.text.embedding_length",
        "clip.text.feed_forward_length",
        "clip.text.projection_dim",
        "clip.text.attention.head_count",
        "clip.text.attention.layer_norm_epsilon",
        "clip.text.block_count",
        "tokenizer.ggml.tokens",
        "clip.vision.image_size",
        "clip.vision.patch_size",
        "clip.vision.embedding_length",
        "clip.vision.feed_forward_length",
        "clip.vision.projection_dim",
        "clip.vision.attention.head_count",
        "clip.vision.attention.layer_norm_epsilon",
        "clip.vision.block_count",
        "clip.vision.image_mean",
        "clip.vision.image_std",
    ];
    for (gelu, activation) in [(false, Activation::QuickGelu), (true, Activation::Gelu)] {
        let mut metadata = Metadata::new();
        for key in theirs {
            metadata.insert(key, ours.get(key).unwrap_or_else(|| panic!("we write no {key}")).clone());
        }
        metadata.insert("clip.use_gelu", gelu);
        let read = read(&metadata).unwrap();
        let (text, image) = (read.text.unwrap(), read.image.unwrap());
        assert_eq!((text.tower.activation, image.tower.activation), (activation, activation));
        assert_eq!((text.causal, text.pooling), (true, TextPooling::End));
        assert_eq!((text.vocabulary.start, text.vocabulary.end, text.vocabulary.pad), (3, 2, 0));
        assert_eq!((text.vocabulary.merges, text.vocabulary.clean), (None, Clean::Clip));
        let spec = &image.preprocessing;
        assert_eq!((spec.resize, spec.filter, spec.crop), (Resize::ShortestEdge, Filter::Bicubic, CropRule::RoundHalfEven));
        assert_eq!((read.logit_scale, read.logit_bias, read.name), (100f32.ln(), None, None));
    }
}

#[test]
fn senseless_values_are_refused_by_their_key() {
    let long = |n: usize| Value::from(vec![0.5f32; n]);
    let cases: Vec<(&str, Value, &str)> = vec![
        ("general.architecture", "llama".into(), "expected clip, found \"llama\""),
        ("edgeclip.schema_version", 2u32.into(), "expected 1 or lower (is there a newer edgeclip?), found 2"),
        ("clip.text.embedding_length", 0u32.into(), "expected 1 to 16384, found 0"),
        ("clip.vision.embedding_length", u32::MAX.into(), "expected 1 to 16384, found 4294967295"),
        ("clip.text.feed_forward_length", (1u32 << 18).into(), "expected 1 to 131072, found 262144"),
        ("clip.text.block_count", 0u32.into(), "expected 1 to 1024, found 0"),
        ("clip.vision.attention.head_count", 0u32.into(), "expected 1 to 64, found 0"),
        ("clip.text.attention.head_count", 5u32.into(), "expected a divisor of the width 48, found 5"),
        ("clip.text.attention.layer_norm_epsilon", f32::NAN.into(), "expected above 0 and below 1, found NaN"),
        ("clip.vision.attention.layer_norm_epsilon", 0f32.into(), "expected above 0 and below 1, found 0"),
        ("clip.vision.projection_dim", 25u32.into(), "expected 24, as for the text encoder, found 25"),
        ("clip.text.context_length", 0u32.into(), "expected 1 to 16384, found 0"),
        ("clip.vision.image_size", 5000u32.into(), "expected 1 to 4096, found 5000"),
        ("clip.vision.patch_size", 51u32.into(), "expected 1 to 50, found 51"),
        ("clip.vision.patch_size", 0u32.into(), "expected 1 to 50, found 0"),
        ("clip.vision.image_mean", long(2), "expected 3 numbers, found 2"),
        ("clip.vision.image_std", vec![0.5f32, 0.0, 0.5].into(), "expected usable preprocessing, found"),
        ("clip.vision.resize_filter", "cubic".into(), "expected bicubic or bilinear"),
        ("clip.vision.pooling", "average".into(), "expected class, found \"average\""),
        ("clip.text.pooling", "first".into(), "expected end or argmax, found \"first\""),
        ("clip.text.activation", "relu".into(), "expected quick_gelu or gelu or gelu_tanh, found \"relu\""),
        ("tokenizer.ggml.eos_token_id", 4u32.into(), "expected an id below 4, found 4"),
        ("tokenizer.clip.clean", "none".into(), "expected clip, found \"none\""),
        ("clip.logit_scale", 100f32.into(), "expected the logarithm of a factor from 1e-6 to 1e6, found 100"),
        ("clip.logit_scale", (-200f32).into(), "expected the logarithm of a factor from 1e-6 to 1e6, found -200"),
        ("clip.logit_bias", f32::INFINITY.into(), "expected -1e6 to 1e6, found inf"),
        ("clip.has_text_encoder", "yes".into(), "expected bool, found string"),
    ];
    for (key, value, expected) in cases {
        let mut metadata = to_metadata(&config());
        metadata.insert(key, value.clone());
        let error = read(&metadata).expect_err(&format!("{key} = {value}")).to_string();
        assert!(error.contains(&format!("key {key}: {expected}")), "{key} = {value}: {error}");
        assert!(error.contains("model.gguf"), "{error}");
    }
    // A string may have 64 MiB; the message about it stays a line that people can read.
    for key in ["general.architecture", "clip.text.pooling", "tokenizer.clip.clean"] {
        let mut metadata = to_metadata(&config());
        metadata.insert(key, "x\n".repeat(10_000).as_str());
        let error = read(&metadata).unwrap_err().to_string();
        assert!(error.ends_with("x\\n\"... (20000 bytes)") && error.len() < 300 && !error.contains('\n'), "{error}");
    }
    // Each is within its own limit, but a small file would ask for 8 GiB of hidden values.
    let mut wide = to_metadata(&config());
    wide.insert("clip.text.context_length", 16384u32);
    wide.insert("clip.text.feed_forward_length", 8192u32);
    assert!(read(&wide).is_ok());
    wide.insert("clip.text.feed_forward_length", 131_072u32);
    let error = read(&wide).unwrap_err().to_string();
    assert!(error.contains("key clip.text.feed_forward_length: expected 1 to 8192, found 131072"), "{error}");
    let mut wide = to_metadata(&config());
    wide.insert("clip.vision.image_size", 4000u32);
    wide.insert("clip.vision.patch_size", 40u32);
    wide.insert("clip.vision.feed_forward_length", 131_072u32);
    let error = read(&wide).unwrap_err().to_string();
    assert!(error.contains("key clip.vision.feed_forward_length: expected 1 to 13420, found 131072"), "{error}");
    for key in ["clip.has_text_encoder", "clip.vision.image_size", "clip.vision.image_mean", "tokenizer.ggml.tokens"] {
        let mut metadata = Metadata::new();
        to_metadata(&config()).iter().filter(|(other, _)| *other != key).for_each(|(key, value)| {
            metadata.insert(key, value.clone());
        });
        let error = read(&metadata).unwrap_err().to_string();
        assert!(error.contains(key), "{error}");
    }
    let mut neither = to_metadata(&config());
    neither.insert("clip.has_text_encoder", false);
    neither.insert("clip.has_vision_encoder", false);
    assert!(read(&neither).unwrap_err().to_string().contains("or else a text encoder"));
}

/// Names and dimensions as clip.cpp's files have them (`models/convert_hf_to_gguf.py`).
#[test]
fn tensors_have_clip_cpps_names_and_dimensions() {
    let all = tensors(&config());
    let dims = |name: &str| all.iter().find(|spec| spec.name == name).unwrap_or_else(|| panic!("no {name}")).dims.clone();
    assert_eq!(dims("t.token_embd.weight"), [48, 4]);
    assert_eq!(dims("t.position_embd.weight"), [48, 16]);
    assert_eq!(dims("t.blk.1.attn_out.weight"), [48, 48]);
    assert_eq!(dims("t.blk.1.ffn_down.weight"), [48, 192]);
    assert_eq!(dims("t.blk.1.ffn_down.bias"), [192]);
    assert_eq!(dims("t.blk.1.ffn_up.weight"), [192, 48]);
    assert_eq!(dims("t.post_ln.bias"), [48]);
    assert_eq!(dims("text_projection.weight"), [48, 24]);
    assert_eq!(dims("v.class_embd"), [64]);
    assert_eq!(dims("v.patch_embd.weight"), [16, 16, 3, 64]);
    // 50 pixels hold 3 patches of 16.
    assert_eq!(dims("v.position_embd.weight"), [64, 10]);
    assert_eq!(dims("v.pre_ln.weight"), [64]);
    assert_eq!(dims("v.blk.0.ln2.bias"), [64]);
    assert_eq!(dims("visual_projection.weight"), [64, 24]);
    // clip.cpp's loader knows a model by this number: 16 a block, and 5 and 8.
    assert_eq!(all.len(), (16 * 2 + 5) + (16 * 2 + 8));
}
