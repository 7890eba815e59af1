//! `edgeclip convert`: the file, the report, and what is left when it fails.

use std::fs;

use serde_json::Value;

use crate::support::*;

fn odd(name: &str) -> String {
    root().join("tests/data").join(name).display().to_string()
}

#[test]
fn a_checkpoint_becomes_a_checked_file() {
    let folder = scratch("convert");
    let text = edgeclip(&["convert", &odd("odd-f16"), "--type", "f16", "--report", "report.json"]).folder(&folder).ok();
    // The default name says model and type.
    assert_eq!(files(&folder), ["odd-f16-f16.gguf", "report.json"]);
    assert!(text.contains("cosine to the source"), "{text}");
    let report: Value = serde_json::from_slice(&fs::read(folder.join("report.json")).unwrap()).unwrap();
    assert_eq!(report["target"], "f16");
    assert!(report["check"].is_object(), "{report}");
    assert_eq!(report["bytes_out"], fs::metadata(folder.join("odd-f16-f16.gguf")).unwrap().len());

    let again = edgeclip(&["convert", &odd("odd-f16"), "--type", "f16", "--no-check", "--quiet"]).folder(&folder).ok();
    assert_eq!(again, "");
    edgeclip(&["info", "odd-f16-f16.gguf", "--verify"]).folder(&folder).ok();
}

#[test]
fn only_gguf_files_are_replaced() {
    let folder = scratch("replace");
    for file in fs::read_dir(odd("odd-f16")).unwrap().map(Result::unwrap) {
        fs::copy(file.path(), folder.join(file.file_name())).unwrap();
    }
    let before = fs::read(folder.join("model.safetensors")).unwrap();
    let message = edgeclip(&["convert", ".", "--output", "model.safetensors"]).folder(&folder).refused(2);
    assert!(message.contains("will not be overwritten"), "{message}");
    assert!(fs::read(folder.join("model.safetensors")).unwrap() == before);
    let message = edgeclip(&["convert", ".", "--output", "."]).folder(&folder).refused(2);
    assert!(message.contains("this is a folder"), "{message}");
}

#[test]
fn a_result_that_is_too_far_off_is_not_kept() {
    let folder = scratch("min_cosine");
    let arguments =
        ["convert", &odd("odd-wide"), "--type", "q4_0", "--pure", "--output", "out.gguf", "--min-cosine", "1", "--quiet"];
    let message = edgeclip(&arguments).folder(&folder).refused(1);
    assert!(message.contains("cosine") && message.contains('1'), "{message}");
    assert_eq!(files(&folder), [""; 0]);
}

#[test]
fn what_is_no_checkpoint_is_named() {
    let folder = scratch("no_checkpoint");
    let refused = |input: &str| edgeclip(&["convert", input, "--output", "out.gguf"]).folder(&folder).refused(2);
    assert!(refused("none").starts_with("none: "));
    assert!(refused(demo_q8_0()).starts_with(demo_q8_0()));
    fs::create_dir(folder.join("empty")).unwrap();
    assert!(refused("empty").contains("the folder holds no weights"));
    assert_eq!(files(&folder), ["empty"]);
}

/// The crop rule is in the file, so that it decides vectors for good.
#[test]
fn the_crop_rule_is_stored() {
    let folder = scratch("crop_rule");
    for (rule, stored) in [("openai", "round_half_even"), ("hf", "floor")] {
        let arguments =
            ["convert", &odd("odd-f16"), "--crop", rule, "--name", "mine", "--output", "out.gguf", "--no-check", "--quiet"];
        edgeclip(&arguments).folder(&folder).ok();
        let info: Value = serde_json::from_str(&edgeclip(&["info", "out.gguf", "--json"]).folder(&folder).ok()).unwrap();
        assert_eq!(
            (&info["metadata"]["clip.vision.crop_rule"], &info["metadata"]["general.name"]),
            (&stored.into(), &"mine".into())
        );
    }
}

