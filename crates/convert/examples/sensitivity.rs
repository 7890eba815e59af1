//! Which tensors suffer most in a type: each group alone in that type, all others in f32. The numbers behind the converter's policy.
//!
//! ```text
//! cargo run --release -p edgeclip-convert --example sensitivity -- models/demo q4_0
//! ```

use std::{env, path::Path, process::ExitCode};

use edgeclip_convert::{Options, Report, Target, convert};

/// Names of groups, and the parts of names that select them.
const GROUPS: &[(&str, &[&str])] = &[
    ("everything", &["weight"]),
    ("text: token table", &["t.token_embd"]),
    ("text: position table", &["t.position_embd"]),
    ("text: projection", &["text_projection"]),
    ("text: first block", &["t.blk.0"]),
    ("text: all blocks", &["t.blk"]),
    ("image: position table", &["v.position_embd"]),
    ("image: projection", &["visual_projection"]),
    ("image: first block", &["v.blk.0"]),
    ("image: all blocks", &["v.blk"]),
    ("both: attn_q, attn_k", &["attn_q", "attn_k"]),
    ("both: attn_v", &["attn_v"]),
    ("both: attn_out", &["attn_out"]),
    ("both: MLP, into it", &["ffn_down"]),
    ("both: MLP, out of it", &["ffn_up"]),
];

fn run(folder: &Path, output: &Path, options: &Options) -> Result<Report, edgeclip_convert::Error> {
    convert(folder, output, options, &())
}

fn line(name: &str, report: &Report) {
    let Some(check) = &report.check else { return };
    let of = |cosines: &Option<edgeclip_convert::Cosines>| {
        cosines.as_ref().map_or(String::new(), |cosines| format!("{:>10.6} {:>10.6}", cosines.min, cosines.mean))
    };
    println!("{name:<32} {:>8.2} {} {}", report.bytes_out as f64 / 1e6, of(&check.image), of(&check.text));
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [folder, target] = arguments.as_slice() else {
        eprintln!("usage: sensitivity FOLDER TYPE");
        return ExitCode::from(2);
    };
    let output = env::temp_dir().join(format!("edgeclip-sensitivity-{}.gguf", std::process::id()));
    let result = measure(Path::new(folder), target, &output);
    let _ = std::fs::remove_file(&output);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(folder: &Path, target: &str, output: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let target: Target = target.parse()?;
    println!("{:<32} {:>8} {:>21} {:>21}", "", "MB", "pictures: min, mean", "texts: min, mean");
    for (name, pure) in [("the policy", false), ("pure", true)] {
        line(name, &run(folder, output, &Options { target, pure, ..Options::default() })?);
    }
    for (name, text) in [("the policy, first blocks q8_0", "blk.0"), ("the policy, attn_v q8_0", "attn_v")] {
        let overrides = vec![(text.to_owned(), Target::Q8_0)];
        line(name, &run(folder, output, &Options { target, overrides, ..Options::default() })?);
    }
    for (name, texts) in GROUPS {
        let overrides = texts.iter().map(|text| ((*text).to_owned(), target)).collect();
        let options = Options { target: Target::F32, overrides, ..Options::default() };
        line(&format!("only {name}"), &run(folder, output, &options)?);
    }
    Ok(())
}
