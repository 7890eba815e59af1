//! From the name of a model to a file: found, downloaded, converted once and kept.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use edgeclip::{Activation, Resize};
use edgeclip_convert::{Options, Progress as _, Target};
use edgeclip_gguf::File;
use edgeclip_hub::{Checkpoint, Hub, Name, Settings};
use edgeclip_model::schema;

use crate::{
    commands::convert::Steps,
    console::{Console, Interrupted},
    interrupt,
};

/// What the converter reads.
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    /// The model's name, unless a path was given.
    pub(crate) name: Option<String>,
    /// What the weights are of if nothing beside them says so.
    pub(crate) architecture: Option<String>,
}

/// The checkpoint of a path or name, downloaded if it is in no cache.
pub(crate) fn source(given: &Path, console: &Console) -> Result<Source> {
    match parse(given)? {
        Name::Path(path) => Ok(Source { path, name: None, architecture: None }),
        name => {
            let hub = hub()?;
            let Checkpoint { name, path, architecture, .. } = interruptible(hub.get(&name, &Watch::new(&hub, console)))?;
            Ok(Source { path, name: Some(name), architecture })
        }
    }
}

/// The GGUF file of a path or name; that of a name is made in the cache if it is not there yet.
pub(crate) fn model(given: &Path, target: Target, console: &Console) -> Result<PathBuf> {
    // A path is a GGUF file, except if it is said to be open_clip's folder.
    let is_folder = given.to_str().is_some_and(|text| text.trim().starts_with("local-dir:"));
    match parse(given)? {
        Name::Path(path) if !is_folder => Ok(path),
        name => {
            let hub = hub()?;
            let checkpoint = interruptible(hub.get(&name, &Watch::new(&hub, console)))?;
            converted(&hub, &checkpoint, target, console)
        }
    }
}

/// The newest that the Hub has of a name, converted.
pub(crate) fn pull(name: &str, target: Target, console: &Console) -> Result<PathBuf> {
    let hub = hub()?;
    let checkpoint = interruptible(hub.pull(&name.parse()?, &Watch::new(&hub, console)))?;
    converted(&hub, &checkpoint, target, console)
}

/// The caches that the environment names.
pub(crate) fn hub() -> Result<Hub> {
    Ok(Hub::new(Settings::from_env()?))
}

/// A model's name as the beginning of a file's: without the owner of a repository, as its folder would be called.
pub(crate) fn stem(name: &str) -> String {
    let (id, revision) = name.split_at(name.find('@').unwrap_or(name.len()));
    let id = id.rsplit('/').next().unwrap_or(id);
    format!("{id}{revision}").replace(['/', ':', '@'], "-")
}

fn parse(given: &Path) -> Result<Name> {
    match given.to_str() {
        Some(text) => Ok(text.parse()?),
        None => Ok(Name::Path(given.to_owned())),
    }
}

/// What decides the bytes of a converted file besides checkpoint and type.
fn converter() -> String {
    let (version, schema, revision) = (env!("CARGO_PKG_VERSION"), schema::VERSION, edgeclip_convert::REVISION);
    format!("edgeclip {version} schema {schema} revision {revision}")
}

fn converted(hub: &Hub, checkpoint: &Checkpoint, target: Target, console: &Console) -> Result<PathBuf> {
    let place = hub.place(checkpoint, &target.to_string(), &converter(), &Watch::new(hub, console));
    let place = interruptible(place)?;
    let is_good = |path: &Path| File::open(path).is_ok_and(|file| schema::from_file(&file).is_ok());
    let made = place.make(&is_good, &Watch::new(hub, console), |path| -> Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).with_context(|| format!("{}: cannot make this folder", folder.display()))?;
        console.note(&format!("{}: converting to {target}, once", checkpoint.name));
        let compute = console.compute()?;
        let options = Options {
            target,
            name: Some(checkpoint.name.clone()),
            arch: checkpoint.architecture.clone(),
            isa: compute.isa,
            groups: compute.groups,
            ..Options::default()
        };
        match edgeclip_convert::convert(&checkpoint.path, path, &options, &Steps::new(console)) {
            Ok(_) => compare(checkpoint, path, console),
            Err(edgeclip_convert::Error::Interrupted) => Err(Interrupted.into()),
            Err(error) => Err(error.into()),
        }
    });
    interruptible(made)?;
    Ok(place.path().to_owned())
}