/// A slip of the pen must not cost a model or a checkpoint.
#[cfg(unix)]
#[test]
fn a_report_replaces_only_reports() {
    use std::os::unix::fs::symlink;

    let folder = scratch("report");
    fs::create_dir(folder.join("model")).unwrap();
    for file in fs::read_dir(odd("odd-f16")).unwrap().map(Result::unwrap) {
        fs::copy(file.path(), folder.join("model").join(file.file_name())).unwrap();
    }
    for (name, text) in [("old.gguf", "GGUF of old"), ("notes.txt", "of value"), ("empty", ""), ("old.json", "{}")] {
        fs::write(folder.join(name), text).unwrap();
    }
    // As the cache of Hugging Face has it: the checkpoint's files are links.
    fs::rename(folder.join("model/vocab.json"), folder.join("blob.json")).unwrap();
    symlink("../blob.json", folder.join("model/vocab.json")).unwrap();
    symlink("model/config.json", folder.join("link.json")).unwrap();
    symlink("new.gguf", folder.join("ahead.json")).unwrap();
    let names = ["ahead.json", "blob.json", "empty", "link.json", "model", "notes.txt", "old.gguf", "old.json"];
    let checkpoint = files(&folder.join("model"));
    let weights = fs::read(folder.join("model/model.safetensors")).unwrap();
    let convert = |output: &str, report: &str| {
        edgeclip(&["convert", "model", "--no-check", "--quiet", "--output", output, "--report", report]).folder(&folder)
    };
    let cases = [
        ("new.gguf", "new.gguf", "would overwrite the output"),
        ("new.gguf", "./model/../new.gguf", "would overwrite the output"),
        ("old.gguf", "old.gguf", "would overwrite the output"),
        ("new.json", "new.json", "would overwrite the output"),
        ("new.gguf", "model/model.safetensors", "in the checkpoint"),
        ("new.gguf", "model/config.json", "in the checkpoint"),
        ("new.gguf", "model/new.json", "in the checkpoint"),
        ("new.gguf", "blob.json", "in the checkpoint"),
        ("new.gguf", "link.json", "in the checkpoint"),
        ("new.gguf", "ahead.json", "would overwrite the output"),
        ("new.gguf", "old.gguf", "will not be overwritten"),
        ("new.gguf", "notes.txt", "will not be overwritten"),
        ("new.gguf", "model", "this is a folder"),
        // Known only when it is opened: before the conversion too.
        ("new.gguf", "none/report.json", "is there such a folder?"),
    ];
    for (output, report, part) in cases {
        let message = convert(output, report).refused(2);
        assert!(message.starts_with(report) && message.contains(part), "{output} {report}: {message}");
        assert_eq!(files(&folder), names, "{output} {report}");
        assert_eq!(files(&folder.join("model")), checkpoint, "{output} {report}");
        assert!(fs::read(folder.join("model/model.safetensors")).unwrap() == weights);
    }
    assert_eq!(fs::read(folder.join("old.gguf")).unwrap(), b"GGUF of old");
    for report in ["new.json", "old.json", "empty"] {
        convert("new.gguf", report).ok();
        let report: Value = serde_json::from_slice(&fs::read(folder.join(report)).unwrap()).unwrap();
        assert_eq!(report["target"], "q8_0");
    }
}

#[test]
fn a_conversion_that_fails_leaves_no_report() {
    let folder = scratch("no_report");
    fs::write(folder.join("old.json"), "{}").unwrap();
    edgeclip(&["convert", "none", "--output", "out.gguf", "--report", "old.json"]).folder(&folder).refused(2);
    assert_eq!(files(&folder), ["old.json"]);
    assert_eq!(fs::read(folder.join("old.json")).unwrap(), b"{}");
}

#[cfg(unix)]
#[test]
fn an_output_that_is_a_link_is_written_behind_it() {
    let folder = scratch("linked");
    fs::create_dir(folder.join("there")).unwrap();
    std::os::unix::fs::symlink("there/model.gguf", folder.join("link.gguf")).unwrap();
    // The first time it leads nowhere yet.
    for ty in ["f16", "q8_0"] {
        edgeclip(&["convert", &odd("odd-f16"), "--type", ty, "--no-check", "--quiet", "--output", "link.gguf"])
            .folder(&folder)
            .ok();
        assert_eq!(files(&folder), ["link.gguf", "there"]);
        assert_eq!(files(&folder.join("there")), ["model.gguf"]);
        assert!(folder.join("link.gguf").is_symlink(), "the link was replaced");
        let info: Value = serde_json::from_str(&edgeclip(&["info", "link.gguf", "--json"]).folder(&folder).ok()).unwrap();
        assert!(info["types"][ty].is_object(), "{info}");
    }
}

