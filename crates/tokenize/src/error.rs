//! What can be wrong with a vocabulary or a text.

use std::fmt;

/// A vocabulary that does not hold together, or a text that the tokenizer cannot take.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The vocabulary has more tokens than the limit.
    TooManyTokens {
        /// How many it has.
        tokens: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// A token is the empty string.
    EmptyToken {
        /// The token's id.
        id: usize,
    },
    /// Two ids have the same token.
    DuplicateToken {
        /// The token, shortened.
        token: String,
        /// The lower id.
        first: usize,
        /// The higher id.
        second: usize,
    },
    /// The id of the start, end or padding token is no token's.
    IdOutOfRange {
        /// Which of them: "start", "end" or "padding".
        which: &'static str,
        /// Its id.
        id: u32,
        /// How many tokens there are.
        tokens: usize,
    },
    /// The start and the end token are the same.
    SameStartAndEnd {
        /// Their id.
        id: u32,
    },
    /// The vocabulary lacks the token of a single byte, so that some text would have no ids.
    MissingByte {
        /// The byte.
        byte: u8,
        /// The token that is looked for.
        token: String,
    },
    /// A merge is not two tokens with one blank between them.
    BadMerge {
        /// The merge's rank: its position in the list, from 0.
        rank: usize,
        /// The merge, shortened.
        merge: String,
    },
    /// A merge takes or makes something that is no token.
    UnknownMergeToken {
        /// The merge's rank.
        rank: usize,
        /// The merge, shortened.
        merge: String,
        /// What is no token, shortened.
        token: String,
    },
    /// A merge takes a token that only this or a later merge makes.
    MergeOrder {
        /// The merge's rank.
        rank: usize,
        /// The merge, shortened.
        merge: String,
        /// The rank of the merge that makes a part of it.
        made_by: usize,
    },
    /// The same merge is listed twice.
    DuplicateMerge {
        /// The rank of the second one.
        rank: usize,
        /// The merge, shortened.
        merge: String,
    },
    /// There are no merges, and this token does not come from two earlier ones, so that they cannot be recovered.
    NotMergeable {
        /// The token's id.
        id: usize,
        /// The token, shortened.
        token: String,
    },
    /// The context length is no sensible one.
    ContextLength {
        /// Its value.
        context_length: usize,
        /// The least allowed.
        least: usize,
        /// The most allowed.
        most: usize,
    },
    /// The clean mode is not known.
    UnknownClean {
        /// Its name, shortened.
        name: String,
    },
    /// A text has more bytes than the tokenizer takes.
    TextTooLarge {
        /// Its length in bytes.
        bytes: usize,
        /// The longest allowed.
        limit: usize,
    },
    /// A text has more tokens than the model reads.
    TooLong {
        /// The text, shortened.
        text: String,
        /// Its tokens, with the start and the end token.
        tokens: usize,
        /// How many the model reads.
        context_length: usize,
    },
    /// A row of a batch does not fit the padded form.
    RowTooLong {
        /// The row.
        row: usize,
        /// Its ids.
        ids: usize,
        /// The length of a padded row.
        context_length: usize,
    },
    /// Padded ids are not whole rows.
    NotWholeRows {
        /// How many ids there are.
        ids: usize,
        /// The length of a padded row.
        context_length: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyTokens { tokens, limit } => write!(f, "the vocabulary has {tokens} tokens, at most {limit} are allowed"),
            Self::EmptyToken { id } => write!(f, "token {id} of the vocabulary is empty"),
            Self::DuplicateToken { token, first, second } => {
                write!(f, "token {token:?} is in the vocabulary twice, as {first} and as {second}")
            }
            Self::IdOutOfRange { which, id, tokens } => {
                write!(f, "the {which} token's id is {id}, but the vocabulary has only {tokens} tokens")
            }
            Self::SameStartAndEnd { id } => write!(f, "the start and the end token are both {id}, expected two different ones"),
            Self::MissingByte { byte, token } => write!(f, "the vocabulary lacks {token:?}, the token of byte {byte:#04x}"),
            Self::BadMerge { rank, merge } => {
                write!(f, "merge {rank} of the vocabulary is {merge:?}, expected two tokens with a blank between them")
            }
            Self::UnknownMergeToken { rank, merge, token } => {
                write!(f, "merge {rank} of the vocabulary, {merge:?}, needs {token:?}, which is not among the tokens")
            }
            Self::MergeOrder { rank, merge, made_by } => write!(
                f,
                "merge {rank} of the vocabulary, {merge:?}, takes a token that merge {made_by} makes, expected only what earlier merges make"
            ),
            Self::DuplicateMerge { rank, merge } => {
                write!(f, "merge {rank} of the vocabulary, {merge:?}, is listed before already")
            }
            Self::NotMergeable { id, token } => write!(
                f,
                "the vocabulary has no merges, and they cannot be recovered: token {id}, {token:?}, is no merge of two earlier tokens"
            ),
            Self::ContextLength { context_length, least, most } => {
                write!(f, "the context length is {context_length}, expected {least} to {most}")
            }
            Self::UnknownClean { name } => write!(f, "text cleaning {name:?} is not known, expected \"clip\""),
            Self::TextTooLarge { bytes, limit } => write!(f, "the text has {bytes} bytes, at most {limit} are taken; shorten it"),
            Self::TooLong { text, tokens, context_length } => write!(
                f,
                "the text {text:?} has {tokens} tokens with its start and end, but the model reads {context_length}; \
                 shorten it or ask for truncation (--truncate, Overlong::Truncate)"
            ),
            Self::RowTooLong { row, ids, context_length } => {
                write!(f, "row {row} of the batch has {ids} ids, more than the {context_length} of a padded row")
            }
            Self::NotWholeRows { ids, context_length } => {
                write!(f, "{ids} padded ids are not whole rows of {context_length}")
            }
        }
    }
}

impl std::error::Error for Error {}

/// The beginning of a text, for an error message.
pub(crate) fn shortened(text: &str) -> String {
    const SHOWN: usize = 60;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
