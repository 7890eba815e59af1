//! What PyTorch writes: zip archives and the format before them by torch.save, and TorchScript archives. Nothing in them is executed.

mod globals;
mod legacy;
mod pickle;
mod tensors;
#[cfg(test)]
mod tests;
mod zip;

use std::{collections::HashMap, path::Path};

use bytes::Bytes;
use rayon::prelude::*;

use self::{
    pickle::{Pickle, Row},
    tensors::Named,
    zip::{Zip, lossy},
};
use super::stored::Stored;
use crate::{Error, error::shown};

const BIG_ENDIAN: &str = "its tensors are big-endian, which is not read; load it and save it again on a little-endian machine";

/// What a file of PyTorch's holds.
#[derive(Debug)]
pub(super) struct Archive {
    /// Tensors of the state dict, or parameters and buffers of the TorchScript module by their dotted paths.
    pub(super) tensors: Vec<Stored>,
    /// Of a TorchScript module: the class of each module by its dotted path ("" is the root), as stored. None: a state dict.
    pub(super) script: Option<Vec<(String, String)>>,
}

/// Whether a file starts like one of PyTorch's: a zip archive, a pickle of protocol 2 to 5, or the tar archive before them.
pub(super) fn is_torch(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04") || matches!(bytes, [0x80, 2..=5, ..]) || is_tar(bytes)
}

fn is_tar(bytes: &[u8]) -> bool {
    bytes.get(257..262) == Some(b"ustar")
}

/// Reads a mapped file. The tensors are windows on it; nothing is copied.
///
/// # Errors
/// [`Error::Malformed`].
pub(super) fn read(path: &Path, bytes: &Bytes) -> Result<Archive, Error> {
    let archive = if bytes.starts_with(b"PK") {
        read_zip(bytes)
    } else if is_tar(bytes) {
        Err("a tar archive as the oldest PyTorch wrote, which is not read; load it and save it with a newer PyTorch".into())
    } else {
        read_legacy(bytes)
    };
    archive.map_err(|problem| Error::Malformed { path: path.to_owned(), problem })
}

fn read_legacy(bytes: &Bytes) -> Result<Archive, String> {
    let (pickle, storages) = legacy::read(bytes)?;
    let named = tensors::state_dict(&pickle)?;
    let raw = |key: &[u8]| Ok(storages.get(key).cloned());
    Ok(Archive { tensors: windows(&pickle, named, raw)?, script: None })
}

fn read_zip(bytes: &Bytes) -> Result<Archive, String> {
    let zip = Zip::read(bytes)?;
    let prefix = prefix(&zip)?;
    let name = |file: &[u8]| [prefix, b"/", file].concat();
    let content = |file: &str| {
        let name = name(file.as_bytes());
        let Some(entry) = zip.find(&name)? else { return Ok(None) };
        zip.verify(&name, entry)?;
        Ok::<_, String>(Some(zip.data(entry)))
    };
    match content("byteorder")?.as_deref() {
        // Older ones do not say it.
        None | Some(b"little") => {}
        Some(b"big") => return Err(BIG_ENDIAN.into()),
        Some(other) => {
            return Err(format!("expected the byte order \"little\", found \"{}\"", lossy(&other[..other.len().min(16)])));
        }
    }
    let script = zip.find(&name(b"constants.pkl"))?.is_some();
    let data = content("data.pkl")?.ok_or("it has no data.pkl")?;
    let pickle = Pickle::read(&data, script)?;
    let (named, script) = if script {
        let (named, classes) = tensors::modules(&pickle)?;
        if named.is_empty() {
            let constants = zip.names().filter(|entry| entry.starts_with(&name(b"constants/"))).count();
            return Err(format!(
                "the TorchScript module has no parameters, but {constants} constants: it was frozen; save it before torch.jit.freeze"
            ));
        }
        (named, Some(classes))
    } else {
        (tensors::state_dict(&pickle)?, None)
    };

    let mut used = HashMap::new();
    let raw = |key: &[u8]| {
        let name = [prefix, b"/data/", key].concat();
        let entry = zip.find(&name)?;
        Ok(entry.map(|entry| {
            used.insert(name, entry);
            zip.data(entry)
        }))
    };
    let tensors = windows(&pickle, named, raw)?;
    // A flipped bit in a weight is seen nowhere else, and the bytes are about to be read anyway.
    let used: Vec<_> = used.into_iter().collect();
    used.par_iter().try_for_each(|(name, entry)| zip.verify(name, *entry))?;
    Ok(Archive { tensors, script })
}

/// The folder that everything is in, named after the file.
fn prefix<'a>(zip: &Zip<'a>) -> Result<&'a [u8], String> {
    let of = |name: &'a [u8], file: &[u8]| name.strip_suffix(file)?.strip_suffix(b"/").filter(|prefix| !prefix.contains(&b'/'));
    let mut prefixes: Vec<&[u8]> = zip.names().filter_map(|name| of(name, b"data.pkl")).collect();
    prefixes.sort_unstable();
    match prefixes[..] {
        [prefix] => Ok(prefix),
        [] if zip.names().any(|name| of(name, b"model.json").is_some()) => {
            Err("an early TorchScript archive (model.json), which is not read; load it and save it with a newer PyTorch".into())
        }
        [] => {
            let mut names: Vec<&[u8]> = zip.names().collect();
            names.sort_unstable();
            let found = names.first().map_or("none".into(), |name| lossy(name));
            Err(format!("a zip archive, but not PyTorch's: expected an entry */data.pkl, found {found}"))
        }
        [first, second, ..] => {
            Err(format!("expected one data.pkl in the archive, found it in {} and {}", lossy(first), lossy(second)))
        }
    }
}

/// The tensors in place; `raw` finds a storage by its key.
fn windows<'a>(
    pickle: &'a Pickle<'_>,
    named: Vec<Named>,
    mut raw: impl FnMut(&'a [u8]) -> Result<Option<Bytes>, String>,
) -> Result<Vec<Stored>, String> {
    let window = |(name, tensor): (String, Row)| {
        let shown = shown(&name);
        let key = pickle.key(&pickle.storages[pickle.tensor(tensor).storage as usize]);
        let raw =
            raw(key)?.ok_or_else(|| format!("tensor {shown}: its storage {} is not in the file; get it again", lossy(key)))?;
        tensors::window(pickle, tensor, name, &raw).map_err(|problem| format!("tensor {shown}: {problem}"))
    };
    named.into_iter().map(window).collect()
}
