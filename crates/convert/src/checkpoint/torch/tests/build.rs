//! Archives and pickles, byte by byte.

/// An entry of an archive, with what the directory and the local header say of it.
pub(super) struct Item<'a> {
    pub(super) name: &'a str,
    pub(super) data: &'a [u8],
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) crc: u32,
    pub(super) size: u32,
    pub(super) stored: u32,
}

pub(super) fn item<'a>(name: &'a str, data: &'a [u8]) -> Item<'a> {
    let size = data.len() as u32;
    Item { name, data, flags: 0, method: 0, crc: crc32fast::hash(data), size, stored: size }
}

fn push16(to: &mut Vec<u8>, values: &[u16]) {
    to.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

fn push32(to: &mut Vec<u8>, values: &[u32]) {
    to.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

pub(super) fn zip(items: &[Item<'_>]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for item in items {
        let place = file.len() as u32;
        let mut common = Vec::new();
        push16(&mut common, &[20, item.flags, item.method, 0, 0]);
        push32(&mut common, &[item.crc, item.stored, item.size]);
        push16(&mut common, &[item.name.len() as u16, 0]);
        file.extend(b"PK\x03\x04");
        file.extend(&common);
        file.extend(item.name.as_bytes());
        file.extend(item.data);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&common);
        push16(&mut directory, &[0, 0, 0]);
        push32(&mut directory, &[0, place]);
        directory.extend(item.name.as_bytes());
    }
    let place = file.len() as u32;
    file.extend(&directory);
    file.extend(b"PK\x05\x06");
    push16(&mut file, &[0, 0, items.len() as u16, items.len() as u16]);
    push32(&mut file, &[directory.len() as u32, place]);
    push16(&mut file, &[0]);
    file
}

/// A checkpoint of this pickle and 16 bytes of storage "0".
pub(super) fn checkpoint(pickle: &[u8]) -> Vec<u8> {
    zip(&[item("m/data.pkl", pickle), item("m/data/0", &[0; 16])])
}

pub(super) fn module(pickle: &[u8]) -> Vec<u8> {
    zip(&[item("m/data.pkl", pickle), item("m/constants.pkl", b"\x80\x02)."), item("m/data/0", &[0; 16])])
}

pub(super) fn text(text: &str) -> Vec<u8> {
    [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

pub(super) fn int(value: i64) -> Vec<u8> {
    [&b"\x8a\x08"[..], &value.to_le_bytes()].concat()
}

pub(super) fn tuple(values: &[i64]) -> Vec<u8> {
    [b"(".to_vec(), values.iter().flat_map(|value| int(*value)).collect(), b"t".to_vec()].concat()
}

pub(super) fn storage(key: &str, count: i64) -> Vec<u8> {
    [b"(".to_vec(), text("storage"), b"ctorch\nFloatStorage\n".to_vec(), text(key), text("cpu"), int(count), b"tQ".to_vec()]
        .concat()
}

pub(super) fn tensor(storage: Vec<u8>, offset: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    let hooks = b"\x89ccollections\nOrderedDict\n)RtR".to_vec();
    [b"ctorch._utils\n_rebuild_tensor_v2\n(".to_vec(), storage, int(offset), tuple(shape), tuple(strides), hooks].concat()
}

/// The pickle of a dict of one tensor.
pub(super) fn dict_of(tensor: Vec<u8>) -> Vec<u8> {
    [b"\x80\x02}".to_vec(), text("w"), tensor, b"s.".to_vec()].concat()
}
