//! From arguments to pictures: files, folders, patterns, standard input.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail};

use crate::interrupt;

/// Extensions of pictures that are looked for in folders, in lower case. A file that is named itself may have any.
const EXTENSIONS: [&str; 12] = ["apng", "bmp", "dib", "gif", "jfif", "jpe", "jpeg", "jpg", "png", "tif", "tiff", "webp"];

/// The largest picture file that is read, in bytes: far above any real one, so that `/dev/zero` ends.
const MAX_FILE: u64 = 1 << 30;

/// A picture that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Input {
    /// As it is shown in output: the path, or `-`.
    pub(crate) label: String,
    source: Source,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    File(PathBuf),
    Stdin,
}

impl Input {
    pub(crate) fn file(label: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self { label: label.into(), source: Source::File(path.into()) }
    }

    /// Whether reading it waits for nobody: an ordinary file.
    pub(crate) fn is_at_hand(&self) -> bool {
        match &self.source {
            Source::File(path) => path.metadata().is_ok_and(|found| found.is_file()),
            Source::Stdin => false,
        }
    }

    /// The bytes of the picture's file.
    pub(crate) fn read(&self) -> Result<Vec<u8>> {
        // Files may be pipes too.
        interrupt::waiting(|| match &self.source {
            Source::File(path) => {
                let file = File::open(path).map_err(|error| plain(&error))?;
                if file.metadata().is_ok_and(|found| found.is_dir()) {
                    bail!("it is a folder, not a picture");
                }
                read_all(file, MAX_FILE)
            }
            Source::Stdin => read_all(io::stdin().lock(), MAX_FILE),
        })?
    }
}

/// All bytes, if there are not more than `limit`.
pub(crate) fn read_all(source: impl Read, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(limit + 1).read_to_end(&mut bytes).context("cannot read it")?;
    if bytes.len() as u64 > limit {
        bail!("it is larger than {limit} bytes, the most that is read of such a file");
    }
    Ok(bytes)
}

/// An argument that led to no picture, and why.
pub(crate) type Missing = (String, anyhow::Error);

/// The pictures that the arguments name, in order: `-` is one picture on standard input; a folder gives the pictures in it and below,
/// sorted by path, without hidden files; a path that does not exist is tried as a pattern (`*`, `?`, `[a-z]`, `**`).
pub(crate) fn expand(arguments: &[PathBuf]) -> Vec<Result<Input, Missing>> {
    let mut found = Vec::new();
    let mut stdin = false;
    for argument in arguments {
        let label = argument.to_string_lossy().into_owned();
        if label == "-" {
            found.push(if std::mem::replace(&mut stdin, true) {
                Err((label, anyhow!("standard input can be read only once")))
            } else {
                Ok(Input { label, source: Source::Stdin })
            });
        } else if argument.is_dir() {
            folder(argument, &label, &mut found);
        } else if argument.exists() || !label.contains(['*', '?', '[']) {
            // A file that is not there is noticed when it is read.
            found.push(Ok(Input::file(label, argument)));
        } else {
            pattern(&label, &mut found);
        }
    }
    found
}

fn folder(path: &Path, label: &str, found: &mut Vec<Result<Input, Missing>>) {
    let before = found.len();
    walk(path, found);
    if found.len() == before {
        found.push(Err((label.to_owned(), anyhow!("no pictures in this folder (looked for {})", EXTENSIONS.join(", ")))));
    }
}

fn walk(path: &Path, found: &mut Vec<Result<Input, Missing>>) {
    let entries =
        fs::read_dir(path).and_then(|entries| entries.map(|entry| entry.map(|e| e.path())).collect::<io::Result<Vec<_>>>());
    let mut entries = match entries {
        Ok(entries) => entries,
        Err(error) => {
            return found.push(Err((path.to_string_lossy().into_owned(), anyhow!("cannot list it: {}", plain(&error)))));
        }
    };
    entries.sort_unstable();
    for entry in entries {
        if entry.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) {
            continue;
        }
        // Folders behind symbolic links are left out: they may lead back up.
        if entry.is_dir() {
            if !entry.is_symlink() {
                walk(&entry, found);
            }
        } else if is_picture(&entry) && !is_special(&entry) {
            found.push(Ok(Input::file(entry.to_string_lossy(), &entry)));
        }
    }
}

