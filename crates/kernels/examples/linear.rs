//! One product of a tile's rows and sixteen outputs, for tools/static_counts.py, which looks at the instructions that it takes.
//!
//! `linear FORMAT ISA ROWS INPUTS`

use std::{env, process::ExitCode};

use bytes::Bytes;
use edgeclip_kernels::{Activations, Epilogue, Format, Isa, Kernels, Linear, Rows, Threads};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match run(&arguments) {
        Ok(sum) => {
            println!("{sum}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &[String]) -> Result<f32, String> {
    let [format, isa, rows, inputs] = arguments else { return Err("expected FORMAT ISA ROWS INPUTS".to_owned()) };
    let format = Format::ALL.into_iter().find(|known| known.to_string() == *format).ok_or("no such format")?;
    let kernels = Kernels::new(isa.parse::<Isa>()?).map_err(|error| error.to_string())?;
    let (m, n) = (rows.parse::<usize>().map_err(|error| error.to_string())?, 16);
    let k = inputs.parse::<usize>().map_err(|error| error.to_string())?;
    let values: Vec<f32> = (0..n * k).map(|i| ((i * 7919 % 2003) as f32 - 1001.0) / 20_000.0).collect();
    let mut bytes = vec![0; n * format.row_bytes(k).ok_or("no whole blocks")?];
    format.quantize(&values, &mut bytes);
    let linear =
        Linear::new(kernels, &[Rows { format, n, k, bytes: Bytes::from(bytes) }], None).map_err(|error| error.to_string())?;
    let mut x = Activations::default();
    x.set(&linear, &values[..m * k], Threads::One);
    let mut out = vec![0.0; m * n];
    linear.forward(&x, Epilogue::Store, &mut out, Threads::One);
    Ok(out.iter().sum())
}
