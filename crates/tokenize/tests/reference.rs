//! Ids and cleaned text equal to the reference's (tools/make_token_goldens.py), on texts of every kind that it treats specially.

mod common;

use common::{clip_tokenizer, vocabulary};
use edgeclip_tokenize::{Overlong, Tokenizer};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The rows of a golden file, and those of the file of the same name in EDGECLIP_TOKEN_GOLDENS, if that is set.
fn golden(name: &str) -> Vec<Value> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    let more = std::env::var_os("EDGECLIP_TOKEN_GOLDENS").map(|folder| PathBuf::from(folder).join(name));
    let mut rows = Vec::new();
    for path in std::iter::once(own).chain(more.filter(|path| path.exists())) {
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        rows.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a golden row is JSON")));
    }
    rows
}

/// The ids of a golden row.
fn ids(row: &Value) -> Vec<u32> {
    let ids = row["ids"].as_array().expect("a golden row has ids");
    ids.iter().map(|id| id.as_u64().expect("an id is a number") as u32).collect()
}

/// Fails with the first few differences and their number.
fn assert_none(differences: &[String], rows: usize) {
    let shown = differences.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(differences.is_empty(), "{} of {rows} differ:\n{shown}", differences.len());
}

fn differing_ids(tokenizer: &Tokenizer, name: &str) -> (Vec<String>, usize) {
    let rows = golden(name);
    let mut differences = Vec::new();
    for row in &rows {
        let text = row["text"].as_str().expect("a golden row has a text");
        let (got, expected) = (tokenizer.encode(text).expect("a golden text is short enough"), ids(row));
        if got != expected {
            differences.push(format!(
                "{text:?}\n  got      {:?}\n  expected {:?}",
                tokenizer.decode(&got),
                tokenizer.decode(&expected)
            ));
        }
    }
    (differences, rows.len())
}

#[test]
fn ids_are_the_references() {
    let (differences, rows) = differing_ids(&clip_tokenizer(), "tokens.jsonl");
    assert!(rows >= 5_000, "only {rows} golden texts");
    assert_none(&differences, rows);
}

#[test]
fn ids_are_the_references_with_a_vocabulary_of_8192() {
    let tokenizer = Tokenizer::new(vocabulary(8192 - 512 - 2)).expect("a valid vocabulary");
    assert_eq!((tokenizer.vocabulary_size(), tokenizer.end()), (8192, 8191));
    let (differences, rows) = differing_ids(&tokenizer, "tokens-8192.jsonl");
    assert_none(&differences, rows);
}

#[test]
fn ids_are_the_references_with_recovered_merges() {
    let mut vocabulary = vocabulary(usize::MAX);
    vocabulary.merges = None;
    let (differences, rows) = differing_ids(&Tokenizer::new(vocabulary).expect("a valid vocabulary"), "tokens.jsonl");
    assert_none(&differences, rows);
}

#[test]
fn cleaned_text_is_the_references() {
    let tokenizer = clip_tokenizer();
    let rows = golden("clean.jsonl");
    let mut differences = Vec::new();
    for row in &rows {
        let (text, expected) = (row["text"].as_str().expect("a text"), row["clean"].as_str().expect("a cleaned text"));
        let got = tokenizer.clean(text);
        if got != expected {
            differences.push(format!("{text:?}\n  got      {got:?}\n  expected {expected:?}"));
        }
    }
    assert_none(&differences, rows.len());
}

#[test]
fn decoded_text_is_the_references() {
    let tokenizer = clip_tokenizer();
    let rows = golden("decode.jsonl");
    let mut differences = Vec::new();
    for row in &rows {
        let (got, expected) = (tokenizer.decode(&ids(row)), row["text"].as_str().expect("a text"));
        if got != expected {
            differences.push(format!("{:?}\n  got      {got:?}\n  expected {expected:?}", ids(row)));
        }
    }
    assert_none(&differences, rows.len());
}

/// The values are those of `clip.tokenize(["a diagram", "a dog", "a cat"])`, which the reference's README prints the use of.
#[test]
fn padded_rows_are_clip_tokenizes() {
    let batch = clip_tokenizer().tokenize(&["a diagram", "a dog", "a cat"], Overlong::Error).expect("short texts");
    let rows = [vec![49406, 320, 22697, 49407], vec![49406, 320, 1929, 49407], vec![49406, 320, 2368, 49407]];
    assert_eq!(batch.rows().collect::<Vec<_>>(), rows);
    let expected: Vec<u32> = rows.iter().flat_map(|row| row.iter().copied().chain(std::iter::repeat_n(0, 73))).collect();
    assert_eq!(batch.padded(0, 77).expect("rows of at most 77"), expected);
}
