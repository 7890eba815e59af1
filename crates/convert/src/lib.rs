//! Checkpoints to GGUF: read a checkpoint of transformers, OpenAI or open_clip, choose a type for each tensor, write, and check the result
//! against the source.
//!
//! ```no_run
//! use edgeclip_convert::{Options, Target, convert};
//!
//! let options = Options { target: Target::Q8_0, min_cosine: Some(0.999), ..Options::default() };
//! let report = convert("clip-vit-base-patch32".as_ref(), "b32-q8_0.gguf".as_ref(), &options, &())?;
//! println!("{report}");
//! # Ok::<(), edgeclip_convert::Error>(())
//! ```
//!
//! Weights are read from maps in two passes, of a few MiB at a time: the first looks at every value and hashes the files, the second
//! writes. Nothing appears under the output's name before the file is whole and has passed the check.
#![forbid(unsafe_code)]

mod analysis;
mod check;
mod checkpoint;
mod compat;
mod error;
mod mix;
mod policy;
mod probes;
mod report;
mod sensitivity;
mod stream;
mod target;

use std::{collections::HashMap, path::Path, time::Instant};

use edgeclip_gguf::{File, Metadata};
use edgeclip_model::{
    Format, GgufWeights, Groups, Isa, Tower,
    equalize::{Equalization, Equalized},
    schema::{self, Role, TensorSpec, keys},
};
pub use edgeclip_preprocess::CropRule;

pub use crate::{
    analysis::{Analysis, MatrixReport, TypeReport, analyze},
    check::{Check, Cosines, Probe},
    error::{DescribedBy, Error},
    mix::MixReport,
    report::{OutlierReport, Report, SourceReport, TensorReport},
    target::Target,
};
use crate::{
    checkpoint::{Checkpoint, SourceTensor},
    policy::Choice,
    probes::Encoder,
    stream::Written,
};

/// Counts up whenever the same checkpoint and options give other bytes than before: for caches of converted files.
pub const REVISION: u32 = 2;

/// How to convert.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The type of matrices. Default q8_0.
    pub target: Target,
    /// Every matrix in that type, even those that the policy keeps in more bits.
    pub pure: bool,
    /// Types for single matrices: the first pair that names a tensor wins over policy and `pure`. A name is one of the file or some of
    /// its parts between the dots, in a row: `v.blk.0.attn_q.weight`, `v.blk.1` (not `v.blk.10`), `attn_q`. Vectors are not asked.
    pub overrides: Vec<(String, Target)>,
    /// Whether to compare result and source on the probes. Default true.
    pub check: bool,
    /// Write no file if a probe's cosine is below this. Asks for the check.
    pub min_cosine: Option<f32>,
    /// The smallest mix of types in which no probe's cosine is below this, in either encoder, instead of `target` and the policy; types of
    /// `overrides` stay. Asks for the check. Default: none.
    pub target_cosine: Option<f32>,
    /// `general.name` of the file. Default: the name of the folder or file.
    pub name: Option<String>,
    /// Where an odd pixel goes when the middle is cut out. Default: OpenAI's rule, which every family is trained with; transformers'
    /// own pipeline has the other.
    pub crop: CropRule,
    /// Only this encoder. Default: both, or the one that there is.
    pub tower: Option<Tower>,
    /// The architecture of weights that come without a configuration: a name of open_clip's (`"ViT-B-32"`), or `"openai"` for a model of
    /// OpenAI's own classes.
    pub arch: Option<String>,
    /// ggml's simple rule for the scales of blocks, instead of a search for those with the least error.
    pub fast_quantize: bool,
    /// A file that clip.cpp loads.
    pub compat: bool,
    /// The instruction set that the check computes with; the fastest that the machine has if `None`.
    pub isa: Option<Isa>,
    /// Which values share a scale in the check, which is how the file will be loaded. Default: those that do in the file.
    pub groups: Groups,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            target: Target::default(),
            pure: false,
            overrides: Vec::new(),
            check: true,
            min_cosine: None,
            target_cosine: None,
            name: None,
            crop: CropRule::RoundHalfEven,
            tower: None,
            arch: None,
            fast_quantize: false,
            compat: false,
            isa: None,
            groups: Groups::Stored,
        }
    }
}

/// Is told how far the conversion is, and asked whether to go on. Called from several threads.
pub trait Progress: Send + Sync {
    /// A step begins: `"reading"` and `"writing"` count bytes, `"checking"`, `"analyzing"` and `"trying types"` pieces of the encoders.
    fn begin(&self, step: &str, total: u64);

    /// So much more of the step is done.
    fn advance(&self, n: u64);

    /// The result is written under this name first, to be put in place or removed before [`convert`] returns: for programs that may have
    /// to end before that.
    fn temporary(&self, path: &Path) {
        let _ = path;
    }

