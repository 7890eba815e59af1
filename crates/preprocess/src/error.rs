//! What can go wrong between a file's bytes and a crop.

use std::fmt;

use crate::Format;

/// A picture that cannot be read, or a specification that makes no sense.
///
/// The messages name the thing, what was expected and what was found; the caller knows the file's name.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// The first bytes are of no known picture format.
    UnknownFormat {
        /// The first bytes of the file, at most 8.
        start: Vec<u8>,
    },
    /// The file is damaged or cut.
    Damaged {
        /// The format that the first bytes claim.
        format: Format,
        /// What the decoder said.
        reason: String,
    },
    /// The file may be fine, but uses something that is not read.
    Unsupported {
        /// The file's format.
        format: Format,
        /// What it uses.
        what: String,
    },
    /// A side is zero pixels long.
    NoPixels {
        /// Width in pixels.
        width: u64,
        /// Height in pixels.
        height: u64,
    },
    /// More pixels than [`crate::Options::max_pixels`].
    TooManyPixels {
        /// Width in pixels.
        width: u64,
        /// Height in pixels.
        height: u64,
        /// The limit.
        limit: u64,
    },
    /// The sides are so unequal that the resize cannot be computed in reasonable memory or time.
    TooElongated {
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
    },
    /// A field of a [`crate::Spec`] is out of range.
    Spec {
        /// The field's name.
        field: &'static str,
        /// What was expected.
        expected: &'static str,
        /// What was found.
        found: String,
    },
    /// A buffer of pixels has the wrong length.
    Length {
        /// What the buffer holds.
        what: &'static str,
        /// Elements expected.
        expected: usize,
        /// Elements found.
        found: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::UnknownFormat { start } if start.is_empty() => write!(f, "not a picture: the file is empty"),
            Error::UnknownFormat { start } => {
                write!(f, "not a picture: expected PNG, JPEG, WebP, GIF, BMP or TIFF, found bytes \"{}\"", start.escape_ascii())
            }
            Error::Damaged { format, reason } => write!(f, "damaged {format} picture: {reason}; get a whole copy of it"),
            Error::Unsupported { format, what } => {
                write!(f, "{format} picture that cannot be read: {what}; save it as PNG or JPEG")
            }
            Error::NoPixels { width, height } => write!(f, "picture of {width} x {height} pixels has nothing to see"),
            Error::TooManyPixels { width, height, limit } => {
                write!(f, "picture of {width} x {height} pixels is over the limit of {limit} pixels; raise it with --max-pixels")
            }
            Error::TooElongated { width, height } => {
                write!(f, "picture of {width} x {height} pixels is too elongated to be resized; crop it first")
            }
            Error::Spec { field, expected, found } => write!(f, "preprocessing: {field} must be {expected}, found {found}"),
            Error::Length { what, expected, found } => write!(f, "{what}: expected {expected} elements, found {found}"),
        }
    }
}

impl std::error::Error for Error {}
