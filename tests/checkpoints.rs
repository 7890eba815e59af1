//! Every container and layout of a checkpoint gives its own library's token ids, vectors and logits (tools/make_checkpoint_goldens.py), and
//! the same weights give the same model whatever they came in.

mod support;

use std::{collections::HashMap, fs, path::Path};

use edgeclip::Clip;
use edgeclip_convert::{Options, Target, convert};
use support::{Golden, max_difference, pairwise_cosines, root};

/// Promised bound on the difference of L2-normalised vectors. The references' own f32 noise is at most 1e-6 (tests/data/README.md).
const BOUND: f32 = 1e-5;

/// A checkpoint, and the golden of its weights.
struct Checkpoint {
    /// A file or folder of tests/data.
    path: &'static str,
    /// Of a folder that has its weights several times: those to keep, and what they are called in a folder of their own.
    weights: &'static [(&'static str, &'static str)],
    /// What has to be said of bare weights.
    arch: Option<&'static str>,
    golden: &'static str,
}

const fn whole(path: &'static str, golden: &'static str) -> Checkpoint {
    Checkpoint { path, weights: &[], arch: None, golden }
}

const fn with(path: &'static str, weights: &'static [(&'static str, &'static str)]) -> Checkpoint {
    Checkpoint { path, weights, arch: None, golden: path }
}

const fn bare(path: &'static str, golden: &'static str) -> Checkpoint {
    Checkpoint { path, weights: &[], arch: Some("openai"), golden }
}

const CHECKPOINTS: [Checkpoint; 18] = [
    // OpenAI's classes: a state dict, one inside a training checkpoint of open_clip, and TorchScript, which names the activation.
    bare("ckpt-openai/state_dict.pt", "ckpt-openai"),
    bare("ckpt-openai/epoch_3.pt", "ckpt-openai"),
    whole("ckpt-openai/trace.pt", "ckpt-openai"),
    whole("ckpt-openai/script.pt", "ckpt-openai"),
    bare("ckpt-openai-fp16/state_dict.pt", "ckpt-openai-fp16"),
    whole("ckpt-openai-fp16/jit.pt", "ckpt-openai-fp16"),
    // open_clip's folders.
    whole("ckpt-open-clip-gelu", "ckpt-open-clip-gelu"),
    whole("ckpt-open-clip-custom", "ckpt-open-clip-custom"),
    with("ckpt-open-clip-custom", &[("open_clip_model.safetensors", "open_clip_model.safetensors")]),
    with("ckpt-open-clip-custom", &[("open_clip_pytorch_model.bin", "open_clip_pytorch_model.bin")]),
    whole("ckpt-open-clip-scale", "ckpt-open-clip-scale"),
    // transformers' folders.
    whole("ckpt-hf", "ckpt-hf"),
    with("ckpt-hf", &[("model.safetensors", "model.safetensors")]),
    with("ckpt-hf", &[("pytorch_model.bin", "pytorch_model.bin")]),
    with("ckpt-hf", &[("pytorch_model.old.bin", "pytorch_model.bin")]),
    with(
        "ckpt-hf",
        &[
            ("pytorch_model.bin.index.json", "pytorch_model.bin.index.json"),
            ("pytorch_model-00001-of-00002.bin", "pytorch_model-00001-of-00002.bin"),
            ("pytorch_model-00002-of-00002.bin", "pytorch_model-00002-of-00002.bin"),
        ],
    ),
    whole("ckpt-hf-vision", "ckpt-hf"),
    whole("ckpt-hf-text", "ckpt-hf"),
];

impl Checkpoint {
    /// For messages.
    fn label(&self) -> String {
        let weights: Vec<_> = self.weights.iter().map(|(file, _)| format!(" {file}")).collect();
        format!("{}{}", self.path, weights.concat())
    }

    /// Converts to f32 in `folder`, loads, and gives the content id that was reported.
    fn load(&self, folder: &Path) -> (Clip, String) {
        let mut input = root().join("tests/data").join(self.path);
        if !self.weights.is_empty() {
            let alone = folder.join("checkpoint");
            fs::create_dir(&alone).unwrap();
            for entry in fs::read_dir(&input).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                let described = name.ends_with(".json") && !name.ends_with(".index.json") || name.ends_with(".txt");
                let kept = self.weights.iter().find(|(file, _)| *file == name).map(|(_, new)| *new);
                if let Some(new) = kept.or(described.then_some(name.as_str())) {
                    fs::copy(input.join(&name), alone.join(new)).unwrap();
                }
            }
            input = alone;
        }
        let output = folder.join("model.gguf");
        let options = Options { target: Target::F32, arch: self.arch.map(str::to_owned), check: false, ..Options::default() };
        let report = convert(&input, &output, &options, &()).unwrap_or_else(|error| panic!("{}: {error}", self.label()));
        (Clip::load(output).expect("a file we wrote loads"), report.content_id)
    }
}

