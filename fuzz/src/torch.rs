//! Whole files of PyTorch: zip archives of state dicts and TorchScript modules, and the format before them.

use edgeclip_convert::Options;

use super::{Body, support::Checkpoint};

/// The target.
pub fn new() -> Body {
    let checkpoint = Checkpoint::new();
    let options = Options { check: false, ..Options::default() };
    Box::new(move |input| checkpoint.convert_with("pytorch_model.bin", input, &options))
}
