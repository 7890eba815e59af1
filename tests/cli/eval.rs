//! `edgeclip eval` against the reference's own scores of the 16 demo pictures.

use std::{fmt::Write, fs, path::PathBuf};

use serde_json::Value;

use crate::support::*;

/// A CSV of the demo's pictures; paths relative to its folder where the copies are.
fn csv(test: &str, columns: &str, row: impl Fn(&str, &str, &str) -> String) -> (PathBuf, String) {
    let folder = scratch(test);
    let golden = Golden::demo();
    let mut text = format!("{columns}\n");
    for ((path, name), caption) in golden.pictures().iter().zip(golden.names()).zip(golden.texts()) {
        let file = path.rsplit('/').next().unwrap();
        fs::create_dir_all(folder.join("pictures")).unwrap();
        fs::copy(path, folder.join("pictures").join(file)).unwrap();
        writeln!(text, "{}", row(&format!("pictures/{file}"), &name, &caption)).unwrap();
    }
    let file = folder.join("set.csv");
    fs::write(&file, text).unwrap();
    (folder, file.display().to_string())
}

fn share(ranks: &[usize], k: usize) -> f64 {
    ranks.iter().filter(|rank| **rank < k).count() as f64 / ranks.len() as f64
}

fn scores(text: &str) -> Value {
    serde_json::from_str::<Value>(text).unwrap()["models"][0]["scores"].take()
}

#[test]
fn labels_are_classified_as_by_the_reference() {
    let (_, file) = csv("eval_labels", "path,label", |path, name, _| format!("{path},{name}"));
    let arguments = ["eval", &file, "--template", "an emoji of a {}", "--model", demo_f32()];
    let found = scores(&edgeclip(&[&arguments[..], &["--json"]].concat()).ok());
    let ranks = Golden::demo().ranks(true);
    assert_eq!(found, serde_json::json!({"top-1": share(&ranks, 1), "top-5": share(&ranks, 5)}));
    // As models/demo/README.md has it: 15 of 16.
    assert_eq!(found["top-1"], 0.9375);
    let text = edgeclip(&arguments).ok();
    assert!(text.starts_with("16 pictures, 16 labels\n") && text.contains("93.75"), "{text}");
}

#[test]
fn captions_are_retrieved_as_by_the_reference() {
    let (_, file) = csv("eval_captions", "caption,path", |path, _, caption| format!("{caption},{path}"));
    let found = scores(&edgeclip(&["eval", &file, "--json", "--model", demo_f32()]).ok());
    let golden = Golden::demo();
    let (to_text, to_picture) = (golden.ranks(true), golden.ranks(false));
    for k in [1, 5, 10] {
        assert_eq!(found[format!("picture to text recall@{k}")], share(&to_text, k));
        assert_eq!(found[format!("text to picture recall@{k}")], share(&to_picture, k));
    }
    // Something to be found: not all of them are trivially right.
    assert!(to_text.iter().chain(&to_picture).any(|rank| *rank > 0));
}

#[test]
fn models_stand_side_by_side() {
    let (_, file) = csv("eval_models", "path,label,caption", |path, name, caption| format!("{path},{name},{caption}"));
    let message = edgeclip(&["eval", &file, "--model", demo_f32()]).refused(2);
    assert!(message.contains("--task label or --task caption"), "{message}");
    let text = edgeclip(&["eval", &file, "--task", "caption", "--model", demo_f32(), "--model", demo_f32()]).ok();
    let rows: Vec<&str> = text.lines().collect();
    assert_eq!((rows.len(), rows[0]), (9, "16 pictures, 16 captions"));
    assert!(rows[3..].iter().all(|row| row.ends_with("(+0.00)")), "{text}");
    let both = edgeclip(&["eval", &file, "--task", "label", "--json", "--model", demo_f32(), "--model", demo_q8_0()]).ok();
    let both: Value = serde_json::from_str(&both).unwrap();
    assert_eq!(both["models"][1]["model"]["type"], "q8_0");
}

#[test]
fn a_picture_that_cannot_be_read_is_left_out() {
    let (folder, file) = csv("eval_bad", "path,caption", |path, _, caption| format!("{path},{caption}"));
    fs::write(folder.join("pictures/bicycle.png"), "no picture").unwrap();
    let done = edgeclip(&["eval", &file, "--json", "--quiet", "--model", demo_q8_0()]).run();
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.starts_with("error: pictures/bicycle.png: not a picture"), "{}", done.stderr);
    let found: Value = serde_json::from_str(&done.text()).unwrap();
    assert_eq!((&found["models"][0]["pictures"], &found["models"][0]["texts"]), (&15.into(), &15.into()));
    edgeclip(&["eval", &file, "--strict", "--model", demo_q8_0()]).refused(1);
}

#[test]
fn captions_take_no_templates() {
    let (_, file) = csv("eval_templates", "path,caption", |path, _, caption| format!("{path},{caption}"));
    for option in [["--template", "a photo of {}"], ["--templates", "simple"]] {
        let message = edgeclip(&[&["eval", &file, "--model", demo_q8_0()][..], &option].concat()).refused(2);
        assert!(message.contains("--template and --templates are for labels"), "{message}");
    }
}

#[test]
fn what_is_no_set_is_named() {
    let file = scratch("eval_none").join("set.csv").display().to_string();
    let refused = |text: &str| {
        fs::write(&file, text).unwrap();
        edgeclip(&["eval", &file, "--model", demo_q8_0()]).refused(2)
    };
    assert_eq!(refused("a,b\n1,2\n"), format!("{file}: expected the columns path and label or caption, found a, b"));
    assert!(refused("path,label\na\n").starts_with(&file));
    fs::write(&file, "path,label\nnone.png,x\n").unwrap();
    let done = edgeclip(&["eval", &file, "--model", demo_q8_0()]).run();
    assert_eq!((done.code, done.text()), (Some(2), String::new()));
    let expected = format!("error: none.png: no such file; check the path\nerror: {file}: none of the 1 pictures could be read");
    assert!(done.stderr.starts_with(&expected), "{}", done.stderr);
}
