//! `edgeclip verify`: the demo against what tools/make_verify_demo.py wrote, and what is said of files that are not what they seem.

use std::{fs, path::Path};

use edgeclip_gguf::{File, Metadata};
use edgeclip_model::{content_id, schema::keys};
use serde_json::Value;

use crate::support::*;

fn pictures() -> String {
    root().join("models/demo/pictures").display().to_string()
}

/// The exit code, and the report as JSON.
fn report(arguments: &[&str]) -> (Option<i32>, Value) {
    let done = edgeclip(&[&["verify", "--json"], arguments].concat()).run();
    (done.code, serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{arguments:?}: {}", done.stderr)))
}

fn counts(report: &Value) -> [u64; 3] {
    ["passed", "failed", "not_checked"].map(|key| report[key].as_u64().unwrap())
}

fn verdicts(report: &Value) -> Vec<(&str, &str)> {
    let rows = report["checks"].as_array().unwrap().iter();
    rows.map(|row| (row["check"].as_str().unwrap(), row["verdict"].as_str().unwrap())).collect()
}

/// A copy of a file whose content id is made to fit again.
fn with_its_content_id(model: &str, copy: &Path) -> String {
    let file = File::open(model).unwrap();
    let (stored, computed) = (file.get::<String>(keys::CONTENT_ID).unwrap().unwrap(), content_id(&file).unwrap());
    drop(file);
    let mut bytes = fs::read(model).unwrap();
    let at = bytes.windows(stored.len()).position(|w| w == stored.as_bytes()).unwrap();
    bytes[at..at + stored.len()].copy_from_slice(computed.as_bytes());
    fs::write(copy, bytes).unwrap();
    copy.display().to_string()
}

#[test]
fn the_demo_is_what_was_published() {
    let text = edgeclip(&["verify", demo_f32(), "--picture", &pictures(), "--all"]).ok();
    for part in [
        "compared with what is published of edgeclip demo",
        "\"an emoji of a cat\": 256 values, length 1",
        "cat.png: logits of 3 texts",
        "16 passed, 0 failed, 0 not checked",
        "[1] tools/make_verify_demo.py: transformers ",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    // The tolerance is the published one, and what is missed of it is f32's noise.
    let (code, f32) = report(&[demo_f32(), "--picture", &pictures()]);
    assert_eq!((code, &f32["allowed_cosine"]), (Some(0), &1.0.into()));
    let vectors = f32["checks"].as_array().unwrap().iter().filter(|row| row["check"].as_str().unwrap().contains("256 values"));
    let mut count = 0;
    for row in vectors {
        let numbers = |key: &str| row[key].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect::<Vec<_>>();
        let (values, expected, tolerances, differences) =
            (numbers("value"), numbers("expected"), numbers("tolerance"), numbers("difference"));
        assert_eq!([values.len(), expected.len(), tolerances.len(), differences.len()], [256; 4]);
        assert!(tolerances.iter().all(|t| *t == 1e-5) && differences.iter().all(|d| *d < 1e-6), "{row}");
        assert!(row["source"]["what"].as_str().unwrap().starts_with("tools/make_verify_demo.py"), "{row}");
        count += 1;
    }
    assert_eq!(count, 6);
}

#[test]
fn quantized_files_have_wider_tolerances() {
    let text = edgeclip(&["verify"]).env("EDGECLIP_MODEL", demo_q8_0()).ok();
    assert!(text.contains("9 passed, 0 failed, 7 not checked"), "{text}");
    assert!(text.contains("tolerances are for q8_0: vectors at a cosine of 0.999500 to the checkpoint's"), "{text}");
    assert!(
        text.contains("needs cat.png (sha256 ce378dc0...) of models/demo/pictures: give it with --picture (3 checks)"),
        "{text}"
    );
    let (code, q8_0) = report(&[demo_q8_0(), "--picture", &pictures()]);
    assert_eq!((code, counts(&q8_0)), (Some(0), [16, 0, 0]));
}

/// Pictures are told by their bytes, not by their names.
#[test]
fn other_pictures_are_left_alone() {
    let folder = scratch("verify_pictures");
    fs::copy(picture("dog"), folder.join("cat.png")).unwrap();
    fs::copy(picture("octopus"), folder.join("x")).unwrap();
    let done = edgeclip(&["verify", demo_q8_0(), "--picture", "cat.png"]).folder(&folder).run();
    assert_eq!(done.code, Some(0));
    assert!(done.stderr.contains("none of the pictures is one that is needed here"), "{}", done.stderr);
    assert!(done.text().contains("9 passed, 0 failed, 7 not checked"), "{}", done.text());
    let text = edgeclip(&["verify", demo_q8_0(), "--picture", "cat.png", "--picture", "x"]).folder(&folder).ok();
    assert!(text.contains("11 passed, 0 failed, 5 not checked"), "{text}");

    let done = edgeclip(&["verify", demo_q8_0(), "--picture", "x", "--all"]).folder(&folder).run();
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.contains("5 checks could not be made, and --all wants all of them"), "{}", done.stderr);
    let done = edgeclip(&["verify", demo_q8_0(), "--picture", "none.png"]).folder(&folder).run();
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.starts_with("error: none.png: no such file"), "{}", done.stderr);
}

