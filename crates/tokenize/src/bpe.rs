//! Byte-pair encoding of one word, and the reading of a vocabulary's merges.
//!
//! The reference merges, again and again, all occurrences of the pair of lowest rank, left to right. That is quadratic in the length
//! of the word. Here a heap gives the pair of lowest rank, leftmost first, which comes to the same as long as no merge takes what it
//! or a later merge makes: then every pair that a merge creates ranks behind it. `merges` checks that.

use crate::alphabet::{Alphabet, END_OF_WORD};
use crate::error::{Error, shortened};
use crate::vocabulary::Vocabulary;
use edgeclip_strings::Strings;
use foldhash::{HashMap, HashMapExt};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A pair's place in the list of merges and the token that it makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Merge {
    pub(crate) rank: u32,
    pub(crate) token: u32,
}

/// The merges and the tokens of single bytes.
#[derive(Debug)]
pub(crate) struct Bpe {
    /// The token of a byte inside of a word.
    inner: [u32; 256],
    /// The token of a byte at the end of a word.
    last: [u32; 256],
    /// By the two tokens that are merged.
    merges: HashMap<(u32, u32), Merge>,
}

/// Up to how many bytes a word counts as short: nearly all are.
const SHORT: usize = 32;

/// What is left of a token that a merge has absorbed, and what is beyond the ends of the word.
const NONE: u32 = u32::MAX;

impl Bpe {
    /// Reads the merges of a vocabulary, or recovers them from its tokens.
    pub(crate) fn new(vocabulary: &Vocabulary, ids: &HashMap<&str, u32>, alphabet: &Alphabet) -> Result<Self, Error> {
        let mut bpe = Self { inner: [0; 256], last: [0; 256], merges: HashMap::new() };
        for byte in 0..=255u8 {
            for (symbols, ending) in [(&mut bpe.inner, ""), (&mut bpe.last, END_OF_WORD)] {
                let token = format!("{}{ending}", alphabet.char(byte));
                let Some(&id) = ids.get(token.as_str()) else { return Err(Error::MissingByte { byte, token }) };
                symbols[usize::from(byte)] = id;
            }
        }
        match &vocabulary.merges {
            Some(merges) => bpe.read_merges(merges, ids, &vocabulary.tokens)?,
            None => bpe.recover_merges(vocabulary, alphabet)?,
        }
        Ok(bpe)
    }

    /// The merges as the file lists them.
    fn read_merges(&mut self, merges: &Strings, ids: &HashMap<&str, u32>, tokens: &Strings) -> Result<(), Error> {
        self.merges.reserve(merges.len());
        // The rank of the last merge that makes a token.
        let mut made_by: Vec<Option<u32>> = vec![None; tokens.len()];
        let mut whole = String::new();
        let mut next = 0;
        for (rank, merge) in merges.iter().enumerate() {
            let bad = || Error::BadMerge { rank, merge: shortened(merge) };
            let (left, right) = merge.split_once(' ').ok_or_else(bad)?;
            if left.is_empty() || right.is_empty() || right.contains(' ') {
                return Err(bad());
            }
            let id = |token: &str| {
                let unknown = || Error::UnknownMergeToken { rank, merge: shortened(merge), token: shortened(token) };
                ids.get(token).copied().ok_or_else(unknown)
            };
            let pair = (id(left)?, id(right)?);
            // Most files have what merges make in the order of the merges: then it is the token after the last one.
            let token = match tokens.get(next).and_then(|token| token.strip_prefix(left)) {
                Some(rest) if rest == right => next as u32,
                _ => {
                    whole.clear();
                    whole.push_str(left);
                    whole.push_str(right);
                    id(&whole)?
                }
            };
            next = token as usize + 1;
            made_by[token as usize] = Some(rank as u32);
            if self.merges.insert(pair, Merge { rank: rank as u32, token }).is_some() {
                return Err(Error::DuplicateMerge { rank, merge: shortened(merge) });
            }
        }
        // Only now is it known which merge is the last to make a token.
        let made_late = |(&(left, right), merge): (&(u32, u32), &Merge)| {
            let by = made_by[left as usize].max(made_by[right as usize])?;
            (by >= merge.rank).then_some((merge.rank as usize, by as usize))
        };
        match self.merges.iter().filter_map(made_late).min() {
            Some((rank, made_by)) => Err(Error::MergeOrder { rank, merge: shortened(&merges[rank]), made_by }),
            None => Ok(()),
        }
    }

    /// The merges of a file that lists none. Its tokens are in the order of the merges that made them, so the merge of a token is
    /// what is left of its bytes when all merges before it are applied: two tokens.
    fn recover_merges(&mut self, vocabulary: &Vocabulary, alphabet: &Alphabet) -> Result<(), Error> {
        self.merges.reserve(vocabulary.tokens.len());
        let is_byte = self.byte_tokens(vocabulary.tokens.len());
        let mut word = Word::default();
        let mut bytes = Vec::new();
        for (id, token) in vocabulary.tokens.iter().enumerate() {
            if is_byte[id] || id == vocabulary.start as usize || id == vocabulary.end as usize {
                continue;
            }
            // What ends in "</w>" ends a word, unless that reading fails: the four characters may also have been merged one by one.
            let readings = [token.strip_suffix(END_OF_WORD), Some(token)];
            let pair = readings.iter().enumerate().find_map(|(reading, text)| {
                bytes.clear();
                for c in (*text)?.chars() {
                    bytes.push(alphabet.byte(c)?);
                }
                let ends_word = reading == 0;
                self.apply(&bytes, ends_word, &mut word);
                let &[left, right] = word.tokens() else { return None };
                Some((left, right))
            });
            let pair = pair.ok_or_else(|| Error::NotMergeable { id, token: shortened(token) })?;
            let merge = Merge { rank: self.merges.len() as u32, token: id as u32 };
            self.merges.insert(pair, merge);
        }
        Ok(())
    }

