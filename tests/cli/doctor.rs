//! `edgeclip doctor` says what the library knows.

use edgeclip::Isa;
use serde_json::Value;

use crate::support::*;

fn doctor(arguments: &[&str]) -> Value {
    serde_json::from_str(&edgeclip(&[&["doctor", "--json"], arguments].concat()).ok()).unwrap()
}

#[test]
fn sets_and_what_they_need_are_listed() {
    let found = doctor(&["--threads", "1", "--model", demo_q8_0()]);
    let best = Isa::available().last().unwrap();
    assert_eq!((&found["chosen"], &found["threads"]), (&best.name().into(), &1.into()));
    assert_eq!(found["why"], "the fastest that this machine has");
    assert_eq!(found["model"]["type"], "q8_0");
    let sets = found["instruction_sets"].as_array().unwrap();
    assert_eq!(sets.len(), Isa::ALL.len());
    for (set, isa) in sets.iter().zip(Isa::ALL) {
        assert_eq!(set["name"], isa.name());
        // What is there lacks nothing, and the other way round.
        assert_eq!(set["available"].as_bool().unwrap(), Isa::available().any(|other| other == isa), "{set}");
        if set["built"].as_bool().unwrap() {
            assert_eq!(set["available"].as_bool().unwrap(), set["missing"].as_array().unwrap().is_empty(), "{set}");
        }
    }
}

#[test]
fn a_lower_set_is_chosen_and_remarked_on() {
    let found = doctor(&["--isa", "scalar"]);
    assert_eq!((&found["chosen"], &found["why"]), (&"scalar".into(), &"asked for by --isa or EDGECLIP_ISA".into()));
    assert!(found["advice"].as_str().unwrap().contains("scalar"), "{}", found["advice"]);
    let text = edgeclip(&["doctor", "--isa", "scalar"]).ok();
    assert!(text.contains("kernels scalar") && text.contains("chosen: asked for"), "{text}");
}

#[test]
fn a_model_that_cannot_be_used_is_part_of_the_answer() {
    let found = doctor(&["--model", "no-such-file.gguf"]);
    assert!(found["model"].is_null() && found["model_problem"].as_str().unwrap().contains("no-such-file.gguf"), "{found}");
}
