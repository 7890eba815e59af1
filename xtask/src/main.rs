//! What people and CI call: `cargo xtask convert | test | peak | aarch64 | dist | fuzz | ci`. It starts cargo and programs and knows no product crate.
#![forbid(unsafe_code)]

mod aarch64;
mod cross;
mod dist;
mod fuzz;

use std::{
    env,
    ffi::OsString,
    fmt, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, ExitStatus, Stdio},
    time::{Duration, Instant},
};

const HELP: &str = "\
cargo xtask <task> [arguments]

  convert              build the program, convert the demo checkpoint, check it, and show it on a picture
  convert MODEL ...    the same as `edgeclip convert MODEL ...` with a folder, file or name, built first (--help: its options)
  test [arguments]     the whole test suite; arguments go to `cargo test`
  peak [--json]        what this machine can do at most: multiply-adds and reads in a second, on one thread and on all
  aarch64              builds for 64-bit ARM and runs kernels, demo and tests under qemu as the processors of a Raspberry Pi 4 and 5 and as
                       a newer one; on x86-64 Debian, where it installs what it needs
  dist [--check]       the archives of a release, for x86-64 and ARM Linux (--target NAME: one of them); --check makes them twice and
                       follows the README's tour in them (docs/releases.md)
  fuzz                 looks for inputs that break a reader of files: one minute for each target (--minutes N), all of them (--target NAME),
                       one at a time (--jobs N); --target NAME FILE runs a finding again. Installs cargo-fuzz, needs a C++ compiler
                       (docs/security.md)
  ci                   what has to pass before a change lands: format, lints, docs, tests, the demo, ARM, with the time of each";

