//! Models with outlier channels, as trained ones have and the demo has not: planted here as tools/stress.py does (its a, b and c), which holds
//! them against PyTorch.

mod support;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use edgeclip::{Clip, Embeddings, Tower};
use edgeclip_convert::{Options, Report, Target, convert};
use edgeclip_gguf::{File, Metadata, TensorSpec, TensorType, Writer};
use edgeclip_model::{
    Config, Format, GgufWeights, Kernels, Tensor, Weights,
    equalize::{Edit, Equalization},
    schema::{self, Id, Piece, Role, keys},
};
use support::{Golden, Model, max_difference, pairwise_cosines};

/// What 8 bits have to keep, with outliers or without.
const FLOOR: f32 = 0.9995;
/// The bound of tests/parity.rs for two ways of computing the same.
const SAME: f32 = 1e-5;

/// The demo in f32, with other values in some tensors.
struct Planted {
    model: Model,
    values: HashMap<String, Vec<f32>>,
    /// How many channels were made large.
    large: usize,
}

/// Each with its blocks and width.
fn towers(config: &Config) -> [(Tower, usize, usize); 2] {
    let (image, text) = (&config.image.as_ref().unwrap().tower, &config.text.as_ref().unwrap().tower);
    [(Tower::Image, image.layers, image.width), (Tower::Text, text.layers, text.width)]
}

impl Planted {
    fn new() -> Self {
        Self { model: Model::new("demo", Target::F32), values: HashMap::new(), large: 0 }
    }

    fn weights(&self) -> GgufWeights {
        GgufWeights::new(self.model.clip.file().clone())
    }

    fn config(&self) -> &Config {
        self.model.clip.config()
    }

    fn edit(&mut self, id: Id, edit: impl FnOnce(&mut [f32])) {
        let stored = self.weights().tensor(&id.name()).unwrap().to_f32();
        let mut values = self.values.remove(&id.name()).unwrap_or(stored);
        edit(&mut values);
        self.values.insert(id.name(), values);
    }

    /// Channels of what `from` gives times a factor, the columns of `readers` divided by it: the same function.
    fn scale(&mut self, tower: Tower, from: Piece, readers: &[Piece], channels: &[(usize, f32)], width: usize) {
        for id in [Id::weight(tower, from), Id::bias(tower, from)] {
            self.edit(id, |values| {
                let row = values.len() / width;
                channels.iter().for_each(|&(j, factor)| values[j * row..][..row].iter_mut().for_each(|v| *v *= factor));
            });
        }
        for &reader in readers {
            self.edit(Id::weight(tower, reader), |values| {
                for row in values.chunks_exact_mut(width) {
                    channels.iter().for_each(|&(j, factor)| row[j] /= factor);
                }
            });
        }
        self.large += channels.len();
    }

    /// a and b: norms and values with large channels.
    fn large(mut self) -> Self {
        for (tower, layers, width) in towers(&self.config().clone()) {
            for block in 0..layers {
                let attention = [Piece::Query(block), Piece::Key(block), Piece::Value(block)];
                self.scale(tower, Piece::Norm1(block), &attention, &[(7 + block, 50.0), (90 + block, 100.0)], width);
                self.scale(tower, Piece::Value(block), &[Piece::AttentionOutput(block)], &[(20 + block, 50.0)], width);
                self.scale(tower, Piece::Norm2(block), &[Piece::MlpIn(block)], &[(3, 100.0), (100 + block, 50.0)], width);
            }
            self.scale(tower, Piece::PostNorm, &[Piece::Projection], &[(5, 100.0)], width);
        }
        self
    }

    /// c: channels of the residual stream that are far from 0 in every token.
    fn far(mut self) -> Self {
        for (tower, _, width) in towers(&self.config().clone()) {
            self.edit(Id::bias(tower, Piece::MlpOut(0)), |bias| {
                for (at, shift) in [(1, 60.0), (50, -60.0), (width / 2, 60.0), (width - 3, -60.0)] {
                    bias[at] += shift;
                }
            });
        }
        self
    }

