//! The parity test must notice every mistake that an encoder can make: each is made here on purpose, and has to move some vector well
//! beyond the promised bound.

mod support;

use std::{collections::HashMap, path::Path};

use bytes::Bytes;
use edgeclip::{Clip, Tower};
use edgeclip_convert::Target;
use edgeclip_model::{
    Activation, Backend, Config, Cpu, Embeddings, Error, GgufWeights, Kernels, Tensor, TextPooling, Threads, Weights,
    parts::{Block, Head, ImageEmbedding, Pass, Stream, Workspace},
    schema::{self, Id, Piece},
};
use support::{Golden, Model, max_difference};

/// Ten times the bound of tests/parity.rs.
const NOTICED: f32 = 1e-4;

/// A file's tensors, some of them replaced.
struct Mutated {
    file: GgufWeights,
    replaced: HashMap<String, Tensor>,
}

impl Weights for Mutated {
    fn path(&self) -> &Path {
        self.file.path()
    }

    fn tensor(&self, name: &str) -> Result<Tensor, Error> {
        self.replaced.get(name).cloned().map_or_else(|| self.file.tensor(name), Ok)
    }

    fn is_quantized(&self) -> bool {
        self.file.is_quantized()
    }
}

struct Case {
    golden: Golden,
    model: Model,
}

impl Case {
    fn new(name: &str) -> Self {
        Self { golden: Golden::new(name), model: Model::new(name, Target::F32) }
    }

    fn clip(&self) -> &Clip {
        &self.model.clip
    }

    fn weights(&self) -> GgufWeights {
        GgufWeights::new(edgeclip_gguf::File::open(self.clip().path()).unwrap())
    }

    /// How far the vectors of one encoder move from the reference's.
    fn difference(&self, tower: Tower, config: Config, replaced: HashMap<String, Tensor>) -> f32 {
        let cpu = Cpu::new(config, Mutated { file: self.weights(), replaced }, Kernels::best());
        match tower {
            Tower::Image => max_difference(&cpu.encode_image(&self.golden.pixels(self.clip())).unwrap(), &self.golden.image),
            Tower::Text => max_difference(&cpu.encode_text(&self.golden.tokens(self.clip())).unwrap(), &self.golden.text),
        }
    }

    fn config(&self) -> Config {
        self.clip().config().clone()
    }
}

fn floats(values: impl Iterator<Item = f32>, like: &Tensor) -> Tensor {
    let bytes: Vec<u8> = values.flat_map(f32::to_le_bytes).collect();
    assert_eq!(bytes.len(), like.bytes.len());
    Tensor { bytes: Bytes::from(bytes), ..like.clone() }
}

const CASES: [&str; 4] = ["odd-legacy", "odd-sharded", "odd-ids", "odd-blocks"];

#[test]
fn unmutated_vectors_are_the_references() {
    for name in CASES {
        let case = Case::new(name);
        for tower in [Tower::Image, Tower::Text] {
            let difference = case.difference(tower, case.config(), HashMap::new());
            assert!(difference <= 1e-5, "{name} {tower}: {difference:e}");
        }
    }
}

#[test]
fn every_dropped_bias_is_noticed() {
    for name in CASES {
        let case = Case::new(name);
        let weights = case.weights();
        let mut tried = 0;
        for spec in schema::tensors(&case.config()) {
            if !spec.name.ends_with(".bias") {
                continue;
            }
            let tensor = weights.tensor(&spec.name).unwrap();
            let zero = floats(tensor.to_f32().iter().map(|_| 0.0), &tensor);
            let difference = case.difference(spec.id.tower, case.config(), HashMap::from([(spec.name.clone(), zero)]));
            if spec.name.ends_with("attn_k.bias") {
                // q (k + b) = q k + q b adds the same to every logit of a row, which the soft-max takes away again.
                assert!(difference <= 1e-5, "{name}: {} moved a vector by {difference:e}", spec.name);
            } else {
                assert!(difference > NOTICED, "{name}: without {} the vectors differ by {difference:e} only", spec.name);
            }
            tried += 1;
        }
        assert!(tried > 8, "{name}: {tried} biases");
    }
}

#[test]
fn every_swapped_pair_of_norms_is_noticed() {
    for name in CASES {
        let case = Case::new(name);
        let weights = case.weights();
        for tower in [Tower::Image, Tower::Text] {
            let specs = schema::tensors(&case.config());
            let norms: Vec<&str> = specs
                .iter()
                .filter(|spec| spec.id.tower == tower && spec.name.contains("ln"))
                .filter_map(|spec| spec.name.strip_suffix(".weight"))
                .collect();
            assert!(norms.len() >= 3, "{norms:?}");
            for (i, a) in norms.iter().enumerate() {
                for b in &norms[i + 1..] {
                    let mut replaced = HashMap::new();
                    for part in ["weight", "bias"] {
                        let (a, b) = (format!("{a}.{part}"), format!("{b}.{part}"));
                        replaced.insert(a.clone(), weights.tensor(&b).unwrap());
                        replaced.insert(b, weights.tensor(&a).unwrap());
                    }
                    let difference = case.difference(tower, case.config(), replaced);
                    assert!(difference > NOTICED, "{name}: with {a} and {b} swapped the vectors differ by {difference:e} only");
                }
            }
        }
    }
}

