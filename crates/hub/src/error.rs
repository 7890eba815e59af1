//! What can be wrong with a name, a cache or a server.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

/// A name that leads to no checkpoint. What was fetched of it is kept for the next attempt, never under its final name.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The system refused.
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was being done, as in `cannot {doing}`.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// An environment variable has a value that makes no sense.
    Setting {
        /// The variable.
        variable: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// No file, and no form that a name can have.
    Unknown {
        /// What was given.
        name: String,
        /// Names that are nearly the same.
        nearest: Vec<String>,
    },
    /// An architecture, of which there are several checkpoints.
    Ambiguous {
        /// What was given.
        name: String,
        /// Its checkpoints.
        models: Vec<String>,
    },
    /// A model that is known, but of a family that does not run here yet.
    NotYet {
        /// What was given.
        name: String,
        /// Why not.
        reason: String,
    },
    /// A name that no repository, revision or file can have.
    Malformed {
        /// What was given.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// In no cache, and nothing may or can be downloaded.
    NotCached {
        /// The model.
        name: String,
        /// The files that were looked for.
        file: String,
        /// Where.
        places: Vec<PathBuf>,
        /// Why it is not downloaded, and what to do.
        how: String,
    },
    /// The server cannot be reached, or the connection failed again and again.
    Connection {
        /// What was asked for.
        url: String,
        /// What happened.
        problem: String,
    },
    /// The server answered with an error.
    Status {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What it means, and what to do.
        meaning: String,
    },
    /// The server's answer is not what a Hub says.
    Answer {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A file has another length than the server announced, or than any of its kind.
    Size {
        /// What was asked for.
        url: String,
        /// Its size, bytes.
        expected: u64,
        /// What came or is about to come, bytes.
        found: u64,
    },
    /// A file is not the one that it should be.
    Hash {
        /// The file, or what was asked for.
        file: String,
        /// The sha256 that it should have.
        expected: String,
        /// The sha256 that it has.
        found: String,
    },
    /// A repository holds nothing that can be read.
    NoWeights {
        /// The repository.
        repo: String,
        /// The files that would do.
        wanted: Vec<String>,
    },
    /// [`Progress::interrupted`](crate::Progress::interrupted) said so.
    Interrupted,
}

impl Error {
    pub(crate) fn io(path: &Path, doing: &'static str, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), doing, source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, doing, source } if source.kind() == io::ErrorKind::StorageFull => {
                write!(f, "{}: cannot {doing}: the disk is full; make room, what has been fetched is kept", path.display())
            }
            Self::Io { path, doing, source } => write!(f, "{}: cannot {doing}: {source}", path.display()),
            Self::Setting { variable, problem } => write!(f, "environment variable {variable}: {problem}"),
            Self::Unknown { name, nearest } => {
                write!(f, "{name}: no such file, and no name of a model")?;
                if !nearest.is_empty() {
                    write!(f, "; did you mean {}?", nearest.join(" or "))?;
                }
                f.write_str("; `edgeclip models` lists the names, and any repository of the Hub is one, as in openai/clip-vit-base-patch32")
            }
            Self::Ambiguous { name, models } => {
                write!(f, "{name}: there are several checkpoints of it, say which: {}", models.join(", "))
            }
            Self::NotYet { name, reason } => {
                write!(f, "{name}: this model is known but does not run yet: {reason}; `edgeclip models` lists those that run")
            }
            Self::Malformed { name, problem } => write!(f, "{name}: {problem}"),
            Self::NotCached { name, file, places, how } => {
                let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
                write!(f, "{name}: not in the cache: looked for {file} in {}; {how}", places.join(" and "))
            }
            Self::Connection { url, problem } => write!(f, "{url}: {problem}"),
            Self::Status { url, status, meaning } => write!(f, "{url}: the server answers {status}: {meaning}"),
            Self::Answer { url, problem } => write!(f, "{url}: {problem}"),
            Self::Size { url, expected, found } => {
                write!(f, "{url}: expected {expected} bytes, the server sends {found}; nothing of it is kept")
            }
            Self::Hash { file, expected, found } => {
                write!(f, "{file}: expected sha256 {expected}, found {found}: the file is damaged or another one")
            }
            Self::NoWeights { repo, wanted } => {
                write!(f, "{repo}: no weights in this repository; looked for {}", wanted.join(", "))
            }
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
