//! From what people call a model to the model: a path, or any of the forms that CLIP's tools have.

use std::{fmt, path::PathBuf, str::FromStr};

use crate::{
    Error,
    registry::{Activation, Model, NotYet, Registry},
};

/// The branch that is meant if none is said.
pub(crate) const MAIN: &str = "main";

/// What a name means.
#[derive(Clone, Debug)]
pub enum Name {
    /// A file or folder.
    Path(PathBuf),
    /// A model of the registry, whichever of its sources is at hand.
    Model(&'static Model),
    /// A repository of the Hub.
    Repo(Repo),
}

/// A repository of the Hub at a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repo {
    /// As in `openai/clip-vit-base-patch32`.
    pub id: String,
    /// A branch, tag or commit.
    pub revision: String,
}

impl Repo {
    /// The newest.
    pub(crate) fn main(id: &str) -> Self {
        Self { id: id.to_owned(), revision: MAIN.to_owned() }
    }

    /// What the registry knows of its weights.
    pub(crate) fn model(&self) -> Option<&'static Model> {
        Registry::get().models.iter().find(|model| model.repos.iter().any(|repo| repo.eq_ignore_ascii_case(&self.id)))
    }
}

impl fmt::Display for Repo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)?;
        if self.revision == MAIN { Ok(()) } else { write!(f, "@{}", self.revision) }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Model(model) => model.fmt(f),
            Self::Repo(repo) => repo.fmt(f),
        }
    }
}

/// A path that exists wins over any name.
impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        // Immich's users have names with blanks around them.
        let name = text.trim();
        if name.is_empty() {
            return Err(Error::Malformed { name: "an empty name".to_owned(), problem: "expected a file or the name of a model" });
        }
        if PathBuf::from(text).exists() {
            return Ok(Self::Path(text.into()));
        }
        if let Some(folder) = name.strip_prefix("local-dir:") {
            return Ok(Self::Path(folder.into()));
        }
        for prefix in ["hf-hub:", "hf_clip:"] {
            if let Some(repo) = name.strip_prefix(prefix) {
                return Ok(Self::Repo(parse_repo(name, repo)?));
            }
        }
        if looks_like_path(name) {
            return Ok(Self::Path(text.into()));
        }
        let bare = name.strip_prefix("open_clip:").unwrap_or(name);
        // Immich's repositories hold other formats; their names are open_clip's.
        let bare = bare.strip_prefix("immich-app/").unwrap_or(bare);
        if let Some(found) = known(name, bare) {
            return found;
        }
        let (id, _) = bare.split_once('@').unwrap_or((bare, MAIN));
        let could_be_repo = bare == name && id.matches('/').count() == 1;
        match parse_repo(name, bare) {
            Ok(repo) if could_be_repo => Ok(Self::Repo(repo)),
            Err(error) if could_be_repo && bare.contains('@') => Err(error),
            _ => Err(Error::Unknown { name: name.to_owned(), nearest: nearest(bare) }),
        }
    }
}

