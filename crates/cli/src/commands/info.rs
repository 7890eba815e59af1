//! `edgeclip info`: what is in a GGUF file, whether it is a CLIP model or not.

use std::{collections::BTreeMap, io::Write, path::PathBuf};

use anyhow::Result;
use clap::Args;
use edgeclip::{Config, Tower};
use edgeclip_convert::Target;
use edgeclip_gguf::{Array, File, TensorInfo, Value};
use edgeclip_model::schema;
use serde_json::{Map, json};

use super::file_or_environment;
use crate::{
    console::{Console, Failed},
    content_id::ContentId,
    names,
    output::{
        sink::Sink,
        table::{Align, bytes, count, table},
        visible,
    },
};

/// Show what is in a GGUF file: metadata, tensors, types, sizes
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgeclip info b32.gguf
  edgeclip info b32.gguf --tensors
  edgeclip info b32.gguf --verify       # exit code 1 unless the weights are those that were written")]
pub(crate) struct InfoArgs {
    /// The file, or the name of a model [default: what the environment variable EDGECLIP_MODEL says]
    #[arg(value_name = "FILE|NAME")]
    file: Option<PathBuf>,
    /// List every tensor
    #[arg(long)]
    tensors: bool,
    /// Compute the content id anew from all bytes and compare it with the one in the file
    #[arg(long)]
    verify: bool,
    /// JSON instead of text; arrays of more than 16 items are shortened
    #[arg(long)]
    json: bool,
}

/// Items that are shown of an array in JSON, where long ones would hide the rest.
const SHOWN_ITEMS: usize = 16;

/// Runs the command.
pub(crate) fn run(args: InfoArgs, console: &Console) -> Result<()> {
    let path = file_or_environment(args.file, "info")?;
    let file = File::open(&names::model(&path, Target::default(), console)?)?;
    let config = schema::from_file(&file);
    let verified = args.verify.then(|| ContentId::of(&file));
    let mut sink = Sink::open(None)?;
    if args.json {
        sink.write_json(&json(&file, &config, args.tensors, verified.as_ref()))?;
    } else {
        sink.write_all(text(&file, &config, args.tensors, verified.as_ref()).as_bytes())?;
    }
    sink.commit()?;
    match verified.and_then(|verified| verified.problem(&file)) {
        Some(problem) => Err(Failed(problem).into()),
        None => Ok(()),
    }
}

/// Tensors, elements and bytes by type, in the order of the numbers of types. Bytes are `None` if the type's block is unknown.
fn by_type(tensors: &[TensorInfo]) -> BTreeMap<edgeclip_gguf::TensorType, (u64, u128, Option<u64>)> {
    let mut types = BTreeMap::new();
    for tensor in tensors {
        let entry = types.entry(tensor.ty).or_insert((0, 0, Some(0)));
        entry.0 += 1;
        entry.1 += u128::from(tensor.elements());
        entry.2 = entry.2.zip(tensor.bytes).map(|(sum, bytes)| sum + bytes);
    }
    types
}

fn parameters(file: &File) -> u64 {
    file.tensors().iter().fold(0, |sum: u64, tensor| sum.saturating_add(tensor.elements()))
}

