//! The encoder against the `tokenizers` crate and against the reference's own loop, and the recovery of merges.

use super::*;
use tokenizers::Model;
use tokenizers::models::bpe::BPE;

/// The vocabulary that CLIP's first `merges` merges make.
fn vocabulary(merges: usize) -> Vocabulary {
    let mut clip = Vocabulary::clip(77, ["<|startoftext|>", "<|endoftext|>"]);
    let all = clip.start as usize;
    let count = clip.merges.as_ref().map_or(0, Strings::len).min(merges);
    let kept = clip.tokens.iter().enumerate().filter(|(id, _)| !(512 + count..all).contains(id));
    clip.tokens = kept.map(|(_, token)| token).collect();
    clip.merges = clip.merges.map(|merges| merges.iter().take(count).collect());
    (clip.start, clip.end) = (512 + count as u32, 513 + count as u32);
    clip
}

fn bpe(vocabulary: &Vocabulary) -> Bpe {
    Bpe::new(vocabulary, &vocabulary.ids().expect("valid ids"), &Alphabet::new()).expect("valid merges")
}

/// Numbers that look random and are the same in every run (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as usize % n
    }
}

/// Words of one to forty bytes: of letters, of any bytes, and of pieces of the vocabulary's own tokens, in equal parts.
fn words(vocabulary: &Vocabulary, count: usize) -> Vec<Vec<u8>> {
    let alphabet = Alphabet::new();
    let mut numbers = Numbers(1);
    let word = |_| {
        let length = 1 + numbers.below(40);
        let mut word = Vec::new();
        match numbers.below(3) {
            0 => word.extend((0..length).map(|_| b"etaoinshrdlu"[numbers.below(12)])),
            1 => word.extend((0..length).map(|_| numbers.below(256) as u8)),
            _ => {
                while word.len() < length {
                    let token = &vocabulary.tokens[numbers.below(vocabulary.tokens.len())];
                    word.extend(token.trim_end_matches(END_OF_WORD).chars().filter_map(|c| alphabet.byte(c)));
                }
            }
        }
        word
    };
    (0..count).map(word).collect()
}

fn encode(bpe: &Bpe, word: &[u8]) -> Vec<u32> {
    let mut ids = Vec::new();
    bpe.encode(word, &mut Word::default(), &mut ids);
    ids
}

/// `SimpleTokenizer.bpe` and the look-up after it, loop for loop: the pair of lowest rank, all its occurrences, again.
fn reference(bpe: &Bpe, word: &[u8]) -> Vec<u32> {
    let mut ids: Vec<u32> = word.iter().map(|&b| bpe.inner[usize::from(b)]).collect();
    if let (Some(id), Some(&b)) = (ids.last_mut(), word.last()) {
        *id = bpe.last[usize::from(b)];
    }
    loop {
        let best = ids.windows(2).filter_map(|pair| bpe.merges.get(&(pair[0], pair[1]))).min_by_key(|merge| merge.rank).copied();
        let Some(best) = best else { return ids };
        let mut merged = Vec::new();
        let mut at = 0;
        while at < ids.len() {
            if at + 1 < ids.len() && bpe.merges.get(&(ids[at], ids[at + 1])) == Some(&best) {
                merged.push(best.token);
                at += 2;
            } else {
                merged.push(ids[at]);
                at += 1;
            }
        }
        ids = merged;
    }
}

#[test]
fn words_are_encoded_as_by_the_references_loop() {
    for merges in [0, 1, 50, 7678, usize::MAX] {
        let vocabulary = vocabulary(merges);
        let bpe = bpe(&vocabulary);
        for word in words(&vocabulary, 3000) {
            assert_eq!(encode(&bpe, &word), reference(&bpe, &word), "{merges} merges, {word:?}");
        }
    }
}

#[test]
fn words_are_encoded_as_by_tokenizers() {
    let vocabulary = vocabulary(usize::MAX);
    let bpe = bpe(&vocabulary);
    let ids: serde_json::Map<_, _> = vocabulary.tokens.iter().map(str::to_owned).zip((0..).map(|id: u32| id.into())).collect();
    let model = serde_json::json!({
        "type": "BPE", "vocab": ids, "merges": vocabulary.merges.iter().flat_map(Strings::iter).collect::<Vec<_>>(), "end_of_word_suffix": END_OF_WORD, "dropout": null,
        "unk_token": null, "continuing_subword_prefix": null, "fuse_unk": false, "byte_fallback": false,
    });
    let oracle: BPE = serde_json::from_str(&model.to_string()).expect("CLIP's merges");
    let alphabet = Alphabet::new();
    for word in words(&vocabulary, 20_000) {
        let text: String = word.iter().map(|&b| alphabet.char(b)).collect();
        let expected: Vec<u32> = oracle.tokenize(&text).expect("all bytes are tokens").iter().map(|token| token.id).collect();
        assert_eq!(encode(&bpe, &word), expected, "{text}");
    }
}

#[test]
fn merges_are_recovered_from_the_tokens() {
    // CLIP's own, and the 8,192 tokens of the demo model, which are the first of them.
    for merges in [0, 7678, usize::MAX] {
        let mut vocabulary = vocabulary(merges);
        let explicit = bpe(&vocabulary);
        assert_eq!(explicit.merges.len(), merges.min(48_894));
        vocabulary.merges = None;
        assert!(bpe(&vocabulary).merges == explicit.merges, "{merges} merges");
    }
}

/// A word of a megabyte, whose every pair merges, and one that has a million pairs of one rank. The reference's loop would take
/// hours; a quadratic encoder would show here by not ending.
#[test]
fn a_megabyte_is_one_word() {
    let bpe = bpe(&vocabulary(usize::MAX));
    let thousand = encode(&bpe, &b"supercalifragilistic".repeat(50));
    let million = encode(&bpe, &b"supercalifragilistic".repeat(50_000));
    assert_eq!(million[..thousand.len() - 8], thousand[..thousand.len() - 8]);
    assert!(million.len() > 100 * thousand.len());
    let ids = encode(&bpe, &vec![b'a'; 1 << 20]);
    let alphabet = Alphabet::new();
    let vocabulary = vocabulary(usize::MAX);
    let bytes = ids.iter().flat_map(|&id| vocabulary.tokens[id as usize].trim_end_matches(END_OF_WORD).chars());
    assert_eq!(bytes.filter(|&c| alphabet.byte(c) == Some(b'a')).count(), 1 << 20);
}
