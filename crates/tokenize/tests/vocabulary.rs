//! Vocabularies from hostile files, texts that are too long, and batches.

mod common;

use common::{clip_tokenizer, vocabulary};
use edgeclip_tokenize::{Clean, Error, Overlong, Strings, TokenBatch, Tokenizer, Vocabulary};
use std::str::FromStr;

/// The error of CLIP's first 100 merges after a change to the vocabulary, and its message.
fn error(change: impl FnOnce(&mut Vocabulary)) -> (Error, String) {
    let mut vocabulary = vocabulary(100);
    change(&mut vocabulary);
    let error = Tokenizer::new(vocabulary).expect_err("the vocabulary is broken");
    let message = error.to_string();
    (error, message)
}

/// Changes a list as one of separate strings.
fn change(list: &mut Strings, change: impl FnOnce(&mut Vec<String>)) {
    let mut strings: Vec<String> = list.iter().map(str::to_owned).collect();
    change(&mut strings);
    *list = strings.iter().collect();
}

/// The error after a change to the list of tokens, or to that of the merges.
fn tokens(list: impl FnOnce(&mut Vec<String>)) -> (Error, String) {
    error(|v| change(&mut v.tokens, list))
}

fn merges(list: impl FnOnce(&mut Vec<String>)) -> (Error, String) {
    error(|v| change(v.merges.as_mut().expect("listed merges"), list))
}

#[test]
fn tokens_are_checked() {
    let (error_, message) = tokens(|list| list[600] = "th".into());
    assert_eq!(error_, Error::DuplicateToken { token: "th".into(), first: 513, second: 600 });
    assert_eq!(message, "token \"th\" is in the vocabulary twice, as 513 and as 600");
    assert_eq!(tokens(|list| list[7].clear()).0, Error::EmptyToken { id: 7 });
    assert_eq!(tokens(Vec::clear).0, Error::IdOutOfRange { which: "start", id: 612, tokens: 0 });
    assert_eq!(error(|v| v.end = u32::MAX).0, Error::IdOutOfRange { which: "end", id: u32::MAX, tokens: 614 });
    assert_eq!(error(|v| v.pad = 614).0, Error::IdOutOfRange { which: "padding", id: 614, tokens: 614 });
    assert_eq!(error(|v| v.end = v.start).0, Error::SameStartAndEnd { id: 612 });
    assert_eq!(tokens(|list| list[0] = "other".into()).0, Error::MissingByte { byte: b'!', token: "!".into() });
    let (_, message) = tokens(|list| list[511] = "other".into());
    assert_eq!(message, "the vocabulary lacks \"\u{143}</w>\", the token of byte 0xad");
}

#[test]
fn context_length_is_checked() {
    for context_length in [0, 1, (1 << 16) + 1, usize::MAX] {
        let expected = Error::ContextLength { context_length, least: 2, most: 1 << 16 };
        assert_eq!(error(|v| v.context_length = context_length).0, expected);
    }
}

#[test]
fn merges_are_checked() {
    for bad in ["", " ", "th", "th ", " th", "t h e", "t  h"] {
        assert_eq!(merges(|list| list[3] = bad.into()).0, Error::BadMerge { rank: 3, merge: bad.into() });
    }
    let (error_, message) = merges(|list| list[3] = "t zzz".into());
    assert_eq!(error_, Error::UnknownMergeToken { rank: 3, merge: "t zzz".into(), token: "zzz".into() });
    assert_eq!(message, "merge 3 of the vocabulary, \"t zzz\", needs \"zzz\", which is not among the tokens");
    // Both parts are tokens, but not what they make.
    let unknown = Error::UnknownMergeToken { rank: 3, merge: "! !".into(), token: "!!".into() };
    assert_eq!(merges(|list| list[3] = "! !".into()).0, unknown);
    // Merge 0 is "i n", merge 7 "in g</w>".
    assert_eq!(merges(|list| list.push("i n".into())).0, Error::DuplicateMerge { rank: 100, merge: "i n".into() });
    let late = Error::MergeOrder { rank: 0, merge: "in g</w>".into(), made_by: 7 };
    assert_eq!(merges(|list| list.swap(0, 7)).0, late);
}

#[test]
fn merges_that_cannot_be_recovered_are_an_error() {
    let recovered = |list: fn(&mut Vec<String>)| {
        error(|v| {
            v.merges = None;
            change(&mut v.tokens, list);
        })
    };
    let (error_, message) = recovered(|list| list[600] = "zzz".into());
    assert_eq!(error_, Error::NotMergeable { id: 600, token: "zzz".into() });
    assert_eq!(
        message,
        "the vocabulary has no merges, and they cannot be recovered: token 600, \"zzz\", is no merge of two earlier tokens"
    );
    // A character that is no byte's, and tokens out of order: "ing</w>" before the "in" that it is made of.
    assert_eq!(recovered(|list| list[512] = "i日".into()).0, Error::NotMergeable { id: 512, token: "i日".into() });
    assert_eq!(recovered(|list| list.swap(512, 519)).0, Error::NotMergeable { id: 512, token: "ing</w>".into() });
}

/// Errors quote what a file says, but never a megabyte of it.
#[test]
fn messages_are_short() {
    let (_, message) = tokens(|list| list[600] = "é".repeat(1 << 20));
    assert!(message.len() < 300, "{}", message.len());
    let (_, message) = merges(|list| list[3] = format!("t {}", "z".repeat(1 << 20)));
    assert!(message.len() < 300, "{}", message.len());
}