/// Says where the checkpoint's own configuration and the registry disagree. Activation and preprocessing belong to the checkpoint, not to
/// the architecture, and the wrong ones cost points of accuracy without any other sign.
fn compare(checkpoint: &Checkpoint, path: &Path, console: &Console) -> Result<()> {
    let Some(model) = checkpoint.model else { return Ok(()) };
    let config = schema::from_file(&File::open(path)?)?;
    let mut differences = Vec::new();
    let mut differ = |what: &str, expected: String, found: String| {
        if found != expected {
            differences.push(format!("{what} {expected}, not {found}"));
        }
    };
    let towers = [config.image.as_ref().map(|image| &image.tower), config.text.as_ref().map(|text| &text.tower)];
    if let Some(tower) = towers.into_iter().flatten().next() {
        let found = match tower.activation {
            Activation::QuickGelu => "quick_gelu",
            Activation::Gelu => "gelu",
            Activation::GeluTanh => "gelu_tanh",
        };
        differ("activation", model.activation.to_string(), found.to_owned());
    }
    if let Some(image) = &config.image {
        let (expected, found) = (&model.preprocessing, &image.preprocessing);
        let digits = |values: [f64; 3]| values.map(|value| format!("{value:.4}")).join(" ");
        differ("pictures of", expected.size.to_string(), found.size.to_string());
        differ("mean", digits(expected.mean), digits(found.mean.map(f64::from)));
        differ("std", digits(expected.std), digits(found.std.map(f64::from)));
        let resize = if found.resize == Resize::Squash { "squash" } else { "shortest" };
        differ("resize mode", expected.resize_mode.clone(), resize.to_owned());
    }
    if !differences.is_empty() {
        console.note(&format!(
            "{}: its configuration, which is what counts here, is not what open_clip has for these weights: {}",
            checkpoint.name,
            differences.join("; ")
        ));
    }
    Ok(())
}

/// An interrupt of the hub's is one of the program's.
fn interruptible<T, E: Into<anyhow::Error>>(result: Result<T, E>) -> Result<T> {
    result.map_err(|error| {
        let error = error.into();
        match error.downcast_ref::<edgeclip_hub::Error>() {
            Some(edgeclip_hub::Error::Interrupted) => Interrupted.into(),
            _ => error,
        }
    })
}

/// Downloads as progress bars.
struct Watch<'a> {
    console: &'a Console,
    /// `None` if the environment wants no bars.
    bars: Option<Steps<'a>>,
}

impl<'a> Watch<'a> {
    fn new(hub: &Hub, console: &'a Console) -> Self {
        interrupt::watch();
        Self { console, bars: hub.settings().progress.then(|| Steps::new(console)) }
    }
}

impl edgeclip_hub::Progress for Watch<'_> {
    fn begin(&self, step: &str, total: u64) {
        if let Some(bars) = &self.bars {
            bars.begin(step, total);
        }
    }

    fn advance(&self, n: u64) {
        if let Some(bars) = &self.bars {
            bars.advance(n);
        }
    }

    fn note(&self, text: &str) {
        self.console.note(text);
    }

    fn interrupted(&self) -> bool {
        interrupt::interrupted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_after_models() {
        for (name, expected) in [
            ("ViT-B-32:openai", "ViT-B-32-openai"),
            ("openai/clip-vit-base-patch32", "clip-vit-base-patch32"),
            ("a/b@refs/pr/1", "b-refs-pr-1"),
        ] {
            assert_eq!(stem(name), expected);
        }
    }
}
