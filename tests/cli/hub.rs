//! Models by name: from caches that a test makes, and from a server on this machine that plays the Hub.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
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

#[test]
fn a_name_is_enough() {
    let world = World::new("whole", "odd-f16", NONE, NONE);
    let path = world.pull().ok();
    let path = path.trim_end();
    assert!(path.ends_with(".gguf") && path.contains("someone-odd-clip-q8_0-"), "{path}");
    assert!(Path::new(path).is_file());

    // As huggingface_hub lays it out.
    let repo = world.repo();
    assert_eq!(fs::read_to_string(repo.join("refs/main")).unwrap(), COMMIT);
    let snapshot = repo.join("snapshots").join(COMMIT);
    let source = checkpoint("odd-f16");
    for (name, bytes) in &source {
        assert_eq!(fs::read_link(snapshot.join(name)).unwrap(), Path::new("../../blobs").join(Hub::etag(name, bytes)));
        assert_eq!(fs::read(snapshot.join(name)).unwrap(), *bytes);
    }
    assert!(repo.join(".no_exist").join(COMMIT).join("tokenizer.json").is_file());
    assert_eq!(files(&repo.join("blobs")).len(), source.len());

    // From now on nobody is asked, whether there is somebody or not.
    let asked = world.hub.requests().len() + world.cdn.requests().len();
    let by_name = vector(world.run(&[&TEXT[..], &["--model", REPO]].concat()));
    assert_eq!(world.hub.requests().len() + world.cdn.requests().len(), asked);
    assert_eq!(by_name, expected("whole", "odd-f16"));
    let hf_hub = format!("hf-hub:{REPO}");
    for name in [REPO, hf_hub.as_str(), path] {
        assert_eq!(vector(with_caches(&world.folder, &[&TEXT[..], &["--model", name]].concat())), by_name);
    }
    assert_eq!(vector(with_caches(&world.folder, &TEXT).env("EDGECLIP_MODEL", REPO)), by_name);

    // Another pull only asks whether there is something new.
    let downloads = world.cdn.requests().len();
    assert_eq!(world.pull().ok().trim_end(), path);
    assert_eq!(world.cdn.requests().len(), downloads);
    assert!(world.hub.requests().len() > asked - downloads);

    // The name is in the file, and other types are other files.
    let info: Value = serde_json::from_str(&edgeclip(&["info", path, "--json"]).ok()).unwrap();
    assert_eq!(info["metadata"]["general.name"], REPO);
    let f32 = with_caches(&world.folder, &["pull", REPO, "--type", "f32", "--quiet"]).ok();
    assert_ne!(f32.trim_end(), path);
    let model_type = [&TEXT[..], &["--model", REPO, "--model-type", "f32"]].concat();
    assert_eq!(
        vector(with_caches(&world.folder, &model_type)),
        vector(edgeclip(&[&TEXT[..], &["--model", f32.trim_end()]].concat()))
    );
    assert_eq!(files(&world.folder.join("ours/models")).iter().filter(|name| name.ends_with(".gguf")).count(), 2);
}

#[test]
fn the_converter_takes_names() {
    let world = World::new("convert", "odd-sharded", NONE, NONE);
    let folder = scratch("hub-convert-here");
    world.run(&["convert", REPO, "--quiet"]).folder(&folder).ok();
    assert_eq!(files(&folder), ["odd-clip-q8_0.gguf"]);
    let model = folder.join("odd-clip-q8_0.gguf").display().to_string();
    assert_eq!(vector(edgeclip(&[&TEXT[..], &["--model", &model]].concat())), expected("convert", "odd-sharded"));
    // Three shards, each once.
    assert_eq!(world.cdn.requests().len(), 3);
}

#[test]
fn revisions_are_kept_apart() {
    let world = World::new("revision", "odd-f16", NONE, NONE);
    let pull = |revision: &str| world.run(&["pull", &format!("{REPO}@{revision}"), "--quiet"]);
    pull("refs/pr/1").ok();
    assert_eq!(fs::read_to_string(world.repo().join("refs/refs/pr/1")).unwrap(), COMMIT);
    assert!(!world.repo().join("refs/main").exists());
    pull(COMMIT).ok();
    let message = pull("v9").refused(2);
    assert!(message.contains("the server answers 404: the repository has no such revision"), "{message}");
    // Offline a revision is as good as it has been asked for.
    with_caches(&world.folder, &["pull", &format!("{REPO}@refs/pr/1"), "--quiet"]).ok();
    let message = with_caches(&world.folder, &["pull", REPO]).refused(2);
    assert!(message.contains("not in the cache"), "{message}");
}

