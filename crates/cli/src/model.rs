//! Which model, and what is written beside every vector about it.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use clap::Args;
use edgeclip::{Clip, Tower};
use edgeclip_convert::Target;
use edgeclip_gguf::File;
use serde::Serialize;

use crate::{commands::convert::target, console::Console, names};

/// The environment variable that names a model.
pub(crate) const VARIABLE: &str = "EDGECLIP_MODEL";

#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    /// GGUF file of the model, or a name as `edgeclip models` lists them [default: what the environment variable EDGECLIP_MODEL says]
    #[arg(long, short, value_name = "FILE|NAME", help_heading = "Model")]
    model: Option<PathBuf>,
    /// Type to which the model of a name is converted, as for `edgeclip convert --type`
    #[arg(long, value_name = "TYPE", default_value = "q8_0", value_parser = target, help_heading = "Model")]
    model_type: Target,
}

impl ModelArgs {
    /// The model asked for, loaded.
    pub(crate) fn load(&self, console: &Console) -> Result<Model> {
        Model::load(&names::model(&given(self.model.as_deref())?, self.model_type, console)?, console)
    }
}

/// The file or name that is given or that the environment has.
pub(crate) fn given(given: Option<&Path>) -> Result<PathBuf> {
    match given.map(Path::to_owned).or_else(from_environment) {
        Some(path) => Ok(path),
        None => bail!(
            "no model: give --model FILE or set {VARIABLE}; a Hugging Face CLIP folder becomes such a file by \
             `edgeclip convert FOLDER --output model.gguf`, then add `--model model.gguf`; or name one that `edgeclip models` lists"
        ),
    }
}

/// The file or name that the environment has.
pub(crate) fn from_environment() -> Option<PathBuf> {
    std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// A loaded model, and its origin.
pub(crate) struct Model {
    pub(crate) clip: Clip,
    pub(crate) origin: Origin,
}

impl Model {
    pub(crate) fn load(path: &Path, console: &Console) -> Result<Self> {
        if path.is_dir() {
            bail!(
                "{0}: this is a folder, not a GGUF file; convert it first: edgeclip convert {0} --output model.gguf",
                path.display()
            );
        }
        let clip = Clip::load_with(path, &console.compute()?)?;
        let origin = Origin {
            name: clip.config().name.clone().unwrap_or_else(|| stem(path)),
            ty: main_type(clip.file()),
            content_id: clip.content_id().map(str::to_owned),
        };
        Ok(Self { clip, origin })
    }

    /// Whether the file has this encoder, to be asked before any input is read: that it has not is not the inputs' fault.
    pub(crate) fn require(&self, tower: Tower) -> Result<()> {
        let config = self.clip.config();
        let there = match tower {
            Tower::Image => config.image.is_some(),
            Tower::Text => config.text.is_some(),
        };
        if there { Ok(()) } else { Err(edgeclip_model::Error::NoTower { file: self.clip.path().to_owned(), tower }.into()) }
    }
}

/// What a vector was computed with; vectors of different content ids must not be compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Origin {
    /// The name in the file, or else the file's own.
    pub(crate) name: String,
    /// The type that most weights have.
    #[serde(rename = "type")]
    pub(crate) ty: String,
    /// Absent in files of other converters.
    pub(crate) content_id: Option<String>,
}

/// The tensor type that holds the most elements.
pub(crate) fn main_type(file: &File) -> String {
    let mut elements: HashMap<String, u128> = HashMap::new();
    for tensor in file.tensors() {
        *elements.entry(tensor.ty.to_string()).or_default() += u128::from(tensor.elements());
    }
    // By name where there are as many, so that the answer is always the same.
    elements.into_iter().max_by(|a, b| a.1.cmp(&b.1).then_with(|| b.0.cmp(&a.0))).map_or_else(|| "none".to_owned(), |(ty, _)| ty)
}

/// A file's name without its extension.
fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_wins() {
        assert_eq!(given(Some(Path::new("a.gguf"))).unwrap(), Path::new("a.gguf"));
    }

    #[test]
    fn names_come_from_files() {
        assert_eq!(stem(Path::new("x/b32-q8_0.gguf")), "b32-q8_0");
        assert_eq!(stem(Path::new("/")), "/");
    }
}
