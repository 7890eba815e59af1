//! A checkpoint, whatever it came in: its configuration, its vocabulary, and the tensors in place under the names of the schema.

mod architecture;
mod files;
mod hugging_face;
mod json;
mod layout;
mod open_clip;
mod preprocessor;
mod safetensors;
mod stored;
mod tensors;
mod torch;
mod vocabulary;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use edgeclip_gguf::{File, TensorInfo};
use edgeclip_model::{Activation, Config, Format, Source, Tensor, Tower, Weights, schema};
use edgeclip_tokenize::{Tokenizer, Vocabulary};

use self::{
    architecture::Description,
    files::WeightFile,
    layout::Layout,
    stored::Stored,
    tensors::{Tensors, is_ignored},
};
use crate::{
    Error, Options,
    error::{DescribedBy, SHOWN_NAMES, shown},
};

/// A checkpoint that holds exactly what its configuration says. Values have not been looked at.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    /// The folder or file.
    pub(crate) path: PathBuf,
    /// What people call it: the name of the folder, or of the file without its ending.
    pub(crate) name: String,
    /// Without `source`, which needs the hash, unless the checkpoint is a file that has one.
    pub(crate) config: Config,
    /// For texts of that vocabulary, if there is a text encoder.
    pub(crate) tokenizer: Option<Tokenizer>,
    /// The weights' files, in the order of their names.
    pub(crate) files: Vec<(PathBuf, Bytes)>,
    /// In the order of the schema.
    pub(crate) tensors: Vec<SourceTensor>,
    index: HashMap<String, usize>,
    /// What was assumed, for people.
    pub(crate) warnings: Vec<String>,
}

/// A tensor of the checkpoint that has a place in the model.
#[derive(Debug)]
pub(crate) struct SourceTensor {
    /// Its place.
    pub(crate) spec: schema::TensorSpec,
    /// Which of the files it is in.
    pub(crate) file: usize,
    /// F32, F16 or BF16: what [`read`](Self::read) gives.
    pub(crate) format: Format,
    /// Its data, in the schema's shape.
    window: Stored,
    /// What multiplies its rows, and the format before that.
    scale: Option<(Vec<f32>, Format)>,
}

impl SourceTensor {
    fn new(spec: schema::TensorSpec, file: usize, format: Format, window: Stored, scale: Option<Vec<f32>>) -> Self {
        let scale = scale.map(|scale| (scale, format));
        Self { spec, file, format: if scale.is_some() { Format::F32 } else { format }, window, scale }
    }

    /// A vector that the checkpoint has not, which is no place of the model's list.
    pub(crate) fn zeros(spec: schema::TensorSpec) -> Self {
        let len = spec.dims[0] as usize;
        let window = Stored {
            name: spec.name.clone(),
            dtype: ::safetensors::Dtype::F32,
            shape: vec![len],
            strides: vec![1],
            bytes: vec![0; 4 * len].into(),
        };
        Self::new(spec, 0, Format::F32, window, None)
    }

    /// Its name in the checkpoint.
    pub(crate) fn name(&self) -> &str {
        &self.window.name
    }

    /// Bytes that [`read`](Self::read) gives.
    pub(crate) fn len(&self) -> usize {
        self.spec.dims.iter().product::<u64>() as usize * self.format.block_bytes()
    }

    /// Where its data are, to go through files in their own order.
    pub(crate) fn address(&self) -> usize {
        self.window.bytes.as_ptr() as usize
    }

    /// Its elements, side by side: in place if they lie so, else gathered, transposed and multiplied now.
    pub(crate) fn read(&self) -> Bytes {
        let bytes = self.window.read();
        let Some((scale, format)) = &self.scale else { return bytes };
        let mut values = vec![0f32; self.len() / 4];
        format.dequantize(&bytes, &mut values);
        let columns = values.len() / scale.len();
        for (row, factor) in values.chunks_exact_mut(columns).zip(scale) {
            row.iter_mut().for_each(|value| *value *= factor);
        }
        let mut bytes = vec![0; self.len()];
        Format::F32.quantize(&values, &mut bytes);
        bytes.into()
    }
}