/// By the content id any, however small; by the vectors one that matters.
#[test]
fn one_changed_weight_is_noticed() {
    let folder = scratch("verify_weight");
    let file = File::open(demo_f32()).unwrap();
    let (tensor, index) = ("t.blk.1.ffn_up.weight", 12_345);
    let bytes = file.data(file.tensor(tensor).unwrap()).unwrap();
    let weight = f32::from_le_bytes(bytes[4 * index..][..4].try_into().unwrap());
    let next = f32::from_bits(weight.to_bits() ^ 1);
    drop((bytes, file));
    let changed = with_values(demo_f32(), tensor, &[(index, next)], &folder.join("last-bit.gguf"));
    let done = edgeclip(&["verify", &changed]).run();
    assert_eq!(done.code, Some(1));
    assert_eq!(done.stderr, format!("error: {changed}: 1 of 9 checks failed: content id\n"));

    for (tensor, in_text) in [("text_projection.weight", true), ("visual_projection.weight", false)] {
        let changed = with_values(demo_f32(), tensor, &[(1000, 1.0)], &folder.join("changed.gguf"));
        let (code, report_of) = report(&[&changed, "--picture", &pictures()]);
        assert_eq!((code, verdicts(&report_of)[0]), (Some(1), ("content id", "FAIL")));

        let disguised = with_its_content_id(&changed, &folder.join("disguised.gguf"));
        edgeclip(&["info", &disguised, "--verify"]).ok();
        let (code, report_of) = report(&[&disguised, "--picture", &pictures()]);
        assert_eq!(code, Some(1));
        for (check, verdict) in verdicts(&report_of) {
            let of_picture = check.contains(".png: ");
            if check.contains("256 values") {
                assert_eq!(verdict, if of_picture == in_text { "pass" } else { "FAIL" }, "{tensor}: {check}");
            } else if !of_picture && !check.contains("sum") {
                assert_eq!(verdict, "pass", "{tensor}: {check}");
            }
        }
    }
}

/// The rest of the report is still there.
#[test]
fn a_model_with_nan_fails() {
    let changed = with_values(demo_f32(), "t.post_ln.weight", &[(0, f32::NAN)], &scratch("verify_nan").join("nan.gguf"));
    let done = edgeclip(&["verify", &changed, "--picture", &pictures()]).run();
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.contains("failed: content id; \"an emoji of a cat\": 256 values"), "{}", done.stderr);
    assert!(done.text().contains("not finite"), "{}", done.text());
}

#[test]
fn a_single_encoder_is_checked_alone() {
    let folder = scratch("verify_tower");
    for (tower, expected) in [("image", [9, 0, 7]), ("text", [5, 0, 11])] {
        let copy = without(tower, demo_f32(), &folder.join("without.gguf"));
        let copy = with_its_content_id(&copy, &folder.join(format!("no-{tower}.gguf")));
        let (code, report) = report(&[&copy, "--picture", &pictures()]);
        assert_eq!(code, Some(0), "{report}");
        assert_eq!(counts(&report), expected, "{tower}");
        let reason = format!("this file has no {tower} encoder");
        assert!(report["checks"].as_array().unwrap().iter().any(|row| row["reason"] == *reason), "{report}");
    }
    // Nothing is left to check without a picture.
    let done = edgeclip(&["verify", &folder.join("no-text.gguf").display().to_string()]).run();
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.contains("no published number could be checked"), "{}", done.stderr);
}

