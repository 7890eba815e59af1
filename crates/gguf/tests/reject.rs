//! One test per rule, each with a file that breaks that rule only, and the message it gives.

mod raw;
use raw::{Raw, array, key, read, refused, string, tensor};

const U8: u32 = 0;
const U32: u32 = 4;
const F32: u32 = 0;

fn u32_key(name: &str, value: u32) -> Vec<u8> {
    key(name, U32, &value.to_le_bytes())
}

/// Nothing is wrong with the file that most tests start from.
#[test]
fn a_good_file_is_read() {
    let raw = Raw::new().key(u32_key("a", 7)).tensor(tensor("w", &[4], F32, 0)).data(32);
    let file = raw.read().unwrap();
    assert_eq!(file.data(&file.tensors()[0]).unwrap(), (0u8..16).collect::<Vec<_>>());
    assert!(Raw::new().read().unwrap().tensors().is_empty());
}

#[test]
fn other_formats() {
    assert_eq!(refused(vec![]), "no GGUF file: expected \"GGUF\" at the start, found \"\": the file is empty");
    assert_eq!(refused(b"GGU".to_vec()), "no GGUF file: expected \"GGUF\" at the start, found \"GGU\"");
    assert_eq!(
        refused(b"PK\x03\x04 and more".to_vec()),
        "no GGUF file: expected \"GGUF\" at the start, found \"PK\\x03\\x04\": it is a zip archive, perhaps a PyTorch checkpoint"
    );
    assert_eq!(
        refused(b"version https://git-lfs".to_vec()),
        "no GGUF file: expected \"GGUF\" at the start, found \"vers\": it may be a git-lfs pointer, whose file is still to be fetched"
    );
}

#[test]
fn other_versions() {
    for version in [0, 1, 4, 77] {
        let raw = Raw { version, ..Raw::new() };
        assert_eq!(raw.refused(), format!("expected GGUF version 2 or 3, found version {version}"));
    }
    let raw = Raw { version: 3u32.swap_bytes(), ..Raw::new() };
    assert_eq!(raw.refused(), "expected a little-endian GGUF file, found a big-endian one");
}

#[test]
fn counts_beyond_the_file_or_the_limit() {
    let raw = Raw { key_count: Some(1 << 60), ..Raw::new() };
    assert_eq!(raw.refused(), "number of keys: expected at most 65536, found 1152921504606846976");
    let raw = Raw { tensor_count: Some(1 << 60), ..Raw::new() };
    assert_eq!(raw.refused(), "number of tensors: expected at most 65536, found 1152921504606846976");
    let raw = Raw { key_count: Some(65_536), ..Raw::new() };
    let message = "number of keys: expected at least 917504 bytes at offset 24, found 8: truncated or damaged; download or convert it again";
    assert_eq!(raw.refused(), message);
    let raw = Raw { tensor_count: Some(2), ..Raw::new() };
    let message =
        "number of tensors: expected at least 50 bytes at offset 24, found 8: truncated or damaged; download or convert it again";
    assert_eq!(raw.refused(), message);
}

#[test]
fn lengths_beyond_the_file_or_the_limit() {
    // A key and a string of 2^60 bytes.
    let raw = Raw::new().key([&(1u64 << 60).to_le_bytes()[..], b"aaaaaa"].concat());
    assert_eq!(raw.refused(), "key number 0: bytes of a string: expected at most 67108864, found 1152921504606846976");
    let raw = Raw::new().key(key("k", 8, &(1u64 << 60).to_le_bytes()));
    assert_eq!(raw.refused(), "key k: bytes of a string: expected at most 67108864, found 1152921504606846976");
    let raw = Raw::new().key(key("k", 8, &(1u64 << 20).to_le_bytes()));
    assert_eq!(
        raw.refused(),
        "key k: expected at least 1048576 bytes at offset 45, found 19: truncated or damaged; download or convert it again"
    );
    let raw = Raw::new().tensor([&u64::MAX.to_le_bytes()[..], &[0; 32]].concat());
    assert_eq!(raw.refused(), "tensor number 0: bytes of a string: expected at most 67108864, found 18446744073709551615");
    let raw = Raw::new().key(key(vec![b'k'; 65_536], U8, &[1]));
    assert_eq!(raw.refused(), "bytes of a key: expected at most 65535, found 65536");
}

