//! What comes out: types, bytes, errors, ids and the check, for every checkpoint and type.

mod support;

use std::{
    collections::HashMap,
    fs,
    sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use edgeclip_convert::{CropRule, Error, Options, Progress, Report, Target, convert};
use edgeclip_gguf::{File, TensorType};
use edgeclip_model::{Format, content_id, schema};
use safetensors::Dtype;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use support::{Copy, MODELS, Raw, checkpoint, files, read_tensors, to, unchecked};

fn values(raw: &Raw) -> Vec<f32> {
    let format = match raw.dtype {
        Dtype::F32 => Format::F32,
        Dtype::F16 => Format::F16,
        Dtype::BF16 => Format::BF16,
        other => panic!("{other}"),
    };
    let mut values = vec![0f32; raw.bytes.len() / format.block_bytes()];
    format.dequantize(&raw.bytes, &mut values);
    values
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads the file back and compares it with the checkpoint, tensor by tensor, without the converter's own ways of reading.
fn compare(name: &str, report: &Report, options: &Options) {
    let folder = checkpoint(name);
    let weights: Vec<String> = files(&folder).into_iter().filter(|file| file.ends_with(".safetensors")).collect();
    let source: HashMap<String, Raw> =
        weights.iter().flat_map(|file| read_tensors(&folder.join(file))).map(|raw| (raw.name.clone(), raw)).collect();
    let file = File::open(&report.output).unwrap();
    assert_eq!(file.tensors().len(), report.tensors.len());
    for (info, tensor) in file.tensors().iter().zip(&report.tensors) {
        let what = || format!("{name} to {}: {}", report.target, tensor.name);
        assert_eq!((&info.name, &info.dims, info.ty.name()), (&tensor.name, &tensor.dims, Some(tensor.to)), "{}", what());
        let raw = &source[&tensor.source_name];
        assert_eq!(raw.shape.iter().rev().map(|&dim| dim as u64).collect::<Vec<_>>(), tensor.dims, "{}", what());
        assert_eq!(raw.dtype.to_string().to_lowercase(), tensor.from, "{}", what());
        let source = values(raw);
        let format = Format::from_ggml_id(info.ty.id()).unwrap();
        let mut expected = vec![0xA5; format.row_bytes(source.len()).unwrap()];
        let quantize = if options.fast_quantize { Format::quantize } else { Format::quantize_searched };
        quantize(format, &source, &mut expected);
        let found = file.data(info).unwrap();
        assert!(found == expected, "{}: other bytes", what());
        assert_eq!(tensor.bytes, found.len() as u64, "{}", what());

        let mut stored = vec![0f32; source.len()];
        format.dequantize(&found, &mut stored);
        let errors = || source.iter().zip(&stored).map(|(a, b)| f64::from(*a) - f64::from(*b));
        let rms = (errors().map(|e| e * e).sum::<f64>() / source.iter().map(|a| f64::from(*a).powi(2)).sum::<f64>()).sqrt();
        let max = errors().fold(0f64, |max, e| max.max(e.abs())) as f32;
        assert_eq!(tensor.max_error, max, "{}", what());
        // The sums have another order.
        assert!((tensor.relative_rms - rms).abs() <= 1e-12 * rms, "{}: {} and {rms}", what(), tensor.relative_rms);
    }
    // logit_scale is a key, position_ids are not kept.
    let kept: Vec<&str> = report.tensors.iter().map(|tensor| tensor.source_name.as_str()).collect();
    for left in source.keys().filter(|name| !kept.contains(&name.as_str())) {
        assert!(left == "logit_scale" || left.ends_with("position_ids"), "{name}: {left} is not in the file");
    }
    assert_eq!(file.require::<f32>(schema::keys::LOGIT_SCALE).unwrap(), values(&source["logit_scale"])[0]);

    let mut hasher = Sha256::new();
    weights.iter().for_each(|file| hasher.update(fs::read(folder.join(file)).unwrap()));
    assert_eq!(report.source.sha256, hex(hasher.finalize()));
    assert_eq!(file.require::<&str>(schema::keys::SOURCE_SHA256).unwrap(), report.source.sha256);
    assert_eq!(file.require::<&str>(schema::keys::SOURCE_NAME).unwrap(), name);
    assert_eq!(file.require::<&str>(schema::keys::CONTENT_ID).unwrap(), report.content_id);
    assert_eq!(content_id(&file).unwrap(), report.content_id);
    assert_eq!(fs::metadata(&report.output).unwrap().len(), report.bytes_out);
    let quantized = file.tensors().iter().any(|info| info.ty.block().unwrap().len > 1);
    assert_eq!(file.get::<u32>(schema::keys::QUANTIZATION_VERSION).unwrap(), quantized.then_some(2));
}

#[test]
fn every_checkpoint_to_every_type() {
    let folder = tempfile::tempdir().unwrap();
    for name in MODELS.into_iter().chain(["demo"]) {
        let simple = [Target::Q4_0, Target::Q4K].map(|target| Options { fast_quantize: true, ..unchecked(target) });
        for options in Target::ALL.map(unchecked).into_iter().chain(simple) {
            let target = options.target;
            let report = convert(&checkpoint(name), &folder.path().join("m.gguf"), &options, &()).unwrap();
            compare(name, &report, &options);
            let file = File::open(&report.output).unwrap();
            assert_eq!(file.require::<u32>(schema::keys::FILE_TYPE).unwrap(), target.format().ggml_id());
            let expected: Option<fn(&str) -> bool> = match target {
                Target::F32 => Some(|ty| ty == "f32"),
                Target::F16 => Some(|ty| ty == "f16" || ty == "f32"),
                _ => None,
            };
            if let Some(expected) = expected {
                assert!(report.tensors.iter().all(|tensor| expected(tensor.to)), "{name} to {target}");
            }
        }
    }
    assert_eq!(files(folder.path()), ["m.gguf"]);
}

/// Types of the demo at q4_0, as docs list them: nothing falls back there, since all widths are whole blocks.
#[test]
fn the_policy_and_its_switch() {
    let folder = tempfile::tempdir().unwrap();
    let types = |options: &Options| -> HashMap<String, &str> {
        let report = convert(&checkpoint("demo"), &folder.path().join("m.gguf"), options, &()).unwrap();
        report.tensors.iter().map(|tensor| (tensor.name.clone(), tensor.to)).collect()
    };
    let names = [
        "t.token_embd.weight",
        "t.position_embd.weight",
        "v.patch_embd.weight",
        "v.class_embd",
        "v.blk.0.attn_q.weight",
        "v.blk.0.attn_q.bias",
        "v.blk.4.attn_out.weight",
        "t.blk.2.ffn_up.weight",
        "t.post_ln.weight",
        "visual_projection.weight",
    ];
    let of = |options: Options| {
        let types = types(&options);
        names.map(|name| types[name])
    };
    assert_eq!(of(unchecked(Target::F16)), ["f16", "f16", "f16", "f32", "f16", "f32", "f16", "f16", "f32", "f16"]);
    assert_eq!(of(unchecked(Target::Q8_0)), ["q8_0", "f16", "f16", "f32", "q8_0", "f32", "q8_0", "q8_0", "f32", "q8_0"]);
    assert_eq!(of(unchecked(Target::Q4_0)), ["q8_0", "f16", "f16", "f32", "q4_0", "f32", "q8_0", "q4_0", "f32", "q8_0"]);
    let pure = Options { pure: true, ..unchecked(Target::Q4_0) };
    assert_eq!(of(pure.clone()), ["q4_0", "q4_0", "f16", "f32", "q4_0", "f32", "q4_0", "q4_0", "f32", "q4_0"]);
    let overrides = vec![("attn_q".to_owned(), Target::F32), ("v".to_owned(), Target::F16)];
    assert_eq!(
        of(Options { overrides, ..pure }),
        ["q4_0", "q4_0", "f16", "f32", "f32", "f32", "f16", "q4_0", "f32", "q4_0"],
        "vectors are not asked"
    );
}

#[test]
fn rows_that_are_no_whole_blocks_fall_back_and_the_report_says_why() {
    let folder = tempfile::tempdir().unwrap();
    // Text width 72, image width 64, image MLP 100.
    let report = convert(&checkpoint("odd-f16"), &folder.path().join("m.gguf"), &unchecked(Target::Q4_0), &()).unwrap();
    let of = |name: &str| {
        let tensor = report.tensors.iter().find(|tensor| tensor.name == name).unwrap();
        (tensor.to, tensor.reason.as_deref())
    };
    assert_eq!(of("t.blk.0.attn_q.weight"), ("f16", Some("rows of 72 are no whole blocks of 32")));
    assert_eq!(of("v.blk.0.attn_q.weight"), ("q4_0", None));
    assert_eq!(of("v.blk.0.ffn_down.weight"), ("q4_0", None));
    assert_eq!(of("v.blk.0.ffn_up.weight"), ("f16", Some("rows of 100 are no whole blocks of 32")));
    let table = report.to_string();
    assert!(table.contains("rows of 100 are no whole blocks of 32"), "{table}");
}

/// A line for each tensor with its own numbers, or one for those that went the same way with the worst of theirs.
#[test]
fn the_table_has_every_tensor_if_asked() {
    let copy = Copy::of("odd-f16");
    let report = copy.convert(&unchecked(Target::Q4_0)).unwrap();
    let (groups, each) = (report.to_string(), format!("{report:#}"));
    for tensor in &report.tensors {
        let start = format!("{} ", tensor.name);
        let lines: Vec<&str> = each.lines().filter(|line| line.starts_with(&start)).collect();
        let [line] = lines[..] else { panic!("{} lines of {}", lines.len(), tensor.name) };
        assert!(line.contains(&format!("{:.4} %", 100.0 * tensor.relative_rms)), "{line}");
        assert!(line.contains(&format!("{:.2e}", tensor.max_error)), "{line}");
        assert!(line.contains(tensor.to) && line.ends_with(tensor.reason.as_deref().unwrap_or_default()), "{line}");
        assert!(!groups.contains(&start), "{groups}");
    }
    let mlp = report.tensors.iter().filter(|tensor| (tensor.role, tensor.to) == ("mlp", "q4_0"));
    let (count, worst) = mlp.fold((0, 0f64), |(n, worst), tensor| (n + 1, worst.max(tensor.relative_rms)));
    let line = groups.lines().find(|line| line.starts_with("mlp ") && line.contains("q4_0")).unwrap();
    assert!(line.contains(&format!(" {count} ")) && line.contains(&format!("{:.4} %", 100.0 * worst)), "{line}");
}

#[test]
fn a_name_that_is_no_tensors_is_refused_before_any_work() {
    let copy = Copy::of("odd-f16");
    let options = Options { overrides: vec![("attn_x".to_owned(), Target::F16)], ..unchecked(Target::Q8_0) };
    let message = copy.refusal_of(&options);
    assert!(message.contains("\"attn_x\"") && message.contains("attn_q.weight"), "{message}");
}

#[test]
fn values_beyond_the_range_of_f16_stay_f32() {
    let name = "text_model.encoder.layers.0.self_attn.k_proj.weight";
    let copy = Copy::of("odd-ids").tensor(name, |raw| raw.set(3, 70_000.0));
    let report = copy.convert(&unchecked(Target::F16)).unwrap();
    let tensor = report.tensors.iter().find(|tensor| tensor.source_name == name).unwrap();
    assert_eq!((tensor.to, tensor.max_error), ("f32", 0.0));
    assert_eq!(tensor.reason.as_deref(), Some("values up to 7e4 are beyond the range of f16"));
}

#[test]
fn the_check_finds_f32_equal_and_the_rest_within_its_promise() {
    let folder = tempfile::tempdir().unwrap();
    for (name, target, floor) in [
        // Both sides are computed by the same kernels from the same values.
        ("odd-sharded", Target::F32, 1.0 - 1e-12),
        ("odd-bf16", Target::F32, 1.0 - 1e-12),
        ("odd-legacy", Target::F32, 1.0 - 1e-12),
        ("demo", Target::F32, 1.0 - 1e-12),
        ("demo", Target::F16, 1.0 - 1e-12),
        ("demo", Target::Q8_0, 0.9995),
        ("demo", Target::Q4_0, 0.98),
    ] {
        let report = convert(&checkpoint(name), &folder.path().join("m.gguf"), &to(target), &()).unwrap();
        let check = report.check.as_ref().unwrap();
        for (cosines, count) in [(check.image.as_ref().unwrap(), 8), (check.text.as_ref().unwrap(), 16)] {
            assert!(cosines.min >= floor, "{name} to {target}: {cosines:?}");
            assert_eq!(cosines.probes.len(), count);
            let all = cosines.probes.iter().map(|probe| probe.cosine);
            assert_eq!(cosines.min, all.clone().fold(2.0, f64::min));
            assert!((cosines.mean - all.sum::<f64>() / count as f64).abs() < 1e-15);
        }
        if target == Target::Q4_0 {
            assert!(
                check.worst().unwrap().cosine < 0.9999,
                "four bits cannot be that close: the check compares a file with itself"
            );
        }
        let json: Value = serde_json::to_value(&report).unwrap();
        assert_eq!(json["check"]["text"]["probes"].as_array().unwrap().len(), 16);
        assert_eq!(json["target"], target.to_string());
    }
}

#[test]
fn a_cosine_below_the_required_one_leaves_no_file() {
    let copy = Copy::of("demo");
    fs::write(copy.output(), "older").unwrap();
    let options = Options { min_cosine: Some(0.99999), check: false, ..to(Target::Q4_0) };
    match copy.convert(&options) {
        Err(error @ Error::Cosine { .. }) => {
            let message = error.to_string();
            assert!(message.contains("less than the 0.9999"), "{message}");
            let Error::Cosine { report, cosine, required, probe } = error else { unreachable!() };
            let worst = report.check.as_ref().unwrap().worst().unwrap();
            assert_eq!((worst.cosine, &worst.input), (cosine, &probe));
            assert!(cosine < required);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(fs::read(copy.output()).unwrap(), b"older");
    assert_eq!(files(&copy.out()), ["m.gguf"]);
    copy.convert(&Options { min_cosine: Some(0.98), ..options }).unwrap();
    assert!(File::open(copy.output()).is_ok());
}

/// Says stop when it is asked for the `at`th time.
struct StopAt {
    at: usize,
    asked: AtomicUsize,
}

impl Progress for StopAt {
    fn begin(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {}
    fn interrupted(&self) -> bool {
        self.asked.fetch_add(1, Relaxed) >= self.at
    }
}

#[test]
fn an_interrupt_at_any_time_leaves_the_folder_as_it_was() {
    let copy = Copy::of("odd-wide");
    fs::write(copy.output(), "older").unwrap();
    let mut interrupted = 0;
    for at in (0..).step_by(4) {
        let progress = StopAt { at, asked: AtomicUsize::new(0) };
        match convert(&copy.path(), &copy.output(), &to(Target::Q8_0), &progress) {
            Err(Error::Interrupted) => interrupted += 1,
            Ok(_) => break,
            Err(error) => panic!("{error}"),
        }
        assert_eq!(files(&copy.out()), ["m.gguf"], "interrupted at {at}");
        assert_eq!(fs::read(copy.output()).unwrap(), b"older", "interrupted at {at}");
    }
    // Every tensor is asked about twice, and then every piece of the check.
    assert!(interrupted > 25, "{interrupted}");
}

#[derive(Default)]
struct Steps {
    begun: Mutex<Vec<(String, u64)>>,
    done: AtomicU64,
}

impl Progress for Steps {
    fn begin(&self, step: &str, total: u64) {
        let mut begun = self.begun.lock().unwrap();
        assert_eq!(
            self.done.swap(0, Relaxed),
            begun.last().map_or(0, |step| step.1),
            "the step before {step} was left unfinished"
        );
        begun.push((step.to_owned(), total));
    }
    fn advance(&self, n: u64) {
        self.done.fetch_add(n, Relaxed);
    }
}

#[test]
fn progress_adds_up() {
    let copy = Copy::of("odd-bf16");
    let steps = Steps::default();
    convert(&copy.path(), &copy.output(), &to(Target::Q8_0), &steps).unwrap();
    let begun = steps.begun.into_inner().unwrap();
    assert_eq!(begun.iter().map(|step| step.0.as_str()).collect::<Vec<_>>(), ["reading", "writing", "checking"]);
    assert_eq!(steps.done.into_inner(), begun[2].1);
    // Source and result; embedding, blocks and head; one block of the image encoder and four of the text encoder.
    assert_eq!(begun[2].1, 2 * (3 + 6));
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let copy = Copy::of("demo");
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let report = pool.install(|| copy.convert(&to(Target::Q4_0))).unwrap();
        (Report { seconds: 0.0, ..report }, fs::read(copy.output()).unwrap())
    };
    let (report, bytes) = run(1);
    let (other, other_bytes) = run(3);
    assert!(bytes == other_bytes);
    // The source side of the check is computed by `gemm`, whose last bits depend on the split.
    assert_eq!(report.tensors, other.tensors);
    assert_eq!(report.content_id, other.content_id);
}

#[test]
fn every_spelling_of_a_folder_means_the_same() {
    let original = Copy::of("odd-f16").content_id();
    let same = |what: &str, copy: Copy| assert_eq!(copy.content_id(), original, "{what}");
    for pairs in [false, true] {
        let copy = Copy::of("odd-f16");
        let merges = fs::read_to_string(copy.file("merges.txt")).unwrap();
        let merges: Vec<Value> = merges
            .lines()
            .skip(1)
            .map(|line| if pairs { json!(line.split(' ').collect::<Vec<_>>()) } else { json!(line) })
            .collect();
        // The special tokens stand in `added_tokens` only.
        let mut vocab = copy.json("vocab.json");
        let specials = ["<|startoftext|>", "<|endoftext|>"].map(|token| {
            let id = vocab.as_object_mut().unwrap().remove(token).unwrap();
            json!({"id": id, "content": token, "special": true})
        });
        let tokenizer =
            json!({"version": "1.0", "added_tokens": specials, "model": {"type": "BPE", "vocab": vocab, "merges": merges}});
        same("tokenizer.json", copy.remove("vocab.json").remove("merges.txt").write("tokenizer.json", tokenizer.to_string()));
    }
    same("no tokenizer_config.json", Copy::of("odd-f16").remove("tokenizer_config.json"));
    same(
        "tokens as objects",
        Copy::of("odd-f16").edit("tokenizer_config.json", |config| config["eos_token"] = json!({"content": "<|endoftext|>"})),
    );
    same(
        "old preprocessor_config.json",
        Copy::of("odd-f16").edit("preprocessor_config.json", |config| {
            *config = json!({"size": 98, "crop_size": 98, "resample": 3, "do_center_crop": true, "do_normalize": true, "do_resize": true,
                "image_mean": config["image_mean"], "image_std": config["image_std"]});
        }),
    );
    same(
        "processor_config.json",
        Copy::of("odd-f16")
            .edit("preprocessor_config.json", |config| *config = json!({"image_processor": config}))
            .rename("preprocessor_config.json", "processor_config.json"),
    );
    same(
        "defaults left out",
        Copy::of("odd-f16").config(|config| {
            for (section, keys) in [
                ("text_config", ["layer_norm_eps", "max_position_embeddings", "bos_token_id", "pad_token_id"]),
                ("vision_config", ["layer_norm_eps", "num_channels", "projection_dim", "attention_dropout"]),
            ] {
                keys.iter().for_each(|key| assert!(config[section].as_object_mut().unwrap().remove(*key).is_some(), "{key}"));
            }
        }),
    );
    same(
        "old *_config_dict wins",
        Copy::of("odd-f16").config(|config| {
            config["text_config_dict"] = config["text_config"].take();
            config["text_config"] = json!({"hidden_size": 9999, "eos_token_id": 2});
            config["vision_config_dict"] = Value::Null;
        }),
    );
    same(
        "sizes as pairs",
        Copy::of("odd-f16").config(|config| {
            config["vision_config"]["image_size"] = json!([98, 98]);
            config["vision_config"]["patch_size"] = json!([14, 14]);
        }),
    );
    same(
        "names under model.",
        Copy::of("odd-f16").tensors(|all| all.iter_mut().for_each(|raw| raw.name = format!("model.{}", raw.name))),
    );
    same(
        "logit_scale [1]",
        Copy::of("odd-f16")
            .tensors(|all| all.iter_mut().filter(|raw| raw.name == "logit_scale").for_each(|raw| raw.shape = vec![1])),
    );
    same("pytorch_model.bin beside it", Copy::of("odd-f16").write("pytorch_model.bin", "not looked at"));
}

impl Copy {
    fn rename(self, from: &str, to: &str) -> Self {
        fs::rename(self.file(from), self.file(to)).unwrap();
        self
    }
}

#[test]
fn an_index_is_followed_and_its_files_hashed_in_the_order_of_their_names() {
    let copy = Copy::of("odd-sharded");
    let sharded = copy.convert(&unchecked(Target::F32)).unwrap();
    assert_eq!(sharded.source.files.len(), 3);
    // As one file.
    let mut all: Vec<Raw> = sharded.source.files.iter().flat_map(|file| read_tensors(&copy.file(file))).collect();
    let one = Copy::of("odd-sharded");
    fs::copy(copy.file(&sharded.source.files[0]), one.file("model.safetensors")).unwrap();
    let one = one.tensors(|tensors| {
        tensors.clear();
        tensors.append(&mut all);
    });
    let one = one.convert(&unchecked(Target::F32)).unwrap();
    assert_eq!(one.source.files, ["model.safetensors"], "a single file wins over an index");
    assert_eq!(one.content_id, sharded.content_id);
}

#[test]
fn preprocessing_is_what_the_folder_says() {
    let spec = |copy: &Copy, options: &Options| {
        let report = copy.convert(options).unwrap();
        let config = schema::from_file(&File::open(copy.output()).unwrap()).unwrap();
        (config.image.unwrap().preprocessing, report.warnings)
    };
    let options = unchecked(Target::F16);
    let (own, warnings) = spec(&Copy::of("odd-sharded"), &options);
    assert_eq!((own.mean, own.std, own.size), ([0.5, 0.45, 0.4], [0.5, 0.25, 0.3], 32));
    assert_eq!(own.crop, CropRule::RoundHalfEven);
    assert!(warnings.is_empty());

    let (floor, _) = spec(&Copy::of("odd-sharded"), &Options { crop: CropRule::Floor, ..options.clone() });
    assert_eq!(floor.crop, CropRule::Floor);

    let (assumed, warnings) = spec(&Copy::of("odd-sharded").remove("preprocessor_config.json"), &options);
    assert_eq!(assumed, edgeclip_preprocess::Spec::openai(32));
    assert!(warnings.len() == 1 && warnings[0].contains("no preprocessor_config.json"), "{warnings:?}");

    let squash = Copy::of("odd-sharded").edit("preprocessor_config.json", |config| {
        config["size"] = json!({"height": 32, "width": 32});
        config["do_center_crop"] = json!(false);
        config["do_normalize"] = json!(false);
        config["resample"] = json!(2);
    });
    let (squash, _) = spec(&squash, &options);
    assert_eq!(squash.resize, edgeclip_preprocess::Resize::Squash);
    assert_eq!(squash.filter, edgeclip_preprocess::Filter::Bilinear);
    assert_eq!((squash.mean, squash.std), ([0.0; 3], [1.0; 3]));
}

#[test]
fn the_file_carries_name_tokens_and_pooling() {
    let copy = Copy::of("odd-ids");
    copy.convert(&Options { name: Some("my model".into()), ..unchecked(Target::F16) }).unwrap();
    let file = File::open(copy.output()).unwrap();
    assert_eq!(file.require::<&str>(schema::keys::NAME).unwrap(), "my model");
    // This vocabulary has them the other way round.
    assert_eq!(file.require::<u32>(schema::keys::START).unwrap(), 613);
    assert_eq!(file.require::<u32>(schema::keys::END).unwrap(), 612);
    assert_eq!(file.require::<u32>(schema::keys::PAD).unwrap(), 0);
    assert_eq!(file.require::<&str>(schema::keys::TEXT_POOLING).unwrap(), "end");
    assert_eq!(file.require::<&edgeclip_gguf::Strings>(schema::keys::TOKENS).unwrap().len(), 614);
    assert!(file.tensors().iter().any(|info| info.ty == TensorType::F16));

    let legacy = Copy::of("odd-legacy");
    legacy.convert(&unchecked(Target::F16)).unwrap();
    let file = File::open(legacy.output()).unwrap();
    assert_eq!(file.require::<&str>(schema::keys::TEXT_POOLING).unwrap(), "argmax");
    assert_eq!(file.require::<u32>(schema::keys::START).unwrap(), 612, "config.json says 0 there");
    assert_eq!(file.require::<&str>(schema::keys::NAME).unwrap(), "model", "the folder's name");
}
