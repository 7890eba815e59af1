//! `cargo xtask fuzz`: libFuzzer with an address sanitizer over everything that reads what strangers wrote (docs/security.md).

#[path = "../../fuzz/src/table.rs"]
#[allow(missing_docs, unreachable_pub, reason = "a module of another crate too")]
mod table;

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::Instant,
};

use self::table::{TARGETS, Target};
use crate::{Error, cargo, output, run, shown, target};

/// Seconds for one input, of which a quick target needs a hundred thousandth. What takes longer is a finding.
const SECONDS: u32 = 20;
/// MiB of memory for the whole process: what has been allocated at one time, and the sanitizer's own.
const MEMORY: u32 = 2560;

/// What is asked for.
#[derive(Debug, PartialEq)]
struct Plan {
    minutes: u64,
    jobs: usize,
    targets: Vec<&'static str>,
    /// Inputs to run once, instead of looking for new ones.
    inputs: Vec<PathBuf>,
}

impl Plan {
    fn new(arguments: &[OsString]) -> Result<Self, Error> {
        let mut plan = Self { minutes: 1, jobs: 1, targets: Vec::new(), inputs: Vec::new() };
        let mut arguments = arguments.iter().map(|argument| argument.to_string_lossy());
        while let Some(argument) = arguments.next() {
            let mut number = |most: u64| {
                let text = arguments.next().unwrap_or_default();
                let number = text.parse().ok().filter(|number| (1..=most).contains(number));
                number.ok_or_else(|| Error::Usage(format!("fuzz {argument} takes a number from 1 to {most}, not {text:?}")))
            };
            match argument.as_ref() {
                "--minutes" => plan.minutes = number(100_000)?,
                "--jobs" => plan.jobs = number(1024)? as usize,
                "--target" => {
                    let name = arguments.next().unwrap_or_default();
                    let target = TARGETS.iter().find(|target| target.name == name).ok_or_else(|| {
                        let known = TARGETS.map(|target| target.name).join(", ");
                        Error::Usage(format!("fuzz --target takes one of {known}, not {name:?}"))
                    })?;
                    plan.targets.push(target.name);
                }
                option if option.starts_with('-') => return Err(Error::Usage(format!("fuzz does not know {option:?}"))),
                input => plan.inputs.push(input.into()),
            }
        }
        if !plan.inputs.is_empty() && plan.targets.len() != 1 {
            return Err(Error::Usage("fuzz takes files for one --target".to_owned()));
        }
        Ok(plan)
    }

    /// In the order of the table.
    fn targets(&self) -> impl Iterator<Item = &'static Target> {
        TARGETS.iter().filter(|target| self.targets.is_empty() || self.targets.contains(&target.name))
    }
}

pub(crate) fn fuzz(arguments: &[OsString]) -> Result<(), Error> {
    let plan = Plan::new(arguments)?;
    let place = Place::new()?;
    let programs = place.build(&plan.targets)?;
    if let (Some(target), false) = (plan.targets().next(), plan.inputs.is_empty()) {
        return run(place.command(target, &programs).args(&plan.inputs));
    }
    let queue = Mutex::new(plan.targets());
    let done = Mutex::new(Vec::new());
    let work = || {
        loop {
            let Some(target) = queue.lock().unwrap_or_else(PoisonError::into_inner).next() else { return };
            let outcome = place.fuzz(target, &programs, plan.minutes);
            match &outcome {
                Ok(outcome) => println!("{}", outcome.line(target)),
                Err(error) => println!("{:<12}{error}", target.name),
            }
            done.lock().unwrap_or_else(PoisonError::into_inner).push((target, outcome));
        }
    };
    thread::scope(|scope| {
        for _ in 0..plan.jobs {
            scope.spawn(work);
        }
    });
    let mut findings = Vec::new();
    for (target, outcome) in done.into_inner().unwrap_or_else(PoisonError::into_inner) {
        findings.extend(outcome?.finding.map(|finding| (target.name, finding)));
    }
    if findings.is_empty() {
        return Ok(());
    }
    for (target, finding) in &findings {
        println!("\n{}\n  again: cargo xtask fuzz --target {target} {}", finding.what, finding.input.display());
    }
    let names: Vec<String> = findings.iter().map(|(_, finding)| finding.input.display().to_string()).collect();
    Err(Error::Refused(format!("found {}: {}", names.len(), names.join(", "))))
}

/// Where everything is: `target/fuzz`, and a folder for the files that targets write, in memory where there is such a place.
struct Place {
    folder: PathBuf,
    temporary: PathBuf,
}

impl Place {
    fn new() -> Result<Self, Error> {
        let memory = Path::new("/dev/shm");
        let temporary = if memory.is_dir() { memory.to_owned() } else { env::temp_dir() };
        let place = Self { folder: target().join("fuzz"), temporary: temporary.join(format!("edgeclip-fuzz-{}", process::id())) };
        place.folder_of("logs", "")?;
        make(&place.temporary)?;
        Ok(place)
    }