#[test]
fn arrays_beyond_the_file_or_the_limit() {
    // For every type of item: 2^60 of them, and as many as the limit allows in a file that has none.
    for ty in (0..=12).filter(|&ty| ty != 9) {
        let message = Raw::new().key(array("k", ty, 1 << 60, &[])).refused();
        assert_eq!(message, "key k: items of an array: expected at most 16777216, found 1152921504606846976");
        let size = [1u64, 1, 2, 2, 4, 4, 4, 1, 8, 0, 8, 8, 8][ty as usize];
        let message = Raw::new().key(array("k", ty, 1 << 24, &[])).refused();
        let needed = size << 24;
        let rest = format!(
            "key k: expected at least {needed} bytes at offset 49, found 15: truncated or damaged; download or convert it again"
        );
        assert_eq!(message, rest, "type {ty}");
    }
}

#[test]
fn a_header_beyond_the_limit() {
    // Eight arrays of 2^24 bytes each: every one is small enough, and the file holds them all. Each takes 26 bytes more.
    let mut raw = Raw::new();
    for i in 0..8 {
        raw = raw.key(array(&format!("k{i}"), U8, 1 << 24, &vec![0; 1 << 24]));
    }
    assert_eq!(raw.refused(), "bytes of the header: expected at most 134217728, found 134217960");
}

#[test]
fn strings_that_are_no_utf_8() {
    assert_eq!(Raw::new().key(key(b"\xff", U8, &[1])).refused(), "key number 0: expected UTF-8, found other bytes");
    assert_eq!(Raw::new().key(key("k", 8, &string(b"a\xc3"))).refused(), "key k: expected UTF-8, found other bytes");
    assert_eq!(Raw::new().key(array("k", 8, 1, &string(b"\x80"))).refused(), "key k: expected UTF-8, found other bytes");
    let raw = Raw::new().tensor(tensor(b"\xf0w", &[4], F32, 0)).data(32);
    assert_eq!(raw.refused(), "tensor number 0: expected UTF-8, found other bytes");
}

#[test]
fn bools_that_are_neither() {
    assert_eq!(Raw::new().key(key("k", 7, &[2])).refused(), "key k: expected a bool of 0 or 1, found 2");
    assert_eq!(Raw::new().key(array("k", 7, 3, &[1, 0, 255])).refused(), "key k: expected a bool of 0 or 1, found 255");
}

#[test]
fn value_types_that_do_not_exist() {
    assert_eq!(Raw::new().key(key("k", 13, &[0; 8])).refused(), "key k: expected a value type of 0 to 12, found 13");
    assert_eq!(Raw::new().key(array("k", 99, 0, &[])).refused(), "key k: expected a value type of 0 to 12, found 99");
    assert_eq!(
        Raw::new().key(array("k", 9, 1, &[0; 16])).refused(),
        "key k: expected an array of scalars, found an array of arrays"
    );
}

#[test]
fn keys_that_are_empty_or_twice() {
    assert_eq!(Raw::new().key(key("", U8, &[1])).refused(), "expected a key, found an empty one");
    let raw = Raw::new().key(key("clip.a", U8, &[1])).key(key("b", U8, &[1])).key(u32_key("clip.a", 1));
    assert_eq!(raw.refused(), "key clip.a: expected once, found twice");
}

#[test]
fn alignments_that_are_none() {
    let expected = "key general.alignment: expected a u32 that is a power of two of at least 8, found ";
    for bad in [0, 1, 4, 24, 33, u32::MAX] {
        assert_eq!(Raw::new().key(u32_key("general.alignment", bad)).refused(), format!("{expected}u32 {bad}"));
    }
    let raw = Raw::new().key(key("general.alignment", 10, &32u64.to_le_bytes()));
    assert_eq!(raw.refused(), format!("{expected}u64 32"));
    let raw = Raw::new().key(key("general.alignment", 8, &string("32")));
    assert_eq!(raw.refused(), format!("{expected}string"));
    let raw = Raw { alignment: 8, ..Raw::new() }.key(u32_key("general.alignment", 8)).tensor(tensor("w", &[4], F32, 0)).data(16);
    assert_eq!(raw.read().unwrap().alignment(), 8);
    // The largest: the data would start at 2 GiB.
    let raw = Raw::new().key(u32_key("general.alignment", 1 << 31)).tensor(tensor("w", &[4], F32, 0)).data(32);
    assert_eq!(
        raw.refused(),
        "tensor w: expected a file of at least 2147483664 bytes, found 128: truncated; download or convert it again"
    );
}

