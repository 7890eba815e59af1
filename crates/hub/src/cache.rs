//! Hugging Face's cache of repositories, shared with Python:
//!
//! ```text
//! models--openai--clip-vit-base-patch32/
//!     refs/main                        the commit that `main` was when it was last asked for
//!     snapshots/<commit>/config.json   -> ../../blobs/<etag>
//!     blobs/<etag>                     named by sha256 if the file is a large one, else by git
//!     blobs/<etag>.incomplete          the beginning of a download
//!     .no_exist/<commit>/vocab.json    empty: the repository has no such file
//! .locks/models--openai--clip-vit-base-patch32/<etag>.lock
//! ```

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::{
    Error,
    name::{Repo, is_commit, is_sha256},
    plan::{self, Layout},
};

/// Longer than any reference.
const MAX_REF: u64 = 4096;

/// The folder of one repository in the cache.
#[derive(Clone, Debug)]
pub(crate) struct RepoCache {
    pub(crate) folder: PathBuf,
    repo: Repo,
}

/// The files of a checkpoint in a snapshot.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) folder: PathBuf,
    pub(crate) files: Vec<PathBuf>,
    /// There is a configuration beside the weights.
    pub(crate) configured: bool,
    /// Whether nothing is missing that the repository could have.
    pub(crate) complete: bool,
}

impl RepoCache {
    pub(crate) fn new(cache: &Path, repo: &Repo) -> Self {
        Self { folder: cache.join(folder_name(&repo.id)), repo: repo.clone() }
    }

    /// The commit that the revision was when it was last asked for.
    pub(crate) fn commit(&self) -> Option<String> {
        if is_commit(&self.repo.revision) {
            return Some(self.repo.revision.clone());
        }
        let text = read(&self.folder.join("refs").join(&self.repo.revision), MAX_REF).ok()?;
        let commit = std::str::from_utf8(&text).ok()?.trim();
        is_commit(commit).then(|| commit.to_owned())
    }

    pub(crate) fn snapshot_folder(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// What the cache holds at the revision; `None` if there are no weights.
    pub(crate) fn find(&self) -> Result<Option<Snapshot>, Error> {
        let Some(commit) = self.commit() else { return Ok(None) };
        let folder = self.snapshot_folder(&commit);
        let missing = |name: &str| self.folder.join(".no_exist").join(&commit).join(name).is_file();
        snapshot(&folder, &missing)
    }

    #[cfg(feature = "download")]
    pub(crate) fn blob(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }
}

/// `models--org--name`.
pub(crate) fn folder_name(repo: &str) -> String {
    format!("models--{}", repo.replace('/', "--"))
}

/// The checkpoint in a folder; `is_missing` says of files that are not there that they need not be looked for.
pub(crate) fn snapshot(folder: &Path, is_missing: &dyn Fn(&str) -> bool) -> Result<Option<Snapshot>, Error> {
    let has = |name: &str| folder.join(name).is_file();
    let config = folder.join("config.json");
    let config =
        if config.is_file() { Some(read(&config, plan::MAX_SMALL).map_err(|e| Error::io(&config, "read it", e))?) } else { None };
    let layout = Layout::new(config.as_deref(), has(plan::OPEN_CLIP_CONFIG));
    for name in layout.weights() {
        if !has(name) {
            continue;
        }
        let mut weights = vec![name.to_owned()];
        if name.ends_with(".index.json") {
            let index = folder.join(name);
            let text = read(&index, plan::MAX_INDEX).map_err(|e| Error::io(&index, "read it", e))?;
            weights.extend(plan::shards(name, &text)?);
            // A download that was not finished.
            if !weights.iter().all(|shard| has(shard)) {
                continue;
            }
        }
        let small = plan::SMALL.iter().filter(|name| has(name)).map(|name| (*name).to_owned());
        let files = small.chain(weights).map(|name| folder.join(name)).collect();
        let known = |name: &str| has(name) || is_missing(name);
        let complete = match layout {
            Layout { transformers: true, .. } => {
                let vocabulary = has("tokenizer.json") || known("vocab.json") && known("merges.txt");
                known("preprocessor_config.json") && vocabulary
            }
            Layout { open_clip: true, .. } => true,
            _ => known("config.json") && known(plan::OPEN_CLIP_CONFIG),
        };
        let configured = layout.transformers || layout.open_clip;
        return Ok(Some(Snapshot { folder: folder.to_owned(), files, configured, complete }));
    }
    Ok(None)
}

/// The sha256 that a file's blob is named by, if this is a large file of the cache.
pub(crate) fn blob_sha256(file: &Path) -> Option<String> {
    let target = fs::read_link(file).ok()?;
    let name = target.file_name()?.to_str()?;
    let is_blob = target.parent().and_then(Path::file_name).is_some_and(|folder| folder == "blobs");
    (is_blob && is_sha256(name)).then(|| name.to_owned())
}

/// A file of so many bytes at most.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("expected {limit} bytes at most")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn write(path: PathBuf, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn repo(root: &Path, reference: &str, files: &[(&str, &str)]) -> RepoCache {
        let cache = RepoCache::new(root, &Repo::main("a/b"));
        assert_eq!(cache.folder, root.join("models--a--b"));
        write(cache.folder.join("refs/main"), reference);
        for (name, text) in files {
            write(cache.snapshot_folder(COMMIT).join(name), text);
        }
        cache
    }

    const CLIP: (&str, &str) = ("config.json", r#"{"model_type": "clip"}"#);

    #[test]
    fn snapshots_are_found_by_reference_and_by_commit() {
        let root = tempfile::tempdir().unwrap();
        let cache = repo(root.path(), &format!("{COMMIT}\n"), &[CLIP, ("model.safetensors", ""), ("pytorch_model.bin", "")]);
        let found = cache.find().unwrap().unwrap();
        let names: Vec<_> = found.files.iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["config.json", "model.safetensors"]);
        assert!(found.configured && !found.complete);
        let commit = RepoCache::new(root.path(), &Repo { id: "a/b".into(), revision: COMMIT.into() });
        assert_eq!(commit.find().unwrap().unwrap().files, found.files);
        for other in [Repo::main("a/c"), Repo { id: "a/b".into(), revision: "v1".into() }] {
            assert!(RepoCache::new(root.path(), &other).find().unwrap().is_none());
        }
        // What is known not to be there is not missing.
        for name in ["preprocessor_config.json", "vocab.json", "merges.txt"] {
            assert!(!cache.find().unwrap().unwrap().complete);
            write(cache.folder.join(".no_exist").join(COMMIT).join(name), "");
        }
        assert!(cache.find().unwrap().unwrap().complete);
    }

    #[test]
    fn strange_references_lead_nowhere() {
        for reference in
            ["", "main", "../../../etc", &"0".repeat(41), &"a".repeat(10_000), "0123456789ABCDEF0123456789abcdef01234567"]
        {
            let root = tempfile::tempdir().unwrap();
            assert!(repo(root.path(), reference, &[CLIP]).find().unwrap().is_none(), "{reference}");
        }
    }

    #[test]
    fn a_checkpoint_without_all_its_shards_is_none() {
        let index = ("model.safetensors.index.json", r#"{"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}"#);
        let root = tempfile::tempdir().unwrap();
        let cache = repo(root.path(), COMMIT, &[CLIP, index, ("1.safetensors", "")]);
        assert!(cache.find().unwrap().is_none());
        write(cache.snapshot_folder(COMMIT).join("2.safetensors"), "");
        assert_eq!(cache.find().unwrap().unwrap().files.len(), 4);
    }
}
