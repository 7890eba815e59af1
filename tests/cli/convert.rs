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
    assert!(refused("empty").contains("config.json"));
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

/// Ctrl-C in the middle: nothing new, and the older file as it was.
#[cfg(unix)]
#[test]
fn an_interrupt_leaves_no_half_file() {
    use std::process::{Command, Stdio};

    let folder = scratch("interrupt");
    fs::write(folder.join("out.gguf"), "GGUF of old").unwrap();
    let demo = root().join("models/demo").display().to_string();
    let mut program = edgeclip(&["convert", &demo, "--type", "f32", "--output", "out.gguf"]).folder(&folder).command;
    let mut child = program.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    // As soon as the temporary file is there; all of writing and checking is still to come.
    while files(&folder).len() < 2 && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success(), "the program ended before it could be interrupted");
    let done = child.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(130), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(String::from_utf8(done.stderr).unwrap().starts_with("error: interrupted"));
    assert_eq!(files(&folder), ["out.gguf"]);
    assert_eq!(fs::read(folder.join("out.gguf")).unwrap(), b"GGUF of old");
}
