//! `cargo xtask dist`: the archives of a release, the same bytes from the same commit (docs/releases.md).

mod elf;
mod licences;
mod tour;

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use self::licences::Crates;
use crate::{
    Error, cargo,
    cross::{self, Cross},
    output, program, read, root, run, shown,
};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What of the repository goes into an archive, besides the program, the demo model and what is written here. The README's links to
/// other files lead into the repository.
const FILES: [&str; 7] =
    ["CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT", "README.md", "docs", "models/demo/README.md", "models/demo/pictures"];

/// Where the demo model is in an archive.
const MODEL: &str = "models/demo/demo-q8_0.gguf";

/// A system that archives are made for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Target {
    X86_64,
    Aarch64,
}

impl Target {
    const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-gnu",
            Self::Aarch64 => cross::TARGET,
        }
    }

    /// The top folder of an archive, and the archive's name without its ending.
    fn folder(self) -> String {
        format!("edgeclip-{VERSION}-{}", self.name())
    }

    fn archive(self) -> String {
        self.folder() + ".tar.gz"
    }

    /// A program of binutils for its files.
    fn tool(self, name: &str) -> String {
        match self {
            Self::X86_64 => name.to_owned(),
            Self::Aarch64 => format!("aarch64-linux-gnu-{name}"),
        }
    }
}

/// What is asked for.
#[derive(Debug, PartialEq)]
struct Plan {
    targets: Vec<Target>,
    check: bool,
}

impl Plan {
    fn new(arguments: &[OsString]) -> Result<Self, Error> {
        let mut plan = Self { targets: Vec::new(), check: false };
        let mut arguments = arguments.iter().map(|argument| argument.to_string_lossy());
        while let Some(argument) = arguments.next() {
            match argument.as_ref() {
                "--check" => plan.check = true,
                "--target" => {
                    let name = arguments.next().unwrap_or_default();
                    let target = Target::ALL.into_iter().find(|target| target.name() == name).ok_or_else(|| {
                        let known = Target::ALL.map(Target::name).join(" or ");
                        Error::Usage(format!("dist --target takes {known}, not {name:?}"))
                    })?;
                    plan.targets.push(target);
                }
                other => return Err(Error::Usage(format!("dist does not know {other:?}"))),
            }
        }
        // In this order: the program for this machine makes the other's model.
        let all = plan.targets.is_empty();
        plan.targets = Target::ALL.into_iter().filter(|target| all || plan.targets.contains(target)).collect();
        Ok(plan)
    }
}

/// The commit that archives are made of.
struct Commit {
    hash: String,
    /// Of its committer, in seconds: the time of every file.
    time: String,
}

impl Commit {
    /// What is checked out. Archives say which commit they are, so nothing else may be in the folder.
    fn current() -> Result<Self, Error> {
        let changes = output(git().args(["status", "--porcelain", "--untracked-files=normal"]))?;
        if let Some(first) = changes.lines().next() {
            let more = changes.lines().count() - 1;
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            let problem = format!(
                "{} is not what its commit says: `git status` shows {:?}{more}; commit or remove that first",
                root().display(),
                first.trim()
            );
            return Err(Error::Refused(problem));
        }
        let line = output(git().args(["-c", "log.showSignature=false", "log", "-1", "--format=%H %ct"]))?;
        let (hash, time) = line.trim().split_once(' ').unwrap_or_default();
        Ok(Self { hash: hash.to_owned(), time: time.to_owned() })
    }
}

pub(crate) fn dist(arguments: &[OsString]) -> Result<(), Error> {
    let plan = Plan::new(arguments)?;
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err(Error::Refused("archives are made on x86-64 Linux only".to_owned()));
    }
    tools(&plan.targets)?;
    let commit = Commit::current()?;
    let folder = clean_folder()?;
    for &target in &plan.targets {
        pack(target, &plan, &commit, &folder)?;
    }
    let names: Vec<String> = plan.targets.iter().map(|target| target.archive()).collect();
    let sums = output(Command::new("sha256sum").arg("--").args(&names).current_dir(&folder))?;
    write(&folder.join("SHA256SUMS"), &sums)?;
    println!("\n{} of commit {}:\n{sums}", shown(&folder), commit.hash);
    if plan.check {
        check(&plan, &commit, &folder)?;
    }
    Ok(())
}

