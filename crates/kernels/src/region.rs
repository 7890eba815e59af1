//! Memory for weights: pieces of large regions that the system may back with huge pages.
//!
//! An encoder reads all of its weights for every input, tens of megabytes one after the other. With pages of 4 KiB the processor looks an address up every
//! 64 lines; a picture of ViT-B/32 took 7 % longer (docs/kernels.md).

use std::{
    slice,
    sync::{Arc, Mutex, PoisonError},
};

use memmap2::MmapMut;

use crate::aligned::Line;

/// What most systems call huge.
const HUGE: usize = 2 << 20;
/// Larger pieces get a region of their own.
const REGION: usize = 32 << 20;

/// The region that the next piece comes from, and how much of it is taken. Pieces keep their region alive, this keeps the last one.
static LAST: Mutex<Option<(Arc<Region>, usize)>> = Mutex::new(None);

#[derive(Debug)]
struct Region {
    /// On a huge page.
    first: *mut Line,
    lines: usize,
    _map: MmapMut,
}

// SAFETY: it is only memory; `Piece` says who may touch which part.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    fn new(bytes: usize) -> Option<Self> {
        let bytes = bytes.next_multiple_of(HUGE);
        let mut map = MmapMut::map_anon(bytes.checked_add(HUGE)?).ok()?;
        // Only a wish: without huge pages everything works as well.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        let skip = map.as_ptr().align_offset(HUGE);
        let first = map.get_mut(skip..)?.as_mut_ptr().cast();
        Some(Self { first, lines: bytes / size_of::<Line>(), _map: map })
    }
}

/// Lines that nobody else has, zero at first.
#[derive(Debug)]
pub(crate) struct Piece {
    region: Arc<Region>,
    start: usize,
    len: usize,
}

impl Piece {
    /// `None` if the system gives no memory in this way.
    pub(crate) fn new(lines: usize) -> Option<Self> {
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        let (region, taken) = match last.take().filter(|(region, taken)| region.lines - taken >= lines) {
            Some(last) => last,
            None => (Arc::new(Region::new(REGION.max(lines.checked_mul(size_of::<Line>())?))?), 0),
        };
        let piece = Self { region: Arc::clone(&region), start: taken, len: lines };
        *last = Some((region, taken + lines));
        Some(piece)
    }

    pub(crate) fn lines(&self) -> &[Line] {
        // SAFETY: `start..start + len` is in the region, which lives as long as this, and was given to this piece alone: `taken` only
        // grows while the region is the last one, and no piece is made of it afterwards. A new anonymous map is zero, and every byte is a valid Line.
        unsafe { slice::from_raw_parts(self.region.first.add(self.start), self.len) }
    }

    pub(crate) fn lines_mut(&mut self) -> &mut [Line] {
        // SAFETY: as in `lines`; `self` is borrowed mutably.
        unsafe { slice::from_raw_parts_mut(self.region.first.add(self.start), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_zero_and_apart() {
        let mut pieces: Vec<Piece> =
            [1, 1000, 5, REGION / 64 + 1, 7, REGION / 64, 2].map(|lines| Piece::new(lines).unwrap()).into();
        for (i, piece) in pieces.iter_mut().enumerate() {
            assert!(piece.lines().iter().all(|line| *line == Line([0; 64])));
            piece.lines_mut().fill(Line([i as u8 + 1; 64]));
        }
        for (i, piece) in pieces.iter().enumerate() {
            assert!(piece.lines().iter().all(|line| *line == Line([i as u8 + 1; 64])), "{i}");
            assert!(piece.lines().as_ptr().is_aligned());
        }
    }
}
