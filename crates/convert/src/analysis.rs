//! What every matrix costs in every type, for people and for programs.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Instant,
};

use edgeclip_model::{equalize::Equalized, schema::TensorSpec};
use serde::Serialize;

use crate::{
    Error, Options, Progress, Target, checkpoint::Checkpoint, equalize_all, policy, probes::Encoder, report::lossy, role_name,
    sensitivity, stored_bytes, stream,
};

/// What each matrix of a checkpoint costs in each type, alone. [`Display`](fmt::Display) is a table for people; serde has all of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Analysis {
    /// The checkpoint.
    #[serde(serialize_with = "lossy")]
    pub source: PathBuf,
    /// Dearest first: by what the smallest type loses of the mean cosine for each byte that it saves.
    pub matrices: Vec<MatrixReport>,
    /// What it took.
    pub seconds: f64,
    /// What was assumed.
    pub warnings: Vec<String>,
}

/// A matrix, or query, key and value of a block, which are packed together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MatrixReport {
    /// Names in a file.
    pub tensors: Vec<String>,
    /// `"image"` or `"text"`.
    pub encoder: String,
    /// What it is for, as in [`TensorReport`](crate::TensorReport::role).
    pub role: &'static str,
    /// Type in the checkpoint.
    pub from: &'static str,
    /// Bytes in the checkpoint.
    pub bytes: u64,
    /// Largest first: the types that its rows and values allow.
    pub types: Vec<TypeReport>,
}

/// What a matrix costs in a type.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TypeReport {
    /// The type.
    #[serde(rename = "type")]
    pub name: &'static str,
    /// Bytes in a file.
    pub bytes: u64,
    /// Lowest cosine of a probe to the source.
    pub min: f64,
    /// Mean cosine of the probes.
    pub mean: f64,
}

impl MatrixReport {
    /// What the smallest type loses of the mean cosine for each byte that it saves; 0 if it saves nothing.
    pub fn loss_per_byte(&self) -> f64 {
        match self.types.last() {
            Some(smallest) if smallest.bytes < self.bytes => (1.0 - smallest.mean) / (self.bytes - smallest.bytes) as f64,
            _ => 0.0,
        }
    }
}

/// Measures what each matrix of the checkpoint `input` costs in each type: everything else stays as it is, but that outlier channels are moved,
/// and the check's probes are run.
/// Of `options` the name, encoder, architecture, scales and instruction set count; matrices with a type of their own are left out.
///
/// # Errors
/// [`Error`] says what is wrong with the checkpoint.
pub fn analyze(input: &Path, options: &Options, progress: &dyn Progress) -> Result<Analysis, Error> {
    let start = Instant::now();
    let checkpoint = Checkpoint::open(input, options)?;
    let specs: Vec<&TensorSpec> = checkpoint.tensors.iter().map(|tensor| &tensor.spec).collect();
    policy::check_names(&specs, options)?;
    let survey = stream::survey(&checkpoint, progress)?;
    let equalization = equalize_all(&checkpoint, options, &|_| true)?;
    let source = Equalized { weights: &checkpoint, equalization: &equalization };
    let mut encoders = Encoder::all(&checkpoint.config, checkpoint.tokenizer.as_ref(), &source, options, progress)?;
    let groups = sensitivity::all(&mut encoders, &specs, &survey.largest, &source, options, progress)?;
    let matrix = |group: &sensitivity::Group| {
        let from = checkpoint.tensors[group.tensors[0]].format;
        let types = group.candidates.iter().rev().map(|candidate| TypeReport {
            name: candidate.format.name(),
            bytes: candidate.bytes,
            min: 1.0 - candidate.largest(),
            mean: 1.0 - candidate.mean(),
        });
        MatrixReport {
            tensors: group.tensors.iter().map(|&i| specs[i].name.clone()).collect(),
            encoder: group.tower.to_string(),
            role: role_name(specs[group.tensors[0]].id.role()),
            from: from.name(),
            bytes: group.tensors.iter().map(|&i| stored_bytes(&specs[i].dims, from)).sum(),
            types: types.collect(),
        }
    };
    let mut matrices: Vec<MatrixReport> = groups.iter().map(matrix).collect();
    matrices.sort_by(|a, b| b.loss_per_byte().total_cmp(&a.loss_per_byte()));
    drop(encoders);
    Ok(Analysis {
        source: checkpoint.path.clone(),
        matrices,
        seconds: start.elapsed().as_secs_f64(),
        warnings: checkpoint.warnings,
    })
}

impl fmt::Display for Analysis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: what each matrix alone costs in each type, {:.1} s", self.source.display(), self.seconds)?;
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        writeln!(
            f,
            "millionths of the mean cosine of the probes; dearest first, by what the smallest type costs for each MB that it saves"
        )?;
        writeln!(f)?;
        let all = self.matrices.iter().flat_map(|matrix| &matrix.types).map(|ty| ty.name);
        let mut types: Vec<&str> = Target::ALL.map(|target| target.format().name()).to_vec();
        types.retain(|name| all.clone().any(|other| other == *name));
        let names: Vec<String> = self.matrices.iter().map(MatrixReport::short_name).collect();
        let width = names.iter().map(String::len).max().unwrap_or(0).max(8);
        write!(f, "{:<width$} {:>8}", "matrices", "MB")?;
        types.iter().try_for_each(|name| write!(f, " {name:>8}"))?;
        writeln!(f, " {:>8}", "a MB")?;
        for (matrix, name) in self.matrices.iter().zip(&names) {
            write!(f, "{name:<width$} {:>8.3}", matrix.bytes as f64 / 1e6)?;
            for name in &types {
                match matrix.types.iter().find(|ty| ty.name == *name) {
                    Some(ty) => write!(f, " {:>8.2}", 1e6 * (1.0 - ty.mean))?,
                    None => write!(f, " {:>8}", "")?,
                }
            }
            writeln!(f, " {:>8.1}", 1e12 * matrix.loss_per_byte())?;
        }
        Ok(())
    }
}

impl MatrixReport {
    /// `t.blk.0.attn_q, attn_k, attn_v`.
    fn short_name(&self) -> String {
        let stems = self.tensors.iter().map(|name| name.strip_suffix(".weight").unwrap_or(name));
        let mut short = String::new();
        for stem in stems {
            if short.is_empty() {
                short.push_str(stem);
            } else {
                short.push_str(", ");
                short.push_str(stem.rsplit('.').next().unwrap_or(stem));
            }
        }
        short
    }
}
