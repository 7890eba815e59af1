//! The cache of converted files: one for each source, type and converter, made once.

use std::{
    fs,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use crate::{Checkpoint, Error, Progress, cache, lock::Lock, sums};

/// Enough digits that no two files have the same.
const KEY_DIGITS: usize = 32;

/// A place for a converted file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    path: PathBuf,
    lock: PathBuf,
}

impl Place {
    /// For a checkpoint, converted to a type by a version of the converter. The name begins with words that a person can read.
    pub(crate) fn new(
        cache: &Path,
        checkpoint: &Checkpoint,
        ty: &str,
        converter: &str,
        sums: &sums::Sums,
        progress: &dyn Progress,
    ) -> Result<Self, Error> {
        let mut hasher = Sha256::new();
        for part in [converter, ty, &checkpoint.name, checkpoint.architecture.as_deref().unwrap_or("")] {
            hasher.update(part);
            hasher.update([0]);
        }
        for file in &checkpoint.files {
            let sum = match cache::blob_sha256(file) {
                Some(sum) => sum,
                None => sums.sha256(file, progress)?,
            };
            hasher.update(file.file_name().unwrap_or_default().as_encoded_bytes());
            hasher.update([0]);
            hasher.update(sum);
            hasher.update([0]);
        }
        let key = &sums::hex(&hasher.finalize())[..KEY_DIGITS];
        let folder = folder(cache);
        let path = folder.join(format!("{}-{ty}-{key}.gguf", stem(&checkpoint.name)));
        Ok(Self { path, lock: folder.join(".locks").join(format!("{key}.lock")) })
    }

    /// The file, whether it is there or not.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the file unless there is a good one. Of several processes one makes it and the others wait.
    ///
    /// # Errors
    /// Those of `make`, and [`Error`] if the folder cannot be written.
    pub fn make<E: From<Error>>(
        &self,
        is_good: &dyn Fn(&Path) -> bool,
        progress: &dyn Progress,
        make: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.path.is_file() && is_good(&self.path) {
            return Ok(());
        }
        let _lock = Lock::acquire(&self.lock, progress)?;
        if self.path.is_file() {
            if is_good(&self.path) {
                return Ok(());
            }
            progress.note(&format!("{}: this file of the cache is damaged; making it anew", self.path.display()));
            fs::remove_file(&self.path).map_err(|source| Error::io(&self.path, "remove it", source))?;
        }
        make(&self.path)
    }
}

fn folder(cache: &Path) -> PathBuf {
    cache.join("models")
}

/// A name as part of a file's.
fn stem(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '-' }).take(100).collect();
    match plain.trim_start_matches('.') {
        "" => "model".to_owned(),
        plain => plain.to_owned(),
    }
}

/// Types to which a model of this name has been converted, by whatever version.
pub(crate) fn types(cache: &Path, name: &str) -> Vec<String> {
    let wanted = stem(name);
    let entries = fs::read_dir(folder(cache)).into_iter().flatten().flatten();
    let ty = |file: &str| {
        let (stem, key) = file.strip_suffix(".gguf")?.rsplit_once('-')?;
        let (stem, ty) = stem.rsplit_once('-')?;
        (key.len() == KEY_DIGITS && stem == wanted).then(|| ty.to_owned())
    };
    let mut types: Vec<String> = entries.filter_map(|entry| ty(entry.file_name().to_str()?)).collect();
    types.sort();
    types.dedup();
    types
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint(file: &Path) -> Checkpoint {
        Checkpoint {
            name: "ViT-B-32:openai".to_owned(),
            path: file.to_owned(),
            files: vec![file.to_owned()],
            architecture: None,
            model: None,
        }
    }

    #[test]
    fn source_type_and_version_make_the_place() {
        let root = tempfile::tempdir().unwrap();
        let sums = sums::Sums::new(root.path());
        let [a, b] = ["a.pt", "b.pt"].map(|name| root.path().join(name));
        fs::write(&a, "a").unwrap();
        fs::write(&b, "b").unwrap();
        let place =
            |file: &Path, ty: &str, version: &str| Place::new(root.path(), &checkpoint(file), ty, version, &sums, &()).unwrap();
        let first = place(&a, "q8_0", "1");
        assert_eq!(first, place(&a, "q8_0", "1"));
        for other in [place(&b, "q8_0", "1"), place(&a, "q4_0", "1"), place(&a, "q8_0", "2")] {
            assert_ne!(first.path, other.path);
        }
        let name = first.path.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("ViT-B-32-openai-q8_0-") && name.ends_with(".gguf"), "{name}");

        assert!(types(root.path(), "ViT-B-32:openai").is_empty());
        for place in [&first, &place(&a, "q4_0", "1")] {
            fs::create_dir_all(place.path.parent().unwrap()).unwrap();
            fs::write(&place.path, "").unwrap();
        }
        assert_eq!(types(root.path(), "ViT-B-32:openai"), ["q4_0", "q8_0"]);
        assert!(types(root.path(), "ViT-B-32").is_empty());
    }

    #[test]
    fn good_files_are_kept_and_bad_ones_made_anew() {
        let root = tempfile::tempdir().unwrap();
        let source = root.path().join("a.pt");
        fs::write(&source, "a").unwrap();
        let place = Place::new(root.path(), &checkpoint(&source), "f32", "1", &sums::Sums::new(root.path()), &()).unwrap();
        let is_good = |path: &Path| fs::read(path).unwrap() == b"good";
        let make = |text: &'static str| {
            place
                .make(&is_good, &(), |path| fs::write(path, text).map_err(|source| Error::io(path, "write it", source)))
                .unwrap();
            fs::read_to_string(place.path()).unwrap()
        };
        assert_eq!(make("bad"), "bad");
        assert_eq!(make("good"), "good");
        assert_eq!(make("other"), "good");
    }

    #[test]
    fn names_are_safe_in_files() {
        assert_eq!(stem("org/name@refs/pr/1"), "org-name-refs-pr-1");
        assert_eq!(stem("../x"), "-x");
        assert_eq!(stem(".."), "model");
    }
}
