//! Placeholder until the reader lands.
use super::stored::Stored;
use crate::Error;
use bytes::Bytes;
use std::path::Path;
pub(super) struct Archive {
    pub(super) tensors: Vec<Stored>,
    pub(super) script: Option<Vec<(String, String)>>,
}
pub(super) fn is_torch(_: &[u8]) -> bool {
    false
}
pub(super) fn read(_: &Path, _: &Bytes) -> Result<Archive, Error> {
    Ok(Archive { tensors: vec![], script: None })
}