    fn folder_of(&self, what: &str, target: &str) -> Result<PathBuf, Error> {
        let folder = self.folder.join(what).join(target);
        make(&folder)?;
        Ok(folder)
    }

    /// Builds the targets, all or the one that is wanted, and gives the folder of their programs. Sanitizers are not stable, but
    /// the compiler that they come with is the one of everything else, so no other has to be there.
    fn build(&self, targets: &[&str]) -> Result<PathBuf, Error> {
        let has = |command: &mut Command| {
            command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
        };
        if !has(Command::new(env::var_os("CXX").unwrap_or_else(|| "c++".into())).arg("--version")) {
            return Err(Error::Refused("fuzzing needs a C++ compiler (c++); install g++".to_owned()));
        }
        if !has(cargo().args(["fuzz", "--version"])) {
            println!("installing cargo-fuzz");
            run(cargo().args(["install", "--quiet", "--locked", "cargo-fuzz"]))?;
        }
        let compiler = output(Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("-vV"))?;
        let host = compiler.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default();
        let build = self.folder.join("build");
        let mut command = cargo();
        command.args(["fuzz", "build", "--fuzz-dir"]).arg(crate::root().join("fuzz"));
        command.args(["--target", host, "--target-dir"]).arg(&build);
        if let [only] = targets {
            command.arg(only);
        }
        run(command.env("RUSTC_BOOTSTRAP", "1"))?;
        Ok(build.join(host).join("release"))
    }

    /// A target's program, with what all of them are run with.
    fn command(&self, target: &Target, programs: &Path) -> Command {
        let mut command = Command::new(programs.join(target.name));
        command.args([format!("-timeout={SECONDS}"), format!("-rss_limit_mb={MEMORY}")]);
        command.arg(format!("-malloc_limit_mb={}", target.megabytes));
        // Two processes share two cores, and an input that takes many threads to fail is hard to look at. Leaks are not looked
        // for: what a target keeps between its inputs is meant to stay.
        command.env("RAYON_NUM_THREADS", "1").env("ASAN_OPTIONS", "detect_leaks=0").env("TMPDIR", &self.temporary);
        command
    }

    /// Fuzzes one target.
    fn fuzz(&self, target: &Target, programs: &Path, minutes: u64) -> Result<Outcome, Error> {
        let (corpus, artifacts) = (self.folder_of("corpus", target.name)?, self.folder_of("artifacts", target.name)?);
        for folder in target.seeds {
            copy_seeds(&crate::root().join(folder), &corpus, target.longest)?;
        }
        let path = self.folder.join("logs").join(format!("{}.log", target.name));
        let log = File::create(&path).map_err(|error| Error::File(path.clone(), error))?;
        let mut command = self.command(target, programs);
        command.arg(format!("-max_total_time={}", 60 * minutes)).arg(format!("-max_len={}", target.longest));
        command.arg("-print_final_stats=1");
        command.arg(format!("-artifact_prefix={}/", artifacts.display()));
        command.arg(format!("-dict={}", crate::root().join("fuzz/dictionaries").join(target.dictionary).display()));
        println!("{:<12}for {minutes} min, log in {}", target.name, shown(&path));
        let start = Instant::now();
        let status = command.arg(&corpus).stdout(Stdio::null()).stderr(log).status();
        let status = status.map_err(|error| Error::Start(target.name.to_owned(), error))?;
        let log = String::from_utf8_lossy(&crate::read(&path)?).into_owned();
        let mut outcome = Outcome::of(&log, start.elapsed().as_secs());
        if !status.success() && outcome.finding.is_none() {
            outcome.finding = Some(Finding { what: format!("{} ended with {status}", target.name), input: path });
        }
        Ok(outcome)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What is left there is of no use to anybody.
        let _ = fs::remove_dir_all(&self.temporary);
    }
}

fn make(folder: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(|error| Error::File(folder.to_owned(), error))
}

/// Copies the files of a folder that are not too long.
fn copy_seeds(from: &Path, to: &Path, longest: usize) -> Result<(), Error> {
    let wrong = |error| Error::File(from.to_owned(), error);
    for entry in fs::read_dir(from).map_err(wrong)? {
        let entry = entry.map_err(wrong)?;
        let found = entry.metadata().map_err(wrong)?;
        if found.is_file() && found.len() <= longest as u64 {
            fs::copy(entry.path(), to.join(entry.file_name())).map_err(wrong)?;
        }
    }
    Ok(())
}

/// An input that a target did not survive.
#[derive(Debug, PartialEq)]
struct Finding {
    what: String,
    input: PathBuf,
}

/// What libFuzzer says of a run.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    seconds: u64,
    executions: Option<u64>,
    /// Places in the code that were reached, and those together with how often.
    coverage: Option<u64>,
    features: Option<u64>,
    /// Inputs that were kept.
    corpus: Option<u64>,
    /// MiB at most.
    memory: Option<u64>,
    finding: Option<Finding>,
}

