//! The fuzz targets over their seeds, without a fuzzer: all of them still build, every seed goes through, and the files that are
//! whole are taken for whole.

#[path = "../fuzz/src/lib.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "a crate of its own elsewhere")]
mod fuzz;

use std::{fs, path::Path};

use fuzz::{
    repair,
    table::{TARGETS, Target},
};

/// The inputs that a target starts with.
fn seeds(target: &Target) -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let files = target
        .seeds
        .iter()
        .flat_map(|folder| fs::read_dir(root.join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}")));
    let seed = |path: std::path::PathBuf| (path.display().to_string(), fs::read(&path).unwrap());
    let mut seeds: Vec<_> = files.map(|file| seed(file.unwrap().path())).collect();
    seeds.retain(|(_, bytes)| bytes.len() <= target.longest);
    seeds.sort();
    seeds
}

#[test]
fn every_seed_goes_through() {
    for target in &TARGETS {
        let body = fuzz::body(target.name).unwrap();
        let seeds = seeds(target);
        assert!(seeds.len() > 1, "{}", target.name);
        for (path, bytes) in seeds {
            println!("{}: {path}", target.name);
            body(&bytes);
            // What begins well and ends in the middle.
            body(&bytes[..bytes.len() / 2]);
        }
    }
}

#[test]
fn repairs_leave_whole_files_alone_and_mend_others() {
    type Repair = fn(&mut Vec<u8>);
    let repairs: [(&str, Repair); 5] = [
        ("gguf", repair::gguf),
        ("model", repair::gguf),
        ("safetensors", repair::safetensors),
        ("torch", |bytes| repair::zip(bytes)),
        ("picture", |bytes| repair::png(bytes)),
    ];
    for (name, repair) in repairs {
        for (path, whole) in seeds(TARGETS.iter().find(|target| target.name == name).unwrap()) {
            let mut repaired = whole.clone();
            repair(&mut repaired);
            assert_eq!(repaired.len(), whole.len(), "{path}");
            assert!(repaired == whole, "{path}");
            for cut in 0..whole.len().min(200) {
                repair(&mut whole[..cut].to_vec());
            }
        }
    }
}
