//! What torch.save wrote before PyTorch 1.6, and still can: pickles one after the other, then the storages.

use std::collections::HashMap;

use bytes::Bytes;

use super::pickle::{Pickle, Value};
use crate::error::shown;

/// 0x1950a86a20f9469cfc6c.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

const PROTOCOL: i64 = 1001;

/// The object's pickle, and the storages by their keys.
///
/// # Errors
/// What is wrong, on one line.
pub(super) fn read(bytes: &Bytes) -> Result<(Pickle<'_>, HashMap<&[u8], Bytes>), String> {
    let mut at = 0;
    let mut next = || {
        let pickle = Pickle::read(&bytes[at..], false)?;
        at += pickle.end;
        Ok::<_, String>(pickle)
    };
    let magic = next()?;
    if !magic.is_long(magic.root, &MAGIC) {
        let found = magic.shown(magic.root);
        return Err(format!("a pickle, but not by torch.save: expected its magic number, found {found}; save with torch.save"));
    }
    let protocol = next()?;
    if !matches!(protocol.root, Value::Int(PROTOCOL)) {
        return Err(format!(
            "expected version {PROTOCOL} of the format before PyTorch 1.6, found {}",
            protocol.shown(protocol.root)
        ));
    }
    let system = next()?;
    let little = match system.root {
        Value::Dict(dict) => system.get(dict, "little_endian"),
        _ => None,
    };
    match little {
        Some(Value::Bool(true)) => {}
        Some(Value::Bool(false)) => return Err(super::BIG_ENDIAN.into()),
        _ => return Err("expected to find whether it is little-endian, but it does not say; save it again".into()),
    }
    let object = next()?;
    let keys = next()?;
    let Value::List(list) = keys.root else {
        return Err(format!("expected the list of storages, found {}", keys.shown(keys.root)));
    };

    // How each is counted: as the first that names it says.
    let mut units = HashMap::new();
    for storage in &object.storages {
        units.entry(object.key(storage)).or_insert(storage.unit());
    }
    let mut storages = HashMap::new();
    for key in keys.list(list) {
        let key = keys.raw(*key).ok_or_else(|| format!("expected the key of a storage, found {}", keys.shown(*key)))?;
        let shown = || shown(&String::from_utf8_lossy(key));
        let unit = units.get(key).ok_or_else(|| format!("no tensor has the storage {}", shown()))?;
        let beyond = || format!("storage {} reaches beyond the file; get the file again", shown());
        let (count, _) = bytes[at..].split_first_chunk::<8>().ok_or_else(beyond)?;
        let length = usize::try_from(i64::from_le_bytes(*count)).ok().and_then(|count| count.checked_mul(*unit));
        let end = length.and_then(|length| (at + 8).checked_add(length)).filter(|end| *end <= bytes.len()).ok_or_else(beyond)?;
        if storages.insert(key, bytes.slice(at + 8..end)).is_some() {
            return Err(format!("storage {} is there twice", shown()));
        }
        at = end;
    }
    if at != bytes.len() {
        return Err(format!("{} bytes follow the last storage; get the file again", bytes.len() - at));
    }
    Ok((object, storages))
}
