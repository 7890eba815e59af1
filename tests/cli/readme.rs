//! The tour in README.md is what the program prints: quantized vectors are the same on every machine, so is every digit.
#![cfg(unix)]

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use crate::support::{demo_q8_0, program, root, scratch};

#[test]
fn the_tour_is_true() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, tour) = readme.split_once("```console\n").unwrap();
    let (tour, _) = tour.split_once("```").unwrap();
    let folder = scratch("readme");
    // What a user has on the PATH, which may have to be started by an emulator.
    let (program, command) = (folder.join("edgeclip"), program());
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: String = words.map(|word| format!("'{}' ", word.to_str().unwrap())).collect();
    fs::write(&program, format!("#!/bin/sh\nexec {words}\"$@\"\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let output = folder.join("pictures.npy");

    let mut steps = 0;
    for step in tour.split("$ ").filter(|step| !step.is_empty()) {
        let (line, expected) = step.split_once('\n').unwrap();
        // What this says, the test does in its own way.
        if line.starts_with("export ") {
            continue;
        }
        let line = line.replace("pictures.npy", &output.display().to_string());
        let done = Command::new("sh")
            .args(["-c", &line])
            .env("PATH", &path)
            .env("EDGECLIP_MODEL", demo_q8_0())
            .env_remove("EDGECLIP_ISA")
            .current_dir(root())
            .output()
            .unwrap();
        assert_eq!((done.status.code(), String::from_utf8_lossy(&done.stderr).as_ref()), (Some(0), ""), "{line}");
        let printed: String =
            String::from_utf8(done.stdout).unwrap().lines().map(|line| format!("{}\n", line.trim_end())).collect();
        assert_eq!(printed, expected, "{line}");
        steps += 1;
    }
    assert!(steps >= 6, "{steps} steps");
    // 16 pictures of 256 values behind a header of 128 bytes.
    assert_eq!(fs::metadata(output).unwrap().len(), 128 + 16 * 256 * 4);
}