impl Checkpoint {
    /// Opens a folder or file and checks everything but the values of the weights.
    pub(crate) fn open(input: &Path, options: &Options) -> Result<Self, Error> {
        match files::open(input)? {
            files::Weights::Gguf(path, bytes) => Self::from_gguf(input, &path, bytes, options),
            files::Weights::Tensors(files) => Self::from_tensors(input, files, options),
        }
    }

    fn from_tensors(input: &Path, files: Vec<WeightFile>, options: &Options) -> Result<Self, Error> {
        // The folder of the configuration and the tokenizer.
        let folder = if input.is_dir() { input } else { parent(input) };
        let weights = if let [only] = files.as_slice() { only.path.as_path() } else { input };
        let names = || files.iter().flat_map(|file| file.tensors.iter().map(|tensor| tensor.name.as_str()));
        let Some((layout, prefix)) = Layout::find(names()) else {
            let mut examples: Vec<String> = names().map(shown).collect();
            examples.sort_unstable();
            examples.truncate(SHOWN_NAMES);
            return Err(Error::UnknownLayout { path: weights.to_owned(), other: Layout::other(names()), names: examples });
        };
        let script = files.iter().find_map(|file| file.script.as_deref());
        let all = files
            .iter()
            .enumerate()
            .flat_map(|(i, file)| file.tensors.iter().map(move |tensor| (i, file.path.clone(), tensor.clone())));
        let mut tensors = Tensors::new(weights, prefix, files.iter().map(|file| file.bytes.len()).sum(), all);
        let description = describe(folder, weights, layout, script, &tensors, options)?;
        let (by, architecture) = (description.by.clone(), &description.architecture);

        // First with nothing in it but sizes, so that no other file is measured against absurd ones.
        let name = name_of(input);
        let mut config = architecture.config(options.name.as_deref().unwrap_or(&name), options.crop);
        keep_tower(&mut config, options.tower, &description.path)?;
        schema::validate(&config).map_err(|invalid| Error::Key {
            path: description.path.clone(),
            key: (description.own_key)(&invalid.key),
            expected: invalid.expected,
            found: invalid.found,
        })?;

        let mut warnings = Vec::new();
        if let (Some(image), Some(described)) = (&mut config.image, &architecture.image) {
            let own = folder.join(open_clip::CONFIG);
            match layout {
                Layout::HuggingFace => {
                    image.preprocessing = preprocessor::read(folder, described.size, options.crop, &mut warnings)?;
                }
                Layout::OpenAi { .. } if by != DescribedBy::Shapes && own.exists() => {
                    image.preprocessing = open_clip::preprocessing(&own, described.size, options.crop)?;
                }
                // OpenAI's, which it has already.
                Layout::OpenAi { .. } => {}
            }
        }
        let mut tokenizer = None;
        if let (Some(text), Some(described)) = (&mut config.text, &architecture.text) {
            let (vocabulary, path) = match layout {
                Layout::OpenAi { .. } if !vocabulary::is_in(folder) => {
                    // open_clip writes the two special tokens otherwise, should a text have them.
                    let specials = match by {
                        DescribedBy::Shapes => ["<|startoftext|>", "<|endoftext|>"],
                        _ => ["<start_of_text>", "<end_of_text>"],
                    };
                    (Vocabulary::clip(described.context_length, specials), weights.to_owned())
                }
                _ => vocabulary::read(folder, described.context_length)?,
            };
            let (expected, found) = (described.vocab_size, vocabulary.tokens.len());
            if found != expected {
                let own = if path == weights {
                    " in CLIP's own vocabulary; put vocab.json and merges.txt beside the weights"
                } else {
                    ""
                };
                let problem = format!("expected {expected} tokens, the vocab_size of {by}, found {found}{own}");
                return Err(Error::Malformed { path, problem });
            }
            text.pooling = described.pooling.rule(&description.path, description.eos_key, vocabulary.end)?;
            text.vocabulary = vocabulary.clone();
            tokenizer = Some(Tokenizer::new(vocabulary).map_err(|error| Error::Vocabulary { path, error })?);
        }

        match tensors.scalar("logit_scale", &by)? {
            Some(scale) => config.logit_scale = scale,
            // Checkpoints of one encoder come without.
            None if config.image.is_none() || config.text.is_none() => {}
            None => tensors.miss("logit_scale"),
        }
        config.logit_bias = tensors.scalar("logit_bias", &by)?;
        let mut sources = Vec::new();
        for spec in schema::tensors(&config) {
            let recipe = layout.recipe(spec.id);
            sources.extend(tensors.source(spec, &recipe, &by)?);
        }
        tensors.all_taken(&by, |name| is_ignored(layout, options.tower, name))?;
        let files = files.into_iter().map(|file| (file.path, file.bytes)).collect();
        Ok(Self::new(input, name, config, tokenizer, files, sources, warnings))
    }

