//! A server that answers well, badly, or not at all.

use std::fs;

use serde_json::json;

use super::*;

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
