//! The files beside a checkpoint's weights. The first byte of the input says which of them the rest is.

use edgeclip_convert::Options;

use super::{Body, support::Checkpoint};

/// By the byte, which is a letter in the seeds.
const FILES: [(u8, &str); 9] = [
    (b'c', "config.json"),
    (b'p', "preprocessor_config.json"),
    (b'v', "vocab.json"),
    (b'm', "merges.txt"),
    (b't', "tokenizer_config.json"),
    (b's', "special_tokens_map.json"),
    (b'a', "added_tokens.json"),
    (b'i', "model.safetensors.index.json"),
    (b'o', "open_clip_config.json"),
];

/// The same with lists in one file, and without the two that come first.
const JOINT: u8 = b'j';

/// Weights that fit the checkpoint, for what is read after them.
const WEIGHTS: &[u8] = include_bytes!("../seeds/safetensors/tiny.safetensors");

/// The target.
pub fn new() -> Body {
    let [plain, joint, sharded] = [(); 3].map(|()| Checkpoint::new());
    plain.write("model.safetensors", WEIGHTS);
    joint.write("model.safetensors", WEIGHTS);
    joint.remove("vocab.json");
    sharded.write("model-00001-of-00001.safetensors", WEIGHTS);
    let options = Options { check: false, ..Options::default() };
    Box::new(move |input| {
        let Some((kind, content)) = input.split_first() else { return };
        match FILES.iter().find(|(letter, _)| letter == kind) {
            Some((b'i', name)) => sharded.convert_with(name, content, &options),
            Some((_, name)) => plain.convert_with(name, content, &options),
            None if *kind == JOINT => joint.convert_with("tokenizer.json", content, &options),
            None => {}
        }
    })
}