/// One change to a configuration: its name, the encoder, the change.
type ConfigMutation = (&'static str, Tower, fn(&mut Config));

#[test]
fn every_wrong_rule_is_noticed() {
    let mutations: [ConfigMutation; 8] = [
        ("no causal mask", Tower::Text, |c| c.text.as_mut().unwrap().causal = false),
        ("wrong text activation", Tower::Text, |c| flip(&mut c.text.as_mut().unwrap().tower.activation)),
        ("wrong image activation", Tower::Image, |c| flip(&mut c.image.as_mut().unwrap().tower.activation)),
        ("half the heads in text", Tower::Text, |c| c.text.as_mut().unwrap().tower.heads /= 2),
        ("half the heads in image", Tower::Image, |c| c.image.as_mut().unwrap().tower.heads /= 2),
        ("wrong text eps", Tower::Text, |c| c.text.as_mut().unwrap().tower.eps += 0.02),
        ("wrong image eps", Tower::Image, |c| c.image.as_mut().unwrap().tower.eps += 0.02),
        ("a block too few", Tower::Image, |c| c.image.as_mut().unwrap().tower.layers -= 1),
    ];
    for name in CASES {
        let case = Case::new(name);
        for (mutation, tower, mutate) in mutations {
            let mut config = case.config();
            mutate(&mut config);
            assert_ne!(config, case.config(), "{name}: {mutation} changes nothing");
            let difference = case.difference(tower, config, HashMap::new());
            assert!(difference > NOTICED, "{name}: with {mutation} the vectors differ by {difference:e} only");
        }
    }
}

fn flip(activation: &mut Activation) {
    *activation = if *activation == Activation::QuickGelu { Activation::Gelu } else { Activation::QuickGelu };
}

/// The two forms of GELU differ by 5e-4 at most, so the vectors differ little: more than the bound of the parity test, all the same.
#[test]
fn the_two_forms_of_gelu_are_told_apart() {
    let mut told = 0;
    for name in support::CHECKPOINTS {
        let case = Case::new(name);
        for tower in [Tower::Image, Tower::Text] {
            let mut config = case.config();
            let activation = match tower {
                Tower::Image => &mut config.image.as_mut().unwrap().tower.activation,
                Tower::Text => &mut config.text.as_mut().unwrap().tower.activation,
            };
            *activation = match activation {
                Activation::Gelu => Activation::GeluTanh,
                Activation::GeluTanh => Activation::Gelu,
                Activation::QuickGelu => continue,
            };
            let difference = case.difference(tower, config, HashMap::new());
            assert!(difference > 2e-5, "{name} {tower}: the vectors differ by {difference:e} only");
            told += 1;
        }
    }
    assert!(told >= 2, "{told}");
}

#[test]
fn a_wrong_pooling_row_is_noticed() {
    for name in support::CHECKPOINTS {
        let case = Case::new(name);
        let mut config = case.config();
        let text = config.text.as_mut().unwrap();
        // The start token is as wrong a row as any.
        text.vocabulary.end = text.vocabulary.start;
        text.pooling = TextPooling::End;
        let difference = case.difference(Tower::Text, config, HashMap::new());
        assert!(difference > NOTICED, "{name}: {difference:e}");
    }
    // The row of the first patch instead of the class token's.
    for name in support::CHECKPOINTS {
        let case = Case::new(name);
        let (config, weights, kernels) = (case.config(), case.weights(), Kernels::best());
        let image = config.image.as_ref().unwrap();
        let pixels = case.golden.pixels(case.clip());
        let difference = |position| {
            let (mut stream, mut workspace) = (Stream::default(), Workspace::default());
            let mut pass = Pass { workspace: &mut workspace, threads: Threads::All, observer: &mut () };
            ImageEmbedding::load(image, &weights, kernels).unwrap().forward(&pixels, &mut stream, &mut pass).unwrap();
            stream.pool(position);
            for block in 0..image.tower.layers {
                let block = Block::load(&image.tower, Tower::Image, false, block, &weights, kernels).unwrap();
                block.forward(&mut stream, &mut pass);
            }
            let head = Head::load(&image.tower, Tower::Image, config.projection_dim, &weights, kernels).unwrap();
            let mut values = vec![f32::NAN; stream.inputs() * config.projection_dim];
            head.forward(&stream, &mut values, &mut pass);
            max_difference(&Embeddings::new(config.projection_dim, values), &case.golden.image)
        };
        assert!(difference(0) <= 1e-5, "{name}");
        assert!(difference(1) > NOTICED, "{name}: {:e}", difference(1));
    }
    // Where the end token is not the largest id, the two rules of pooling differ.
    let case = Case::new("odd-ids");
    let mut config = case.config();
    config.text.as_mut().unwrap().pooling = TextPooling::Argmax;
    let difference = case.difference(Tower::Text, config, HashMap::new());
    assert!(difference > NOTICED, "{difference:e}");
}

#[test]
fn a_wrong_scale_or_transposition_is_noticed() {
    for name in CASES {
        let case = Case::new(name);
        let weights = case.weights();
        for tower in [Tower::Image, Tower::Text] {
            // Attention logits not divided by the root of the head's width.
            let config = case.config();
            let config = match tower {
                Tower::Image => &config.image.as_ref().unwrap().tower,
                Tower::Text => &config.text.as_ref().unwrap().tower,
            };
            let root = ((config.width / config.heads) as f32).sqrt();
            let scaled = [Id::weight(tower, Piece::Query(0)), Id::bias(tower, Piece::Query(0))].map(|id| {
                let name = id.name();
                let tensor = weights.tensor(&name).unwrap();
                (name, floats(tensor.to_f32().iter().map(|v| v * root), &tensor))
            });
            let difference = case.difference(tower, case.config(), HashMap::from(scaled));
            assert!(difference > NOTICED, "{name} {tower}: unscaled logits: {difference:e}");

            // A square matrix read by columns, and query and key exchanged.
            for piece in [Piece::Query(0), Piece::Key(0), Piece::Value(0), Piece::AttentionOutput(0)] {
                let name = Id::weight(tower, piece).name();
                let tensor = weights.tensor(&name).unwrap();
                let (values, n) = (tensor.to_f32(), config.width);
                let transposed = floats((0..n * n).map(|i| values[i % n * n + i / n]), &tensor);
                let difference = case.difference(tower, case.config(), HashMap::from([(name.clone(), transposed)]));
                assert!(difference > NOTICED, "{name} transposed: {difference:e}");
            }
            let (q, k) = (Id::weight(tower, Piece::Query(0)).name(), Id::weight(tower, Piece::Key(0)).name());
            let swapped = HashMap::from([(q.clone(), weights.tensor(&k).unwrap()), (k.clone(), weights.tensor(&q).unwrap())]);
            let difference = case.difference(tower, case.config(), swapped);
            assert!(difference > NOTICED, "{name} {tower}: query and key exchanged: {difference:e}");
        }
        // Patches in the wrong order of channels: the same kernel with red and blue exchanged.
        let name_of_kernel = Id::weight(Tower::Image, Piece::PatchEmbedding).name();
        let tensor = weights.tensor(&name_of_kernel).unwrap();
        let plane = (tensor.dims[0] * tensor.dims[1]) as usize;
        let values = tensor.to_f32();
        let exchanged = (0..values.len()).map(|i| {
            let channel = i / plane % 3;
            values[i + (2 - channel) * plane - channel * plane]
        });
        let exchanged = floats(exchanged, &tensor);
        let difference = case.difference(Tower::Image, case.config(), HashMap::from([(name_of_kernel, exchanged)]));
        assert!(difference > NOTICED, "{name}: red and blue exchanged: {difference:e}");
    }
}

/// What is not finite is an error, never a vector.
#[test]
fn nan_weights_are_an_error() {
    for target in [Target::F32, Target::Q8_0] {
        let model = Model::new("odd-legacy", target);
        let golden = Golden::new("odd-legacy");
        let broken = [Id::weight(Tower::Image, Piece::Norm2(1)), Id::bias(Tower::Text, Piece::Value(0))];
        for (tower, name) in broken.map(|id| (id.tower, id.name())) {
            let file = GgufWeights::new(edgeclip_gguf::File::open(model.clip.path()).unwrap());
            let tensor = file.tensor(&name).unwrap();
            let mut values = tensor.to_f32();
            values[3] = f32::NAN;
            let replaced = HashMap::from([(name.clone(), floats(values.into_iter(), &tensor))]);
            let cpu = Cpu::new(model.clip.config().clone(), Mutated { file, replaced }, Kernels::best());
            let result = match tower {
                Tower::Image => cpu.encode_image(&golden.pixels(&model.clip)),
                Tower::Text => cpu.encode_text(&golden.tokens(&model.clip)),
            };
            assert!(
                matches!(result, Err(Error::NotFinite { tower: t, index: 0, .. }) if t == tower),
                "{target} {name}: {result:?}"
            );
        }
    }
}
