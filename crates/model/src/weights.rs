//! Where tensors come from, and how they are checked and packed.

use std::path::Path;

use bytes::Bytes;
use edgeclip_gguf::File;
use edgeclip_kernels::{Format, Groups, Kernels, Linear, LinearError, Rows};

use crate::{
    Error, Tower,
    schema::{Id, Piece, keys},
};

/// A tensor as it is stored: shape, format and bytes in place.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Storage format.
    pub format: Format,
    /// Dimensions, the contiguous one first.
    pub dims: Vec<u64>,
    /// The data, of exactly the size that format and dimensions say.
    pub bytes: Bytes,
}

impl Tensor {
    /// Rows of a matrix; 1 of a vector.
    pub fn rows(&self) -> usize {
        self.dims[1..].iter().product::<u64>() as usize
    }

    /// All values, in the order they are stored.
    pub fn to_f32(&self) -> Vec<f32> {
        let len = self.bytes.len() / self.format.block_bytes() * self.format.block_len();
        let mut values = vec![0f32; len];
        self.format.dequantize(&self.bytes, &mut values);
        values
    }
}

/// Tensors by the names of [`crate::schema`]: a file, or a checkpoint that is being converted.
pub trait Weights: Send + Sync {
    /// Where the tensors are from, for messages.
    fn path(&self) -> &Path;

    /// The tensor of this name.
    ///
    /// # Errors
    /// [`Error::MissingTensor`], or [`Error::Type`] for one that cannot be computed with.
    fn tensor(&self, name: &str) -> Result<Tensor, Error>;

    /// Says that the tensor of this name has been read and will not be soon, so that its memory can be used otherwise. It can be read again at any
    /// time.
    fn release(&self, name: &str) {
        let _ = name;
    }

    /// Whether any weight is quantized: then the kernel of the patches is too, for pictures that are bytes.
    fn is_quantized(&self) -> bool;

    /// Whether outlier channels have been moved already: if not, an encoder of quantized weights does so when it is loaded.
    fn is_equalized(&self) -> bool {
        false
    }
}

/// The tensors of a GGUF file, in place.
#[derive(Clone, Debug)]
pub struct GgufWeights {
    file: File,
    quantized: bool,
    equalized: bool,
}

impl GgufWeights {
    /// Of an open file.
    pub fn new(file: File) -> Self {
        let quantized = file.tensors().iter().any(|info| info.ty.block().is_some_and(|block| block.len > 1));
        let equalized = matches!(file.get::<bool>(keys::EQUALIZED), Ok(Some(true)));
        Self { file, quantized, equalized }
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl Weights for GgufWeights {
    fn path(&self) -> &Path {
        self.file.path()
    }

    fn tensor(&self, name: &str) -> Result<Tensor, Error> {
        let path = || self.file.path().to_owned();
        let info = self.file.tensor(name).ok_or_else(|| Error::MissingTensor { file: path(), name: name.into() })?;
        let unusable = || Error::Type { file: path(), name: name.into(), found: info.ty.to_string() };
        let format = Format::from_ggml_id(info.ty.id()).map_err(|_| unusable())?;
        Ok(Tensor { format, dims: info.dims.clone(), bytes: self.file.data(info).ok_or_else(unusable)? })
    }

    fn release(&self, name: &str) {
        if let Some(info) = self.file.tensor(name) {
            self.file.release(info);
        }
    }

    fn is_quantized(&self) -> bool {
        self.quantized
    }

    fn is_equalized(&self) -> bool {
        self.equalized
    }
}

/// With what an encoder computes: decided when its weights are packed.
#[derive(Clone, Copy, Debug)]
pub struct Compute {
    /// The kernels of an instruction set.
    pub kernels: &'static Kernels,
    /// Which values of quantized weights share a scale.
    pub groups: Groups,
}

/// With weights as they are.
impl From<&'static Kernels> for Compute {
    fn from(kernels: &'static Kernels) -> Self {
        Self { kernels, groups: Groups::Stored }
    }
}

/// Loads checked pieces of [`Weights`] to [`Compute`] with.
pub(crate) struct Loader<'a> {
    pub(crate) weights: &'a dyn Weights,
    pub(crate) compute: Compute,
}

impl Loader<'_> {
    /// A tensor of exactly these dimensions.
    fn tensor(&self, id: Id, dims: &[usize]) -> Result<Tensor, Error> {
        let name = id.name();
        let tensor = self.weights.tensor(&name)?;
        let expected: Vec<u64> = dims.iter().map(|&dim| dim as u64).collect();
        if tensor.dims != expected {
            return Err(Error::Shape { file: self.weights.path().to_owned(), name, expected, found: tensor.dims });
        }
        Ok(tensor)
    }

    /// A tensor of exactly these dimensions, as f32.
    pub(crate) fn values(&self, id: Id, dims: &[usize]) -> Result<Vec<f32>, Error> {
        Ok(self.tensor(id, dims)?.to_f32())
    }

    /// The rows of a matrix of `n` outputs; `inputs` are the dimensions of a row.
    pub(crate) fn rows(&self, id: Id, inputs: &[usize], n: usize) -> Result<Rows, Error> {
        let tensor = self.tensor(id, &[inputs, &[n]].concat())?;
        let rows = Rows { format: tensor.format, n, k: inputs.iter().product(), bytes: tensor.bytes };
        let expected = rows.format.row_bytes(rows.k).and_then(|row| row.checked_mul(n));
        if expected != Some(rows.bytes.len()) {
            return Err(self.unusable(id, LinearError::Size { expected, found: rows.bytes.len() }));
        }
        Ok(rows)
    }

    /// The projection: CLIP's has no bias, but that of moved outlier channels may have been written.
    pub(crate) fn projection(&self, tower: Tower, k: usize, n: usize) -> Result<Linear, Error> {
        let id = Id::weight(tower, Piece::Projection);
        let rows = self.rows(id, &[k], n)?;
        let bias = match self.values(Id::bias(tower, Piece::Projection), &[n]) {
            Err(Error::MissingTensor { .. }) => None,
            found => Some(found?),
        };
        self.pack(&[id], &[rows], bias)
    }

    /// The matrices of these pieces, one below the other, with their biases.
    pub(crate) fn linear(&self, tower: Tower, pieces: &[Piece], k: usize, n: usize) -> Result<Linear, Error> {
        let mut bias = Vec::with_capacity(pieces.len() * n);
        let ids: Vec<Id> = pieces.iter().map(|&piece| Id::weight(tower, piece)).collect();
        let mut parts = Vec::with_capacity(pieces.len());
        for (&piece, &id) in pieces.iter().zip(&ids) {
            parts.push(self.rows(id, &[k], n)?);
            bias.extend(self.values(Id::bias(tower, piece), &[n])?);
        }
        self.pack(&ids, &parts, Some(bias))
    }

    /// Packs rows that are already checked. As stored they are not needed any more: without letting go of them, packed and stored weights would
    /// be in memory together.
    fn pack(&self, ids: &[Id], parts: &[Rows], bias: Option<Vec<f32>>) -> Result<Linear, Error> {
        let linear = Linear::grouped(self.compute.kernels, parts, bias, self.compute.groups);
        ids.iter().for_each(|&id| self.release(id));
        linear.map_err(|error| self.unusable(ids[0], error))
    }

    /// Lets go of a tensor that was read.
    pub(crate) fn release(&self, id: Id) {
        self.weights.release(&id.name());
    }

    fn unusable(&self, id: Id, error: LinearError) -> Error {
        Error::Linear { file: self.weights.path().to_owned(), name: id.name(), error }
    }
}
