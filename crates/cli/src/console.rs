//! What is said to people, on standard error: errors, notes, progress. Data go to standard output and never through here.

use std::{
    fmt::{self, Write as _},
    io::{self, Write as _},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{compute::ComputeArgs, output::visible};

/// An error about the inputs or a failed check: exit code 1, where other errors have 2.
#[derive(Debug)]
pub(crate) struct Failed(pub(crate) String);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failed {}

/// The user pressed Ctrl-C: exit code 130.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted; no file was written")
    }
}

impl std::error::Error for Interrupted {}

/// Standard error, what has failed so far, and with what is computed: what every command is given.
pub(crate) struct Console {
    quiet: bool,
    compute: ComputeArgs,
    failures: AtomicUsize,
    /// The bar that is on the screen: lines have to go above it.
    bar: Mutex<Option<ProgressBar>>,
}

impl Console {
    pub(crate) fn new(quiet: bool, compute: ComputeArgs) -> Self {
        Self { quiet, compute, failures: AtomicUsize::new(0), bar: Mutex::new(None) }
    }

    /// Whether only errors are wanted.
    pub(crate) fn quiet(&self) -> bool {
        self.quiet
    }

    /// How to load models.
    pub(crate) fn compute(&self) -> anyhow::Result<edgeclip::Options> {
        self.compute.options()
    }

    /// Inputs that have failed.
    pub(crate) fn failures(&self) -> usize {
        self.failures.load(Ordering::Relaxed)
    }

    /// The error that ends the program.
    pub(crate) fn error(&self, error: &anyhow::Error) {
        self.line(&format!("error: {}", sentence(error)));
    }

    /// An input that is skipped; with `strict` it is the end. `input` is empty if the error names it already.
    pub(crate) fn failure(&self, input: &str, error: &anyhow::Error, strict: bool) -> Result<(), Failed> {
        let message = match sentence(error) {
            // Errors about files often name them already.
            named if input.is_empty() || named.starts_with(&format!("{input}: ")) => named,
            unnamed => format!("{input}: {unnamed}"),
        };
        if strict {
            return Err(Failed(message));
        }
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.line(&format!("error: {message}"));
        Ok(())
    }

    /// Something worth knowing, unless `--quiet`.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            self.line(text);
        }
    }

    /// A progress bar, seen only on a terminal and not with `--quiet`. It goes away when it is dropped.
    pub(crate) fn bar(&self, what: &str, total: u64) -> Bar<'_> {
        let target = if self.quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(Some(total), target).with_message(what.to_owned());
        if let Ok(style) = ProgressStyle::with_template("{msg} [{bar:30}] {percent}% {eta}") {
            bar.set_style(style.progress_chars("=> "));
        }
        *self.slot() = Some(bar.clone());
        Bar { console: self, bar }
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<ProgressBar>> {
        self.bar.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self, text: &str) {
        // A closed standard error is no reason to stop, and there is no place left to say so.
        let write = || drop(writeln!(io::stderr().lock(), "{}", visible(text)));
        match &*self.slot() {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

/// A step in progress.
pub(crate) struct Bar<'a> {
    console: &'a Console,
    bar: ProgressBar,
}

impl Bar<'_> {
    pub(crate) fn advance(&self, n: u64) {
        self.bar.inc(n);
    }
}

impl Drop for Bar<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        *self.console.slot() = None;
    }
}

/// An error and its causes on one line, without saying anything twice: some errors show their cause and also have it as their source.
fn sentence(error: &anyhow::Error) -> String {
    let mut sentence = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if sentence.is_empty() {
            sentence = text;
        } else if !sentence.contains(&text) {
            let _ = write!(sentence, ": {text}");
        }
    }
    sentence.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_has_each_cause_once_and_one_line() {
        let error = anyhow::anyhow!("inner\nmore").context("a: inner\nmore").context("outer");
        assert_eq!(sentence(&error), "outer: a: inner more");
    }

    #[test]
    fn strict_ends_at_the_first_failure() {
        let console = Console::new(true, ComputeArgs::default());
        let error = anyhow::anyhow!("a.png: no such file");
        assert_eq!(console.failure("a.png", &error, true).unwrap_err().0, "a.png: no such file");
        assert_eq!(console.failure("b.png", &error, true).unwrap_err().0, "b.png: a.png: no such file");
        assert_eq!(console.failure("a", &error, true).unwrap_err().0, "a: a.png: no such file");
        assert_eq!(console.failure("", &error, true).unwrap_err().0, "a.png: no such file");
        assert_eq!(console.failures(), 0);
    }
}