/// Files of models that are not there are missing files, not unknown names.
fn looks_like_path(name: &str) -> bool {
    let endings = [".gguf", ".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".json", ".onnx"];
    let (id, _) = name.split_once('@').unwrap_or((name, MAIN));
    let is_deep = id.matches('/').count() > 1 && !name.starts_with("open_clip:") && known(name, name).is_none();
    is_deep || name.starts_with(['/', '.', '~', '\\']) || endings.iter().any(|ending| name.to_ascii_lowercase().ends_with(ending))
}

/// A model of the registry, or why it is none that can be taken; `None` if nothing of the name is known.
fn known(name: &str, bare: &str) -> Option<Result<Name, Error>> {
    let registry = Registry::get();
    let has = |names: &[String]| names.iter().any(|known| known.eq_ignore_ascii_case(bare));
    let not_yet = |known: &NotYet| Some(Err(Error::NotYet { name: name.to_owned(), reason: known.reason.clone() }));
    let wanted = canonical(bare);
    // Whole pairs first: what begins with ViT-B-32 may be one of ViT-B-32-256.
    let is_pair = |model: &&Model| {
        let is_quick = model.activation == Activation::QuickGelu;
        rest(&wanted, &model.architecture).is_some_and(|rest| rest.tag == canonical(&model.tag) && (is_quick || !rest.is_quick))
    };
    if let Some(model) = registry.models.iter().find(|model| has(&model.aliases) || is_pair(model)) {
        return Some(Ok(Name::Model(model)));
    }
    if let Some(known) = registry.not_yet.iter().find(|known| has(&known.aliases) || has(&known.repos)) {
        return not_yet(known);
    }
    let architectures = registry.models.iter().map(|model| &model.architecture);
    let architectures = architectures.chain(registry.not_yet.iter().map(|known| &known.architecture));
    let begun = architectures.filter_map(|architecture| Some((architecture, rest(&wanted, architecture)?)));
    let (architecture, rest) = begun.max_by_key(|(architecture, _)| architecture.len())?;
    if let Some(known) = registry.not_yet.iter().find(|known| known.architecture == *architecture) {
        return not_yet(known);
    }
    let models: Vec<&Model> = registry.models.iter().filter(|model| model.architecture == *architecture).collect();
    Some(match (rest.tag, models.as_slice()) {
        ("", [only]) => Ok(Name::Model(only)),
        ("", several) => {
            Err(Error::Ambiguous { name: name.to_owned(), models: several.iter().map(ToString::to_string).collect() })
        }
        _ => Err(Error::Unknown { name: name.to_owned(), nearest: nearest(bare) }),
    })
}

/// What comes after an architecture.
struct Rest<'a> {
    tag: &'a str,
    /// It has open_clip's `-quickgelu`.
    is_quick: bool,
}

/// What comes after the architecture in a canonical name that begins with it.
fn rest<'a>(name: &'a str, architecture: &str) -> Option<Rest<'a>> {
    let rest = name.strip_prefix(canonical(architecture).as_str())?;
    let (rest, is_quick) = rest.strip_prefix("_quickgelu").map_or((rest, false), |rest| (rest, true));
    // Between architecture and tag are `:`, `::`, `__` or `/`, all the same by now.
    let tag = rest.strip_prefix("__").or_else(|| rest.strip_prefix('_')).unwrap_or(rest);
    (rest.is_empty() || tag.len() < rest.len() && !tag.is_empty()).then_some(Rest { tag, is_quick })
}

/// What the spellings of a name have in common: lower case, every separator as `_`, `@336px` as open_clip has it.
fn canonical(name: &str) -> String {
    name.to_ascii_lowercase().replace("@336px", "-336").replace(['-', '/', ':', '\\'], "_")
}

/// The three most similar names, if they are similar at all.
fn nearest(name: &str) -> Vec<String> {
    // Longer ones are no typing errors.
    const LONGEST: usize = 100;
    if name.len() > LONGEST {
        return Vec::new();
    }
    let wanted = canonical(name);
    let registry = Registry::get();
    let names = registry.models.iter().flat_map(|model| {
        let others = model.aliases.iter().chain(&model.repos).cloned();
        std::iter::once(model.to_string()).chain(others)
    });
    let mut distances: Vec<(usize, String)> = names.map(|known| (distance(&wanted, &canonical(&known)), known)).collect();
    distances.sort();
    let near = (name.len() / 3).max(2);
    distances.into_iter().take(3).filter(|(distance, _)| *distance <= near).map(|(_, known)| known).collect()
}

