//! `cargo xtask aarch64`: everything for ARM, built once on an x86-64 machine and run under qemu, on processors with and without dot products.

use std::{collections::BTreeSet, fs, path::Path, process::Command, time::Instant};

use crate::{Error, cross::Cross, output, program, read, root, run, shown, target};

/// A processor and the instruction sets that it has kernels for, as the list of kernels names them.
const CPUS: [(&str, &str, &[&str]); 3] = [
    ("cortex-a72", "Raspberry Pi 4", &["scalar", "neon"]),
    ("cortex-a76", "Raspberry Pi 5", &["scalar", "neon", "neon-dotprod"]),
    ("max", "everything that qemu knows", &["scalar", "neon", "neon-dotprod", "neon-i8mm"]),
];

/// The fixed subset of the kernels' tests: each kernel between shut pages, every number of rows, the ends of the levels, saturation, attention.
/// All shapes of all models take minutes here and run where nothing is emulated.
const KERNELS: [&str; 7] = [
    "isa::tests::tiles",
    "isa::tests::rows",
    "isa::tests::attention",
    "isa::tests::extremes",
    "isa::tests::jpeg",
    "isa::tests::activations",
    "isa::tests::shapes::formats_one_below",
];

/// What else runs: what reads, writes and prepares, and models as files. Left out are tests that run whole models many times over or quantize by search,
/// which take minutes each here; the vectors of the demo, in all types and as all processors, are compared with those of this machine instead.
const OTHERS: [&str; 9] =
    ["checkpoints", "formats", "golden", "hostile", "reject", "writer", "sources", "reference", "vocabulary"];

/// Of the program's tests, these. Others measure memory, which is the emulator's here, or need minutes.
const PROGRAM: [&str; 5] = ["doctor::", "tools::", "encode::vectors", "encode::formats", "classify::the_cat"];

/// The types of files that are compared with those of this machine.
const TYPES: [&str; 8] = ["q8_0", "q6_k", "q5_1", "q5_0", "q4_1", "q4_k", "q4_0", "f32"];

/// On f32 values of vectors of length 1.
const F32_BOUND: f32 = 2e-6;

const TEXTS: [&str; 4] =
    ["an emoji of a cat", "a red bicycle", "Hello World!", "an emoji of a person who is walking two dogs in the rain at night"];

pub(crate) fn aarch64() -> Result<(), Error> {
    let cross = Cross::new()?;
    let start = Instant::now();
    let mut last = start;
    let mut times = Vec::new();
    let mut part = |name: String| {
        times.push((name, last.elapsed()));
        last = Instant::now();
    };
    println!("--- build: all tests and the program, for every 64-bit ARM");
    run(test(&cross, "max").arg("--no-run"))?;
    part("build".to_owned());
    for (cpu, board, sets) in CPUS {
        println!("\n--- kernels as {cpu} ({board})");
        kernels(&cross, cpu, sets)?;
        part(format!("kernels, {cpu}"));
    }
    println!("\n--- the demo's vectors beside those of this machine");
    same_vectors(&cross)?;
    part("vectors".to_owned());
    for (cpu, ..) in CPUS {
        println!("\n--- the demo as {cpu}");
        run(test(&cross, cpu).args(["--test", "parity", "--test", "cli", "--", "readme", "f32_vectors"]))?;
        part(format!("demo, {cpu}"));
    }
    println!("\n--- everything else as max");
    run(test(&cross, "max").args(["--lib", "--bins", "--", "--skip", "isa::tests"]))?;
    run(test(&cross, "max").args(OTHERS.iter().flat_map(|target| ["--test", target])))?;
    run(test(&cross, "max").args(["--test", "cli", "--"]).args(PROGRAM))?;
    part("everything else".to_owned());

    println!();
    for (name, time) in times {
        println!("{name:<20}{:>7.1} s", time.as_secs_f64());
    }
    println!("{:<20}{:>7.1} s", "all", start.elapsed().as_secs_f64());
    Ok(())
}

/// The tests, as `cpu`; always of all crates, which are built in one way only.
fn test(cross: &Cross, cpu: &str) -> Command {
    let mut test = cross.cargo(cpu);
    test.args(["test", "--workspace", "--exclude", "xtask", "--quiet"]).current_dir(root());
    test
}

/// Runs the kernels' tests, and compares what they say was executed with what this processor must execute.
fn kernels(cross: &Cross, cpu: &str, sets: &[&str]) -> Result<(), Error> {
    let printed = output(test(cross, cpu).args(["--lib", "--", "--nocapture"]).args(KERNELS))?;
    // Tests run beside each other, so that something may stand before it on the line.
    let executed: BTreeSet<&str> =
        printed.lines().filter_map(|line| line.split_once("kernel executed: ")).map(|(_, name)| name).collect();
    let path = root().join("crates/kernels/tests/data/kernels-aarch64.txt");
    let list = fs::read_to_string(&path).map_err(|error| Error::File(path.clone(), error))?;
    let expected = expected(&list, sets);
    for set in sets {
        let of_set: Vec<&str> = expected.iter().filter_map(|kernel| kernel.strip_prefix(set)?.strip_prefix(' ')).collect();
        println!("{set}: {}", of_set.join(", "));
    }
    let difference = |a: &BTreeSet<&str>, b: &BTreeSet<&str>| a.difference(b).copied().collect::<Vec<_>>().join(", ");
    if executed != expected {
        return Err(Error::Refused(format!(
            "as {cpu}, {} were not executed, and {} were but are not in {}",
            difference(&expected, &executed),
            difference(&executed, &expected),
            shown(&path)
        )));
    }
    println!("executed as {cpu}: these {}, no others", executed.len());
    Ok(())
}

