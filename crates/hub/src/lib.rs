//! Models by name: a registry, the names that CLIP's tools have for them, the caches that they are in, and with the feature `download` the
//! way there.
//!
//! ```no_run
//! use edgeclip_hub::{Hub, Name, Settings};
//!
//! let hub = Hub::new(Settings::from_env()?);
//! let name: Name = "ViT-B-32:laion2b_s34b_b79k".parse()?;
//! let checkpoint = hub.get(&name, &())?;
//! println!("{} is in {}", checkpoint.name, checkpoint.path.display());
//! # Ok::<(), edgeclip_hub::Error>(())
//! ```
//!
//! The caches are those of `huggingface_hub` and `clip`, so that nothing is downloaded twice. This crate finds checkpoints and keeps
//! converted files; it does not convert, and knows nothing of what is in them.
#![forbid(unsafe_code)]

mod cache;
mod converted;
#[cfg(feature = "download")]
mod download;
mod error;
#[cfg(feature = "download")]
mod http;
mod lock;
mod name;
mod plan;
pub mod registry;
#[cfg(all(test, feature = "download"))]
#[path = "../../../tests/support/server.rs"]
mod server;
mod settings;
mod sums;

use std::path::{Path, PathBuf};

use crate::{
    cache::RepoCache,
    registry::{Model, OpenAiFile},
    sums::Sums,
};
pub use crate::{
    converted::Place,
    error::Error,
    name::{Name, Repo},
    registry::Registry,
    settings::{Settings, Token},
};

/// Is told how far a download is, and asked whether to go on.
pub trait Progress: Sync {
    /// A step of so many bytes begins, named for people; the step before it is over.
    fn begin(&self, step: &str, total: u64);

    /// So many bytes more.
    fn advance(&self, n: u64);

    /// Something that people who wait want to know.
    fn note(&self, text: &str) {
        let _ = text;
    }

    /// Whether to stop: the call then fails with [`Error::Interrupted`], and the next one goes on from where this one was.
    fn interrupted(&self) -> bool {
        false
    }
}

/// Keeps quiet.
impl Progress for () {
    fn begin(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {}
}

/// A checkpoint on this machine.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// What it is called.
    pub name: String,
    /// A folder with configuration, vocabulary and weights, or a file that has everything.
    pub path: PathBuf,
    /// The files that make it.
    pub files: Vec<PathBuf>,
    /// What the weights are of if nothing beside them says so: a name of open_clip's, or `openai`.
    pub architecture: Option<String>,
    /// What is known of it.
    pub model: Option<&'static Model>,
}

/// The caches and, if the feature `download` is on, the servers behind them.
#[derive(Clone, Debug)]
pub struct Hub {
    settings: Settings,
    sums: Sums,
}

impl Hub {
    /// With caches where the settings say.
    pub fn new(settings: Settings) -> Self {
        Self { sums: Sums::new(&settings.cache), settings }
    }

    /// What the environment said.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The checkpoint from a cache, or downloaded. What is in a cache is taken without asking anybody.
    ///
    /// # Errors
    /// [`Error`] says what was looked for, where, and what to do.
    pub fn get(&self, name: &Name, progress: &dyn Progress) -> Result<Checkpoint, Error> {
        match name {
            Name::Path(path) => self.local(path),
            Name::Model(model) => match self.find_model(model, progress)? {
                Some(checkpoint) => Ok(checkpoint),
                None => self.pull(name, progress),
            },
            Name::Repo(repo) => {
                let find = |all| self.find_repo(repo, repo.model(), &repo.to_string(), all);
                if let Some(checkpoint) = find(self.can_fetch())? {
                    return Ok(checkpoint);
                }
                match self.pull(name, progress) {
                    // What there is may do.
                    Err(error @ (Error::Connection { .. } | Error::Status { .. })) => match find(false)? {
                        Some(checkpoint) => {
                            progress.note(&format!("{error}; going on with what the cache has"));
                            Ok(checkpoint)
                        }
                        None => Err(error),
                    },
                    pulled => pulled,
                }
            }
        }
    }