/// A pipe, socket or device, which may have nothing to read for ever. A broken link is none: it is reported when it is read.
fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| !found.is_file())
}

fn is_picture(path: &Path) -> bool {
    let Some(extension) = path.extension() else { return false };
    let extension = extension.to_string_lossy().to_lowercase();
    EXTENSIONS.contains(&extension.as_str())
}

fn pattern(pattern: &str, found: &mut Vec<Result<Input, Missing>>) {
    // As in a shell.
    let options = glob::MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };
    let paths = match glob::glob_with(pattern, options) {
        Ok(paths) => paths,
        Err(error) => return found.push(Err((pattern.to_owned(), anyhow!("no such file, and no pattern either: {error}")))),
    };
    let before = found.len();
    for path in paths {
        match path {
            Ok(path) if path.is_dir() => walk(&path, found),
            Ok(path) => found.push(Ok(Input::file(path.to_string_lossy(), &path))),
            Err(error) => found
                .push(Err((error.path().to_string_lossy().into_owned(), anyhow!("cannot list it: {}", plain(error.error()))))),
        }
    }
    if found.len() == before {
        found.push(Err((pattern.to_owned(), anyhow!("no file matches this pattern"))));
    }
}

/// What the system says, in a few words where it is the usual thing.
fn plain(error: &io::Error) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::NotFound => anyhow!("no such file; check the path"),
        io::ErrorKind::PermissionDenied => anyhow!("no permission to read it"),
        _ => anyhow!("cannot open it: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(arguments: &[&Path]) -> Vec<String> {
        let arguments: Vec<PathBuf> = arguments.iter().map(|&a| a.to_owned()).collect();
        let show =
            |found: Result<Input, Missing>| found.map_or_else(|(label, error)| format!("{label}! {error}"), |input| input.label);
        expand(&arguments).into_iter().map(show).collect()
    }

    #[test]
    fn folders_are_sorted_and_hold_only_pictures() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        fs::create_dir_all(path("b/c")).unwrap();
        fs::create_dir_all(path(".hidden")).unwrap();
        fs::create_dir_all(path("empty")).unwrap();
        for name in ["z.PNG", "a.jpeg", "b/c/x.webp", "b/notes.txt", ".hidden/y.png", ".x.png", "b.tif"] {
            fs::write(path(name), "").unwrap();
        }
        let expected = ["a.jpeg", "b/c/x.webp", "b.tif", "z.PNG"].map(|name| path(name).display().to_string());
        assert_eq!(labels(&[root.path()]), expected);
        assert_eq!(labels(&[&path("*.[tj]*")]), [path("a.jpeg"), path("b.tif")].map(|p| p.display().to_string()));
        assert_eq!(labels(&[&path("b/**/*.webp")]), [path("b/c/x.webp").display().to_string()]);
        let none = labels(&[&path("empty"), &path("*.gif"), &path("a[")]);
        assert!(none[0].contains("no pictures in this folder"), "{none:?}");
        assert!(none[1].ends_with("no file matches this pattern"), "{none:?}");
        assert!(none[2].contains("no such file, and no pattern"), "{none:?}");
    }

    #[test]
    fn order_is_that_of_the_arguments() {
        let given = ["-", "b.png", "a.png", "-"].map(Path::new);
        assert_eq!(labels(&given), ["-", "b.png", "a.png", "-! standard input can be read only once"]);
    }

    #[test]
    fn endless_input_ends() {
        let error = read_all(io::repeat(0), 1000).unwrap_err();
        assert!(error.to_string().contains("larger than 1000 bytes"), "{error}");
        assert_eq!(read_all(io::repeat(0).take(1000), 1000).unwrap().len(), 1000);
    }
}
