//! Which targets there are, for the targets themselves, for `cargo xtask fuzz` and for the test that runs their seeds: nothing
//! but names and numbers.

/// A target and how it is run.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name; its own seeds are in `fuzz/seeds/NAME`.
    pub name: &'static str,
    /// Folders of the repository with more seeds: files of the tests that are no longer than `longest`.
    pub fixtures: &'static [&'static str],
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
    Target { name: "picture", fixtures: &[PICTURES], dictionary: "picture.dict", longest: 1 << 13, megabytes: 64 },
    Target { name: "model", fixtures: &[], dictionary: "gguf.dict", longest: 1 << 15, megabytes: 600 },
    Target { name: "torch", fixtures: &[TORCH], dictionary: "torch.dict", longest: 1 << 15, megabytes: 300 },
    Target { name: "pickle", fixtures: &[], dictionary: "torch.dict", longest: 1 << 13, megabytes: 300 },
    Target { name: "safetensors", fixtures: &[], dictionary: "safetensors.dict", longest: 1 << 14, megabytes: 64 },
    Target { name: "gguf", fixtures: &[GGUF], dictionary: "gguf.dict", longest: 1 << 14, megabytes: 8 },
    Target { name: "vocabulary", fixtures: &[], dictionary: "vocabulary.dict", longest: 1 << 13, megabytes: 16 },
    Target { name: "text", fixtures: &[], dictionary: "text.dict", longest: 1 << 12, megabytes: 16 },
    Target { name: "settings", fixtures: &[], dictionary: "settings.dict", longest: 1 << 13, megabytes: 64 },
];