    /// The newest that the server has; what has been downloaded before is not downloaded again. Offline, what the caches have.
    ///
    /// # Errors
    /// [`Error`] says what was looked for, where, and what to do.
    pub fn pull(&self, name: &Name, progress: &dyn Progress) -> Result<Checkpoint, Error> {
        match name {
            Name::Path(path) => self.local(path),
            Name::Model(model) if !self.can_fetch() => match self.find_model(model, progress)? {
                Some(checkpoint) => Ok(checkpoint),
                None => Err(self.not_cached(&model.to_string(), model.openai.as_ref(), &model.repos)),
            },
            Name::Model(model) => {
                let repo = Repo::main(&model.repos[0]);
                match model.openai.as_ref().map(|file| self.fetch_openai(file, progress)) {
                    Some(Ok(path)) => return Ok(self.openai_checkpoint(model, path)),
                    Some(Err(error @ (Error::Connection { .. } | Error::Status { .. }))) => {
                        progress.note(&format!("{error}; taking {repo} from the Hub"));
                    }
                    Some(Err(error)) => return Err(error),
                    None => {}
                }
                self.pull_repo(&repo, &model.to_string(), progress)
            }
            Name::Repo(repo) => self.pull_repo(repo, &repo.to_string(), progress),
        }
    }

    /// Where a checkpoint's converted file is kept. Large files that a cache has not named by their sha256 are read for it once.
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be read.
    pub fn place(&self, checkpoint: &Checkpoint, ty: &str, converter: &str, progress: &dyn Progress) -> Result<Place, Error> {
        Place::new(&self.settings.cache, checkpoint, ty, converter, &self.sums, progress)
    }

    /// Whether a cache seems to have the model; nothing is read but names.
    pub fn has(&self, model: &Model) -> bool {
        let openai = model.openai.as_ref().is_some_and(|file| self.openai_path(file).is_file());
        openai
            || model
                .repos
                .iter()
                .any(|repo| matches!(RepoCache::new(&self.settings.hub_cache, &Repo::main(repo)).find(), Ok(Some(_))))
    }

    /// Types to which a model has been converted.
    pub fn converted(&self, name: &str) -> Vec<String> {
        converted::types(&self.settings.cache, name)
    }

    fn can_fetch(&self) -> bool {
        cfg!(feature = "download") && self.settings.offline.is_none()
    }

    /// A folder or file that the user named.
    fn local(&self, path: &Path) -> Result<Checkpoint, Error> {
        let name = path.canonicalize().map_err(|source| Error::io(path, "find it", source))?;
        let name = name.file_name().unwrap_or(name.as_os_str()).to_string_lossy().into_owned();
        let files = match path.is_dir() {
            false => vec![path.to_owned()],
            true => match cache::snapshot(path, &|_| true)? {
                Some(snapshot) => snapshot.files,
                None => return Err(no_weights(path.display().to_string())),
            },
        };
        Ok(Checkpoint { name, path: path.to_owned(), files, architecture: None, model: None })
    }

    /// Any of the model's sources that a cache has.
    fn find_model(&self, model: &'static Model, progress: &dyn Progress) -> Result<Option<Checkpoint>, Error> {
        let mut damaged = None;
        if let Some(file) = &model.openai {
            match self.find_openai(file, progress) {
                Ok(Some(path)) => return Ok(Some(self.openai_checkpoint(model, path))),
                Ok(None) => {}
                Err(error @ Error::Hash { .. }) => damaged = Some(error),
                Err(error) => return Err(error),
            }
        }
        for repo in &model.repos {
            if let Some(found) = self.find_repo(&Repo::main(repo), Some(model), &model.to_string(), false)? {
                return Ok(Some(found));
            }
        }
        match damaged {
            Some(error) if !self.can_fetch() => Err(error),
            Some(error) => {
                progress.note(&format!("{error}; downloading it again"));
                Ok(None)
            }
            None => Ok(None),
        }
    }

    /// What the cache has of a repository; `all`: only if the repository cannot have more that matters.
    fn find_repo(&self, repo: &Repo, model: Option<&'static Model>, name: &str, all: bool) -> Result<Option<Checkpoint>, Error> {
        let Some(snapshot) = RepoCache::new(&self.settings.hub_cache, repo).find()? else { return Ok(None) };
        if all && !snapshot.complete {
            return Ok(None);
        }
        let architecture = model.filter(|_| !snapshot.configured).map(Model::open_clip_architecture);
        Ok(Some(Checkpoint { name: name.to_owned(), path: snapshot.folder, files: snapshot.files, architecture, model }))
    }

    fn pull_repo(&self, repo: &Repo, name: &str, progress: &dyn Progress) -> Result<Checkpoint, Error> {
        if self.can_fetch() {
            self.fetch_repo(repo, progress)?;
        }
        match self.find_repo(repo, repo.model(), name, false)? {
            Some(checkpoint) => Ok(checkpoint),
            None if self.can_fetch() => Err(no_weights(repo.to_string())),
            None => Err(self.not_cached(name, None, std::slice::from_ref(&repo.id))),
        }
    }

    fn openai_path(&self, file: &OpenAiFile) -> PathBuf {
        self.settings.openai_cache.join(&file.name)
    }

