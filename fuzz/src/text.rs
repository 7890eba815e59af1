//! A text through CLIP's own tokenizer, with its merges listed and recovered.

use edgeclip::{Overlong, Tokenizer, Vocabulary};

use super::{Body, support::refused};

/// The target.
pub fn new() -> Body {
    let listed = Vocabulary::clip(77, ["<|startoftext|>", "<|endoftext|>"]);
    let recovered = Vocabulary { merges: None, ..listed.clone() };
    let [listed, recovered] = [listed, recovered].map(|vocabulary| Tokenizer::new(vocabulary).expect("CLIP's own"));
    Box::new(move |input| {
        let text = &*String::from_utf8_lossy(input);
        let ids = match listed.encode(text) {
            Ok(ids) => ids,
            Err(error) => return refused(error),
        };
        assert_eq!(recovered.encode(text).as_ref(), Ok(&ids));
        assert!(ids.iter().all(|id| (*id as usize) < listed.vocabulary_size()));
        let batch = listed.tokenize(&[text], Overlong::Truncate).expect("it was encoded");
        assert!((2..=77).contains(&batch.row(0).len()));
        if ids.len() > 75 {
            listed.tokenize(&[text], Overlong::Error).err().into_iter().for_each(refused);
        }
        listed.decode(&ids);
    })
}
