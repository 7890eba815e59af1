//! Zip archives in place. The central directory is the truth; each entry's local header has to agree with it, and no two entries may
//! share a byte. Nothing is ever decompressed: PyTorch stores pickles and tensors as they are.

use std::collections::HashMap;

use bytes::Bytes;

use crate::error::shown;

/// Most entries. Checkpoints have one a tensor.
const ENTRIES: u64 = 1 << 17;

const AGAIN: &str = "get the file again";

/// A file in an archive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// None: as it is.
    compressed: Option<u16>,
    crc: u32,
    start: usize,
    end: usize,
}

#[derive(Debug)]
pub(super) struct Zip<'a> {
    bytes: &'a Bytes,
    entries: HashMap<&'a [u8], Entry>,
}

impl<'a> Zip<'a> {
    /// Reads the directory and checks all entries against the file and each other.
    ///
    /// # Errors
    /// What is wrong, on one line.
    pub(super) fn read(bytes: &'a Bytes) -> Result<Self, String> {
        let Directory { start, end, count } = directory(bytes)?;
        let mut entries = HashMap::with_capacity(count);
        let mut places = Vec::with_capacity(count);
        let mut rest = &bytes[start..end];
        for _ in 0..count {
            let (name, place, entry, length) = entry(bytes, start, rest)?;
            rest = &rest[length..];
            places.push((place, entry.end, name));
            if entries.insert(name, entry).is_some() {
                return Err(format!("two entries of the archive have the name {}", lossy(name)));
            }
        }
        if !rest.is_empty() {
            return Err(format!("{} bytes follow the last of {count} entries in the archive's directory; {AGAIN}", rest.len()));
        }
        places.sort_unstable();
        for pair in places.windows(2) {
            if pair[0].1 > pair[1].0 {
                return Err(format!("the archive's entries {} and {} overlap", lossy(pair[0].2), lossy(pair[1].2)));
            }
        }
        Ok(Self { bytes, entries })
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'a [u8]> {
        self.entries.keys().copied()
    }

    /// Where the data of an entry are, if there is one of that name.
    ///
    /// # Errors
    /// That it is compressed.
    pub(super) fn find(&self, name: &[u8]) -> Result<Option<Entry>, String> {
        match self.entries.get(name) {
            Some(Entry { compressed: Some(method), .. }) => Err(format!(
                "the archive's entry {} is compressed (method {method}), which PyTorch never does; unpack it and pack it again \
                 uncompressed (zip -0)",
                lossy(name)
            )),
            entry => Ok(entry.copied()),
        }
    }

    /// The data of an entry.
    pub(super) fn data(&self, entry: Entry) -> Bytes {
        self.bytes.slice(entry.start..entry.end)
    }

    /// Whether an entry's data are what was written.
    ///
    /// # Errors
    /// That they are not.
    pub(super) fn verify(&self, name: &[u8], entry: Entry) -> Result<(), String> {
        // PyTorch writes 0 where it was told not to compute any.
        let found = if entry.crc == 0 { 0 } else { crc32fast::hash(&self.bytes[entry.start..entry.end]) };
        if found != entry.crc {
            let name = lossy(name);
            return Err(format!("damaged: expected the checksum {:08x} of {name}, found {found:08x}; {AGAIN}", entry.crc));
        }
        Ok(())
    }
}

pub(super) fn lossy(name: &[u8]) -> String {
    shown(&String::from_utf8_lossy(name))
}

struct Directory {
    start: usize,
    end: usize,
    count: usize,
}

/// Finds the central directory from the end of the file.
fn directory(bytes: &[u8]) -> Result<Directory, String> {
    const LENGTH: usize = 22;
    let absent = || format!("truncated, or no zip archive: its directory is not at its end; {AGAIN}");
    // A comment may follow.
    let last = bytes.len().checked_sub(LENGTH).ok_or_else(absent)?;
    let first = last.saturating_sub(usize::from(u16::MAX));
    let ends = |at: &usize| {
        bytes[*at..].starts_with(b"PK\x05\x06") && at + LENGTH + usize::from(u16_at(&bytes[*at..], 20)) == bytes.len()
    };
    let at = (first..=last).rev().find(ends).ok_or_else(absent)?;
    let end = &bytes[at..];
    let short = [u64::from(u16_at(end, 10)), u64::from(u32_at(end, 12)), u64::from(u32_at(end, 16))];
    let locator = at.checked_sub(20).filter(|locator| bytes[*locator..].starts_with(b"PK\x06\x07"));
    let (disks, [count, size, start], limit) = match locator {
        None => ([u64::from(u16_at(end, 4)), u64::from(u16_at(end, 6))], short, at),
        Some(locator) => {
            let broken = || format!("the archive's zip64 directory is damaged; {AGAIN}");
            let limit = usize::try_from(u64_at(&bytes[locator..], 8)).ok().filter(|limit| *limit <= locator);
            let limit = limit.ok_or_else(broken)?;
            let end = &bytes[limit..locator];
            if end.len() < 56 || !end.starts_with(b"PK\x06\x06") {
                return Err(broken());
            }
            let long = [u64_at(end, 32), u64_at(end, 40), u64_at(end, 48)];
            let agrees = |i: usize, all: u64| short[i] == all || short[i] == long[i];
            if !(agrees(0, u64::from(u16::MAX)) && agrees(1, u64::from(u32::MAX)) && agrees(2, u64::from(u32::MAX))) {
                return Err(broken());
            }
            ([u64::from(u32_at(end, 16)), u64::from(u32_at(end, 20))], long, limit)
        }
    };
    if disks != [0, 0] {
        return Err("an archive of several parts, which is not read; join them".into());
    }
    if count > ENTRIES {
        return Err(format!("expected an archive of at most {ENTRIES} entries, found {count}; is it a checkpoint?"));
    }
    let past = start.checked_add(size).and_then(|past| usize::try_from(past).ok()).filter(|past| *past <= limit);
    let past = past.ok_or_else(|| format!("the archive's directory ends beyond the file; {AGAIN}"))?;
    if count * 46 > size {
        return Err(format!("the archive's directory of {size} bytes is too short for {count} entries; {AGAIN}"));
    }
    Ok(Directory { start: past - size as usize, end: past, count: count as usize })
}

