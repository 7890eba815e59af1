//! `edgeclip tokenize`: texts to ids, and back.

use std::io::Write;

use anyhow::{Result, anyhow};
use clap::{Args, ValueEnum};
use edgeclip::Tokenizer;
use serde::Serialize;

use super::overlong;
use crate::{
    console::Console,
    model::ModelArgs,
    output::{
        json::{self, Array},
        sink::Sink,
        visible,
    },
    texts,
};

/// Show the token ids of texts, or the text of ids
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgeclip tokenize \"a photo of a cat\" --model b32.gguf
  edgeclip tokenize - --padded --format jsonl < captions.txt
  edgeclip tokenize --decode \"49406 320 2368 49407\"")]
pub(crate) struct TokenizeArgs {
    /// Texts; - is the lines of standard input
    #[arg(required = true, value_name = "TEXT")]
    texts: Vec<String>,
    /// Fill each row up to the model's context length, as Python's clip.tokenize does
    #[arg(long, conflicts_with = "decode")]
    padded: bool,
    /// The other way round: each argument is ids, separated by blanks or commas
    #[arg(long)]
    decode: bool,
    /// Cut texts that are longer than the model reads instead of failing
    #[arg(long, conflicts_with = "decode")]
    truncate: bool,
    /// Stop at the first text that fails (exit code 1) instead of skipping it
    #[arg(long)]
    strict: bool,
    /// Form of the output
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    model: ModelArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people: text, ids, pieces
    Text,
    /// One array of {input, ids, pieces}, with --decode {input, text}
    Json,
    /// One such object a line
    Jsonl,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Record {
    Tokens { input: String, ids: Vec<u32>, pieces: Vec<String> },
    Text { input: String, text: String },
}

/// Runs the command.
pub(crate) fn run(args: TokenizeArgs, console: &Console) -> Result<()> {
    let model = args.model.load(console)?;
    let tokenizer = model.clip.tokenizer()?;
    let mut sink = Sink::open(None)?;
    let mut array = Array::default();
    for text in texts::texts(&args.texts) {
        match text.and_then(|text| record(&args, tokenizer, text)) {
            Ok(record) => write(&mut sink, args.format, &record, &mut array)?,
            Err(error) => console.failure("", &error, args.strict)?,
        }
    }
    if args.format == Format::Json {
        array.end(&mut sink)?;
    }
    sink.commit()
}

fn record(args: &TokenizeArgs, tokenizer: &Tokenizer, input: String) -> Result<Record> {
    if args.decode {
        let ids = ids(&input, tokenizer.vocabulary_size())?;
        return Ok(Record::Text { text: tokenizer.decode(&ids), input });
    }
    let batch = tokenizer.tokenize(&[&input], overlong(args.truncate))?;
    let pieces = batch.ids().iter().map(|&id| tokenizer.token(id).unwrap_or("").to_owned()).collect();
    let ids = if args.padded { batch.padded(tokenizer.pad(), tokenizer.context_length())? } else { batch.ids().to_vec() };
    Ok(Record::Tokens { input, ids, pieces })
}

/// Ids as people write them.
fn ids(text: &str, vocabulary: usize) -> Result<Vec<u32>> {
    let words = text.split(|c: char| c.is_whitespace() || matches!(c, ',' | '[' | ']')).filter(|word| !word.is_empty());
    let id = |word: &str| word.parse::<u32>().ok().filter(|&id| (id as usize) < vocabulary);
    words.map(|word| id(word).ok_or_else(|| anyhow!("{text:?}: expected ids below {vocabulary}, found {word:?}"))).collect()
}

fn write(sink: &mut Sink, format: Format, record: &Record, array: &mut Array) -> Result<()> {
    match (format, record) {
        (Format::Text, Record::Text { text, .. }) => writeln!(sink, "{}", visible(text))?,
        (Format::Text, Record::Tokens { input, ids, pieces }) => {
            let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
            let input = format!("{input:?}");
            writeln!(sink, "{}\n  ids     {}\n  pieces  {}", visible(&input), ids.join(" "), visible(&pieces.join(" ")))?;
        }
        (Format::Json, _) => array.item(sink, record)?,
        (Format::Jsonl, _) => json::line(sink, record)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn ids_are_read_in_any_usual_form() {
        for text in ["1 2 3", "[1, 2, 3]", "1,2,3\n"] {
            assert_eq!(super::ids(text, 4).unwrap(), [1, 2, 3]);
        }
        for (text, word) in [("1 2 3", "3"), ("1 x", "x"), ("-1", "-1"), ("99999999999", "99999999999")] {
            let error = super::ids(text, 3).unwrap_err().to_string();
            assert_eq!(error, format!("{text:?}: expected ids below 3, found {word:?}"));
        }
    }
}