fn text(file: &File, config: &Result<Config, edgeclip_model::Error>, tensors: bool, verified: Option<&ContentId>) -> String {
    let mut out = format!(
        "{}: GGUF {}, {}, {} keys, {} tensors, {} parameters\n\n",
        file.path().display(),
        file.version(),
        bytes(file.file_bytes()),
        file.metadata().len(),
        file.tensors().len(),
        count(parameters(file))
    );
    out += &summary(config);
    let rows: Vec<Vec<String>> =
        file.metadata().iter().map(|(key, value)| vec![key.to_owned(), type_name(value), value.to_string()]).collect();
    out += &section("metadata", &table(&[Align::Left; 3], &rows));
    let size = |size: Option<u64>| size.map_or_else(|| "unknown size".to_owned(), bytes);
    let rows: Vec<Vec<String>> = by_type(file.tensors())
        .into_iter()
        .map(|(ty, (n, elements, total))| {
            let elements = u64::try_from(elements).unwrap_or(u64::MAX);
            vec![ty.to_string(), format!("{} tensors", count(n)), format!("{} values", count(elements)), size(total)]
        })
        .collect();
    out += &section("types", &table(&[Align::Left], &rows));
    if tensors {
        let row = |tensor: &TensorInfo| vec![tensor.name.clone(), tensor.ty.to_string(), shape(&tensor.dims), size(tensor.bytes)];
        let rows: Vec<Vec<String>> = file.tensors().iter().map(row).collect();
        out += &section("tensors (contiguous dimension first)", &table(&[Align::Left, Align::Left], &rows));
    }
    if let Some(verified) = verified {
        let verdict = if verified.matches() { "match: the weights and keys are those that were written" } else { "NO MATCH" };
        out += &section("content id", &format!("{verdict}\n"));
    }
    visible(out.trim_end()).into_owned() + "\n"
}

/// A heading and indented lines.
fn section(heading: &str, lines: &str) -> String {
    let lines: String = lines.lines().map(|line| format!("  {line}\n")).collect();
    format!("{heading}\n{lines}\n")
}

fn shape(dims: &[u64]) -> String {
    dims.iter().map(u64::to_string).collect::<Vec<_>>().join(" x ")
}

fn type_name(value: &Value) -> String {
    match value {
        Value::Array(array) => format!("{}[]", array.item_type()),
        value => value.value_type().to_string(),
    }
}

/// The model in a few lines, or why there is none.
fn summary(config: &Result<Config, edgeclip_model::Error>) -> String {
    let config = match config {
        Ok(config) => config,
        Err(error) => return format!("not usable as a CLIP model: {error}\n\n"),
    };
    let mut rows = vec![vec!["model".to_owned(), config.name.clone().unwrap_or_else(|| "(no name)".to_owned())]];
    let tower = |tower: Tower, c: &edgeclip_model::TowerConfig, input: String| {
        let shape = format!("width {}, {} blocks, {} heads, mlp {}", c.width, c.layers, c.heads, c.mlp);
        vec![format!("{tower} encoder"), format!("{input}; {shape}")]
    };
    if let Some(image) = &config.image {
        let size = image.preprocessing.size;
        rows.push(tower(Tower::Image, &image.tower, format!("{size} x {size} pixels in patches of {0} x {0}", image.patch)));
    }
    if let Some(text) = &config.text {
        let input = format!("{} tokens of {}", text.vocabulary.context_length, text.vocabulary.tokens.len());
        rows.push(tower(Tower::Text, &text.tower, input));
    }
    rows.push(vec![
        "embedding".to_owned(),
        format!("{} dimensions, scale {:.2}", config.projection_dim, config.logit_scale.exp()),
    ]);
    table(&[Align::Left, Align::Left], &rows) + "\n"
}

fn json(
    file: &File,
    config: &Result<Config, edgeclip_model::Error>,
    tensors: bool,
    verified: Option<&ContentId>,
) -> serde_json::Value {
    let metadata: Map<String, serde_json::Value> =
        file.metadata().iter().map(|(key, value)| (key.to_owned(), json_value(value))).collect();
    let types: Map<String, serde_json::Value> = by_type(file.tensors())
        .into_iter()
        .map(|(ty, (n, elements, bytes))| {
            (ty.to_string(), json!({"tensors": n, "elements": u64::try_from(elements).unwrap_or(u64::MAX), "bytes": bytes}))
        })
        .collect();
    let mut info = json!({
        "file": file.path().to_string_lossy(),
        "version": file.version(),
        "alignment": file.alignment(),
        "bytes": file.file_bytes(),
        "parameters": parameters(file),
        "clip": config.is_ok(),
        "problem": config.as_ref().err().map(ToString::to_string),
        "metadata": metadata,
        "types": types,
    });
    if tensors {
        let tensor = |t: &TensorInfo| json!({"name": t.name, "type": t.ty.to_string(), "dims": t.dims, "offset": file.data_start() + t.offset, "bytes": t.bytes});
        info["tensors"] = file.tensors().iter().map(tensor).collect();
    }
    if let Some(verified) = verified {
        info["verify"] =
            json!({"stored": verified.stored, "computed": verified.computed.as_ref().ok(), "match": verified.matches()});
    }
    info
}

