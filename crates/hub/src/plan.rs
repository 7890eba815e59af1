//! Which files of a repository make a checkpoint.

use serde::Deserialize;

use crate::Error;

/// open_clip's configuration.
pub(crate) const OPEN_CLIP_CONFIG: &str = "open_clip_config.json";

/// Small files, each taken if it is there.
pub(crate) const SMALL: [&str; 8] = [
    "config.json",
    OPEN_CLIP_CONFIG,
    "preprocessor_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
];

/// More than any of them has; tokenizer.json of a large vocabulary has 20 MB.
pub(crate) const MAX_SMALL: u64 = 64 << 20;
/// An index of shards; one for 1,000 tensors has 100 kB.
pub(crate) const MAX_INDEX: u64 = 16 << 20;
/// The Hub's largest models have 200.
const MAX_SHARDS: usize = 1000;

/// How weights are laid out, as far as the files beside them tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// config.json is one of transformers'.
    pub(crate) transformers: bool,
    /// There is an open_clip_config.json.
    pub(crate) open_clip: bool,
}

impl Layout {
    /// From the text of config.json, and whether there is an open_clip_config.json.
    pub(crate) fn new(config: Option<&[u8]>, open_clip: bool) -> Self {
        #[derive(Deserialize)]
        struct Config {
            model_type: Option<String>,
        }
        // timm's repositories have a config.json of timm's for the image tower alone.
        let model_type = config.and_then(|text| serde_json::from_slice::<Config>(text).ok()?.model_type);
        Self { transformers: model_type.is_some(), open_clip }
    }

    /// Files of weights, the best first: safetensors before pickles, and an index for the shards that it names.
    pub(crate) fn weights(self) -> Vec<&'static str> {
        const TRANSFORMERS: [&str; 2] = ["model.safetensors", "model.safetensors.index.json"];
        const OPEN_CLIP: [&str; 2] = ["open_clip_model.safetensors", "open_clip_pytorch_model.safetensors"];
        const TRANSFORMERS_PICKLES: [&str; 2] = ["pytorch_model.bin", "pytorch_model.bin.index.json"];
        const OPEN_CLIP_PICKLES: [&str; 2] = ["open_clip_pytorch_model.bin", "pytorch_model.bin"];
        match self {
            Self { transformers: true, open_clip: false } => [TRANSFORMERS, TRANSFORMERS_PICKLES].concat(),
            Self { transformers: true, open_clip: true } => {
                [&TRANSFORMERS[..], &OPEN_CLIP, &TRANSFORMERS_PICKLES, &OPEN_CLIP_PICKLES[..1]].concat()
            }
            Self { transformers: false, .. } => [&OPEN_CLIP[..], &TRANSFORMERS[..1], &OPEN_CLIP_PICKLES].concat(),
        }
    }
}

/// The files that an index of shards names, each once.
pub(crate) fn shards(file: &str, text: &[u8]) -> Result<Vec<String>, Error> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: std::collections::BTreeMap<String, String>,
    }
    let malformed = |problem| Error::Malformed { name: file.to_owned(), problem };
    let index: Index = serde_json::from_slice(text).map_err(|_| malformed("expected an index of shards with a weight_map"))?;
    let names: std::collections::BTreeSet<String> = index.weight_map.into_values().collect();
    // They become paths and addresses.
    let is_plain = |name: &String| {
        let is_weights = name.ends_with(".safetensors") || name.ends_with(".bin");
        is_weights && !name.starts_with('.') && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    if names.is_empty() || names.len() > MAX_SHARDS || !names.iter().all(is_plain) {
        return Err(malformed("expected the names of up to 1000 files .safetensors or .bin beside it"));
    }
    Ok(names.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn safetensors_come_before_pickles() {
        let clip: Option<&[u8]> = Some(br#"{"model_type": "clip"}"#);
        let timm: Option<&[u8]> = Some(br#"{"architecture": "vit_base_patch32_clip_224"}"#);
        for (config, open_clip, first) in [
            (clip, false, "model.safetensors"),
            (clip, true, "model.safetensors"),
            (timm, true, "open_clip_model.safetensors"),
            (None, true, "open_clip_model.safetensors"),
            (None, false, "open_clip_model.safetensors"),
            (Some(b"{"), true, "open_clip_model.safetensors"),
        ] {
            let weights = Layout::new(config, open_clip).weights();
            assert_eq!(weights[0], first);
            let last_safe = weights.iter().rposition(|name| name.contains("safetensors")).unwrap();
            assert!(weights[..last_safe].iter().all(|name| name.contains("safetensors")), "{weights:?}");
            assert!(weights.iter().any(|name| name.ends_with(".bin")));
        }
    }

    #[test]
    fn shards_stay_beside_their_index() {
        let index = |names: &[&str]| {
            let map: Vec<String> = names.iter().enumerate().map(|(i, name)| format!("\"t{i}\": \"{name}\"")).collect();
            format!("{{\"metadata\": {{}}, \"weight_map\": {{{}}}}}", map.join(", "))
        };
        let two = index(&["b.safetensors", "a.safetensors", "b.safetensors"]);
        assert_eq!(shards("i", two.as_bytes()).unwrap(), ["a.safetensors", "b.safetensors"]);
        for bad in ["../a.safetensors", "/a.bin", "a/b.bin", ".bin", "a.txt", "a b.bin", "a?b.bin", ""] {
            assert!(shards("i", index(&[bad]).as_bytes()).is_err(), "{bad}");
        }
        let many: Vec<String> = (0..1001).map(|i| format!("{i}.bin")).collect();
        assert!(shards("i", index(&many.iter().map(String::as_str).collect::<Vec<_>>()).as_bytes()).is_err());
        for bad in ["", "[]", "{}", "{\"weight_map\": {}}", "{\"weight_map\": {\"a\": 1}}"] {
            assert!(shards("i", bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
