//! Files that PyPI's `gguf` wrote (tools/make_gguf_goldens.py): we read exactly what was put in, and write the same bytes.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use edgeclip_gguf::{Array, File, Metadata, Strings, TensorSpec, TensorType, Value, Writer};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// What the script puts into all_values.gguf, in its order.
fn all_values() -> Metadata {
    let mut m = Metadata::new();
    m.insert("general.architecture", "golden");
    m.insert("scalar.u8", 200u8);
    m.insert("scalar.i8", -100i8);
    m.insert("scalar.u16", 60_000u16);
    m.insert("scalar.i16", -30_000i16);
    m.insert("scalar.u32", 4_000_000_000u32);
    m.insert("scalar.i32", -2_000_000_000i32);
    m.insert("scalar.f32", 0.1f32);
    m.insert("scalar.true", true);
    m.insert("scalar.false", false);
    m.insert("scalar.string", "naïve Ġ 写真 🐕\n");
    m.insert("scalar.u64", u64::MAX);
    m.insert("scalar.i64", i64::MIN);
    m.insert("scalar.f64", 0.1f64);
    m.insert("array.u8", [0u8, 1, 255]);
    m.insert("array.i8", [-128i8, 127]);
    m.insert("array.u16", [0u16, 65_535]);
    m.insert("array.i16", [-32_768i16, 32_767]);
    m.insert("array.u32", [0u32, u32::MAX]);
    m.insert("array.i32", [i32::MIN, i32::MAX]);
    m.insert("array.f32", [0.5f32, -0.25, f32::INFINITY]);
    m.insert("array.bool", [true, false, true]);
    m.insert("array.string", Strings::from_iter(["a</w>", "", "Ġ", "写"]));
    m.insert("array.u64", [0u64, u64::MAX]);
    m.insert("array.i64", [i64::MIN, i64::MAX]);
    m.insert("array.f64", [0.1f64, -1e300]);
    m
}

/// Name, dimensions, type and bytes of the tensors in all_values.gguf.
fn all_tensors() -> Vec<(TensorSpec, Vec<u8>)> {
    let f32s = [-2f32, -1.0, 0.0, 1.0, 2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    // 0, 0.25, 0.5, 0.75, 1, 1.25 in IEEE half precision.
    let f16s = [0x0000u16, 0x3400, 0x3800, 0x3a00, 0x3c00, 0x3d00].iter().flat_map(|x| x.to_le_bytes()).collect();
    // Two blocks: a scale of 1.0 in half precision, then the values themselves.
    let one = 0x3c00u16.to_le_bytes();
    let mut q8_0 = one.to_vec();
    q8_0.extend((-127i8..=-96).map(|q| q as u8));
    q8_0.extend(one);
    q8_0.extend(96u8..=127);
    // Two blocks of -8..7 twice, stored as 0..15: byte j holds element j low and element j + 16 high.
    let block = [&one[..], &(0u8..16).map(|q| q | q << 4).collect::<Vec<_>>()].concat();
    let q4_0 = block.repeat(2);
    vec![
        (TensorSpec::new("one.f32", [5], TensorType::F32), f32s),
        (TensorSpec::new("two.f16", [3, 2], TensorType::F16), f16s),
        (TensorSpec::new("two.q8_0", [32, 2], TensorType::Q8_0), q8_0),
        (TensorSpec::new("four.q4_0", [32, 1, 1, 2], TensorType::Q4_0), q4_0),
    ]
}

fn check_contents(file: &File) {
    let expected = all_values();
    let pairs = |m: &Metadata| m.iter().map(|(k, v)| (k.to_owned(), v.clone())).collect::<Vec<_>>();
    assert_eq!(pairs(file.metadata()), pairs(&expected));
    assert_eq!(file.tensors().len(), 4);
    for (info, (spec, bytes)) in file.tensors().iter().zip(all_tensors()) {
        assert_eq!((&info.name, &info.dims, info.ty), (&spec.name, &spec.dims, spec.ty));
        assert_eq!(file.data(info).unwrap(), bytes, "{}", spec.name);
        assert_eq!(file.tensor(&spec.name), Some(info));
    }
    assert_eq!(file.alignment(), 32);
}

#[test]
fn every_value_type_and_tensor_is_read() {
    let file = File::open(data("all_values.gguf")).unwrap();
    assert_eq!(file.version(), 3);
    check_contents(&file);
}

/// clip.cpp's published files are of version 2. Its layout is that of version 3, which only added big-endian files.
#[test]
fn version_2_is_read_alike() {
    let mut bytes = std::fs::read(data("all_values.gguf")).unwrap();
    bytes[4] = 2;
    let file = File::from_bytes(Bytes::from(bytes), "v2.gguf").unwrap();
    assert_eq!(file.version(), 2);
    check_contents(&file);
}

#[test]
fn the_writer_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ours.gguf");
    let (specs, bytes): (Vec<_>, Vec<_>) = all_tensors().into_iter().unzip();
    let mut writer = Writer::create(&path, &all_values(), &specs).unwrap();
    for (spec, bytes) in specs.iter().zip(&bytes) {
        writer.begin(&spec.name).unwrap();
        // Pieces of seven bytes: neither an element, nor a block, nor a tensor.
        for piece in bytes.chunks(7) {
            writer.write(piece).unwrap();
        }
    }
    let file_bytes = writer.file_bytes();
    writer.finish().unwrap();
    let ours = std::fs::read(&path).unwrap();
    assert_eq!(ours.len() as u64, file_bytes);
    assert_eq!(ours, std::fs::read(data("all_values.gguf")).unwrap());
}

