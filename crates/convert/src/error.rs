//! What can be wrong with a checkpoint, or go wrong on the way to a file.

use std::{fmt, io, path::PathBuf};

use edgeclip_model::Tower;

use crate::{Report, Target, probes::SHOWN_CHARS};

/// A checkpoint that cannot be converted, or a conversion that failed. No file is left behind, and an older one is untouched.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The system refused.
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was being done, as in `cannot {doing}`.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The folder holds no weights that can be read.
    NoWeights {
        /// The folder.
        path: PathBuf,
        /// Weights in formats that are not read, if there are some.
        unread: Vec<String>,
    },
    /// The folder holds several files that may be the weights, none of which has a known name.
    SeveralWeights {
        /// The folder.
        path: PathBuf,
        /// The first of them.
        names: Vec<String>,
        /// How many there are.
        count: usize,
    },
    /// A file is in no container that is read.
    UnknownContainer {
        /// The file.
        path: PathBuf,
        /// Its first bytes.
        start: Vec<u8>,
    },
    /// The tensors are not named as in any model that can be converted.
    UnknownLayout {
        /// The weights.
        path: PathBuf,
        /// What they are, if that is known.
        other: Option<&'static str>,
        /// Names of some of them.
        names: Vec<String>,
    },
    /// A file that belongs to the weights is not there.
    NoConfig {
        /// The folder.
        path: PathBuf,
        /// The file that is needed.
        missing: &'static str,
    },
    /// Nothing says what the architecture of the weights is.
    NoArchitecture {
        /// The weights.
        path: PathBuf,
    },
    /// [`Options::arch`](crate::Options::arch) names none that is known.
    UnknownArchitecture {
        /// The name.
        name: String,
        /// Those that are.
        known: String,
    },
    /// [`Options::arch`](crate::Options::arch) is given for weights whose architecture is known.
    NeedlessArchitecture {
        /// The weights.
        path: PathBuf,
        /// The name.
        name: String,
        /// What says the architecture.
        by: DescribedBy,
    },
    /// The encoder that was asked for is not in the checkpoint.
    NoTower {
        /// What describes the checkpoint.
        path: PathBuf,
        /// The encoder.
        tower: Tower,
    },
    /// A GGUF file has weights that are quantized already.
    Quantized {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its type.
        found: String,
    },
    /// The model is none that clip.cpp loads.
    ClipCpp {
        /// The checkpoint.
        path: PathBuf,
        /// What clip.cpp needs and what was found.
        problem: String,
    },
    /// A file is larger than any of its kind.
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most that is read, bytes.
        limit: u64,
        /// Its size, bytes.
        found: u64,
    },
    /// A file is not what its name says.
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The checkpoint is of another family.
    ModelType {
        /// Its config.json.
        path: PathBuf,
        /// The family.
        found: String,
    },
    /// A value that makes no sense, or that CLIP's encoders here cannot follow.
    Key {
        /// The file.
        path: PathBuf,
        /// The key, with the names of the objects around it.
        key: String,
        /// What it has to be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// Tensors are not there.
    MissingTensors {
        /// The weights.
        path: PathBuf,
        /// The first of them.
        names: Vec<String>,
        /// How many there are.
        count: usize,
        /// What says that they have to be.
        by: DescribedBy,
    },
    /// Tensors have no place in the model that the configuration describes.
    LeftOverTensors {
        /// The weights.
        path: PathBuf,
        /// The first of them.
        names: Vec<String>,
        /// How many there are.
        count: usize,
        /// What describes the model.
        by: DescribedBy,
    },
    /// A tensor has another shape than the configuration says.
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Dimensions as PyTorch states them.
        expected: Vec<u64>,
        /// Dimensions as PyTorch states them.
        found: Vec<u64>,
        /// What says the shape.
        by: DescribedBy,
    },
    /// A tensor is of a type that is not read.
    Dtype {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its type.
        found: String,
    },
    /// A weight is NaN or infinite.
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Which of its values, from 0, in the order they are stored.
        index: u64,
        /// The value.
        value: f32,
    },
    /// The vocabulary makes no tokenizer.
    Vocabulary {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: edgeclip_tokenize::Error,
    },
    /// The output cannot be put where it should go.
    Output {
        /// The output.
        path: PathBuf,
        /// Why.
        problem: &'static str,
    },
    /// The output could not be written or read back.
    Gguf(edgeclip_gguf::Error),
    /// The check could not run the source or the result.
    Model(edgeclip_model::Error),
    /// A compiled-in picture could not be preprocessed as the checkpoint says.
    Probe {
        /// The picture.
        name: &'static str,
        /// Why.
        error: edgeclip_preprocess::Error,
    },
    /// The checkpoint's own embedding of a probe is not finite, although all its weights are.
    SourceNotFinite {
        /// The checkpoint.
        path: PathBuf,
        /// The encoder.
        tower: Tower,
        /// The picture's name, or the sentence.
        probe: String,
    },
    /// The result's embedding of a probe is not finite, where the checkpoint's is.
    ResultNotFinite {
        /// The output.
        path: PathBuf,
        /// The encoder.
        tower: Tower,
        /// The picture's name, or the sentence.
        probe: String,
        /// The type that was asked for.
        target: Target,
    },
    /// [`Options::overrides`](crate::Options::overrides) names nothing that has a type to choose.
    NoSuchTensor {
        /// The name.
        name: String,
        /// The name of a tensor that has one, to show what they look like.
        example: String,
    },
    /// The result is further from the source than was asked for.
    Cosine {
        /// The probe that is furthest off.
        probe: String,
        /// Its cosine.
        cosine: f64,
        /// The least that was asked for.
        required: f64,
        /// The whole report.
        report: Box<Report>,
    },
    /// No mix of types is as close to the source as was asked for.
    TargetCosine {
        /// The checkpoint.
        path: PathBuf,
        /// The encoder that is not.
        tower: Tower,
        /// With the largest types, the probe that is furthest off.
        probe: String,
        /// Its cosine.
        cosine: f64,
        /// The least that was asked for.
        required: f64,
    },
    /// An instruction set for the check that this machine lacks.
    Isa(String),
    /// [`Progress::interrupted`](crate::Progress::interrupted) said so.
    Interrupted,
}