#[test]
fn a_cut_connection_is_taken_up_again() {
    let world = World::new("cut", "odd-f16", NONE, |request, before, bytes| {
        (before == 0).then(|| Reply { cut: Some(100_000), ..Reply::file(bytes, request) })
    });
    world.pull().ok();
    let starts: Vec<usize> = world.cdn.requests().iter().map(Request::start).collect();
    assert_eq!(starts, [0, 100_000]);

    // So is what an earlier program has left; if it is of another file, all comes anew.
    for (test, left, starts) in [("left", true, vec![50_000]), ("other", false, vec![50_000, 0])] {
        let world = World::new(&format!("cut-{test}"), "odd-f16", NONE, NONE);
        let bytes = &checkpoint("odd-f16")[WEIGHTS];
        let left = if left { bytes[..50_000].to_vec() } else { vec![1; 50_000] };
        let blobs = world.repo().join("blobs");
        fs::create_dir_all(&blobs).unwrap();
        fs::write(blobs.join(format!("{}.incomplete", sha256(bytes))), left).unwrap();
        world.pull().ok();
        assert_eq!(world.cdn.requests().iter().map(Request::start).collect::<Vec<_>>(), starts, "{test}");
        assert_eq!(fs::read(blobs.join(sha256(bytes))).unwrap(), *bytes);
    }

    // A server that ignores `Range` sends everything, and that is what is taken.
    let world = World::new("cut-whole", "odd-f16", NONE, |_, before, bytes| {
        let cut = (before == 0).then_some(100_000);
        Some(Reply { status: 200, body: bytes.to_vec(), cut, ..Reply::default() })
    });
    world.pull().ok();

    // One that never gets further is given up.
    let world = World::new("cut-always", "odd-f16", NONE, |request, _, bytes| {
        Some(Reply { cut: Some(0), ..Reply::file(bytes, request) })
    });
    let message = world.pull().refused(2);
    assert!(message.contains("the connection was cut"), "{message}");
    assert_eq!(world.cdn.requests().len(), 5);
    world.assert_nothing();
}

#[test]
fn bytes_that_are_not_the_file_are_refused() {
    let world = World::new("hash", "odd-f16", NONE, |request, _, bytes| {
        let mut bytes = bytes.to_vec();
        bytes[200_000] ^= 1;
        Some(Reply::file(&bytes, request))
    });
    let message = world.pull().refused(2);
    let expected = format!("expected sha256 {}, found ", sha256(&checkpoint("odd-f16")[WEIGHTS]));
    assert!(message.contains(&expected) && message.contains(WEIGHTS), "{message}");
    assert!(!message.contains("signature=secret"), "{message}");
    world.assert_nothing();
    assert!(files(&world.repo().join("blobs")).iter().all(|name| !name.ends_with(".incomplete")));
    assert_eq!(world.cdn.requests().len(), 1);
}