#[test]
fn another_alignment_is_read_and_written() {
    let golden = data("alignment_64.gguf");
    let file = File::open(&golden).unwrap();
    assert_eq!((file.alignment(), file.data_start() % 64), (64, 0));
    let (a, b) = (file.tensor("a").unwrap(), file.tensor("b").unwrap());
    assert_eq!((a.offset, b.offset), (0, 64));
    let int16s: Vec<u8> = [1i16, -2, 3, -4].iter().flat_map(|x| x.to_le_bytes()).collect();
    assert_eq!(file.data(a).unwrap(), 1.5f32.to_le_bytes()[..]);
    assert_eq!(file.data(b).unwrap(), int16s);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ours.gguf");
    let mut metadata = Metadata::new();
    metadata.insert("general.architecture", "golden");
    metadata.insert("general.alignment", 64u32);
    let specs = [TensorSpec::new("a", [1], TensorType::F32), TensorSpec::new("b", [2, 2], TensorType::I16)];
    let mut writer = Writer::create(&path, &metadata, &specs).unwrap();
    writer.write(&1.5f32.to_le_bytes()).unwrap();
    writer.write(&int16s).unwrap();
    writer.finish().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(&golden).unwrap());
}

/// Numbers, names and blocks are those of PyPI's `gguf`, but for one: it still has the q8_1 of 2023, with a scale and a sum of four
/// bytes each (40 bytes), where ggml has halves (`block_q8_1` in ggml/src/ggml-common.h, 36 bytes). No file holds it: it is the
/// format of activations.
#[test]
fn the_table_of_types_is_that_of_the_reference() {
    let table = std::fs::read_to_string(data("tensor_types.tsv")).unwrap();
    let mut lines = 0;
    for line in table.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let ty = TensorType::from_id(fields[0].parse().unwrap());
        assert_eq!(ty.name(), Some(fields[1]));
        assert_eq!(TensorType::from_name(fields[1]), Some(ty));
        let block = ty.block().unwrap();
        assert_eq!(block.len, fields[2].parse::<u64>().unwrap(), "{ty}");
        let bytes: u64 = fields[3].parse().unwrap();
        assert_eq!(block.bytes, if ty == TensorType::Q8_1 { bytes - 4 } else { bytes }, "{ty}");
        lines += 1;
    }
    assert_eq!(lines, 34);
}

#[test]
fn values_are_looked_up_by_type() {
    let file = File::open(data("all_values.gguf")).unwrap();
    assert_eq!(file.require::<u8>("scalar.u8").unwrap(), 200);
    assert_eq!(file.require::<u32>("scalar.u8").unwrap(), 200);
    assert_eq!(file.require::<usize>("scalar.u16").unwrap(), 60_000);
    assert_eq!(file.require::<f32>("scalar.f32").unwrap(), 0.1);
    assert_eq!(file.require::<f64>("scalar.f32").unwrap(), f64::from(0.1f32));
    assert!(file.require::<bool>("scalar.true").unwrap());
    assert_eq!(file.require::<&str>("scalar.string").unwrap(), "naïve Ġ 写真 🐕\n");
    assert_eq!(file.require::<&Strings>("array.string").unwrap(), &Strings::from_iter(["a</w>", "", "Ġ", "写"]));
    assert_eq!(file.require::<&[f32]>("array.f32").unwrap(), [0.5, -0.25, f32::INFINITY]);
    assert_eq!(file.require::<&[bool]>("array.bool").unwrap(), [true, false, true]);
    assert_eq!(file.require::<&Array>("array.i8").unwrap(), &Array::I8(vec![-128, 127]));
    assert_eq!(file.require::<&Value>("scalar.i16").unwrap(), &Value::I16(-30_000));
    assert_eq!(file.get::<u32>("clip.no.such.key").unwrap(), None);
}

#[test]
fn a_wrong_type_names_file_key_expected_and_found() {
    let file = File::from_bytes(Bytes::from(std::fs::read(data("all_values.gguf")).unwrap()), "model.gguf").unwrap();
    fn message<'a, T: edgeclip_gguf::FromValue<'a> + std::fmt::Debug>(file: &'a File, key: &str) -> String {
        file.require::<T>(key).unwrap_err().to_string()
    }
    let cases = [
        (message::<u32>(&file, "scalar.string"), "key scalar.string: expected u32, found string"),
        (message::<u32>(&file, "scalar.i8"), "key scalar.i8: expected u32, found i8 -100"),
        (message::<i64>(&file, "scalar.u64"), "key scalar.u64: expected i64, found u64 18446744073709551615"),
        (message::<usize>(&file, "scalar.i8"), "key scalar.i8: expected unsigned integer, found i8 -100"),
        (message::<f32>(&file, "scalar.f64"), "key scalar.f64: expected f32, found f64 0.1"),
        (message::<bool>(&file, "scalar.u8"), "key scalar.u8: expected bool, found u8 200"),
        (message::<&str>(&file, "array.string"), "key array.string: expected string, found array of 4 string"),
        (message::<&[f32]>(&file, "array.f64"), "key array.f64: expected array of f32, found array of 2 f64"),
        (message::<&Strings>(&file, "scalar.true"), "key scalar.true: expected array of string, found bool true"),
        (message::<u32>(&file, "no.key"), "key no.key: expected u32, found no such key"),
    ];
    for (found, expected) in cases {
        assert_eq!(found, format!("model.gguf: {expected}"));
    }
    // A key that may be absent may still not be of the wrong type.
    assert!(file.get::<u32>("scalar.string").is_err());
}
