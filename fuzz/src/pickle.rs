//! The pickle in an archive of PyTorch's, whose lengths and checksums are right whatever it is. The first byte of the input says
//! what kind of archive it is: odd is a TorchScript module, even a state dict.

use edgeclip_convert::Options;

use super::{Body, support::Checkpoint};

/// The storages that a pickle finds beside it: their keys and sizes in bytes.
const STORAGES: [(&str, usize); 6] = [("0", 16), ("1", 64), ("2", 8), ("3", 256), ("4", 1), ("5", 0)];

/// The target.
pub fn new() -> Body {
    let checkpoint = Checkpoint::new();
    let options = Options { check: false, ..Options::default() };
    Box::new(move |input| {
        let Some((kind, pickle)) = input.split_first() else { return };
        checkpoint.convert_with("pytorch_model.bin", &archive(pickle, kind & 1 == 1), &options);
    })
}

fn archive(pickle: &[u8], script: bool) -> Vec<u8> {
    let zeros = [0; 256];
    let mut entries = vec![("m/data.pkl".to_owned(), pickle)];
    if script {
        entries.push(("m/constants.pkl".to_owned(), b"\x80\x02)."));
    }
    entries.extend(STORAGES.iter().map(|(key, size)| (format!("m/data/{key}"), &zeros[..*size])));
    zip(&entries)
}

/// An archive of uncompressed entries.
fn zip(entries: &[(String, &[u8])]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    let push16 = |to: &mut Vec<u8>, values: &[usize]| to.extend(values.iter().flat_map(|value| (*value as u16).to_le_bytes()));
    let push32 = |to: &mut Vec<u8>, values: &[usize]| to.extend(values.iter().flat_map(|value| (*value as u32).to_le_bytes()));
    for (name, data) in entries {
        let place = file.len();
        let mut common = Vec::new();
        push16(&mut common, &[20, 0, 0, 0, 0]);
        push32(&mut common, &[crc32fast::hash(data) as usize, data.len(), data.len()]);
        push16(&mut common, &[name.len(), 0]);
        file.extend(b"PK\x03\x04");
        file.extend(&common);
        file.extend(name.as_bytes());
        file.extend(*data);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&common);
        push16(&mut directory, &[0, 0, 0]);
        push32(&mut directory, &[0, place]);
        directory.extend(name.as_bytes());
    }
    let place = file.len();
    file.extend(&directory);
    file.extend(b"PK\x05\x06");
    push16(&mut file, &[0, 0, entries.len(), entries.len()]);
    push32(&mut file, &[directory.len(), place]);
    push16(&mut file, &[0]);
    file
}