#[test]
fn lies_about_sizes_end_at_once() {
    let lies: [(&str, Twist, Twist, &str); 6] = [
        // More than was announced, by a length or without one.
        (
            "long",
            NONE,
            |request, _, bytes| Some(Reply { length: Some(1 << 40), ..Reply::file(bytes, request) }),
            "the server sends 1099511627776",
        ),
        (
            "endless",
            NONE,
            |request, _, bytes| Some(Reply { endless: true, ..Reply::file(bytes, request) }),
            "expected 386338 bytes, the server sends",
        ),
        // Less.
        (
            "short",
            NONE,
            |_, _, bytes| Some(Reply { status: 200, body: bytes[..9].to_vec(), ..Reply::default() }),
            "the server sends 9;",
        ),
        // A total that is another one, of a part.
        (
            "range",
            NONE,
            |request, before, bytes| match before {
                0 => Some(Reply { cut: Some(9), ..Reply::file(bytes, request) }),
                _ => Some(
                    Reply { status: 206, body: bytes[9..].to_vec(), ..Reply::default() }
                        .header("Content-Range", "bytes 9-99/100"),
                ),
            },
            "the server sends 100;",
        ),
        // A configuration of a terabyte, and one without end.
        (
            "config",
            |request, _, _| {
                let is_config = request.path.ends_with("/config.json");
                is_config.then(|| {
                    let reply = Reply { status: 200, length: Some(1 << 40), ..Reply::default() };
                    reply.header("X-Repo-Commit", COMMIT).header("ETag", "abc")
                })
            },
            NONE,
            "expected 67108864 bytes, the server sends 1099511627776",
        ),
        (
            "listing",
            |request, _, _| {
                let is_listing = request.path.starts_with("/api/");
                is_listing.then(|| Reply { status: 200, body: vec![b' '; 1 << 20], endless: true, ..Reply::default() })
            },
            NONE,
            "expected 16777216 bytes",
        ),
    ];
    for (test, hub, cdn, expected) in lies {
        let world = World::new(&format!("size-{test}"), "odd-f16", hub, cdn);
        let message = world.pull().refused(2);
        assert!(message.contains(expected), "{test}: {message}");
        world.assert_nothing();
    }
}

#[test]
fn refusals_say_what_to_do() {
    let status = |status: u16, twist: Twist, token: Option<&str>, parts: &[&str]| {
        let world = World::new(&format!("status-{status}-{}", token.is_some()), "odd-f16", twist, NONE);
        let mut program = world.pull();
        if let Some(token) = token {
            program = program.env("HF_TOKEN", token);
        }
        let message = program.refused(2);
        for part in parts {
            assert!(message.contains(part), "{message}");
        }
        assert!(!message.contains("hf_secret"), "{message}");
        world.assert_nothing();
        assert_eq!(world.hub.requests().len(), 1);
    };
    status(401, |_, _, _| Some(Reply::new(401)), None, &["the server answers 401", "set HF_TOKEN"]);
    status(401, |_, _, _| Some(Reply::new(401)), Some("hf_secret"), &["the server answers 401", "the token is not accepted"]);
    status(403, |_, _, _| Some(Reply::new(403)), Some("hf_secret"), &["the server answers 403", "terms of this repository"]);
    status(404, |_, _, _| Some(Reply::new(404)), None, &["/api/models/someone/odd-clip/revision/main", "404", "check the name"]);
    status(429, |_, _, _| Some(Reply::new(429).header("Retry-After", "3600")), None, &["429", "try again later, 3600 s"]);
    let no_hub: Twist = |_, _, _| Some(Reply { status: 200, body: b"<html>".to_vec(), ..Reply::default() });
    status(200, no_hub, None, &["expected a list of files", "HF_ENDPOINT"]);

    // The list names a file that is not there.
    let world = World::new(
        "status-file",
        "odd-f16",
        |request, _, _| request.path.ends_with("/vocab.json").then(|| Reply::new(404)),
        NONE,
    );
    let message = world.pull().refused(2);
    assert!(message.contains("/vocab.json: the server answers 404"), "{message}");
    world.assert_nothing();
    // Nobody is there at all.
    let message = with_caches(&world.folder, &["pull", REPO, "--quiet"])
        .env("HF_HUB_OFFLINE", "0")
        .env("HF_ENDPOINT", "http://127.0.0.1:1")
        .refused(2);
    assert!(message.contains("the connection failed"), "{message}");
    // A cache that cannot be written.
    let message = world.pull().env("HF_HUB_CACHE", "/dev/null/x").refused(2);
    assert!(
        message.starts_with("/dev/null/x/models--someone--odd-clip") && message.contains("cannot make this folder"),
        "{message}"
    );
}

#[test]
fn a_busy_server_is_asked_again() {
    let busy: Twist = |_, before, _| (before == 0).then(|| Reply::new(429).header("Retry-After", "0"));
    let trouble: Twist = |_, before, _| (before == 0).then(|| Reply::new(503));
    let world = World::new("busy", "odd-sharded", busy, trouble);
    world.pull().ok();
    assert_eq!(world.cdn.requests().len(), 6);
}

