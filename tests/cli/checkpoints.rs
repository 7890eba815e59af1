//! `edgeclip convert` with the files that people have, and with files that would do harm.

use std::{fs, path::Path, process::Command};

use crate::support::*;

fn data(name: &str) -> String {
    root().join("tests/data").join(name).display().to_string()
}

#[test]
fn a_file_is_enough() {
    let folder = scratch("checkpoint_file");
    edgeclip(&["convert", &data("ckpt-openai/trace.pt"), "--type", "f16", "--no-check", "--quiet"]).folder(&folder).ok();
    assert_eq!(files(&folder), ["trace-f16.gguf"]);
    let ids = edgeclip(&["tokenize", "Hello World!", "--format", "jsonl", "--model", "trace-f16.gguf"]).folder(&folder).ok();
    assert!(ids.contains("[49406,3306,1002,256,49407]"), "{ids}");
    // The weights of a training checkpoint do not say the activation.
    let bare = data("ckpt-openai/epoch_3.pt");
    let message = edgeclip(&["convert", &bare, "--output", "m.gguf"]).folder(&folder).refused(2);
    assert!(message.starts_with(&bare) && message.contains("--arch openai") && message.contains("--arch ViT-B-32"), "{message}");
    let message = edgeclip(&["convert", &bare, "--output", "m.gguf", "--arch", "ViT-B"]).folder(&folder).refused(2);
    assert!(message.starts_with("no architecture \"ViT-B\" (known: ") && message.contains("ViT-L-14-336, "), "{message}");
    let message = edgeclip(&["convert", &bare, "--output", "m.gguf", "--arch", "ViT-B-32"]).folder(&folder).refused(2);
    assert!(message.contains("as the architecture ViT-B-32 has it"), "{message}");
    edgeclip(&["convert", &bare, "--output", "m.gguf", "--arch", "openai", "--no-check", "--quiet"]).folder(&folder).ok();
    assert_eq!(files(&folder), ["m.gguf", "trace-f16.gguf"]);
}

#[test]
fn one_encoder_of_two() {
    let folder = scratch("one_tower");
    let arguments = ["convert", &data("odd-wide"), "--tower", "text", "--output", "t.gguf", "--quiet"];
    edgeclip(&arguments).folder(&folder).ok();
    assert!(edgeclip(&["info", "t.gguf"]).folder(&folder).ok().contains("text-only CLIP model"));
    edgeclip(&["encode", "text", "a cat", "--model", "t.gguf"]).folder(&folder).ok();
    let message = edgeclip(&["encode", "image", &picture("cat"), "--model", "t.gguf"]).folder(&folder).refused(2);
    assert!(message.contains("no image encoder"), "{message}");
    let message =
        edgeclip(&["convert", &data("odd-wide"), "--compat", "clip.cpp", "--output", "c.gguf"]).folder(&folder).refused(2);
    assert!(message.contains("clip.cpp cannot load it: it knows ViT-B/32"), "{message}");
    assert_eq!(files(&folder), ["t.gguf"]);
}

/// An archive of entries that are stored as they are, without checksums.
fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in entries {
        let offset = file.len() as u32;
        let mut common = Vec::new();
        // Version, flags, method, time and date, checksum.
        common.extend([20u16, 0, 0, 0, 0].iter().flat_map(|field| field.to_le_bytes()));
        common.extend([0, content.len() as u32, content.len() as u32].iter().flat_map(|field| field.to_le_bytes()));
        common.extend((name.len() as u16).to_le_bytes());
        file.extend([&b"PK\x03\x04"[..], &common, &[0; 2], name.as_bytes(), content].concat());
        directory.extend([&b"PK\x01\x02\x14\0"[..], &common, &[0; 12], &offset.to_le_bytes(), name.as_bytes()].concat());
    }
    let (start, size, count) = (file.len() as u32, directory.len() as u32, entries.len() as u16);
    let counts = [0, 0, count, count].map(u16::to_le_bytes).concat();
    [file, directory, b"PK\x05\x06".to_vec(), counts, [size, start].map(u32::to_le_bytes).concat(), vec![0; 2]].concat()
}

/// A pickle that does something, as the whole of a checkpoint.
fn checkpoint(pickle: &[u8]) -> Vec<u8> {
    archive(&[("m/data.pkl", &[b"\x80\x02", pickle, b"."].concat()), ("m/version", b"3\n")])
}

#[test]
fn files_that_would_do_harm() {
    let folder = scratch("harmful");
    let mut nested = vec![b')'; 1];
    nested.resize(20_000_000, 0x85);
    // Each tuple holds the one before twice: 2^64 paths.
    let doubled = [b")".to_vec(), (0..64).flat_map(|i| [b'q', i, b'h', i, 0x86]).collect()].concat();
    for (name, bytes, problem) in [
        ("system.pt", checkpoint(b"cos\nsystem\nX\x0c\0\0\0touch harmed!\x85R"), "asks for os.system, which no state dict needs"),
        ("eval.pt", checkpoint(b"cbuiltins\neval\nX\x01\0\0\0\x31\x85R"), "asks for builtins.eval, which no state dict needs"),
        ("itself.pt", checkpoint(b"]q\0h\0a"), "expected a state dict, found a list"),
        ("nested.pt", checkpoint(&nested), "the pickle makes more than 2097152 values"),
        ("doubled.pt", checkpoint(&doubled), "expected a state dict, found a tuple"),
    ] {
        fs::write(folder.join(name), bytes).unwrap();
        let before = files(&folder);
        let message = edgeclip(&["convert", name, "--output", "out.gguf"]).folder(&folder).refused(2);
        assert!(message.starts_with(&format!("{name}: ")) && message.contains(problem), "{message}");
        assert_eq!(files(&folder), before, "{name}");
        fs::remove_file(folder.join(name)).unwrap();
    }
}

/// The most memory of its own that refusing a file may take. The whole process has some megabytes; the files are mapped.
#[cfg(target_os = "linux")]
#[test]
fn refusals_take_no_memory() {
    const LIMIT: &str = "268435456";
    let folder = scratch("harmful_memory");
    let deep = [vec![b'('; 30_000_000], b"t".repeat(30_000_000)].concat();
    fs::write(folder.join("deep.pt"), checkpoint(&deep)).unwrap();
    let limited = |program: &Path, arguments: &[&str]| {
        let line = format!("ulimit -d $(({LIMIT} / 1024)); exec \"$0\" \"$@\"");
        Command::new("sh").args(["-c", &line]).arg(program).args(arguments).current_dir(&folder).output().unwrap()
    };
    let program = Path::new(env!("CARGO_BIN_EXE_edgeclip"));
    let done = limited(program, &["convert", "deep.pt", "--output", "out.gguf"]);
    let message = String::from_utf8(done.stderr).unwrap();
    assert_eq!((done.status.code(), message.lines().count()), (Some(2), 1), "{message}");
    assert!(message.contains("the pickle makes more than"), "{message}");
    assert_eq!(files(&folder), ["deep.pt"]);
}
