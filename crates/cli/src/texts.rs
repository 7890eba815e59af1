//! Texts from arguments or standard input, and texts to vectors.

use std::io::{self, BufRead, Read};

use anyhow::{Context, Result, anyhow};
use edgeclip::{Clip, Overlong, TokenBatch, Tower};
use edgeclip_tokenize::MAX_TEXT;

use crate::{console::Console, finite, interrupt, pictures::BatchArgs};

/// The texts of the arguments in order; `-` stands for the lines of standard input, read as they are needed. An `Err` is a line that
/// is no text.
pub(crate) fn texts(arguments: &[String]) -> impl Iterator<Item = Result<String>> + '_ {
    arguments.iter().flat_map(|argument| -> Box<dyn Iterator<Item = Result<String>>> {
        if argument == "-" { Box::new(lines(io::stdin().lock())) } else { Box::new(std::iter::once(Ok(argument.clone()))) }
    })
}

/// The lines of a reader, without their ends. Empty lines count, so that lines out are lines in.
pub(crate) fn lines(mut reader: impl BufRead) -> impl Iterator<Item = Result<String>> {
    let (mut number, mut ended, mut cut) = (0usize, false, false);
    std::iter::from_fn(move || {
        if ended {
            return None;
        }
        number += 1;
        let line = next_line(&mut reader, &mut cut).with_context(|| format!("line {number} of standard input"));
        ended = !matches!(line, Ok(Some(_)));
        match line {
            Ok(None) => None,
            Ok(Some(text)) => Some(text.with_context(|| format!("line {number} of standard input"))),
            Err(error) => Some(Err(error)),
        }
    })
}

/// `Ok(None)` at the end; `Ok(Some(Err))` for a line that is too long or no UTF-8, after which reading can go on. `cut` says that the last
/// line has not been read to its end, which is done here and not before, so that the error about it need not wait.
fn next_line(reader: &mut impl BufRead, cut: &mut bool) -> Result<Option<Result<String>>> {
    let mut line = Vec::new();
    let read = interrupt::waiting(|| {
        if std::mem::take(cut) {
            reader.skip_until(b'\n')?;
        }
        // With room for the end of a line of the greatest length.
        reader.by_ref().take(MAX_TEXT as u64 + 2).read_until(b'\n', &mut line)
    });
    read?.context("cannot read it")?;
    if line.is_empty() {
        return Ok(None);
    }
    let whole = line.last() == Some(&b'\n');
    if whole {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    if line.len() > MAX_TEXT {
        *cut = !whole;
        return Ok(Some(Err(anyhow!("longer than {MAX_TEXT} bytes; split it"))));
    }
    Ok(Some(String::from_utf8(line).map_err(|error| anyhow!("not UTF-8: {}", error.utf8_error()))))
}

/// Everything about a run over texts but the texts.
pub(crate) struct TextJob<'a> {
    pub(crate) clip: &'a Clip,
    pub(crate) overlong: Overlong,
    pub(crate) batch: &'a BatchArgs,
    pub(crate) console: &'a Console,
}

impl TextJob<'_> {
    /// Calls `each` with every text that can be encoded and its vector (as the model gives it), in order. The others are reported.
    pub(crate) fn encode(
        &self,
        texts: impl Iterator<Item = Result<String>>,
        mut each: impl FnMut(&str, &[f32]) -> Result<()>,
    ) -> Result<()> {
        // Before the first text: a file without a text encoder is not the texts' fault.
        self.clip.preload(Tower::Text)?;
        let tokenizer = self.clip.tokenizer()?;
        let mut texts = texts.peekable();
        while texts.peek().is_some() {
            interrupt::check()?;
            let (mut rows, mut labels) = (Vec::new(), Vec::new());
            for text in texts.by_ref().take(self.batch.batch.get()) {
                let tokens = text.and_then(|text| Ok((tokenizer.tokenize(&[&text], self.overlong)?, text)));
                match tokens {
                    Ok((tokens, text)) => {
                        rows.push(tokens.row(0).to_vec());
                        labels.push(text);
                    }
                    // The error names the text or the line.
                    Err(error) => {
                        interrupt::check()?;
                        self.console.failure("", &error, self.batch.strict)?;
                    }
                }
            }
            if !rows.is_empty() {
                let encode = |rows: &[Vec<u32>]| self.clip.encode_text(&TokenBatch::from_rows(rows));
                let probe = || Ok(tokenizer.tokenize(&[""], Overlong::Error)?.row(0).to_vec());
                for (label, vector) in labels.iter().zip(finite::encode(&rows, encode, probe)?) {
                    match vector {
                        Some(vector) => each(label, &vector)?,
                        None => self.console.failure(
                            &format!("text {}", quoted(label)),
                            &finite::not_finite(Tower::Text),
                            self.batch.strict,
                        )?,
                    }
                }
            }
        }
        Ok(())
    }
}

/// A text as errors name it.
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN_CHARS: usize = 60;
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &[u8]) -> Vec<String> {
        lines(input).map(|line| line.unwrap_or_else(|error| format!("{error:#}"))).collect()
    }

    #[test]
    fn lines_are_kept_as_they_are() {
        assert_eq!(all(b"a\n\n b \r\nlast"), ["a", "", " b ", "last"]);
        assert_eq!(all(b""), [""; 0]);
        assert_eq!(all(b"\n"), [""]);
    }

    #[test]
    fn a_line_that_is_no_text_is_only_itself_an_error() {
        let found = all(b"a\n\xff\xfe\nb");
        assert_eq!((found.len(), &*found[0], &*found[2]), (3, "a", "b"));
        assert!(found[1].starts_with("line 2 of standard input: not UTF-8"), "{}", found[1]);
    }

    #[test]
    fn a_line_without_end_is_an_error_at_once() {
        let first = lines(io::BufReader::new(io::repeat(b'x'))).next().unwrap();
        assert_eq!(
            format!("{:#}", first.unwrap_err()),
            format!("line 1 of standard input: longer than {MAX_TEXT} bytes; split it")
        );
    }

    /// Just what the tokenizer takes, and no more.
    #[test]
    fn a_line_that_is_too_long_is_only_itself_an_error() {
        for end in ["\n", "\r\n", ""] {
            let longest = "x".repeat(MAX_TEXT);
            assert_eq!(all(format!("{longest}{end}").as_bytes()), [longest.as_str()]);
        }
        for extra in [1, 2, 3, 100_000] {
            let long = "x".repeat(MAX_TEXT + extra);
            let found = all(format!("a\n{long}\nb\r\n{long}").as_bytes());
            assert_eq!((found.len(), &*found[0], &*found[2]), (4, "a", "b"), "{extra}");
            assert!(found[1].starts_with("line 2") && found[3].starts_with("line 4"), "{extra}");
        }
    }
}
