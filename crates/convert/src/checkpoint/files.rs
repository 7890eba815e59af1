//! Which files a checkpoint is, and what is in them. What a file is, its first bytes say, never its name.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use serde::Deserialize;

use super::{hugging_face, json, open_clip, safetensors, stored::Stored, torch};
use crate::{
    Error,
    error::{SHOWN_NAMES, shown},
};

/// What to do about a file that is not whole.
pub(super) const AGAIN: &str = "download it again";

/// Largest index of shards that is read; a CLIP model's has some 100 kB.
const INDEX_LIMIT: u64 = 16 << 20;

/// Names of weights in transformers' layout, the first there is wins: safetensors before pickles, as in transformers.
const TRANSFORMERS: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];
/// The same of open_clip, in the order of its own `factory.py`.
const OPEN_CLIP: [&str; 8] = [
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
    "pytorch_model.bin",
    "pytorch_model.pth",
    "model.pth",
];
/// Endings of files that may be weights, for folders in which nothing has a known name.
const ENDINGS: [&str; 6] = ["safetensors", "bin", "pt", "pth", "ckpt", "gguf"];
/// Endings of weights that are not read.
const UNREAD: [&str; 5] = ["msgpack", "h5", "onnx", "npz", "tflite"];

/// A mapped file and what is in it.
#[derive(Debug)]
pub(super) struct WeightFile {
    pub(super) path: PathBuf,
    pub(super) bytes: Bytes,
    pub(super) tensors: Vec<Stored>,
    /// Of a TorchScript archive: the class of each module by its path.
    pub(super) script: Option<Vec<(String, String)>>,
}

/// The weights that were found.
pub(super) enum Weights {
    /// A file that carries its configuration.
    Gguf(PathBuf, Bytes),
    /// One file, or the shards of one, in the order of their names.
    Tensors(Vec<WeightFile>),
}

#[derive(Deserialize)]
struct Index {
    weight_map: HashMap<String, String>,
}

/// Opens the weights: `input` itself if it is a file, else the best there is in the folder.
pub(super) fn open(input: &Path) -> Result<Weights, Error> {
    let found = fs::metadata(input).map_err(|source| Error::io(input, "open it", source))?;
    if !found.is_dir() {
        // The index of shards may be named itself.
        return if is_index(input) { sharded(input) } else { open_file(input) };
    }
    let is_transformers = hugging_face::is_described(&input.join("config.json"));
    let names = match (is_transformers, input.join(open_clip::CONFIG).exists()) {
        // Whatever the layout, safetensors before pickles.
        (true, true) => [&TRANSFORMERS[..1], &OPEN_CLIP[..2], &TRANSFORMERS[1..]].concat(),
        (false, true) => OPEN_CLIP.to_vec(),
        (_, false) => TRANSFORMERS.to_vec(),
    };
    for name in names.iter().chain(&OPEN_CLIP) {
        let single = input.join(name);
        if single.exists() {
            return open_file(&single);
        }
        let index = input.join(format!("{name}.index.json"));
        if index.exists() {
            return sharded(&index);
        }
    }
    let (mut weights, unread) = (named(input, &ENDINGS), named(input, &UNREAD));
    match weights.as_slice() {
        [only] => open_file(&input.join(only)),
        [] => Err(Error::NoWeights { path: input.to_owned(), unread }),
        _ => {
            let count = weights.len();
            weights.truncate(SHOWN_NAMES);
            Err(Error::SeveralWeights { path: input.to_owned(), names: weights, count })
        }
    }
}

/// Names in a folder with one of these endings, sorted.
fn named(folder: &Path, endings: &[&str]) -> Vec<String> {
    let names = fs::read_dir(folder).into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let has_ending = |name: &String| {
        Path::new(name).extension().is_some_and(|ending| endings.iter().any(|known| ending.eq_ignore_ascii_case(known)))
    };
    let mut names: Vec<String> = names.filter(has_ending).collect();
    names.sort();
    names
}

fn is_index(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(".index.json"))
}

/// Maps a file and checks all of it but the values.
fn open_file(path: &Path) -> Result<Weights, Error> {
    let map = edgeclip_mmap::open(path).map_err(|source| Error::io(path, "open it", source))?;
    let bytes = map.bytes().clone();
    if bytes.starts_with(b"GGUF") {
        return Ok(Weights::Gguf(path.to_owned(), bytes));
    }
    Ok(Weights::Tensors(vec![read(path.to_owned(), bytes)?]))
}

fn read(path: PathBuf, bytes: Bytes) -> Result<WeightFile, Error> {
    // First, since a length may begin with the same two bytes as a pickle.
    if !safetensors::is_safetensors(&bytes) {
        if torch::is_torch(&bytes) {
            let torch::Archive { tensors, script } = torch::read(&path, &bytes)?;
            return Ok(WeightFile { path, bytes, tensors, script });
        }
        if bytes.starts_with(b"version https://git-lfs.github.com/") {
            let problem = "this is Git LFS's pointer to the weights; fetch them with `git lfs pull`, or download the file itself";
            return Err(Error::Malformed { path, problem: problem.into() });
        }
        let start = bytes[..bytes.len().min(8)].to_vec();
        return Err(Error::UnknownContainer { path, start });
    }
    let tensors = safetensors::read(&bytes).map_err(|problem| Error::Malformed { path: path.clone(), problem })?;
    Ok(WeightFile { path, bytes, tensors, script: None })
}

/// The files that an index of shards names.
fn sharded(index: &Path) -> Result<Weights, Error> {
    let malformed = |problem: String| Error::Malformed { path: index.to_owned(), problem };
    let Index { weight_map } = json::parse(index, INDEX_LIMIT)?;
    let folder = index.parent().unwrap_or(Path::new("."));
    let names: BTreeSet<&String> = weight_map.values().collect();
    let mut files = Vec::new();
    for name in names {
        // A plain name cannot lead out of the folder.
        if name.contains(['/', '\\', ':', '\0']) || name.starts_with('.') || name.is_empty() {
            return Err(malformed(format!("expected names of files in the same folder, found \"{}\"", shown(name))));
        }
        let path = folder.join(name);
        let map = edgeclip_mmap::open(&path).map_err(|source| Error::io(&path, "open it", source))?;
        files.push(read(path, map.bytes().clone())?);
    }
    let mut places = HashMap::new();
    for file in &files {
        for tensor in &file.tensors {
            if places.insert(tensor.name.as_str(), &file.path).is_some() {
                return Err(malformed(format!("tensor {} is in two of its files", shown(&tensor.name))));
            }
        }
    }
    for (tensor, name) in &weight_map {
        if places.get(tensor.as_str()).is_none_or(|path| !path.ends_with(name)) {
            return Err(malformed(format!("tensor {} is not in {}, where the index has it", shown(tensor), shown(name))));
        }
    }
    Ok(Weights::Tensors(files))
}
