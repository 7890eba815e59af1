//! CLIP's vocabulary, from the merges that its package ships.

use edgeclip_tokenize::{Clean, Tokenizer, Vocabulary};

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

/// A tokenizer with CLIP's own vocabulary.
pub(crate) fn clip_tokenizer() -> Tokenizer {
    Tokenizer::new(vocabulary(usize::MAX)).expect("CLIP's vocabulary is valid")
}
