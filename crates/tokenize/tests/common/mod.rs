//! CLIP's vocabulary and smaller ones of its kind.

use edgeclip_tokenize::{Tokenizer, Vocabulary};

/// The vocabulary that CLIP's first `merges` merges make.
pub(crate) fn vocabulary(merges: usize) -> Vocabulary {
    let mut clip = Vocabulary::clip(77, ["<|startoftext|>", "<|endoftext|>"]);
    let all = clip.start as usize;
    let count = clip.merges.as_ref().map_or(0, Vec::len).min(merges);
    clip.tokens.drain(512 + count..all);
    clip.merges.as_mut().expect("they are listed").truncate(count);
    (clip.start, clip.end) = (512 + count as u32, 513 + count as u32);
    clip
}

/// A tokenizer with CLIP's own vocabulary.
pub(crate) fn clip_tokenizer() -> Tokenizer {
    Tokenizer::new(vocabulary(usize::MAX)).expect("CLIP's vocabulary is valid")
}
