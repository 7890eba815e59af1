//! `edgeclip eval`: how good a model is on pictures with labels or captions, several models side by side.

use std::{
    collections::HashMap,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use edgeclip::{
    Embeddings, Tower,
    retrieval::{best_ranks, ranks, recall_at},
};
use edgeclip_convert::Target;
use rayon::prelude::*;
use serde_json::json;

use super::{PromptArgs, overlong};
use crate::{
    commands::convert::target,
    console::Console,
    inputs::Input,
    model::{self, Model, Origin},
    names,
    output::{
        sink::Sink,
        table::{Align, count, table},
    },
    pictures::{BatchArgs, PictureJob, ReadArgs},
    texts::TextJob,
};

/// Measure a model on a CSV file of pictures with labels or captions
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgeclip eval labels.csv --template \"a photo of a {}.\" --model b32-q8_0.gguf
  edgeclip eval captions.csv --task caption --model b32-f32.gguf --model b32-q8_0.gguf --model b32-q4_0.gguf

The CSV file has a head line with the columns path (relative to the file) and label or caption; other columns do not matter.
label: zero-shot classification among all labels of the file; top-1 and top-5, the share of pictures whose label came first or
among the first five. caption: retrieval; recall@k is the share of pictures one of whose captions is among the k nearest of all
captions, and the other way round. Of equal scores the one that is earlier in the file comes first.")]
pub(crate) struct EvalArgs {
    /// CSV file with the columns path and label or caption
    #[arg(value_name = "CSV")]
    csv: PathBuf,
    /// What to measure, if the file has both columns
    #[arg(long, value_enum)]
    task: Option<Task>,
    /// GGUF file or name of a model; several are compared with the first [default: what EDGECLIP_MODEL says]
    #[arg(long = "model", short, value_name = "FILE|NAME", help_heading = "Model")]
    models: Vec<PathBuf>,
    /// Type to which the model of a name is converted, as for `edgeclip convert --type`
    #[arg(long, value_name = "TYPE", default_value = "q8_0", value_parser = target, help_heading = "Model")]
    model_type: Target,
    #[command(flatten)]
    prompts: PromptArgs,
    /// JSON instead of a table
    #[arg(long, help_heading = "Output")]
    json: bool,
    #[command(flatten)]
    read: ReadArgs,
    #[command(flatten)]
    batch: BatchArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Task {
    /// Zero-shot classification among the labels
    Label,
    /// Retrieval of captions by pictures and of pictures by captions
    Caption,
}

impl Task {
    fn column(self) -> &'static str {
        match self {
            Self::Label => "label",
            Self::Caption => "caption",
        }
    }
}

/// Pictures and texts that belong together.
#[derive(Debug, PartialEq)]
struct Set {
    /// Distinct, in the order of the file, as they stand there.
    pictures: Vec<String>,
    /// Distinct labels or captions, in the order of the file.
    texts: Vec<String>,
    /// Indices of a picture and a text, one pair a line.
    pairs: Vec<(usize, usize)>,
}

/// What one model reaches.
struct Score {
    origin: Origin,
    file: PathBuf,
    /// Pictures and texts that took part.
    pictures: usize,
    texts: usize,
    /// Name and share, 0 to 1.
    values: Vec<(&'static str, f64)>,
}

/// Runs the command.
pub(crate) fn run(args: EvalArgs, console: &Console) -> Result<()> {
    let models = if args.models.is_empty() { vec![model::given(None)?] } else { args.models.clone() };
    let (task, set) = read_set(&args.csv, args.task)?;
    if task == Task::Caption && args.prompts.has_templates() {
        bail!("--template and --templates are for labels (--task label); captions are encoded as they stand");
    }
    let mut scores = Vec::new();
    for path in &models {
        let model = Model::load(&names::model(path, args.model_type, console)?, console)?;
        model.require(Tower::Image)?;
        model.require(Tower::Text)?;
        let (pictures, texts, values) = match task {
            Task::Label => labels(&args, &model, &set, console)?,
            Task::Caption => captions(&args, &model, &set, console)?,
        };
        scores.push(Score { origin: model.origin, file: path.clone(), pictures, texts, values });
    }
    let mut sink = Sink::open(None)?;
    if args.json {
        let model = |score: &Score| {
            let values: serde_json::Map<String, serde_json::Value> =
                score.values.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
            let file = score.file.to_string_lossy();
            json!({"file": file, "model": score.origin, "pictures": score.pictures, "texts": score.texts, "scores": values})
        };
        let models: Vec<_> = scores.iter().map(model).collect();
        let mut report = json!({"task": task.column(), "models": models});
        args.read.note(&mut report);
        sink.write_json(&report)?;
    } else {
        sink.write_all(text(task, &scores).as_bytes())?;
    }
    sink.commit()
}

type Measured = (usize, usize, Vec<(&'static str, f64)>);

fn labels(args: &EvalArgs, model: &Model, set: &Set, console: &Console) -> Result<Measured> {
    let classifier = args.prompts.classifier(model, &set.texts, console)?;
    let (rows, vectors) = pictures(args, model, set, console)?;
    let pairs: Vec<(usize, usize)> = set.pairs.iter().filter_map(|&(p, text)| Some((rows[p]?, text))).collect();
    // A picture on two lines counts twice: each line asks for its own label.
    let ranks = parallel_ranks(&vectors, classifier.vectors(), &pairs)?;
    Ok((vectors.len(), set.texts.len(), vec![("top-1", recall_at(1, &ranks)), ("top-5", recall_at(5, &ranks))]))
}

fn captions(args: &EvalArgs, model: &Model, set: &Set, console: &Console) -> Result<Measured> {
    let (rows, pictures) = pictures(args, model, set, console)?;
    // Captions of pictures that could be read; the others cannot be found.
    let mut kept: Vec<usize> = set.pairs.iter().filter(|(p, _)| rows[*p].is_some()).map(|(_, text)| *text).collect();
    kept.sort_unstable();
    kept.dedup();
    let dim = model.clip.embedding_dim();
    let mut texts = Embeddings::new(dim, Vec::new());
    let strict = BatchArgs { strict: true, ..args.batch.clone() };
    let job = TextJob { clip: &model.clip, overlong: overlong(args.prompts.truncates()), batch: &strict, console };
    job.encode(kept.iter().map(|&text| Ok(set.texts[text].clone())), |_, vector| {
        Ok(texts.append(Embeddings::new(dim, vector.to_vec()))?)
    })?;
    let column: HashMap<usize, usize> = kept.iter().enumerate().map(|(i, &text)| (text, i)).collect();
    let pairs: Vec<(usize, usize)> = set.pairs.iter().filter_map(|(p, text)| Some((rows[*p]?, *column.get(text)?))).collect();
    let swapped: Vec<(usize, usize)> = pairs.iter().map(|&(p, text)| (text, p)).collect();
    let to_text = best_ranks(pictures.len(), &pairs, &parallel_ranks(&pictures, &texts, &pairs)?);
    let to_picture = best_ranks(texts.len(), &swapped, &parallel_ranks(&texts, &pictures, &swapped)?);
    let values = vec![
        ("picture to text recall@1", recall_at(1, &to_text)),
        ("picture to text recall@5", recall_at(5, &to_text)),
        ("picture to text recall@10", recall_at(10, &to_text)),
        ("text to picture recall@1", recall_at(1, &to_picture)),
        ("text to picture recall@5", recall_at(5, &to_picture)),
        ("text to picture recall@10", recall_at(10, &to_picture)),
    ];
    Ok((pictures.len(), texts.len(), values))
}

/// [`ranks`], with all threads.
fn parallel_ranks(queries: &Embeddings, candidates: &Embeddings, pairs: &[(usize, usize)]) -> Result<Vec<usize>> {
    // More pairs a task would leave threads idle at the end, fewer measure the candidates' lengths more often.
    const PAIRS_A_TASK: usize = 64;
    let tasks = pairs.par_chunks(PAIRS_A_TASK).map(|pairs| ranks(queries, candidates, pairs));
    Ok(tasks.collect::<Result<Vec<_>, _>>()?.concat())
}

/// The vectors of the pictures that can be read, and for each picture of the set its row among them.
fn pictures(args: &EvalArgs, model: &Model, set: &Set, console: &Console) -> Result<(Vec<Option<usize>>, Embeddings)> {
    let folder = args.csv.parent().unwrap_or(Path::new(""));
    let inputs: Vec<_> = set.pictures.iter().map(|path| Ok(Input::file(path, folder.join(path)))).collect();
    let mut rows = vec![None; inputs.len()];
    let mut vectors = Embeddings::new(model.clip.embedding_dim(), Vec::new());
    let job = PictureJob { clip: &model.clip, options: args.read.options(), batch: &args.batch, console };
    job.encode(&inputs, |index, _, vector| {
        rows[index] = Some(vectors.len());
        Ok(vectors.append(Embeddings::new(vector.len(), vector.to_vec()))?)
    })?;
    if vectors.is_empty() {
        bail!("{}: none of the {} pictures could be read; paths are relative to the CSV file", args.csv.display(), inputs.len());
    }
    Ok((rows, vectors))
}

fn text(task: Task, scores: &[Score]) -> String {
    let name = |score: &Score| score.file.file_stem().unwrap_or(score.file.as_os_str()).to_string_lossy().into_owned();
    let mut rows: Vec<Vec<String>> = vec![std::iter::once("%".to_owned()).chain(scores.iter().map(name)).collect()];
    for i in 0..scores[0].values.len() {
        let (measure, first) = scores[0].values[i];
        let cell = |(s, score): (usize, &Score)| {
            let value = score.values[i].1 * 100.0;
            if s == 0 { format!("{value:.2}") } else { format!("{value:.2} ({:+.2})", value - first * 100.0) }
        };
        rows.push(std::iter::once(measure.to_owned()).chain(scores.iter().enumerate().map(cell)).collect());
    }
    let (pictures, texts) = (count(scores[0].pictures as u64), count(scores[0].texts as u64));
    format!("{pictures} pictures, {texts} {}s\n\n{}", task.column(), table(&[Align::Left], &rows))
}

/// The CSV file, and what it asks for.
fn read_set(path: &Path, task: Option<Task>) -> Result<(Task, Set)> {
    let shown = path.display();
    let mut reader =
        csv::ReaderBuilder::new().trim(csv::Trim::Headers).from_path(path).with_context(|| format!("{shown}: cannot read it"))?;
    let headers = reader.headers().with_context(|| format!("{shown}: cannot read the head line"))?.clone();
    let column = |name: &str| headers.iter().position(|header| header.trim_start_matches('\u{feff}').eq_ignore_ascii_case(name));
    let found = headers.iter().collect::<Vec<_>>().join(", ");
    let Some(paths) = column("path") else {
        bail!("{shown}: expected the columns path and label or caption, found {found}");
    };
    let task = match (task, column("label"), column("caption")) {
        (Some(task), ..) => task,
        (None, Some(_), None) => Task::Label,
        (None, None, Some(_)) => Task::Caption,
        (None, Some(_), Some(_)) => bail!("{shown}: it has labels and captions; say which by --task label or --task caption"),
        (None, None, None) => bail!("{shown}: expected a column label or caption, found {found}"),
    };
    let Some(texts) = column(task.column()) else {
        bail!("{shown}: expected a column {}, found {found}", task.column());
    };
    let (mut picture_index, mut text_index) = (HashMap::new(), HashMap::new());
    let mut set = Set { pictures: Vec::new(), texts: Vec::new(), pairs: Vec::new() };
    for record in reader.records() {
        let record = record.with_context(|| format!("{shown}: cannot read a line"))?;
        let line = record.position().map_or(0, csv::Position::line);
        let field = |index: usize, name: &str| match record.get(index) {
            Some(field) if !field.trim().is_empty() => Ok(field.to_owned()),
            _ => bail!("{shown}: line {line}: expected a {name}, found nothing"),
        };
        let (picture, text) = (field(paths, "path")?, field(texts, task.column())?);
        let picture = *picture_index.entry(picture).or_insert_with_key(|key| add(&mut set.pictures, key));
        let text = *text_index.entry(text).or_insert_with_key(|key| add(&mut set.texts, key));
        set.pairs.push((picture, text));
    }
    if set.pairs.is_empty() {
        bail!("{shown}: it has a head line but no pictures");
    }
    Ok((task, set))
}

/// Appends and gives the index.
fn add(list: &mut Vec<String>, item: &str) -> usize {
    list.push(item.to_owned());
    list.len() - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, task: Option<Task>) -> Result<(Task, Set)> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, text).unwrap();
        read_set(file.path(), task)
    }

    #[test]
    fn a_picture_may_have_several_captions_and_a_caption_several_pictures() {
        let (task, set) = read("Path, caption ,other\na.png,x,1\nb.png,\"y, z\",2\na.png,\"y, z\",3\n", None).unwrap();
        assert_eq!(task, Task::Caption);
        let strings = |items: &[&str]| items.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            set,
            Set { pictures: strings(&["a.png", "b.png"]), texts: strings(&["x", "y, z"]), pairs: vec![(0, 0), (1, 1), (0, 1)] }
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let refused = |text: &str, task| read(text, task).unwrap_err().to_string();
        assert!(
            refused("file,label\na,b\n", None).ends_with("expected the columns path and label or caption, found file, label")
        );
        assert!(refused("path,x\na,b\n", None).ends_with("expected a column label or caption, found path, x"));
        assert!(refused("path,label\na,b\n", Some(Task::Caption)).ends_with("expected a column caption, found path, label"));
        assert!(refused("path,label,caption\na,b,c\n", None).contains("--task label or --task caption"));
        assert!(refused("path,label\na,b\nc,\n", None).ends_with("line 3: expected a label, found nothing"));
        assert!(refused("path,label\n", None).ends_with("no pictures"));
    }

    #[test]
    fn models_are_compared_with_the_first() {
        let score = |file: &str, value| Score {
            origin: Origin { name: "m".into(), ty: "f32".into(), content_id: None },
            file: file.into(),
            pictures: 1234,
            texts: 16,
            values: vec![("top-1", value)],
        };
        let shown = text(Task::Label, &[score("x/a.gguf", 0.9375), score("b.gguf", 0.875)]);
        assert_eq!(shown, "1,234 pictures, 16 labels\n\n%          a              b\ntop-1  93.75  87.50 (-6.25)\n");
    }
}
