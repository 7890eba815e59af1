//! Whose work is in the program, and under which licences.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use super::Target;
use crate::{Error, cargo, output, read, root};

const HEAD: &str = "\
The program `edgeclip` contains the work of others: the crates of this list, Rust's standard library, and two tables.
A licence with \"OR\" lets you choose. The texts follow, as far as the crates come with them; equal ones once.

Rust's standard library and what it is made of is licensed MIT OR Apache-2.0, in parts Apache-2.0 WITH LLVM-exception or MIT; the text of
Apache-2.0 is in LICENSE-APACHE. Copyright (c) The Rust Project Contributors, https://www.rust-lang.org.
";

/// Notes on the tables in the program, with their licences. The demo model has the first one's vocabulary.
const TABLES: [&str; 2] = ["crates/tokenize/data/README.md", "crates/convert/data/README.md"];

/// A crate that is linked in.
#[derive(Debug, PartialEq)]
struct Crate {
    name: String,
    version: String,
    licence: String,
}

/// The crates of others that a target's program is made of.
pub(super) struct Crates {
    linked: Vec<Crate>,
    /// Where the sources are of all that cargo knows, by crate and version.
    folders: BTreeMap<String, PathBuf>,
}

impl Crates {
    pub(super) fn of(target: Target) -> Result<Self, Error> {
        let package = ["--locked", "--package", "edgeclip-cli", "--target", target.name()];
        // What a macro or a build script needs is not in the program.
        let shape = ["--edges", "normal,no-proc-macro", "--no-dedupe", "--prefix", "none", "--format", "{p}\t{l}"];
        let tree = output(cargo().arg("tree").args(package).args(shape).current_dir(root()))?;
        let metadata = ["metadata", "--locked", "--format-version", "1", "--filter-platform", target.name()];
        let metadata = output(cargo().args(metadata).current_dir(root()))?;
        Ok(Self { linked: crates(&tree, &root().display().to_string()), folders: folders(&metadata) })
    }

    /// The folders that sources of others are in: of a registry's crates, most often one.
    pub(super) fn places(&self) -> BTreeSet<&Path> {
        let places = self.folders.values().filter(|folder| !folder.starts_with(root()));
        places.filter_map(|folder| folder.parent()).collect()
    }

    /// The text of the file THIRD-PARTY of an archive.
    pub(super) fn licences(&self) -> Result<String, Error> {
        let mut texts = Texts::default();
        for linked in &self.linked {
            let title = format!("{} {}", linked.name, linked.version);
            let folder = self.folders.get(&format!("{}-{}", linked.name, linked.version)).ok_or_else(|| {
                let problem =
                    format!("the folder of {title} is not in `cargo metadata`; are crates vendored without their versions?");
                Error::Refused(problem)
            })?;
            let files = licence_files(folder)?;
            if files.is_empty() {
                texts.without.push(title.clone());
            }
            for file in files {
                let name = file.strip_prefix(folder).unwrap_or(&file).display();
                texts.add(&String::from_utf8_lossy(&read(&file)?), format!("{title}, {name}"));
            }
        }
        for table in TABLES {
            texts.add(&String::from_utf8_lossy(&read(&root().join(table))?), table.to_owned());
        }
        Ok(page(&self.linked, &texts))
    }
}

fn page(crates: &[Crate], texts: &Texts) -> String {
    let mut page = HEAD.to_owned() + "\n";
    for linked in crates {
        let title = format!("{} {}", linked.name, linked.version);
        let _ = writeln!(page, "{title:<32}{}", linked.licence);
    }
    if !texts.without.is_empty() {
        let _ = writeln!(page, "\nWithout a text: {}.", texts.without.join(", "));
    }
    for (text, origins) in &texts.all {
        let _ = writeln!(page, "\n{}", "=".repeat(100));
        for origin in origins {
            let _ = writeln!(page, "{origin}");
        }
        let _ = writeln!(page, "{}\n\n{text}", "=".repeat(100));
    }
    page
}

/// Texts in the order in which they were met, each with where it is from.
#[derive(Default)]
struct Texts {
    all: Vec<(String, Vec<String>)>,
    /// Place in `all`, by the words alone: many copies of one text differ in how its lines are broken.
    places: BTreeMap<String, usize>,
    /// Crates without any.
    without: Vec<String>,
}

