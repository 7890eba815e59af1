//! Names, the caches that they are found in, and what is made of them.

use std::{fs, path::Path, process::Stdio};

use serde_json::{Value, json};

use super::*;

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

#[test]
fn a_cache_without_links_has_files() {
    let world = World::new("no-links", "odd-f16", NONE, NONE);
    world.pull().env("HF_HUB_DISABLE_SYMLINKS", "1").ok();
    let snapshot = world.repo().join("snapshots").join(COMMIT);
    for (name, bytes) in checkpoint("odd-f16") {
        assert!(!snapshot.join(&name).is_symlink());
        assert_eq!(fs::read(snapshot.join(&name)).unwrap(), bytes);
    }
    assert!(files(&world.repo().join("blobs")).is_empty());
    let by_name = vector(with_caches(&world.folder, &[&TEXT[..], &["--model", REPO]].concat()));
    assert_eq!(by_name, expected("no-links", "odd-f16"));
}

/// Where a checkpoint has changed, the next `pull` takes what is new of it, and its converted file is another one.
#[test]
fn a_new_commit_is_another_file() {
    let world = World::new("commit", "odd-f16", NONE, NONE);
    let old = world.pull().ok();
    // As if the old one had been another commit, with other weights.
    let repo = world.repo();
    let before = "f".repeat(40);
    fs::rename(repo.join("snapshots").join(COMMIT), repo.join("snapshots").join(&before)).unwrap();
    fs::write(repo.join("refs/main"), &before).unwrap();
    let config = repo.join("snapshots").join(&before).join("preprocessor_config.json");
    let text = fs::read_to_string(&config).unwrap();
    fs::remove_file(&config).unwrap();
    fs::write(&config, format!("{text} ")).unwrap();
    let by_name = with_caches(&world.folder, &["pull", REPO, "--quiet"]).ok();
    assert_ne!(by_name, old);
    let downloads = world.cdn.requests().len();
    assert_eq!(world.pull().ok(), old);
    assert_eq!(fs::read_to_string(repo.join("refs/main")).unwrap(), COMMIT);
    assert_eq!(world.cdn.requests().len(), downloads, "the weights are the same blob");
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
