//! Text to the exact token ids of CLIP's reference tokenizer.
//!
//! The reference is OpenAI's `clip.tokenize` with its `simple_tokenizer.py`: [`ftfy`](https://pypi.org/project/ftfy/) 6.3.1, HTML
//! entities, white space and lower case, a pattern that finds words, and byte-pair encoding. docs/tokenizer.md walks through the
//! steps and lists the few declared differences. The vocabulary comes from the model's file; no id is known beforehand.
//!
//! ```
//! use edgeclip_tokenize::{Clean, Overlong, Strings, Tokenizer, Vocabulary};
//!
//! // The tokens of the single bytes, then one merge, then the two specials.
//! let printable = (33..=126u8).chain(161..=172).chain(174..=255).map(char::from);
//! let bytes: Vec<String> = printable.chain('\u{100}'..='\u{143}').map(String::from).collect();
//! let mut tokens = bytes.clone();
//! tokens.extend(bytes.iter().map(|byte| format!("{byte}</w>")));
//! tokens.extend(["hi</w>", "<|startoftext|>", "<|endoftext|>"].map(String::from));
//! let tokenizer = Tokenizer::new(Vocabulary {
//!     tokens: Strings::from_iter(tokens),
//!     merges: Some(Strings::from_iter(["h i</w>"])),
//!     start: 513,
//!     end: 514,
//!     pad: 0,
//!     context_length: 77,
//!     clean: Clean::Clip,
//! })?;
//! let batch = tokenizer.tokenize(&["Hi!", "&eacute;"], Overlong::Error)?;
//! assert_eq!(batch.row(0), [513, 512, 256, 514]);
//! assert_eq!(tokenizer.decode(batch.row(1)), "<|startoftext|>é <|endoftext|>");
//! # Ok::<(), edgeclip_tokenize::Error>(())
//! ```

#![forbid(unsafe_code)]

mod alphabet;
mod batch;
mod bpe;
mod clean;
mod error;
mod properties;
mod split;
mod tables;
mod tokenizer;
mod vocabulary;

pub use batch::TokenBatch;
pub use edgeclip_strings::Strings;
pub use error::Error;
pub use tokenizer::{MAX_TEXT, Overlong, Tokenizer};
pub use vocabulary::{Clean, Vocabulary};
