//! From the Hub and from OpenAI's server into their caches.

mod transfer;

use std::{
    collections::HashSet,
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::{
    Error, Hub, Progress, Repo,
    cache::{self, RepoCache},
    download::transfer::Transfer,
    http::{Ask, Client},
    lock::Lock,
    name::{MAIN, is_commit, is_sha256},
    plan::{self, Layout},
    registry::OpenAiFile,
    sums,
};

/// The Hub's list of a repository's files; one of 10,000 files has 1 MB.
const MAX_LISTING: u64 = 16 << 20;
/// Hexadecimal digits of sha256 or git's names; other servers may have others.
const MAX_ETAG: usize = 128;

/// What the Hub says of a revision.
#[derive(Deserialize)]
struct Listing {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    #[serde(rename = "rfilename")]
    name: String,
}

impl Hub {
    /// OpenAI's file, into the cache of `clip`, unless it is there already.
    pub(crate) fn fetch_openai(&self, file: &OpenAiFile, progress: &dyn Progress) -> Result<PathBuf, Error> {
        let path = self.openai_path(file);
        let hidden = |ending: &str| path.with_file_name(format!(".{}.{ending}", file.name));
        let _lock = Lock::acquire(&hidden("lock"), progress)?;
        if let Ok(Some(path)) = self.find_openai(file, progress) {
            return Ok(path);
        }
        let client = Client::new(self.settings())?;
        let url = format!("{}{}", self.settings().openai_endpoint, file.path);
        let about = client.ask(&url, Ask::About, progress)?;
        let transfer = Transfer {
            url: &url,
            name: &file.name,
            incomplete: &hidden("incomplete"),
            target: &path,
            size: about.number("content-length"),
            limit: plan::MAX_WEIGHTS,
            sha256: Some(&file.sha256),
        };
        transfer.run(&client, progress)?;
        Ok(path)
    }

    /// What makes a checkpoint of a repository, into Hugging Face's cache.
    pub(crate) fn fetch_repo(&self, repo: &Repo, progress: &dyn Progress) -> Result<(), Error> {
        let client = Client::new(self.settings())?;
        let listing = self.list(&client, repo, progress)?;
        let fetch = Fetch {
            hub: self,
            client: &client,
            cache: RepoCache::new(&self.settings().hub_cache, repo),
            repo,
            names: listing.siblings.into_iter().map(|sibling| sibling.name).collect(),
            commit: listing.sha,
            progress,
        };
        fetch.all()
    }

    fn list(&self, client: &Client<'_>, repo: &Repo, progress: &dyn Progress) -> Result<Listing, Error> {
        let revision = if repo.revision == MAIN { MAIN.to_owned() } else { encoded(&repo.revision) };
        let url = format!("{}/api/models/{}/revision/{revision}", self.settings().endpoint, repo.id);
        let mut answer = client.ask(&url, Ask::For(0), progress)?;
        let wrong = |problem: String| Error::Answer { url: url.clone(), problem };
        let mut text = Vec::new();
        answer
            .body
            .as_reader()
            .take(MAX_LISTING + 1)
            .read_to_end(&mut text)
            .map_err(|error| Error::Connection { url: url.clone(), problem: format!("the connection failed: {error}") })?;
        if text.len() as u64 > MAX_LISTING {
            return Err(Error::Size { url, expected: MAX_LISTING, found: text.len() as u64 });
        }
        let listing: Listing = serde_json::from_slice(&text)
            .map_err(|_| wrong("expected a list of files as the Hub sends it; check HF_ENDPOINT and proxies".to_owned()))?;
        if !is_commit(&listing.sha) {
            return Err(wrong("expected a commit of 40 hexadecimal digits".to_owned()));
        }
        Ok(listing)
    }
}

struct Fetch<'a> {
    hub: &'a Hub,
    client: &'a Client<'a>,
    cache: RepoCache,
    repo: &'a Repo,
    names: HashSet<String>,
    commit: String,
    progress: &'a dyn Progress,
}

