//! `edgeclip convert`: a checkpoint to a GGUF file.

use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use edgeclip::Tower;
use edgeclip_convert::{CropRule, Error, Options, Progress, Report, Target};
use serde::Serialize;

use crate::{
    console::{Bar, Console, Failed, Interrupted},
    interrupt::{self, Temporary},
    names,
    output::sink::{Sink, behind_links},
};

/// Convert a checkpoint to one GGUF file, quantized if asked, and check it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgeclip convert path/to/clip-vit-base-patch32                       # writes clip-vit-base-patch32-q8_0.gguf here
  edgeclip convert path/to/clip-vit-base-patch32 --type q4_0 --output b32.gguf --report b32.json
  edgeclip convert path/to/clip-vit-base-patch32 --type q4_0 --min-cosine 0.98
  edgeclip convert ViT-B-32.pt                                         # as OpenAI publishes it
  edgeclip convert my_model.pt --arch ViT-B-32                         # a state dict of open_clip
  edgeclip convert ViT-L-14.pt --tower text --type q8_0
  edgeclip convert path/to/clip-vit-base-patch32 --target-cosine 0.999 # the smallest mix of types that is so close
  edgeclip convert path/to/clip-vit-base-patch32 --analyze             # what each matrix costs in each type; writes no model

Types: f32 is exact; f16 half its size; q8_0 little more than a quarter, hardly to be told from f32; q4_0 under a fifth.
The check runs 8 pictures and 16 sentences through checkpoint and file, and prints the cosines between their vectors.
Nothing appears under the output's name before all of it is written and checked; an interrupt leaves no file.")]
pub(crate) struct ConvertArgs {
    /// The checkpoint: a folder of transformers or open_clip, or a file (safetensors, .bin, .pt, TorchScript, GGUF), or the name of a model as
    /// `edgeclip models` lists them, which is downloaded if it is in no cache
    #[arg(value_name = "CHECKPOINT")]
    input: PathBuf,
    /// The file to write; an older GGUF file there is replaced [default: CHECKPOINT's name, a dash and the type, .gguf, here]
    #[arg(long, short, value_name = "FILE", help_heading = "Output")]
    output: Option<PathBuf>,
    /// Type of the large matrices: f32, f16, bf16, q8_0, q6_k, q5_1, q5_0, q4_1, q4_k or q4_0, largest first
    #[arg(long = "type", value_name = "TYPE", default_value = "q8_0", value_parser = target, help_heading = "Output")]
    target: Target,
    /// Give every matrix the type asked for; without it, a few for which that costs most accuracy keep more bits
    #[arg(long, help_heading = "Output")]
    pure: bool,
    /// Type of the matrices of this name, whatever --type and the policy say; NAME is a tensor's in the file or some of its parts between
    /// the dots, such as v.blk.0.attn_q.weight, v.blk.0 or attn_q; repeatable, the first that fits counts
    #[arg(long = "tensor-type", value_name = "NAME=TYPE", value_parser = tensor_type, help_heading = "Output")]
    overrides: Vec<(String, Target)>,
    /// Instead of one type the smallest mix of types, from f16 to 4 bits, in which no vector of the check has a lower cosine than this; takes
    /// as long as --analyze, and some trials
    #[arg(long, value_name = "X", value_parser = cosine, conflicts_with_all = ["target", "pure", "no_check"], help_heading = "Output")]
    target_cosine: Option<f32>,
    /// How the middle of a picture is cut out: as OpenAI's code rounds (reference), or as transformers does
    #[arg(long, value_enum, default_value_t = Crop::Openai, help_heading = "Output")]
    crop: Crop,
    /// Name of the model in the file [default: the checkpoint's]
    #[arg(long, help_heading = "Output")]
    name: Option<String>,
    /// Only this encoder
    #[arg(long, value_enum, help_heading = "Output")]
    tower: Option<OneTower>,
    /// Take ggml's simple rule for the scales of blocks instead of searching for those with the least error
    #[arg(long, help_heading = "Output")]
    fast_quantize: bool,
    /// Write a file that another program loads too
    #[arg(long, value_enum, value_name = "PROGRAM", help_heading = "Output")]
    compat: Option<Compat>,
    /// Architecture of weights that come without a configuration: open_clip's name of it, such as ViT-B-32, or openai for a state dict of
    /// OpenAI's own classes
    #[arg(long, value_name = "NAME", help_heading = "Input")]
    arch: Option<String>,
    /// Write no model, but list what each matrix alone costs in each type, dearest first: minutes for a ViT-B/32
    #[arg(long, conflicts_with_all = ["output", "target", "pure", "compat", "target_cosine", "min_cosine", "no_check", "tensors"], help_heading = "Check")]
    analyze: bool,
    /// List every tensor with its own errors; without it, those that went the same way share a line
    #[arg(long, help_heading = "Check")]
    tensors: bool,
    /// Write everything about the conversion to this file as JSON; an older .json file there is replaced, no other
    #[arg(long, value_name = "FILE", help_heading = "Check")]
    report: Option<PathBuf>,
    /// Fail (exit code 1, no file) if a vector of the check has a lower cosine than this
    #[arg(long, value_name = "X", value_parser = cosine, conflicts_with = "no_check", help_heading = "Check")]
    min_cosine: Option<f32>,
    /// Do not check the result
    #[arg(long, help_heading = "Check")]
    no_check: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Crop {
    Openai,
    Hf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OneTower {
    Image,
    Text,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Compat {
    #[value(name = "clip.cpp")]
    ClipCpp,
}

pub(crate) fn target(text: &str) -> Result<Target, String> {
    text.parse().map_err(|_| format!("expected {}", Target::ALL.map(|target| target.to_string()).join(", ")))
}

fn tensor_type(text: &str) -> Result<(String, Target), String> {
    match text.rsplit_once('=') {
        Some((name, ty)) if !name.is_empty() => Ok((name.to_owned(), target(ty)?)),
        _ => Err("expected NAME=TYPE, such as attn_q=f16".to_owned()),
    }
}

fn cosine(text: &str) -> Result<f32, String> {
    text.parse().ok().filter(|x| (-1.0..=1.0).contains(x)).ok_or_else(|| "expected a number from -1 to 1".to_owned())
}

/// Runs the command.
pub(crate) fn run(args: ConvertArgs, console: &Console) -> Result<()> {
    let source = names::source(&args.input, console)?;
    let ty = if args.target_cosine.is_some() { "mix".to_owned() } else { args.target.to_string() };
    let output = match (&args.output, &source.name) {
        (Some(output), _) => output.clone(),
        (None, Some(name)) => PathBuf::from(format!("{}-{ty}.gguf", names::stem(name))),
        (None, None) => default_output(&source.path, &ty)?,
    };
    // What is written to a link goes behind it.
    let output = behind_links(&output).with_context(|| format!("{}: cannot follow it", output.display()))?;
    if !args.analyze {
        check_output(&output)?;
    }
    let mut report_sink = match &args.report {
        Some(report) => {
            check_report(report, &source.path, &output)?;
            // Opened now, so that a report that cannot be written is no surprise after all the work.
            Some(Sink::open(Some(report))?)
        }
        None => None,
    };
    let compute = console.compute()?;
    let options = Options {
        isa: compute.isa,
        groups: compute.groups,
        target: args.target,
        pure: args.pure,
        overrides: args.overrides.clone(),
        check: !args.no_check,
        min_cosine: args.min_cosine,
        target_cosine: args.target_cosine,
        name: args.name.clone().or(source.name),
        crop: match args.crop {
            Crop::Openai => CropRule::RoundHalfEven,
            Crop::Hf => CropRule::Floor,
        },
        tower: args.tower.map(|tower| match tower {
            OneTower::Image => Tower::Image,
            OneTower::Text => Tower::Text,
        }),
        arch: args.arch.clone().or(source.architecture),
        fast_quantize: args.fast_quantize,
        compat: args.compat == Some(Compat::ClipCpp),
    };
    interrupt::watch();
    if args.analyze {
        return match edgeclip_convert::analyze(&source.path, &options, &Steps::new(console)) {
            Ok(analysis) => write(&analysis, &analysis.to_string(), report_sink, console),
            Err(Error::Interrupted) => Err(Interrupted.into()),
            Err(error) => Err(error.into()),
        };
    }
    let result = edgeclip_convert::convert(&source.path, &output, &options, &Steps::new(console));
    let report = match result {
        Ok(report) => report,
        Err(Error::Interrupted) => return Err(Interrupted.into()),
        Err(Error::Cosine { report, probe, cosine, required }) => {
            // The table says which tensors to blame.
            show(&report, &args, report_sink.take(), console)?;
            let error = Error::Cosine { report, probe, cosine, required };
            return Err(Failed(error.to_string()).into());
        }
        Err(error @ Error::TargetCosine { .. }) => return Err(Failed(error.to_string()).into()),
        Err(error) => return Err(error.into()),
    };
    show(&report, &args, report_sink, console)
}

fn show(report: &Report, args: &ConvertArgs, sink: Option<Sink>, console: &Console) -> Result<()> {
    let text = if args.tensors {
        format!("{report:#}")
    } else {
        format!(
            "{report}\nTensors that went the same way share a line; --tensors lists each, --report FILE writes all of this as JSON."
        )
    };
    write(report, &text, sink, console)
}

/// As JSON to the file, if there is one, and as a text for people.
fn write(report: &impl Serialize, text: &str, sink: Option<Sink>, console: &Console) -> Result<()> {
    if let Some(mut sink) = sink {
        sink.write_json(report)?;
        sink.commit()?;
    }
    if !console.quiet() {
        let mut sink = Sink::open(None)?;
        writeln!(sink, "{}", text.trim_end())?;
        sink.commit()?;
    }
    Ok(())
}

/// The checkpoint's name and the type, in the current folder.
fn default_output(input: &Path, ty: &str) -> Result<PathBuf> {
    // `.` and `..` have names too.
    let found = fs::canonicalize(input).with_context(|| {
        format!(
            "{}: no such file or folder; give the path of a checkpoint, or a name that `edgeclip models` lists",
            input.display()
        )
    })?;
    let name = if found.is_dir() { found.file_name() } else { input.file_stem() };
    let Some(name) = name else {
        bail!("{}: no name to call the file by; give --output FILE", input.display());
    };
    Ok(PathBuf::from(format!("{}-{ty}.gguf", name.to_string_lossy())))
}

/// Replaces GGUF files only: so neither the checkpoint nor anything else of value can be overwritten by a slip.
fn check_output(output: &Path) -> Result<()> {
    if output.is_dir() {
        bail!("{0}: this is a folder; give --output a file name in it, such as {0}/model.gguf", output.display());
    }
    let Ok(file) = fs::File::open(output) else { return Ok(()) };
    let mut start = Vec::new();
    file.take(4).read_to_end(&mut start).with_context(|| format!("{}: cannot read it", output.display()))?;
    if !start.is_empty() && start != b"GGUF" {
        bail!(
            "{}: there is a file that is no GGUF file, which will not be overwritten; remove it or take another name",
            output.display()
        );
    }
    Ok(())
}

/// Refuses a report in the place of anything of value: the output, the checkpoint, or a file that is no report.
fn check_report(report: &Path, input: &Path, output: &Path) -> Result<()> {
    let shown = report.display();
    if report.is_dir() {
        bail!("{shown}: this is a folder; give --report a file name in it, such as {shown}/report.json");
    }
    let place = place(report);
    if place == self::place(output) {
        bail!("{shown}: the report would overwrite the output; give --report another name");
    }
    // Its files may be links to others, as in the cache of Hugging Face.
    let entries = fs::read_dir(input).into_iter().flatten().flatten();
    let in_checkpoint = fs::canonicalize(input).is_ok_and(|folder| place.starts_with(folder));
    if in_checkpoint || entries.into_iter().any(|entry| self::place(&entry.path()) == place) {
        bail!(
            "{shown}: this is in the checkpoint, where nothing is written; give --report a place outside of {}",
            input.display()
        );
    }
    let is_json = place.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    match fs::metadata(&place) {
        Ok(found) if found.is_file() && found.len() > 0 && !is_json => {
            bail!("{shown}: there is a file that is no .json file, which will not be overwritten; remove it or take another name")
        }
        _ => Ok(()),
    }
}

/// Where a path leads, without links, whether there is a file or not.
fn place(path: &Path) -> PathBuf {
    let path = behind_links(path).unwrap_or_else(|_| path.to_owned());
    fs::canonicalize(&path).unwrap_or_else(|_| {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
        folder.join(path.file_name().unwrap_or_default())
    })
}

/// The conversion's steps as progress bars.
pub(crate) struct Steps<'a> {
    console: &'a Console,
    bar: Mutex<Option<Bar<'a>>>,
    /// The result under its first name, for an interrupt that cannot wait.
    temporary: Mutex<Option<Temporary>>,
}

impl<'a> Steps<'a> {
    pub(crate) fn new(console: &'a Console) -> Self {
        Self { console, bar: Mutex::new(None), temporary: Mutex::new(None) }
    }
}

impl Progress for Steps<'_> {
    fn begin(&self, step: &str, total: u64) {
        let mut bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        // The old one goes before the new one comes.
        *bar = None;
        *bar = Some(self.console.bar(step, total));
    }

    fn advance(&self, n: u64) {
        if let Some(bar) = &*self.bar.lock().unwrap_or_else(PoisonError::into_inner) {
            bar.advance(n);
        }
    }

    fn temporary(&self, path: &Path) {
        *self.temporary.lock().unwrap_or_else(PoisonError::into_inner) = Some(Temporary::new(path.to_owned()));
    }

    fn interrupted(&self) -> bool {
        interrupt::interrupted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_gguf_files_are_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        check_output(&path).unwrap();
        fs::write(&path, "").unwrap();
        check_output(&path).unwrap();
        fs::write(&path, "GGUF and more").unwrap();
        check_output(&path).unwrap();
        fs::write(&path, "GGU").unwrap();
        assert!(check_output(&path).unwrap_err().to_string().contains("will not be overwritten"));
        assert!(check_output(folder.path()).unwrap_err().to_string().contains("this is a folder"));
    }

    #[test]
    fn the_default_name_says_model_and_type() {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("clip-b32");
        fs::create_dir_all(input.join("x")).unwrap();
        assert_eq!(default_output(&input.join("x/.."), "q8_0").unwrap(), Path::new("clip-b32-q8_0.gguf"));
        assert!(default_output(&folder.path().join("none"), "f32").unwrap_err().to_string().contains(": no such file or folder"));
    }

    #[test]
    fn arguments_are_checked() {
        assert_eq!(target("q4_0"), Ok(Target::Q4_0));
        assert_eq!(target("q5_k").unwrap_err(), "expected f32, f16, bf16, q8_0, q6_k, q5_1, q5_0, q4_1, q4_k, q4_0");
        assert_eq!(cosine("0.98"), Ok(0.98));
        assert_eq!(tensor_type("attn_q=f16"), Ok(("attn_q".to_owned(), Target::F16)));
        for bad in ["attn_q", "=f16", "attn_q=", "attn_q=q9"] {
            assert!(tensor_type(bad).is_err(), "{bad}");
        }
        for bad in ["2", "NaN", "x"] {
            assert!(cosine(bad).is_err(), "{bad}");
        }
    }
}