/// Token ids, vectors and logits of the encoders that a model has.
fn assert_is_the_references(label: &str, clip: &Clip, golden: &Golden) {
    let config = clip.config();
    let text = config.text.is_some().then(|| {
        let tokens = golden.tokens(clip);
        for (i, ids) in golden.ids.iter().enumerate() {
            assert_eq!(tokens.row(i), ids, "{label}: ids of {:?}", golden.texts[i]);
        }
        let text = clip.encode_text(&tokens).unwrap();
        let difference = max_difference(&text, &golden.text);
        println!("{label}: text {difference:e}");
        assert!(difference <= BOUND, "{label}: text differs by {difference:e}");
        text
    });
    let image = config.image.is_some().then(|| {
        let image = clip.encode_image(&golden.pixels(clip)).unwrap();
        let difference = max_difference(&image, &golden.image);
        println!("{label}: image {difference:e}");
        assert!(difference <= BOUND, "{label}: image differs by {difference:e}");
        image
    });
    assert!(text.is_some() || image.is_some(), "{label}");
    let (Some(text), Some(image)) = (text, image) else { return };

    assert_eq!((config.logit_scale, config.logit_bias), (golden.logit_scale, golden.logit_bias), "{label}");
    // A logit is off by the scale times the difference of two vectors.
    let bound = golden.logit_scale.exp() * 2.0 * BOUND;
    let logits = clip.logits_per_image(&image, &text).unwrap();
    assert_eq!(logits.values().len(), golden.logits_per_image.len());
    for (ours, theirs) in logits.values().iter().zip(&golden.logits_per_image) {
        assert!((ours - theirs).abs() <= bound, "{label}: logit {ours}, expected {theirs} within {bound}");
    }
}

#[test]
fn every_container_and_layout_gives_its_librarys_vectors() {
    let mut content_ids: HashMap<&str, (String, String)> = HashMap::new();
    for checkpoint in &CHECKPOINTS {
        let folder = tempfile::tempdir().unwrap();
        let (clip, content_id) = checkpoint.load(folder.path());
        let label = checkpoint.label();
        assert_is_the_references(&label, &clip, &Golden::new(checkpoint.golden));

        assert_eq!(clip.content_id(), Some(content_id.as_str()), "{label}");
        if clip.config().image.is_some() && clip.config().text.is_some() {
            let (first, expected) = content_ids.entry(checkpoint.golden).or_insert_with(|| (label.clone(), content_id.clone()));
            assert_eq!(content_id, *expected, "{label} and {first} hold the same weights");
        }
    }
    assert_eq!(content_ids.len(), 6);
}

/// What was saved of one encoder becomes a model of that encoder.
#[test]
fn a_lone_encoder_has_no_other() {
    for (path, image, text) in [("ckpt-hf-vision", true, false), ("ckpt-hf-text", false, true)] {
        let folder = tempfile::tempdir().unwrap();
        let (clip, _) = whole(path, "ckpt-hf").load(folder.path());
        assert_eq!((clip.config().image.is_some(), clip.config().text.is_some()), (image, text), "{path}");
    }
}

/// GGUF version 2 with clip.cpp's keys only: no merges, no scale of logits, one flag for both activations, everything quantized that has two
/// dimensions (tools/write_clipcpp.py).
#[test]
fn files_of_clip_cpp_give_the_vectors_of_their_weights() {
    let load = |name: &str| {
        let clip = Clip::load(root().join(format!("tests/data/ckpt-clipcpp/{name}.gguf"))).unwrap();
        assert!(clip.content_id().is_none() && clip.config().name.is_none());
        (clip, Golden::new(&format!("ckpt-clipcpp-{name}")))
    };
    let (clip, golden) = load("f16");
    assert_is_the_references("ckpt-clipcpp/f16.gguf", &clip, &golden);

    // The goldens are of the quantized weights; what is left is that activations are computed with in eight bits.
    for name in ["q8_0", "q4_0"] {
        let (clip, golden) = load(name);
        let tokens = golden.tokens(&clip);
        for (i, ids) in golden.ids.iter().enumerate() {
            assert_eq!(tokens.row(i), ids, "{name}: ids of {:?}", golden.texts[i]);
        }
        let text = pairwise_cosines(&clip.encode_text(&tokens).unwrap(), &golden.text);
        let image = pairwise_cosines(&clip.encode_image(&golden.pixels(&clip)).unwrap(), &golden.image);
        for cosine in text.iter().chain(&image) {
            println!("{name}: {cosine}");
            assert!(*cosine >= 0.999, "{name}: cosine {cosine}");
        }
    }
}
