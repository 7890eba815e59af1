//! The weights of a checkpoint of transformers as safetensors: container, names, shapes, types, values.

use edgeclip_convert::Options;

use super::{Body, support::Checkpoint};

/// The target.
pub fn new() -> Body {
    let checkpoint = Checkpoint::new();
    let options = Options { check: false, ..Options::default() };
    Box::new(move |input| checkpoint.convert_with("model.safetensors", input, &options))
}
