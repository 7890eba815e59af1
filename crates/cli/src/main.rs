//! The `edgeclip` program: flags, output formats, progress. What it does is in the libraries.
#![forbid(unsafe_code)]

mod commands;
mod compute;
mod console;
mod content_id;
mod finite;
mod inputs;
mod interrupt;
mod machine;
mod model;
mod names;
mod output;
mod pictures;
mod texts;

use std::{io, process::ExitCode};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};

use crate::console::{Console, Failed, Interrupted};

/// CLIP on the CPU: pictures and sentences to vectors of one space, the same as Python's, without Python.
#[derive(Debug, Parser)]
#[command(name = "edgeclip", version, max_term_width = 110, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    general: General,
}

const AFTER_HELP: &str = "\
Examples:
  edgeclip convert path/to/clip-vit-base-patch32 --type q8_0 --output b32.gguf
  edgeclip classify cat.jpg --labels \"a dog\" \"a cat\" --model b32.gguf
  edgeclip classify cat.jpg --labels \"a dog\" \"a cat\" --model ViT-B-32:datacomp_xl_s13b_b90k
  export EDGECLIP_MODEL=b32.gguf        # instead of --model
  edgeclip encode image photos/ --format npy --output photos.npy
  edgeclip encode text \"a red bicycle in the rain\" --normalize

Exit codes:
  0    all is well
  1    some inputs failed (the others are complete), or a check failed
  2    wrong usage, or an error that stopped everything
  130  interrupted (Ctrl-C)";

/// More than any machine has cores; a slip of the finger must not take minutes to start 100,000 threads.
const MAX_THREADS: i64 = 1024;

#[derive(Debug, Args)]
struct General {
    /// Threads to compute with [default: one a core]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MAX_THREADS), help_heading = "General")]
    threads: Option<u16>,
    #[command(flatten)]
    compute: compute::ComputeArgs,
    /// Say nothing but errors: no progress, no notes, no tables of the converter
    #[arg(long, short, global = true, help_heading = "General")]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Convert(commands::convert::ConvertArgs),
    Encode(commands::encode::EncodeArgs),
    Classify(commands::classify::ClassifyArgs),
    Similarity(commands::similarity::SimilarityArgs),
    Tokenize(commands::tokenize::TokenizeArgs),
    Preprocess(commands::preprocess::PreprocessArgs),
    Info(commands::info::InfoArgs),
    Verify(commands::verify::VerifyArgs),
    Eval(commands::eval::EvalArgs),
    Bench(commands::bench::BenchArgs),
    Doctor(commands::doctor::DoctorArgs),
    Models(commands::models::ModelsArgs),
    Pull(commands::pull::PullArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let console = Console::new(cli.general.quiet, cli.general.compute.clone());
    let Err(error) = run(cli, &console) else {
        let failures = console.failures();
        if failures > 0 {
            console.note(&format!("{failures} failed and left out; everything else is complete"));
        }
        return ExitCode::from(u8::from(failures > 0));
    };
    // Whoever reads us (`head`, a pager) has seen enough: no error, and nobody to tell.
    if error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)) {
        return ExitCode::SUCCESS;
    }
    console.error(&error);
    ExitCode::from(match () {
        () if error.is::<Failed>() => 1,
        () if error.is::<Interrupted>() => 130,
        () => 2,
    })
}

fn run(cli: Cli, console: &Console) -> anyhow::Result<()> {
    let Some(threads) = cli.general.threads else {
        return dispatch(cli.command, console);
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.into()).build();
    pool.with_context(|| format!("--threads {threads}: cannot start the threads; ask for fewer"))?
        .install(|| dispatch(cli.command, console))
}

fn dispatch(command: Command, console: &Console) -> anyhow::Result<()> {
    match command {
        Command::Convert(args) => commands::convert::run(args, console),
        Command::Encode(args) => commands::encode::run(args, console),
        Command::Classify(args) => commands::classify::run(args, console),
        Command::Similarity(args) => commands::similarity::run(args, console),
        Command::Tokenize(args) => commands::tokenize::run(args, console),
        Command::Preprocess(args) => commands::preprocess::run(args, console),
        Command::Info(args) => commands::info::run(args, console),
        Command::Verify(args) => commands::verify::run(args, console),
        Command::Eval(args) => commands::eval::run(args, console),
        Command::Bench(args) => commands::bench::run(args, console),
        Command::Doctor(args) => commands::doctor::run(&args, console),
        Command::Models(args) => commands::models::run(&args, console),
        Command::Pull(args) => commands::pull::run(&args, console),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_do_not_contradict_each_other() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    /// Every argument of every command says what it is for.
    #[test]
    fn every_argument_is_documented() {
        fn check(command: &clap::Command) {
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
            }
            assert!(command.get_about().is_some(), "{}", command.get_name());
            command.get_subcommands().for_each(check);
        }
        check(&<Cli as clap::CommandFactory>::command());
    }
}