#[test]
fn the_table_says_how_to_see_every_tensor() {
    let folder = scratch("table");
    let convert = |options: &[&str]| {
        let arguments = ["convert", &odd("odd-wide"), "--no-check", "--output", "out.gguf"];
        edgeclip(&[&arguments[..], options].concat()).folder(&folder).ok()
    };
    let (groups, each) = (convert(&[]), convert(&["--tensors"]));
    let name = "v.blk.0.attn_q.weight";
    assert!(!groups.contains(name) && groups.trim_end().lines().last().unwrap().contains("--tensors lists each, --report"));
    assert!(each.lines().any(|line| line.starts_with(name) && line.contains('%')), "{each}");
    assert!(!each.contains("--tensors"), "{each}");
}

#[test]
fn single_tensors_can_have_their_own_types() {
    let folder = scratch("tensor_type");
    let arguments = ["convert", &odd("odd-wide"), "--type", "q4_0", "--no-check", "--quiet", "--output", "out.gguf"];
    let with = |types: &[&str]| {
        let types = types.iter().flat_map(|ty| ["--tensor-type", ty]);
        edgeclip(&arguments.iter().copied().chain(types).collect::<Vec<_>>()).folder(&folder)
    };
    with(&["v.blk.0.attn_q=f32", "attn_q=f16", "ffn_down=q8_0"]).ok();
    let info: Value = serde_json::from_str(&edgeclip(&["info", "out.gguf", "--json", "--tensors"]).folder(&folder).ok()).unwrap();
    let ty = |name: &str| {
        let mut tensors = info["tensors"].as_array().unwrap().iter();
        tensors.find(|tensor| tensor["name"] == name).unwrap()["type"].clone()
    };
    assert_eq!(
        ["v.blk.0.attn_q", "t.blk.0.attn_q", "v.blk.0.ffn_down", "v.blk.0.attn_k"].map(|name| ty(&format!("{name}.weight"))),
        ["f32", "f16", "q8_0", "q4_0"]
    );
    let message = with(&["v.blk.0.atn_q=f32"]).refused(2);
    assert!(message.contains("v.blk.0.atn_q") && message.contains("names are like"), "{message}");
    let done = with(&["attn_q"]).run();
    assert!(done.code == Some(2) && done.stderr.contains("NAME=TYPE"), "{}", done.stderr);
    assert!(edgeclip(&["convert", "--help"]).ok().contains("--tensor-type <NAME=TYPE>"));
}

#[test]
fn every_matrix_is_analyzed_once() {
    let folder = scratch("analyze");
    let text = edgeclip(&["convert", &odd("odd-blocks"), "--analyze", "--report", "report.json"]).folder(&folder).ok();
    assert_eq!(files(&folder), ["report.json"], "no model is written");
    let report: Value = serde_json::from_slice(&fs::read(folder.join("report.json")).unwrap()).unwrap();
    let matrices = report["matrices"].as_array().unwrap();
    let mut found: Vec<&str> =
        matrices.iter().flat_map(|matrix| matrix["tensors"].as_array().unwrap()).map(|name| name.as_str().unwrap()).collect();
    found.sort_unstable();
    edgeclip(&["convert", &odd("odd-blocks"), "--no-check", "--quiet", "--output", "out.gguf"]).folder(&folder).ok();
    let info: Value = serde_json::from_str(&edgeclip(&["info", "out.gguf", "--json", "--tensors"]).folder(&folder).ok()).unwrap();
    let is_matrix = |tensor: &&Value| tensor["dims"].as_array().unwrap().len() > 1;
    let tensors = info["tensors"].as_array().unwrap().iter().filter(is_matrix);
    let mut wanted: Vec<&str> = tensors.map(|tensor| tensor["name"].as_str().unwrap()).collect();
    wanted.sort_unstable();
    assert_eq!(found, wanted);
    // Sorted, and a line each.
    let dearness = |matrix: &Value| {
        let smallest = matrix["types"].as_array().unwrap().last().unwrap();
        let saved = matrix["bytes"].as_f64().unwrap() - smallest["bytes"].as_f64().unwrap();
        if saved > 0.0 { (1.0 - smallest["mean"].as_f64().unwrap()) / saved } else { 0.0 }
    };
    assert!(matrices.iter().is_sorted_by(|a, b| dearness(a) >= dearness(b)), "{report}");
    for stem in ["t.token_embd", "v.patch_embd", "visual_projection", "v.blk.0.attn_q, attn_k, attn_v", "t.blk.0.ffn_up"] {
        assert_eq!(text.lines().filter(|line| line.starts_with(stem)).count(), 1, "{stem}: {text}");
    }
    let done = edgeclip(&["convert", &odd("odd-blocks"), "--analyze", "--output", "out.gguf"]).folder(&folder).run();
    assert!(done.code == Some(2) && done.stderr.contains("cannot be used with"), "{}", done.stderr);
}

