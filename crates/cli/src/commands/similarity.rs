//! `edgeclip similarity`: cosines between pictures and texts.

use std::{io::Write, path::PathBuf};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use edgeclip::{Embeddings, Tower};
use serde_json::json;

use super::overlong;
use crate::{
    console::Console,
    inputs,
    model::ModelArgs,
    output::{
        sink::Sink,
        table::{Align, table},
    },
    pictures::{BatchArgs, PictureJob, ReadArgs},
    texts::{self, TextJob},
};

/// Compare pictures and texts: a table of cosines
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgeclip similarity --image cat.jpg dog.jpg --text \"a dog\" --text \"a cat\" --model b32.gguf
  edgeclip similarity --image photos/ --format json

With pictures and texts, the rows are the pictures and the columns the texts; with one kind only, each is compared with each.")]
pub(crate) struct SimilarityArgs {
    /// Picture files, folders, quoted patterns; - is one picture on standard input
    #[arg(long, short, num_args = 1.., value_name = "PATH", required_unless_present = "text", help_heading = "Input")]
    image: Vec<PathBuf>,
    /// Texts
    #[arg(long, short, num_args = 1.., value_name = "TEXT", help_heading = "Input")]
    text: Vec<String>,
    /// Cut texts that are longer than the model reads instead of failing
    #[arg(long, help_heading = "Input")]
    truncate: bool,
    /// Form of the output
    #[arg(long, value_enum, default_value_t = Format::Text, help_heading = "Output")]
    format: Format,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    read: ReadArgs,
    #[command(flatten)]
    batch: BatchArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// One object {model, rows, columns, cosines}
    Json,
}

/// Inputs that could be encoded, with their vectors.
struct Encoded {
    labels: Vec<String>,
    vectors: Embeddings,
}

/// Runs the command.
pub(crate) fn run(args: SimilarityArgs, console: &Console) -> Result<()> {
    if args.image.iter().any(|path| path.as_os_str() == "-") && args.text.iter().any(|text| text == "-") {
        bail!("standard input can be read only once; give the pictures or the texts as arguments");
    }
    let model = args.model.load(console)?;
    for (tower, given) in [(Tower::Image, !args.image.is_empty()), (Tower::Text, !args.text.is_empty())] {
        if given {
            model.require(tower)?;
        }
    }
    let empty = || Encoded { labels: Vec::new(), vectors: Embeddings::new(model.clip.embedding_dim(), Vec::new()) };
    let mut pictures = empty();
    let job = PictureJob { clip: &model.clip, options: args.read.options(), batch: &args.batch, console };
    job.encode(&inputs::expand(&args.image), |_, input, vector| pictures.push(&input.label, vector))?;
    let mut sentences = empty();
    if !args.text.is_empty() {
        let job = TextJob { clip: &model.clip, overlong: overlong(args.truncate), batch: &args.batch, console };
        job.encode(texts::texts(&args.text), |text, vector| sentences.push(text, vector))?;
    }
    let (rows, columns) = match (args.image.is_empty(), args.text.is_empty()) {
        (false, false) => (&pictures, &sentences),
        (false, true) => (&pictures, &pictures),
        (true, _) => (&sentences, &sentences),
    };
    let cosines = rows.vectors.cosines(&columns.vectors)?;
    let cosines: Vec<&[f32]> = cosines.chunks(columns.labels.len().max(1)).collect();
    let mut sink = Sink::open(None)?;
    match args.format {
        Format::Json => {
            let mut matrix = json!({"model": model.origin, "rows": rows.labels, "columns": columns.labels, "cosines": cosines});
            args.read.note(&mut matrix);
            serde_json::to_writer(&mut sink, &matrix).map_err(std::io::Error::from)?;
            sink.write_all(b"\n")?;
        }
        // Nothing to compare, and the errors have been said.
        Format::Text if rows.labels.is_empty() || columns.labels.is_empty() => {}
        Format::Text => sink.write_all(text(&rows.labels, &columns.labels, &cosines).as_bytes())?,
    }
    sink.commit()
}

impl Encoded {
    fn push(&mut self, label: &str, vector: &[f32]) -> Result<()> {
        self.labels.push(label.to_owned());
        Ok(self.vectors.append(Embeddings::new(vector.len(), vector.to_vec()))?)
    }
}

/// The matrix with a line for each column's name, because sentences are no column heads.
fn text(rows: &[String], columns: &[String], cosines: &[&[f32]]) -> String {
    let names: Vec<Vec<String>> =
        columns.iter().enumerate().map(|(i, name)| vec![format!("[{}]", i + 1), name.clone()]).collect();
    let mut lines = vec![std::iter::once(String::new()).chain(names.iter().map(|name| name[0].clone())).collect()];
    lines.extend(
        rows.iter().zip(cosines).map(|(row, cosines)| {
            std::iter::once(row.clone()).chain(cosines.iter().map(|cosine| format!("{cosine:.4}"))).collect()
        }),
    );
    format!("{}\n{}", table(&[Align::Right, Align::Left], &names), table(&[Align::Left], &lines))
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_are_numbered() {
        let [rows, columns] = [["x.png", "long.png"], ["a dog", "a cat"]].map(|names| names.map(str::to_owned));
        let shown = super::text(&rows, &columns, &[&[0.5, -0.25], &[1.0, 0.0]]);
        assert_eq!(
            shown,
            "[1]  a dog\n[2]  a cat\n\n             [1]      [2]\nx.png     0.5000  -0.2500\nlong.png  1.0000   0.0000\n"
        );
    }
}