    fn openai_checkpoint(&self, model: &'static Model, path: PathBuf) -> Checkpoint {
        Checkpoint {
            name: model.to_string(),
            files: vec![path.clone()],
            path,
            architecture: Some("openai".to_owned()),
            model: Some(model),
        }
    }

    /// OpenAI's file in the cache of `clip`, which may have left half a file there.
    fn find_openai(&self, file: &OpenAiFile, progress: &dyn Progress) -> Result<Option<PathBuf>, Error> {
        let path = self.openai_path(file);
        if !path.is_file() {
            return Ok(None);
        }
        match self.sums.sha256(&path, progress)? {
            found if found == file.sha256 => Ok(Some(path)),
            found => Err(Error::Hash { file: path.display().to_string(), expected: file.sha256.clone(), found }),
        }
    }

    fn not_cached(&self, name: &str, openai: Option<&OpenAiFile>, repos: &[String]) -> Error {
        let mut file = "config.json or open_clip_config.json with weights such as model.safetensors".to_owned();
        let mut places: Vec<PathBuf> = Vec::new();
        if let Some(openai) = openai {
            file = format!("{} or {file}", openai.name);
            places.push(self.settings.openai_cache.clone());
        }
        places.extend(repos.iter().map(|repo| self.settings.hub_cache.join(cache::folder_name(repo))));
        let how = match self.settings.offline {
            Some(variable) => format!(
                "{variable} forbids to download it: unset it and run `edgeclip pull {name}`, or copy that folder from a machine that has it"
            ),
            None => {
                "this build cannot download: put it there with Hugging Face's `hf download`, or build with the feature `download`"
                    .to_owned()
            }
        };
        Error::NotCached { name: name.to_owned(), file, places, how }
    }
}

fn no_weights(repo: String) -> Error {
    let both = plan::Layout { transformers: true, open_clip: true };
    Error::NoWeights { repo, wanted: both.weights().into_iter().map(str::to_owned).collect() }
}

#[cfg(not(feature = "download"))]
impl Hub {
    fn fetch_openai(&self, _: &OpenAiFile, _: &dyn Progress) -> Result<PathBuf, Error> {
        unreachable!("only asked for if it can be done")
    }

    fn fetch_repo(&self, _: &Repo, _: &dyn Progress) -> Result<(), Error> {
        unreachable!("only asked for if it can be done")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(root: &Path, variables: &[(&str, &str)]) -> Hub {
        let variable = |name: &str| match variables.iter().find(|(known, _)| *known == name) {
            Some((_, value)) => Some(value.into()),
            None => (name == "HOME").then(|| root.into()),
        };
        Hub::new(Settings::read(&variable).unwrap())
    }

    #[cfg(not(feature = "download"))]
    #[test]
    fn a_build_without_download_says_so() {
        let root = tempfile::tempdir().unwrap();
        for name in ["a/b", "ViT-B/32"] {
            for get in [Hub::get, Hub::pull] {
                let message = get(&hub(root.path(), &[]), &name.parse().unwrap(), &()).unwrap_err().to_string();
                assert!(
                    message.contains("not in the cache: looked for") && message.contains("this build cannot download"),
                    "{message}"
                );
            }
        }
    }

    #[test]
    fn any_source_of_a_model_will_do() {
        let root = tempfile::tempdir().unwrap();
        let hub = hub(root.path(), &[("HF_HUB_OFFLINE", "1")]);
        let name: Name = "ViT-B-32:openai".parse().unwrap();
        let Name::Model(model) = name else { panic!() };
        assert!(!hub.has(model));
        assert!(matches!(hub.get(&name, &()), Err(Error::NotCached { .. })));

        // timm's, for open_clip.
        let repo = root.path().join(".cache/huggingface/hub/models--timm--vit_base_patch32_clip_224.openai");
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let write = |path: &str, text: &str| {
            let path = repo.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("refs/main", commit);
        write(&format!("snapshots/{commit}/open_clip_model.safetensors"), "");
        let found = hub.get(&name, &()).unwrap();
        assert_eq!((found.name.as_str(), found.architecture.as_deref()), ("ViT-B-32:openai", Some("ViT-B-32-quickgelu")));
        // With a configuration beside the weights nobody has to say what they are.
        write(&format!("snapshots/{commit}/open_clip_config.json"), "{}");
        assert_eq!(hub.get(&name, &()).unwrap().architecture, None);
        assert!(hub.has(model));
        assert!(hub.get(&"timm/vit_base_patch32_clip_224.openai".parse().unwrap(), &()).is_ok());
        assert!(hub.get(&"openai/clip-vit-base-patch32".parse().unwrap(), &()).is_err());
    }
}
