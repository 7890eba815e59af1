//! CLIP's vocabulary, from the merges that its package ships, and the golden files.

use edgeclip_tokenize::{Clean, Tokenizer, Vocabulary};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// CLIP's merges, one a line.
const MERGES: &str = include_str!("../../data/clip-merges.txt");

/// The vocabulary that CLIP's first `merges` merges make: the bytes, the bytes that end a word, the merges, the specials.
pub(crate) fn vocabulary(merges: usize) -> Vocabulary {
    let merges: Vec<String> = MERGES.lines().take(merges).map(String::from).collect();
    let printable = (33..=126u8).chain(161..=172).chain(174..=255).map(char::from);
    let bytes: Vec<String> = printable.chain('\u{100}'..='\u{143}').map(String::from).collect();
    let mut tokens = bytes.clone();
    tokens.extend(bytes.iter().map(|byte| format!("{byte}</w>")));
    tokens.extend(merges.iter().map(|merge| merge.replace(' ', "")));
    tokens.extend(["<|startoftext|>", "<|endoftext|>"].map(String::from));
    let end = tokens.len() as u32 - 1;
    Vocabulary { tokens, merges: Some(merges), start: end - 1, end, pad: 0, context_length: 77, clean: Clean::Clip }
}

/// CLIP's own vocabulary.
pub(crate) fn clip() -> Vocabulary {
    vocabulary(usize::MAX)
}

/// A tokenizer with CLIP's own vocabulary.
pub(crate) fn clip_tokenizer() -> Tokenizer {
    Tokenizer::new(clip()).expect("CLIP's vocabulary is valid")
}

/// The rows of a golden file, and those of the file of the same name in EDGECLIP_TOKEN_GOLDENS, if that is set.
pub(crate) fn golden(name: &str) -> Vec<Value> {
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
pub(crate) fn ids(row: &Value) -> Vec<u32> {
    let ids = row["ids"].as_array().expect("a golden row has ids");
    ids.iter().map(|id| id.as_u64().expect("an id is a number") as u32).collect()
}

/// Fails with the first few differences and their number.
pub(crate) fn assert_none(differences: &[String], rows: usize) {
    let shown = differences.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(differences.is_empty(), "{} of {rows} differ:\n{shown}", differences.len());
}
