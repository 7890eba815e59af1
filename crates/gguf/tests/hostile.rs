//! Damaged and hostile files: always an error or a file, never a panic, an abort or memory out of proportion.

mod raw;
use raw::{Raw, array, key, read, string, tensor};

/// Every kind of value and tensor in a few hundred bytes. The last tensor ends with the file, so that every cut loses data.
fn small_file() -> Vec<u8> {
    Raw::new()
        .key(key("general.architecture", 8, &string("clip")))
        .key(key("general.alignment", 4, &32u32.to_le_bytes()))
        .key(key("u8", 0, &[1]))
        .key(key("i16", 3, &[1, 2]))
        .key(key("bool", 7, &[1]))
        .key(key("f64", 12, &1.5f64.to_le_bytes()))
        .key(array("strings", 8, 3, &[string("a</w>"), string(""), string("b")].concat()))
        .key(array("floats", 6, 2, &[0; 8]))
        .key(array("bools", 7, 3, &[0, 1, 1]))
        .tensor(tensor("one.weight", &[16], 0, 0))
        .tensor(tensor("two.weight", &[32, 2], 8, 64))
        .tensor(tensor("unknown", &[3, 3], 99, 160))
        .tensor(tensor("three.weight", &[4, 2, 2], 1, 192))
        .data(224)
        .bytes()
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    let whole = small_file();
    assert!(read(whole.clone()).is_ok());
    assert!(whole.len() > 400, "{}", whole.len());
    for len in 0..whole.len() {
        let error = read(whole[..len].to_vec()).expect_err("a cut file");
        assert!(error.to_string().starts_with("bad.gguf: "), "{len}: {error}");
    }
}

/// Reads, and touches everything that a program could.
fn use_it(bytes: Vec<u8>) -> bool {
    let file_bytes = bytes.len();
    let Ok(file) = read(bytes) else {
        return false;
    };
    for (key, value) in file.metadata().iter() {
        let _ = (value.to_string(), file.get::<u32>(key).is_ok(), file.get::<&edgeclip_gguf::Strings>(key).is_ok());
    }
    for tensor in file.tensors() {
        let data = file.data(tensor);
        assert_eq!(data.as_ref().map(|d| d.len() as u64), tensor.bytes);
        assert!(data.is_none_or(|d| d.len() <= file_bytes));
        assert!(tensor.elements() > 0);
    }
    true
}

/// Steele, Lea and Flood's SplitMix64: the tests are the same on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

#[test]
fn damaged_bytes_never_panic() {
    let whole = small_file();
    let mut random = Random(1);
    let (mut read, mut refused) = (0, 0);
    for _ in 0..5000 {
        let mut bytes = whole.clone();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len());
            match random.below(4) {
                0 => bytes[at] = random.next() as u8,
                1 => bytes[at] ^= 1 << random.below(8),
                // Numbers at the edges, as a count, a length, a dimension or an offset would be.
                2 => {
                    let number = [0, 1, 1 << 31, 1 << 60, 1 << 63, u64::MAX, u64::MAX - 31][random.below(7)];
                    let end = bytes.len().min(at + 8);
                    bytes[at..end].copy_from_slice(&number.to_le_bytes()[..end - at]);
                }
                _ => drop(bytes.splice(at..at, [random.next() as u8])),
            }
        }
        if use_it(bytes) { read += 1 } else { refused += 1 }
    }
    // Both happen, or the loop tests nothing.
    assert!(read > 100 && refused > 1000, "{read} read, {refused} refused");
}

#[test]
fn every_single_byte_may_be_any_of_the_worst() {
    let whole = small_file();
    for at in 0..whole.len() {
        for worst in [0x00, 0x01, 0x7f, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] = worst;
            use_it(bytes);
        }
    }
}
