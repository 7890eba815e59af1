//! Runs the program and reads what the reference says.

use std::{
    collections::HashMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
};

use edgeclip_gguf::{File, Metadata, TensorInfo, TensorSpec, TensorType, Writer};
use edgeclip_model::schema::keys;
use safetensors::SafeTensors;
use serde_json::Value;

/// The repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A demo picture by name.
pub(crate) fn picture(name: &str) -> String {
    root().join(format!("models/demo/pictures/{name}.png")).display().to_string()
}

/// An empty folder of this test's own, in cargo's folder for such things.
pub(crate) fn scratch(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli").join(test);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// The names of what is in a folder, sorted.
pub(crate) fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// A checkpoint, converted once for the whole test binary.
fn converted(slot: &'static OnceLock<String>, checkpoint: &str, target: &str) -> &'static str {
    slot.get_or_init(|| {
        let output = scratch(&format!("{}-{target}", checkpoint.replace('/', "-"))).join("model.gguf").display().to_string();
        let input = root().join(checkpoint).display().to_string();
        edgeclip(&["convert", &input, "--type", target, "--output", &output, "--no-check", "--quiet"]).ok();
        output
    })
}

pub(crate) fn demo_f32() -> &'static str {
    static FILE: OnceLock<String> = OnceLock::new();
    converted(&FILE, "models/demo", "f32")
}

pub(crate) fn demo_q8_0() -> &'static str {
    static FILE: OnceLock<String> = OnceLock::new();
    converted(&FILE, "models/demo", "q8_0")
}

/// A small file, for tests that make many of it.
pub(crate) fn small() -> &'static str {
    static FILE: OnceLock<String> = OnceLock::new();
    converted(&FILE, "tests/data/odd-wide", "q8_0")
}

/// A copy of a model with the bytes of some values of an f32 tensor, by their places, replaced.
pub(crate) fn with_values(model: &str, tensor: &str, values: &[(usize, f32)], copy: &Path) -> String {
    let file = File::open(model).unwrap();
    let info = file.tensor(tensor).unwrap();
    assert_eq!(info.ty, TensorType::F32);
    let mut bytes = fs::read(model).unwrap();
    for (index, value) in values {
        let at = (file.data_start() + info.offset) as usize + 4 * index;
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    fs::write(copy, bytes).unwrap();
    copy.display().to_string()
}

/// A copy of a model without its image or text encoder.
pub(crate) fn without(tower: &str, model: &str, copy: &Path) -> String {
    let (key, prefix, projection) = match tower {
        "image" => (keys::HAS_IMAGE, "v.", "visual_projection."),
        "text" => (keys::HAS_TEXT, "t.", "text_projection."),
        other => panic!("{other}"),
    };
    let is_kept = |info: &TensorInfo| !info.name.starts_with(prefix) && !info.name.starts_with(projection);
    rewritten(model, copy, |metadata| drop(metadata.insert(key, false)), is_kept)
}

/// A copy of a model with other keys, and with some of its tensors. The content id stays as it was, whether it fits or not.
pub(crate) fn rewritten(
    model: &str,
    copy: &Path,
    change: impl FnOnce(&mut Metadata),
    is_kept: impl Fn(&TensorInfo) -> bool,
) -> String {
    let file = File::open(model).unwrap();
    let mut metadata = file.metadata().clone();
    change(&mut metadata);
    let kept: Vec<&TensorInfo> = file.tensors().iter().filter(|info| is_kept(info)).collect();
    let specs: Vec<TensorSpec> = kept.iter().map(|info| TensorSpec::new(&*info.name, &*info.dims, info.ty)).collect();
    let mut writer = Writer::create(copy, &metadata, &specs).unwrap();
    kept.iter().for_each(|info| writer.write(&file.data(info).unwrap()).unwrap());
    writer.finish().unwrap();
    copy.display().to_string()
}

/// Sends signals to a running program.
#[cfg(unix)]
pub(crate) fn signal(process: u32, signals: &[&str]) {
    let line: String = signals.iter().map(|signal| format!("kill -{signal} {process};")).collect();
    assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success(), "the program ended too early");
}

/// The program, run as this test is: under emulation cargo is told by what (`cargo xtask aarch64`).
pub(crate) fn program() -> Command {
    let program = env!("CARGO_BIN_EXE_edgeclip");
    match std::env::var_os("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER") {
        Some(runner) if cfg!(target_arch = "aarch64") => {
            let mut command = Command::new(runner);
            command.arg(program);
            command
        }
        _ => Command::new(program),
    }
}

/// The program with arguments, without what the caller's environment has: neither a model, nor caches, nor the network.
pub(crate) fn edgeclip(arguments: &[&str]) -> Program {
    let mut command = program();
    let is_steering = |name: &str| {
        let prefixes = ["EDGECLIP_", "HF_", "HUGGING", "TRANSFORMERS_", "XDG_CACHE_HOME", "SSL_CERT", "REQUESTS_CA"];
        prefixes.iter().any(|prefix| name.starts_with(prefix)) || name.to_ascii_lowercase().ends_with("_proxy")
    };
    for (name, _) in std::env::vars_os() {
        if is_steering(&name.to_string_lossy()) {
            command.env_remove(name);
        }
    }
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli/no-home");
    command.args(arguments).env("HOME", home).env("HF_HUB_OFFLINE", "1").stdin(Stdio::null());
    Program { command, input: None }
}