#[test]
fn the_token_is_for_the_hub_alone() {
    let world = World::new("token", "odd-f16", NONE, NONE);
    world.pull().env("HF_TOKEN", "hf_secret").ok();
    assert!(world.hub.requests().iter().all(|request| request.headers["authorization"] == "Bearer hf_secret"));
    assert!(world.hub.requests().iter().all(|request| request.headers["user-agent"].starts_with("edgeclip/")));
    // Another port is another server.
    assert!(!world.cdn.requests().is_empty());
    assert!(world.cdn.requests().iter().all(|request| !request.headers.contains_key("authorization")));
    assert!(!fs::read_dir(world.folder.join("ours")).unwrap().any(|entry| entry.unwrap().path().ends_with("hf_secret")));

    let world = World::new("token-none", "odd-f16", NONE, NONE);
    world.pull().env("HF_TOKEN", "hf_secret").env("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1").ok();
    assert!(world.hub.requests().iter().all(|request| !request.headers.contains_key("authorization")));
}

#[test]
fn large_files_may_lie_on_the_hub_itself() {
    let right = Hub { repo: REPO, files: checkpoint("odd-f16"), cdn: String::new() };
    let hub = Server::start(move |request, _| right.reply(request));
    let folder = scratch("hub-itself");
    let program = with_caches(&folder, &["pull", REPO, "--quiet"]).env("HF_HUB_OFFLINE", "0");
    program.env("HF_ENDPOINT", &hub.address).env("HF_TOKEN", "hf_secret").ok();
    let blob = hub.requests().into_iter().find(|request| request.path.starts_with("/blobs/")).unwrap();
    assert_eq!((blob.method.as_str(), blob.headers["authorization"].as_str()), ("GET", "Bearer hf_secret"));
}

#[test]
fn redirects_end() {
    let world =
        World::new("redirects", "odd-f16", |request, _, _| Some(Reply::new(307).header("Location", request.path.clone())), NONE);
    let message = world.pull().refused(2);
    assert!(message.contains("redirected again and again"), "{message}");
    assert!(world.hub.requests().len() < 20);
    for location in ["file:///etc/passwd", "", "http://"] {
        let world = match location {
            "" => World::new("redirects-none", "odd-f16", |_, _, _| Some(Reply::new(302)), NONE),
            "http://" => {
                World::new("redirects-empty", "odd-f16", |_, _, _| Some(Reply::new(302).header("Location", "http://")), NONE)
            }
            _ => World::new(
                "redirects-file",
                "odd-f16",
                |_, _, _| Some(Reply::new(302).header("Location", "file:///etc/passwd")),
                NONE,
            ),
        };
        let message = world.pull().refused(2);
        assert!(message.contains("redirected to what is no address"), "{message}");
    }
}

/// What a server says becomes no path.
#[test]
fn strange_names_from_the_server_are_refused() {
    fn about(request: &Request, end: &str, commit: &str, etag: &str) -> Option<Reply> {
        let reply = || Reply::file(b"{}", request).header("X-Repo-Commit", commit).header("ETag", etag);
        request.path.ends_with(end).then(reply)
    }
    let listing =
        |sha: &str| Reply { status: 200, body: json!({"sha": sha, "siblings": []}).to_string().into_bytes(), ..Reply::default() };
    let cases: [(&str, Twist, &str); 4] = [
        (
            "etag",
            |request, _, _| about(request, "/config.json", COMMIT, "\"../../../evil\""),
            "expected an ETag of letters and digits",
        ),
        ("etag-none", |request, _, _| about(request, "/config.json", COMMIT, ""), "expected an ETag of letters and digits"),
        ("commit", |request, _, _| about(request, "/config.json", "other", "abc"), "expected the commit that was asked for"),
        (
            "index",
            |request, _, _| {
                let body = br#"{"weight_map": {"a": "../../../../evil.safetensors"}}"#;
                let reply = || Reply::file(body, request).header("X-Repo-Commit", COMMIT).header("ETag", "abc");
                request.path.ends_with(".index.json").then(reply)
            },
            "expected the names of up to 1000 files",
        ),
    ];
    for (test, twist, expected) in cases {
        let world = World::new(&format!("strange-{test}"), "odd-sharded", twist, NONE);
        let message = world.pull().refused(2);
        assert!(message.contains(expected), "{message}");
    }
    for sha in ["../../x", "main", ""] {
        let sha = sha.to_owned();
        let server = Server::start(move |_, _| listing(&sha));
        let folder = scratch("hub-strange-sha");
        let program =
            with_caches(&folder, &["pull", REPO, "--quiet"]).env("HF_HUB_OFFLINE", "0").env("HF_ENDPOINT", &server.address);
        let message = program.refused(2);
        assert!(message.contains("expected a commit of 40"), "{message}");
    }
}

