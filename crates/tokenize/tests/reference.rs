//! Ids and cleaned text equal to the reference's (tools/make_token_goldens.py), on texts of every kind that it treats specially.

mod common;

use common::{assert_none, clip, clip_tokenizer, golden, ids, vocabulary};
use edgeclip_tokenize::{Overlong, Tokenizer};

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
    let mut vocabulary = clip();
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