#[test]
fn overlong_text_is_an_error_unless_truncated() {
    let tokenizer = clip_tokenizer();
    let fits = "dog ".repeat(75);
    assert_eq!(tokenizer.tokenize(&[&fits], Overlong::Error).expect("75 tokens and two").row(0).len(), 77);
    let overlong = "dog ".repeat(76);
    let error = tokenizer.tokenize(&["a dog", &overlong], Overlong::Error).expect_err("76 tokens and two");
    assert_eq!(
        error.to_string(),
        format!(
            "the text {:?} has 78 tokens with its start and end, but the model reads 77; \
             shorten it or ask for truncation (--truncate, Overlong::Truncate)",
            format!("{}...", &overlong[..60])
        )
    );
    let batch = tokenizer.tokenize(&["a dog", &overlong], Overlong::Truncate).expect("truncated");
    assert_eq!(batch.row(0), [49406, 320, 1929, 49407]);
    assert_eq!(batch.row(1), [&[49406][..], &[1929; 75], &[49407]].concat());
}

#[test]
fn text_of_megabytes_is_refused_with_its_limit() {
    let tokenizer = clip_tokenizer();
    let limit = 1 << 20;
    assert!(tokenizer.encode(&"a".repeat(limit)).is_ok());
    let error = tokenizer.encode(&"a".repeat(limit + 1)).expect_err("one byte too many");
    assert_eq!(error, Error::TextTooLarge { bytes: limit + 1, limit });
}

/// Texts made to keep a fixing loop busy: escapes of escapes, mojibake of mojibake, a million combining marks.
#[test]
fn hostile_text_ends() {
    let tokenizer = clip_tokenizer();
    let limit = 1 << 20;
    let mut nested = "é".to_owned();
    while nested.len() * 3 < limit {
        nested = nested.bytes().map(char::from).collect();
    }
    for text in [
        format!("&{}", "amp;".repeat(limit / 4 - 1)),
        nested,
        "Ã©日".repeat(limit / 7),
        format!("a{}", "\u{327}\u{301}".repeat(limit / 4 - 1)),
        "\u{1b}[".repeat(limit / 2),
        "Σ\u{301}".repeat(limit / 4),
        "&".repeat(limit),
    ] {
        let ids = tokenizer.encode(&text).expect("a text within the limit");
        assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocabulary_size()));
    }
}

#[test]
fn batches_round_trip() {
    let rows = [&[5, 1, 2, 9][..], &[5, 9], &[5, 0, 0, 9]];
    let batch = TokenBatch::from_rows(rows);
    assert_eq!((batch.len(), batch.is_empty()), (3, false));
    assert!(batch.rows().eq(rows));
    assert_eq!(batch.ids(), [5, 1, 2, 9, 5, 9, 5, 0, 0, 9]);
    let padded = batch.padded(0, 5).expect("rows of at most 5");
    assert_eq!(padded, [5, 1, 2, 9, 0, 5, 9, 0, 0, 0, 5, 0, 0, 9, 0]);
    assert_eq!(TokenBatch::from_padded(&padded, 5, 0, 9).expect("three rows"), batch);
    // Padding with the end token, as Hugging Face does: one of them is the end.
    let padded = batch.padded(9, 5).expect("rows of at most 5");
    assert_eq!(TokenBatch::from_padded(&padded, 5, 9, 9).expect("three rows"), batch);
    // A full row has no padding to drop.
    let full = TokenBatch::from_padded(&[5, 1, 9], 3, 9, 9).expect("one row");
    assert_eq!(full.row(0), [5, 1, 9]);
    assert!(TokenBatch::default().is_empty());
    assert_eq!(TokenBatch::default().padded(0, 77), Ok(Vec::new()));
}

#[test]
fn batches_that_do_not_fit_are_errors() {
    let batch = TokenBatch::from_rows([&[1, 2][..], &[1, 2, 3]]);
    assert_eq!(batch.padded(0, 2), Err(Error::RowTooLong { row: 1, ids: 3, context_length: 2 }));
    assert_eq!(TokenBatch::from_padded(&[1, 2, 3], 2, 0, 9), Err(Error::NotWholeRows { ids: 3, context_length: 2 }));
    assert_eq!(TokenBatch::from_padded(&[], 0, 0, 9), Err(Error::NotWholeRows { ids: 0, context_length: 0 }));
}

#[test]
fn clean_modes_have_names() {
    assert_eq!(Clean::from_str(Clean::Clip.as_str()), Ok(Clean::Clip));
    assert_eq!(Clean::Clip.to_string(), "clip");
    let error = Clean::from_str("canonicalize").expect_err("no such mode yet");
    assert_eq!(error.to_string(), "text cleaning \"canonicalize\" is not known, expected \"clip\"");
}

#[test]
fn facts_are_the_vocabularys() {
    let tokenizer = clip_tokenizer();
    assert_eq!((tokenizer.start(), tokenizer.end(), tokenizer.pad()), (49406, 49407, 0));
    assert_eq!((tokenizer.vocabulary_size(), tokenizer.context_length()), (49408, 77));
    assert_eq!((tokenizer.token(320), tokenizer.token(49408)), (Some("a</w>"), None));
    assert_eq!(tokenizer.vocabulary().merges.as_ref().map(Strings::len), Some(48_894));
    assert_eq!(tokenizer.decode(&[320, u32::MAX]), "a \u{fffd}");
    // One tokenizer serves all threads.
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&tokenizer);
}
