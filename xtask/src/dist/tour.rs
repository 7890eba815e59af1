//! The README's tour, in an archive that was unpacked in an empty folder.

use std::{path::Path, process::Command};

use super::{MODEL, Target};
use crate::{Error, cross::Cross, output, quoted, read, run};

/// A command of the tour and what it prints.
#[derive(Debug, PartialEq)]
struct Step<'a> {
    command: &'a str,
    expected: &'a str,
}

/// Unpacks the archive in the folder and follows its README: each command has to print what is printed there.
pub(super) fn follow(target: Target, archive: &Path, folder: &Path) -> Result<(), Error> {
    run(Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(folder))?;
    let folder = folder.join(target.folder());
    let readme = read(&folder.join("README.md"))?;
    let readme = String::from_utf8_lossy(&readme);
    let steps = steps(&readme);
    if steps.is_empty() {
        return Err(Error::Refused("README.md has no tour: no ```console block with lines that begin with $".to_owned()));
    }
    let program = Path::new("./edgeclip");
    // The oldest processor that is promised.
    let start = match target {
        Target::X86_64 => Command::new(program),
        Target::Aarch64 => Cross::new()?.run("cortex-a72", program),
    };
    let words = [start.get_program()].into_iter().chain(start.get_args());
    let words: Vec<String> = words.map(|word| quoted(&word.to_string_lossy())).collect();
    let start_line = words.join(" ");
    for Step { command, expected } in steps {
        println!("$ {command}");
        let script = format!("edgeclip() {{ {start_line} \"$@\"; }}\n{command}");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).env("EDGECLIP_MODEL", MODEL).env_remove("EDGECLIP_ISA").current_dir(&folder);
        shell.envs(start.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let printed: String = output(&mut shell)?.lines().map(|line| format!("{}\n", line.trim_end())).collect();
        if printed != expected {
            let problem = format!("{}: `{command}` printed\n{printed}and README.md says\n{expected}", target.archive());
            return Err(Error::Refused(problem));
        }
    }
    Ok(())
}

/// The commands of the first console block. Where the program and the model are, an archive has another answer to.
fn steps(readme: &str) -> Vec<Step<'_>> {
    let Some((_, tour)) = readme.split_once("```console\n") else { return Vec::new() };
    let tour = tour.split_once("```").map_or(tour, |(tour, _)| tour);
    let steps = tour.split("$ ").filter_map(|step| step.split_once('\n'));
    let steps = steps.filter(|(command, _)| !command.is_empty() && !command.starts_with("export "));
    steps.map(|(command, expected)| Step { command, expected }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_commands_and_what_they_print() {
        let readme = "# a\n```sh\n$ no\n```\n```console\n$ export A=1\n$ edgeclip a | tail -n 1\nb\n\n  c\n$ edgeclip d   # says nothing\n```\n```console\n$ no\n```\n";
        let expected = [
            Step { command: "edgeclip a | tail -n 1", expected: "b\n\n  c\n" },
            Step { command: "edgeclip d   # says nothing", expected: "" },
        ];
        assert_eq!(steps(readme), expected);
        assert_eq!(steps("no tour"), []);
    }

    #[test]
    fn the_readme_has_a_tour() {
        assert!(steps(include_str!("../../../README.md")).len() >= 6);
    }
}
