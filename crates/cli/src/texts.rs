//! Texts from arguments or standard input, and texts to vectors.

use std::io::{self, BufRead, Read};

use anyhow::{Context, Result, anyhow, bail};
use edgeclip::{Clip, Overlong, TokenBatch};

use crate::{console::Console, interrupt, pictures::BatchArgs};

/// The longest line that is read, in bytes; the tokenizer takes no longer text either.
const MAX_LINE: u64 = 1 << 24;

/// The texts of the arguments in order; `-` stands for the lines of standard input, read as they are needed. An `Err` is a line that
/// is no text.
pub(crate) fn texts(arguments: &[String]) -> impl Iterator<Item = Result<String>> + '_ {
    arguments.iter().flat_map(|argument| -> Box<dyn Iterator<Item = Result<String>>> {
        if argument == "-" { Box::new(lines(io::stdin().lock())) } else { Box::new(std::iter::once(Ok(argument.clone()))) }
    })
}

/// The lines of a reader, without their ends. Empty lines count, so that lines out are lines in.
pub(crate) fn lines(mut reader: impl BufRead) -> impl Iterator<Item = Result<String>> {
    let (mut number, mut ended) = (0usize, false);
    std::iter::from_fn(move || {
        if ended {
            return None;
        }
        number += 1;
        let line = next_line(&mut reader).with_context(|| format!("line {number} of standard input"));
        // What follows a line that cannot be read to its end is not its beginning.
        ended = !matches!(line, Ok(Some(_)));
        match line {
            Ok(None) => None,
            Ok(Some(text)) => Some(text.with_context(|| format!("line {number} of standard input"))),
            Err(error) => Some(Err(error)),
        }
    })
}

/// `Ok(None)` at the end; `Ok(Some(Err))` for a line that is no UTF-8, after which reading can go on.
fn next_line(reader: &mut impl BufRead) -> Result<Option<Result<String>>> {
    let mut line = Vec::new();
    reader.by_ref().take(MAX_LINE + 1).read_until(b'\n', &mut line).context("cannot read it")?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    if line.len() as u64 > MAX_LINE {
        bail!("longer than {MAX_LINE} bytes; split it");
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
                    Err(error) => self.console.failure("", &error, self.batch.strict)?,
                }
            }
            if !rows.is_empty() {
                let embeddings = self.clip.encode_text(&TokenBatch::from_rows(&rows))?;
                for (label, vector) in labels.iter().zip(embeddings.rows()) {
                    each(label, vector)?;
                }
            }
        }
        Ok(())
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
    fn a_line_without_end_ends() {
        let found: Vec<_> = lines(io::BufReader::new(io::repeat(b'x'))).take(3).collect();
        assert_eq!(found.len(), 1);
        assert!(format!("{:#}", found[0].as_ref().unwrap_err()).contains("longer than 16777216 bytes"));
    }
}