impl Outcome {
    fn of(log: &str, seconds: u64) -> Self {
        let number = |text: &str| text.split(|c: char| !c.is_ascii_digit()).find(|part| !part.is_empty())?.parse().ok();
        let last = |word: &str| log.lines().rev().find_map(|line| number(line.split_once(word)?.1));
        let mut lines = log.lines();
        // A panic says what it is on the next line.
        let what = lines.find(|line| line.contains("panicked at") || line.contains("ERROR: ")).map(|line| {
            if line.contains("panicked at") { [line, lines.next().unwrap_or_default()].join(" ") } else { line.into() }
        });
        let input =
            log.lines().rev().find_map(|line| line.split_once("Test unit written to ")).map(|(_, path)| path.trim().into());
        Self {
            seconds,
            executions: last("stat::number_of_executed_units:").or_else(|| {
                let number = |line: &str| number(line.strip_prefix('#')?);
                log.lines().rev().find_map(number)
            }),
            coverage: last(" cov: "),
            features: last(" ft: "),
            corpus: last(" corp: "),
            memory: last("stat::peak_rss_mb:"),
            finding: input.map(|input| Finding { what: what.unwrap_or("no message".into()), input }),
        }
    }

    /// The summary, on one line.
    fn line(&self, target: &Target) -> String {
        let number = |number: Option<u64>| number.map_or("?".to_owned(), |number| number.to_string());
        let found = if self.finding.is_some() { "1" } else { "none" };
        format!(
            "{:<12}{:>5} s {:>10} executions {:>6} edges {:>7} features {:>6} inputs {:>5} MiB  findings: {found}",
            target.name,
            self.seconds,
            number(self.executions),
            number(self.coverage),
            number(self.features),
            number(self.corpus),
            number(self.memory),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(arguments: &[&str]) -> Result<Plan, String> {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        Plan::new(&arguments).map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned())
    }

    #[test]
    fn arguments() {
        let whole = plan(&["--minutes", "20", "--target", "text", "--jobs", "2"]).unwrap();
        assert_eq!(whole, Plan { minutes: 20, jobs: 2, targets: vec!["text"], inputs: vec![] });
        assert_eq!(plan(&[]).unwrap().targets().count(), TARGETS.len());
        assert_eq!(plan(&["--target", "text", "a/crash-1"]).unwrap().inputs, [Path::new("a/crash-1")]);
        assert_eq!(plan(&["a/crash-1"]), Err("fuzz takes files for one --target".into()));
        assert_eq!(plan(&["--minutes", "0"]), Err("fuzz --minutes takes a number from 1 to 100000, not \"0\"".into()));
        assert_eq!(plan(&["--jobs"]), Err("fuzz --jobs takes a number from 1 to 1024, not \"\"".into()));
        assert!(plan(&["--target", "x"]).unwrap_err().starts_with("fuzz --target takes one of picture, "));
        assert_eq!(plan(&["--fast"]), Err("fuzz does not know \"--fast\"".into()));
    }

    #[test]
    fn the_log_is_understood() {
        let log = "INFO: seed corpus\n#128\tINITED cov: 41 ft: 60 corp: 7/3Kb exec/s: 0 rss: 40Mb\n\
                   #4096\tNEW    cov: 83 ft: 190 corp: 23/9Kb lim: 512 exec/s: 2048 rss: 61Mb L: 9/99 MS: 1 EraseBytes-\n";
        let outcome = Outcome::of(log, 3);
        assert_eq!(
            outcome,
            Outcome {
                seconds: 3,
                executions: Some(4096),
                coverage: Some(83),
                features: Some(190),
                corpus: Some(23),
                ..Outcome::default()
            }
        );
        assert!(outcome.line(&TARGETS[0]).ends_with("findings: none"));
        let end = "thread '<unnamed>' panicked at src/lib.rs:3:5:\nwhy\n==1== ERROR: libFuzzer: deadly signal\n\
                   artifact_prefix='a/'; Test unit written to a/crash-1\n\
                   stat::number_of_executed_units: 5000\nstat::peak_rss_mb:              77\n";
        let outcome = Outcome::of(&[log, end].concat(), 3);
        assert_eq!((outcome.executions, outcome.memory), (Some(5000), Some(77)));
        let finding = outcome.finding.unwrap();
        assert_eq!(
            finding,
            Finding { what: "thread '<unnamed>' panicked at src/lib.rs:3:5: why".into(), input: "a/crash-1".into() }
        );
    }

    #[test]
    fn every_target_has_its_files() {
        let root = crate::root();
        for target in &TARGETS {
            assert!(root.join("fuzz/dictionaries").join(target.dictionary).is_file(), "{}", target.name);
            assert!(root.join("fuzz/fuzz_targets").join(target.name).with_extension("rs").is_file(), "{}", target.name);
        }
    }
}
