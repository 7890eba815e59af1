//! `edgeclip models`: the models that have names.

use std::io::Write;

use anyhow::Result;
use clap::Args;
use edgeclip_hub::{Hub, Registry, registry::Model};
use serde_json::json;

use crate::{
    console::Console,
    names,
    output::{
        sink::Sink,
        table::{Align, table},
    },
};

/// List the models that are known by name, and which of them are on this machine
#[derive(Debug, Args)]
#[command(after_help = "\
Any repository of the Hub with a CLIP model is a name, too. Other tools' spellings are understood: ViT-B/32, ViT-B-32::openai,
ViT-B-32__openai, ViT-B-32/openai, open_clip:ViT-B-32/openai, hf-hub:org/name, hf_clip:org/name, local-dir:folder.
Top-1 is zero-shot accuracy on ImageNet-1k as published, in per cent; --json has the sources.")]
pub(crate) struct ModelsArgs {
    /// JSON instead of a table, with everything that is known
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(args: &ModelsArgs, _: &Console) -> Result<()> {
    let hub = names::hub()?;
    let models = &Registry::get().models;
    let mut sink = Sink::open(None)?;
    if args.json {
        let models: Vec<_> = models.iter().map(|model| json(&hub, model)).collect();
        sink.write_json(&models)?;
    } else {
        sink.write_all(text(&hub, models).as_bytes())?;
    }
    sink.commit()
}

fn text(hub: &Hub, models: &[Model]) -> String {
    let header = ["name", "parameters", "top-1", "licence", "here", "other names"].map(str::to_owned).to_vec();
    let rows = models.iter().map(|model| {
        let others: Vec<&str> = model.aliases.iter().chain(&model.repos).map(String::as_str).collect();
        vec![
            model.to_string(),
            format!("{:.0} M", model.parameters as f64 / 1e6),
            model.top1.as_ref().map_or_else(|| "-".to_owned(), |top1| format!("{:.2}", top1.value)),
            model.licence.clone(),
            here(hub, model),
            others.join(", "),
        ]
    });
    let rows: Vec<Vec<String>> = std::iter::once(header).chain(rows).collect();
    table(&[Align::Left, Align::Right, Align::Right, Align::Left, Align::Left, Align::Left], &rows)
}

/// What of a model needs no download.
fn here(hub: &Hub, model: &Model) -> String {
    let cached = hub.has(model).then(|| "checkpoint".to_owned());
    let parts: Vec<String> = cached.into_iter().chain(converted(hub, model)).collect();
    if parts.is_empty() { "-".to_owned() } else { parts.join(", ") }
}

/// Under any of the names that its files are kept by.
fn converted(hub: &Hub, model: &Model) -> Vec<String> {
    let names = std::iter::once(model.to_string()).chain(model.repos.iter().cloned());
    let mut types: Vec<String> = names.flat_map(|name| hub.converted(&name)).collect();
    types.sort();
    types.dedup();
    types
}

fn json(hub: &Hub, model: &Model) -> serde_json::Value {
    json!({
        "name": model.to_string(),
        "aliases": model.aliases,
        "repos": model.repos,
        "openai": model.openai.as_ref().map(|file| json!({"path": file.path, "sha256": file.sha256})),
        "parameters": model.parameters,
        "licence": model.licence,
        "activation": model.activation.to_string(),
        "preprocessing": {
            "size": model.preprocessing.size,
            "mean": model.preprocessing.mean,
            "std": model.preprocessing.std,
            "interpolation": model.preprocessing.interpolation,
            "resize_mode": model.preprocessing.resize_mode,
        },
        "imagenet_top1": model.top1.as_ref().map(|top1| json!({"value": top1.value, "source": top1.source})),
        "cached": hub.has(model),
        "converted": converted(hub, model),
    })
}
