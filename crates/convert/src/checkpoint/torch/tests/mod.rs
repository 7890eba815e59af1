//! The reader against PyTorch's own files, and against hostile ones.

mod build;
mod hostile;
mod samples;

use std::{fs, path::Path};

use bytes::Bytes;

use super::{Archive, read};

/// A file by tools/make_torch_samples.py.
fn sample(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/torch").join(name)).unwrap()
}

fn read_bytes(bytes: impl Into<Bytes>) -> Result<Archive, String> {
    read(Path::new("m.pt"), &bytes.into()).map_err(|error| error.to_string())
}

/// What is wrong with a file, on one line, without its name.
fn refusal(bytes: impl Into<Bytes>) -> String {
    let message = read_bytes(bytes).expect_err("it was read");
    assert!(!message.contains('\n') && message.len() < 600, "{message}");
    message.strip_prefix("m.pt: ").unwrap().to_owned()
}