    /// A GGUF file as the source: one of ours, or of clip.cpp's converter, with weights that are not quantized.
    fn from_gguf(input: &Path, path: &Path, bytes: Bytes, options: &Options) -> Result<Self, Error> {
        if let Some(arch) = &options.arch {
            return Err(Error::NeedlessArchitecture { path: path.to_owned(), name: arch.clone(), by: DescribedBy::Gguf });
        }
        let file = File::from_bytes(bytes.clone(), path)?;
        let mut config = schema::from_file(&file)?;
        let all: Vec<schema::TensorSpec> = schema::tensors(&config);
        let named = |info: &&TensorInfo| !all.iter().any(|spec| spec.name == info.name);
        let left: Vec<String> = file.tensors().iter().filter(named).map(|info| shown(&info.name)).collect();
        if !left.is_empty() {
            let (count, names) = (left.len(), left.into_iter().take(SHOWN_NAMES).collect());
            return Err(Error::LeftOverTensors { path: path.to_owned(), names, count, by: DescribedBy::Gguf });
        }
        keep_tower(&mut config, options.tower, path)?;
        if let Some(name) = &options.name {
            config.name = Some(name.clone());
        }
        let mut tensors = Vec::new();
        for spec in schema::tensors(&config) {
            let missing = || edgeclip_model::Error::MissingTensor { file: path.to_owned(), name: spec.name.clone() };
            let info = file.tensor(&spec.name).ok_or_else(missing)?;
            if info.dims != spec.dims {
                let (expected, found) = (spec.dims.clone(), info.dims.clone());
                return Err(edgeclip_model::Error::Shape { file: path.to_owned(), name: spec.name, expected, found }.into());
            }
            let (format, dtype) = match info.ty.id() {
                0 => (Format::F32, ::safetensors::Dtype::F32),
                1 => (Format::F16, ::safetensors::Dtype::F16),
                30 => (Format::BF16, ::safetensors::Dtype::BF16),
                _ => return Err(Error::Quantized { path: path.to_owned(), name: spec.name, found: info.ty.to_string() }),
            };
            let shape: Vec<usize> = spec.dims.iter().rev().map(|&dim| dim as usize).collect();
            let strides = stored::contiguous(&shape);
            let bytes = file.data(info).ok_or_else(missing)?;
            let window = Stored { name: spec.name.clone(), dtype, shape, strides, bytes };
            tensors.push(SourceTensor::new(spec, 0, format, window, None));
        }
        let tokenizer = match &config.text {
            None => None,
            Some(text) => Some(
                Tokenizer::new(text.vocabulary.clone()).map_err(|error| Error::Vocabulary { path: path.to_owned(), error })?,
            ),
        };
        let name = config.name.clone().unwrap_or_else(|| name_of(input));
        Ok(Self::new(input, name, config, tokenizer, vec![(path.to_owned(), bytes)], tensors, Vec::new()))
    }