#[test]
fn two_at_once_do_the_work_once() {
    let world = World::new("two", "odd-f16", NONE, |_, _, _| {
        // Time for the other one to come.
        std::thread::sleep(std::time::Duration::from_millis(300));
        None
    });
    let mut two = [world.run(&["pull", REPO]), world.run(&["pull", REPO])];
    let children: Vec<_> =
        two.iter_mut().map(|one| one.command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()).collect();
    let outputs: Vec<_> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    let said: String = outputs.iter().map(|output| String::from_utf8_lossy(&output.stderr).into_owned()).collect();
    assert!(outputs.iter().all(|output| output.status.success()), "{said}");
    assert_eq!(outputs[0].stdout, outputs[1].stdout);
    assert_eq!(world.cdn.requests().len(), 1, "{said}");
    assert_eq!(said.matches("converting to q8_0, once").count(), 1, "{said}");
}

#[test]
fn a_damaged_converted_file_is_made_anew() {
    let world = World::new("damaged", "odd-f16", NONE, NONE);
    let path = world.pull().ok().trim_end().to_owned();
    let good = fs::read(&path).unwrap();
    for bad in [&good[..good.len() / 2], b"", b"GGUF"] {
        fs::write(&path, bad).unwrap();
        let done = with_caches(&world.folder, &["encode", "text", "a cat", "--model", REPO]).run();
        assert_eq!(done.code, Some(0), "{}", done.stderr);
        assert!(done.stderr.contains("damaged; making it anew"), "{}", done.stderr);
        assert_eq!(fs::read(&path).unwrap(), good);
    }
}

#[test]
fn offline_the_error_says_what_was_looked_for_where_and_what_to_do() {
    let folder = scratch("hub-offline");
    for (variable, value) in
        [("HF_HUB_OFFLINE", "1"), ("HF_HUB_OFFLINE", "on"), ("HF_HUB_OFFLINE", "True"), ("TRANSFORMERS_OFFLINE", "yes")]
    {
        let mut program = with_caches(&folder, &["pull", REPO]);
        program.command.env_remove("HF_HUB_OFFLINE");
        let message = program.env(variable, value).env("HF_ENDPOINT", "http://127.0.0.1:1").refused(2);
        let place = folder.join("hub/models--someone--odd-clip").display().to_string();
        for part in [REPO, "config.json", WEIGHTS, &place, variable, "edgeclip pull someone/odd-clip"] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }
    let message = with_caches(&folder, &[&TEXT[..], &["--model", "ViT-B/32"]].concat()).refused(2);
    for part in ["ViT-B-32:openai: not in the cache", "ViT-B-32.pt", "home/.cache/clip", "models--openai--clip-vit-base-patch32"]
    {
        assert!(message.contains(part), "{part}: {message}");
    }
    for (name, part) in [("RN50", "does not run yet"), ("ViT-B-32", "say which"), ("vit", "no name of a model")] {
        let message = with_caches(&folder, &[&TEXT[..], &["--model", name]].concat()).refused(2);
        assert!(message.contains(part), "{message}");
    }
    assert!(files(&folder).is_empty());
}

