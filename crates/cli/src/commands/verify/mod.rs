//! `edgeclip verify`: whether a file gives the numbers that others published of its model.

mod allowance;
mod measure;
mod published;
mod report;

use std::{collections::HashSet, io::Write, path::PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use edgeclip_convert::Target;

use self::{
    measure::{Measure, Outcome, Pictures, Row, Verdict},
    published::{Published, fitting},
    report::Report,
};
use super::file_or_environment;
use crate::{
    console::{Console, Failed},
    content_id::ContentId,
    inputs,
    model::Model,
    names,
    output::sink::Sink,
};

/// Compare a model with the numbers that others published of it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgeclip verify b32.gguf
  edgeclip verify b32.gguf --picture CLIP.png --picture val2017/ --all
  edgeclip verify my-b32.gguf --as ViT-B-32:openai

First the content id is computed anew: it shows any change since the file was written. Then come
token ids, vectors and logits that OpenAI, transformers and others published; docs/verify.md lists
them. A file is told by the hash of its checkpoint or by its names. Pictures are told by the hash
of their files and read without a look at the EXIF orientation, as the references do. Quantized
files get wider tolerances.

Exit code 1 if a check fails, or if there is none but the content id.")]
pub(crate) struct VerifyArgs {
    /// The file, or a name as `edgeclip models` lists them [default: what the environment variable EDGECLIP_MODEL says]
    #[arg(value_name = "FILE|NAME")]
    file: Option<PathBuf>,
    /// Picture file, folder or quoted pattern, among which those are taken that checks need; may be given several times
    #[arg(long = "picture", short, value_name = "PATH")]
    pictures: Vec<PathBuf>,
    /// The model that the file is, such as ViT-B-32:openai, if it does not say so itself
    #[arg(long = "as", value_name = "NAME")]
    model: Option<String>,
    /// Fail also if a check could not be made
    #[arg(long)]
    all: bool,
    /// JSON instead of a table, with all values
    #[arg(long)]
    json: bool,
}

/// Why nothing is measured after the configuration has failed.
const ANOTHER: &str = "the file is another model than this, as its configuration shows";

/// Runs the command.
pub(crate) fn run(args: VerifyArgs, console: &Console) -> Result<()> {
    let path = file_or_environment(args.file, "verify")?;
    let model = Model::load(&names::model(&path, Target::default(), console)?, console)?;
    let all = Published::built_in()?;
    let fit = fitting(&all, model.clip.config(), args.model.as_deref());
    if let (Some(asked), None) = (&args.model, fit) {
        bail!("--as {asked}: nothing is published of this model; expected one of {}", names(&all));
    }

    let mut rows = vec![content_id(&model)];
    if let Some((published, known)) = fit {
        let differences = known.differences(model.clip.config());
        rows.push(configuration(&differences));
        let is_another = !differences.is_empty();
        let checks = || published.checks_of(known);
        let wanted: HashSet<&str> = checks().filter_map(|check| check.quantity.picture()).collect();
        let pictures = published.pictures.iter().map(|(name, picture)| (name.as_str(), picture));
        let pictures = pictures.filter(|(name, _)| wanted.contains(name) && model.clip.config().image.is_some() && !is_another);
        let pictures = Pictures::find(pictures, &inputs::expand(&args.pictures), console)?;
        let mut measure = Measure::new(&model.clip, published, pictures);
        for check in checks() {
            rows.push(if is_another { measure.open(check, ANOTHER)? } else { measure.row(check)? });
        }
    }

    let report = Report::new(&model, fit.map(|(_, known)| &*known.name), rows);
    let mut sink = Sink::open(None)?;
    if args.json {
        sink.write_json(&report.json())?;
    } else {
        sink.write_all(report.text().as_bytes())?;
    }
    sink.commit()?;
    match problem(&report, args.all, &all) {
        Some(problem) => Err(Failed(format!("{}: {problem}", path.display())).into()),
        None => Ok(()),
    }
}

/// Failed checks that the last line names.
const SHOWN: usize = 3;

/// Why the command fails, if it does.
fn problem(report: &Report, all: bool, published: &[Published]) -> Option<String> {
    let (failed, open) = (report.count(Verdict::Fail), report.count(Verdict::NotChecked));
    if failed > 0 {
        let made = failed + report.count(Verdict::Pass);
        let mut names = report.rows.iter().filter(|row| row.verdict() == Verdict::Fail).map(|row| row.what.as_str());
        let first = names.by_ref().take(SHOWN).collect::<Vec<_>>().join("; ");
        let more = names.count();
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        return Some(format!("{failed} of {made} checks failed: {first}{more}"));
    }
    if report.published.is_none() {
        return Some(format!(
            "nothing is published of this model, only its content id could be checked; if it is one of {}, say so with --as",
            names(published)
        ));
    }
    if !report.rows.iter().any(|row| row.source.is_some() && row.verdict() == Verdict::Pass) {
        return Some("no published number could be checked; what is missing stands above".to_owned());
    }
    (all && open > 0).then(|| format!("{open} checks could not be made, and --all wants all of them"))
}

/// The names that `--as` takes.
fn names(all: &[Published]) -> String {
    let models = all.iter().flat_map(|published| &published.models);
    models.map(|model| model.names.first().unwrap_or(&model.name).as_str()).collect::<Vec<_>>().join(", ")
}

fn content_id(model: &Model) -> Row<'static> {
    let outcome = match ContentId::of(model.clip.file()) {
        ContentId { computed: Err(error), .. } => Outcome::Broken(error.to_string()),
        ContentId { stored: None, .. } => Outcome::Open("there is none in this file; only edgeclip writes it".to_owned()),
        ContentId { stored: Some(expected), computed: Ok(value) } => Outcome::Words { value, expected },
    };
    Row { what: "content id".to_owned(), outcome, source: None }
}

fn configuration(differences: &[(&str, String, String)]) -> Row<'static> {
    let shown = |value: fn(&(&str, String, String)) -> String| match differences {
        [] => "the model's".to_owned(),
        _ => differences.iter().map(value).collect::<Vec<_>>().join(", "),
    };
    let outcome = Outcome::Words {
        value: shown(|(what, _, found)| format!("{what} {found}")),
        expected: shown(|(what, expected, _)| format!("{what} {expected}")),
    };
    Row { what: "configuration".to_owned(), outcome, source: None }
}
