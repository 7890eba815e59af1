//! The EXIF orientation of a picture, found where Pillow's `getexif` finds it: in the EXIF block, and if that
//! says nothing, in the XMP packet.

/// Tag "Orientation" of the TIFF baseline, which EXIF shares.
const ORIENTATION: u16 = 0x0112;

/// The orientation that the metadata of a file gives; 1 (upright) if none.
pub(crate) fn orientation(exif: Option<&[u8]>, xmp: Option<&[u8]>) -> u8 {
    exif.and_then(from_exif).or_else(|| xmp.and_then(from_xmp)).unwrap_or(1)
}

/// Reads the orientation of an EXIF block: a TIFF header and its first directory, with or without the
/// prefix `Exif\0\0`. A damaged block has none: a picture is not refused for its metadata.
pub(crate) fn from_exif(block: &[u8]) -> Option<u8> {
    let tiff = block.strip_prefix(b"Exif\0\0").unwrap_or(block);
    let big_endian = match tiff.get(..4)? {
        b"II\x2a\0" => false,
        b"MM\0\x2a" => true,
        _ => return None,
    };
    let u16_at = |at: usize| {
        let bytes = tiff.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    };
    let u32_at = |at: usize| {
        let bytes = tiff.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    };
    let directory = u32_at(4)? as usize;
    let entries = usize::from(u16_at(directory)?);
    for i in 0..entries {
        let entry = directory.checked_add(2 + 12 * i)?;
        if u16_at(entry)? != ORIENTATION {
            continue;
        }
        // SHORT and LONG, with a sign or without. A BYTE is no number to Pillow, and a count of 0 no value.
        let value = match (u16_at(entry + 2)?, u32_at(entry + 4)?) {
            (3 | 8, 1..) => u32::from(u16_at(entry + 8)?),
            (4 | 9, 1..) => u32_at(entry + 8)?,
            _ => return None,
        };
        return u8::try_from(value).ok().or(Some(1));
    }
    None
}

/// `tiff:Orientation="6"` or `<tiff:Orientation>6`, the first that is there.
fn from_xmp(packet: &[u8]) -> Option<u8> {
    const NAME: &[u8] = b"tiff:Orientation";
    let mut rest = packet;
    while let Some(at) = rest.windows(NAME.len()).position(|w| w == NAME) {
        rest = &rest[at + NAME.len()..];
        let value = rest.strip_prefix(b"=\"").or_else(|| rest.strip_prefix(b">"));
        if let Some(digit @ b'0'..=b'9') = value.and_then(|v| v.first()) {
            return Some(digit - b'0');
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(entries: &[(u16, u16, [u8; 4])]) -> Vec<u8> {
        let mut block = b"Exif\0\0II\x2a\0\x08\0\0\0".to_vec();
        block.extend((entries.len() as u16).to_le_bytes());
        for (tag, kind, value) in entries {
            block.extend(tag.to_le_bytes());
            block.extend(kind.to_le_bytes());
            block.extend(1u32.to_le_bytes());
            block.extend(value);
        }
        block
    }

    #[test]
    fn directories_are_read() {
        assert_eq!(from_exif(&block(&[(0x0100, 3, [9, 0, 0, 0]), (ORIENTATION, 3, [6, 0, 0, 0])])), Some(6));
        assert_eq!(from_exif(&block(&[(ORIENTATION, 4, [8, 0, 0, 0])])), Some(8));
        assert_eq!(from_exif(&block(&[(ORIENTATION, 4, [8, 1, 0, 0])])), Some(1), "264 is no orientation");
        assert_eq!(from_exif(&block(&[(ORIENTATION, 8, [6, 0, 0, 0])])), Some(6));
        assert_eq!(from_exif(&block(&[(ORIENTATION, 1, [6, 0, 0, 0])])), None, "Pillow has bytes for a BYTE");
        assert_eq!(from_exif(&block(&[(0x0100, 3, [9, 0, 0, 0])])), None);
        assert_eq!(from_exif(b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x03\0\0"), Some(3));
    }

    /// A cut block is none, wherever it is cut.
    #[test]
    fn cut_blocks_are_none() {
        let whole = block(&[(0x0100, 3, [9, 0, 0, 0]), (ORIENTATION, 3, [6, 0, 0, 0])]);
        for len in 0..whole.len() - 2 {
            assert_eq!(from_exif(&whole[..len]), None, "cut at {len}");
        }
        assert_eq!(from_exif(b"II\x2a\0\xff\xff\xff\xff"), None);
    }

    #[test]
    fn xmp_is_the_fallback() {
        let xmp = b"<x tiff:Orientation='2' tiff:Orientation=\"6\"/>".as_slice();
        assert_eq!(orientation(None, Some(xmp)), 6);
        assert_eq!(orientation(None, Some(b"<tiff:Orientation>3</tiff:Orientation>")), 3);
        assert_eq!(orientation(Some(&block(&[(ORIENTATION, 3, [1, 0, 0, 0])])), Some(xmp)), 1);
        assert_eq!(orientation(None, Some(b"tiff:Orientation")), 1);
        assert_eq!(orientation(None, None), 1);
    }
}