impl Texts {
    fn add(&mut self, text: &str, origin: String) {
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let place = *self.places.entry(words).or_insert(self.all.len());
        match self.all.get_mut(place) {
            Some((_, origins)) => origins.push(origin),
            None => {
                let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
                self.all.push((lines.join("\n").trim_matches('\n').to_owned(), vec![origin]));
            }
        }
    }
}

/// The crates of others in what `cargo tree` prints, by name. Ours are in `root`.
fn crates(tree: &str, root: &str) -> Vec<Crate> {
    let lines: BTreeSet<&str> = tree.lines().filter(|line| !line.contains(&format!("({root}/"))).collect();
    let crates = lines.into_iter().filter_map(|line| {
        let (package, licence) = line.split_once('\t')?;
        let (name, version) = package.split_once(" v")?;
        // A slash is the older way to say it.
        Some(Crate { name: name.to_owned(), version: version.to_owned(), licence: licence.replace('/', " OR ") })
    });
    crates.collect()
}

/// The folders of all crates in what `cargo metadata` prints, by their own names, which are those of crate and version. Nothing else of
/// it is needed, so that no reader of JSON is.
fn folders(metadata: &str) -> BTreeMap<String, PathBuf> {
    let manifests = metadata.split("\"manifest_path\":\"").skip(1).filter_map(|rest| rest.split_once('"'));
    let folders = manifests.filter_map(|(manifest, _)| Path::new(manifest).parent());
    folders.filter_map(|folder| Some((folder.file_name()?.to_str()?.to_owned(), folder.to_owned()))).collect()
}

/// The files of a crate that hold licences or notices, wherever they are in it.
fn licence_files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let at = |error| Error::File(folder.to_owned(), error);
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(at)? {
        let entry = entry.map_err(at)?;
        entries.push((entry.path(), entry.file_type().map_err(at)?));
    }
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut files = Vec::new();
    for (path, kind) in entries {
        if kind.is_dir() {
            files.extend(licence_files(&path)?);
        } else if kind.is_file() && is_licence(&path) {
            files.push(path);
        }
    }
    Ok(files)
}

fn is_licence(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
    let source = path.extension().is_some_and(|ending| ending == "rs");
    !source && ["LICENSE", "LICENCE", "UNLICENSE", "COPYING", "COPYRIGHT", "NOTICE"].iter().any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_are_those_of_others_once() {
        let tree = "\
edgeclip-cli v0.1.0 (/a b/crates/cli)\tMIT OR Apache-2.0
csv v1.4.0\tUnlicense/MIT
anyhow v1.0.104\tMIT OR Apache-2.0
csv v1.4.0\tUnlicense/MIT
";
        let of = |name: &str, version: &str, licence: &str| Crate {
            name: name.to_owned(),
            version: version.to_owned(),
            licence: licence.to_owned(),
        };
        let expected = [of("anyhow", "1.0.104", "MIT OR Apache-2.0"), of("csv", "1.4.0", "Unlicense OR MIT")];
        assert_eq!(crates(tree, "/a b"), expected);
    }

    #[test]
    fn folders_go_by_crate_and_version() {
        let metadata = r#"{"packages":[{"name":"csv","manifest_path":"/r/csv-1.4.0/Cargo.toml","x":1},{"manifest_path":"/r/a-2/Cargo.toml"}]}"#;
        let folders = folders(metadata);
        assert_eq!(folders.get("csv-1.4.0"), Some(&PathBuf::from("/r/csv-1.4.0")));
        assert_eq!(folders.len(), 2);
    }

    #[test]
    fn licences_are_known_by_name() {
        for name in ["LICENSE", "LICENSE-MIT", "license.md", "UNLICENSE", "LICENSE-Apache-2.0_WITH_LLVM-exception", "COPYRIGHT"] {
            assert!(is_licence(Path::new(name)), "{name}");
        }
        for name in ["README.md", "Cargo.toml", "license.rs", "src"] {
            assert!(!is_licence(Path::new(name)), "{name}");
        }
    }

    #[test]
    fn equal_texts_are_printed_once() {
        let mut texts = Texts::default();
        texts.add("\nDo as\r\nyou like.\n", "a 1, LICENSE".to_owned());
        texts.add("Do not.", "b 1, LICENSE".to_owned());
        texts.add("Do as you\nlike.", "c 1, LICENSE".to_owned());
        let all = [
            ("Do as\nyou like.".to_owned(), vec!["a 1, LICENSE".to_owned(), "c 1, LICENSE".to_owned()]),
            ("Do not.".to_owned(), vec!["b 1, LICENSE".to_owned()]),
        ];
        assert_eq!(texts.all, all);
    }
}