    /// As a file whose matrices are stored by `format`.
    fn write(&self, name: &str, format: impl Fn(Role) -> Format, edit: impl FnOnce(&mut Metadata)) -> PathBuf {
        let tensors = schema::tensors(self.config()).into_iter().map(|spec| {
            let values = self.values.get(&spec.name).cloned();
            let values = values.unwrap_or_else(|| self.weights().tensor(&spec.name).unwrap().to_f32());
            (spec.name, spec.dims, format(spec.id.role()), values)
        });
        write(&self.model.folder.path().join(name), self.model.clip.file(), edit, tensors.collect())
    }

    fn floats(&self) -> PathBuf {
        self.write("planted-f32.gguf", |_| Format::F32, |_| ())
    }
}

fn write(
    path: &Path,
    like: &File,
    edit: impl FnOnce(&mut Metadata),
    tensors: Vec<(String, Vec<u64>, Format, Vec<f32>)>,
) -> PathBuf {
    let mut metadata = Metadata::new();
    like.metadata().iter().for_each(|(key, value)| {
        metadata.insert(key, value.clone());
    });
    edit(&mut metadata);
    let specs =
        tensors.iter().map(|(name, dims, format, _)| TensorSpec::new(&**name, &**dims, TensorType::from_id(format.ggml_id())));
    let mut writer = Writer::create(path, &metadata, &specs.collect::<Vec<_>>()).unwrap();
    for (name, dims, format, values) in &tensors {
        writer.begin(name).unwrap();
        let mut bytes = vec![0; values.len() / dims[0] as usize * format.row_bytes(dims[0] as usize).unwrap()];
        format.quantize(values, &mut bytes);
        writer.write(&bytes).unwrap();
    }
    writer.complete().unwrap().publish().unwrap();
    path.to_owned()
}

/// Vectors of the golden pictures and texts.
fn vectors(file: &Path, golden: &Golden) -> [Embeddings; 2] {
    let clip = Clip::load(file).unwrap();
    [clip.encode_image(&golden.pixels(&clip)).unwrap(), clip.encode_text(&golden.tokens(&clip)).unwrap()]
}

fn least_cosine(a: &[Embeddings; 2], b: &[Embeddings; 2]) -> f32 {
    a.iter().zip(b).flat_map(|(a, b)| pairwise_cosines(a, b)).fold(f32::INFINITY, f32::min)
}

fn converted(source: &Path, target: Target) -> (PathBuf, Report) {
    let path = source.with_file_name(format!("converted-{target}.gguf"));
    let report = convert(source, &path, &Options { target, check: false, ..Options::default() }, &()).unwrap();
    (path, report)
}

fn matrices_q8_0(role: Role) -> Format {
    match role {
        Role::Vector => Format::F32,
        Role::PatchEmbedding | Role::PositionEmbedding => Format::F16,
        _ => Format::Q8_0,
    }
}

#[test]
fn large_channels_do_not_cost_accuracy() {
    let (golden, planted) = (Golden::new("demo"), Planted::new().large());
    let source = planted.floats();
    let exact = vectors(&source, &golden);
    let apart = max_difference(&exact[0], &golden.image).max(max_difference(&exact[1], &golden.text));
    assert!(apart <= SAME, "what was planted is the same function, and moved a vector by {apart:e}");

    let (file, report) = converted(&source, Target::Q8_0);
    assert_eq!((report.outliers.shifted, report.outliers.scaled), (0, planted.large), "exactly what was planted");
    let least = least_cosine(&vectors(&file, &golden), &exact);
    assert!(least >= FLOOR, "q8_0: {least}");
    let (file, _) = converted(&source, Target::Q4_0);
    let plain = Planted::new();
    let (plain_file, _) = converted(&plain.floats(), Target::Q4_0);
    let (least, without) = (least_cosine(&vectors(&file, &golden), &exact), least_cosine(&vectors(&plain_file, &golden), &exact));
    assert!(least >= without - 0.003, "q4_0: {least}, and {without} without outliers");
    // Floats need no help.
    let (file, report) = converted(&source, Target::F32);
    assert_eq!((report.outliers.shifted, report.outliers.scaled), (0, 0));
    assert_eq!(vectors(&file, &golden), exact);
}

