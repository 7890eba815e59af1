//! Files that a mutation broke, made whole again: lengths, places and checksums that follow from the rest, which no fuzzer
//! guesses. What cannot be understood stays as it is. A file that is whole stays so.

/// The longest that a file is made.
const LONGEST: usize = 1 << 20;

/// GGUF: each tensor follows the one before, and the file ends with the last.
pub fn gguf(bytes: &mut Vec<u8>) {
    let _ = place_tensors(bytes);
}

fn place_tensors(bytes: &mut Vec<u8>) -> Option<()> {
    let mut reader = Reader { bytes, at: 0 };
    if reader.take(4)? != b"GGUF" {
        return None;
    }
    reader.take(4)?;
    let (tensors, keys) = (reader.u64()?, reader.u64()?);
    let mut alignment = 32;
    for _ in 0..keys {
        let key = reader.string()?;
        let ty = reader.u32()?;
        let start = reader.at;
        reader.value(ty)?;
        if key == b"general.alignment" && ty == 4 {
            alignment = u64::from(u32::from_le_bytes(*bytes.get(start..)?.first_chunk()?));
            reader = Reader { bytes, at: start + 4 };
        }
    }
    if !alignment.is_power_of_two() || alignment > 4096 {
        return None;
    }
    // Where each offset stands, and what it should be.
    let mut places = Vec::new();
    let mut end = 0u64;
    for _ in 0..tensors {
        reader.string()?;
        let mut elements = 1u64;
        for _ in 0..reader.u32()? {
            elements = elements.checked_mul(reader.u64()?)?;
        }
        let (block, size) = block(reader.u32()?);
        let place = end.next_multiple_of(alignment);
        places.push((reader.at, place));
        reader.u64()?;
        end = place.checked_add((elements / block).checked_mul(size)?).filter(|end| *end <= LONGEST as u64)?;
    }
    let start = (reader.at as u64).next_multiple_of(alignment);
    for (at, place) in places {
        bytes[at..][..8].copy_from_slice(&place.to_le_bytes());
    }
    // A file that ends with padding keeps it.
    let (least, most) = (start + end, (start + end).next_multiple_of(alignment));
    let whole = (bytes.len() as u64).clamp(least, most);
    bytes.resize(whole as usize, 1);
    Some(())
}

/// Elements and bytes of a block of ggml's types that are known here.
fn block(ty: u32) -> (u64, u64) {
    match ty {
        0 => (1, 4),
        1 | 30 => (1, 2),
        2 => (32, 18),
        3 => (32, 20),
        6 => (32, 22),
        7 => (32, 24),
        8 => (32, 34),
        12 => (256, 144),
        14 => (256, 210),
        28 => (1, 8),
        _ => (1, 1),
    }
}

/// Reads what a mutation has left.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: u64) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..)?.get(..usize::try_from(count).ok()?)?;
        self.at += taken.len();
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let count = self.u64()?;
        self.take(count)
    }

    /// Goes over a value of a type of GGUF.
    fn value(&mut self, ty: u32) -> Option<()> {
        let size = |ty| match ty {
            0 | 1 | 7 => Some(1u64),
            2 | 3 => Some(2),
            4..=6 => Some(4),
            10..=12 => Some(8),
            _ => None,
        };
        match ty {
            8 => self.string().map(drop),
            9 => {
                let (ty, count) = (self.u32()?, self.u64()?);
                if ty == 8 {
                    // Each takes eight bytes at least, so this ends.
                    (0..count).try_for_each(|_| self.string().map(drop))
                } else {
                    self.take(size(ty)?.checked_mul(count)?).map(drop)
                }
            }
            _ => self.take(size(ty)?).map(drop),
        }
    }
}

/// Safetensors: the length of the header is that up to the brace that ends it, and the data end where the last tensor does.
pub fn safetensors(bytes: &mut Vec<u8>) {
    let Some(header) = bytes.get(8..).and_then(object) else { return };
    let length = header.len();
    // Every second number of the pairs; whatever else says so makes the file longer, which is an error like others.
    let text = String::from_utf8_lossy(header);
    let offsets = text.split("\"data_offsets\"").skip(1).filter_map(|rest| {
        let pair = rest.split_once('[')?.1.split_once(']')?.0;
        pair.split_once(',')?.1.trim().parse::<usize>().ok()
    });
    let end = offsets.max().unwrap_or(0);
    // Blanks may follow the object, as the library writes them.
    let stated = u64::from_le_bytes(*bytes.first_chunk().expect("there is more than a length"));
    let blanks = |stated: &usize| bytes.get(8 + length..8 + stated).is_some_and(|rest| rest.iter().all(|byte| *byte == b' '));
    let length = usize::try_from(stated).ok().filter(|stated| *stated < LONGEST).filter(blanks).unwrap_or(length);
    bytes[..8].copy_from_slice(&(length as u64).to_le_bytes());
    if end <= LONGEST {
        bytes.resize(8 + length + end, 1);
    }
}

/// The JSON object that bytes begin with.
fn object(bytes: &[u8]) -> Option<&[u8]> {
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    for (i, byte) in bytes.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' if !quoted => depth += 1,
            b'}' if !quoted => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(&bytes[..=i]);
                }
            }
            _ => {}
        }
    }
    None
}

/// Zip: the checksums of all uncompressed entries that are where the directory has them, except those of 0, which stand for none.
pub fn zip(bytes: &mut [u8]) {
    let at = |bytes: &[u8], at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?) as usize);
    let mut entries = Vec::new();
    for i in 0..bytes.len().saturating_sub(45) {
        if !bytes[i..].starts_with(b"PK\x01\x02") {
            continue;
        }
        let (Some(crc), Some(size), Some(place)) = (at(bytes, i + 16), at(bytes, i + 20), at(bytes, i + 42)) else { continue };
        let Some(lengths) = at(bytes, place.saturating_add(26)) else { continue };
        let start = place + 30 + (lengths & 0xffff) + (lengths >> 16);
        if crc != 0 && bytes[i + 10..][..2] == [0; 2] && start.checked_add(size).is_some_and(|end| end <= bytes.len()) {
            entries.push((i, place, start..start + size));
        }
    }
    for (directory, local, data) in entries {
        let crc = crc32fast::hash(&bytes[data]).to_le_bytes();
        bytes[directory + 16..][..4].copy_from_slice(&crc);
        // Where the sizes follow the data, they are 0 here.
        if bytes[local + 14..][..4] != [0; 4] {
            bytes[local + 14..][..4].copy_from_slice(&crc);
        }
    }
}

/// PNG: the checksums of the chunks. Other pictures have none.
pub fn png(bytes: &mut [u8]) {
    if !bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        return;
    }
    let mut at = 8;
    while let Some(length) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let end = u64::from(u32::from_be_bytes(*length)) + at as u64 + 8;
        let Some(end) = usize::try_from(end).ok().filter(|end| end + 4 <= bytes.len()) else { return };
        let crc = crc32fast::hash(&bytes[at + 4..end]);
        bytes[end..end + 4].copy_from_slice(&crc.to_be_bytes());
        at = end + 4;
    }
}
