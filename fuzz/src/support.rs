//! What several targets do.

use std::{
    fmt::Display,
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
};

use edgeclip_convert::{Error, Options, convert};

/// The longest message of an error: names out of a file are shortened.
const LONGEST: usize = 4096;

/// What an error has to be: a line that a terminal can show.
#[track_caller]
pub(crate) fn refused(error: impl Display) {
    let message = error.to_string();
    assert!(!message.chars().any(char::is_control), "not one plain line: {message:?}");
    assert!(message.len() < LONGEST, "{} bytes: {message}", message.len());
}

/// A folder of a small checkpoint in which one file is the input. It is gone when the target is.
pub(crate) struct Checkpoint {
    folder: tempfile::TempDir,
    /// One input at a time: they have the same names.
    busy: Mutex<()>,
}

/// The smallest checkpoint of transformers' layout: two towers of width 4, a block each, and few tokens more than the single
/// bytes.
const CHECKPOINT: [(&str, &[u8]); 5] = [
    ("config.json", include_bytes!("../checkpoint/config.json")),
    ("merges.txt", include_bytes!("../checkpoint/merges.txt")),
    ("preprocessor_config.json", include_bytes!("../checkpoint/preprocessor_config.json")),
    ("tokenizer_config.json", include_bytes!("../checkpoint/tokenizer_config.json")),
    ("vocab.json", include_bytes!("../checkpoint/vocab.json")),
];

impl Checkpoint {
    /// Without weights.
    pub(crate) fn new() -> Self {
        let checkpoint = Self { folder: tempfile::tempdir().expect("a temporary folder"), busy: Mutex::new(()) };
        fs::create_dir(checkpoint.path()).expect("a folder of one's own can be written to");
        for (name, content) in CHECKPOINT {
            checkpoint.write(name, content);
        }
        checkpoint
    }

    pub(crate) fn write(&self, name: &str, content: &[u8]) {
        fs::write(self.path().join(name), content).expect("a folder of one's own can be written to");
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.path().join(name)).expect("it is there");
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("model")
    }

    /// Converts the checkpoint with the input as the file `name`, which is taken away or restored afterwards.
    pub(crate) fn convert_with(&self, name: &str, input: &[u8], options: &Options) {
        let _busy = self.busy.lock();
        self.write(name, input);
        let path = self.path();
        if let Err(error) = self.convert(&path, options) {
            refused(&error);
            // OpenAI's layout, which does not say what it is.
            if matches!(error, Error::NoArchitecture { .. }) {
                let options = Options { arch: Some("openai".into()), ..options.clone() };
                self.convert(&path, &options).unwrap_or_else(refused);
            }
        }
        match CHECKPOINT.iter().find(|(own, _)| *own == name) {
            Some((_, content)) => self.write(name, content),
            None => fs::remove_file(path.join(name)).expect("it was just written"),
        }
    }

    fn convert(&self, input: &Path, options: &Options) -> Result<(), Error> {
        let output = self.folder.path().join("m.gguf");
        let report = convert(input, &output, options, &())?;
        assert_eq!(fs::metadata(&output).expect("a conversion leaves a file").len(), report.bytes_out);
        fs::remove_file(&output).expect("it is ours");
        Ok(())
    }
}
