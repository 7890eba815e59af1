//! CLIP's vocabulary and smaller ones of its kind.

use edgeclip_tokenize::{Strings, Tokenizer, Vocabulary};

/// The vocabulary that CLIP's first `merges` merges make.
pub(crate) fn vocabulary(merges: usize) -> Vocabulary {
    let mut clip = Vocabulary::clip(77, ["<|startoftext|>", "<|endoftext|>"]);
    let all = clip.start as usize;
    let count = clip.merges.as_ref().map_or(0, Strings::len).min(merges);
    let kept = clip.tokens.iter().enumerate().filter(|(id, _)| !(512 + count..all).contains(id));
    clip.tokens = kept.map(|(_, token)| token).collect();
    clip.merges = clip.merges.map(|merges| merges.iter().take(count).collect());
    (clip.start, clip.end) = (512 + count as u32, 513 + count as u32);
    clip
}

/// A tokenizer with CLIP's own vocabulary.
pub(crate) fn clip_tokenizer() -> Tokenizer {
    Tokenizer::new(vocabulary(usize::MAX)).expect("CLIP's vocabulary is valid")
}
