//! Files that are made to do harm, and damaged ones.

use super::{
    super::is_torch,
    build::{Item, checkpoint, dict_of, int, item, module, storage, tensor, text, zip},
    read_bytes, refusal, sample,
};

#[test]
fn nothing_is_executed() {
    let asks = |name: &str| format!("the pickle asks for {name}, which no state dict needs; nothing was executed");
    for (pickle, problem) in [
        (&b"\x80\x02cos\nsystem\nX\x04\0\0\0true\x85R."[..], asks("os.system")),
        (b"\x80\x02cposix\nsystem\nX\x04\0\0\0true\x85R.", asks("posix.system")),
        (b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.", asks("posix.system")),
        (b"\x80\x02cbuiltins\neval\nX\x01\0\0\x001\x85R.", asks("builtins.eval")),
        (b"\x80\x02c__builtin__\neval\nX\x01\0\0\x001\x85R.", asks("builtins.eval")),
        (b"\x80\x04\x8c\x08builtins\x8c\x07getattr\x93.", asks("builtins.getattr")),
        (
            b"\x80\x02ctorch.serialization\nload\n)R.",
            "the pickle asks for torch.serialization.load, which is not read; nothing was executed; save plain dense tensors"
                .into(),
        ),
        (
            b"\x80\x02csubprocess\nPopen\n)R.",
            format!(
                "{}; if it is a whole module that was saved, load it in Python and save its state_dict()",
                asks("subprocess.Popen")
            ),
        ),
        (
            b"\x80\x02c__torch__\nNet\n)\x81.",
            format!(
                "{}; if it is a whole module that was saved, load it in Python and save its state_dict()",
                asks("__torch__.Net")
            ),
        ),
        // Line breaks and control characters of a name stay out of the message.
        (b"\x80\x04\x8c\x02o\n\x8c\x07sys\x1btem\x93.", asks("o\\n.sys\\u{1b}tem")),
    ] {
        assert_eq!(refusal(checkpoint(pickle)), problem);
        assert_eq!(refusal(pickle.to_vec()), problem, "bare");
    }
    let inside = refusal(module(b"\x80\x02cos\nsystem\nX\x04\0\0\0true\x85R."));
    assert_eq!(inside, asks("os.system"));
}

#[test]
fn opcodes_that_no_checkpoint_has_are_refused() {
    let opcode = |name: &str| format!("the pickle has the opcode {name} at byte 2, which no state dict needs");
    for (pickle, problem) in [
        (&b"\x80\x02\x82\x01."[..], opcode("EXT1 (0x82)")),
        (b"\x80\x02\x83\x01\0.", opcode("EXT2 (0x83)")),
        (b"\x80\x02\x84\x01\0\0\0.", opcode("EXT4 (0x84)")),
        (b"\x80\x02(i", opcode("INST (0x69)").replace("byte 2", "byte 3")),
        (b"\x80\x02P1\n.", opcode("PERSID (0x50)")),
        (b"\x80\x05\x97.", opcode("NEXT_BUFFER (0x97)")),
        (b"\x80\x02\x80\x02.", opcode("PROTO (in the middle) (0x80)")),
        (b"\x80\x02\xff.", opcode("0xff")),
        (b"\x80\x06}.", "expected pickle protocol 2 to 5, found 6".into()),
        (b"\x80\x01}.", "expected pickle protocol 2 to 5, found 1".into()),
        (b"(dp0\n.", "not a pickle that PyTorch writes: expected protocol 2 to 5, found none".into()),
    ] {
        assert_eq!(refusal(checkpoint(pickle)), problem);
    }
    assert!(!is_torch(b"\x80\x06}.") && !is_torch(b"\x80") && !is_torch(b"") && !is_torch(b"GGUF"));
}

#[test]
fn broken_stacks_are_refused() {
    let broken = |at: usize, what: &str| format!("the pickle is damaged at byte {at}: {what}; get the file again");
    for (pickle, problem) in [
        (&b"\x80\x02."[..], broken(2, "the stack is empty")),
        (b"\x80\x020.", broken(2, "the stack is empty")),
        (b"\x80\x022.", broken(2, "the stack is empty")),
        (b"\x80\x02N\x86.", broken(3, "the stack is empty")),
        (b"\x80\x02t.", broken(2, "there is no mark")),
        (b"\x80\x02u.", broken(2, "there is no mark")),
        (b"\x80\x02(u.", broken(3, "the stack is empty")),
        // What lies beneath a mark is out of reach.
        (b"\x80\x02N(0.", broken(4, "the stack is empty")),
        (b"\x80\x02}(NNN(s.", broken(8, "the stack is empty")),
        (b"\x80\x02}(Nu.", broken(5, "a key has no value")),
        (b"\x80\x02NNa.", broken(4, "expected a list to extend, found None")),
        (b"\x80\x02]NNs.", broken(5, "expected a dict to extend, found a list")),
        (b"\x80\x02h\x07.", broken(2, "number 7 was never memoized")),
        (b"\x80\x02Nr\xff\xff\xff\xff.", broken(3, "expected memo numbers below 2097152, found 4294967295")),
        (b"\x80\x02N)R.", broken(4, "expected a function and a tuple of arguments, found None")),
        (b"\x80\x02ctorch\nFloatStorage\n)R.", broken(23, "expected a function of these arguments, found another")),
        (b"\x80\x02NNb.", broken(4, "expected an object to build, found None")),
        (b"\x80\x02NQ.", broken(3, "expected the persistent id of a storage, found no tuple")),
        (b"\x80\x02)Q.", broken(3, "expected the persistent id of a storage, found an empty tuple")),
        (b"\x80\x02K\x01\x85Q.", broken(5, "expected the persistent id of a storage, found 1")),
        (b"\x80\x02X\x06\0\0\0module\x85Q.", "the pickle is a whole module; load it in Python and save its state_dict()".into()),
        (b"\x80\x04NN\x93.", broken(4, "expected the texts of a module and a name")),
        (b"\x80\x02X\xff\xff\xff\xff.", "the pickle is truncated: it ends after 8 bytes; get the file again".into()),
        (
            b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xff.",
            "the pickle is truncated: it ends after 12 bytes; get the file again".into(),
        ),
        (b"\x80\x02cos", "the pickle is truncated: it ends after 5 bytes; get the file again".into()),
        (b"\x80\x02}", "the pickle is truncated: it ends after 3 bytes; get the file again".into()),
    ] {
        assert_eq!(refusal(checkpoint(pickle)), problem);
    }
}

#[test]
fn what_holds_itself_is_no_trap() {
    let no_tensors =
        "it holds no tensors: expected a state dict, or one under \"state_dict\", \"model_state_dict\" or \"model\", found ";
    let itself = [b"\x80\x02}q\0".to_vec(), text("state_dict"), b"h\0s.".to_vec()].concat();
    assert_eq!(refusal(checkpoint(&itself)), format!("{no_tensors}\"state_dict\"; save model.state_dict()"));
    assert_eq!(refusal(checkpoint(b"\x80\x02}.")), format!("{no_tensors}no keys; save model.state_dict()"));
    assert_eq!(refusal(checkpoint(b"\x80\x02]q\0h\0a.")), "expected a state dict, found a list; save model.state_dict()");

    // A module that is its own part; and parts that stand twice in each other, 2^60 in all.
    let own = [b"\x80\x02c__torch__\nA\n)\x81q\0}".to_vec(), text("a"), b"h\0sb.".to_vec()].concat();
    let message = refusal(module(&own));
    assert!(message.starts_with("expected modules at most 64 deep, found a.a.a.a") && message.ends_with(" in them"), "{message}");
    let mut many = b"\x80\x02c__torch__\nA\nq\0)\x81q\x01".to_vec();
    for _ in 0..60 {
        many.extend([b"h\0)\x81}".to_vec(), text("a"), b"h\x01s".to_vec(), text("b"), b"h\x01sbq\x01".to_vec()].concat());
    }
    many.push(b'.');
    assert_eq!(refusal(module(&many)), "it has more than 65536 tensors or modules; is it a checkpoint?");
    // A large module in many places.
    let attributes: Vec<u8> = (0..1000).flat_map(|i| [text(&i.to_string()), b"N".to_vec()].concat()).collect();
    let places: Vec<u8> = (0..10_000).flat_map(|i| [text(&i.to_string()), b"h\0".to_vec()].concat()).collect();
    let class = b"\x80\x02c__torch__\nA\n)\x81q\0}(".to_vec();
    let wide = [class, attributes, b"ubc__torch__\nB\n)\x81}(".to_vec(), places, b"ub.".to_vec()].concat();
    assert_eq!(refusal(module(&wide)), "it has more than 65536 tensors or modules; is it a checkpoint?");
    let twice =
        [b"\x80\x02c__torch__\nA\n)\x81q\0}(".to_vec(), text("a"), b"h\0".to_vec(), text("a"), b"h\0ub.".to_vec()].concat();
    assert_eq!(refusal(module(&twice)), "the module has two attributes a");
    assert_eq!(refusal(module(b"\x80\x02}.")), "expected a TorchScript module, found a dict");
}

#[test]
fn memory_is_bounded() {
    let values = "the pickle makes more than 2097152 values; is it a checkpoint?";
    let pickle = |unit: &[u8], times: usize| [b"\x80\x02)".to_vec(), unit.repeat(times), b".".to_vec()].concat();
    // One in the other, as deep as it goes, and 2^1000000 by reference.
    assert_eq!(refusal(checkpoint(&pickle(b"\x85", 20_000_000))), values);
    assert_eq!(refusal(checkpoint(&pickle(b"2\x86", 10_000_000))), values);
    assert_eq!(refusal(checkpoint(&pickle(b"\x85", 2_000_000))), "expected a state dict, found a tuple; save model.state_dict()");
    assert_eq!(
        refusal(checkpoint(&pickle(b"2\x86", 1_000_000))),
        "expected a state dict, found a tuple; save model.state_dict()"
    );
    for unit in [&b"("[..], b"}", b"]", b"N", b")"] {
        assert_eq!(refusal(checkpoint(&pickle(unit, 20_000_000))), values);
    }
    // Marks and what is taken away again count too.
    assert_eq!(refusal(checkpoint(&pickle(b"(1", 20_000_000))), values);
    let long = [b"\x80\x02}".to_vec(), b"\x95\0\0\0\0\0\0\0\0".repeat(8_000_000)].concat();
    assert_eq!(refusal(checkpoint(&long)), "the pickle is larger than 67108864 bytes; is it a checkpoint?");
    // One tensor under 100000 names.
    let names: Vec<u8> = (0..100_000u32).flat_map(|i| [text(&i.to_string()), b"h\0s".to_vec()].concat()).collect();
    let many = [b"\x80\x02".to_vec(), tensor(storage("0", 4), 0, &[4], &[1]), b"q\x000}".to_vec(), names, b".".to_vec()].concat();
    assert_eq!(refusal(checkpoint(&many)), "it has more than 65536 tensors or modules; is it a checkpoint?");
    let name = [b"\x80\x02}".to_vec(), text(&"x".repeat(1025)), tensor(storage("0", 4), 0, &[4], &[1]), b"s.".to_vec()].concat();
    assert_eq!(refusal(checkpoint(&name)), "expected names of at most 1024 bytes, found one of 1025");
}

#[test]
fn tensors_stay_within_their_storage() {
    let one = |count: i64, offset: i64, shape: &[i64], strides: &[i64]| {
        checkpoint(&dict_of(tensor(storage("0", count), offset, shape, strides)))
    };
    let read = read_bytes(one(4, 1, &[3], &[1])).unwrap();
    assert_eq!(read.tensors[0].bytes.len(), 12);
    let beyond = "tensor w: its elements (offset ";
    for (file, problem) in [
        (
            one(5, 0, &[4], &[1]),
            "tensor w: its storage of 5 elements of 4 bytes reaches beyond the file, which has 16 for it".to_owned(),
        ),
        (
            one(i64::MAX, 0, &[4], &[1]),
            "tensor w: its storage of 9223372036854775807 elements of 4 bytes reaches beyond the file, which has 16 for it"
                .into(),
        ),
        (one(4, 2, &[3], &[1]), format!("{beyond}2, shape [3], strides [1], F32) reach beyond its storage of 16 bytes")),
        (one(3, 0, &[4], &[1]), format!("{beyond}0, shape [4], strides [1], F32) reach beyond its storage of 12 bytes")),
        (
            one(4, 0, &[2, 2], &[3, 1]),
            format!("{beyond}0, shape [2, 2], strides [3, 1], F32) reach beyond its storage of 16 bytes"),
        ),
        (one(4, 4, &[], &[]), format!("{beyond}4, shape [], strides [], F32) reach beyond its storage of 16 bytes")),
        (
            one(4, 0, &[2], &[i64::MAX]),
            format!("{beyond}0, shape [2], strides [9223372036854775807], F32) reach beyond its storage of 16 bytes"),
        ),
        (
            one(4, i64::MAX, &[2], &[i64::MAX]),
            format!(
                "{beyond}9223372036854775807, shape [2], strides [9223372036854775807], F32) reach beyond its storage of 16 bytes"
            ),
        ),
        (one(4, 0, &[2], &[-1]), "tensor w: expected strides of whole numbers, found -1".into()),
        (one(4, 0, &[-2], &[1]), "tensor w: expected a shape of whole numbers, found -2".into()),
        (one(4, 0, &[2], &[1, 1]), "tensor w: expected as many strides as dimensions, found 2 and 1".into()),
    ] {
        assert_eq!(refusal(file), problem);
    }
    let offset = refusal(one(4, -1, &[2], &[1]));
    assert!(offset.contains(": a tensor's offset is -1, expected a whole number; "), "{offset}");
    let count = refusal(one(-4, 0, &[2], &[1]));
    assert!(count.contains(": expected the persistent id of a storage, with a number of elements, found -4; "), "{count}");
    let rank = refusal(one(4, 0, &[1; 65], &[1; 65]));
    assert!(rank.contains(": a tensor's dimensions are 65, more than 64; "), "{rank}");
    let absent = checkpoint(&dict_of(tensor(storage("../0", 4), 0, &[4], &[1])));
    assert_eq!(refusal(absent), "tensor w: its storage ../0 is not in the file; get it again");
    let twice = dict_of(
        [tensor(storage("0", 4), 0, &[4], &[1]), b"s".to_vec(), text("w"), tensor(storage("0", 4), 0, &[4], &[1])].concat(),
    );
    assert_eq!(refusal(checkpoint(&twice)), "tensor w is in the state dict twice");
    // How much a few bytes may become is for whoever gathers them.
    assert_eq!(read_bytes(one(4, 0, &[1 << 40, 1 << 40], &[0, 0])).unwrap().tensors[0].bytes.len(), 4);
    // None at all may stand anywhere.
    assert!(read_bytes(one(4, 9, &[0, 1 << 40, 1 << 40], &[1, 1, 1])).unwrap().tensors[0].bytes.is_empty());
}

#[test]
fn archives_that_lie_are_refused() {
    let pickle = dict_of(tensor(storage("0", 4), 0, &[4], &[1]));
    let data = item("m/data/0", &[0; 16]);
    assert_eq!(read_bytes(zip(&[item("m/data.pkl", &pickle), item("m/data/0", &[0; 16])])).unwrap().tensors.len(), 1);
    let with = |change: &dyn Fn(&mut Item<'_>)| {
        let mut first = item("m/data.pkl", &pickle);
        change(&mut first);
        zip(&[first, item("m/data/0", &[0; 16])])
    };
    let bomb = with(&|item| (item.method, item.size) = (8, u32::MAX - 1));
    assert_eq!(
        refusal(bomb),
        "the archive's entry m/data.pkl is compressed (method 8), which PyTorch never does; unpack it and pack it again uncompressed \
         (zip -0)"
    );
    assert_eq!(
        refusal(with(&|item| item.flags = 1)),
        "the archive's entry m/data.pkl is encrypted, which is not read; decrypt the archive"
    );
    let crc = crc32fast::hash(&pickle);
    assert_eq!(
        refusal(with(&|item| item.crc ^= 1)),
        format!("damaged: expected the checksum {:08x} of m/data.pkl, found {crc:08x}; get the file again", crc ^ 1)
    );
    assert_eq!(
        refusal(with(&|item| item.size += 1)),
        "the archive's entry m/data.pkl is damaged: it is not compressed, but has two sizes; get the file again"
    );
    assert_eq!(
        refusal(with(&|item| (item.size, item.stored) = (1 << 30, 1 << 30))),
        "the archive's entry m/data.pkl has 1073741824 bytes, which reach beyond the file; get the file again"
    );
    // One byte longer, into the header of the next.
    assert_eq!(
        refusal(with(&|item| (item.size, item.stored) = (item.size + 1, item.stored + 1))),
        "the archive's entries m/data.pkl and m/data/0 overlap"
    );
    assert_eq!(
        refusal(zip(&[item("m/data.pkl", &pickle), item("m/data/0", &[0; 16]), data])),
        "two entries of the archive have the name m/data/0"
    );
    let big = zip(&[item("m/data.pkl", &pickle), item("m/data/0", &[0; 16]), item("m/byteorder", b"big")]);
    assert_eq!(
        refusal(big),
        "its tensors are big-endian, which is not read; load it and save it again on a little-endian machine"
    );
    let other = zip(&[item("m/data.pkl", &pickle), item("m/data/0", &[0; 16]), item("m/byteorder", b"middle")]);
    assert_eq!(refusal(other), "expected the byte order \"little\", found \"middle\"");
    assert_eq!(
        refusal(zip(&[item("x/y.txt", b"")])),
        "a zip archive, but not PyTorch's: expected an entry */data.pkl, found x/y.txt"
    );
    assert_eq!(
        refusal(zip(&[item("m/model.json", b"")])),
        "an early TorchScript archive (model.json), which is not read; load it and save it with a newer PyTorch"
    );
    assert_eq!(
        refusal(zip(&[item("a/data.pkl", b""), item("b/data.pkl", b"")])),
        "expected one data.pkl in the archive, found it in a and b"
    );
}

#[test]
fn directories_that_lie_are_refused() {
    let file = checkpoint(&dict_of(tensor(storage("0", 4), 0, &[4], &[1])));
    let end = file.len() - 22;
    let with = |at: usize, bytes: &[u8]| {
        let mut file = file.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    let commented = [&with(file.len() - 2, &[5, 0]), &b"PK\x05\x06!"[..]].concat();
    assert_eq!(read_bytes(commented).unwrap().tensors.len(), 1);
    let again = "; get the file again";
    let size = u32::from_le_bytes(file[end + 12..end + 16].try_into().unwrap());
    for (file, problem) in [
        (b"PK\x03\x04".to_vec(), format!("truncated, or no zip archive: its directory is not at its end{again}")),
        (with(end, b"XX"), format!("truncated, or no zip archive: its directory is not at its end{again}")),
        (with(end + 4, &[1]), "an archive of several parts, which is not read; join them".into()),
        (with(end + 10, &[9, 0]), format!("the archive's directory of {size} bytes is too short for 9 entries{again}")),
        (with(end + 10, &[1, 0]), format!("{} bytes follow the last of 1 entries in the archive's directory{again}", size - 56)),
        (with(end + 16, &[255; 4]), format!("the archive's directory ends beyond the file{again}")),
        // Where the first entry is said to be.
        (
            with(end - size as usize + 42, &[1, 0, 0, 0]),
            format!("the archive's entry m/data.pkl is damaged: it is not where the directory has it{again}"),
        ),
        (
            with(30, b"x"),
            format!("the archive's entry m/data.pkl is damaged: its own header is of another entry than the directory's{again}"),
        ),
        (
            with(18, &[0]),
            format!("the archive's entry m/data.pkl is damaged: its own header has other sizes than the directory{again}"),
        ),
    ] {
        assert_eq!(refusal(file), problem);
    }
    // 2^32 entries, which only the zip64 directory can say.
    let mut long = file[..end].to_vec();
    let place = long.len() as u64;
    long.extend(b"PK\x06\x06");
    long.extend(44u64.to_le_bytes());
    long.extend([0; 12]);
    let start = place - u64::from(size);
    long.extend([1u64 << 32, 1 << 32, size.into(), start].map(u64::to_le_bytes).concat());
    long.extend(b"PK\x06\x07\0\0\0\0");
    long.extend(place.to_le_bytes());
    long.extend(1u32.to_le_bytes());
    long.extend(&file[end..]);
    let count = long.len() - 12;
    assert_eq!(refusal(long.clone()), format!("the archive's zip64 directory is damaged{again}"));
    long[count..count + 2].copy_from_slice(&[255; 2]);
    assert_eq!(refusal(long), "expected an archive of at most 131072 entries, found 4294967296; is it a checkpoint?");
}

#[test]
fn the_format_before_zip_is_checked_too() {
    let file = sample("views-legacy.pt");
    assert_eq!(refusal(file[..file.len() - 1].to_vec()).split(' ').next(), Some("storage"));
    assert_eq!(refusal([&file[..], b"x"].concat()), "1 bytes follow the last storage; get the file again");
    assert_eq!(
        refusal(b"\x80\x02}.".to_vec()),
        "a pickle, but not by torch.save: expected its magic number, found a dict; save with torch.save"
    );
    let little = file.windows(13).position(|bytes| bytes == b"little_endian").unwrap();
    let truth = little + file[little..].iter().position(|byte| *byte == 0x88).unwrap();
    let mut big = file.clone();
    big[truth] = 0x89;
    assert_eq!(
        refusal(big),
        "its tensors are big-endian, which is not read; load it and save it again on a little-endian machine"
    );
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    assert!(is_torch(&tar));
    assert_eq!(
        refusal(tar),
        "a tar archive as the oldest PyTorch wrote, which is not read; load it and save it with a newer PyTorch"
    );
}

/// A view of storage elements 1 and 2, as the oldest of these files have.
#[test]
fn views_of_storages_are_read() {
    let head = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}X\x0d\0\0\0little_endian\x88s.".to_vec();
    let file = |view: &[i64]| {
        let view = [b"(".to_vec(), text("v"), view.iter().flat_map(|value| int(*value)).collect(), b"t".to_vec()].concat();
        let class = b"ctorch\nFloatStorage\n".to_vec();
        let storage = [b"(".to_vec(), text("storage"), class, text("k"), text("cpu"), int(4), view, b"tQ".to_vec()].concat();
        let keys = [b"\x80\x02]".to_vec(), text("k"), b"a.".to_vec()].concat();
        let data: Vec<u8> = [0f32, 1.0, 2.0, 3.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        [head.clone(), dict_of(tensor(storage, 0, &[2], &[1])), keys, 4i64.to_le_bytes().to_vec(), data].concat()
    };
    let bytes = &read_bytes(file(&[1, 2])).unwrap().tensors[0].bytes;
    assert_eq!(bytes[..], [1f32.to_le_bytes(), 2f32.to_le_bytes()].concat());
    assert_eq!(
        refusal(file(&[3, 2])),
        "tensor w: its storage of 2 elements of 4 bytes from 3 on reaches beyond the file, which has 16 for it"
    );
    let wrong = refusal(file(&[-1, 2]));
    assert!(wrong.contains("found a view of no numbers"), "{wrong}");
}

#[test]
fn cut_anywhere_a_file_is_refused() {
    for name in ["protocol-3.pt", "no-checksums.pt", "protocol-4-legacy.pt", "scripted.pt"] {
        let file = sample(name);
        for length in 0..file.len() {
            refusal(file[..length].to_vec());
        }
    }
}

#[test]
fn changed_anywhere_a_file_is_read_or_refused() {
    // xorshift, for the same bytes every time.
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let pickle = |name: &str| {
        let file = sample(name);
        let start = file.windows(2).position(|bytes| bytes == b"\x80\x02").unwrap();
        // Whatever record of the archive follows.
        let end = start + file[start..].windows(3).position(|bytes| matches!(bytes, [b'P', b'K', 1..=8])).unwrap();
        file[start..end].to_vec()
    };
    let (state_dict, script) = (pickle("under-model.pt"), pickle("scripted.pt"));
    let mut outcomes = [0, 0];
    for round in 0..20 {
        for (original, wrapped) in [
            (sample("no-checksums.pt"), None),
            (sample("protocol-4-legacy.pt"), None),
            (sample("types-legacy.pt"), None),
            (state_dict.clone(), Some(false)),
            (script.clone(), Some(true)),
        ] {
            for at in 0..original.len() {
                let mut changed = original.clone();
                changed[at] = if round == 0 { !changed[at] } else { random() as u8 };
                let changed = match wrapped {
                    None => changed,
                    Some(false) => checkpoint(&changed),
                    Some(true) => module(&changed),
                };
                match read_bytes(changed) {
                    Ok(_) => outcomes[0] += 1,
                    Err(message) => {
                        assert!(!message.contains('\n') && message.len() < 800, "{message}");
                        outcomes[1] += 1;
                    }
                }
            }
        }
    }
    assert!(outcomes[0] > 1000 && outcomes[1] > 1000, "{outcomes:?}");
}
