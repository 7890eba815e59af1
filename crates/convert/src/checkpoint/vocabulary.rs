//! The tokenizer's lists: vocab.json and merges.txt, or else tokenizer.json.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use edgeclip_tokenize::{Clean, Strings, Vocabulary};
use serde::Deserialize;
use serde_json::Value;

use super::json::{self, Object};
use crate::{Error, error::shown};

const SETTINGS_LIMIT: u64 = 4 << 20;
/// XLM-V's lists, the longest known, have 901,629 tokens in some 30 MB.
const LIST_LIMIT: u64 = 64 << 20;

/// tokenizer.json, as far as it matters here.
#[derive(Deserialize)]
struct TokenizerJson {
    model: BpeModel,
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
}

#[derive(Deserialize)]
struct BpeModel {
    vocab: HashMap<String, u64>,
    merges: Vec<Merge>,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u64,
    content: String,
}

/// Either spelling that the `tokenizers` library has written.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Line(String),
    Pair(String, String),
}

/// Whether a folder has a tokenizer's lists.
pub(super) fn is_in(folder: &Path) -> bool {
    folder.join("tokenizer.json").exists() || (folder.join("vocab.json").exists() && folder.join("merges.txt").exists())
}

/// The vocabulary of a folder, and the file that most of it came from.
///
/// The start and end tokens are those that the tokenizer's settings name; ids in config.json are not asked, because old ones are wrong.
/// A padded row is filled up with 0, as `clip.tokenize` does, whatever `pad_token` says: padding never changes a causal encoder's
/// vector, and one rule for all files is the reference's.
pub(super) fn read(folder: &Path, context_length: usize) -> Result<(Vocabulary, PathBuf), Error> {
    let (list, merges_txt, joint) = (folder.join("vocab.json"), folder.join("merges.txt"), folder.join("tokenizer.json"));
    let (path, ids, merges) = if list.exists() && merges_txt.exists() {
        let mut ids: HashMap<String, u64> = json::parse(&list, LIST_LIMIT)?;
        let added = folder.join("added_tokens.json");
        if added.exists() {
            let added: HashMap<String, u64> = json::parse(&added, SETTINGS_LIMIT)?;
            ids.extend(added);
        }
        (list, ids, merge_lines(&merges_txt)?)
    } else if joint.exists() {
        let TokenizerJson { model, added_tokens } = json::parse(&joint, LIST_LIMIT)?;
        let mut ids = model.vocab;
        ids.extend(added_tokens.into_iter().map(|token| (token.content, token.id)));
        let line = |merge| match merge {
            Merge::Line(line) => line,
            Merge::Pair(left, right) => format!("{left} {right}"),
        };
        (joint, ids, model.merges.into_iter().map(line).collect())
    } else {
        let missing = if list.exists() { "merges.txt (or tokenizer.json)" } else { "vocab.json (or tokenizer.json)" };
        return Err(Error::NoConfig { path: folder.to_owned(), missing });
    };
    let tokens = in_order(&path, ids)?;
    let [start, end] = special_tokens(folder)?;
    let id = |token: &str| {
        let id = tokens.iter().rposition(|known| known == token);
        id.map(|id| id as u32).ok_or_else(|| Error::Malformed {
            path: path.clone(),
            problem: format!("the vocabulary has no token {:?}, which starts or ends every text", shown(token)),
        })
    };
    let (start, end) = (id(&start)?, id(&end)?);
    let (tokens, merges) = (Strings::from_iter(tokens), Some(Strings::from_iter(merges)));
    Ok((Vocabulary { start, end, tokens, merges, pad: 0, context_length, clean: Clean::Clip }, path))
}

/// The tokens by id; ids have to be 0, 1, 2 and so on.
fn in_order(path: &Path, ids: HashMap<String, u64>) -> Result<Vec<String>, Error> {
    let malformed = |problem: String| Error::Malformed { path: path.to_owned(), problem };
    let count = ids.len();
    let mut tokens = vec![None; count];
    for (token, id) in ids {
        let Some(place) = usize::try_from(id).ok().and_then(|id| tokens.get_mut(id)) else {
            return Err(malformed(format!("token {:?} has the id {id}, but there are only {count} tokens", shown(&token))));
        };
        if let Some(other) = place.replace(token) {
            return Err(malformed(format!("two tokens have the id {id}; one is {:?}", shown(&other))));
        }
    }
    // As many places as tokens and none taken twice, so all are taken.
    Ok(tokens.into_iter().flatten().collect())
}

/// merges.txt: a line of the version, then a pair a line.
fn merge_lines(path: &Path) -> Result<Vec<String>, Error> {
    let text = String::from_utf8(json::read(path, LIST_LIMIT)?)
        .map_err(|_| Error::Malformed { path: path.to_owned(), problem: "expected UTF-8, found other bytes".into() })?;
    let lines = text.lines().enumerate().filter(|(i, line)| !(line.is_empty() || (*i == 0 && line.starts_with("#version"))));
    Ok(lines.map(|(_, line)| line.to_owned()).collect())
}

/// The start and the end token, from the files that name them; CLIP's own where none does.
fn special_tokens(folder: &Path) -> Result<[String; 2], Error> {
    let mut tokens = [("bos_token", "<|startoftext|>"), ("eos_token", "<|endoftext|>")].map(|(key, own)| (key, own.to_owned()));
    // The first file wins, so it is read last.
    for name in ["special_tokens_map.json", "tokenizer_config.json"] {
        let path = folder.join(name);
        if !path.exists() {
            continue;
        }
        let settings = Object::read(&path, SETTINGS_LIMIT)?;
        for (key, token) in &mut tokens {
            match settings.get(key) {
                None => {}
                Some(Value::String(text)) => *token = text.clone(),
                Some(value) => {
                    let content = value.get("content").and_then(Value::as_str);
                    *token = content.ok_or_else(|| settings.wrong(key, "a token", value))?.to_owned();
                }
            }
        }
    }
    Ok(tokens.map(|(_, token)| token))
}
