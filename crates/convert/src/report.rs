//! What a conversion did, for people and for programs.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::{Serialize, Serializer};

use crate::{Check, MixReport, Target, probes::SHOWN_CHARS};

/// Everything about a conversion. [`Display`](fmt::Display) is a table for people, `{:#}` with a line for every tensor, `{}` with one for
/// those that went the same way; serde has all of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The checkpoint.
    pub source: SourceReport,
    /// The file that was written.
    #[serde(serialize_with = "lossy")]
    pub output: PathBuf,
    /// The type that was asked for; of a mix, the one that most weights have.
    pub target: Target,
    /// How the types were chosen, if by their cost.
    pub mix: Option<MixReport>,
    /// Whether the policy was switched off.
    pub pure: bool,
    /// Bytes of the checkpoint's weights.
    pub bytes_in: u64,
    /// Bytes of the file.
    pub bytes_out: u64,
    /// From opening the checkpoint to the file in its place, the check included.
    pub seconds: f64,
    /// `edgeclip.content_id` of the file: what it computes, in 64 digits.
    pub content_id: String,
    /// What was done about outlier channels.
    pub outliers: OutlierReport,
    /// In the order of the file.
    pub tensors: Vec<TensorReport>,
    /// `None` if it was switched off.
    pub check: Option<Check>,
    /// What was assumed.
    pub warnings: Vec<String>,
}

/// Where the weights came from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourceReport {
    /// The folder.
    #[serde(serialize_with = "lossy")]
    pub path: PathBuf,
    /// Its name.
    pub name: String,
    /// Of the weights' files, one after the other in the order of their names.
    pub sha256: String,
    /// Names of the weights' files.
    pub files: Vec<String>,
}

/// Channels that were moved out of the way of int8 activations: the model computes what it did (docs/accuracy.md).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OutlierReport {
    /// Channels whose mean went from a norm's bias into those of the linears behind it.
    pub shifted: usize,
    /// Channels that were divided, and the columns that read them multiplied.
    pub scaled: usize,
}

/// What became of a tensor.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TensorReport {
    /// Name in the file.
    pub name: String,
    /// Name in the checkpoint.
    pub source_name: String,
    /// What it is for: `"token embedding"`, `"position embedding"`, `"patch embedding"`, `"attention q, k, v"`, `"attention output"`,
    /// `"mlp"`, `"projection"`, and `"vectors"` for biases, norms and the class token.
    pub role: &'static str,
    /// Dimensions, the contiguous one first.
    pub dims: Vec<u64>,
    /// Type in the checkpoint.
    pub from: &'static str,
    /// Type in the file.
    pub to: &'static str,
    /// Why it is not of the type that was asked for.
    pub reason: Option<String>,
    /// Bytes in the file.
    pub bytes: u64,
    /// Root mean square of what the values moved by, over that of the values.
    pub relative_rms: f64,
    /// The most that a value moved by.
    pub max_error: f32,
}

pub(crate) fn lossy<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

/// Tensors that went the same way, or a single one.
struct Row<'a> {
    /// The first of them.
    like: &'a TensorReport,
    count: usize,
    bytes: u64,
    worst_rms: f64,
    worst_error: f32,
}

impl Report {
    /// One for each tensor.
    fn rows(&self) -> Vec<Row<'_>> {
        let rows = self.tensors.iter().map(|like| Row {
            like,
            count: 1,
            bytes: like.bytes,
            worst_rms: like.relative_rms,
            worst_error: like.max_error,
        });
        rows.collect()
    }

    /// One for each way that tensors went: role, types, and why.
    fn groups(&self) -> Vec<Row<'_>> {
        let way = |tensor: &TensorReport| (tensor.role, tensor.from, tensor.to, tensor.reason.clone());
        let mut groups: Vec<Row<'_>> = Vec::new();
        for tensor in &self.tensors {
            let found = groups.iter().position(|group| way(group.like) == way(tensor));
            let at = found.unwrap_or_else(|| {
                groups.push(Row { like: tensor, count: 0, bytes: 0, worst_rms: 0.0, worst_error: 0.0 });
                groups.len() - 1
            });
            let group = &mut groups[at];
            group.count += 1;
            group.bytes += tensor.bytes;
            group.worst_rms = group.worst_rms.max(tensor.relative_rms);
            group.worst_error = group.worst_error.max(tensor.max_error);
        }
        groups
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        writeln!(f, "{} -> {}", self.source.path.display(), self.output.display())?;
        writeln!(
            f,
            "{:.1} MB -> {:.1} MB ({}{}), {:.1} s, content id {}",
            megabytes(self.bytes_in),
            megabytes(self.bytes_out),
            if self.mix.is_some() { "mix, mostly ".to_owned() + self.target.format().name() } else { self.target.to_string() },
            if self.pure { ", pure" } else { "" },
            self.seconds,
            self.content_id.get(..16).unwrap_or(&self.content_id)
        )?;
        if let Some(MixReport { target_cosine, trials }) = &self.mix {
            writeln!(f, "smallest mix of types for a cosine of {target_cosine:.6}, after {trials} trials")?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        let OutlierReport { shifted, scaled } = self.outliers;
        if shifted + scaled > 0 {
            writeln!(f, "outlier channels: {shifted} shifted, {scaled} scaled, with the same function")?;
        }
        writeln!(f)?;
        let each = f.alternate();
        let names = self.tensors.iter().map(|tensor| tensor.name.len()).max().unwrap_or(0);
        let width = if each { names.max(20) } else { 20 };
        writeln!(f, "{:<width$} {:>5} {:>14} {:>9} {:>13} {:>10}", "tensors", "", "type", "MB", "relative RMS", "max error")?;
        for row in if each { self.rows() } else { self.groups() } {
            let TensorReport { name, role, from, to, reason, .. } = row.like;
            let (what, count) = if each { (name.as_str(), String::new()) } else { (*role, row.count.to_string()) };
            let types = if from == to { (*to).to_owned() } else { format!("{from} -> {to}") };
            write!(
                f,
                "{what:<width$} {count:>5} {types:>14} {:>9.2} {:>11.4} % {:>10.2e}",
                megabytes(row.bytes),
                100.0 * row.worst_rms,
                row.worst_error
            )?;
            writeln!(f, "{}{}", if reason.is_some() { "  " } else { "" }, reason.as_deref().unwrap_or_default())?;
        }
        let Some(check) = &self.check else { return Ok(()) };
        writeln!(f)?;
        writeln!(f, "{:<20} {:>14} {:>14}  furthest off", "cosine to the source", "min", "mean")?;
        for (unit, cosines) in [("pictures", &check.image), ("texts", &check.text)] {
            let Some(cosines) = cosines else { continue };
            let worst: String = cosines.worst().map(|probe| probe.input.chars().take(SHOWN_CHARS).collect()).unwrap_or_default();
            writeln!(
                f,
                "{:<20} {:>14.6} {:>14.6}  {worst}",
                format!("{} {unit}", cosines.probes.len()),
                cosines.min,
                cosines.mean
            )?;
        }
        Ok(())
    }
}
