//! `edgeclip doctor`: what the machine has, and what is made of it.

use std::{env, io::Write, path::Path};

use anyhow::Result;
use clap::Args;
use edgeclip::{Groups, Isa};
use edgeclip_model::Kernels;
use serde_json::{Value, json};

use crate::{
    console::Console,
    machine::Machine,
    model::{self, Model},
    names,
    output::{
        sink::Sink,
        table::{Align, bytes, table},
    },
};

/// Show what this machine can do, what was chosen and why
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgeclip doctor
  edgeclip doctor --isa avx2            # what would be done with a lower instruction set
  edgeclip doctor --model b32.gguf --json")]
pub(crate) struct DoctorArgs {
    /// A model to look at as well [default: what the environment variable EDGECLIP_MODEL says, if anything]
    #[arg(long, short, value_name = "FILE|NAME")]
    model: Option<std::path::PathBuf>,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(args: &DoctorArgs, console: &Console) -> Result<()> {
    let options = console.compute()?;
    let chosen = options.isa.unwrap_or_else(|| Kernels::best().isa());
    let threads = rayon::current_num_threads();
    let model = args.model.clone().or_else(model::from_environment).map(|path| about(&path, console));
    let hub = names::hub()?;
    let found = Found {
        machine: Machine::here(),
        chosen,
        why: if options.isa.is_some() { "asked for by --isa or EDGECLIP_ISA" } else { "the fastest that this machine has" },
        coarse: options.groups == Groups::Coarse,
        threads,
        model,
        caches: [("converted models", hub.settings().cache.clone()), ("Hugging Face", hub.settings().hub_cache.clone())],
    };
    let mut sink = Sink::open(None)?;
    if args.json {
        sink.write_json(&found.json())?;
    } else {
        sink.write_all(found.text().as_bytes())?;
    }
    sink.commit()
}

struct Found {
    machine: Machine,
    chosen: Isa,
    why: &'static str,
    coarse: bool,
    threads: usize,
    model: Option<Result<Value, String>>,
    caches: [(&'static str, std::path::PathBuf); 2],
}

/// Whether there are kernels for this architecture at all.
fn is_built(isa: Isa) -> bool {
    isa == Isa::Scalar || !isa.features().is_empty()
}

impl Found {
    fn advice(&self) -> Option<String> {
        if self.chosen == Isa::Scalar {
            return Some(
                "scalar kernels are many times slower than AVX2's; a machine with AVX2 and FMA, or ARM, is what edgeclip is for"
                    .to_owned(),
            );
        }
        let best = Kernels::best().isa();
        if self.chosen < best {
            return Some(format!("{} is there and faster: leave --isa and EDGECLIP_ISA out", best.name()));
        }
        (self.threads < self.machine.cores)
            .then(|| format!("{} cores are there; --threads uses {} of them", self.machine.cores, self.threads))
    }

    fn text(&self) -> String {
        let row = |name: &str, value: String| vec![name.to_owned(), value];
        let mut rows = vec![
            row("edgeclip", env!("CARGO_PKG_VERSION").to_owned()),
            row("machine", self.machine.line()),
            row("features", self.machine.has(true).join(" ")),
            row("without", self.machine.has(false).join(" ")),
            row("threads", format!("{}{}", self.threads, if self.threads == self.machine.cores { ", one a core" } else { "" })),
        ];
        for isa in Isa::ALL.into_iter().filter(|isa| is_built(*isa)) {
            let missing: Vec<_> = isa.missing().collect();
            let verdict = match () {
                () if isa == self.chosen => format!("chosen: {}", self.why),
                () if missing.is_empty() => "there".to_owned(),
                () => format!("not here: needs {}", missing.join(", ")),
            };
            rows.push(row(&format!("kernels {}", isa.name()), verdict));
        }
        rows.push(row("weights", if self.coarse { "coarse groups (--coarse)" } else { "as they are stored" }.to_owned()));
        match &self.model {
            None => {}
            Some(Ok(model)) => {
                let part = |key: &str| model[key].as_str().unwrap_or("unknown").to_owned();
                let size = bytes(model["bytes"].as_u64().unwrap_or(0));
                rows.push(row(
                    "model",
                    format!("{}: {}, {}, {size}, content id {}", part("path"), part("name"), part("type"), part("content_id")),
                ));
            }
            Some(Err(problem)) => rows.push(row("model", format!("NOT USABLE: {problem}"))),
        }
        for (what, path) in &self.caches {
            rows.push(row(&format!("cache of {what}"), path.display().to_string()));
        }
        rows.extend(self.advice().map(|advice| row("advice", advice)));
        table(&[Align::Left, Align::Left], &rows)
    }

    fn json(&self) -> Value {
        let sets = Isa::ALL.map(|isa| {
            json!({
                "name": isa.name(),
                "built": is_built(isa),
                "available": Isa::available().any(|other| other == isa),
                "missing": isa.missing().collect::<Vec<_>>(),
            })
        });
        let (model, problem) = match &self.model {
            None => (Value::Null, Value::Null),
            Some(Ok(model)) => (model.clone(), Value::Null),
            Some(Err(problem)) => (Value::Null, problem.as_str().into()),
        };
        let caches = self.caches.iter().map(|(what, path)| json!({"what": what, "path": path.to_string_lossy()}));
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "board": self.machine.board,
            "processor": self.machine.processor,
            "architecture": env::consts::ARCH,
            "cores": self.machine.cores,
            "threads": self.threads,
            "features": self.machine.has(true),
            "missing_features": self.machine.has(false),
            "instruction_sets": sets,
            "chosen": self.chosen.name(),
            "why": self.why,
            "coarse": self.coarse,
            "model": model,
            "model_problem": problem,
            "caches": caches.collect::<Vec<_>>(),
            "advice": self.advice(),
        })
    }
}

/// The model in a few words, or why it cannot be used.
fn about(path: &Path, console: &Console) -> Result<Value, String> {
    let load = || -> Result<Value> {
        let path = names::model(path, edgeclip_convert::Target::default(), console)?;
        let model = Model::load(&path, console)?;
        Ok(json!({
            "path": path.to_string_lossy(),
            "name": model.origin.name,
            "type": model.origin.ty,
            "content_id": model.origin.content_id,
            "bytes": model.clip.file().file_bytes(),
        }))
    };
    load().map_err(|error| format!("{error:#}"))
}
