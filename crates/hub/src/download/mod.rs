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
/// More than any file of weights on the Hub.
const MAX_WEIGHTS: u64 = 64 << 30;
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
            size: about.size(),
            limit: MAX_WEIGHTS,
            sha256: Some(&file.sha256),
        };
        transfer.run(&client, progress)?;
        self.sums.remember(&path, &file.sha256);
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
            match self.names.contains(name) {
                // Only if its weights are taken: beside others it would be of something that is not there.
                true if name == plan::OPEN_CLIP_CONFIG => {}
                true => drop(self.file(name, plan::MAX_SMALL)?),
                false => self.note_absence(name),
            }
        }
        let config = folder.join("config.json");
        let text = match config.is_file() {
            true => Some(cache::read(&config, plan::MAX_SMALL).map_err(|source| Error::io(&config, "read it", source))?),
            false => None,
        };
        let layout = Layout::new(text.as_deref(), self.names.contains(plan::OPEN_CLIP_CONFIG));
        let wanted = layout.weights();
        let Some(best) = wanted.iter().find(|name| self.names.contains(**name)) else {
            let wanted = wanted.into_iter().map(str::to_owned).collect();
            return Err(Error::NoWeights { repo: self.repo.to_string(), wanted });
        };
        if layout.open_clip && (!layout.transformers || best.starts_with("open_clip_")) {
            self.file(plan::OPEN_CLIP_CONFIG, plan::MAX_SMALL)?;
        }
        if best.ends_with(".index.json") {
            let index = self.file(best, plan::MAX_INDEX)?;
            let text = cache::read(&index, plan::MAX_INDEX).map_err(|source| Error::io(&index, "read it", source))?;
            for shard in plan::shards(best, &text)? {
                self.file(&shard, MAX_WEIGHTS)?;
            }
        } else {
            self.file(best, MAX_WEIGHTS)?;
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
        let size = about.size();
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::{
        Settings,
        server::{Reply, Request, Server},
    };

    /// Real ones are too large for a test: this is the same with another sum.
    fn file(bytes: &[u8]) -> OpenAiFile {
        use sha2::{Digest, Sha256};
        let sha256 = sums::hex(&Sha256::digest(bytes));
        OpenAiFile { path: format!("/clip/models/{sha256}/x.pt"), name: "x.pt".to_owned(), sha256 }
    }

    fn hub(root: &Path, server: &Server) -> Hub {
        let variable = |name: &str| match name {
            "HOME" => Some(root.into()),
            crate::settings::OPENAI_ENDPOINT => Some(server.address.clone().into()),
            _ => None,
        };
        Hub::new(Settings::read(&variable).unwrap())
    }

    /// What was noted, and an interrupt after so many bytes.
    #[derive(Default)]
    struct Watch {
        notes: Mutex<Vec<String>>,
        bytes: Mutex<u64>,
        interrupt_after: Option<u64>,
    }

    impl Progress for Watch {
        fn begin(&self, _: &str, _: u64) {}

        fn advance(&self, n: u64) {
            *self.bytes.lock().unwrap() += n;
        }

        fn note(&self, text: &str) {
            self.notes.lock().unwrap().push(text.to_owned());
        }

        fn interrupted(&self) -> bool {
            self.interrupt_after.is_some_and(|most| *self.bytes.lock().unwrap() > most)
        }
    }

    #[test]
    fn openai_s_file_comes_once_and_in_parts() {
        let bytes: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8).collect();
        let file = file(&bytes);
        let served = bytes.clone();
        let server = Server::start(move |request, before| {
            let cut = (request.method == "GET" && before == 0).then_some(200_000);
            Reply { cut, ..Reply::file(&served, request) }
        });
        let root = tempfile::tempdir().unwrap();
        let (hub, watch) = (hub(root.path(), &server), Watch::default());
        let path = hub.fetch_openai(&file, &watch).unwrap();
        assert_eq!(path, root.path().join(".cache/clip/x.pt"));
        assert_eq!(fs::read(&path).unwrap(), bytes);
        let gets = || server.requests().into_iter().filter(|request| request.method == "GET").map(|request| request.start());
        assert_eq!(gets().collect::<Vec<_>>(), [0, 200_000]);
        let notes = watch.notes.lock().unwrap().clone();
        assert!(
            notes.len() == 1 && notes[0].contains("the connection was cut") && notes[0].contains("trying again in 0.5 s"),
            "{notes:?}"
        );
        // It is there now, and known to be right without being read again.
        let again = Watch::default();
        hub.fetch_openai(&file, &again).unwrap();
        assert_eq!((gets().count(), *again.bytes.lock().unwrap()), (2, 0));
    }

    #[test]
    fn an_interrupt_keeps_what_has_come() {
        let bytes = vec![7; 3 << 20];
        let file = file(&bytes);
        let served = bytes.clone();
        let server = Server::start(move |request, _| Reply::file(&served, request));
        let root = tempfile::tempdir().unwrap();
        let hub = hub(root.path(), &server);
        let watch = Watch { interrupt_after: Some(1 << 20), ..Watch::default() };
        assert!(matches!(hub.fetch_openai(&file, &watch), Err(Error::Interrupted)));
        assert!(!root.path().join(".cache/clip/x.pt").exists());
        hub.fetch_openai(&file, &()).unwrap();
        let starts: Vec<usize> = server.requests().iter().map(Request::start).collect();
        assert!(starts.len() == 4 && starts[3] >= 1 << 20, "{starts:?}");
    }

    #[test]
    fn a_damaged_file_of_clip_is_replaced() {
        let bytes = b"weights".to_vec();
        let file = file(&bytes);
        let server = Server::start({
            let bytes = bytes.clone();
            move |request, _| Reply::file(&bytes, request)
        });
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(".cache/clip/x.pt");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "half").unwrap();
        hub(root.path(), &server).fetch_openai(&file, &()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
}
