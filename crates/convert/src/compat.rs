//! What clip.cpp demands of a file beyond the schema, which is a superset of its own.
//!
//! Facts of its `clip.cpp` at its last commit (3484ffc): it sizes its buffers by the number of tensors and ends the process for any number
//! that it does not know; it has no types newer than the first five blocks; its convolution takes an f16 kernel only; one flag says the
//! activation of both encoders, whose GELU is the tanh approximation; start and end token have fixed ids.

use edgeclip_model::{Activation, Config, schema};

use crate::Target;

/// Numbers of tensors that it knows: ViT-B and L/14 of both encoders, of either; H/14 likewise.
const TENSOR_COUNTS: [usize; 8] = [197, 200, 389, 392, 397, 520, 589, 909];
/// Types that it reads.
const TARGETS: [Target; 4] = [Target::F32, Target::F16, Target::Q8_0, Target::Q4_0];
/// Ids of the start and the end token in its code.
const SPECIALS: (u32, u32) = (49406, 49407);

/// Checks that clip.cpp can load the model as `target`; gives what it will compute otherwise, for people.
///
/// # Errors
/// What it needs, and what was found.
pub(crate) fn check(config: &Config, target: Target) -> Result<Vec<String>, String> {
    if !TARGETS.contains(&target) {
        return Err(format!("it reads the types {}, not {target}", TARGETS.map(|target| target.to_string()).join(", ")));
    }
    let count = schema::tensors(config).len();
    if !TENSOR_COUNTS.contains(&count) {
        let known = TENSOR_COUNTS.map(|count| count.to_string()).join(", ");
        return Err(format!(
            "it knows ViT-B/32, B/16, L/14 and H/14 by their numbers of tensors ({known}), this model has {count}"
        ));
    }
    if let Some(text) = &config.text {
        let (start, end) = (text.vocabulary.start, text.vocabulary.end);
        if (start, end) != SPECIALS {
            return Err(format!(
                "its start and end tokens are {} and {}, here they are {start} and {end}",
                SPECIALS.0, SPECIALS.1
            ));
        }
    }
    let towers = [config.image.as_ref().map(|image| &image.tower), config.text.as_ref().map(|text| &text.tower)];
    let mut activations: Vec<Activation> = towers.into_iter().flatten().map(|tower| tower.activation).collect();
    activations.dedup();
    match activations.as_slice() {
        [Activation::QuickGelu] | [Activation::GeluTanh] => Ok(Vec::new()),
        [Activation::Gelu] => {
            Ok(vec!["clip.cpp computes the tanh approximation of this model's GELU, so its vectors are a little off".to_owned()])
        }
        _ => Err("it has one activation for both encoders, here they differ".to_owned()),
    }
}
