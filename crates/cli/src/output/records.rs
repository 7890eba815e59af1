//! Vectors with what they are of and where they come from: JSON, JSON lines, CSV, NumPy.

use std::io::{IsTerminal, Write};

use anyhow::{Result, bail};
use clap::ValueEnum;
use edgeclip::Tower;
use serde::Serialize;

use super::{
    json::{self, Array},
    npy,
    sink::Sink,
};
use crate::model::Origin;

/// The form of vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// One array of records {input, model, tower, normalized, embedding}; with --decode fast they have decode, too
    Json,
    /// One such record a line, written as soon as it is there
    Jsonl,
    /// The same in columns: input, model.name, model.type, model.content_id, tower, normalized, (decode,) embedding.0, embedding.1, ...
    Csv,
    /// NumPy array of f32, [inputs, dimensions], nothing else; inputs that failed have no row
    Npy,
}

/// One input's vector. Numbers are printed with the fewest digits that read back as the same f32.
#[derive(Serialize)]
struct Record<'a> {
    input: &'a str,
    model: &'a Origin,
    tower: &'static str,
    normalized: bool,
    /// How pictures were decoded, if not as by the reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    decode: Option<&'static str>,
    embedding: &'a [f32],
}

/// Writes records to a sink in a format.
pub(crate) struct Writer {
    sink: Sink,
    format: Format,
    model: Origin,
    tower: Tower,
    normalized: bool,
    decode: Option<&'static str>,
    dim: usize,
    written: usize,
    array: Array,
    /// NumPy's header has the number of rows, which is known only at the end.
    held: Vec<f32>,
}

impl Writer {
    pub(crate) fn new(sink: Sink, format: Format, model: Origin, tower: Tower, normalized: bool, dim: usize) -> Result<Self> {
        if format == Format::Npy && matches!(sink, Sink::Stdout(_)) && std::io::stdout().is_terminal() {
            bail!("npy is binary and standard output is a terminal; give --output FILE.npy or redirect it");
        }
        Ok(Self {
            sink,
            format,
            model,
            tower,
            normalized,
            decode: None,
            dim,
            written: 0,
            array: Array::default(),
            held: Vec::new(),
        })
    }

    /// Each record says how its picture was decoded, if that is not as by the reference.
    pub(crate) fn with_decode(self, decode: Option<&'static str>) -> Self {
        Self { decode, ..self }
    }

    pub(crate) fn write(&mut self, input: &str, embedding: &[f32]) -> Result<()> {
        let (tower, normalized) = (self.tower.name(), self.normalized);
        let record = Record { input, model: &self.model, tower, normalized, decode: self.decode, embedding };
        let sink = &mut self.sink;
        match self.format {
            Format::Json => self.array.item(sink, &record)?,
            Format::Jsonl => json::line(sink, &record)?,
            Format::Csv => {
                let mut csv = csv::WriterBuilder::new().from_writer(&mut *sink);
                if self.written == 0 {
                    write_header(&mut csv, self.decode.is_some(), self.dim)?;
                }
                csv.write_field(record.input)?;
                csv.write_field(&self.model.name)?;
                csv.write_field(&self.model.ty)?;
                csv.write_field(self.model.content_id.as_deref().unwrap_or(""))?;
                csv.write_field(record.tower)?;
                csv.write_field(record.normalized.to_string())?;
                if let Some(decode) = record.decode {
                    csv.write_field(decode)?;
                }
                for value in embedding {
                    csv.write_field(value.to_string())?;
                }
                csv.write_record(None::<&[u8]>)?;
                csv.flush()?;
            }
            Format::Npy => self.held.extend(embedding),
        }
        self.written += 1;
        Ok(())
    }

    /// Passes on what is complete, so that a reader of a pipe sees it.
    pub(crate) fn flush(&mut self) -> Result<()> {
        Ok(self.sink.flush()?)
    }

    /// Writes what comes after the last record and puts a file in place.
    pub(crate) fn finish(mut self) -> Result<()> {
        match self.format {
            Format::Json => self.array.end(&mut self.sink)?,
            Format::Csv if self.written == 0 => {
                write_header(&mut csv::Writer::from_writer(&mut self.sink), self.decode.is_some(), self.dim)?;
            }
            Format::Csv | Format::Jsonl => {}
            Format::Npy => npy::write(&mut self.sink, &[self.written, self.dim], &self.held)?,
        }
        self.sink.commit()
    }
}

fn write_header<W: Write>(csv: &mut csv::Writer<W>, decode: bool, dim: usize) -> Result<()> {
    for column in ["input", "model.name", "model.type", "model.content_id", "tower", "normalized"] {
        csv.write_field(column)?;
    }
    if decode {
        csv.write_field("decode")?;
    }
    for i in 0..dim {
        csv.write_field(format!("embedding.{i}"))?;
    }
    csv.write_record(None::<&[u8]>)?;
    Ok(csv.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes two records and gives the bytes.
    fn written(format: Format, rows: &[(&str, [f32; 2])]) -> Vec<u8> {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("out");
        let model = Origin { name: "m".into(), ty: "q8_0".into(), content_id: Some("ab".into()) };
        let mut writer = Writer::new(Sink::open(Some(&path)).unwrap(), format, model, Tower::Text, false, 2).unwrap();
        rows.iter().for_each(|(input, row)| writer.write(input, row).unwrap());
        writer.finish().unwrap();
        std::fs::read(path).unwrap()
    }

    const ROWS: [(&str, [f32; 2]); 2] = [("a, \"b\"", [0.1, -1e-30]), ("c", [16_777_216.0, f32::MIN_POSITIVE])];

    #[test]
    fn numbers_read_back_as_they_were() {
        let json: serde_json::Value = serde_json::from_slice(&written(Format::Json, &ROWS)).unwrap();
        let lines = written(Format::Jsonl, &ROWS);
        for (i, line) in lines.split(|b| *b == b'\n').take(2).enumerate() {
            let record: serde_json::Value = serde_json::from_slice(line).unwrap();
            assert_eq!(record, json[i]);
            assert_eq!(record["input"], ROWS[i].0);
            assert_eq!(record["model"], serde_json::json!({"name": "m", "type": "q8_0", "content_id": "ab"}));
            assert_eq!((&record["tower"], &record["normalized"]), (&"text".into(), &false.into()));
            for (value, expected) in record["embedding"].as_array().unwrap().iter().zip(ROWS[i].1) {
                assert_eq!(value.to_string().parse::<f32>().unwrap().to_bits(), expected.to_bits());
            }
        }
        let text = written(Format::Csv, &ROWS);
        let mut csv = csv::Reader::from_reader(&*text);
        assert_eq!(csv.headers().unwrap().iter().nth(6), Some("embedding.0"));
        for (row, expected) in csv.records().zip(ROWS) {
            let row = row.unwrap();
            assert_eq!((&row[0], &row[1], &row[2], &row[3], &row[4], &row[5]), (expected.0, "m", "q8_0", "ab", "text", "false"));
            let values = [&row[6], &row[7]].map(|v| v.parse::<f32>().unwrap());
            assert_eq!(values, expected.1);
        }
        assert!(written(Format::Npy, &ROWS).ends_with(&f32::MIN_POSITIVE.to_le_bytes()));
    }

    #[test]
    fn nothing_is_still_well_formed() {
        assert_eq!(written(Format::Json, &[]), b"[]\n");
        assert_eq!(written(Format::Jsonl, &[]), b"");
        assert!(written(Format::Csv, &[]).starts_with(b"input,model.name"));
        assert!(written(Format::Npy, &[]).windows(15).any(|w| w == b"'shape': (0, 2)"));
    }
}