/// Levenshtein's: single characters put in, left out or changed.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let change = before + usize::from(x != y);
            before = row[j + 1];
            row[j + 1] = change.min(before + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// `org/name` or `org/name@revision`.
fn parse_repo(name: &str, text: &str) -> Result<Repo, Error> {
    let malformed = |problem| Error::Malformed { name: name.to_owned(), problem };
    let (id, revision) = text.split_once('@').unwrap_or((text, MAIN));
    if !is_repo(id) {
        return Err(malformed("expected a repository of the Hub, as in openai/clip-vit-base-patch32"));
    }
    if !is_revision(revision) {
        return Err(malformed("expected a branch, tag or commit after the @"));
    }
    let reason = Registry::get().not_yet.iter().find(|known| known.repos.iter().any(|repo| repo.eq_ignore_ascii_case(id)));
    if let Some(known) = reason {
        return Err(Error::NotYet { name: name.to_owned(), reason: known.reason.clone() });
    }
    Ok(Repo { id: id.to_owned(), revision: revision.to_owned() })
}

/// Whether the Hub could have such a repository; its folder in the cache is safe then.
pub(crate) fn is_repo(id: &str) -> bool {
    let is_part = |part: &str| {
        let is_plain = part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        let is_bounded = |end: char| !"-.".contains(end);
        is_plain && part.starts_with(is_bounded) && part.ends_with(is_bounded) && !part.contains("--") && !part.contains("..")
    };
    id.len() <= 96 && id.split_once('/').is_some_and(|(owner, name)| is_part(owner) && is_part(name))
}

/// Whether it is a safe path below `refs`.
pub(crate) fn is_revision(revision: &str) -> bool {
    let is_part = |part: &str| {
        let is_plain = part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.+".contains(&b));
        is_plain && !part.is_empty() && !part.starts_with('.')
    };
    revision.len() <= 200 && revision.split('/').all(is_part)
}

/// Whether it is git's name of a commit.
pub(crate) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

pub(crate) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<String, String> {
        match text.parse::<Name>() {
            Ok(Name::Path(path)) => Ok(format!("path {}", path.display())),
            Ok(Name::Model(model)) => Ok(format!("model {model}")),
            Ok(Name::Repo(repo)) => Ok(format!("repo {repo}")),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The forms of open_clip, clip-retrieval, clip-as-service, Immich, OpenAI and the Hub.
    #[test]
    fn every_tool_is_understood() {
        let same = [
            "ViT-B-32:openai",
            "ViT-B/32",
            "vit-b/32",
            " ViT-B-32__openai ",
            "ViT-B-32::openai",
            "ViT-B/32::openai",
            "ViT-B-32/openai",
            "open_clip:ViT-B-32/openai",
            "open_clip:ViT-B/32/openai",
            "ViT-B-32-quickgelu:openai",
            "immich-app/ViT-B-32__openai",
        ];
        for name in same {
            assert_eq!(parse(name).as_deref(), Ok("model ViT-B-32:openai"), "{name}");
        }
        for (name, expected) in [
            ("ViT-L/14@336px", "model ViT-L-14-336:openai"),
            ("ViT-L-14@336px", "model ViT-L-14-336:openai"),
            ("ViT-L-14-336::openai", "model ViT-L-14-336:openai"),
            ("ViT-B-32:laion2b-s34b-b79k", "model ViT-B-32:laion2b_s34b_b79k"),
            ("ViT-B-32/LAION2B_s34b_b79k", "model ViT-B-32:laion2b_s34b_b79k"),
            ("ViT-B-32-256__datacomp_s34b_b86k", "model ViT-B-32-256:datacomp_s34b_b86k"),
            ("ViT-H-14-378-quickgelu__dfn5b", "model ViT-H-14-378:dfn5b"),
            ("ViT-H-14-378", "model ViT-H-14-378:dfn5b"),
            ("openai/clip-vit-base-patch32", "repo openai/clip-vit-base-patch32"),
            ("hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "repo laion/CLIP-ViT-B-32-laion2B-s34B-b79K"),
            ("hf_clip:wkcn/TinyCLIP-ViT-40M-32-Text-19M-LAION400M", "repo wkcn/TinyCLIP-ViT-40M-32-Text-19M-LAION400M"),
            ("a/b@v1.0", "repo a/b@v1.0"),
            ("hf-hub:a/b@refs/pr/1", "repo a/b@refs/pr/1"),
            ("a/b@refs/pr/1", "repo a/b@refs/pr/1"),
            ("a/b@main", "repo a/b"),
            ("local-dir:/models/x", "path /models/x"),
            ("missing.gguf", "path missing.gguf"),
            ("./ViT-B", "path ./ViT-B"),
            ("models/clip/b32", "path models/clip/b32"),
            ("~/b32", "path ~/b32"),
            ("folder/ViT-B-32.pt", "path folder/ViT-B-32.pt"),
        ] {
            assert_eq!(parse(name).as_deref(), Ok(expected), "{name}");
        }
    }

    #[test]
    fn a_path_that_exists_wins() {
        assert_eq!(parse("src/lib.rs").unwrap(), "path src/lib.rs");
        assert_eq!(parse("src").unwrap(), "path src");
    }

    #[test]
    fn what_cannot_be_taken_is_said() {
        for (name, expected) in [
            ("", "expected a file or the name of a model"),
            ("  ", "expected a file or the name of a model"),
            ("ViT-B-32", "several checkpoints of it, say which: ViT-B-32:openai, "),
            ("ViT-B-32:openia", "did you mean ViT-B-32:openai"),
            ("ViT-B-32/unheard_of_tag", "no name of a model"),
            ("ViT-B-32-quickgelu:laion2b_s34b_b79k", "no name of a model"),
            ("ViTB32", "no such file, and no name of a model; did you mean ViT-B/32"),
            ("xyz", "`edgeclip models` lists the names"),
            ("RN50", "does not run yet: its image tower is a ResNet"),
            ("RN50x4:openai", "does not run yet: its image tower is a ResNet"),
            ("RN50-quickgelu__openai", "does not run yet: its image tower is a ResNet"),
            ("ViT-B-16-SigLIP2__webli", "does not run yet: SigLIP"),
            ("ViT-SO400M-16-SigLIP2-384__webli", "does not run yet: SigLIP"),
            ("hf-hub:timm/ViT-B-16-SigLIP", "does not run yet: SigLIP"),
            ("timm/ViT-B-16-SigLIP", "does not run yet: SigLIP"),
            ("xlm-roberta-base-ViT-B-32:laion5b_s13b_b90k", "does not run yet: its text tower"),
            ("hf-hub:one", "expected a repository of the Hub"),
            ("hf-hub:a/../b", "expected a repository of the Hub"),
            ("hf-hub:a/b/c", "expected a repository of the Hub"),
            ("a/b@../x", "expected a branch, tag or commit"),
            ("a/b@", "expected a branch, tag or commit"),
            ("hf-hub:a/b@.x", "expected a branch, tag or commit"),
        ] {
            let message = parse(name).unwrap_err();
            assert!(message.contains(expected), "{name}: {message}");
            assert!(!message.contains('\n'));
        }
        let long = "ViT-B".repeat(100_000);
        assert!(parse(&long).is_err());
    }

    #[test]
    fn every_model_is_found_by_each_of_its_names() {
        for model in &Registry::get().models {
            let quick = format!("{}:{}", model.open_clip_architecture(), model.tag);
            let names =
                [model.to_string(), model.to_string().replace(':', "__"), quick].into_iter().chain(model.aliases.iter().cloned());
            for name in names {
                assert_eq!(parse(&name).unwrap(), format!("model {model}"));
            }
            for repo in &model.repos {
                let Name::Repo(parsed) = repo.parse().unwrap() else { panic!("{repo}") };
                assert_eq!(parsed.model().map(ToString::to_string), Some(model.to_string()));
            }
        }
        for known in &Registry::get().not_yet {
            for tag in &known.tags {
                let message = parse(&format!("{}:{tag}", known.architecture)).unwrap_err();
                assert!(message.contains(&known.reason), "{message}");
            }
        }
    }

    #[test]
    fn distances() {
        for (a, b, expected) in [("", "", 0), ("abc", "", 3), ("kitten", "sitting", 3), ("a", "a", 0), ("ab", "ba", 2)] {
            assert_eq!((distance(a, b), distance(b, a)), (expected, expected), "{a} {b}");
        }
    }
}