#[test]
fn a_model_that_nobody_knows_is_not_verified() {
    let done = edgeclip(&["verify", small()]).run();
    assert_eq!(done.code, Some(1));
    assert!(done.text().contains("1 passed, 0 failed, 0 not checked"), "{}", done.text());
    for part in ["nothing is published of this model", "openai/clip-vit-base-patch32", "--as"] {
        assert!(done.stderr.contains(part), "{}", done.stderr);
    }
    let message = edgeclip(&["verify", small(), "--as", "RN999"]).refused(2);
    assert!(message.starts_with("--as RN999: nothing is published of this model; expected one of openai/"), "{message}");
}

/// A name is believed, and then the file has to be that model; a name that others have too decides nothing against the configuration.
#[test]
fn a_model_of_a_wrong_name_fails() {
    let folder = scratch("verify_names");
    let renamed = |name: &str| {
        let change = |metadata: &mut Metadata| drop(metadata.insert(keys::NAME, name));
        rewritten(small(), &folder.join("renamed.gguf"), change, |_| true)
    };
    for name in ["openai/clip-vit-base-patch32", "ViT-B-32__openai"] {
        let (code, report) = report(&[&renamed(name)]);
        assert_eq!((code, &report["published"]), (Some(1), &"OpenAI ViT-B/32".into()));
        assert_eq!(verdicts(&report)[1], ("configuration", "FAIL"));
        assert!(verdicts(&report)[2..].iter().all(|(_, verdict)| *verdict == "not checked"));
        assert!(report["checks"][1]["expected"].as_str().unwrap().contains("dimensions 512"), "{report}");
    }
    assert_eq!(report(&[&renamed("ViT-B/32")]).1["published"], Value::Null);
    assert_eq!(report(&[small(), "--as", "ViT-B/32"]).1["published"], "OpenAI ViT-B/32");

    // The hash of its checkpoint says that it is the demo, its activation that it is not.
    let gelu = |metadata: &mut Metadata| drop(metadata.insert("clip.text.activation", "gelu"));
    let copy = rewritten(demo_q8_0(), &folder.join("gelu.gguf"), gelu, |_| true);
    let done = edgeclip(&["verify", &copy]).run();
    assert_eq!(done.code, Some(1));
    assert!(done.text().contains("text activation gelu  text activation quick_gelu"), "{}", done.text());
    assert!(done.stderr.contains("2 of 2 checks failed: content id; configuration"), "{}", done.stderr);
}

/// Files of other converters have no content id, which is no fault of theirs.
#[test]
fn a_file_without_content_id_can_pass() {
    let drop_id = |metadata: &mut Metadata| {
        let all = std::mem::replace(metadata, Metadata::new());
        let kept = all.iter().filter(|(key, _)| *key != keys::CONTENT_ID);
        kept.for_each(|(key, value)| drop(metadata.insert(key, value.clone())));
    };
    let copy = rewritten(demo_q8_0(), &scratch("verify_no_id").join("model.gguf"), drop_id, |_| true);
    let text = edgeclip(&["verify", &copy]).ok();
    assert!(text.contains("content id: there is none in this file; only edgeclip writes it"), "{text}");
    assert!(text.contains("8 passed, 0 failed, 8 not checked"), "{text}");
}

#[test]
fn a_damaged_file_is_one_line() {
    let path = scratch("verify_damaged").join("cut.gguf").display().to_string();
    let whole = fs::read(small()).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert!(edgeclip(&["verify", &path]).refused(2).starts_with(&format!("{path}: ")));
    let message = edgeclip(&["verify"]).refused(2);
    assert!(message.contains("edgeclip verify model.gguf") && message.contains("EDGECLIP_MODEL"), "{message}");
}
