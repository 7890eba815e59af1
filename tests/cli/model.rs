//! Which model is used, and what is said when there is none.

use std::fs;

use edgeclip::Isa;

use crate::support::*;

const ENCODE: [&str; 3] = ["encode", "text", "a cat"];

#[test]
fn the_flag_wins_over_the_environment() {
    let by_flag = edgeclip(&[&ENCODE[..], &["--model", demo_q8_0()]].concat()).ok();
    assert_eq!(by_flag, edgeclip(&ENCODE).env("EDGECLIP_MODEL", demo_q8_0()).ok());
    assert_eq!(by_flag, edgeclip(&[&ENCODE[..], &["--model", demo_q8_0()]].concat()).env("EDGECLIP_MODEL", demo_f32()).ok());
}

/// Never the demo, even where it could be found.
#[test]
fn without_a_model_the_error_says_how_to_get_one() {
    for program in [edgeclip(&ENCODE), edgeclip(&ENCODE).env("EDGECLIP_MODEL", ""), edgeclip(&ENCODE).folder(&root())] {
        let message = program.refused(2);
        for part in ["--model FILE", "EDGECLIP_MODEL", "edgeclip convert FOLDER --output model.gguf"] {
            assert!(message.contains(part), "{message}");
        }
    }
}

#[test]
fn what_is_no_model_is_named() {
    let folder = root().join("models/demo").display().to_string();
    let message = edgeclip(&[&ENCODE[..], &["--model", &folder]].concat()).refused(2);
    assert!(message.starts_with(&format!("{folder}: this is a folder")) && message.contains("edgeclip convert"), "{message}");
    let message = edgeclip(&[&ENCODE[..], &["--model", "none.gguf"]].concat()).refused(2);
    assert!(message.starts_with("none.gguf: cannot open it"), "{message}");
    let other = root().join("crates/gguf/tests/data/all_values.gguf").display().to_string();
    let message = edgeclip(&[&ENCODE[..], &["--model", &other]].concat()).refused(2);
    assert!(message.starts_with(&format!("{other}: key ")), "{message}");
}

/// Once and at the start, not for each input.
#[test]
fn a_model_without_the_encoder_is_named_before_any_input() {
    let folder = scratch("one_encoder");
    let [no_image, no_text] = ["image", "text"].map(|tower| without(tower, small(), &folder.join(format!("no-{tower}.gguf"))));
    fs::write(folder.join("set.csv"), "path,label\nnone.png,a\n").unwrap();
    for (model, tower, arguments) in [
        (&no_image, "image", &["encode", "image", "none.png", "none2.png"][..]),
        (&no_image, "image", &["encode", "image", "-", "--output", "out.npy"]),
        (&no_image, "image", &["preprocess", "none.png", "--output", "out.png"]),
        (&no_image, "image", &["classify", "none.png", "--labels", "a", "b"]),
        (&no_image, "image", &["similarity", "--image", "none.png"]),
        (&no_image, "image", &["eval", "set.csv"]),
        (&no_text, "text", &["encode", "text", "-"]),
        (&no_text, "text", &["classify", "none.png", "--labels", "a", "b"]),
        (&no_text, "text", &["similarity", "--image", "none.png", "--text", "a"]),
        (&no_text, "text", &["eval", "set.csv"]),
        (&no_text, "text", &["tokenize", "a"]),
    ] {
        let message = edgeclip(&[arguments, &["--model", model]].concat()).folder(&folder).refused(2);
        assert_eq!(message, format!("{model}: this file has no {tower} encoder; take one that has"), "{arguments:?}");
    }
    edgeclip(&["encode", "text", "a", "--model", &no_image]).ok();
    edgeclip(&["encode", "image", &picture("cat"), "--model", &no_text]).ok();
    assert_eq!(files(&folder), ["no-image.gguf", "no-text.gguf", "set.csv"]);
}

#[test]
fn wrong_usage_exits_with_2() {
    for arguments in
        [&["frobnicate"][..], &["encode", "text"], &["encode", "text", "a", "--threads", "0"], &["convert", "x", "--type", "q9"]]
    {
        let done = edgeclip(arguments).run();
        assert_eq!((done.code, done.text()), (Some(2), String::new()), "{arguments:?}");
        assert!(done.stderr.starts_with("error: "), "{}", done.stderr);
    }
    let help = edgeclip(&["--help"]).ok();
    for part in [
        "Exit codes:",
        "convert",
        "encode",
        "classify",
        "similarity",
        "tokenize",
        "preprocess",
        "info",
        "eval",
        "--threads",
        "--isa",
        "--coarse",
    ] {
        assert!(help.contains(part), "{part} is not in the help");
    }
    assert_eq!(edgeclip(&["--version"]).ok(), format!("edgeclip {}\n", env!("CARGO_PKG_VERSION")));
}

/// An instruction set that does not exist, or that this machine lacks, is an error, not ignored.
#[test]
fn the_instruction_set_can_be_chosen() {
    let encode = |more: &[&str]| edgeclip(&[&ENCODE[..], &["--model", demo_q8_0()], more].concat());
    let fastest = encode(&[]).ok();
    // Quantized weights: every instruction set gives the same bits.
    assert_eq!(encode(&["--isa", "scalar"]).ok(), fastest);
    assert_eq!(encode(&[]).env("EDGECLIP_ISA", "scalar").ok(), fastest);
    assert_eq!(encode(&[]).env("EDGECLIP_ISA", "").ok(), fastest);
    let message = encode(&[]).env("EDGECLIP_ISA", "mmx").refused(2);
    assert_eq!(
        message,
        "EDGECLIP_ISA: no instruction set \"mmx\" (known: scalar, avx2, avx-vnni, avx512-vnni, neon, neon-dotprod, neon-i8mm)"
    );
    // The flag wins.
    assert_eq!(encode(&["--isa", "scalar"]).env("EDGECLIP_ISA", "mmx").ok(), fastest);
    let done = encode(&["--isa", "mmx"]).run();
    assert_eq!(done.code, Some(2));
    assert!(done.stderr.contains("'--isa <NAME>': no instruction set \"mmx\" (known: scalar, avx2"), "{}", done.stderr);
    for absent in Isa::ALL.into_iter().filter(|isa| !Isa::available().any(|other| other == *isa)) {
        let absent = absent.name();
        let problem = format!("this machine has no {absent} (available: scalar");
        assert!(encode(&["--isa", absent]).refused(2).starts_with(&format!("--isa: {problem}")));
        assert!(encode(&[]).env("EDGECLIP_ISA", absent).refused(2).starts_with(&problem));
    }
}

/// Other numbers than by the scales of the file, but of the same vector.
#[test]
fn groups_can_be_coarse() {
    let encode = |more: &[&str]| {
        let text = edgeclip(&[&ENCODE[..], &["--model", demo_q8_0()], more].concat()).ok();
        normalized(&floats(&json_lines(&text)[0]["embedding"]))
    };
    let (stored, coarse) = (encode(&[]), encode(&["--coarse"]));
    assert_ne!(stored, coarse);
    assert!(dot(&stored, &coarse) > 0.999, "{}", dot(&stored, &coarse));
}

#[cfg(unix)]
#[test]
fn names_cannot_steer_the_terminal() {
    let folder = scratch("steer");
    fs::write(folder.join("\u{1b}[31m.png"), "x").unwrap();
    let done = edgeclip(&["encode", "image", ".", "--model", demo_q8_0()]).folder(&folder).run();
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.contains("error: ./\\u{1b}[31m.png: not a picture"), "{:?}", done.stderr);
}
