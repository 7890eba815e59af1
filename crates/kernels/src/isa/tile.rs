//! What the tiles of every instruction set are given.

use crate::{Epilogue, disjoint::Disjoint};

/// The largest tile of any instruction set, in rows and columns.
pub(crate) const MOST_ROWS: usize = 6;
pub(crate) const MOST_COLUMNS: usize = 32;

/// How an instruction set wants the integers of both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Most rows of a tile.
    pub(crate) rows: usize,
    /// Columns of a tile: outputs whose weights lie side by side; a multiple of 16.
    pub(crate) columns: usize,
    /// Values of a row that lie side by side, those that one instruction sums: 4, 8 or 16.
    pub(crate) depth: usize,
    /// Whether activations are widened to 16 bits where weights have 8, and only two lie side by side.
    pub(crate) wide: bool,
    /// Whether the activations of two rows take turns, `depth` values each.
    pub(crate) pairs: bool,
    /// What is added to weights of 8 bits to make them unsigned: 128, or 0 if they stay signed.
    pub(crate) offset: i32,
}

impl Layout {
    /// Whether activations take 16 bits for weights of 4 bits, or of 8.
    pub(crate) const fn is_wide(self, four: bool) -> bool {
        self.wide && !four
    }

    /// Values of a row that lie side by side, for weights of 4 bits or of 8.
    pub(crate) const fn depth(self, four: bool) -> usize {
        if self.is_wide(four) { 2 } else { self.depth }
    }

    /// How many rows of activations lie together.
    pub(crate) const fn together(self) -> usize {
        if self.pairs { 2 } else { 1 }
    }
}

/// A tile of the product of integers, in two steps, each in the order given, `*` and `+` of one step rounded once:
///
/// * `y[r][c] = from[r][c] + scale[group][c] * dot`, group after group, where `dot`, the sum over the group of `x[r][k] * w[c][k]`, is exact;
/// * `out[r][c] = x_scale[r] * (y[r][c] - zero[r] * sum[c]) + bias[c]`, added to what is there if `add` says so.
///
/// The tile of M rows, C columns and depth D ([`Layout`]) reads, with `k = groups * blocks * steps * D`:
/// * `x`: M rows of `[k]`, each `stride` bytes after the one before, of i8, or of i16 if they are wide; in pairs, `[k / D][2][D]` of i8, each twice
///   the stride after the one before, the last of them whole even if M is odd; `x_scale` and `zero`: `[M]`;
/// * `start`: `[M][groups]`, where the dots begin: minus the sum of the row's group times the offset of the weights, so zeros if that is 0;
/// * `w`: `[k / D][C][D]` bytes with 8 bits; with 4, `[k / D / 2][C][D]`, the lower half of a byte for an even step, the upper for the odd one
///   after it, unsigned;
/// * `scale`: `[groups][C]`; `sum` and `bias`: `[C]`;
/// * `from`: `[M][C]`;
///
/// and writes M rows of `out[C]`, each `out_stride` elements after the one before. It asks for `lines` cache lines a block from `ahead` on,
/// which need not exist.
pub(crate) struct Int8Tile {
    pub(crate) x: *const u8,
    pub(crate) stride: usize,
    pub(crate) x_scale: *const f32,
    pub(crate) zero: *const f32,
    pub(crate) start: *const i32,
    pub(crate) w: *const u8,
    pub(crate) scale: *const f32,
    pub(crate) sum: *const f32,
    pub(crate) bias: *const f32,
    pub(crate) groups: usize,
    /// Of a group.
    pub(crate) blocks: usize,
    /// Of a block; a multiple of 2, but 1 where a group is no longer than the depth.
    pub(crate) steps: usize,
    pub(crate) ahead: *const u8,
    pub(crate) lines: usize,
    pub(crate) from: *const f32,
    pub(crate) out: *mut f32,
    pub(crate) out_stride: usize,
    pub(crate) add: bool,
}

/// # Safety
/// The pointers must be good for all that [`Int8Tile`] says, for the number of rows the function is for; `w`, `scale`, `sum`, `bias` and `from` must
/// begin on a cache line.
pub(crate) type Int8Fn = unsafe fn(&Int8Tile);

/// A tile of the product of floats: `out[r][c] = sum over k of x[r][k] * w[k][c]`, fused, in the order of k.
///
/// The tile of M rows and C columns reads M rows of `x[k]`, each `stride` elements after the one before, and `w`, `[k][C]`, and writes M rows of
/// `out[C]`, each `out_stride` elements after the one before.
pub(crate) struct FloatTile {
    pub(crate) x: *const f32,
    pub(crate) stride: usize,
    pub(crate) w: *const f32,
    pub(crate) k: usize,
    pub(crate) out: *mut f32,
    pub(crate) out_stride: usize,
}

/// # Safety
/// The pointers must be good for all that [`FloatTile`] says, for the number of rows the function is for; `w` and each row of `out` must begin on a cache line.
pub(crate) type FloatFn = unsafe fn(&FloatTile);

/// Tiles of 1, 2, ... rows.
pub(crate) struct Tiles {
    pub(crate) int8: &'static [Int8Fn],
    pub(crate) int4: &'static [Int8Fn],
    pub(crate) float: &'static [FloatFn],
}

/// What becomes of a tile, `[rows][columns]`, that could not be put in its place at once: bias and epilogue.
pub(crate) struct Finish<'a> {
    /// `[columns]`
    pub(crate) bias: &'a [f32],
    pub(crate) epilogue: Epilogue,
    pub(crate) out: &'a Disjoint<'a, f32>,
    /// Of the output: the first element, and from one row to the next. This part of it belongs to the tile.
    pub(crate) first: usize,
    pub(crate) stride: usize,
    /// Columns that there are; the others only fill up the panel.
    pub(crate) filled: usize,
}

/// The tile's floats on cache lines of their own.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(crate) struct TileBuffer(pub(crate) [f32; MOST_ROWS * MOST_COLUMNS]);

impl TileBuffer {
    pub(crate) const ZERO: Self = Self([0.0; MOST_ROWS * MOST_COLUMNS]);
}