/// Why a task failed. What the started program had to say, it has said.
#[derive(Debug)]
enum Error {
    Usage(String),
    Start(String, std::io::Error),
    Failed(String, Option<i32>),
    File(PathBuf, std::io::Error),
    /// Somebody has to do something first: says what is wrong, and what to do.
    Refused(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(problem) => write!(f, "{problem}\n\n{HELP}"),
            Self::Start(program, error) => write!(f, "cannot start {program}: {error}"),
            Self::Failed(line, Some(code)) => write!(f, "`{line}` failed with {code}"),
            Self::Failed(line, None) => write!(f, "`{line}` was killed"),
            Self::File(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Refused(problem) => f.write_str(problem),
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let (task, rest) = match arguments.split_first() {
        Some((task, rest)) => (task.to_string_lossy().into_owned(), rest),
        None => ("--help".to_owned(), &[][..]),
    };
    let result = match task.as_str() {
        "convert" if rest.is_empty() => demo(),
        "convert" => convert(rest),
        "test" => test(rest),
        "peak" => peak(rest),
        "aarch64" if rest.is_empty() => aarch64::aarch64(),
        "aarch64" => Err(Error::Usage("aarch64 takes no arguments".to_owned())),
        "dist" => dist::dist(rest),
        "fuzz" => fuzz::fuzz(rest),
        "ci" if rest.is_empty() => ci(),
        "ci" => Err(Error::Usage("ci takes no arguments".to_owned())),
        "help" | "--help" | "-h" => {
            println!("{HELP}");
            Ok(())
        }
        other => Err(Error::Usage(format!("there is no task {other:?}"))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            // A program's own code goes on to the caller.
            match error {
                Error::Failed(_, Some(code)) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
                Error::Usage(_) => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// The repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Cargo's folder for what it builds: this program is in a subfolder of it.
fn target() -> PathBuf {
    let own = env::current_exe().ok().and_then(|path| Some(path.parent()?.parent()?.to_owned()));
    own.unwrap_or_else(|| root().join("target"))
}

fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs a command to its end and passes on what it prints.
fn run(command: &mut Command) -> Result<(), Error> {
    let status = command.status().map_err(|error| Error::Start(name(command), error))?;
    if status.success() { Ok(()) } else { Err(failed(command, status)) }
}

/// Runs a command to its end and gives what it prints.
fn output(command: &mut Command) -> Result<String, Error> {
    let done = command.stderr(Stdio::inherit()).output().map_err(|error| Error::Start(name(command), error))?;
    if done.status.success() { Ok(String::from_utf8_lossy(&done.stdout).into_owned()) } else { Err(failed(command, done.status)) }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|error| Error::File(path.to_owned(), error))
}

fn name(command: &Command) -> String {
    let program = command.get_program();
    Path::new(program).file_name().unwrap_or(program).to_string_lossy().into_owned()
}

fn failed(command: &Command, status: ExitStatus) -> Error {
    let line = command.get_args().fold(name(command), |line, argument| line + " " + &quoted(&argument.to_string_lossy()));
    Error::Failed(line, status.code())
}

/// An argument as a shell takes it.
fn quoted(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\'', r"'\''"))
}

/// Builds the program and gives its path. Only the optimised build: a debug build would say nothing about speed.
fn program() -> Result<PathBuf, Error> {
    let manifest = root().join("Cargo.toml");
    run(cargo().args(["build", "--quiet", "--release", "--package", "edgeclip-cli", "--manifest-path"]).arg(manifest))?;
    Ok(target().join("release").join(format!("edgeclip{}", env::consts::EXE_SUFFIX)))
}

fn convert(arguments: &[OsString]) -> Result<(), Error> {
    run(Command::new(program()?).arg("convert").args(arguments))
}

/// The demo from checkpoint to answer, and what to try next.
fn demo() -> Result<(), Error> {
    let program = shown(&program()?);
    let checkpoint = shown(&root().join("models/demo"));
    let picture = format!("{checkpoint}/pictures/cat.png");
    let folder = target().join("demo");
    fs::create_dir_all(&folder).map_err(|error| Error::File(folder.clone(), error))?;
    let model = shown(&folder.join("demo-q8_0.gguf"));
    let labels = ["cat", "dog", "panda", "pizza", "red car", "rocket"];
    // The sentences that the demo was trained on.
    let template = "an emoji of a {}";

    show(&program, &["convert", &checkpoint, "--type", "q8_0", "--output", &model])?;
    println!();
    let classify = [&["classify", &picture, "--labels"], &labels[..], &["--template", template, "--model", &model]].concat();
    show(&program, &classify)?;

    let next = [
        vec!["encode", "image", &picture, "--model", &model],
        vec!["encode", "text", "an emoji of a cat", "--normalize", "--model", &model],
        vec!["similarity", "--image", &picture, "--text", "an emoji of a cat", "an emoji of a dog", "--model", &model],
        vec!["verify", &model, "--picture", &picture],
        vec!["--help"],
    ];
    println!("\nThe demo knows emoji only. Try next:");
    for arguments in next {
        println!("  {}", line(&program, &arguments));
    }
    println!("and with a checkpoint of your own, or a name that `edgeclip models` lists:");
    println!("  cargo xtask convert path/to/clip-vit-base-patch32 --type q8_0 --output b32.gguf");
    println!("  cargo xtask convert ViT-B-32:laion2b_s34b_b79k --type q8_0 --output b32.gguf");
    Ok(())
}

/// Prints a command as it can be typed, and runs it.
fn show(program: &str, arguments: &[&str]) -> Result<(), Error> {
    println!("$ {}", line(program, arguments));
    run(Command::new(program).args(arguments))
}

fn line(program: &str, arguments: &[&str]) -> String {
    arguments.iter().fold(quoted(program), |line, argument| line + " " + &quoted(argument))
}

/// A path as short as it can be said from here.
fn shown(path: &Path) -> String {
    let here = env::current_dir().ok();
    let path = here.and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path);
    path.display().to_string()
}

fn test(arguments: &[OsString]) -> Result<(), Error> {
    run(cargo().args(["test", "--workspace", "--manifest-path"]).arg(root().join("Cargo.toml")).args(arguments))
}

/// Optimised for no machine in particular, like the program: the loops choose their instructions at run time.
fn peak(arguments: &[OsString]) -> Result<(), Error> {
    let example = ["run", "--quiet", "--release", "--package", "edgeclip-kernels", "--example", "peak", "--manifest-path"];
    run(cargo().args(example).arg(root().join("Cargo.toml")).arg("--").args(arguments))
}

fn ci() -> Result<(), Error> {
    // Which kernels there are to run on this machine, and that none of them was left out, is for everybody to see.
    let kernels =
        ["test", "--package", "edgeclip-kernels", "--lib", "--", "--nocapture", "isa::tests::tiles", "isa::tests::encoding"];
    // "tests" and "demo" are the commands of the README, as they stand there.
    let parts: [(&str, &[&str]); 8] = [
        ("format", &["fmt", "--all", "--check"]),
        // A workspace of its own, whose bodies are among the tests.
        ("fuzz", &["fmt", "--check", "--manifest-path", "fuzz/Cargo.toml"]),
        ("lints", &["clippy", "--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"]),
        ("docs", &["doc", "--workspace", "--no-deps", "--quiet"]),
        ("tests", &["xtask", "test"]),
        ("kernels", &kernels),
        ("demo", &["xtask", "convert"]),
        ("aarch64", &["xtask", "aarch64"]),
    ];
    let mut times: Vec<(&str, Duration)> = Vec::new();
    let start = Instant::now();
    let mut result = Ok(());
    for (part, arguments) in parts {
        println!("\n=== {part}: cargo {}", arguments.join(" "));
        let start = Instant::now();
        let mut cargo = cargo();
        if part == "docs" {
            cargo.env("RUSTDOCFLAGS", "--deny warnings");
        }
        result = run(cargo.args(arguments).current_dir(root()));
        times.push((part, start.elapsed()));
        if result.is_err() {
            break;
        }
    }
    println!();
    for (part, time) in times {
        println!("{part:<8}{:>7.1} s", time.as_secs_f64());
    }
    println!("{:<8}{:>7.1} s", "all", start.elapsed().as_secs_f64());
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_can_be_pasted_into_a_shell() {
        assert_eq!(
            line("a b/edgeclip", &["x", "an emoji of a {}", "it's", ""]),
            r"'a b/edgeclip' x 'an emoji of a {}' 'it'\''s' ''"
        );
    }

    #[test]
    fn the_root_is_the_repository() {
        assert!(root().join("models/demo/config.json").is_file());
    }
}