impl Fetch<'_> {
    fn all(&self) -> Result<(), Error> {
        let folder = self.cache.snapshot_folder(&self.commit);
        make_folder(&folder)?;
        for name in plan::SMALL {
            if self.names.contains(name) {
                self.file(name, plan::MAX_SMALL)?;
            } else {
                self.note_absence(name);
            }
        }
        let config = folder.join("config.json");
        let text = match config.is_file() {
            true => Some(cache::read(&config, plan::MAX_SMALL).map_err(|source| Error::io(&config, "read it", source))?),
            false => None,
        };
        let layout = Layout::new(text.as_deref(), self.names.contains("open_clip_config.json"));
        let wanted = layout.weights();
        let Some(best) = wanted.iter().find(|name| self.names.contains(**name)) else {
            let wanted = wanted.into_iter().map(str::to_owned).collect();
            return Err(Error::NoWeights { repo: self.repo.to_string(), wanted });
        };
        if best.ends_with(".index.json") {
            let index = self.file(best, plan::MAX_INDEX)?;
            let text = cache::read(&index, plan::MAX_INDEX).map_err(|source| Error::io(&index, "read it", source))?;
            for shard in plan::shards(best, &text)? {
                self.file(&shard, plan::MAX_WEIGHTS)?;
            }
        } else {
            self.file(best, plan::MAX_WEIGHTS)?;
        }
        // Last, so that whoever looks at the cache in between finds the whole of the old commit.
        self.note_reference()
    }

    /// One file, unless it is there already.
    fn file(&self, name: &str, limit: u64) -> Result<PathBuf, Error> {
        let pointer = self.cache.snapshot_folder(&self.commit).join(name);
        if pointer.is_file() {
            return Ok(pointer);
        }
        let settings = self.hub.settings();
        let url = format!("{}/{}/resolve/{}/{name}", settings.endpoint, self.repo.id, self.commit);
        let about = self.client.ask(&url, Ask::About, self.progress)?;
        let wrong = |problem: &str| Error::Answer { url: url.clone(), problem: problem.to_owned() };
        if about.header("x-repo-commit").is_none_or(|commit| commit != self.commit) {
            return Err(wrong("expected the commit that was asked for in X-Repo-Commit; check HF_ENDPOINT and proxies"));
        }
        let etag = about.header("x-linked-etag").or_else(|| about.header("etag")).unwrap_or_default();
        let etag = etag.trim_start_matches("W/").trim_matches('"');
        // It becomes the name of a file.
        let is_plain = etag.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if etag.is_empty() || etag.len() > MAX_ETAG || !is_plain || etag.starts_with('.') {
            return Err(wrong("expected an ETag of letters and digits"));
        }
        let is_redirect = (300..400).contains(&about.status);
        let size = about.number("x-linked-size").or_else(|| if is_redirect { None } else { about.number("content-length") });
        if let Some(size) = size.filter(|&size| size > limit) {
            return Err(Error::Size { url, expected: limit, found: size });
        }

        let blob = self.cache.blob(etag);
        let blobs = blob.parent().unwrap_or(&self.cache.folder);
        make_folder(blobs)?;
        let locks = settings.hub_cache.join(".locks").join(cache::folder_name(&self.repo.id));
        let _lock = Lock::acquire(&locks.join(format!("{etag}.lock")), self.progress)?;
        // Another process may have been faster.
        if !pointer.is_file() {
            if !blob.is_file() {
                let transfer = Transfer {
                    url: &url,
                    name,
                    incomplete: &blobs.join(format!("{etag}.incomplete")),
                    target: &blob,
                    size,
                    limit,
                    sha256: is_sha256(etag).then_some(etag),
                };
                transfer.run(self.client, self.progress)?;
            }
            link(&blob, &pointer, settings.symlinks)?;
        }
        Ok(pointer)
    }

    /// As `huggingface_hub` remembers that there is no such file; that this fails is no harm.
    fn note_absence(&self, name: &str) {
        let folder = self.cache.folder.join(".no_exist").join(&self.commit);
        let _ = fs::create_dir_all(&folder).and_then(|()| fs::write(folder.join(name), ""));
    }

    fn note_reference(&self) -> Result<(), Error> {
        if self.repo.revision == self.commit {
            return Ok(());
        }
        let path = self.cache.folder.join("refs").join(&self.repo.revision);
        if cache::read(&path, MAX_ETAG as u64).is_ok_and(|text| text == self.commit.as_bytes()) {
            return Ok(());
        }
        make_folder(path.parent().unwrap_or(&self.cache.folder))?;
        sums::replace(&path, self.commit.as_bytes()).map_err(|source| Error::io(&path, "write it", source))
    }
}

/// A relative link, so that the cache can be moved; where there are no links, the blob itself.
fn link(blob: &Path, pointer: &Path, symlinks: bool) -> Result<(), Error> {
    let target = Path::new("../../blobs").join(blob.file_name().unwrap_or_default());
    // A dangling link of a blob that somebody removed.
    if pointer.is_symlink() {
        let _ = fs::remove_file(pointer);
    }
    if symlinks && symlink(&target, pointer).is_ok() {
        return Ok(());
    }
    fs::rename(blob, pointer).map_err(|source| Error::io(pointer, "put it in place", source))
}

#[cfg(unix)]
fn symlink(target: &Path, pointer: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, pointer)
}

#[cfg(windows)]
fn symlink(target: &Path, pointer: &Path) -> std::io::Result<()> {
    std::os::windows::fs::symlink_file(target, pointer)
}

fn make_folder(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(|source| Error::io(path, "make this folder", source))
}

/// For a path of an address; a revision has few characters that need it.
fn encoded(revision: &str) -> String {
    revision.replace('/', "%2F").replace('+', "%2B")
}
