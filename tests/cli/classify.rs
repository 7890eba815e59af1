//! `edgeclip classify` and `edgeclip similarity`.

use std::fs;

use serde_json::Value;

use crate::support::*;

const TEMPLATE: [&str; 2] = ["--template", "an emoji of a {}"];

/// The reference's probabilities of the 16 names for a picture.
fn softmax(logits: &[f32]) -> Vec<f64> {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = logits.iter().map(|v| f64::from(v - top).exp()).collect();
    weights.iter().map(|w| w / weights.iter().sum::<f64>()).collect()
}

#[test]
fn probabilities_are_the_references() {
    let golden = Golden::demo();
    let (pictures, names) = (golden.pictures(), golden.names());
    let [pictures, labels] = [&pictures, &names].map(|list| list.iter().map(String::as_str).collect::<Vec<_>>());
    let arguments = [
        &["classify"],
        &pictures[..],
        &["--labels"],
        &labels,
        &TEMPLATE,
        &["--top-k", "16", "--format", "jsonl", "--model", demo_f32()],
    ];
    let records = json_lines(&edgeclip(&arguments.concat()).ok());
    assert_eq!(records.len(), 16);
    let mut right = 0;
    for (i, record) in records.iter().enumerate() {
        assert_eq!(record["input"], pictures[i]);
        let expected = softmax(&golden.row("logits_per_image", i)[..16]);
        let ranked = record["labels"].as_array().unwrap();
        assert_eq!(ranked.len(), 16);
        for label in ranked {
            let index = names.iter().position(|name| label["label"] == name.as_str()).unwrap();
            let apart = (label["probability"].as_f64().unwrap() - expected[index]).abs();
            // Two cosines within 1e-5 of the reference's, times the scale of 23.7.
            assert!(apart <= 5e-4, "{} {label}: {apart}", pictures[i]);
        }
        assert!(ranked.is_sorted_by(|a, b| a["cosine"].as_f64() >= b["cosine"].as_f64()));
        right += usize::from(ranked[0]["label"] == names[i].as_str());
    }
    // models/demo/README.md: all but the bicycle.
    assert_eq!(right, 15);
}

#[test]
fn the_cat_is_a_cat() {
    let golden = Golden::demo();
    let names = golden.names();
    let labels: Vec<&str> = names.iter().map(String::as_str).collect();
    let cat = picture("cat");
    let arguments = [&["classify", &cat, "--labels"], &labels[..], &TEMPLATE, &["--model", demo_q8_0(), "--top-k", "2"]].concat();
    let text = edgeclip(&arguments).ok();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines.len(), lines[0]), (3, cat.as_str()));
    assert!(lines[1].ends_with(" %  cat"), "{text}");
    // Columns stand in line.
    assert_eq!(lines[1].find('%'), lines[2].find('%'));
}

#[test]
fn formats_agree() {
    let (cat, dog) = (picture("cat"), picture("dog"));
    let classify = |format: &str| {
        let arguments = [
            "classify",
            &cat,
            &dog,
            "--labels",
            "a, b",
            "dog",
            "cat",
            "--top-k",
            "2",
            "--format",
            format,
            "--model",
            demo_q8_0(),
        ];
        edgeclip(&arguments).ok()
    };
    let lines = json_lines(&classify("jsonl"));
    assert_eq!(serde_json::from_str::<Value>(&classify("json")).unwrap().as_array().unwrap(), &lines);
    let text = classify("csv");
    let rows: Vec<_> = csv::Reader::from_reader(text.as_bytes()).into_records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 4);
    for (i, row) in rows.iter().enumerate() {
        let label = &lines[i / 2]["labels"][i % 2];
        assert_eq!((&row[0], &row[1]), (lines[i / 2]["input"].as_str().unwrap(), if i % 2 == 0 { "1" } else { "2" }));
        assert_eq!((&row[2], row[3].to_owned()), (label["label"].as_str().unwrap(), label["probability"].to_string()));
    }
}

/// Each prompt's vector normalised, then the mean: computed here from `encode`.
#[test]
fn templates_are_averaged() {
    let cat = picture("cat");
    let templates = ["an emoji of a {}", "{} drawing"];
    let arguments = ["classify", &cat, "--labels", "cat", "dog", "--format", "jsonl", "--model", demo_f32()];
    let arguments = [&arguments[..], &["--template", templates[0], "--template", templates[1]]].concat();
    let classified = json_lines(&edgeclip(&arguments).ok());
    let vectors = |arguments: &[&str]| -> Vec<Vec<f64>> {
        let text = edgeclip(&[arguments, &["--model", demo_f32()]].concat()).ok();
        json_lines(&text).iter().map(|record| normalized(&floats(&record["embedding"]))).collect()
    };
    let own = &vectors(&["encode", "image", &cat])[0];
    for label in classified[0]["labels"].as_array().unwrap() {
        let prompts = templates.map(|t| t.replace("{}", label["label"].as_str().unwrap()));
        let prompts = vectors(&["encode", "text", &prompts[0], &prompts[1]]);
        let mean: Vec<f64> = prompts[0].iter().zip(&prompts[1]).map(|(a, b)| (a + b) / 2.0).collect();
        let cosine = dot(own, &mean) / dot(&mean, &mean).sqrt();
        // Rounding to f32 on the way.
        assert!((label["cosine"].as_f64().unwrap() - cosine).abs() < 1e-6, "{label} {cosine}");
    }
}