/// The cache that Python has filled, under every tool's name for the model.
#[test]
fn every_form_of_a_name_finds_the_cache() {
    let folder = scratch("hub-forms");
    let repo = folder.join("hub/models--laion--CLIP-ViT-B-32-laion2B-s34B-b79K");
    let snapshot = repo.join("snapshots").join(COMMIT);
    fs::create_dir_all(repo.join("refs")).unwrap();
    fs::create_dir_all(&snapshot).unwrap();
    fs::write(repo.join("refs/main"), COMMIT).unwrap();
    for (name, bytes) in checkpoint("odd-f16") {
        fs::write(snapshot.join(name), bytes).unwrap();
    }
    let expected = expected("forms", "odd-f16");
    for name in [
        "ViT-B-32:laion2b_s34b_b79k",
        "ViT-B-32/laion2b-s34b-b79k",
        "ViT-B-32::laion2b-s34b-b79k",
        "ViT-B-32__laion2b-s34b-b79k",
        "open_clip:ViT-B-32/laion2b_s34b_b79k",
    ] {
        assert_eq!(vector(with_caches(&folder, &[&TEXT[..], &["--model", name]].concat())), expected, "{name}");
    }
    assert_eq!(files(&folder.join("ours/models")).iter().filter(|name| name.ends_with(".gguf")).count(), 1);
    for name in [
        "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
        "hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
        "hf_clip:laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
    ] {
        assert_eq!(vector(with_caches(&folder, &[&TEXT[..], &["--model", name]].concat())), expected, "{name}");
    }
    let local = format!("local-dir:{}", snapshot.display());
    assert_eq!(vector(with_caches(&folder, &[&TEXT[..], &["--model", &local]].concat())), expected);

    let row = |text: &str| text.lines().find(|line| line.starts_with("ViT-B-32:laion2b_s34b_b79k")).unwrap().to_owned();
    let here = |text: &str| row(text).split("  ").map(str::trim).filter(|cell| !cell.is_empty()).nth(4).unwrap().to_owned();
    assert_eq!(here(&with_caches(&folder, &["models"]).ok()), "checkpoint, q8_0");
    assert_eq!(here(&edgeclip(&["models"]).ok()), "-");
    let models: Value = serde_json::from_str(&with_caches(&folder, &["models", "--json"]).ok()).unwrap();
    let model = models.as_array().unwrap().iter().find(|model| model["name"] == "ViT-B-32:laion2b_s34b_b79k").unwrap();
    assert_eq!((&model["cached"], &model["converted"], &model["activation"]), (&json!(true), &json!(["q8_0"]), &json!("gelu")));
    assert!(models.as_array().unwrap().len() >= 16);
}

/// A checkpoint whose configuration is not what the registry says of its name.
#[test]
fn a_doubtful_configuration_is_said() {
    let folder = scratch("hub-activation");
    let repo = folder.join("hub/models--laion--CLIP-ViT-B-32-laion2B-s34B-b79K");
    let snapshot = repo.join("snapshots").join(COMMIT);
    fs::create_dir_all(repo.join("refs")).unwrap();
    fs::create_dir_all(&snapshot).unwrap();
    fs::write(repo.join("refs/main"), COMMIT).unwrap();
    for (name, bytes) in checkpoint("odd-legacy") {
        fs::write(snapshot.join(name), bytes).unwrap();
    }
    let done = with_caches(&folder, &["pull", "ViT-B-32:laion2b_s34b_b79k"]).run();
    assert!(done.stderr.contains("activation gelu, not quick_gelu; pictures of 224, not "), "{}", done.stderr);
}

/// The weights are the same, and servers go away.
#[test]
fn without_openai_s_server_the_hub_is_asked() {
    let there = checkpoint("odd-legacy");
    let cdn = Server::start({
        let bytes = there[WEIGHTS].clone();
        move |request, _| Reply::file(&bytes, request)
    });
    let right = Hub { repo: "openai/clip-vit-base-patch32", files: there, cdn: cdn.address.clone() };
    let hub = Server::start(move |request, _| right.reply(request));
    let gone = Server::start(|_, _| Reply::new(404));
    let folder = scratch("hub-openai-gone");
    let program = with_caches(&folder, &["pull", "ViT-B/32"]).env("HF_HUB_OFFLINE", "0");
    let done = program.env("HF_ENDPOINT", &hub.address).env("EDGECLIP_OPENAI_ENDPOINT", &gone.address).run();
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert!(
        done.stderr.contains("404") && done.stderr.contains("; taking openai/clip-vit-base-patch32 from the Hub"),
        "{}",
        done.stderr
    );
    assert!(done.text().contains("/ViT-B-32-openai-q8_0-"), "{}", done.text());
}