    /// Whether to stop: [`convert`] then fails with [`Error::Interrupted`] and leaves no file.
    fn interrupted(&self) -> bool {
        false
    }
}

/// Keeps quiet.
impl Progress for () {
    fn begin(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {}
}

/// Converts the checkpoint `input`, a folder or a file, to the file `output`. docs/checkpoints.md says what is read.
///
/// # Errors
/// [`Error`] says what is wrong with the checkpoint, the output or the result. No file is left behind then, and an older one under that
/// name is untouched.
pub fn convert(input: &Path, output: &Path, options: &Options, progress: &dyn Progress) -> Result<Report, Error> {
    let start = Instant::now();
    check_output(input, output)?;
    let mut checkpoint = Checkpoint::open(input, options)?;
    if checkpoint.files.iter().any(|(path, _)| same_file(path, output)) {
        return Err(Error::Output { path: output.to_owned(), problem: "the output would overwrite a file of the checkpoint" });
    }
    if options.compat {
        let warnings = compat::check(&checkpoint.config, options);
        checkpoint.warnings.extend(warnings.map_err(|problem| Error::ClipCpp { path: checkpoint.path.clone(), problem })?);
    }
    policy::check_names(&checkpoint.tensors.iter().map(|tensor| &tensor.spec).collect::<Vec<_>>(), options)?;
    let survey = stream::survey(&checkpoint, progress)?;
    checkpoint.config.source = Some(checkpoint.source(&survey.sha256));
    let pairs = checkpoint.tensors.iter().zip(&survey.largest);
    let mut choices: Vec<Choice> = pairs.map(|(tensor, &largest)| policy::choose(&tensor.spec, options, largest)).collect();
    let mix = match options.target_cosine {
        Some(required) => Some(mix(&checkpoint, &survey.largest, required, &mut choices, options, progress)?),
        None => None,
    };
    let target = if mix.is_some() { prevalent(&checkpoint, &choices) } else { options.target };
    let equalization = equalize(&checkpoint, &choices, options)?;
    for spec in equalization.added() {
        choices.push(policy::choose(&spec, options, 0.0));
        checkpoint.tensors.push(SourceTensor::zeros(spec));
    }
    let metadata = metadata(&checkpoint, &choices, target);
    let Written { file, content_id, deviations } =
        stream::write(&checkpoint, &choices, &equalization, &metadata, output, progress)?;

    // Read back under the name it will have. The map has to be gone before the file is renamed.
    let temporary = file.temporary_path();
    let map = edgeclip_mmap::open(temporary).map_err(|source| Error::io(temporary, "read it back", source))?;
    let result = File::from_bytes(map, output)?;
    let bytes_out = result.file_bytes();
    let config = schema::from_file(&result)?;
    let required = [options.min_cosine, options.target_cosine].into_iter().flatten().reduce(f32::max);
    let check = if options.check || required.is_some() {
        let weights = GgufWeights::new(result);
        Some(check::check(&config, checkpoint.tokenizer.as_ref(), &checkpoint, &weights, options, progress)?)
    } else {
        None
    };

    let tensors = checkpoint.tensors.iter().zip(&choices).zip(&deviations);
    let report = Report {
        source: SourceReport {
            path: checkpoint.path.clone(),
            name: checkpoint.name.clone(),
            sha256: survey.sha256,
            files: checkpoint
                .files
                .iter()
                .filter_map(|(path, _)| Some(path.file_name()?.to_string_lossy().into_owned()))
                .collect(),
        },
        output: output.to_owned(),
        target,
        mix,
        pure: options.pure,
        bytes_in: checkpoint.file_bytes(),
        bytes_out,
        seconds: start.elapsed().as_secs_f64(),
        content_id,
        outliers: OutlierReport { shifted: equalization.shifted, scaled: equalization.scaled },
        tensors: tensors
            .map(|((tensor, choice), deviation)| TensorReport {
                name: tensor.spec.name.clone(),
                source_name: tensor.name().to_owned(),
                role: role_name(tensor.spec.id.role()),
                dims: tensor.spec.dims.clone(),
                from: tensor.format.name(),
                to: choice.format.name(),
                reason: choice.reason.clone(),
                bytes: stored_bytes(&tensor.spec.dims, choice.format),
                relative_rms: deviation.relative_rms(),
                max_error: deviation.max(),
            })
            .collect(),
        check,
        warnings: std::mem::take(&mut checkpoint.warnings),
    };
    if let Some(required) = required.map(f64::from)
        && let Some(worst) = report.check.as_ref().and_then(Check::worst)
        && worst.cosine < required
    {
        let (probe, cosine) = (worst.input.clone(), worst.cosine);
        return Err(Error::Cosine { probe, cosine, required, report: Box::new(report) });
    }
    file.publish()?;
    Ok(Report { seconds: start.elapsed().as_secs_f64(), ..report })
}

/// Sets in `choices` the types of the smallest mix that is close enough.
fn mix(
    checkpoint: &Checkpoint,
    largest: &[f32],
    required: f32,
    choices: &mut [Choice],
    options: &Options,
    progress: &dyn Progress,
) -> Result<MixReport, Error> {
    let (config, tokenizer) = (&checkpoint.config, checkpoint.tokenizer.as_ref());
    let specs: Vec<&TensorSpec> = checkpoint.tensors.iter().map(|tensor| &tensor.spec).collect();
    let equalization = equalize_all(checkpoint, options, &|_| true)?;
    let source = Equalized { weights: checkpoint, equalization: &equalization };
    let mut encoders = Encoder::all(config, tokenizer, &source, options, progress)?;
    let groups = sensitivity::all(&mut encoders, &specs, largest, &source, options, progress)?;
    let (mut trials, target_cosine) = (0, f64::from(required));
    for encoder in &mut encoders {
        trials += mix::choose(encoder, &groups, &specs, choices, (&source, target_cosine), options, progress)?;
    }
    Ok(MixReport { target_cosine, trials })
}

/// The type that most weights have.
fn prevalent(checkpoint: &Checkpoint, choices: &[Choice]) -> Target {
    let weights = |target: &Target| {
        let pairs = checkpoint.tensors.iter().zip(choices).filter(|(_, choice)| choice.format == target.format());
        pairs.map(|(tensor, _)| tensor.spec.dims.iter().product::<u64>()).sum::<u64>()
    };
    Target::ALL.into_iter().max_by_key(weights).unwrap_or_default()
}

/// What can be known about the output before any work is done.
fn check_output(input: &Path, output: &Path) -> Result<(), Error> {
    let wrong = |problem| Err(Error::Output { path: output.to_owned(), problem });
    if output.file_name().is_none() || output.is_dir() {
        return wrong("the output has to be a file, this is a folder");
    }
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return wrong("the folder that it should go into does not exist");
    }
    let is_gguf = output.extension().is_some_and(|ending| ending == "gguf");
    if output.exists() && !is_gguf && same_file(folder, input) {
        return wrong("the output would overwrite a file of the checkpoint");
    }
    Ok(())
}

fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

fn metadata(checkpoint: &Checkpoint, choices: &[Choice], target: Target) -> Metadata {
    let mut metadata = schema::to_metadata(&checkpoint.config);
    metadata.insert(keys::FILE_TYPE, target.format().ggml_id());
    if choices.iter().any(|choice| choice.format.is_quantized()) {
        metadata.insert(keys::QUANTIZATION_VERSION, 2u32);
        metadata.insert(keys::EQUALIZED, true);
    }
    metadata.insert(keys::CONVERTER, concat!("edgeclip ", env!("CARGO_PKG_VERSION")));
    // Filled in when all tensors are written.
    metadata.insert(keys::CONTENT_ID, "0".repeat(64).as_str());
    metadata
}

/// What outlier channels need in front of matrices that are quantized.
fn equalize(checkpoint: &Checkpoint, choices: &[Choice], options: &Options) -> Result<Equalization, Error> {
    let formats: HashMap<&str, Format> =
        checkpoint.tensors.iter().zip(choices).map(|(tensor, choice)| (&*tensor.spec.name, choice.format)).collect();
    if formats.values().any(|format| format.is_quantized()) {
        equalize_all(checkpoint, options, &|name| formats.get(name).is_some_and(|format| format.is_quantized()))
    } else {
        Ok(Equalization::default())
    }
}

/// As [`equalize`], where `quantized` says which matrices are by their names.
fn equalize_all(
    checkpoint: &Checkpoint,
    options: &Options,
    quantized: &(dyn Fn(&str) -> bool + Sync),
) -> Result<Equalization, Error> {
    let (config, compute, mut all) = (&checkpoint.config, check::compute(options)?, Equalization::default());
    for (tower, is_there) in [(Tower::Image, config.image.is_some()), (Tower::Text, config.text.is_some())] {
        if is_there {
            all.extend(Equalization::find(config, tower, checkpoint, compute, quantized, !options.compat)?);
        }
    }
    Ok(all)
}

fn stored_bytes(dims: &[u64], format: Format) -> u64 {
    dims.iter().product::<u64>() / format.block_len() as u64 * format.block_bytes() as u64
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Vector => "vectors",
        Role::TokenEmbedding => "token embedding",
        Role::PositionEmbedding => "position embedding",
        Role::PatchEmbedding => "patch embedding",
        Role::Attention => "attention q, k, v",
        Role::AttentionOutput => "attention output",
        Role::Mlp => "mlp",
        Role::Projection => "projection",
    }
}
