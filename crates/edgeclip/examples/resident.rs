//! A process that keeps a model loaded and does what lines of JSON on standard input ask, one answer a line: what tools/compare_peers.py times
//! beside other programs.
//!
//! `resident --model FILE --threads N [--isa NAME] [--coarse]`. Commands, of which `file`, `image` and `text` answer with the nanoseconds of each call:
//!
//! * `{"op": "inputs", "crops": FILE, "ids": [[..]]}`: the pictures, `[n, size, size, 3]` bytes, and the texts that others refer to by number;
//! * `{"op": "file", "path": FILE, "decode": "exact" | "fast", "repeat": R}`: from the bytes of a picture file, read before, to its vector;
//! * `{"op": "image", "first": I, "batch": B, "repeat": R}`, `{"op": "text", "rows": [..], "repeat": R}`;
//! * `{"op": "embed", "texts": N}`: the vectors of all pictures and the first texts;
//! * `{"op": "memory"}`: VmHWM in kB; `{"op": "quit"}`.

use std::{
    error::Error,
    io::{BufRead, Write},
    time::Instant,
};

use edgeclip::{Clip, Decode, Groups, Options, PictureOptions, Pixels, TokenBatch, Tower};
use serde_json::{Value, json};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Result<()> {
    let (mut model, mut threads, mut options) = (String::new(), 1, Options::default());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--model" => model = value()?,
            "--threads" => threads = value()?.parse()?,
            "--isa" => options.isa = Some(value()?.parse()?),
            "--coarse" => options.groups = Groups::Coarse,
            other => return Err(format!("no argument {other:?}").into()),
        }
    }
    // Everything happens on a thread of the pool, so that no call has to find its way into it.
    rayon::ThreadPoolBuilder::new().num_threads(threads).build()?.install(|| serve(&model, &options))
}

fn serve(model: &str, options: &Options) -> Result<()> {
    let empty = memory();
    let start = Instant::now();
    let clip = Clip::load_with(model, options)?;
    let spec = clip.config().image.as_ref().ok_or("no image encoder")?.preprocessing.clone();
    let black = Pixels::from_crop(spec.size, vec![0; 3 * spec.size.pow(2) as usize], spec.mean, spec.std)?;
    clip.preload(Tower::Image)?;
    clip.preload(Tower::Text)?;
    let load = start.elapsed().as_nanos() as u64;
    clip.encode_image(&[black])?;
    clip.encode_text(&clip.tokenize(&["a"])?)?;
    let first = start.elapsed().as_nanos() as u64;
    let mut out = std::io::stdout().lock();
    let ready = json!({"load_ns": load, "first_ns": first, "empty_kb": empty, "loaded_kb": memory(), "isa": clip.isa().name()});
    writeln!(out, "{ready}")?;
    out.flush()?;

    let (mut pictures, mut rows): (Vec<Pixels>, Vec<Vec<u32>>) = (Vec::new(), Vec::new());
    for line in std::io::stdin().lock().lines() {
        let command: Value = serde_json::from_str(&line?)?;
        let number = |key: &str| command[key].as_u64().map(|n| n as usize).ok_or(format!("no number {key:?}"));
        let answer = match command["op"].as_str() {
            Some("inputs") => {
                let bytes = std::fs::read(command["crops"].as_str().ok_or("no crops")?)?;
                let crops = bytes.chunks_exact(3 * spec.size.pow(2) as usize);
                pictures = crops
                    .map(|crop| Pixels::from_crop(spec.size, crop.to_vec(), spec.mean, spec.std))
                    .collect::<std::result::Result<_, _>>()?;
                rows = serde_json::from_value(command["ids"].clone())?;
                json!({"pictures": pictures.len(), "texts": rows.len()})
            }
            Some("file") => {
                let bytes = std::fs::read(command["path"].as_str().ok_or("no path")?)?;
                let decode = match command["decode"].as_str() {
                    Some("exact") => Decode::Exact,
                    Some("fast") => Decode::Fast,
                    other => return Err(format!("no way {other:?} to decode").into()),
                };
                // As the other programs see it.
                let options = PictureOptions { exif: false, decode, ..PictureOptions::default() };
                times(number("repeat")?, || clip.encode_image(&[clip.preprocess_with(&bytes, &options)?]).map(drop))?
            }
            Some("image") => {
                let (first, batch) = (number("first")?, number("batch")?);
                let batch = pictures.get(first..first + batch).ok_or("no such pictures")?;
                times(number("repeat")?, || clip.encode_image(batch).map(drop))?
            }
            Some("text") => {
                let asked: Vec<usize> = serde_json::from_value(command["rows"].clone())?;
                let ids: Vec<&Vec<u32>> =
                    asked.iter().map(|&row| rows.get(row).ok_or("no such text")).collect::<std::result::Result<_, _>>()?;
                let batch = TokenBatch::from_rows(ids);
                times(number("repeat")?, || clip.encode_text(&batch).map(drop))?
            }
            Some("embed") => {
                let texts = TokenBatch::from_rows(rows.iter().take(number("texts")?));
                let (image, text) = (clip.encode_image(&pictures)?, clip.encode_text(&texts)?);
                json!({"image": image.rows().collect::<Vec<_>>(), "text": text.rows().collect::<Vec<_>>()})
            }
            Some("memory") => json!({"hwm_kb": memory()}),
            Some("quit") => return Ok(()),
            other => return Err(format!("no command {other:?}").into()),
        };
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

fn times(repeat: usize, work: impl Fn() -> std::result::Result<(), edgeclip::Error>) -> Result<Value> {
    let mut times = Vec::with_capacity(repeat);
    for _ in 0..repeat {
        let start = Instant::now();
        work()?;
        times.push(start.elapsed().as_nanos() as u64);
    }
    Ok(json!({"ns": times}))
}

/// The most memory that this process has had at once, in kB.
fn memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse().ok())
}