#[test]
fn openai_s_files_are_checked() {
    const PATH: &str = "/clip/models/40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af/ViT-B-32.pt";
    let folder = scratch("hub-openai");
    let clip = folder.join("home/.cache/clip");
    let server = Server::start(|request, _| Reply::file(b"not the weights", request));
    let pull = || {
        let program = with_caches(&folder, &["pull", "ViT-B/32", "--quiet"]);
        program.env("HF_HUB_OFFLINE", "0").env("EDGECLIP_OPENAI_ENDPOINT", &server.address).env("HF_TOKEN", "hf_secret")
    };
    let message = pull().refused(2);
    assert!(message.starts_with(&server.address) && message.contains(PATH), "{message}");
    let expected = "expected sha256 40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af, found ";
    assert!(message.contains(expected) && message.contains(&sha256(b"not the weights")), "{message}");
    assert!(server.requests().iter().all(|request| request.path == PATH && !request.headers.contains_key("authorization")));
    assert_eq!(files(&clip), [".ViT-B-32.pt.lock"]);

    // Half a file, as `clip` leaves it when it is interrupted, is not taken for the whole.
    fs::write(clip.join("ViT-B-32.pt"), "half").unwrap();
    assert!(pull().refused(2).contains(expected));
    assert_eq!(fs::read(clip.join("ViT-B-32.pt")).unwrap(), b"half");
    let message = with_caches(&folder, &[&TEXT[..], &["--model", "ViT-B/32"]].concat()).refused(2);
    assert!(message.starts_with(&clip.join("ViT-B-32.pt").display().to_string()) && message.contains(expected), "{message}");
}

/// In the repositories of LAION and timm two layouts lie side by side; only what belongs together is taken.
#[test]
fn configurations_come_with_their_weights() {
    let timm: &[u8] = br#"{"architecture": "vit_base_patch32_clip_224"}"#;
    let open_clip = ["open_clip_config.json", "open_clip_model.safetensors", "open_clip_pytorch_model.bin"];
    for (test, config, weights, has_open_clip) in
        [("laion", None, WEIGHTS, false), ("timm", Some(timm), "open_clip_model.safetensors", true)]
    {
        let mut there = checkpoint("odd-f16");
        there.extend(open_clip.map(|name| (name.to_owned(), b"{}".to_vec())));
        there.insert("pytorch_model.bin".to_owned(), b"{}".to_vec());
        if let Some(config) = config {
            there.insert("config.json".to_owned(), config.to_vec());
        }
        let cdn = Server::start({
            let there = there.clone();
            move |request, _| {
                let name = request.path.trim_start_matches("/blobs/").split('?').next().unwrap();
                Reply::file(&there[name], request)
            }
        });
        let right = Hub { repo: REPO, files: there, cdn: cdn.address.clone() };
        let hub = Server::start(move |request, _| right.reply(request));
        let folder = scratch(&format!("hub-layouts-{test}"));
        let program = with_caches(&folder, &["pull", REPO, "--quiet"]);
        // Whether these bytes can be converted is not the question.
        program.env("HF_HUB_OFFLINE", "0").env("HF_ENDPOINT", &hub.address).run();
        let taken = files(&folder.join("hub/models--someone--odd-clip/snapshots").join(COMMIT));
        assert_eq!(taken.iter().filter(|name| Hub::is_large(name)).collect::<Vec<_>>(), [weights]);
        assert_eq!(taken.contains(&open_clip[0].to_owned()), has_open_clip, "{taken:?}");
    }
}

/// docs/models.md has the registry's table.
#[test]
fn the_documentation_has_every_model() {
    let text = fs::read_to_string(root().join("docs/models.md")).unwrap();
    let models: Value = serde_json::from_str(&edgeclip(&["models", "--json"]).ok()).unwrap();
    for model in models.as_array().unwrap() {
        let start = format!("| `{}` |", model["name"].as_str().unwrap());
        let row = text.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("{start}"));
        let top1 = model["imagenet_top1"]["value"].as_f64().map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
        let parameters = format!("{:.0} M", model["parameters"].as_f64().unwrap() / 1e6);
        let facts = [model["activation"].as_str().unwrap(), model["licence"].as_str().unwrap(), &top1, &parameters];
        let names = ["aliases", "repos"].into_iter().flat_map(|key| model[key].as_array().unwrap());
        let names: Vec<String> = names.map(|name| format!("`{}`", name.as_str().unwrap())).collect();
        for fact in facts.into_iter().chain(names.iter().map(String::as_str)) {
            assert!(row.contains(fact), "{fact}: {row}");
        }
    }
}
