//! Checkpoints of the repository, and copies of them with something changed.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its share")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use edgeclip_convert::{Error, Options, Report, Target, convert};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::Value;

pub const MODELS: [&str; 6] = ["odd-legacy", "odd-sharded", "odd-f16", "odd-bf16", "odd-wide", "odd-ids"];

/// A checkpoint's folder.
pub fn checkpoint(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    if name == "demo" { root.join("models/demo") } else { root.join("tests/data").join(name) }
}

pub fn to(target: Target) -> Options {
    Options { target, ..Options::default() }
}

pub fn unchecked(target: Target) -> Options {
    Options { check: false, ..to(target) }
}

/// Names of the files in a folder, sorted.
pub fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A tensor as it stands in a file.
#[derive(Clone)]
pub struct Raw {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

impl Raw {
    /// Values of an f32 or f16 tensor's bytes.
    pub fn set(&mut self, index: usize, value: f32) {
        match self.dtype {
            Dtype::F32 => self.bytes[4 * index..][..4].copy_from_slice(&value.to_le_bytes()),
            Dtype::F16 => {
                edgeclip_model::Format::F16.quantize(&[value], &mut self.bytes[2 * index..][..2]);
            }
            other => panic!("{other}"),
        }
    }
}

pub fn read_tensors(path: &Path) -> Vec<Raw> {
    let bytes = fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let raw = |(name, view): (String, TensorView<'_>)| {
        let (dtype, shape, bytes) = (view.dtype(), view.shape().to_vec(), view.data().to_vec());
        Raw { name, dtype, shape, bytes }
    };
    let mut tensors: Vec<Raw> = tensors.tensors().into_iter().map(raw).collect();
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    tensors
}

/// A copy of a checkpoint in a temporary folder, and a place for outputs beside it.
pub struct Copy {
    folder: tempfile::TempDir,
}

impl Copy {
    pub fn of(name: &str) -> Self {
        let copy = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(copy.path()).unwrap();
        fs::create_dir(copy.folder.path().join("out")).unwrap();
        for entry in fs::read_dir(checkpoint(name)).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_file() {
                fs::copy(entry.path(), copy.file(entry.file_name().to_str().unwrap())).unwrap();
            }
        }
        copy
    }

    /// The checkpoint.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("model")
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// The folder of the output.
    pub fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    pub fn output(&self) -> PathBuf {
        self.out().join("m.gguf")
    }

    pub fn remove(self, name: &str) -> Self {
        fs::remove_file(self.file(name)).unwrap();
        self
    }

    pub fn write(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        fs::write(self.file(name), content).unwrap();
        self
    }

    pub fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.file(name)).unwrap()).unwrap()
    }

    /// Changes a JSON file.
    pub fn edit(self, name: &str, edit: impl FnOnce(&mut Value)) -> Self {
        let mut value = self.json(name);
        edit(&mut value);
        self.write(name, value.to_string())
    }

    /// Changes config.json.
    pub fn config(self, edit: impl FnOnce(&mut Value)) -> Self {
        self.edit("config.json", edit)
    }

    /// Changes the tensors of model.safetensors.
    pub fn tensors(self, edit: impl FnOnce(&mut Vec<Raw>)) -> Self {
        let mut tensors = read_tensors(&self.file("model.safetensors"));
        edit(&mut tensors);
        let views = tensors.iter().map(|raw| (&raw.name, TensorView::new(raw.dtype, raw.shape.clone(), &raw.bytes).unwrap()));
        let bytes = safetensors::serialize(views, None).unwrap();
        self.write("model.safetensors", bytes)
    }

    /// Changes one tensor of model.safetensors.
    pub fn tensor(self, name: &str, edit: impl FnOnce(&mut Raw)) -> Self {
        self.tensors(|tensors| edit(tensors.iter_mut().find(|raw| raw.name == name).unwrap()))
    }

    pub fn convert(&self, options: &Options) -> Result<Report, Error> {
        convert(&self.path(), &self.output(), options, &())
    }

    /// The id of what the conversion to f32 computes.
    #[track_caller]
    pub fn content_id(&self) -> String {
        self.convert(&unchecked(Target::F32)).unwrap().content_id
    }

    /// The message of a refusal, with `{}` for the checkpoint's folder. Nothing is left, and an older output is untouched.
    #[track_caller]
    pub fn refusal(&self) -> String {
        self.refusal_of(&unchecked(Target::Q8_0))
    }

    #[track_caller]
    pub fn refusal_of(&self, options: &Options) -> String {
        fs::write(self.output(), "older").unwrap();
        let error = self.convert(options).expect_err("expected a refusal");
        assert_eq!(files(&self.out()), ["m.gguf"]);
        assert_eq!(fs::read(self.output()).unwrap(), b"older");
        let message = error.to_string();
        assert!(!message.contains('\n') && !message.contains('\u{1b}'), "not one line: {message}");
        message.replace(self.path().to_str().unwrap(), "{}")
    }
}
