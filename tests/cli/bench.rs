//! `edgeclip bench`: what it measures is there and adds up; how long it took is nobody's promise.

use serde_json::Value;

use crate::support::*;

fn bench(arguments: &[&str]) -> Value {
    let arguments = [&["bench", "--json", "--seconds", "0.2"], arguments].concat();
    serde_json::from_str(&edgeclip(&arguments).ok()).unwrap()
}

fn whats(list: &Value) -> Vec<(String, u64)> {
    let one = |entry: &Value| (entry["what"].as_str().unwrap().to_owned(), entry["batch"].as_u64().unwrap_or(1));
    list.as_array().unwrap().iter().map(one).collect()
}

#[test]
fn everything_that_the_file_has_is_measured() {
    let found = bench(&[&picture("cat"), "--threads", "2", "--model", demo_q8_0()]);
    assert_eq!((&found["threads"], &found["model"]["type"]), (&2.into(), &"q8_0".into()));
    assert_eq!(found["file_bytes"], std::fs::metadata(demo_q8_0()).unwrap().len());
    let expected = [
        ("preprocessing", 1),
        ("picture", 1),
        ("picture", 8),
        ("picture", 32),
        ("text, short, 7 tokens", 1),
        ("text, short, 7 tokens", 32),
        ("text, full, 77 tokens", 1),
        ("text, full, 77 tokens", 32),
    ];
    assert_eq!(whats(&found["encode"]), expected.map(|(what, batch)| (what.to_owned(), batch)));
    for entry in found["encode"].as_array().unwrap() {
        let number = |key: &str| entry[key].as_f64().unwrap();
        assert!(0.0 < number("min_ms") && number("min_ms") <= number("ms") && number("ms") <= number("max_ms"), "{entry}");
        assert!((number("ms") * number("per_second") - 1000.0).abs() < 1e-6, "{entry}");
        assert!(entry["rounds"].as_u64().unwrap() >= 2);
    }
    for part in ["open", "image encoder", "text encoder", "tokenizer"] {
        assert!(found["load_ms"][part].as_f64().unwrap() >= 0.0, "{part}");
    }
    let text = edgeclip(&["bench", "--seconds", "0.1", "--model", demo_q8_0()]).ok();
    assert!(text.contains("synthetic") && !text.contains("preprocessing  "), "{text}");
}

#[test]
fn phases_sum_to_the_whole() {
    let found = bench(&["--profile", "--model", demo_q8_0()]);
    let profiles = found["profiles"].as_array().unwrap();
    assert_eq!(profiles.len(), 3);
    for profile in profiles {
        let phases = profile["phases_ms"].as_object().unwrap();
        let sum: f64 = phases.values().map(|time| time.as_f64().unwrap()).sum();
        assert_eq!(phases.len(), 8);
        assert!(phases.values().all(|time| time.as_f64().unwrap() > 0.0), "{profile}");
        assert!((sum / profile["whole_ms"].as_f64().unwrap() - 1.0).abs() < 1e-9, "{profile}");
    }
}

#[test]
fn one_encoder_is_enough() {
    let copy = scratch("bench_one").join("model.gguf");
    let text_only = without("image", demo_q8_0(), &copy);
    let found = bench(&["--model", &text_only]);
    assert!(whats(&found["encode"]).iter().all(|(what, _)| what.starts_with("text")), "{found}");
    assert_eq!(found["load_ms"].get("image encoder"), None);
    let message = edgeclip(&["bench", &picture("cat"), "--model", &text_only]).refused(2);
    assert!(message.contains("image encoder"), "{message}");
}

#[test]
fn what_cannot_be_measured_is_named() {
    assert!(edgeclip(&["bench"]).refused(2).starts_with("no model: give --model FILE"));
    let message = edgeclip(&["bench", "none.png", "--model", demo_q8_0()]).refused(2);
    assert_eq!(message, "none.png: no such file; check the path");
    for seconds in ["0", "-1", "nan", "inf", "1e300", "x"] {
        let done = edgeclip(&["bench", &format!("--seconds={seconds}"), "--model", demo_q8_0()]).run();
        assert_eq!(done.code, Some(2));
        assert!(done.stderr.contains("expected seconds, more than 0"), "{}", done.stderr);
    }
}
