//! What a model's file says about its tokens.

use crate::alphabet::{Alphabet, END_OF_WORD};
use crate::error::{Error, shortened};
use edgeclip_strings::Strings;
use foldhash::{HashMap, HashMapExt};
use std::fmt;
use std::str::FromStr;

/// How text is cleaned before it is split into words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Clean {
    /// OpenAI's `simple_tokenizer`: `ftfy.fix_text`, `html.unescape` twice, strip, white space to single blanks, lower case.
    Clip,
}

impl Clean {
    /// The name in a model's file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Clip => "clip",
        }
    }
}

impl fmt::Display for Clean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Clean {
    type Err = Error;

    /// The mode of a name in a model's file.
    ///
    /// # Errors
    /// [`Error::UnknownClean`] for any other name.
    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "clip" => Ok(Self::Clip),
            _ => Err(Error::UnknownClean { name: shortened(name) }),
        }
    }
}

/// A byte-level BPE vocabulary of CLIP's kind, as a model's file holds it. Nothing is checked before [`crate::Tokenizer::new`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary {
    /// The tokens by id, in the byte alphabet (`bytes_to_unicode`), `</w>` at the end of those that end a word.
    pub tokens: Strings,
    /// The merges in the order of their rank, each `left right`. None: recovered from the tokens, which then have to be the single
    /// bytes and the merges' results in the order of the merges (clip.cpp's files hold no merges).
    pub merges: Option<Strings>,
    /// The id of the start token. Its text in the input stands for the token itself, as in the reference.
    pub start: u32,
    /// The id of the end token. Its text in the input stands for the token itself, as in the reference.
    pub end: u32,
    /// The id that fills up padded rows.
    pub pad: u32,
    /// How many ids the model reads, with the start and the end token.
    pub context_length: usize,
    /// How text is cleaned.
    pub clean: Clean,
}

/// The most tokens of a vocabulary: far above any in use (XLM-V has 901,629).
const MAX_TOKENS: usize = 1 << 24;
/// The most ids that a model may read; CLIP reads 77, the longest relatives 248.
const MAX_CONTEXT_LENGTH: usize = 1 << 16;

/// CLIP's merges, each as the ids of its two tokens (data/README.md).
const CLIP_MERGES: &[u8] = include_bytes!("../data/clip-merges.bin");

impl Vocabulary {
    /// CLIP's own vocabulary, 49,408 tokens, for checkpoints that come without one: the bytes, the bytes that end a word, a token for each
    /// merge, start and end. `specials` are how the last two are written in a text, `["<|startoftext|>", "<|endoftext|>"]` in OpenAI's code.
    pub fn clip(context_length: usize, specials: [&str; 2]) -> Self {
        let alphabet = Alphabet::new();
        // The order of the ids is that of the reference: the printable bytes first.
        let mut bytes: Vec<char> = (0..=255).map(|byte| alphabet.char(byte)).collect();
        bytes.sort_unstable();
        let mut tokens: Vec<String> = bytes.iter().map(char::to_string).collect();
        tokens.extend(bytes.iter().map(|byte| format!("{byte}{END_OF_WORD}")));
        let pairs = CLIP_MERGES.as_chunks::<4>().0.iter();
        let merges = pairs.map(|&[a, b, c, d]| {
            let [left, right] = [[a, b], [c, d]].map(|id| tokens[usize::from(u16::from_le_bytes(id))].clone());
            tokens.push(format!("{left}{right}"));
            format!("{left} {right}")
        });
        let merges = Strings::from_iter(merges);
        let start = tokens.len() as u32;
        tokens.extend(specials.map(String::from));
        Self {
            tokens: Strings::from_iter(tokens),
            merges: Some(merges),
            start,
            end: start + 1,
            pad: 0,
            context_length,
            clean: Clean::Clip,
        }
    }

    /// Checks everything but the byte tokens and the merges, and gives the id of each token.
    pub(crate) fn ids(&self) -> Result<HashMap<&str, u32>, Error> {
        let tokens = self.tokens.len();
        if tokens > MAX_TOKENS {
            return Err(Error::TooManyTokens { tokens, limit: MAX_TOKENS });
        }
        for (which, id) in [("start", self.start), ("end", self.end), ("padding", self.pad)] {
            if id as usize >= tokens {
                return Err(Error::IdOutOfRange { which, id, tokens });
            }
        }
        if self.start == self.end {
            return Err(Error::SameStartAndEnd { id: self.start });
        }
        // Room for the start and the end token, so that truncation has something to keep.
        if !(2..=MAX_CONTEXT_LENGTH).contains(&self.context_length) {
            return Err(Error::ContextLength { context_length: self.context_length, least: 2, most: MAX_CONTEXT_LENGTH });
        }
        let mut ids = HashMap::with_capacity(tokens);
        for (id, token) in self.tokens.iter().enumerate() {
            if token.is_empty() {
                return Err(Error::EmptyToken { id });
            }
            if let Some(first) = ids.insert(token, id as u32) {
                return Err(Error::DuplicateToken { token: shortened(token), first: first as usize, second: id });
            }
        }
        Ok(ids)
    }
}
