//! What the writer does to the folder, and what it refuses.

mod raw;

use std::{fs, path::Path};

use edgeclip_gguf::{ErrorKind, File, Metadata, Strings, TensorSpec, TensorType, Value, Writer};

fn specs() -> [TensorSpec; 2] {
    [TensorSpec::new("a", [5], TensorType::F32), TensorSpec::new("b", [32], TensorType::Q8_0)]
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The message of a refusal, without the path.
#[track_caller]
fn refusal<T: std::fmt::Debug>(path: &Path, result: Result<T, edgeclip_gguf::Error>) -> String {
    let message = result.unwrap_err().to_string();
    message.strip_prefix(&format!("{}: ", path.display())).unwrap_or_else(|| panic!("no path in: {message}")).to_owned()
}

#[test]
fn the_target_appears_only_when_all_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new.gguf");
    let mut writer = Writer::create(&path, &Metadata::new(), &specs()).unwrap();
    assert_eq!(writer.current().unwrap().name, "a");
    writer.write(&[1; 20]).unwrap();
    assert_eq!(writer.current().unwrap().name, "b");
    writer.write(&[2; 34]).unwrap();
    assert_eq!(writer.current(), None);
    assert!(!path.exists());
    assert_eq!(files(folder.path()).len(), 1, "the temporary file is in the target's folder");
    writer.finish().unwrap();
    assert_eq!(files(folder.path()), ["new.gguf"]);
    let file = File::open(&path).unwrap();
    assert_eq!((file.version(), file.alignment()), (3, 32));
    assert_eq!(file.data(file.tensor("b").unwrap()).unwrap(), [2u8; 34][..]);
    // Padding is zero, and follows the last tensor too.
    let bytes = fs::read(&path).unwrap();
    assert_eq!(bytes.len() % 32, 0);
    assert!(bytes[bytes.len() - 30..].iter().all(|&b| b == 0));
}

#[test]
fn an_old_target_is_replaced_by_finish_and_a_map_of_it_stays_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    let write = |fill: u8| {
        let mut writer = Writer::create(&path, &Metadata::new(), &specs()).unwrap();
        writer.write(&[fill; 20]).unwrap();
        writer.write(&[fill; 34]).unwrap();
        writer
    };
    write(1).finish().unwrap();
    let old = File::open(&path).unwrap();
    let writer = write(2);
    assert_eq!(fs::read(&path).unwrap()[old.data_start() as usize], 1, "untouched until finish");
    writer.finish().unwrap();
    let new = File::open(&path).unwrap();
    assert_eq!(old.data(&old.tensors()[0]).unwrap(), [1u8; 20][..]);
    assert_eq!(new.data(&new.tensors()[0]).unwrap(), [2u8; 20][..]);
    assert_eq!(files(folder.path()), ["m.gguf"]);
}

#[test]
fn a_complete_file_can_be_read_before_it_is_published_or_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    let complete = || {
        let mut writer = Writer::create(&path, &Metadata::new(), &specs()).unwrap();
        writer.write(&[3; 20]).unwrap();
        writer.write(&[3; 34]).unwrap();
        writer.complete().unwrap()
    };
    let completed = complete();
    let file = File::open(completed.temporary_path()).unwrap();
    assert_eq!(file.data(file.tensor("b").unwrap()).unwrap(), [3u8; 34][..]);
    assert!(!path.exists());
    drop((file, completed));
    assert_eq!(files(folder.path()).len(), 0, "dropping it removes it");
    complete().publish().unwrap();
    assert_eq!(files(folder.path()), ["m.gguf"]);
    File::open(&path).unwrap();
}

#[test]
fn nothing_is_left_and_nothing_changed_without_finish() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    fs::write(&path, "precious").unwrap();
    // Dropped half-way.
    let mut writer = Writer::create(&path, &Metadata::new(), &specs()).unwrap();
    writer.write(&[1; 20]).unwrap();
    drop(writer);
    // Finished too early.
    let mut writer = Writer::create(&path, &Metadata::new(), &specs()).unwrap();
    writer.write(&[1; 20]).unwrap();
    writer.write(&[1; 33]).unwrap();
    assert_eq!(refusal(&path, writer.finish()), "tensor b: expected 34 bytes, found 33");
    let writer = Writer::create(&path, &Metadata::new(), &specs()).unwrap();
    assert_eq!(refusal(&path, writer.finish()), "tensor a: expected 20 bytes, found 0");
    assert_eq!(files(folder.path()), ["m.gguf"]);
    assert_eq!(fs::read(&path).unwrap(), b"precious");
}

