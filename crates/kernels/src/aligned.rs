//! Buffers that begin on a cache line, so that no vector of theirs straddles two.

use std::{
    fmt,
    marker::PhantomData,
    ops::{Deref, DerefMut},
};

use bytemuck::{Pod, Zeroable};

use crate::region::Piece;

/// A cache line.
#[derive(Clone, Copy, Debug, PartialEq, Zeroable, Pod)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [u8; 64]);

/// A vector of `T` that begins on a cache line and keeps its memory.
pub(crate) struct Aligned<T> {
    lines: Lines,
    len: usize,
    of: PhantomData<T>,
}

enum Lines {
    Vec(Vec<Line>),
    Piece(Piece),
}

impl Lines {
    fn as_slice(&self) -> &[Line] {
        match self {
            Self::Vec(lines) => lines,
            Self::Piece(piece) => piece.lines(),
        }
    }

    fn as_mut_slice(&mut self) -> &mut [Line] {
        match self {
            Self::Vec(lines) => lines,
            Self::Piece(piece) => piece.lines_mut(),
        }
    }
}

impl<T: Pod> Aligned<T> {
    /// Empty; allocates nothing.
    pub(crate) const fn new() -> Self {
        Self { lines: Lines::Vec(Vec::new()), len: 0, of: PhantomData }
    }

    /// `len` zeros.
    pub(crate) fn zeroed(len: usize) -> Self {
        let mut new = Self::new();
        new.resize(len);
        new
    }

    /// `len` zeros that will be read again and again, beside others of that kind.
    pub(crate) fn weights(len: usize) -> Self {
        match Piece::new(Self::lines(len)) {
            Some(piece) => Self { lines: Lines::Piece(piece), len, of: PhantomData },
            None => Self::zeroed(len),
        }
    }

    /// Changes the length. What was there stays or comes back; what never was there is zero.
    pub(crate) fn resize(&mut self, len: usize) {
        let needed = Self::lines(len);
        if needed > self.lines.as_slice().len() {
            let mut lines = match std::mem::replace(&mut self.lines, Lines::Vec(Vec::new())) {
                Lines::Vec(lines) => lines,
                Lines::Piece(piece) => piece.lines().to_vec(),
            };
            lines.resize(needed, Line::zeroed());
            self.lines = Lines::Vec(lines);
        }
        self.len = len;
    }

    fn lines(len: usize) -> usize {
        (len * size_of::<T>()).div_ceil(size_of::<Line>())
    }
}

impl<T: Pod> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &bytemuck::cast_slice(self.lines.as_slice())[..self.len]
    }
}

impl<T: Pod> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut bytemuck::cast_slice_mut(self.lines.as_mut_slice())[..self.len]
    }
}

impl<T> fmt::Debug for Aligned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}; {}]", std::any::type_name::<T>(), self.len)
    }
}