/// Asks for every program that is started here, before an hour's work ends at the last of them.
fn tools(targets: &[Target]) -> Result<(), Error> {
    if targets.contains(&Target::Aarch64) {
        Cross::new()?;
    }
    let general = [("git", "git"), ("tar", "tar"), ("gzip", "gzip"), ("sha256sum", "coreutils"), ("cc", "gcc")];
    let mut wanted: Vec<(String, &str)> = general.map(|(program, package)| (program.to_owned(), package)).into();
    for target in targets {
        let package = if *target == Target::X86_64 { "binutils" } else { "binutils-aarch64-linux-gnu" };
        wanted.extend(["objdump", "readelf"].map(|tool| (target.tool(tool), package)));
    }
    let absent = |program: &str| {
        let version = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        version.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
    };
    wanted.retain(|(program, _)| absent(program));
    if wanted.is_empty() {
        return Ok(());
    }
    let programs: Vec<&str> = wanted.iter().map(|(program, _)| program.as_str()).collect();
    let mut packages: Vec<&str> = wanted.iter().map(|(_, package)| *package).collect();
    packages.dedup();
    Err(Error::Refused(format!("there is no {}; Debian: apt-get install {}", programs.join(", no "), packages.join(" "))))
}

/// Where the archives go, without those of earlier runs, which may be of another commit. The rest in it is cargo's.
fn clean_folder() -> Result<PathBuf, Error> {
    let folder = crate::target().join("dist");
    let at = |error| Error::File(folder.clone(), error);
    fs::create_dir_all(&folder).map_err(at)?;
    for entry in fs::read_dir(&folder).map_err(at)? {
        let path = entry.map_err(at)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(&format!("edgeclip-{VERSION}-")) || name == "SHA256SUMS" {
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(|error| Error::File(path, error))?;
        }
    }
    Ok(folder)
}

/// Builds, examines and packs what one target gets.
fn pack(target: Target, plan: &Plan, commit: &Commit, folder: &Path) -> Result<(), Error> {
    println!("=== {}", target.name());
    let crates = Crates::of(target)?;
    let built = build(target, &crates, commit)?;
    let (major, minor) = elf::check(target, &built.program)?;
    println!("{}: needs glibc {major}.{minor}", shown(&built.program));

    let top = folder.join(target.folder());
    copy(&built.program, &top.join("edgeclip"))?;
    let listed = output(git().args(["ls-files", "-z", "--error-unmatch", "--"]).args(FILES))?;
    for name in listed.split_terminator('\0') {
        copy(&root().join(name), &top.join(name))?;
    }
    write(&top.join("INSTALL"), &install(target, (major, minor), &built.compiler, commit))?;
    write(&top.join("THIRD-PARTY"), &crates.licences()?)?;
    // The model is the same from every program; this one is for the machine that we are on.
    let converter = match plan.targets.contains(&Target::X86_64) {
        true => folder.join(Target::X86_64.folder()).join("edgeclip"),
        false => program()?,
    };
    let convert = ["convert", "models/demo", "--type", "q8_0", "--output"];
    output(Command::new(converter).args(convert).arg(top.join(MODEL)).current_dir(root()))?;

    // The order, times, owners and rights of files are those of no machine; gzip adds no name and no time.
    let tape = folder.join(target.folder() + ".tar");
    let same = ["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=u=rwX,go=rX", "--format=ustar"];
    let mut tar = Command::new("tar");
    tar.args(same).arg(format!("--mtime=@{}", commit.time)).arg("-C").arg(folder).arg("-cf").arg(&tape).arg(target.folder());
    run(tar.env("LC_ALL", "C"))?;
    run(Command::new("gzip").args(["-n", "-9"]).arg(&tape).env_remove("GZIP"))
}

/// A program for a target, and the compiler that made it.
struct Built {
    program: PathBuf,
    compiler: String,
}

