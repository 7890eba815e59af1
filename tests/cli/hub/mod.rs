//! Models by name: from caches that a test makes, and from a server on this machine that plays the Hub.

mod caches;
mod download;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    server::{Reply, Request, Server},
    support::*,
};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const REPO: &str = "someone/odd-clip";
const WEIGHTS: &str = "model.safetensors";

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The files of a checkpoint in the repository.
fn checkpoint(name: &str) -> BTreeMap<String, Vec<u8>> {
    let folder = root().join("tests/data").join(name);
    files(&folder).into_iter().map(|name| (name.clone(), fs::read(folder.join(name)).unwrap())).collect()
}

/// A repository as the Hub would serve it: large files are on another server, with the sha256 of their bytes.
struct Hub {
    repo: &'static str,
    files: BTreeMap<String, Vec<u8>>,
    cdn: String,
}

impl Hub {
    fn etag(name: &str, bytes: &[u8]) -> String {
        let sum = sha256(bytes);
        if Self::is_large(name) { sum } else { sum[..40].to_owned() }
    }

    fn is_large(name: &str) -> bool {
        name.ends_with(".safetensors") || name.ends_with(".bin")
    }

    fn reply(&self, request: &Request) -> Reply {
        if request.path.starts_with("/api/") {
            let known = format!("/api/models/{}/revision/", self.repo);
            return match request.path.strip_prefix(&known) {
                Some("main" | COMMIT | "refs%2Fpr%2F1") => {
                    let siblings: Vec<Value> = self.files.keys().map(|name| json!({"rfilename": name})).collect();
                    let body = json!({"id": self.repo, "sha": COMMIT, "siblings": siblings}).to_string().into_bytes();
                    Reply { status: 200, body, ..Reply::default() }
                }
                Some(_) => Reply::new(404).header("X-Error-Code", "RevisionNotFound"),
                None => Reply::new(404).header("X-Error-Code", "RepoNotFound"),
            };
        }
        if let Some(path) = request.path.strip_prefix("/blobs/") {
            return Reply::file(&self.files[path.split('?').next().unwrap()], request);
        }
        let name = request.path.strip_prefix(&format!("/{}/resolve/{COMMIT}/", self.repo)).unwrap_or_default();
        let Some(bytes) = self.files.get(name) else { return Reply::new(404).header("X-Error-Code", "EntryNotFound") };
        let etag = format!("\"{}\"", Self::etag(name, bytes));
        let reply = if Self::is_large(name) {
            Reply::new(302)
                .header("Location", format!("{}/blobs/{name}?signature=secret", self.cdn))
                .header("X-Linked-Etag", etag)
                .header("X-Linked-Size", bytes.len().to_string())
        } else {
            Reply::file(bytes, request).header("ETag", etag)
        };
        reply.header("X-Repo-Commit", COMMIT)
    }
}

/// A Hub, the server that its large files are on, and folders for caches.
struct World {
    folder: PathBuf,
    hub: Server,
    cdn: Server,
}

/// What a server answers instead of the right thing, if anything.
type Twist = fn(&Request, usize, &[u8]) -> Option<Reply>;

const NONE: Twist = |_, _, _| None;

impl World {
    /// `hub` and `cdn` may answer otherwise; the latter knows the bytes of the file.
    fn new(test: &str, name: &str, hub: Twist, cdn: Twist) -> Self {
        let files = checkpoint(name);
        let cdn = Server::start({
            let files = files.clone();
            move |request, before| {
                let name = request.path.strip_prefix("/blobs/").and_then(|path| path.split('?').next()).unwrap();
                cdn(request, before, &files[name]).unwrap_or_else(|| Reply::file(&files[name], request))
            }
        });
        let right = Hub { repo: REPO, files, cdn: cdn.address.clone() };
        let hub = Server::start(move |request, before| hub(request, before, &[]).unwrap_or_else(|| right.reply(request)));
        Self { folder: scratch(&format!("hub-{test}")), hub, cdn }
    }

    fn run(&self, arguments: &[&str]) -> Program {
        with_caches(&self.folder, arguments).env("HF_HUB_OFFLINE", "0").env("HF_ENDPOINT", &self.hub.address)
    }

    fn pull(&self) -> Program {
        self.run(&["pull", REPO, "--quiet"])
    }

    fn repo(&self) -> PathBuf {
        self.folder.join("hub/models--someone--odd-clip")
    }

    /// Nothing is there that looks like a whole file.
    fn assert_nothing(&self) {
        let blobs = self.repo().join("blobs");
        let blobs = if blobs.is_dir() { files(&blobs) } else { Vec::new() };
        assert!(blobs.iter().all(|name| name.len() == 40 || name.ends_with(".incomplete")), "{blobs:?}");
        assert!(!self.repo().join("snapshots").join(COMMIT).join(WEIGHTS).exists());
        assert!(!self.repo().join("refs/main").exists());
        assert!(!self.folder.join("ours/models").exists());
    }
}

/// The program with caches in a folder, offline.
fn with_caches(folder: &Path, arguments: &[&str]) -> Program {
    let place = |name: &str| folder.join(name).display().to_string();
    edgeclip(arguments).env("HOME", &place("home")).env("HF_HUB_CACHE", &place("hub")).env("EDGECLIP_CACHE", &place("ours"))
}

const TEXT: [&str; 4] = ["encode", "text", "a cat", "--quiet"];

fn vector(program: Program) -> Vec<u32> {
    bits(&json_lines(&program.ok())[0]["embedding"])
}

/// The vector of a file that the converter made of the folder.
fn expected(test: &str, name: &str) -> Vec<u32> {
    let output = scratch(&format!("hub-{test}-expected")).join("model.gguf").display().to_string();
    let input = root().join("tests/data").join(name).display().to_string();
    edgeclip(&["convert", &input, "--output", &output, "--no-check", "--quiet"]).ok();
    vector(edgeclip(&[&TEXT[..], &["--model", &output]].concat()))
}
