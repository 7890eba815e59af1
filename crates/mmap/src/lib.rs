//! Read-only file maps, whose bytes are handed out as cheaply cloned [`Bytes`].
//!
//! This is the one `unsafe` outside the kernels. A map is used instead of a read because weights are large, are read once and can
//! then be dropped by the system page by page.
//!
//! # When the file changes under a map
//! The bytes of a mapped file are only as constant as the file. If another program cuts the file short while it is mapped, touching
//! a page past the new end kills the process (SIGBUS on Unix); if it overwrites the file, values change under us. Both need somebody
//! to write into a model file in place. Everything in this project writes to a temporary file and renames, which leaves an open map
//! valid; do the same with other tools.

use std::{fs::File, io, ops::Range, path::Path, sync::Arc};

use bytes::Bytes;
use memmap2::Mmap;

/// The bytes of a file, mapped, or bytes that are in memory anyway. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct Map {
    bytes: Bytes,
    /// What the bytes are of, unless they are in memory.
    mapped: Option<Arc<Mmap>>,
}

/// What keeps a map alive as long as any of its bytes are.
struct Owner(Arc<Mmap>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// What the system maps around an address that is touched (`fault_around_bytes` of Linux), and the largest page of any machine we know: around what
/// is let go of, so much was mapped by touching it.
#[cfg(unix)]
const WINDOW: usize = 64 << 10;

impl Map {
    /// All of the bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Says that this part has been read and will not be soon: what is mapped of it no longer counts as memory of this process, and costs none once
    /// the system drops it from its cache. The bytes stay what they are, for whoever holds them; touching them reads the file again, from the
    /// cache if it is still there. Of bytes that are in memory nothing changes.
    ///
    /// # Panics
    /// If the range is not in the bytes.
    pub fn release(&self, range: Range<usize>) {
        assert!(range.start <= range.end && range.end <= self.bytes.len(), "{range:?} of {} bytes", self.bytes.len());
        #[cfg(unix)]
        if let Some(map) = &self.mapped
            && !range.is_empty()
        {
            let first = map.as_ptr().addr();
            let start = range.start.saturating_sub((first + range.start) % WINDOW);
            let end = (first + range.end).next_multiple_of(WINDOW).saturating_sub(first).min(map.len());
            // SAFETY: the map is of a file and read-only, so there is nothing in its pages that the file does not have. Whoever touches one afterwards,
            // through whichever clone, is given the file's bytes again. That it was possible is not needed, so a failure is nothing.
            let _ = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, end - start) };
        }
    }
}

/// Bytes in memory.
impl From<Bytes> for Map {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, mapped: None }
    }
}

/// Maps the whole file read-only. An empty file gives empty bytes.
///
/// # Errors
/// What opening, measuring or mapping the file returned; a path that is no regular file is [`io::ErrorKind::InvalidInput`].
pub fn open(path: &Path) -> io::Result<Map> {
    // Asked of the path first: opening a named pipe would wait for a writer.
    let metadata = std::fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder, not a file"));
    }
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let file = File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(Bytes::new().into());
    }
    // SAFETY: the map is read-only and private to this process, and its length is the file's, so every byte of it is readable as long
    // as nobody shortens the file. That last condition cannot be enforced from here; the crate documentation states it, and what
    // follows if it is broken.
    let map = Arc::new(unsafe { Mmap::map(&file)? });
    Ok(Map { bytes: Bytes::from_owner(Owner(Arc::clone(&map))), mapped: Some(map) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_the_whole_file() {
        let this = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        assert_eq!(open(&this).unwrap().bytes(), &std::fs::read(&this).unwrap());
    }

    /// A part that neither begins nor ends on a page, in the middle of a file of which clones are held, while they are read.
    #[test]
    fn what_is_released_reads_the_same_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bytes");
        let expected: Vec<u8> = (0..1_000_003u32).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &expected).unwrap();
        let map = open(&path).unwrap();
        let (clone, part) = (map.clone(), map.bytes().slice(300_001..700_002));
        assert_eq!(map.bytes(), &expected);
        std::thread::scope(|scope| {
            scope.spawn(|| (0..20).for_each(|_| assert_eq!(clone.bytes(), &expected)));
            for range in [300_001..700_002, 0..1, 1_000_002..1_000_003, 0..1_000_003, 5..5] {
                map.release(range);
                assert_eq!(part, &expected[300_001..700_002]);
                assert_eq!(map.bytes(), &expected);
            }
        });
        // Bytes outlive the map that they are of.
        drop((map, clone));
        assert_eq!(part, &expected[300_001..700_002]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_released_is_no_longer_resident() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bytes");
        std::fs::write(&path, vec![1; 8 << 20]).unwrap();
        let map = open(&path).unwrap();
        // Of this map alone: other tests run beside this one.
        let resident = || {
            let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
            let own = maps.lines().skip_while(|line| !line.ends_with(path.to_str().unwrap()));
            let size = own.filter_map(|line| line.strip_prefix("Rss:")).next().unwrap();
            size.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap()
        };
        assert!(map.bytes().iter().all(|byte| *byte == 1));
        assert_eq!(resident(), 8 << 10);
        map.release(1 << 20..8 << 20);
        // Huge pages go as a whole.
        assert!(resident() <= 1 << 10, "{} kB", resident());
        map.release(0..8 << 20);
        assert_eq!(resident(), 0);
    }

    #[test]
    fn of_memory_nothing_is_released() {
        let map = Map::from(Bytes::from(vec![7; 1 << 20]));
        map.release(0..1 << 20);
        assert!(map.bytes().iter().all(|byte| *byte == 7));
    }

    #[test]
    #[should_panic(expected = "3..5 of 4 bytes")]
    fn what_is_not_there_cannot_be_released() {
        Map::from(Bytes::from_static(b"GGUF")).release(3..5);
    }

    #[test]
    fn a_folder_is_refused() {
        let error = open(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
    }
}