/// The kernels of a list that belong to some sets.
fn expected<'a>(list: &'a str, sets: &[&str]) -> BTreeSet<&'a str> {
    let of_sets = |line: &&str| line.split_once(' ').is_some_and(|(set, _)| sets.contains(&set));
    list.lines().filter(|line| !line.starts_with('#')).filter(of_sets).collect()
}

/// Files that are converted here and there are the same bytes, and so are vectors of quantized ones on every processor; vectors of f32 are close.
fn same_vectors(cross: &Cross) -> Result<(), Error> {
    let native = program()?;
    let arm = cross.target().join(crate::cross::TARGET).join("debug/edgeclip");
    let folder = target().join("aarch64-vectors");
    fs::create_dir_all(&folder).map_err(|error| Error::File(folder.clone(), error))?;
    let demo = root().join("models/demo");
    for ty in TYPES {
        let model = folder.join(format!("demo-{ty}.gguf"));
        let convert = |command: &mut Command, to: &Path| {
            run(command.arg("convert").arg(&demo).args(["--type", ty, "--quiet", "--no-check", "--output"]).arg(to))
        };
        convert(&mut Command::new(&native), &model)?;
        // By the simple rule and by search; that of the K types takes most of a minute here.
        if ty == "q8_0" || ty == "q4_0" {
            let other = folder.join(format!("arm-{ty}.gguf"));
            convert(&mut cross.run("max", &arm), &other)?;
            if read(&model)? != read(&other)? {
                return Err(Error::Refused(format!("{} and {} differ", shown(&model), shown(&other))));
            }
        }
        let vectors = |command: &dyn Fn() -> Command, name: &str| {
            let one = |tower: &str, inputs: &[&str]| {
                let out = folder.join(format!("{name}-{ty}-{tower}.npy"));
                let mut encode = command();
                encode.args(["encode", tower]).args(inputs).args(["--normalize", "--quiet", "--model"]).arg(&model);
                run(encode.arg("--output").arg(&out).current_dir(root()))?;
                read(&out)
            };
            Ok::<_, Error>([one("image", &["models/demo/pictures"])?, one("text", &TEXTS)?])
        };
        let ours = vectors(&|| Command::new(&native), "here")?;
        for (cpu, ..) in CPUS {
            let theirs = vectors(&|| cross.run(cpu, &arm), cpu)?;
            let same = ours == theirs;
            let most = ours.iter().zip(&theirs).map(|(a, b)| difference(a, b)).fold(0f32, f32::max);
            println!("{ty} as {cpu}: {}", if same { "the same bits".to_owned() } else { format!("up to {most:e} apart") });
            if !same && (ty != "f32" || most > F32_BOUND) {
                return Err(Error::Refused(format!("vectors of {} differ between this machine and {cpu}", shown(&model))));
            }
        }
    }
    Ok(())
}

/// The largest difference of two files of f32 of the same shape; infinite if they are not that.
fn difference(a: &[u8], b: &[u8]) -> f32 {
    // NumPy's header: how long it is is said at 8 and 9.
    let parts = |file: &[u8]| -> Option<(Vec<u8>, Vec<f32>)> {
        let length = 10 + usize::from(u16::from_le_bytes(*file.get(8..)?.first_chunk()?));
        let (header, values) = file.split_at_checked(length)?;
        Some((header.to_vec(), values.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)).collect()))
    };
    match (parts(a), parts(b)) {
        (Some((header, ours)), Some((other, theirs))) if header == other && ours.len() == theirs.len() => {
            let apart = |(a, b): (&f32, &f32)| if a == b { 0.0 } else { (a - b).abs() };
            // `max` would pass over what is not a number.
            ours.iter().zip(&theirs).map(apart).map(|d| if d.is_nan() { f32::INFINITY } else { d }).fold(0.0, f32::max)
        }
        _ => f32::INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_of_a_processor_are_those_of_its_sets() {
        let list = "# a comment\nneon int8 1\nneon-dotprod int8 1\nscalar float 2\n";
        assert_eq!(expected(list, &["neon", "scalar"]), BTreeSet::from(["neon int8 1", "scalar float 2"]));
    }

    #[test]
    fn differences_are_of_values_behind_the_same_header() {
        let file = |values: &[f32]| {
            let mut file = b"\x93NUMPY\x01\x00\x04\x00head".to_vec();
            values.iter().for_each(|value| file.extend(value.to_le_bytes()));
            file
        };
        assert_eq!(difference(&file(&[1.0, 2.0]), &file(&[1.0, 2.5])), 0.5);
        assert_eq!(difference(&file(&[1.0]), &file(&[1.0, 2.0])), f32::INFINITY);
        assert_eq!(difference(b"short", b"short"), f32::INFINITY);
    }
}