    fn new(
        path: &Path,
        name: String,
        config: Config,
        tokenizer: Option<Tokenizer>,
        files: Vec<(PathBuf, Bytes)>,
        tensors: Vec<SourceTensor>,
        warnings: Vec<String>,
    ) -> Self {
        let index = tensors.iter().enumerate().map(|(i, tensor)| (tensor.spec.name.clone(), i)).collect();
        Self { path: path.to_owned(), name, config, tokenizer, files, tensors, index, warnings }
    }

    /// Where the weights came from, `sha256` being the hash of the files: a file that was converted before says it itself.
    pub(crate) fn source(&self, sha256: &str) -> Source {
        let own = || Source { name: self.name.clone(), sha256: sha256.to_owned() };
        self.config.source.clone().unwrap_or_else(own)
    }

    /// Bytes of all weights' files.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.files.iter().map(|(_, bytes)| bytes.len() as u64).sum()
    }
}

/// Takes away the encoder that was not asked for; `path` describes the checkpoint.
///
/// # Errors
/// [`Error::NoTower`] if the other one is not there.
fn keep_tower(config: &mut Config, tower: Option<Tower>, path: &Path) -> Result<(), Error> {
    let Some(tower) = tower else { return Ok(()) };
    let found = match tower {
        Tower::Image => {
            config.text = None;
            config.image.is_some()
        }
        Tower::Text => {
            config.image = None;
            config.text.is_some()
        }
    };
    if found { Ok(()) } else { Err(Error::NoTower { path: path.to_owned(), tower }) }
}

/// The architecture of tensors: from the configuration beside them, from a name that was given, or from what they are themselves.
fn describe(
    folder: &Path,
    weights: &Path,
    layout: Layout,
    script: Option<&[(String, String)]>,
    tensors: &Tensors,
    options: &Options,
) -> Result<Description, Error> {
    let own = folder.join(open_clip::CONFIG);
    let activation = script.and_then(|classes| open_clip::script_activation(classes, tensors));
    match (layout, &options.arch) {
        (Layout::HuggingFace, None) => {
            let path = folder.join("config.json");
            if !path.exists() {
                return Err(Error::NoConfig { path: folder.to_owned(), missing: "config.json" });
            }
            hugging_face::read(&path)
        }
        (Layout::HuggingFace, Some(name)) => {
            let by = DescribedBy::File("config.json");
            Err(Error::NeedlessArchitecture { path: weights.to_owned(), name: name.clone(), by })
        }
        (Layout::OpenAi { .. }, Some(name)) => open_clip::named(name, weights, tensors, layout),
        // What is in the archive itself is more certain than what lies beside it.
        (Layout::OpenAi { .. }, None) => match activation {
            Some(activation @ (Activation::QuickGelu | Activation::Gelu | Activation::GeluTanh)) => {
                open_clip::by_shapes(weights, tensors, layout, activation)
            }
            None if own.exists() => open_clip::read(&own),
            None => Err(Error::NoArchitecture { path: weights.to_owned() }),
        },
    }
}

/// The source as the encoders see it: computed in f32.
impl Weights for Checkpoint {
    fn path(&self) -> &Path {
        &self.path
    }

    fn tensor(&self, name: &str) -> Result<Tensor, edgeclip_model::Error> {
        let missing = || edgeclip_model::Error::MissingTensor { file: self.path.clone(), name: name.into() };
        let source = &self.tensors[*self.index.get(name).ok_or_else(missing)?];
        Ok(Tensor { format: source.format, dims: source.spec.dims.clone(), bytes: source.read() })
    }

    fn is_quantized(&self) -> bool {
        false
    }
}

fn parent(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The folder's name, or the file's without its ending.
fn name_of(input: &Path) -> String {
    // Of a link its own name, not that of what it leads to; `.` and `..` have names too.
    let full = if input.file_name().is_some() { input.to_owned() } else { input.canonicalize().unwrap_or_default() };
    let name = if full.is_dir() { full.file_name() } else { full.file_stem() };
    name.map_or_else(|| "clip".into(), |name| name.to_string_lossy().into_owned())
}
