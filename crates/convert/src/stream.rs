//! The two passes over the weights: look at every value, then write every value. Both go through the maps in pieces, so that a
//! checkpoint of any size takes a few MiB of memory.

use std::path::Path;

use edgeclip_gguf::{Completed, Metadata, TensorSpec, TensorType, Writer};
use edgeclip_model::{ContentHasher, Format, equalize::Equalization, schema::keys};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::{
    Error, Progress,
    checkpoint::{Checkpoint, SourceTensor},
    error::shown,
    policy::Choice,
};

/// Bytes of the source that one step takes; between steps an interrupt is noticed.
const STEP: usize = 4 << 20;
/// Values that one step of writing takes: 1 MiB as f32.
const STEP_VALUES: usize = 1 << 18;
/// Values below which splitting work between threads does not pay.
pub(crate) const TASK_VALUES: usize = 1 << 14;

/// What the first pass finds.
pub(crate) struct Survey {
    /// Hex sha256 of the weights' files, one after the other.
    pub(crate) sha256: String,
    /// Largest magnitude of each tensor, in their order.
    pub(crate) largest: Vec<f32>,
}

/// How far a tensor's values moved.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Deviation {
    /// Sum of the squares of the source.
    squares: f64,
    /// Sum of the squares of the differences.
    errors: f64,
    /// Largest difference.
    max: f32,
}

impl Deviation {
    fn of(source: &[f32], stored: &[f32]) -> Self {
        source.iter().zip(stored).fold(Self::default(), |sum, (&x, &y)| {
            let difference = f64::from(x) - f64::from(y);
            Self {
                squares: sum.squares + f64::from(x) * f64::from(x),
                errors: sum.errors + difference * difference,
                max: sum.max.max(difference.abs() as f32),
            }
        })
    }

    fn plus(self, other: Self) -> Self {
        Self { squares: self.squares + other.squares, errors: self.errors + other.errors, max: self.max.max(other.max) }
    }

    /// Root of the mean square of the differences over that of the source; 0 if nothing moved.
    pub(crate) fn relative_rms(self) -> f64 {
        if self.errors == 0.0 { 0.0 } else { (self.errors / self.squares).sqrt() }
    }

    /// Largest difference.
    pub(crate) fn max(self) -> f32 {
        self.max
    }
}

/// The first pass: hashes the files and looks at every value.
///
/// # Errors
/// [`Error::NotFinite`], [`Error::Interrupted`].
pub(crate) fn survey(checkpoint: &Checkpoint, progress: &dyn Progress) -> Result<Survey, Error> {
    let tensor_bytes: u64 = checkpoint.tensors.iter().map(|tensor| tensor.len() as u64).sum();
    progress.begin("reading", checkpoint.file_bytes() + tensor_bytes);
    // Both go through the files from their beginning, so the second to come to a page finds it in memory.
    let (sha256, largest) = rayon::join(
        || {
            let mut hasher = Sha256::new();
            for piece in checkpoint.files.iter().flat_map(|(_, bytes)| bytes.chunks(STEP)) {
                step(progress, piece.len())?;
                hasher.update(piece);
            }
            Ok::<_, Error>(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
        },
        || {
            let mut order: Vec<usize> = (0..checkpoint.tensors.len()).collect();
            order.sort_by_key(|&i| {
                let tensor = &checkpoint.tensors[i];
                (tensor.file, tensor.address())
            });
            let mut largest = vec![0f32; checkpoint.tensors.len()];
            for i in order {
                largest[i] = largest_of(checkpoint, &checkpoint.tensors[i], progress)?;
            }
            Ok::<_, Error>(largest)
        },
    );
    Ok(Survey { sha256: sha256?, largest: largest? })
}

fn step(progress: &dyn Progress, bytes: usize) -> Result<(), Error> {
    if progress.interrupted() {
        return Err(Error::Interrupted);
    }
    progress.advance(bytes as u64);
    Ok(())
}

/// Largest magnitude of a tensor, all of whose values are finite.
fn largest_of(checkpoint: &Checkpoint, tensor: &SourceTensor, progress: &dyn Progress) -> Result<f32, Error> {
    let size = tensor.format.block_bytes();
    let mut largest = 0u32;
    for (i, piece) in tensor.read().chunks(STEP).enumerate() {
        step(progress, piece.len())?;
        let in_piece = piece.par_chunks(TASK_VALUES * size).map(|piece| magnitude_bits(tensor.format, piece)).max();
        let in_piece = in_piece.unwrap_or(0);
        if f32::from_bits(in_piece).is_finite() {
            largest = largest.max(in_piece);
            continue;
        }
        let mut values = vec![0f32; piece.len() / size];
        tensor.format.dequantize(piece, &mut values);
        let at = values.iter().position(|value| !value.is_finite()).unwrap_or(0);
        return Err(Error::NotFinite {
            path: checkpoint.files[tensor.file].0.clone(),
            name: shown(tensor.name()),
            index: (i * STEP / size + at) as u64,
            value: values[at],
        });
    }
    Ok(f32::from_bits(largest))
}

/// The bits, as an f32, of the largest magnitude; infinities and NaN are above all numbers. Without the sign, floats of one format are
/// ordered as integers are.
fn magnitude_bits(format: Format, bytes: &[u8]) -> u32 {
    let widest = |bits: u16| {
        let mut value = [0f32];
        format.dequantize(&bits.to_le_bytes(), &mut value);
        value[0].to_bits()
    };
    match format {
        Format::F16 | Format::BF16 => {
            let magnitudes = bytes.as_chunks().0.iter().map(|b| u16::from_le_bytes(*b) & 0x7fff);
            widest(magnitudes.max().unwrap_or(0))
        }
        // The source's formats are three; the quantized ones do not occur.
        _ => bytes.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b) & 0x7fff_ffff).max().unwrap_or(0),
    }
}

