use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    super::is_torch,
    build::{checkpoint, int, storage, tensor, text},
    read_bytes, refusal, sample,
};
use crate::checkpoint::stored::Stored;

#[derive(Deserialize)]
struct Expected {
    tensors: Vec<Tensor>,
    script: Option<Vec<(String, String)>>,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Tensor {
    name: String,
    dtype: String,
    shape: Vec<usize>,
    bytes: String,
}

/// A tensor with its elements in the order of the indices.
fn described(stored: &Stored) -> Tensor {
    let size = stored.dtype.bitsize() / 8;
    let elements: usize = stored.shape.iter().product();
    let mut bytes = String::new();
    for element in 0..elements {
        let (mut rest, mut place) = (element, 0);
        for (dimension, stride) in stored.shape.iter().zip(&stored.strides).rev() {
            place += rest % dimension * stride;
            rest /= dimension;
        }
        bytes.extend(stored.bytes[place * size..][..size].iter().map(|byte| format!("{byte:02x}")));
    }
    Tensor { name: stored.name.clone(), dtype: stored.dtype.to_string(), shape: stored.shape.clone(), bytes }
}

#[test]
fn samples_are_read_as_pytorch_reads_them() {
    let expected: BTreeMap<String, Expected> = serde_json::from_slice(&sample("expected.json")).unwrap();
    assert_eq!(expected.len(), 16);
    for (name, expected) in expected {
        let bytes = sample(&name);
        assert!(is_torch(&bytes), "{name}");
        let archive = read_bytes(bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut found: Vec<Tensor> = archive.tensors.iter().map(described).collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(found, expected.tensors, "{name}");
        assert_eq!(archive.script, expected.script, "{name}");
    }
}

#[test]
fn tensors_are_windows_on_the_file() {
    let bytes = bytes::Bytes::from(sample("views.pt"));
    let archive = read_bytes(bytes.clone()).unwrap();
    let range = bytes.as_ptr_range();
    for tensor in archive.tensors.iter().filter(|tensor| !tensor.bytes.is_empty()) {
        assert!(range.contains(&tensor.bytes.as_ptr()), "{}", tensor.name);
    }
    let transposed = archive.tensors.iter().find(|tensor| tensor.name == "transposed").unwrap();
    assert_eq!((&*transposed.shape, &*transposed.strides), (&[6, 4][..], &[1, 6][..]));
}

#[test]
fn what_is_no_state_dict_is_refused() {
    for (name, problem) in [
        (
            "whole-module.pt",
            "the pickle asks for torch.nn.modules.linear.Linear, which no state dict needs; nothing was executed; if it is a whole \
             module that was saved, load it in Python and save its state_dict()",
        ),
        ("negated.pt", "a tensor is a negated or conjugated view, which is not read; save a copy of it"),
        (
            "sparse.pt",
            "the pickle asks for torch._utils._rebuild_sparse_tensor, which is not read; nothing was executed; save plain dense \
             tensors",
        ),
        (
            "frozen.pt",
            "the TorchScript module has no parameters, but 7 constants: it was frozen; save it before torch.jit.freeze",
        ),
        (
            "no-tensors.pt",
            "it holds no tensors: expected a state dict, or one under \"state_dict\", \"model_state_dict\" or \"model\", found \
             \"epoch\", \"loss\", \"model\"; save model.state_dict()",
        ),
    ] {
        assert_eq!(refusal(sample(name)), problem, "{name}");
    }
}

#[test]
fn the_state_dict_is_found_beside_other_tensors() {
    let own = |name: &str| [text(name), tensor(storage("0", 4), 0, &[4], &[1])].concat();
    let under = |wrapper: &str, inner: Vec<u8>| [text(wrapper), b"}(".to_vec(), inner, b"u".to_vec()].concat();
    let names = |items: &[Vec<u8>]| -> Vec<String> {
        let pickle = [b"\x80\x02}(".to_vec(), items.concat(), b"u.".to_vec()].concat();
        read_bytes(checkpoint(&pickle)).unwrap().tensors.into_iter().map(|tensor| tensor.name).collect()
    };
    let number = [text("epoch"), int(3)].concat();
    assert_eq!(names(&[own("a"), number.clone(), own("b")]), ["a", "b"]);
    // A generator's state is a tensor too.
    assert_eq!(names(&[own("rng"), under("model", [own("c"), number.clone()].concat())]), ["c"]);
    assert_eq!(names(&[under("model", own("c")), under("model_state_dict", own("b")), under("state_dict", own("a"))]), ["a"]);
    assert_eq!(names(&[under("model", own("c")), under("model_state_dict", own("b")), under("state_dict", number)]), ["b"]);
    // What only looks like a wrapper, and a dict inside a state dict.
    assert_eq!(names(&[own("model"), own("a"), under("inner", own("b"))]), ["model", "a"]);
}