/// Numbers as numbers, except those that JSON has not; long arrays as their type, length and first items.
fn json_value(value: &Value) -> serde_json::Value {
    match value {
        Value::U8(v) => (*v).into(),
        Value::I8(v) => (*v).into(),
        Value::U16(v) => (*v).into(),
        Value::I16(v) => (*v).into(),
        Value::U32(v) => (*v).into(),
        Value::I32(v) => (*v).into(),
        Value::F32(v) => json_float(v, v.is_finite()),
        Value::Bool(v) => (*v).into(),
        Value::String(v) => v.as_str().into(),
        Value::U64(v) => (*v).into(),
        Value::I64(v) => (*v).into(),
        Value::F64(v) => json_float(v, v.is_finite()),
        Value::Array(array) => match array {
            Array::U8(v) => json_array(v, array, |v| (*v).into()),
            Array::I8(v) => json_array(v, array, |v| (*v).into()),
            Array::U16(v) => json_array(v, array, |v| (*v).into()),
            Array::I16(v) => json_array(v, array, |v| (*v).into()),
            Array::U32(v) => json_array(v, array, |v| (*v).into()),
            Array::I32(v) => json_array(v, array, |v| (*v).into()),
            Array::F32(v) => json_array(v, array, |v| json_float(v, v.is_finite())),
            Array::Bool(v) => json_array(v, array, |v| (*v).into()),
            Array::String(v) => json_array(v.iter(), array, Into::into),
            Array::U64(v) => json_array(v, array, |v| (*v).into()),
            Array::I64(v) => json_array(v, array, |v| (*v).into()),
            Array::F64(v) => json_array(v, array, |v| json_float(v, v.is_finite())),
        },
    }
}

/// With the digits that the type has: an f32 of 0.1 is not 0.10000000149011612.
fn json_float(value: &impl ToString, finite: bool) -> serde_json::Value {
    let text = value.to_string();
    if finite && let Ok(number) = text.parse::<f64>() { number.into() } else { text.into() }
}

fn json_array<T>(items: impl IntoIterator<Item = T>, array: &Array, item: impl Fn(T) -> serde_json::Value) -> serde_json::Value {
    let shown = items.into_iter().take(SHOWN_ITEMS).map(item).collect();
    if array.len() <= SHOWN_ITEMS {
        return serde_json::Value::Array(shown);
    }
    json!({"item_type": array.item_type().to_string(), "length": array.len(), "first": serde_json::Value::Array(shown)})
}

#[cfg(test)]
mod tests {
    use edgeclip_gguf::Strings;

    use super::*;

    #[test]
    fn values_keep_their_digits() {
        assert_eq!(json_value(&Value::F32(0.1)).to_string(), "0.1");
        assert_eq!(json_value(&Value::U64(u64::MAX)).to_string(), "18446744073709551615");
        assert_eq!(json_value(&Value::F32(f32::NAN)), json!("NaN"));
        assert_eq!(json_value(&Value::from([1u8, 2])), json!([1, 2]));
        let long = json_value(&Value::from(vec![7u8; 40]));
        assert_eq!(
            (&long["item_type"], &long["length"], long["first"].as_array().unwrap().len()),
            (&json!("u8"), &json!(40), 16)
        );
    }

    #[test]
    fn shapes_read_like_shapes() {
        assert_eq!(shape(&[768, 50]), "768 x 50");
        assert_eq!(type_name(&Value::from(Strings::from_iter(["a"]))), "string[]");
    }
}
