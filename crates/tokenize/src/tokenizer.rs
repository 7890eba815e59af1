//! The tokenizer: cleaning, splitting and byte-pair encoding put together.

use crate::alphabet::Alphabet;
use crate::batch::TokenBatch;
use crate::bpe::{Bpe, Word};
use crate::clean;
use crate::error::{Error, shortened};
use crate::split;
use crate::vocabulary::{Clean, Vocabulary};

/// What to do with a text that has more tokens than the model reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Overlong {
    /// It is an error, as in `clip.tokenize`.
    #[default]
    Error,
    /// The first tokens are kept and the last of them becomes the end token, as in `clip.tokenize(truncate=True)`.
    Truncate,
}

/// The longest text that is taken, in bytes. A model reads 77 tokens: what is longer is no sentence but a mistake.
pub const MAX_TEXT: usize = 1 << 20;

/// Turns text into the ids of OpenAI's `clip.tokenize`, for any vocabulary of that kind.
pub struct Tokenizer {
    vocabulary: Vocabulary,
    alphabet: Alphabet,
    bpe: Bpe,
}

impl Tokenizer {
    /// Checks a vocabulary and prepares it. Without merges in it they are recovered from the tokens.
    ///
    /// # Errors
    /// Any inconsistency: a missing, empty or doubled token, an id out of range, a merge of unknown tokens or out of order.
    pub fn new(vocabulary: Vocabulary) -> Result<Self, Error> {
        let alphabet = Alphabet::new();
        let bpe = Bpe::new(&vocabulary, &vocabulary.ids()?, &alphabet)?;
        Ok(Self { vocabulary, alphabet, bpe })
    }

    /// The vocabulary as it was given.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The number of tokens; all ids are below it.
    pub fn vocabulary_size(&self) -> usize {
        self.vocabulary.tokens.len()
    }

    /// The id of the start token.
    pub fn start(&self) -> u32 {
        self.vocabulary.start
    }

    /// The id of the end token.
    pub fn end(&self) -> u32 {
        self.vocabulary.end
    }

    /// The id that fills up padded rows.
    pub fn pad(&self) -> u32 {
        self.vocabulary.pad
    }

    /// How many ids the model reads, with the start and the end token.
    pub fn context_length(&self) -> usize {
        self.vocabulary.context_length
    }

    /// The text of a token, in the vocabulary's byte alphabet.
    pub fn token(&self, id: u32) -> Option<&str> {
        self.vocabulary.tokens.get(id as usize)
    }

    /// The text as the model's cleaning leaves it, which is what its words are found in.
    pub fn clean(&self, text: &str) -> String {
        match self.vocabulary.clean {
            Clean::Clip => clean::clip(text),
        }
    }

    /// The ids of a text without start and end token, however many (`SimpleTokenizer.encode`).
    ///
    /// # Errors
    /// [`Error::TextTooLarge`] beyond 1 MiB.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        let mut ids = Vec::new();
        self.append(text, &mut Word::default(), &mut ids)?;
        Ok(ids)
    }

    /// The ids of texts with start and end token, one row each (`clip.tokenize`, without its padding).
    ///
    /// # Errors
    /// [`Error::TooLong`] for a text with more than [`Self::context_length`] ids, unless `overlong` says to truncate it;
    /// [`Error::TextTooLarge`] beyond 1 MiB.
    pub fn tokenize<S: AsRef<str>>(&self, texts: &[S], overlong: Overlong) -> Result<TokenBatch, Error> {
        let mut batch = TokenBatch::default();
        let mut word = Word::default();
        let mut row = Vec::new();
        for text in texts.iter().map(AsRef::as_ref) {
            row.clear();
            row.push(self.start());
            self.append(text, &mut word, &mut row)?;
            row.push(self.end());
            let context_length = self.context_length();
            if row.len() > context_length {
                if overlong == Overlong::Error {
                    return Err(Error::TooLong { text: shortened(text), tokens: row.len(), context_length });
                }
                row.truncate(context_length);
                row[context_length - 1] = self.end();
            }
            batch.push(&row);
        }
        Ok(batch)
    }

    /// Appends the ids of a text.
    fn append(&self, text: &str, word: &mut Word, ids: &mut Vec<u32>) -> Result<(), Error> {
        if text.len() > MAX_TEXT {
            return Err(Error::TextTooLarge { bytes: text.len(), limit: MAX_TEXT });
        }
        let cleaned = self.clean(text);
        let specials = [self.start(), self.end()].map(|id| (id, &self.vocabulary.tokens[id as usize]));
        for piece in split::pieces(&cleaned, specials.map(|(_, special)| special)) {
            match specials.iter().find(|(_, special)| *special == piece) {
                Some(&(id, _)) => ids.push(id),
                None => self.bpe.encode(piece.as_bytes(), word, ids),
            }
        }
        Ok(())
    }

    /// The text of ids, with a blank after each word (`SimpleTokenizer.decode`). Bytes that are no UTF-8 become U+FFFD, and so does an
    /// id that is no token's, which the reference would refuse.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut bytes = Vec::new();
        for &id in ids {
            let token = self.token(id).unwrap_or("\u{fffd}");
            for c in token.chars() {
                match self.alphabet.byte(c) {
                    Some(byte) => bytes.push(byte),
                    None => bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
                }
            }
        }
        String::from_utf8_lossy(&bytes).replace(crate::alphabet::END_OF_WORD, " ")
    }
}

/// The vocabulary's size and special ids, not its 49,408 tokens.
impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer")
            .field("tokens", &self.vocabulary_size())
            .field("start", &self.start())
            .field("end", &self.end())
            .field("pad", &self.pad())
            .field("context_length", &self.context_length())
            .field("clean", &self.vocabulary.clean)
            .finish()
    }
}
