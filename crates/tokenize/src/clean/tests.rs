//! Each step against its reference, and the fast path against the full one.

use super::*;

/// Rows of the golden file: text, `ftfy.fix_text` of it, and the whole cleaning.
fn golden() -> Vec<[String; 3]> {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/clean.jsonl");
    let text = std::fs::read_to_string(own).expect("the golden file is there");
    let more = std::env::var_os("EDGECLIP_TOKEN_GOLDENS").map(|folder| std::path::PathBuf::from(folder).join("clean.jsonl"));
    let more = more.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    let row = |line: &str| {
        let row: serde_json::Value = serde_json::from_str(line).expect("a golden row is JSON");
        ["text", "fixed", "clean"].map(|key| row[key].as_str().expect("a golden row has three texts").to_owned())
    };
    text.lines().chain(more.lines()).map(row).collect()
}

#[test]
fn fix_text_is_ftfys() {
    let rows = golden();
    let differing: Vec<String> = rows
        .iter()
        .map(|[text, expected, _]| (text, fix::fix_text(text), expected))
        .filter(|(_, got, expected)| got != *expected)
        .map(|(text, got, expected)| format!("{text:?}\n  got      {got:?}\n  expected {expected:?}"))
        .collect();
    assert!(
        differing.is_empty(),
        "{} of {} differ:\n{}",
        differing.len(),
        rows.len(),
        differing[..differing.len().min(20)].join("\n")
    );
}