/// What says how the tensors of a checkpoint have to be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DescribedBy {
    /// A file beside the weights, by its name.
    File(&'static str),
    /// The name of an architecture that was given.
    Name(String),
    /// The other tensors.
    Shapes,
    /// The metadata of the GGUF file.
    Gguf,
}

impl fmt::Display for DescribedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(name) => f.write_str(name),
            Self::Name(name) => write!(f, "the architecture {name}"),
            Self::Shapes => f.write_str("the tensors' shapes"),
            Self::Gguf => f.write_str("the file's metadata"),
        }
    }
}

impl DescribedBy {
    /// The question that a contradiction raises.
    fn question(&self) -> String {
        match self {
            Self::File(name) => format!("is {name} that of these weights?"),
            Self::Name(name) => format!("is {name} the architecture of these weights?"),
            Self::Shapes | Self::Gguf => "is the checkpoint whole?".to_owned(),
        }
    }
}

/// Names in an error message, the rest counted.
pub(crate) const SHOWN_NAMES: usize = 5;

impl Error {
    pub(crate) fn io(path: impl Into<PathBuf>, doing: &'static str, source: io::Error) -> Self {
        Self::Io { path: path.into(), doing, source }
    }
}

/// A name out of an untrusted file: on one line, without control characters, and not too long.
pub(crate) fn shown(name: &str) -> String {
    const NAME_CHARS: usize = 120;
    // `escape_debug` of the whole text would escape quotes too.
    let escaped = |text: &str| {
        let plain = |c: char| matches!(c, '"' | '\'' | '\\');
        text.chars().map(|c| if plain(c) { c.to_string() } else { c.escape_debug().to_string() }).collect::<String>()
    };
    match name.char_indices().nth(NAME_CHARS) {
        Some((end, _)) => format!("{}...", escaped(&name[..end])),
        None => escaped(name),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |names: &[String], count: usize| match count.saturating_sub(names.len()) {
            0 => names.join(", "),
            more => format!("{} and {more} more", names.join(", ")),
        };
        let tensors = |count: usize| if count == 1 { "tensor is" } else { "tensors are" };
        match self {
            Self::Io { path, doing, source } => {
                let next = if source.kind() == io::ErrorKind::NotFound { "; check the path" } else { "" };
                write!(f, "{}: cannot {doing}: {source}{next}", path.display())
            }
            Self::NoWeights { path, unread } if unread.is_empty() => write!(
                f,
                "{}: expected a checkpoint, but the folder holds no weights (model.safetensors, pytorch_model.bin, \
                 open_clip_model.safetensors, open_clip_pytorch_model.bin, their indices, or a single .pt, .pth or .gguf)",
                path.display()
            ),
            Self::NoWeights { path, unread } => write!(
                f,
                "{}: the folder holds no weights that can be read, only {}; take the safetensors or PyTorch files of this model",
                path.display(),
                list(unread, unread.len())
            ),
            Self::SeveralWeights { path, names, count } => {
                write!(f, "{}: which of these is it: {}? give the path of one file", path.display(), list(names, *count))
            }
            Self::UnknownContainer { path, start } if start.is_empty() => {
                write!(f, "{}: the file is empty; get it again", path.display())
            }
            Self::UnknownContainer { path, start } => write!(
                f,
                "{}: expected safetensors, a PyTorch file or GGUF, found bytes \"{}\"; is it a checkpoint, and whole?",
                path.display(),
                start.escape_ascii()
            ),
            Self::UnknownLayout { path, other: Some(other), .. } => write!(f, "{}: this is {other}", path.display()),
            Self::UnknownLayout { path, other: None, names } if names.is_empty() => {
                write!(f, "{}: expected the tensors of a CLIP model, found none at all", path.display())
            }
            Self::UnknownLayout { path, other: None, names } => write!(
                f,
                "{}: expected the tensors of a CLIP model as transformers, OpenAI or open_clip name them, found others such as {}",
                path.display(),
                names.join(", ")
            ),
            Self::NoConfig { path, missing } => {
                write!(f, "{}: expected a Hugging Face CLIP folder, but it holds no {missing}", path.display())
            }
            Self::NoArchitecture { path } => write!(
                f,
                "{}: these weights do not say which activation and heads they are for, and there is no open_clip_config.json beside them; \
                 give --arch openai for a model of OpenAI's own classes, or open_clip's name of the architecture, such as --arch ViT-B-32",
                path.display()
            ),
            Self::UnknownArchitecture { name, known } => write!(f, "no architecture {name:?} (known: {known})"),
            Self::NeedlessArchitecture { path, name, by } => write!(
                f,
                "{}: --arch {name} is for weights that come without a configuration; here {by} says it, leave --arch away",
                path.display()
            ),
            Self::NoTower { path, tower } => write!(f, "{}: there is no {tower} encoder in this checkpoint", path.display()),
            Self::Quantized { path, name, found } => write!(
                f,
                "{}: tensor {name}: expected f32, f16 or bf16, found {found}: quantizing twice loses twice; convert the original checkpoint",
                path.display()
            ),
            Self::ClipCpp { path, problem } => write!(f, "{}: clip.cpp cannot load it: {problem}", path.display()),
            Self::TooLarge { path, limit, found } => {
                write!(f, "{}: expected at most {limit} bytes, found {found}; is it the right file?", path.display())
            }
            Self::Malformed { path, problem } => write!(f, "{}: {problem}", path.display()),
            Self::ModelType { path, found } => {
                write!(
                    f,
                    "{}: model_type is {found:?}, but only \"clip\" can be converted; take a CLIP checkpoint",
                    path.display()
                )
            }
            Self::Key { path, key, expected, found } => {
                write!(f, "{}: {key}: expected {expected}, found {found}", path.display())
            }
            Self::MissingTensors { path, names, count, by } => {
                let own = match by {
                    DescribedBy::File(name) => format!(", and is {name} its own?"),
                    DescribedBy::Name(name) => format!(", and is {name} its architecture?"),
                    DescribedBy::Shapes | DescribedBy::Gguf => "?".to_owned(),
                };
                write!(
                    f,
                    "{}: {count} {} missing: {}; are all files of the checkpoint there{own}",
                    path.display(),
                    tensors(*count),
                    list(names, *count)
                )
            }
            Self::LeftOverTensors { path, names, count, by } => write!(
                f,
                "{}: {count} {} no part of the model that {by} describes: {}; {}",
                path.display(),
                tensors(*count),
                list(names, *count),
                by.question()
            ),
            Self::Shape { path, name, expected, found, by } => {
                write!(
                    f,
                    "{}: tensor {name}: expected the shape {expected:?}, as {by} has it, found {found:?}; {}",
                    path.display(),
                    by.question()
                )
            }
            Self::Dtype { path, name, found } => {
                write!(f, "{}: tensor {name}: expected F32, F16 or BF16, found {found}; save it as one of these", path.display())
            }
            Self::NotFinite { path, name, index, value } => {
                write!(
                    f,
                    "{}: tensor {name}: expected finite values, found {value} at index {index}; the checkpoint is damaged, \
                     get it again",
                    path.display()
                )
            }
            Self::Vocabulary { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Output { path, problem } => write!(f, "{}: {problem}", path.display()),
            Self::Gguf(error) => error.fmt(f),
            Self::Model(error) => error.fmt(f),
            Self::Probe { name, error } => write!(f, "the check's picture {name} cannot be preprocessed: {error}"),
            Self::SourceNotFinite { path, tower, probe } => write!(
                f,
                "{}: the checkpoint itself is broken: its {tower} encoder, computed in f32, gives a vector that is not finite for the \
                 probe {probe:?}; get another checkpoint",
                path.display()
            ),
            Self::ResultNotFinite { path, tower, probe, target } => write!(
                f,
                "{}: not written: as {target} the {tower} encoder gives a vector that is not finite for the probe {probe:?}, where the \
                 checkpoint's is finite; take a wider --type",
                path.display()
            ),
            Self::NoSuchTensor { name, example } => write!(
                f,
                "no matrix has a name with the part {name:?}; names are like {example}, and parts of them are what stands between the dots"
            ),
            Self::Cosine { probe, cosine, required, report } => write!(
                f,
                "{}: not written: {probe} has a cosine of {cosine:.6} to the source, less than the {required} asked for; \
                 take a type with more bits",
                report.output.display()
            ),
            Self::TargetCosine { path, tower, probe, cosine, required } => write!(
                f,
                "{}: not written: even with the largest types, up to f16, the {tower} encoder's vector of {:?} has a cosine of {cosine:.7} to the \
                 source, less than the {required} asked for; ask for less, or convert to f32, which is exact",
                path.display(),
                probe.chars().take(SHOWN_CHARS).collect::<String>()
            ),
            Self::Isa(problem) => f.write_str(problem),
            Self::Interrupted => f.write_str("interrupted; nothing was written"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            // Shown as their causes, whose own causes follow.
            Self::Gguf(error) => error.source(),
            Self::Model(error) => error.source(),
            _ => None,
        }
    }
}

impl From<edgeclip_gguf::Error> for Error {
    fn from(error: edgeclip_gguf::Error) -> Self {
        Self::Gguf(error)
    }
}

impl From<edgeclip_model::Error> for Error {
    fn from(error: edgeclip_model::Error) -> Self {
        Self::Model(error)
    }
}
