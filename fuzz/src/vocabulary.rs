//! Tokens and merges as a model's file holds them, and a text through what they make.
//!
//! An input is a byte of flags, the ids of start, end and padding and the context length as little-endian u16, and then lines:
//! tokens up to an empty line, merges up to the next, a text. Flags: 1, there are merges; 2, the tokens follow those of the
//! single bytes, without which nothing is a vocabulary.

use edgeclip::{Clean, Overlong, Strings, Tokenizer, Vocabulary};

use super::{Body, support::refused};

/// The target.
pub fn new() -> Body {
    let clip = Vocabulary::clip(77, ["<|startoftext|>", "<|endoftext|>"]).tokens;
    Box::new(move |input| {
        let Some((&[flags, ref numbers @ ..], lists)) = input.split_first_chunk::<9>() else { return };
        let number = |i: usize| u16::from_le_bytes([numbers[2 * i], numbers[2 * i + 1]]);
        let lists = String::from_utf8_lossy(lists);
        let mut parts = lists.splitn(3, "\n\n");
        let mut list = || parts.next().unwrap_or_default();
        let bytes = clip.iter().take(if flags & 2 != 0 { 512 } else { 0 });
        let tokens: Strings = bytes.chain(list().split_terminator('\n')).collect();
        let merges = list().split_terminator('\n').collect();
        let text = list();
        let size = tokens.len();
        let vocabulary = Vocabulary {
            tokens,
            merges: (flags & 1 != 0).then_some(merges),
            start: number(0).into(),
            end: number(1).into(),
            pad: number(2).into(),
            context_length: number(3).into(),
            clean: Clean::Clip,
        };
        let tokenizer = match Tokenizer::new(vocabulary) {
            Ok(tokenizer) => tokenizer,
            Err(error) => return refused(error),
        };
        let ids = match tokenizer.encode(text) {
            Ok(ids) => ids,
            Err(error) => return refused(error),
        };
        assert!(ids.iter().all(|id| (*id as usize) < size));
        let batch = tokenizer.tokenize(&[text], Overlong::Truncate).expect("it was encoded");
        assert!(batch.row(0).len() <= tokenizer.context_length());
        batch.padded(tokenizer.pad(), tokenizer.context_length()).expect("a row within the context");
        tokenizer.decode(&ids);
    })
}