#[test]
fn far_channels_do_not_cost_accuracy() {
    let (golden, planted) = (Golden::new("demo"), Planted::new().far());
    let source = planted.floats();
    let exact = vectors(&source, &golden);
    let (file, report) = converted(&source, Target::Q8_0);
    assert!(report.outliers.shifted > 0, "{:?}", report.outliers);
    let least = least_cosine(&vectors(&file, &golden), &exact);
    assert!(least >= FLOOR, "{least}");
    let projection = File::open(&file).unwrap().tensor("visual_projection.bias").is_some();
    assert!(projection, "the last norm's shift is the projection's bias");
}

/// What other programs quantized is edited when it is loaded, against what the file's own weights give in f32.
#[test]
fn files_of_other_programs_hold_too() {
    for planted in [Planted::new().large(), Planted::new().far()] {
        let golden = Golden::new("demo");
        let foreign = planted.write("foreign.gguf", matrices_q8_0, |_| ());
        let weights = GgufWeights::new(File::open(&foreign).unwrap());
        let own = schema::tensors(planted.config()).into_iter().map(|spec| {
            let Tensor { dims, .. } = weights.tensor(&spec.name).unwrap();
            let values = weights.tensor(&spec.name).unwrap().to_f32();
            (spec.name, dims, Format::F32, values)
        });
        let own = write(&foreign.with_file_name("own.gguf"), weights.file(), |_| (), own.collect());
        let exact = vectors(&own, &golden);
        let least = least_cosine(&vectors(&foreign, &golden), &exact);
        assert!(least >= FLOOR, "{least}");
        // And without that it would not: a file that says it was done is left alone.
        let untouched = planted.write("untouched.gguf", matrices_q8_0, |metadata| {
            metadata.insert(keys::EQUALIZED, true);
        });
        let without = least_cosine(&vectors(&untouched, &golden), &exact);
        assert!(1.0 - without > 2.0 * (1.0 - least), "{without} without, {least} with");
    }
}

/// All edits in f32 are the same function.
#[test]
fn edits_keep_the_function() {
    let (golden, planted) = (Golden::new("demo"), Planted::new().large().far());
    let source = planted.floats();
    let exact = vectors(&source, &golden);
    let weights = GgufWeights::new(File::open(&source).unwrap());
    let mut all = Equalization::default();
    for tower in [Tower::Image, Tower::Text] {
        all.extend(Equalization::find(planted.config(), tower, &weights, Kernels::best(), &|_| true, true).unwrap());
    }
    assert!(all.scaled >= planted.large / 2 && all.shifted > 0 && all.added().count() == 2, "{all:?}");
    let mut specs = schema::tensors(planted.config());
    specs.extend(all.added());
    let edited = specs.into_iter().map(|spec| {
        let mut values = weights.tensor(&spec.name).map_or_else(|_| vec![0.0; spec.dims[0] as usize], |tensor| tensor.to_f32());
        if let Some(edit) = all.edit(&spec.name) {
            let row = if let Edit::Values(values) = edit { values.len() } else { spec.dims[0] as usize };
            values.chunks_exact_mut(row).enumerate().for_each(|(index, values)| edit.apply(index, values));
        }
        (spec.name, spec.dims, Format::F32, values)
    });
    let edited = write(&source.with_file_name("edited.gguf"), weights.file(), |_| (), edited.collect());
    let found = vectors(&edited, &golden);
    let apart = max_difference(&found[0], &exact[0]).max(max_difference(&found[1], &exact[1]));
    assert!(apart <= SAME, "{apart:e}");
}