/// The first entry of the directory's `rest`: its name, where its local header starts, what it is, and the bytes it takes in the directory.
fn entry<'a>(bytes: &'a [u8], directory: usize, rest: &'a [u8]) -> Result<(&'a [u8], usize, Entry, usize), String> {
    let cut = || format!("the archive's directory is truncated; {AGAIN}");
    if rest.len() < 46 || !rest.starts_with(b"PK\x01\x02") {
        return Err(cut());
    }
    let [name_length, extra_length, comment_length] = [28, 30, 32].map(|at| usize::from(u16_at(rest, at)));
    let length = 46 + name_length + extra_length + comment_length;
    let tail = rest.get(46..length).ok_or_else(cut)?;
    let (name, tail) = tail.split_at(name_length);
    let damaged = |what: &str| format!("the archive's entry {} is damaged: {what}; {AGAIN}", lossy(name));

    let (flags, method, crc) = (u16_at(rest, 8), u16_at(rest, 10), u32_at(rest, 16));
    // Size, size in the file, place.
    let mut fields = [u64::from(u32_at(rest, 24)), u64::from(u32_at(rest, 20)), u64::from(u32_at(rest, 42))];
    let mut long = zip64(&tail[..extra_length]);
    for field in &mut fields {
        if *field == u64::from(u32::MAX) {
            let (number, more) = long.split_first_chunk::<8>().ok_or_else(|| damaged("its zip64 sizes are missing"))?;
            (*field, long) = (u64::from_le_bytes(*number), more);
        }
    }
    let [size, stored, place] = fields;
    // Encryption, its strong form, and a hidden directory.
    if flags & 0x2041 != 0 {
        return Err(format!("the archive's entry {} is encrypted, which is not read; decrypt the archive", lossy(name)));
    }
    if method == 0 && size != stored {
        return Err(damaged("it is not compressed, but has two sizes"));
    }

    let local = usize::try_from(place).ok().and_then(|place| bytes[..directory].get(place..));
    let local = local.filter(|local| local.len() >= 30 && local.starts_with(b"PK\x03\x04"));
    let local = local.ok_or_else(|| damaged("it is not where the directory has it"))?;
    let start = 30 + usize::from(u16_at(local, 26)) + usize::from(u16_at(local, 28));
    let same_name = local.get(30..30 + usize::from(u16_at(local, 26))) == Some(name);
    if !same_name || u16_at(local, 8) != method || (u16_at(local, 6) ^ flags) & 0x2049 != 0 {
        return Err(damaged("its own header is of another entry than the directory's"));
    }
    // Where the sizes follow the data, they are 0 in the header.
    let agrees = |at: usize, of: u64| {
        let found = u64::from(u32_at(local, at));
        found == of || (flags & 8 != 0 && found == 0) || (at != 14 && found == u64::from(u32::MAX))
    };
    if !(agrees(14, crc.into()) && agrees(18, stored) && agrees(22, size)) {
        return Err(damaged("its own header has other sizes than the directory"));
    }
    let end = usize::try_from(stored).ok().and_then(|stored| start.checked_add(stored)).filter(|end| *end <= local.len());
    let end = end
        .ok_or_else(|| format!("the archive's entry {} has {stored} bytes, which reach beyond the file; {AGAIN}", lossy(name)))?;
    let place = directory - local.len();
    let compressed = (method != 0).then_some(method);
    Ok((name, place, Entry { compressed, crc, start: place + start, end: place + end }, length))
}

/// The sizes that did not fit 32 bits, out of an entry's extra fields.
fn zip64(mut extra: &[u8]) -> &[u8] {
    while extra.len() >= 4 {
        let (id, length) = (u16_at(extra, 0), usize::from(u16_at(extra, 2)));
        let Some(field) = extra.get(4..4 + length) else { break };
        if id == 1 {
            return field;
        }
        extra = &extra[4 + length..];
    }
    &[]
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