#[test]
fn labels_come_from_files_too() {
    let file = scratch("labels").join("labels.txt").display().to_string();
    fs::write(&file, "dog\n\ncat\r\n").unwrap();
    let cat = picture("cat");
    let common = ["classify", &cat, "--model", demo_q8_0(), "--templates", "simple"];
    let by_file = edgeclip(&[&common[..], &["--labels-file", &file]].concat()).ok();
    assert_eq!(by_file, edgeclip(&[&common[..], &["--labels", "dog", "cat"]].concat()).ok());
    let message = edgeclip(&[&common[..], &["--labels-file", "none.txt"]].concat()).refused(2);
    assert!(message.starts_with("none.txt: cannot read the labels"), "{message}");
}

/// Against open_clip's own lists; `tools/make_zero_shot_golden.py` wrote the file.
#[test]
fn the_lists_of_templates_are_open_clips() {
    let golden: Value = serde_json::from_slice(&fs::read(root().join("tests/data/zero_shot.json")).unwrap()).unwrap();
    let names =
        |key: &str| golden[key].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let pictures: Vec<String> = names("pictures").iter().map(|name| picture(name)).collect();
    let labels = names("labels");
    let [pictures, labels] = [&pictures, &labels].map(|list| list.iter().map(String::as_str).collect::<Vec<_>>());
    for list in ["imagenet", "simple"] {
        let options = ["--templates", list, "--format", "jsonl", "--model", demo_f32()];
        let arguments = [&["classify"], &pictures[..], &["--labels"], &labels, &options].concat();
        for (record, expected) in json_lines(&edgeclip(&arguments).ok()).iter().zip(golden[list].as_array().unwrap()) {
            for label in record["labels"].as_array().unwrap() {
                let index = labels.iter().position(|name| label["label"] == *name).unwrap();
                let apart = (label["cosine"].as_f64().unwrap() - expected[index].as_f64().unwrap()).abs();
                // Leaving out any one of the 80 moves a cosine by at least 3e-3.
                assert!(apart <= 1e-5, "{list} {label}: {apart}");
            }
        }
    }
}

#[test]
fn a_template_without_a_place_is_an_error() {
    let cat = picture("cat");
    let classify = |template: &str| {
        edgeclip(&["classify", &cat, "--labels", "a", "--template", template, "--model", demo_q8_0()]).refused(2)
    };
    assert_eq!(classify("a photo"), "template \"a photo\": expected {} once, where the label goes, found it 0 times");
    assert_eq!(classify("{} {}"), "template \"{} {}\": expected {} once, where the label goes, found it 2 times");
}

#[test]
fn similarity_is_a_table_of_cosines() {
    let golden = Golden::demo();
    let (cat, dog) = (picture("cat"), picture("dog"));
    let texts = ["an emoji of a cat", "an emoji of a dog", "hello world"];
    let arguments =
        ["similarity", "--image", &cat, &dog, "--text", texts[0], "--text", texts[1], texts[2], "--model", demo_f32()];
    let matrix: Value = serde_json::from_str(&edgeclip(&[&arguments[..], &["--format", "json"]].concat()).ok()).unwrap();
    assert_eq!(matrix["columns"], serde_json::json!(texts));
    let all = golden.texts();
    for (i, name) in [cat.as_str(), dog.as_str()].into_iter().enumerate() {
        let picture = golden.pictures().iter().position(|path| path == name).unwrap();
        for (j, text) in texts.iter().enumerate() {
            let text = all.iter().position(|other| other == text).unwrap();
            let [a, b] = [golden.row("image_embeds", picture), golden.row("text_embeds", text)].map(normalized);
            let found = matrix["cosines"][i][j].as_f64().unwrap();
            assert!((found - dot(&a, &b)).abs() <= 1e-5, "{found} {}", dot(&a, &b));
        }
    }
    let text = edgeclip(&arguments).ok();
    let rows: Vec<&str> = text.lines().collect();
    assert_eq!(&rows[..4], ["[1]  an emoji of a cat", "[2]  an emoji of a dog", "[3]  hello world", ""]);
    assert!(rows[5].starts_with(&cat) && rows.len() == 7, "{text}");
}

#[test]
fn nothing_to_compare_prints_nothing() {
    let arguments = ["similarity", "--image", "none.png", "--text", "a cat", "--model", demo_q8_0()];
    let done = edgeclip(&arguments).run();
    assert_eq!((done.code, done.text()), (Some(1), String::new()));
    assert!(done.stderr.starts_with("error: none.png: no such file"), "{}", done.stderr);
    let done = edgeclip(&[&arguments[..], &["--format", "json"]].concat()).run();
    let matrix: Value = serde_json::from_str(&done.text()).unwrap();
    assert_eq!((&matrix["rows"], &matrix["cosines"]), (&serde_json::json!([]), &serde_json::json!([])));
}

#[test]
fn one_kind_is_compared_with_itself() {
    let arguments = ["similarity", "--text", "a cat", "a dog", "--format", "json", "--model", demo_q8_0()];
    let matrix: Value = serde_json::from_str(&edgeclip(&arguments).ok()).unwrap();
    assert_eq!(matrix["rows"], matrix["columns"]);
    assert_eq!((&matrix["cosines"][0][0], &matrix["cosines"][0][1]), (&1.0.into(), &matrix["cosines"][1][0].clone()));
}