fn build(target: Target, crates: &Crates, commit: &Commit) -> Result<Built, Error> {
    let mut cargo = match target {
        Target::X86_64 => cargo(),
        Target::Aarch64 => Cross::new()?.cargo("max"),
    };
    let rustc = cargo.get_envs().find_map(|(name, value)| (name == "RUSTC").then(|| value.map(OsStr::to_owned))?);
    let rustc = rustc.or_else(|| env::var_os("RUSTC")).unwrap_or_else(|| "rustc".into());
    let version = output(Command::new(&rustc).arg("-vV"))?;
    let of = |key: &str| version.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().trim();
    let sysroot = output(Command::new(&rustc).args(["--print", "sysroot"]))?;

    // Not among what `cargo build --profile dist` leaves, but beside it.
    let place = crate::target().join("dist-build");
    // Of two that fit, rustc takes the later one. Where the sources of the standard library are not installed, it names them like this.
    let library = Path::new(sysroot.trim()).join("lib/rustlib/src/rust");
    let mut names = vec![(root(), "/edgeclip".to_owned()), (&place, "/target".to_owned())];
    names.extend(crates.places().into_iter().map(|place| (place, "/crates".to_owned())));
    names.push((&library, format!("/rustc/{}", of("commit-hash:"))));
    let flags: Vec<OsString> = names
        .iter()
        .map(|(from, to)| {
            let mut flag = OsString::from("--remap-path-prefix=");
            flag.push(from);
            flag.push("=");
            flag.push(to);
            flag
        })
        .collect();
    let package = ["build", "--locked", "--profile", "dist", "--package", "edgeclip-cli", "--target", target.name()];
    cargo.args(package).arg("--target-dir").arg(&place).current_dir(root());
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join(OsStr::new("\x1f"))).env("SOURCE_DATE_EPOCH", &commit.time);
    run(&mut cargo)?;

    let program = place.join(target.name()).join("dist/edgeclip");
    let mut private: Vec<&Path> = names.iter().map(|(path, _)| *path).collect();
    let home = env::home_dir().unwrap_or_default();
    private.extend([Path::new(sysroot.trim()), &home]);
    no_path_of(&private, &program)?;
    Ok(Built { program, compiler: version.lines().next().unwrap_or_default().to_owned() })
}

/// Refuses a program that names a file in one of the folders.
fn no_path_of(folders: &[&Path], program: &Path) -> Result<(), Error> {
    let bytes = read(program)?;
    for folder in folders {
        // Every Linux has these, and what is named there is no secret.
        if ["", "/", "/usr"].map(Path::new).contains(folder) {
            continue;
        }
        if let Some(path) = path_in(folder, &bytes) {
            return Err(Error::Refused(format!("{} contains a path of this machine, {path}", shown(program))));
        }
    }
    Ok(())
}

fn path_in(folder: &Path, bytes: &[u8]) -> Option<String> {
    let prefix = format!("{}/", folder.display());
    let start = bytes.windows(prefix.len()).position(|window| window == prefix.as_bytes())?;
    let path = bytes[start..].iter().map(|byte| char::from(*byte)).take_while(char::is_ascii_graphic);
    // Strings of a program lie side by side.
    Some(path.take(120).collect())
}

/// The file of that name in an archive.
fn install(target: Target, (major, minor): (u32, u32), compiler: &str, commit: &Commit) -> String {
    let (name, folder, hash) = (target.name(), target.folder(), &commit.hash);
    let (processor, systems, pages) = match target {
        Target::X86_64 => ("x86-64", "Debian 12, Ubuntu 22.04, RHEL 9", ""),
        Target::Aarch64 => {
            let pages = "\nThe kernel's pages may have 4, 16 (Raspberry Pi 5) or 64 KiB.";
            ("64-bit ARM", "Raspberry Pi OS of October 2023 (64-bit), Debian 12, Ubuntu 22.04", pages)
        }
    };
    format!(
        "\
edgeclip {VERSION} for {name}
commit {hash}, built with {compiler}

It needs Linux on {processor} with glibc {major}.{minor} or later (`ldd --version` shows it): {systems} or later.{pages}
Nothing else has to be installed; the program can be copied to any folder on the PATH.

The tour of README.md runs from the folder that this file is in, with another first line:

    tar -xf {folder}.tar.gz
    cd {folder}
    export PATH=$PWD:$PATH EDGECLIP_MODEL={MODEL}

Where README.md and docs say `cargo xtask convert MODEL ...`, it is `edgeclip convert MODEL ...` here. THIRD-PARTY lists the work of others
that the program contains, with its licences; the licence of the demo model is in models/demo/README.md.
"
    )
}