#[test]
fn tensor_names() {
    let long = "n".repeat(64);
    let raw = Raw::new().tensor(tensor(&long, &[4], F32, 0)).data(32);
    assert_eq!(raw.refused(), format!("tensor name \"{long}\": expected 1 to 63 bytes, found 64"));
    let raw = Raw::new().tensor(tensor("", &[4], F32, 0)).data(32);
    assert_eq!(raw.refused(), "tensor name \"\": expected 1 to 63 bytes, found 0");
    let raw = Raw::new().tensor(tensor(&long[1..], &[4], F32, 0)).data(32);
    assert_eq!(raw.read().unwrap().tensors()[0].name.len(), 63);
    let raw = Raw::new().tensor(tensor("w", &[4], F32, 0)).tensor(tensor("w", &[4], F32, 32)).data(64);
    assert_eq!(raw.refused(), "tensor w: expected once, found twice");
}

#[test]
fn dimensions() {
    let raw = Raw::new().tensor(tensor("w", &[1; 5], F32, 0)).data(32);
    assert_eq!(raw.refused(), "tensor w: expected at most 4 dimensions, found 5");
    let raw = Raw::new().tensor([&string("w")[..], &u32::MAX.to_le_bytes(), &[0; 40]].concat());
    assert_eq!(raw.refused(), "tensor w: expected at most 4 dimensions, found 4294967295");
    for dims in [&[4, 0][..], &[0], &[1 << 32, 1 << 32], &[u64::MAX, 1, 1, 1], &[1 << 61], &[1 << 62, 1 << 62, 1 << 62, 1 << 62]]
    {
        let raw = Raw::new().tensor(tensor("w", dims, F32, 0)).data(32);
        let message = format!("tensor w: expected dimensions with a product of 1 to 2^63-1 bytes, found {dims:?}");
        assert_eq!(raw.refused(), message);
    }
    // Size fits in 63 bits, the end of the data does not.
    let raw = Raw::new().tensor(tensor("w", &[(1 << 61) - 1], F32, 0)).data(32);
    assert_eq!(
        raw.refused(),
        "tensor w: expected a file of at least 9223372036854775868 bytes, found 96: truncated; download or convert it again"
    );
    // ggml takes a tensor of no dimensions for one element.
    let file = Raw::new().tensor(tensor("w", &[], F32, 0)).data(32).read().unwrap();
    assert_eq!((file.tensors()[0].bytes, file.tensors()[0].elements()), (Some(4), 1));
}

#[test]
fn rows_that_are_not_whole_blocks() {
    let raw = Raw::new().tensor(tensor("w", &[33, 32], 8, 0)).data(2048);
    assert_eq!(raw.refused(), "tensor w: expected rows of a multiple of 32 elements for q8_0, found 33");
    let raw = Raw::new().tensor(tensor("w", &[], 2, 0)).data(32);
    assert_eq!(raw.refused(), "tensor w: expected rows of a multiple of 32 elements for q4_0, found 1");
}

#[test]
fn offsets() {
    let two = |offset| Raw::new().tensor(tensor("a", &[16], F32, 0)).tensor(tensor("b", &[4], F32, offset)).data(128);
    assert_eq!(two(48).refused(), "tensor b: expected an offset that is a multiple of 32, found 48");
    assert_eq!(two(32).refused(), "tensor b: expected offset 64, found 32: it overlaps the tensor before it");
    assert_eq!(two(0).refused(), "tensor b: expected offset 64, found 0: it overlaps the tensor before it");
    assert_eq!(two(96).refused(), "tensor b: expected offset 64, found 96: it leaves a gap");
    assert_eq!(two(0u64.wrapping_sub(32)).refused(), "tensor b: expected offset 64, found 18446744073709551584: it leaves a gap");
    let raw = Raw::new().tensor(tensor("a", &[4], F32, 32)).data(64);
    assert_eq!(raw.refused(), "tensor a: expected offset 0, found 32: it leaves a gap");
}

#[test]
fn the_end_of_the_file() {
    let raw = |len| Raw::new().tensor(tensor("a", &[5], F32, 0)).data(len);
    // The header takes 64 bytes with its padding. Padding after the last tensor may be missing.
    assert_eq!(
        raw(19).refused(),
        "tensor a: expected a file of at least 84 bytes, found 83: truncated; download or convert it again"
    );
    for len in 20..=32 {
        assert!(raw(len).read().is_ok(), "{len}");
    }
    let message = "expected a file of 96 bytes, found 97: there are bytes after the last tensor; download or convert it again";
    assert_eq!(raw(33).refused(), message);
    // Without tensors the padding of the header may be missing too.
    for len in 24..=32 {
        let mut bytes = Raw::new().header();
        bytes.resize(len, 0);
        assert!(read(bytes).is_ok(), "{len}");
    }
    assert_eq!(refused([Raw::new().header(), vec![0; 9]].concat()), message.replace("96", "32").replace("97", "33"));
}

