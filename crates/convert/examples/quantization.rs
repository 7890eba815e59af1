//! What each type's rounding costs, by the simple rule and after the search: root of the mean squared error, relative to that of the values.
//! On all matrices of a checkpoint whose rows are whole blocks, and on made-up rows of bell-shaped and heavy-tailed values.
//!
//! ```text
//! cargo run --release -p edgeclip-convert --example quantization -- models/demo
//! ```

use std::{env, error::Error, fs, path::Path, process::ExitCode, time::Instant};

use edgeclip_model::Format;
use rayon::prelude::*;
use safetensors::{Dtype, SafeTensors};

/// Made-up rows, 4 Mi values in all. A multiple of every block.
const ROW: usize = 1024;
const ROWS: usize = 4096;

/// SplitMix64 (Steele, Lea and Flood 2014) and what is made of its numbers.
struct Random(u64);

impl Random {
    /// Uniform in 0..1, never 0.
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (((z ^ (z >> 31)) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Box and Muller (1958).
    fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Student's t.
    fn student(&mut self, freedom: u32) -> f64 {
        let squares: f64 = (0..freedom).map(|_| self.normal().powi(2)).sum();
        self.normal() / (squares / f64::from(freedom)).sqrt()
    }
}

fn made_up(mut value: impl FnMut(&mut Random) -> f64) -> Vec<f32> {
    let mut random = Random(7);
    (0..ROWS * ROW).map(|_| (value(&mut random) * 0.02) as f32).collect()
}

/// The matrices in the checkpoint's files with rows of a multiple of 256, one after the other.
fn matrices(folder: &Path) -> Result<Vec<f32>, Box<dyn Error>> {
    let mut values = Vec::new();
    let mut paths: Vec<_> = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_, std::io::Error>>()?;
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "safetensors"));
    paths.sort();
    for path in paths {
        let bytes = fs::read(&path)?;
        for (_, view) in SafeTensors::deserialize(&bytes)?.tensors() {
            let format = match view.dtype() {
                Dtype::F32 => Format::F32,
                Dtype::F16 => Format::F16,
                Dtype::BF16 => Format::BF16,
                _ => continue,
            };
            if let &[rows, row] = view.shape()
                && row.is_multiple_of(256)
            {
                let first = values.len();
                values.resize(first + rows * row, 0f32);
                format.dequantize(view.data(), &mut values[first..]);
            }
        }
    }
    if values.is_empty() { Err("no matrices with rows of a multiple of 256".into()) } else { Ok(values) }
}

/// Relative error, and values a second.
fn measure(values: &[f32], format: Format, quantize: fn(Format, &[f32], &mut [u8])) -> (f64, f64) {
    let mut bytes = vec![0u8; format.row_bytes(values.len()).unwrap_or_default()];
    let rows = values.par_chunks(256).zip(bytes.par_chunks_mut(format.row_bytes(256).unwrap_or_default())).with_min_len(64);
    let start = Instant::now();
    rows.for_each(|(values, bytes)| quantize(format, values, bytes));
    let seconds = start.elapsed().as_secs_f64();
    let mut back = vec![0f32; values.len()];
    format.dequantize(&bytes, &mut back);
    let squares: f64 = values.iter().map(|&x| f64::from(x).powi(2)).sum();
    let errors: f64 = values.iter().zip(&back).map(|(&x, &y)| (f64::from(x) - f64::from(y)).powi(2)).sum();
    ((errors / squares).sqrt(), values.len() as f64 / seconds)
}

fn table(name: &str, values: &[f32]) {
    println!("\n{name}: {:.1} million values", values.len() as f64 / 1e6);
    println!("{:<6} {:>6} {:>9} {:>9} {:>7} {:>22}", "type", "bits", "simple", "searched", "gain", "million values a second");
    for format in Format::ALL.into_iter().filter(|format| format.is_quantized()) {
        let (simple, simple_speed) = measure(values, format, Format::quantize);
        let (searched, searched_speed) = measure(values, format, Format::quantize_searched);
        println!(
            "{:<6} {:>6.4} {:>8.3}% {:>8.3}% {:>6.1}% {:>11.0} {:>10.0}",
            format.name(),
            (8 * format.block_bytes()) as f64 / format.block_len() as f64,
            100.0 * simple,
            100.0 * searched,
            100.0 * (1.0 - searched / simple),
            simple_speed / 1e6,
            searched_speed / 1e6,
        );
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [folder] = arguments.as_slice() else {
        eprintln!("usage: quantization FOLDER");
        return ExitCode::from(2);
    };
    match matrices(Path::new(folder)) {
        Ok(values) => table(folder, &values),
        Err(error) => {
            eprintln!("error: {folder}: {error}");
            return ExitCode::FAILURE;
        }
    }
    table("gaussian", &made_up(Random::normal));
    for freedom in [5, 4, 3] {
        table(&format!("Student's t, {freedom} degrees of freedom"), &made_up(|random| random.student(freedom)));
    }
    ExitCode::SUCCESS
}