/// About to run.
pub(crate) struct Program {
    pub(crate) command: Command,
    input: Option<Vec<u8>>,
}

impl Program {
    pub(crate) fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self
    }

    pub(crate) fn env(mut self, key: &str, value: &str) -> Self {
        self.command.env(key, value);
        self
    }

    pub(crate) fn folder(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Runs it to the end. A panic is a failure of the test, whatever is expected.
    #[track_caller]
    pub(crate) fn run(mut self) -> Done {
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if self.input.is_some() {
            self.command.stdin(Stdio::piped());
        }
        let mut child = self.command.spawn().unwrap();
        let feeder = self.input.map(|input| {
            let mut stdin = child.stdin.take().unwrap();
            // The program may end before it has read everything.
            std::thread::spawn(move || drop(stdin.write_all(&input)))
        });
        let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
        if let Some(feeder) = feeder {
            feeder.join().unwrap();
        }
        let stderr = String::from_utf8(stderr).unwrap();
        assert!(!stderr.contains("panicked"), "{stderr}");
        Done { code: status.code(), stdout, stderr }
    }

    /// Runs it; it has to succeed and say nothing. Gives standard output.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        let done = self.run();
        assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""));
        String::from_utf8(done.stdout).unwrap()
    }

    /// Runs it; it has to fail with this code, print nothing and say one line. Gives that line without its `error: `.
    #[track_caller]
    pub(crate) fn refused(self, code: i32) -> String {
        let done = self.run();
        assert_eq!((done.code, done.text()), (Some(code), String::new()), "{}", done.stderr);
        let message = done.stderr.strip_prefix("error: ").and_then(|message| message.strip_suffix('\n'));
        let message = message.unwrap_or_else(|| panic!("expected `error: ...`, found {:?}", done.stderr));
        assert!(!message.contains('\n'), "more than a line: {message}");
        message.to_owned()
    }
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Done {
    /// `None` if a signal killed it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Done {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// One JSON value a line.
pub(crate) fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A vector as the bits of its numbers, read from the digits that were printed.
pub(crate) fn bits(embedding: &Value) -> Vec<u32> {
    embedding.as_array().unwrap().iter().map(|v| v.to_string().parse::<f32>().unwrap().to_bits()).collect()
}

pub(crate) fn floats(embedding: &Value) -> Vec<f32> {
    bits(embedding).into_iter().map(f32::from_bits).collect()
}

pub(crate) fn normalized(vector: &[f32]) -> Vec<f64> {
    let norm = vector.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    vector.iter().map(|v| f64::from(*v) / norm).collect()
}

pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// What the reference makes of the demo; `tools/make_goldens.py` wrote it.
pub(crate) struct Golden {
    pub(crate) facts: Value,
    tensors: HashMap<String, (usize, Vec<f32>)>,
}

impl Golden {
    pub(crate) fn demo() -> Self {
        let folder = root().join("tests/data/golden");
        let facts = serde_json::from_slice(&fs::read(folder.join("demo.json")).unwrap()).unwrap();
        let bytes = fs::read(folder.join("demo.safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let values = |bytes: &[u8]| bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        let tensors = tensors.iter().map(|(name, t)| (name.to_owned(), (t.shape()[1], values(t.data())))).collect();
        Self { facts, tensors }
    }

    /// Row `i` of a tensor.
    pub(crate) fn row(&self, tensor: &str, i: usize) -> &[f32] {
        let (columns, values) = &self.tensors[tensor];
        &values[i * columns..][..*columns]
    }

    /// Paths of the pictures.
    pub(crate) fn pictures(&self) -> Vec<String> {
        let paths = self.facts["pictures"].as_array().unwrap().iter();
        paths.map(|path| root().join(path.as_str().unwrap()).display().to_string()).collect()
    }

    pub(crate) fn texts(&self) -> Vec<String> {
        self.facts["texts"].as_array().unwrap().iter().map(|text| text["text"].as_str().unwrap().to_owned()).collect()
    }

    /// The names in the first 16 texts, the prompts of the 16 pictures in order.
    pub(crate) fn names(&self) -> Vec<String> {
        let name = |text: &String| text.strip_prefix("an emoji of a ").unwrap().to_owned();
        self.texts()[..16].iter().map(name).collect()
    }

    /// For each query the rank of its partner, of equal scores the first wins; queries are the rows of the logits, or their columns.
    pub(crate) fn ranks(&self, pictures_ask: bool) -> Vec<usize> {
        let score = |query: usize, candidate: usize| {
            let (picture, text) = if pictures_ask { (query, candidate) } else { (candidate, query) };
            self.row("logits_per_image", picture)[text]
        };
        let before = |query: usize, other: usize| {
            let (own, theirs) = (score(query, query), score(query, other));
            theirs > own || (theirs == own && other < query)
        };
        (0..16).map(|query| (0..16).filter(|&other| before(query, other)).count()).collect()
    }
}
