//! Batches in which an input may have a vector that is not finite: that input is to blame, unless every input would have one.

use anyhow::Result;
use edgeclip::{Embeddings, Error, Tower};

/// Whether an encoder gave a vector that is not finite.
pub(crate) fn is_not_finite(error: &Error) -> bool {
    matches!(error, Error::Model(edgeclip_model::Error::NotFinite { .. }))
}

/// What is said of such an input.
pub(crate) fn not_finite(tower: Tower) -> anyhow::Error {
    anyhow::anyhow!("its vector is not finite: values overflow in the {tower} encoder; convert the checkpoint to a wider --type")
}

/// The vectors of a batch, `None` where one is not finite. If that of `probe`, the plainest input there is, is not finite either, the
/// model is broken, not the input.
pub(crate) fn encode<T>(
    inputs: &[T],
    encode: impl Fn(&[T]) -> Result<Embeddings, Error>,
    probe: impl FnOnce() -> Result<T>,
) -> Result<Vec<Option<Vec<f32>>>> {
    let whole = match encode(inputs) {
        Ok(embeddings) => return Ok(embeddings.rows().map(|row| Some(row.to_vec())).collect()),
        Err(error) if is_not_finite(&error) => error,
        Err(error) => return Err(error.into()),
    };
    if encode(&[probe()?]).is_err() {
        return Err(whole.into());
    }
    let one = |input: &[T]| match encode(input) {
        Ok(embeddings) => Ok(Some(embeddings.values().to_vec())),
        Err(error) if is_not_finite(&error) => Ok(None),
        Err(error) => Err(error.into()),
    };
    inputs.chunks(1).map(one).collect()
}
