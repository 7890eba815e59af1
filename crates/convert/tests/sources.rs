//! GGUF files as the source, one encoder of two, and the architecture given by name.

mod support;

use std::path::{Path, PathBuf};

use edgeclip_convert::{Error, Options, Report, Target, convert};
use edgeclip_gguf::File;
use edgeclip_model::{Tower, schema};
use support::{Copy, MODELS, checkpoint, files, unchecked};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn convert(&self, input: &Path, output: &str, options: &Options) -> Result<Report, Error> {
        convert(input, &self.file(output), options, &())
    }

    /// The message of a refusal, with `{}` for the folder; nothing is left behind.
    fn refusal(&self, input: &Path, options: &Options) -> String {
        let before = files(self.0.path());
        let message = self.convert(input, "refused.gguf", options).unwrap_err().to_string();
        assert_eq!(files(self.0.path()), before);
        message.replace(self.0.path().to_str().unwrap(), "{}")
    }
}

/// The way through an exact file changes neither a weight nor a key that decides.
#[test]
fn a_gguf_file_is_a_source_like_its_checkpoint() {
    for name in MODELS {
        let folder = Folder::new();
        let exact = folder.convert(&checkpoint(name), "exact.gguf", &unchecked(Target::F32)).unwrap();
        for target in [Target::F16, Target::Q8_0, Target::Q4_0] {
            let direct = folder.convert(&checkpoint(name), "direct.gguf", &unchecked(target)).unwrap();
            let again = folder.convert(&folder.file("exact.gguf"), "again.gguf", &unchecked(target)).unwrap();
            assert_eq!(again.content_id, direct.content_id, "{name} to {target}");
        }
        // It still says where the weights came from.
        let again = File::open(folder.file("again.gguf")).unwrap();
        let source = schema::from_file(&again).unwrap().source.unwrap();
        assert_eq!((source.name.as_str(), &source.sha256), (name, &exact.source.sha256));
        assert_eq!(again.require::<&str>(schema::keys::NAME).unwrap(), name);
    }
}

#[test]
fn what_is_no_source() {
    let folder = Folder::new();
    let quantized = folder.file("q8_0.gguf");
    folder.convert(&checkpoint("odd-wide"), "q8_0.gguf", &unchecked(Target::Q8_0)).unwrap();
    assert_eq!(
        folder.refusal(&quantized, &unchecked(Target::Q4_0)),
        "{}/q8_0.gguf: tensor t.token_embd.weight: expected f32, f16 or bf16, found q8_0: quantizing twice loses twice; convert the \
         original checkpoint"
    );
    folder.convert(&checkpoint("odd-wide"), "f16.gguf", &unchecked(Target::F16)).unwrap();
    let exact = folder.file("f16.gguf");
    let arch = Options { arch: Some("ViT-B-32".into()), ..unchecked(Target::F16) };
    assert_eq!(
        folder.refusal(&exact, &arch),
        "{}/f16.gguf: --arch ViT-B-32 is for weights that come without a configuration; here the file's metadata says it, leave --arch away"
    );
    let error = convert(&exact, &exact, &unchecked(Target::F16), &()).unwrap_err().to_string();
    assert!(error.ends_with("f16.gguf: the output would overwrite a file of the checkpoint"), "{error}");
    let mut bytes = std::fs::read(&exact).unwrap();
    bytes.truncate(bytes.len() / 2);
    std::fs::write(folder.file("half.gguf"), bytes).unwrap();
    let message = folder.refusal(&folder.file("half.gguf"), &unchecked(Target::F16));
    assert!(message.starts_with("{}/half.gguf: "), "{message}");
}

#[test]
fn one_encoder_of_a_file_of_one() {
    let folder = Folder::new();
    let only = |tower| Options { tower: Some(tower), ..unchecked(Target::F16) };
    let image = folder.convert(&checkpoint("odd-wide"), "image.gguf", &only(Tower::Image)).unwrap();
    assert!(image.tensors.iter().all(|tensor| tensor.name.starts_with('v')));
    // Of a file of that encoder alone it is the same.
    let again = folder.convert(&folder.file("image.gguf"), "again.gguf", &only(Tower::Image)).unwrap();
    assert_eq!(again.content_id, image.content_id);
    let message = folder.refusal(&folder.file("image.gguf"), &only(Tower::Text));
    assert_eq!(message, "{}/image.gguf: there is no text encoder in this checkpoint");
    // A checkpoint that lacks the other encoder's tensors is enough.
    let copy = Copy::of("odd-wide")
        .tensors(|all| all.retain(|raw| raw.name.starts_with("vision_model.") || raw.name.starts_with("visual_projection.")));
    let report = copy.convert(&only(Tower::Image)).unwrap();
    assert_eq!(report.tensors.len(), image.tensors.len());
    assert!(copy.refusal_of(&unchecked(Target::F16)).contains("tensors are missing: "));
}

#[test]
fn an_architecture_that_is_not_needed_or_not_known() {
    let copy = Copy::of("odd-wide");
    let with = |arch: &str| Options { arch: Some(arch.into()), ..unchecked(Target::F16) };
    assert_eq!(
        copy.refusal_of(&with("ViT-B-32")),
        "{}/model.safetensors: --arch ViT-B-32 is for weights that come without a configuration; here config.json says it, leave --arch away"
    );
}

/// A header of 640 bytes, or of 65,536 more, begins with the bytes of a pickle of protocol 2.
#[test]
fn a_length_that_looks_like_a_pickle() {
    let copy = Copy::of("odd-f16");
    let id = copy.content_id();
    let whole = std::fs::read(copy.file("model.safetensors")).unwrap();
    let length = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    for protocol in 2..=5 {
        let padded = (length..).find(|padded| padded.to_le_bytes()[..2] == [0x80, protocol]).unwrap();
        let (header, data) = whole[8..].split_at(length);
        let file = [&(padded as u64).to_le_bytes(), header, &vec![b' '; padded - length], data].concat();
        let copy = Copy::of("odd-f16").write("model.safetensors", file);
        assert_eq!(copy.content_id(), id, "protocol {protocol}");
    }
}

/// A folder of both libraries, as LAION's are.
#[test]
fn the_best_weights_of_a_folder_are_taken() {
    let bad = |copy: Copy, names: &[&str]| names.iter().fold(copy, |copy, name| copy.write(name, "not weights"));
    let taken = |copy: &Copy| {
        let message = copy.refusal();
        let (path, _) = message.split_once(": ").unwrap();
        path.trim_start_matches("{}/").to_owned()
    };
    let all = ["open_clip_model.safetensors", "open_clip_pytorch_model.bin", "pytorch_model.bin"];
    // Those of transformers come first, so the others are not looked at.
    let copy = bad(Copy::of("odd-f16").write("open_clip_config.json", "{}"), &all);
    copy.convert(&unchecked(Target::F16)).unwrap();
    let copy = copy.remove("model.safetensors");
    assert_eq!(taken(&copy), "open_clip_model.safetensors");
    let copy = copy.remove("open_clip_model.safetensors");
    assert_eq!(taken(&copy), "pytorch_model.bin");
    let copy = copy.write("config.json", "{\"architecture\": \"vit_base_patch32_clip_224\"}");
    assert_eq!(taken(&copy), "open_clip_pytorch_model.bin");
}
