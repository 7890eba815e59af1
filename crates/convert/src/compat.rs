//! What clip.cpp demands of a file beyond the schema, which is a superset of its own.
//!
//! Facts of its `clip.cpp` at its last commit (3484ffc): it sizes its buffers by the number of tensors and ends the process for any number
//! that it does not know; it has no types newer than the first five blocks; its convolution takes an f16 kernel only; one flag says the
//! activation of both encoders, whose GELU is the tanh approximation; start and end token have fixed ids.

use edgeclip_model::{Activation, Config, Format, schema};

use crate::{Options, Target};

/// Numbers of tensors that it knows: ViT-B and L/14 of both encoders, of either; H/14 likewise.
const TENSOR_COUNTS: [usize; 8] = [197, 200, 389, 392, 397, 520, 589, 909];
/// Types that it reads.
const TARGETS: [Target; 7] = [Target::F32, Target::F16, Target::Q8_0, Target::Q5_1, Target::Q5_0, Target::Q4_1, Target::Q4_0];
/// Ids of the start and the end token in its code.
const SPECIALS: (u32, u32) = (49406, 49407);

/// Whether it reads a type.
pub(crate) fn reads(format: Format) -> bool {
    TARGETS.iter().any(|target| target.format() == format)
}

/// Checks that clip.cpp can load the model in the types of `options`; gives what it will compute otherwise, for people.
///
/// # Errors
/// What it needs, and what was found.
pub(crate) fn check(config: &Config, options: &Options) -> Result<Vec<String>, String> {
    let mut targets = options.overrides.iter().map(|(_, target)| *target).chain([options.target]);
    if let Some(target) = targets.find(|target| !TARGETS.contains(target)) {
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::checkpoint::Checkpoint;

    /// A configuration that clip.cpp takes.
    fn config() -> Config {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/demo");
        let mut config = Checkpoint::open(&folder, &Options::default()).unwrap().config;
        config.image.as_mut().unwrap().tower.layers = 12;
        let text = config.text.as_mut().unwrap();
        text.tower.layers = 12;
        (text.vocabulary.start, text.vocabulary.end) = SPECIALS;
        config
    }

    #[test]
    fn what_it_takes_and_what_not() {
        let refusal = |edit: &dyn Fn(&mut Config)| {
            let mut config = config();
            edit(&mut config);
            check(&config, &Options { target: Target::F16, ..Options::default() })
        };
        assert_eq!(refusal(&|_| ()), Ok(Vec::new()));
        assert_eq!(refusal(&|config| config.text = None), Ok(Vec::new()));
        let named = Options { overrides: vec![("attn_q".into(), Target::Q6K)], ..Options::default() };
        assert_eq!(
            check(&config(), &named),
            Err("it reads the types f32, f16, q8_0, q5_1, q5_0, q4_1, q4_0, not q6_k".to_owned())
        );
        let counts = "it knows ViT-B/32, B/16, L/14 and H/14 by their numbers of tensors (197, 200, 389, 392, 397, 520, 589, 909), this \
                      model has 381";
        assert_eq!(refusal(&|config| config.image.as_mut().unwrap().tower.layers = 11), Err(counts.to_owned()));
        assert_eq!(
            refusal(&|config| config.text.as_mut().unwrap().vocabulary.end = 8191),
            Err("its start and end tokens are 49406 and 49407, here they are 49406 and 8191".to_owned())
        );
        let gelu = |config: &mut Config, both: bool| {
            config.image.as_mut().unwrap().tower.activation = Activation::Gelu;
            if both {
                config.text.as_mut().unwrap().tower.activation = Activation::Gelu;
            }
        };
        assert_eq!(
            refusal(&|config| gelu(config, false)),
            Err("it has one activation for both encoders, here they differ".to_owned())
        );
        assert_eq!(refusal(&|config| gelu(config, true)).map(|warnings| warnings.len()), Ok(1));
    }
}
