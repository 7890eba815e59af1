//! `edgeclip encode`.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    process::Stdio,
};

use serde_json::Value;

use crate::support::*;

/// The largest difference of an element between vectors of length 1.
fn difference(ours: &Value, theirs: &[f32]) -> f64 {
    let (ours, theirs) = (normalized(&floats(ours)), normalized(theirs));
    ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// 1e-5 is what the project promises of f32 files.
#[test]
fn vectors_are_the_references() {
    let golden = Golden::demo();
    let (texts, pictures) = (golden.texts(), golden.pictures());
    for (tower, tensor, inputs) in [("text", "text_embeds", &texts), ("image", "image_embeds", &pictures)] {
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let arguments = [&["encode", tower, "--model", demo_f32(), "--"], &inputs[..]].concat();
        let records = json_lines(&edgeclip(&arguments).ok());
        assert_eq!(records.len(), inputs.len());
        for (i, record) in records.iter().enumerate() {
            assert_eq!((&record["input"], &record["tower"]), (&inputs[i].into(), &tower.into()));
            assert_eq!((&record["normalized"], &record["model"]["type"]), (&false.into(), &"f32".into()));
            let apart = difference(&record["embedding"], golden.row(tensor, i));
            assert!(apart <= 1e-5, "{}: {apart}", inputs[i]);
        }
    }
}

#[test]
fn formats_agree() {
    let encode =
        |format: &str| edgeclip(&["encode", "text", "a cat", "two, \"quoted\"", "--model", demo_q8_0(), "--format", format]);
    let lines = json_lines(&encode("jsonl").ok());
    let array: Value = serde_json::from_str(&encode("json").ok()).unwrap();
    assert_eq!(array.as_array().unwrap(), &lines);
    assert_eq!(lines[0]["model"]["name"], "demo");
    assert_eq!(lines[0]["model"]["content_id"].as_str().unwrap().len(), 64);

    let text = encode("csv").ok();
    let mut csv = csv::Reader::from_reader(text.as_bytes());
    let columns: Vec<String> = csv.headers().unwrap().iter().map(str::to_owned).collect();
    assert_eq!(columns[..7], ["input", "model.name", "model.type", "model.content_id", "tower", "normalized", "embedding.0"]);
    assert_eq!(columns.len(), 6 + 256);
    for (row, record) in csv.records().zip(&lines) {
        let row = row.unwrap();
        assert_eq!((&row[0], &row[1]), (record["input"].as_str().unwrap(), "demo"));
        let values: Vec<u32> = row.iter().skip(6).map(|v| v.parse::<f32>().unwrap().to_bits()).collect();
        assert_eq!(values, bits(&record["embedding"]));
    }

    let npy = encode("npy").run().stdout;
    assert!(npy.starts_with(b"\x93NUMPY\x01\x00"));
    let header = usize::from(u16::from_le_bytes([npy[8], npy[9]]));
    let literal = std::str::from_utf8(&npy[10..10 + header]).unwrap();
    assert_eq!(literal.trim_end(), "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 256), }");
    assert!((10 + header).is_multiple_of(64) && literal.ends_with('\n'));
    let values: Vec<u32> = npy[10 + header..].chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect();
    assert_eq!(values, [bits(&lines[0]["embedding"]), bits(&lines[1]["embedding"])].concat());
}

#[test]
fn normalized_vectors_have_length_one() {
    let records = json_lines(&edgeclip(&["encode", "text", "a", "a cat", "--normalize", "--model", demo_q8_0()]).ok());
    for record in &records {
        assert_eq!(record["normalized"], true);
        let norm = floats(&record["embedding"]).iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        // 256 roundings to f32.
        assert!((norm - 1.0).abs() < 1e-6, "{norm}");
    }
}

/// Quantized weights: the same bits whatever the batch and the threads.
#[test]
fn batches_and_threads_do_not_show() {
    let pictures = root().join("models/demo/pictures").display().to_string();
    let encode = |options: &[&str]| edgeclip(&[&["encode", "image", &pictures, "--model", demo_q8_0()], options].concat()).ok();
    let plain = encode(&[]);
    assert_eq!(json_lines(&plain).len(), 16);
    assert_eq!(plain, encode(&["--batch", "1"]));
    assert_eq!(plain, encode(&["--batch", "7", "--threads", "3"]));
}

#[test]
fn bad_files_are_reported_and_skipped() {
    let folder = scratch("bad_files");
    let text = folder.join("text.png").display().to_string();
    fs::write(&text, "just words").unwrap();
    let missing = folder.join("none.png").display().to_string();
    let (dog, cat) = (picture("dog"), picture("cat"));
    let arguments = ["encode", "image", &dog, &missing, &text, &cat, "--model", demo_q8_0()];
    let done = edgeclip(&arguments).run();
    assert_eq!(done.code, Some(1));
    let inputs: Vec<Value> = json_lines(&done.text()).into_iter().map(|mut record| record["input"].take()).collect();
    assert_eq!(inputs, [dog.as_str(), cat.as_str()]);
    let lines: Vec<&str> = done.stderr.lines().collect();
    assert_eq!(lines.len(), 3, "{}", done.stderr);
    assert_eq!(lines[0], format!("error: {missing}: no such file; check the path"));
    assert!(lines[1].starts_with(&format!("error: {text}: not a picture: expected PNG, JPEG")), "{}", lines[1]);
    assert!(lines[2].starts_with("2 failed and left out"), "{}", lines[2]);

    // --quiet leaves the errors, not the note; --strict stops at the first, with what is complete so far.
    let quiet = edgeclip(&[&arguments[..], &["--quiet"]].concat()).run();
    assert_eq!((quiet.code, quiet.stderr.lines().count()), (Some(1), 2));
    let strict = edgeclip(&[&arguments[..], &["--strict", "--batch", "1"]].concat()).run();
    assert_eq!(
        (strict.code, strict.stderr.as_str()),
        (Some(1), format!("error: {missing}: no such file; check the path\n").as_str())
    );
    assert_eq!(json_lines(&strict.text()).len(), 1);
}

#[test]
fn a_file_appears_only_when_it_is_complete() {
    let folder = scratch("complete");
    let output = folder.join("out.npy").display().to_string();
    let cat = picture("cat");
    let arguments = ["encode", "image", &cat, "none.png", "--model", demo_q8_0(), "--output", &output];
    edgeclip(&[&arguments[..], &["--strict"]].concat()).refused(1);
    assert_eq!(files(&folder), [""; 0]);
    let done = edgeclip(&arguments).run();
    assert_eq!((done.code, done.stdout.len()), (Some(1), 0));
    assert_eq!(files(&folder), ["out.npy"]);
    assert_eq!(fs::read(&output).unwrap().len(), 128 + 4 * 256);
}

#[test]
fn folders_and_patterns() {
    let folder = scratch("folders");
    fs::create_dir(folder.join("sub")).unwrap();
    for (name, file) in [("b.png", "cat"), ("sub/a.PNG", "dog"), ("a.jpg", "pizza"), ("[x].png", "panda")] {
        fs::copy(picture(file), folder.join(name)).unwrap();
    }
    fs::write(folder.join("notes.txt"), "").unwrap();
    let inputs = |argument: &str| -> Vec<String> {
        let text = edgeclip(&["encode", "image", argument, "--model", demo_q8_0()]).folder(&folder).ok();
        json_lines(&text).iter().map(|record| record["input"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(inputs("."), ["./[x].png", "./a.jpg", "./b.png", "./sub/a.PNG"]);
    assert_eq!(inputs("?.*"), ["a.jpg", "b.png"]);
    assert_eq!(inputs("**/*.PNG"), ["sub/a.PNG"]);
    // A file of that name wins over the pattern.
    assert_eq!(inputs("[x].png"), ["[x].png"]);
    let message = edgeclip(&["encode", "image", "*.gif", "--strict", "--model", demo_q8_0()]).folder(&folder).refused(1);
    assert_eq!(message, "*.gif: no file matches this pattern");
}

#[test]
fn standard_input_is_a_picture_or_lines() {
    let cat = picture("cat");
    let direct = json_lines(&edgeclip(&["encode", "image", &cat, "--model", demo_q8_0()]).ok());
    let piped = edgeclip(&["encode", "image", "-", "--model", demo_q8_0()]).input(fs::read(&cat).unwrap()).ok();
    let piped = json_lines(&piped);
    assert_eq!((&piped[0]["input"], &piped[0]["embedding"]), (&"-".into(), &direct[0]["embedding"]));

    let direct = json_lines(&edgeclip(&["encode", "text", "first", "", "a cat", "last", "--model", demo_q8_0()]).ok());
    let piped = edgeclip(&["encode", "text", "first", "-", "last", "--model", demo_q8_0()]).input("\r\na cat").ok();
    assert_eq!(json_lines(&piped), direct);

    let done = edgeclip(&["encode", "text", "-", "--model", demo_q8_0()]).input(b"a\n\xff\nb".to_vec()).run();
    assert_eq!((done.code, json_lines(&done.text()).len()), (Some(1), 2));
    assert!(done.stderr.starts_with("error: line 2 of standard input: not UTF-8"), "{}", done.stderr);
}

#[test]
fn long_texts_are_an_error_unless_truncated() {
    let long = "cat ".repeat(200);
    let done = edgeclip(&["encode", "text", "a", &long, "b", "--model", demo_q8_0(), "--quiet"]).run();
    assert_eq!((done.code, json_lines(&done.text()).len()), (Some(1), 2));
    assert!(done.stderr.contains("has 202 tokens") && done.stderr.contains("--truncate"), "{}", done.stderr);
    let cut = json_lines(&edgeclip(&["encode", "text", &long, "--truncate", "--model", demo_q8_0()]).ok());
    // 77 ids: the start, 75 cats, the end.
    let short = json_lines(&edgeclip(&["encode", "text", &"cat ".repeat(75), "--model", demo_q8_0()]).ok());
    assert_eq!(cut[0]["embedding"], short[0]["embedding"]);
}

/// While it waits for input, an interrupt ends the program at once.
#[cfg(unix)]
#[test]
fn an_interrupt_ends_waiting() {
    use std::process::Command;

    for (what, argument, name) in
        [("text", "-", "INT"), ("text", "-", "TERM"), ("image", "-", "INT"), ("image", "pipe.png", "INT")]
    {
        let folder = scratch("waiting");
        assert!(Command::new("mkfifo").arg(folder.join("pipe.png")).status().unwrap().success());
        let arguments = ["encode", what, argument, "--model", demo_q8_0(), "--output", "out.npy"];
        let mut program = edgeclip(&arguments).folder(&folder).command;
        let mut child = program.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let open = child.stdin.take();
        while files(&folder).len() < 2 && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        // Whether it waits already or not yet.
        signal(child.id(), &[name]);
        let done = child.wait_with_output().unwrap();
        assert_eq!(done.status.code(), Some(130), "{what} {argument} {name}");
        assert_eq!(String::from_utf8(done.stderr).unwrap(), "error: interrupted; no file was written\n");
        assert_eq!(files(&folder), ["pipe.png"]);
        drop(open);
    }
}

/// `edgeclip ... | head -1`: no error, no message.
#[test]
fn a_closed_pipe_is_quiet() {
    let lines: String = (0..400).map(|i| format!("number {i}\n")).collect();
    let file = scratch("closed_pipe").join("lines.txt");
    fs::write(&file, lines).unwrap();
    for format in ["jsonl", "json", "csv"] {
        let mut program = edgeclip(&["encode", "text", "-", "--model", demo_q8_0(), "--format", format, "--batch", "4"]).command;
        let mut child =
            program.stdin(fs::File::open(&file).unwrap()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        // A small buffer, dropped after a line: 400 records of 3 kB do not fit into a pipe.
        BufReader::with_capacity(64, child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""), "{format}");
        assert!(!first.is_empty());
    }
}

/// Whatever the format, a full disk is said once, with the name of what is full.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    for format in ["jsonl", "csv", "npy"] {
        let arguments = ["encode", "text", "a cat", "--model", demo_q8_0(), "--format", format, "--output", "/dev/full"];
        let message = edgeclip(&arguments).refused(2);
        assert!(message.contains("/dev/full: cannot write it: "), "{message}");
    }
}

/// The orientation tag turns the picture, unless the reference's behaviour is asked for.
#[test]
fn exif_can_be_ignored() {
    let turned = root().join("crates/preprocess/tests/data/pictures/exif-6.jpg").display().to_string();
    let plain = root().join("crates/preprocess/tests/data/pictures/exif-1.jpg").display().to_string();
    let encode = |options: &[&str]| {
        let arguments = [&["encode", "image", &turned, &plain, "--model", demo_q8_0()], options].concat();
        json_lines(&edgeclip(&arguments).ok()).into_iter().map(|mut r| r["embedding"].take()).collect::<Vec<_>>()
    };
    let (with, without) = (encode(&[]), encode(&["--no-exif"]));
    assert_ne!(with[0], without[0]);
    assert_eq!(with[1], without[1]);
}

/// Vectors say that they are of reduced pictures; those of other formats are what they were, and so is everything where nothing was asked for.
#[test]
fn fast_decoding_is_stored_with_the_vectors() {
    let folder = root().join("crates/preprocess/tests/data/pictures");
    let [photo, other] = ["rgb-420.jpg", "rgb-47x61.png"].map(|name| folder.join(name).display().to_string());
    let model = small();
    let encode = |options: &[&str]| edgeclip(&[&["encode", "image", &photo, &other, "--model", model], options].concat()).ok();
    let (exact, fast) = (json_lines(&encode(&[])), json_lines(&encode(&["--decode", "fast"])));
    assert_eq!(encode(&["--decode", "exact"]), encode(&[]));
    for (exact, fast) in exact.iter().zip(&fast) {
        assert_eq!((exact.get("decode"), &fast["decode"]), (None, &"fast".into()));
    }
    assert_ne!(exact[0]["embedding"], fast[0]["embedding"]);
    assert_eq!(exact[1]["embedding"], fast[1]["embedding"]);
    let csv = encode(&["--decode", "fast", "--format", "csv"]);
    let mut csv = csv::Reader::from_reader(csv.as_bytes());
    assert_eq!(csv.headers().unwrap().iter().skip(5).take(3).collect::<Vec<_>>(), ["normalized", "decode", "embedding.0"]);
    assert!(csv.records().all(|row| &row.unwrap()[6] == "fast"));
    let similarity = edgeclip(&["similarity", "--image", &photo, "--format", "json", "--decode", "fast", "--model", model]).ok();
    assert_eq!(json_lines(&similarity)[0]["decode"], "fast");
}

#[test]
fn the_pixel_limit_can_be_set() {
    let cat = picture("cat");
    let arguments = ["encode", "image", &cat, "--strict", "--model", demo_q8_0(), "--max-pixels"];
    edgeclip(&[&arguments[..], &["65536"]].concat()).ok();
    let message = edgeclip(&[&arguments[..], &["65535"]].concat()).refused(1);
    assert_eq!(
        message,
        format!("{cat}: picture of 256 x 256 pixels is over the limit of 65535 pixels; raise it with --max-pixels")
    );
}
