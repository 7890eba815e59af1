//! With what vectors are computed, as the general options and the environment say.

use anyhow::{Result, anyhow};
use clap::Args;
use edgeclip::{Groups, Isa, Options};
use edgeclip_model::Kernels;

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ComputeArgs {
    /// Instruction set to use, of those that the machine has: scalar; avx2, avx-vnni, avx512-vnni; neon, neon-dotprod, neon-i8mm
    /// [default: what the environment variable EDGECLIP_ISA says, or else the fastest]
    #[arg(long, global = true, value_name = "NAME", value_parser = |name: &str| name.parse::<Isa>(), help_heading = "General")]
    isa: Option<Isa>,
    /// Let more weights share a scale: faster, vectors change a little (docs/kernels.md)
    #[arg(long, global = true, help_heading = "General")]
    coarse: bool,
}

impl ComputeArgs {
    /// How to load models. The flag wins over the environment; a set that this machine lacks is an error.
    pub(crate) fn options(&self) -> Result<Options> {
        let options = match self.isa {
            Some(isa) => {
                Kernels::new(isa).map_err(|error| anyhow!("--isa: {error}"))?;
                Options { isa: Some(isa), ..Options::default() }
            }
            None => Options::from_env()?,
        };
        Ok(Options { groups: if self.coarse { Groups::Coarse } else { Groups::Stored }, ..options })
    }
}