/// Builds all of it again in a clone elsewhere and compares the bytes; then the README's tour, from the unpacked archives.
fn check(plan: &Plan, commit: &Commit, folder: &Path) -> Result<(), Error> {
    let place = env::temp_dir().join(format!("edgeclip-dist-{}", std::process::id()));
    println!("=== again, in {}", place.display());
    let clone = place.join("clone");
    run(git().args(["clone", "--quiet", "--no-checkout"]).arg(root()).arg(&clone))?;
    run(Command::new("git").arg("-C").arg(&clone).args(["checkout", "--quiet", "--detach", &commit.hash]))?;
    let mut again = cargo();
    again.args(["xtask", "dist"]).args(plan.targets.iter().flat_map(|target| ["--target", target.name()]));
    run(again.current_dir(&clone).env("CARGO_TARGET_DIR", place.join("target")))?;
    for target in &plan.targets {
        same(*target, folder, &place.join("target/dist"))?;
        println!("{}: the same bytes", target.archive());
    }
    for target in &plan.targets {
        println!("\n=== the tour, {}", target.name());
        let empty = place.join("tour").join(target.name());
        fs::create_dir_all(&empty).map_err(|error| Error::File(empty.clone(), error))?;
        tour::follow(*target, &folder.join(target.archive()), &empty)?;
    }
    // After a failure it stays, for a look.
    fs::remove_dir_all(&place).map_err(|error| Error::File(place, error))
}

/// Compares both archives of a target, and names the first file in them that differs.
fn same(target: Target, one: &Path, other: &Path) -> Result<(), Error> {
    let differs = |name: &Path| Ok::<_, Error>(read(&one.join(name))? != read(&other.join(name))?);
    let archive = PathBuf::from(target.archive());
    if !differs(&archive)? {
        return Ok(());
    }
    let mut problem = format!("{} and {} differ", shown(&one.join(&archive)), other.join(&archive).display());
    for name in listing(&one.join(&archive))? {
        if !name.ends_with('/') && differs(Path::new(&name))? {
            problem += &format!(", first in {name}");
            break;
        }
    }
    Err(Error::Refused(problem))
}

fn listing(archive: &Path) -> Result<Vec<String>, Error> {
    Ok(output(Command::new("tar").arg("-tf").arg(archive))?.lines().map(str::to_owned).collect())
}

fn git() -> Command {
    let mut git = Command::new("git");
    git.arg("-C").arg(root());
    git
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    folder_of(to)?;
    fs::copy(from, to).map(|_| ()).map_err(|error| Error::File(from.to_owned(), error))
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    folder_of(path)?;
    fs::write(path, text).map_err(|error| Error::File(path.to_owned(), error))
}

fn folder_of(path: &Path) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(|error| Error::File(folder.to_owned(), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(arguments: &[&str]) -> Result<Plan, String> {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        Plan::new(&arguments).map_err(|error| error.to_string())
    }

    #[test]
    fn targets_are_all_or_those_named() {
        assert_eq!(plan(&[]), Ok(Plan { targets: vec![Target::X86_64, Target::Aarch64], check: false }));
        let arm = Plan { targets: vec![Target::Aarch64], check: true };
        assert_eq!(plan(&["--target", "aarch64-unknown-linux-gnu", "--check"]), Ok(arm));
        let both = ["--target", "aarch64-unknown-linux-gnu", "--target", "x86_64-unknown-linux-gnu"];
        assert_eq!(plan(&both).map(|plan| plan.targets), Ok(vec![Target::X86_64, Target::Aarch64]));
        let known = "dist --target takes x86_64-unknown-linux-gnu or aarch64-unknown-linux-gnu, not";
        assert!(plan(&["--target", "arm"]).is_err_and(|error| error.starts_with(&format!("{known} \"arm\"\n"))));
        assert!(plan(&["--target"]).is_err_and(|error| error.starts_with(known)));
        assert!(plan(&["--all"]).is_err_and(|error| error.starts_with("dist does not know \"--all\"\n")));
    }

    #[test]
    fn files_of_an_archive_are_in_the_repository() {
        for name in FILES {
            assert!(root().join(name).exists(), "{name}");
        }
    }

    #[test]
    fn paths_of_folders_are_found_in_a_program() {
        let program = b"\x7fELF\0/crates/csv-1.4.0/src/lib.rs/home/somebody/x.rs\0/homework/";
        assert_eq!(path_in(Path::new("/home"), program), Some("/home/somebody/x.rs".to_owned()));
        assert_eq!(path_in(Path::new("/work"), program), None);
    }

    #[test]
    fn an_archive_says_what_it_needs_and_is() {
        let commit = Commit { hash: "0123abcd".to_owned(), time: "0".to_owned() };
        let text = install(Target::Aarch64, (2, 34), "rustc 1.96.0", &commit);
        for part in ["glibc 2.34", "0123abcd", "rustc 1.96.0", "64 KiB", &format!("cd {}\n", Target::Aarch64.folder())] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