#[test]
fn bytes_that_are_too_many_are_refused_and_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    let mut writer = Writer::create(&path, &Metadata::new(), &specs()).unwrap();
    writer.write(&[1; 8]).unwrap();
    assert_eq!(refusal(&path, writer.write(&[1; 13])), "tensor a: expected 20 bytes, found 21");
    writer.write(&[1; 12]).unwrap();
    writer.write(&[2; 34]).unwrap();
    writer.write(&[]).unwrap();
    assert_eq!(refusal(&path, writer.write(&[0])), "expected no more tensors, found more bytes");
    writer.finish().unwrap();
    let file = File::open(&path).unwrap();
    assert_eq!(file.data(&file.tensors()[0]).unwrap(), [1u8; 20][..]);
}

#[test]
fn begin_notices_a_tensor_that_is_short_or_out_of_turn() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    let mut writer = Writer::create(&path, &Metadata::new(), &specs()).unwrap();
    assert_eq!(refusal(&path, writer.begin("b")), "expected tensor a, found tensor b");
    writer.begin("a").unwrap();
    writer.write(&[1; 19]).unwrap();
    assert_eq!(refusal(&path, writer.begin("b")), "tensor a: expected 20 bytes, found 19");
    writer.write(&[1; 1]).unwrap();
    writer.begin("b").unwrap();
    writer.write(&[1; 34]).unwrap();
    assert_eq!(refusal(&path, writer.begin("c")), "expected no more tensors, found tensor c");
}

#[test]
fn a_string_can_be_overwritten_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    let mut metadata = Metadata::new();
    metadata.insert("before", "x");
    metadata.insert("edgeclip.content_id", "0".repeat(64));
    metadata.insert("list", Strings::from_iter(["0".repeat(64)]));
    metadata.insert("after", 7u32);
    let mut writer = Writer::create(&path, &metadata, &specs()).unwrap();
    let id = "fedcba9876543210".repeat(4);
    writer.write(&[1; 7]).unwrap();
    // In the middle of a tensor, too: what follows goes on where it was.
    writer.patch_string("before", "y").unwrap();
    writer.write(&[1; 13]).unwrap();
    writer.write(&[2; 34]).unwrap();
    assert_eq!(refusal(&path, writer.patch_string("before", "yy")), "key before: expected a new value of 1 bytes, found 2");
    assert_eq!(refusal(&path, writer.patch_string("before", "")), "key before: expected a new value of 1 bytes, found 0");
    for key in ["after", "list", "none"] {
        let message = format!("key {key}: expected a string to overwrite, found none");
        assert_eq!(refusal(&path, writer.patch_string(key, "z")), message);
    }
    writer.patch_string("edgeclip.content_id", &id).unwrap();
    writer.finish().unwrap();

    metadata.insert("before", "y");
    metadata.insert("edgeclip.content_id", id);
    let file = File::open(&path).unwrap();
    assert_eq!(file.metadata(), &metadata);
    assert_eq!(file.data(&file.tensors()[0]).unwrap(), [1u8; 20][..]);
    assert_eq!(file.data(&file.tensors()[1]).unwrap(), [2u8; 34][..]);
}

