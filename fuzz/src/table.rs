//! Which targets there are, for the targets themselves, for `cargo xtask fuzz` and for the test that runs their seeds: nothing
//! but names and numbers.

/// A target and how it is run.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Folders of the repository with seeds: those that are made for it, what it once found, and files of the tests. Of all of them
    /// the files that are no longer than `longest`.
    pub seeds: &'static [&'static str],
    /// Words to try, in `fuzz/dictionaries`.
    pub dictionary: &'static str,
    /// Bytes of the longest input.
    pub longest: usize,
    /// MiB that may be allocated at once: what the limits of docs/security.md allow for, so that more is a finding.
    pub megabytes: usize,
}

const GGUF: &str = "crates/gguf/tests/data";
const TORCH: &str = "crates/convert/tests/data/torch";
const PICTURES: &str = "crates/preprocess/tests/data/pictures";

/// All targets, those first that read what people get from strangers most.
pub const TARGETS: [Target; 9] = [
    Target {
        name: "picture",
        seeds: &["fuzz/findings/picture", PICTURES],
        dictionary: "picture.dict",
        longest: 1 << 13,
        megabytes: 64,
    },
    Target { name: "model", seeds: &["fuzz/seeds/model"], dictionary: "gguf.dict", longest: 1 << 15, megabytes: 600 },
    Target { name: "torch", seeds: &["fuzz/seeds/torch", TORCH], dictionary: "torch.dict", longest: 1 << 15, megabytes: 300 },
    Target { name: "pickle", seeds: &["fuzz/seeds/pickle"], dictionary: "torch.dict", longest: 1 << 13, megabytes: 300 },
    Target {
        name: "safetensors",
        seeds: &["fuzz/seeds/safetensors"],
        dictionary: "safetensors.dict",
        longest: 1 << 14,
        megabytes: 64,
    },
    Target { name: "gguf", seeds: &[GGUF], dictionary: "gguf.dict", longest: 1 << 14, megabytes: 8 },
    Target {
        name: "vocabulary",
        seeds: &["fuzz/seeds/vocabulary"],
        dictionary: "vocabulary.dict",
        longest: 1 << 13,
        megabytes: 16,
    },
    Target { name: "text", seeds: &["fuzz/seeds/text"], dictionary: "text.dict", longest: 1 << 12, megabytes: 16 },
    Target { name: "settings", seeds: &["fuzz/seeds/settings"], dictionary: "settings.dict", longest: 1 << 13, megabytes: 64 },
];
