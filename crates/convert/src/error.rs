//! What can be wrong with a checkpoint, or go wrong on the way to a file.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use edgeclip_model::Tower;

use crate::{Report, Target};

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
    /// The input is no folder.
    NotAFolder {
        /// The input.
        path: PathBuf,
    },
    /// The folder holds nothing that can be read.
    NoCheckpoint {
        /// The folder.
        path: PathBuf,
        /// The file that is needed.
        missing: &'static str,
        /// Weights in formats that are not read, if there are some.
        unread: Vec<String>,
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
    },
    /// Tensors have no place in the model that the configuration describes.
    LeftOverTensors {
        /// The weights.
        path: PathBuf,
        /// The first of them.
        names: Vec<String>,
        /// How many there are.
        count: usize,
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
    /// [`Progress::interrupted`](crate::Progress::interrupted) said so.
    Interrupted,
}

const SAVE_IT_AGAIN: &str = "load it in Python and save it with transformers' save_pretrained, which writes safetensors";

/// Names in an error message, the rest counted.
pub(crate) const SHOWN_NAMES: usize = 5;

impl Error {
    pub(crate) fn io(path: impl Into<PathBuf>, doing: &'static str, source: io::Error) -> Self {
        Self::Io { path: path.into(), doing, source }
    }
}

/// Whether a file's name is that of weights in a format that is not read.
pub(crate) fn is_unread(path: &Path) -> bool {
    const ENDINGS: [&str; 8] = ["bin", "pt", "pth", "ckpt", "msgpack", "h5", "onnx", "npz"];
    path.extension().is_some_and(|ending| ENDINGS.iter().any(|unread| ending.eq_ignore_ascii_case(unread)))
}

/// A name out of an untrusted file: on one line, without control characters, and not too long.
pub(crate) fn shown(name: &str) -> String {
    const SHOWN_CHARS: usize = 120;
    // `escape_debug` of the whole text would escape quotes too.
    let escaped = |text: &str| {
        let plain = |c: char| matches!(c, '"' | '\'' | '\\');
        text.chars().map(|c| if plain(c) { c.to_string() } else { c.escape_debug().to_string() }).collect::<String>()
    };
    match name.char_indices().nth(SHOWN_CHARS) {
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
            Self::NotAFolder { path } if is_unread(path) => {
                write!(f, "{}: this format is not read yet; {SAVE_IT_AGAIN}", path.display())
            }
            Self::NotAFolder { path } => write!(
                f,
                "{}: expected the folder of a checkpoint (config.json, model.safetensors, vocab.json, merges.txt), found a file",
                path.display()
            ),
            Self::NoCheckpoint { path, missing, unread } if unread.is_empty() => {
                write!(f, "{}: expected a Hugging Face CLIP folder, but it holds no {missing}", path.display())
            }
            Self::NoCheckpoint { path, missing, unread } => write!(
                f,
                "{}: it holds no {missing}, only {}, a format that is not read yet; {SAVE_IT_AGAIN}",
                path.display(),
                unread.join(", ")
            ),
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
            Self::MissingTensors { path, names, count } => {
                write!(
                    f,
                    "{}: {count} {} missing: {}; are all files of the checkpoint there, and is config.json its own?",
                    path.display(),
                    tensors(*count),
                    list(names, *count)
                )
            }
            Self::LeftOverTensors { path, names, count } => write!(
                f,
                "{}: {count} {} no part of the model that config.json describes: {}; is it that of these weights?",
                path.display(),
                tensors(*count),
                list(names, *count)
            ),
            Self::Shape { path, name, expected, found } => {
                write!(
                    f,
                    "{}: tensor {name}: expected the shape {expected:?}, as config.json has it, found {found:?}; is config.json that of these \
                     weights?",
                    path.display()
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
