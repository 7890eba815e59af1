//! `edgeclip pull`: a model by its name, downloaded and converted.

use std::io::Write;

use anyhow::Result;
use clap::Args;
use edgeclip_convert::Target;

use crate::{commands::convert::target, console::Console, names, output::sink::Sink};

/// Download a model by its name and convert it, and print where the file is
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgeclip pull ViT-B-32:laion2b_s34b_b79k
  edgeclip pull openai/clip-vit-base-patch32 --type q4_0
  edgeclip encode text \"a cat\" --model openai/clip-vit-base-patch32      # `pull` is not needed: --model takes names, too

`pull` asks the Hub whether there is something newer; --model takes what is in the caches without asking.
Checkpoints go into the caches of Hugging Face and of OpenAI's clip, shared with Python; the converted file into edgeclip's own.
HF_HUB_OFFLINE=1 keeps to the caches, HF_ENDPOINT names a mirror, HF_TOKEN opens private and gated repositories.")]
pub(crate) struct PullArgs {
    /// A name that `edgeclip models` lists, or a repository of the Hub, org/name or org/name@revision
    #[arg(value_name = "NAME")]
    name: String,
    /// Type of the large matrices, as for `edgeclip convert --type`
    #[arg(long = "type", value_name = "TYPE", default_value = "q8_0", value_parser = target)]
    target: Target,
}

/// Runs the command.
pub(crate) fn run(args: &PullArgs, console: &Console) -> Result<()> {
    let path = names::pull(&args.name, args.target, console)?;
    let mut sink = Sink::open(None)?;
    writeln!(sink, "{}", path.display())?;
    sink.commit()
}