#[test]
fn unknown_types_are_listed_but_have_no_data() {
    // A type that nobody has named, one that ggml has removed, and one after them that is known.
    let raw =
        |b, c| Raw::new().tensor(tensor("a", &[7], 77, 0)).tensor(tensor("b", &[32], 31, b)).tensor(tensor("c", &[4], F32, c));
    let file = raw(64, 96).data(128).read().unwrap();
    let [a, b, c] = file.tensors() else { panic!("three tensors") };
    assert_eq!((a.ty.to_string(), a.bytes, file.data(a)), ("type 77".to_owned(), None, None));
    assert_eq!((b.ty.to_string(), b.bytes, file.data(b)), ("q4_0_4_4".to_owned(), None, None));
    assert_eq!(file.data(c).unwrap(), (96u8..112).collect::<Vec<_>>());
    // Their places are still checked, as far as they can be.
    let message = "tensor b: expected offset at least 32, found 0: it overlaps the tensor before it";
    assert_eq!(raw(0, 96).data(128).refused(), message);
    assert_eq!(raw(40, 96).data(128).refused(), "tensor b: expected an offset that is a multiple of 32, found 40");
    assert_eq!(
        raw(64, 32).data(128).refused(),
        "tensor c: expected offset at least 96, found 32: it overlaps the tensor before it"
    );
    assert_eq!(
        raw(64, 128).data(128).refused(),
        "tensor c: expected a file of at least 272 bytes, found 256: truncated; download or convert it again"
    );
    assert!(raw(1 << 40, 1 << 41).data(128).refused().starts_with("tensor b: expected a file of at least 1099511"));
    let raw = Raw::new().tensor(tensor("a", &[7], 77, 0));
    assert_eq!(
        raw.refused(),
        "tensor a: expected a file of at least 65 bytes, found 64: truncated; download or convert it again"
    );
    let far = 0u64.wrapping_sub(32);
    let raw = Raw::new().tensor(tensor("a", &[7], 77, 0)).tensor(tensor("b", &[9], F32, far)).data(64);
    assert!(raw.refused().starts_with("tensor b: expected a file of at least 18446744073709551615 bytes"));
}

#[test]
fn a_file_that_is_not_there_or_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none.gguf");
    let message = edgeclip_gguf::File::open(&path).unwrap_err().to_string();
    assert!(message.starts_with(&format!("{}: cannot open it: ", path.display())), "{message}");
    let error = edgeclip_gguf::File::open(folder.path()).unwrap_err();
    assert_eq!(error.path(), folder.path());
    assert!(matches!(error.kind(), edgeclip_gguf::ErrorKind::Io { .. }), "{error}");
}

#[test]
fn a_tensor_of_another_file_gives_no_bytes_beyond_this_one() {
    let large = Raw::new().tensor(tensor("w", &[1024], F32, 0)).data(4096).read().unwrap();
    let small = Raw::new().tensor(tensor("w", &[4], F32, 0)).data(32).read().unwrap();
    assert_eq!(small.data(&large.tensors()[0]), None);
}

/// A key may have 64 KiB; the message about it stays a line that people can read.
#[test]
fn long_names_are_cut_in_messages() {
    let name = "\t".repeat(60_000);
    let raw = Raw::new().key(u32_key(&name, 1)).key(u32_key(&name, 2));
    assert_eq!(raw.refused(), format!("key {}...: expected once, found twice", "\\t".repeat(120)));
    // The messages of the parser too, which names what it reads.
    let raw = Raw::new().key(key(&name, 13, &[]));
    assert_eq!(raw.refused(), format!("key {}...: expected a value type of 0 to 12, found 13", "\\t".repeat(120)));
    let raw = Raw::new().tensor(tensor(&name, &[1; 4], F32, 0)[..60_012].to_vec());
    assert_eq!(
        raw.refused(),
        format!(
            "tensor {}...: expected at least 32 bytes at offset 60036, found 28: truncated or damaged; download or convert it again",
            "\\t".repeat(120)
        )
    );
}
