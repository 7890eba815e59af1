//! The edgeclip program.
#![forbid(unsafe_code)]
fn main() {}