/// A file that is whole but has only its temporary name.
pub(crate) struct Written {
    pub(crate) file: Completed,
    pub(crate) content_id: String,
    /// In the order of the tensors.
    pub(crate) deviations: Vec<Deviation>,
}

/// The second pass: every tensor edited and in the type chosen for it, in pieces, hashed as it goes out. `metadata` has a content id of the
/// right length.
///
/// # Errors
/// What the writer says, and [`Error::Interrupted`].
pub(crate) fn write(
    checkpoint: &Checkpoint,
    choices: &[Choice],
    equalization: &Equalization,
    metadata: &Metadata,
    output: &Path,
    progress: &dyn Progress,
) -> Result<Written, Error> {
    let pairs = || checkpoint.tensors.iter().zip(choices);
    let specs: Vec<TensorSpec> = pairs()
        .map(|(tensor, choice)| {
            TensorSpec::new(&*tensor.spec.name, &*tensor.spec.dims, TensorType::from_id(choice.format.ggml_id()))
        })
        .collect();
    progress.begin("writing", checkpoint.tensors.iter().map(|tensor| tensor.len() as u64).sum());
    let mut writer = Writer::create(output, metadata, &specs)?;
    progress.temporary(writer.temporary_path());
    let mut hasher = ContentHasher::new(metadata);
    let mut deviations = Vec::with_capacity(specs.len());
    let mut out = Vec::new();
    for (tensor, choice) in pairs() {
        writer.begin(&tensor.spec.name)?;
        hasher.tensor(&tensor.spec.name, choice.format.ggml_id(), &tensor.spec.dims);
        // A row of the file, so a whole number of blocks.
        let row = tensor.spec.dims[0] as usize;
        let (from, to) = (row * tensor.format.block_bytes(), choice.format.row_bytes(row).unwrap_or_default());
        let (edit, mut first) = (equalization.edit(&tensor.spec.name), 0);
        let mut deviation = Deviation::default();
        for piece in tensor.read().chunks((STEP_VALUES / row).max(1) * from) {
            step(progress, piece.len())?;
            out.resize(piece.len() / from * to, 0);
            let rows: Vec<Deviation> = out
                .par_chunks_exact_mut(to)
                .zip(piece.par_chunks_exact(from))
                .enumerate()
                .with_min_len(TASK_VALUES.div_ceil(row))
                .map_init(
                    || (vec![0f32; row], vec![0f32; row]),
                    |(source, stored), (index, (out, bytes))| {
                        tensor.format.dequantize(bytes, source);
                        if let Some(edit) = edit {
                            edit.apply(first + index, source);
                        }
                        choice.quantize(source, out);
                        choice.format.dequantize(out, stored);
                        Deviation::of(source, stored)
                    },
                )
                .collect();
            // In the order of the rows, so that the report does not depend on the threads.
            first += rows.len();
            deviation = rows.into_iter().fold(deviation, Deviation::plus);
            writer.write(&out)?;
            hasher.data(&out);
        }
        deviations.push(deviation);
    }
    let content_id = hasher.finish();
    writer.patch_string(keys::CONTENT_ID, &content_id)?;
    Ok(Written { file: writer.complete()?, content_id, deviations })
}