#[test]
fn what_the_reader_refuses_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    let create = |key: &str, value: Value, specs: &[TensorSpec]| {
        let mut metadata = Metadata::new();
        metadata.insert(key, value);
        refusal(&path, Writer::create(&path, &metadata, specs))
    };
    let with = |specs: &[TensorSpec]| create("k", Value::U8(1), specs);
    assert_eq!(create("", Value::U8(1), &[]), "expected a key, found an empty one");
    assert_eq!(create(&"k".repeat(65_536), Value::U8(1), &[]), "bytes of a key: expected at most 65535, found 65536");
    assert_eq!(
        create("general.alignment", Value::U32(48), &[]),
        "key general.alignment: expected a u32 that is a power of two of at least 8, found u32 48"
    );
    let items = (1 << 24) + 1;
    let message = "key k: items of an array: expected at most 16777216, found 16777217";
    assert_eq!(create("k", Value::from(vec![0u8; items]), &[]), message);
    let message = "key k: bytes of a string: expected at most 67108864, found 67108865";
    assert_eq!(create("k", Value::from("x".repeat((64 << 20) + 1)), &[]), message);
    let f32 = TensorType::F32;
    let long = "n".repeat(64);
    assert!(with(&[TensorSpec::new(&long, [4], f32)]).ends_with("expected 1 to 63 bytes, found 64"));
    assert_eq!(with(&[TensorSpec::new("w", [4], f32), TensorSpec::new("w", [4], f32)]), "tensor w: expected once, found twice");
    assert_eq!(with(&[TensorSpec::new("w", [1; 5], f32)]), "tensor w: expected at most 4 dimensions, found 5");
    let sizes = "expected dimensions with a product of 1 to 2^63-1 bytes, found";
    assert_eq!(with(&[TensorSpec::new("w", [4, 0], f32)]), format!("tensor w: {sizes} [4, 0]"));
    let half = 1u64 << 60;
    let message = format!("tensor b: {sizes} [{half}]");
    assert_eq!(with(&[TensorSpec::new("a", [half], f32), TensorSpec::new("b", [half], f32)]), message);
    let message = "tensor w: expected rows of a multiple of 32 elements for q4_0, found 16";
    assert_eq!(with(&[TensorSpec::new("w", [16, 2], TensorType::Q4_0)]), message);
    let message = "tensor w: expected a type of known size, found type 77";
    assert_eq!(with(&[TensorSpec::new("w", [4], TensorType::from_id(77))]), message);
    assert!(files(folder.path()).is_empty());
}

#[test]
fn targets_that_cannot_be_replaced_are_refused_before_any_work() {
    let folder = tempfile::tempdir().unwrap();
    let create = |path: &Path| refusal(path, Writer::create(path, &Metadata::new(), &[]));
    assert_eq!(create(folder.path()), "expected a file or nothing to be there, found a folder or a device");
    #[cfg(unix)]
    assert_eq!(create(Path::new("/dev/null")), "expected a file or nothing to be there, found a folder or a device");
    let message = create(&folder.path().join("none/m.gguf"));
    assert!(message.starts_with("cannot create a temporary file in its folder: "), "{message}");
    assert!(files(folder.path()).is_empty());
}

/// tempfile's own default is 0600, which would hide a model from everybody else on the machine.
#[cfg(unix)]
#[test]
fn the_file_has_the_permissions_of_any_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (ours, plain) = (folder.path().join("m.gguf"), folder.path().join("plain"));
    Writer::create(&ours, &Metadata::new(), &[]).unwrap().finish().unwrap();
    fs::write(&plain, "").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&ours), mode(&plain));
}

/// Here somebody puts a folder into the target's place while the file is written.
#[test]
fn a_finish_that_fails_leaves_no_temporary_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    let writer = Writer::create(&path, &Metadata::new(), &[]).unwrap();
    fs::create_dir(&path).unwrap();
    let error = writer.finish().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Io { .. }), "{error}");
    assert!(std::error::Error::source(&error).is_some());
    assert_eq!(files(folder.path()), ["m.gguf"]);
}

#[test]
fn a_header_of_any_length_is_padded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    for extra in 0..40 {
        let mut metadata = Metadata::new();
        metadata.insert("k", "x".repeat(extra));
        let spec = [TensorSpec::new("w", [2], TensorType::F32)];
        let mut writer = Writer::create(&path, &metadata, &spec).unwrap();
        writer.write(&[7; 8]).unwrap();
        writer.finish().unwrap();
        let file = File::open(&path).unwrap();
        assert_eq!(file.data_start() % 32, 0);
        assert_eq!(file.data(&file.tensors()[0]).unwrap(), [7u8; 8][..]);
        assert_eq!(file.metadata(), &metadata);
        // The same bytes as those of a file built by hand.
        let raw = raw::Raw::new().key(raw::key("k", 8, &raw::string("x".repeat(extra)))).tensor(raw::tensor("w", &[2], 0, 0));
        let raw = raw::Raw { data: [[7u8; 8].to_vec(), vec![0; 24]].concat(), ..raw };
        assert_eq!(fs::read(&path).unwrap(), raw.bytes());
    }
}
