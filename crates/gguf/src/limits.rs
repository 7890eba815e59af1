//! The most that is accepted of everything that a file counts.
//!
//! ggml stops at a string of 1 GiB and an array of 2^30 items. These are far below that and far above any model (the largest
//! vocabulary known, 901,629 tokens, takes some 20 MiB at 15 bytes a token and a score each), so that a damaged or hostile file costs
//! little memory whatever it claims: a header takes a small multiple of its own size. The writer keeps the same limits.

/// Bytes of everything before the tensors' data.
pub const HEADER_BYTES: u64 = 128 << 20;

/// Metadata keys.
pub const KEYS: u64 = 1 << 16;

/// Tensors.
pub const TENSORS: u64 = 1 << 16;

/// Bytes of a key; the specification's own limit.
pub const KEY_BYTES: u64 = (1 << 16) - 1;

/// Bytes of a string.
pub const STRING_BYTES: u64 = 64 << 20;

/// Items of an array.
pub const ARRAY_ITEMS: u64 = 1 << 24;

/// Bytes of a tensor's name; ggml keeps names in 64 bytes with a zero at the end.
pub const NAME_BYTES: u64 = 63;

/// Dimensions of a tensor.
pub const DIMENSIONS: u64 = 4;