    /// Whether each token is that of a single byte.
    fn byte_tokens(&self, tokens: usize) -> Vec<bool> {
        let mut is_byte = vec![false; tokens];
        for &id in self.inner.iter().chain(&self.last) {
            is_byte[id as usize] = true;
        }
        is_byte
    }

    /// Appends the ids of one word, given as its UTF-8 bytes, to `ids`.
    pub(crate) fn encode(&self, bytes: &[u8], word: &mut Word, ids: &mut Vec<u32>) {
        self.apply(bytes, true, word);
        ids.extend_from_slice(word.tokens());
    }

    /// Splits `bytes` into single tokens and applies all merges; the result is `word.tokens()`.
    fn apply(&self, bytes: &[u8], ends_word: bool, word: &mut Word) {
        word.tokens.clear();
        word.tokens.extend(bytes.iter().map(|&b| self.inner[usize::from(b)]));
        if let (true, Some(token), Some(&b)) = (ends_word, word.tokens.last_mut(), bytes.last()) {
            *token = self.last[usize::from(b)];
        }
        if bytes.len() <= SHORT { self.merge_short(word) } else { self.merge_long(word) }
    }

    /// Applies all merges by looking for the lowest rank each time, without the heap's bookkeeping. O(n^2) for a short word.
    fn merge_short(&self, word: &mut Word) {
        let Word { tokens, pairs, .. } = word;
        let look_up = |left, right| self.merges.get(&(left, right)).copied();
        pairs.clear();
        pairs.extend(tokens.windows(2).map(|pair| look_up(pair[0], pair[1])));
        let lowest = |pairs: &[Option<Merge>]| {
            let ranked = pairs.iter().enumerate().filter_map(|(at, pair)| Some((at, (*pair)?)));
            ranked.min_by_key(|(_, merge)| merge.rank)
        };
        while let Some((at, merge)) = lowest(pairs) {
            tokens[at] = merge.token;
            tokens.remove(at + 1);
            pairs.remove(at);
            if at > 0 {
                pairs[at - 1] = look_up(tokens[at - 1], tokens[at]);
            }
            if at < pairs.len() {
                pairs[at] = look_up(tokens[at], tokens[at + 1]);
            }
        }
    }

    /// Applies all merges with a heap of the pairs that can be merged. O(n log n).
    fn merge_long(&self, word: &mut Word) {
        let length = word.tokens.len() as u32;
        word.next.clear();
        word.next.extend((1..=length).map(|at| if at < length { at } else { NONE }));
        word.previous.clear();
        word.previous.extend((0..length).map(|at| at.checked_sub(1).unwrap_or(NONE)));
        word.heap.clear();
        for at in 1..length {
            self.push(word, at - 1, at);
        }
        while let Some(Reverse((_, left_at, left, right))) = word.heap.pop() {
            let right_at = word.next[left_at as usize];
            // The entry is stale when one of its tokens has been merged since.
            if right_at == NONE || word.tokens[left_at as usize] != left || word.tokens[right_at as usize] != right {
                continue;
            }
            let Some(&Merge { token, .. }) = self.merges.get(&(left, right)) else { continue };
            let after = word.next[right_at as usize];
            word.tokens[left_at as usize] = token;
            word.tokens[right_at as usize] = NONE;
            word.next[left_at as usize] = after;
            word.next[right_at as usize] = NONE;
            if after != NONE {
                word.previous[after as usize] = left_at;
                self.push(word, left_at, after);
            }
            let before = word.previous[left_at as usize];
            if before != NONE {
                self.push(word, before, left_at);
            }
        }
        word.tokens.retain(|&token| token != NONE);
    }

    /// Puts the pair at two neighbouring places on the heap if it can be merged.
    fn push(&self, word: &mut Word, left_at: u32, right_at: u32) {
        let (left, right) = (word.tokens[left_at as usize], word.tokens[right_at as usize]);
        if let Some(merge) = self.merges.get(&(left, right)) {
            word.heap.push(Reverse((merge.rank, left_at, left, right)));
        }
    }
}

/// A word while it is merged: a list, or if it is long a linked list over the places of its bytes. Kept between words for its memory.
#[derive(Debug, Default)]
pub(crate) struct Word {
    /// The token that begins at each place, [`NONE`] where it has been absorbed by the one before.
    tokens: Vec<u32>,
    /// The merge of each token with the one after it, for a short word.
    pairs: Vec<Option<Merge>>,
    /// The place of the token after each and before each, for a long word.
    next: Vec<u32>,
    previous: Vec<u32>,
    /// Rank, place and tokens of the pairs that can be merged; the lowest rank first, of these the leftmost.
    heap: BinaryHeap<Reverse<(u32, u32, u32, u32)>>,
}

impl Word {
    /// The tokens after all merges.
    pub(crate) fn tokens(&self) -> &[u32] {
        &self.tokens
    }
}

#[cfg(test)]
mod tests;