#[test]
fn a_mix_of_types_meets_its_cosine() {
    let folder = scratch("mix");
    let demo = root().join("models/demo").display().to_string();
    let arguments = ["convert", &demo, "--target-cosine", "0.9995", "--output", "out.gguf", "--report", "report.json"];
    let text = edgeclip(&arguments).folder(&folder).ok();
    assert!(text.contains("smallest mix of types for a cosine of 0.999500, after "), "{text}");
    let report: Value = serde_json::from_slice(&fs::read(folder.join("report.json")).unwrap()).unwrap();
    for encoder in ["image", "text"] {
        let min = report["check"][encoder]["min"].as_f64().unwrap();
        assert!(min >= f64::from(0.9995f32), "{encoder}: {min}");
    }
    // Smaller than q8_0 (9.9 MB), and than the 4 bits of the policy (7.0 MB), which come as close.
    assert!(report["bytes_out"].as_u64().unwrap() < 7_000_000, "{}", report["bytes_out"]);
    assert!(report["bytes_out"].as_u64().unwrap() < fs::metadata(demo_q8_0()).unwrap().len());
    let types: std::collections::HashSet<&str> =
        report["tensors"].as_array().unwrap().iter().map(|tensor| tensor["to"].as_str().unwrap()).collect();
    assert!(types.len() > 3, "{types:?}");
}

#[test]
fn the_same_cosine_gives_the_same_mix() {
    let folder = scratch("same_mix");
    let mixes = ["1", "2"].map(|threads| {
        let arguments = ["convert", &odd("odd-blocks"), "--target-cosine", "0.999", "--quiet", "--threads", threads];
        edgeclip(&arguments).folder(&folder).ok();
        fs::read(folder.join("odd-blocks-mix.gguf")).unwrap()
    });
    assert!(mixes[0] == mixes[1], "other bytes");
}

#[test]
fn a_cosine_that_no_mix_has_is_an_error() {
    let folder = scratch("no_mix");
    let convert = |options: &[&str]| {
        let arguments = ["convert", &odd("odd-wide"), "--output", "out.gguf", "--report", "report.json", "--target-cosine", "1"];
        edgeclip(&[&arguments[..], options].concat()).folder(&folder)
    };
    let message = convert(&[]).refused(1);
    assert!(message.contains("even with the largest types") && message.contains("less than the 1 asked for"), "{message}");
    for options in [&["--type", "q4_0"][..], &["--pure"], &["--no-check"]] {
        let done = convert(options).run();
        assert!(done.code == Some(2) && done.stderr.contains("cannot be used with"), "{options:?}: {}", done.stderr);
    }
    assert_eq!(files(&folder), [""; 0]);
}

/// As measured on a ViT-B/32 of 605.2 MB: 165.3 and 109.1 MB.
#[test]
fn the_help_has_the_right_fractions() {
    let help = edgeclip(&["convert", "--help"]).ok();
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("q8_0 little more than a quarter") && help.contains("q4_0 under a fifth"), "{help}");
}

/// Ctrl-C in the middle: nothing new, and the older file as it was.
#[cfg(unix)]
#[test]
fn an_interrupt_leaves_no_half_file() {
    use std::process::Stdio;

    // One can wait for the next look at the flag, a second one will not.
    for signals in [&["INT"][..], &["TERM"], &["INT", "INT"], &["INT", "TERM", "INT"]] {
        let folder = scratch("interrupt");
        fs::write(folder.join("out.gguf"), "GGUF of old").unwrap();
        let demo = root().join("models/demo").display().to_string();
        let arguments = ["convert", &demo, "--type", "f32", "--output", "out.gguf", "--report", "report.json"];
        let mut program = edgeclip(&arguments).folder(&folder).command;
        let mut child = program.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        // As soon as the result's temporary file is there beside the report's; all of writing and checking is still to come.
        while files(&folder).len() < 3 && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        signal(child.id(), signals);
        let done = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(done.stderr).unwrap();
        assert_eq!(
            (done.status.code(), stderr.as_str()),
            (Some(130), "error: interrupted; no file was written\n"),
            "{signals:?}"
        );
        assert_eq!(files(&folder), ["out.gguf"], "{signals:?}");
        assert_eq!(fs::read(folder.join("out.gguf")).unwrap(), b"GGUF of old");
    }
}
