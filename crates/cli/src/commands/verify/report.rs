//! The rows as a table or as JSON.

use serde_json::json;

use super::{
    allowance::Allowance,
    measure::{Outcome, Row, Verdict},
    published::Source,
};
use crate::{
    model::{Model, Origin},
    output::{
        table::{Align, table},
        visible,
    },
};

/// All that was found out.
pub(super) struct Report<'a> {
    file: String,
    origin: &'a Origin,
    allowance: Allowance,
    /// The model whose numbers these are.
    pub(super) published: Option<&'a str>,
    pub(super) rows: Vec<Row<'a>>,
}

/// Characters of a long cell that is no number.
const SHOWN_CHARS: usize = 16;

impl<'a> Report<'a> {
    pub(super) fn new(model: &'a Model, published: Option<&'a str>, rows: Vec<Row<'a>>) -> Self {
        Self {
            file: model.clip.path().to_string_lossy().into_owned(),
            origin: &model.origin,
            allowance: Allowance::of(model.clip.file(), model.clip.embedding_dim()),
            published,
            rows,
        }
    }

    pub(super) fn count(&self, verdict: Verdict) -> usize {
        self.rows.iter().filter(|row| row.verdict() == verdict).count()
    }

    pub(super) fn text(&self) -> String {
        let known = self.published.map_or_else(String::new, |name| format!(", compared with what is published of {name}"));
        let mut out = format!("{}: {}, {}{known}\n\n", self.file, self.origin.name, self.origin.ty);
        let mut sources: Vec<&Source> = Vec::new();
        let mut cells =
            vec![["check", "value", "expected", "tolerance", "difference", "verdict", "source"].map(str::to_owned).to_vec()];
        for row in self.rows.iter().filter(|row| row.verdict() != Verdict::NotChecked) {
            let source = row.source.map_or_else(String::new, |source| {
                let known = sources.iter().position(|other| *other == source);
                let number = known.unwrap_or_else(|| {
                    sources.push(source);
                    sources.len() - 1
                });
                format!("[{}]", number + 1)
            });
            cells.push([vec![row.what.clone()], measured(row), vec![source]].concat());
        }
        out += &table(&[Align::Left], &cells);
        out += &format!(
            "\n{} passed, {} failed, {} not checked\n",
            self.count(Verdict::Pass),
            self.count(Verdict::Fail),
            self.count(Verdict::NotChecked)
        );
        if self.published.is_some() && self.allowance.cosine < 1.0 {
            let Allowance { ty, cosine, .. } = self.allowance;
            out += &format!("tolerances are for {ty}: vectors at a cosine of {cosine:.6} to the checkpoint's\n");
        }
        out += &section("failed", &self.reasons(Verdict::Fail));
        out += &section("not checked", &self.reasons(Verdict::NotChecked));
        let source = |(i, Source { what, url }): (usize, &&Source)| {
            format!("[{}] {what}{}", i + 1, url.as_ref().map_or_else(String::new, |url| format!(", {url}")))
        };
        out += &section("sources", &sources.iter().enumerate().map(source).collect::<Vec<_>>());
        visible(&out).into_owned()
    }

    /// What is said of rows without numbers; what is said of several is said once.
    fn reasons(&self, verdict: Verdict) -> Vec<String> {
        let mut reasons: Vec<(String, usize)> = Vec::new();
        for row in self.rows.iter().filter(|row| row.verdict() == verdict) {
            let reason = match &row.outcome {
                Outcome::Open(reason) if row.source.is_some() => reason.clone(),
                Outcome::Broken(reason) | Outcome::Open(reason) => format!("{}: {reason}", row.what),
                Outcome::Numbers { .. } | Outcome::Words { .. } => continue,
            };
            match reasons.iter_mut().find(|(other, _)| *other == reason) {
                Some((_, rows)) => *rows += 1,
                None => reasons.push((reason, 1)),
            }
        }
        let times = |(reason, rows): (String, usize)| if rows == 1 { reason } else { format!("{reason} ({rows} checks)") };
        reasons.into_iter().map(times).collect()
    }

    pub(super) fn json(&self) -> serde_json::Value {
        let row = |row: &Row| {
            let mut value = json!({"check": row.what, "verdict": word(row.verdict()), "source": row.source});
            match &row.outcome {
                Outcome::Numbers { values, expected, tolerances } => {
                    value["value"] = json!(values);
                    value["expected"] = json!(expected);
                    value["tolerance"] = json!(tolerances);
                    value["difference"] = values.iter().zip(expected).map(|(value, expected)| (value - expected).abs()).collect();
                }
                Outcome::Words { value: found, expected } => {
                    value["value"] = json!(found);
                    value["expected"] = json!(expected);
                }
                Outcome::Broken(reason) | Outcome::Open(reason) => value["reason"] = json!(reason),
            }
            value
        };
        json!({
            "file": self.file,
            "model": self.origin,
            "published": self.published,
            "allowed_cosine": self.allowance.cosine,
            "passed": self.count(Verdict::Pass),
            "failed": self.count(Verdict::Fail),
            "not_checked": self.count(Verdict::NotChecked),
            "checks": self.rows.iter().map(row).collect::<Vec<_>>(),
        })
    }
}

/// A heading and indented lines, or nothing.
fn section(heading: &str, lines: &[String]) -> String {
    let lines: String = lines.iter().map(|line| format!("  {line}\n")).collect();
    if lines.is_empty() { lines } else { format!("\n{heading}\n{lines}") }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "FAIL",
        Verdict::NotChecked => "not checked",
    }
}

/// Value, expected, tolerance, difference, verdict; of several values the one that is nearest to its tolerance or furthest beyond.
fn measured(row: &Row) -> Vec<String> {
    let verdict = word(row.verdict()).to_owned();
    let blank = String::new;
    match &row.outcome {
        Outcome::Numbers { values, expected, tolerances } => {
            let share = |i: &usize| (values[*i] - expected[*i]).abs() / tolerances[*i];
            let known = values.len().min(expected.len()).min(tolerances.len());
            let Some(worst) = (0..known).max_by(|a, b| share(a).total_cmp(&share(b))) else {
                return vec![blank(), blank(), blank(), blank(), verdict];
            };
            let place = if known > 1 { format!("[{worst}] ") } else { blank() };
            vec![
                format!("{place}{:.6}", values[worst]),
                format!("{:.6}", expected[worst]),
                format!("{:.1e}", tolerances[worst]),
                format!("{:.1e}", (values[worst] - expected[worst]).abs()),
                verdict,
            ]
        }
        Outcome::Words { value, expected } => {
            // Of what is equal the beginning will do, and of hashes always.
            let is_cut = |text: &str| value == expected || !text.contains(' ');
            let shown = |text: &str| match text.char_indices().nth(SHOWN_CHARS) {
                Some((end, _)) if is_cut(text) => format!("{}...", &text[..end]),
                _ => text.to_owned(),
            };
            vec![shown(value), shown(expected), blank(), blank(), verdict]
        }
        Outcome::Broken(_) | Outcome::Open(_) => vec![blank(), blank(), blank(), blank(), verdict],
    }
}
