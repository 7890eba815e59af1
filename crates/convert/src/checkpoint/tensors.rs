//! All tensors of a checkpoint by name, each to be taken once.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use edgeclip_model::{Format, schema};

use super::{
    SourceTensor,
    layout::{Layout, Recipe},
    stored::Stored,
};
use crate::{
    Error,
    error::{DescribedBy, SHOWN_NAMES, shown},
};

/// What may be gathered beyond the size of the files. Overlapping rows let a small file describe a huge tensor, and nobody should have to
/// fear what a small file becomes; the windows of real checkpoints are as large as what they show.
const ROOM: usize = 256 << 20;

/// A tensor and which of the files it is in.
struct Placed {
    file: usize,
    path: PathBuf,
    tensor: Stored,
    taken: bool,
}

/// By name, without what stands in front of all names.
pub(super) struct Tensors {
    /// For messages about no tensor in particular: the file, or the folder of several.
    path: PathBuf,
    prefix: String,
    by_name: HashMap<String, Placed>,
    missing: Vec<String>,
    /// Bytes that may still be gathered from elements that do not lie side by side.
    room: usize,
}

impl Tensors {
    /// Of `(file, path of the file, tensor)`; `prefix` is what names begin with, `bytes` the size of the files.
    pub(super) fn new(path: &Path, prefix: &str, bytes: usize, all: impl Iterator<Item = (usize, PathBuf, Stored)>) -> Self {
        let by_name = all.map(|(file, path, tensor)| {
            // What begins otherwise is no part of the model, and no name of one either.
            let name = tensor.name.strip_prefix(prefix).map_or_else(|| format!("/{}", tensor.name), str::to_owned);
            (name, Placed { file, path, tensor, taken: false })
        });
        Self {
            path: path.to_owned(),
            prefix: prefix.to_owned(),
            by_name: by_name.collect(),
            missing: Vec::new(),
            room: bytes.saturating_add(ROOM),
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Stored> {
        self.by_name.get(name).map(|placed| &placed.tensor)
    }

    /// The tensor of this name.
    ///
    /// # Errors
    /// [`Error::MissingTensors`].
    pub(super) fn require(&self, name: &str) -> Result<&Stored, Error> {
        self.get(name).ok_or_else(|| Error::MissingTensors {
            path: self.path.clone(),
            names: vec![self.whole(name)],
            count: 1,
            by: DescribedBy::Shapes,
        })
    }

    fn whole(&self, name: &str) -> String {
        shown(&format!("{}{name}", self.prefix))
    }

    fn take(&mut self, name: &str) -> Option<&Placed> {
        let placed = self.by_name.get_mut(name)?;
        placed.taken = true;
        Some(placed)
    }

    /// The one value of the tensor of this name, with or without a dimension.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Dtype`], [`Error::NotFinite`].
    pub(super) fn scalar(&mut self, name: &str, by: &DescribedBy) -> Result<Option<f32>, Error> {
        let Some(Placed { path, tensor, .. }) = self.take(name) else { return Ok(None) };
        let name = || shown(&tensor.name);
        if !matches!(tensor.shape.as_slice(), [] | [1]) {
            return Err(Error::Shape {
                path: path.clone(),
                name: name(),
                expected: Vec::new(),
                found: dims(tensor),
                by: by.clone(),
            });
        }
        let mut value = [0f32];
        format_of(path, tensor)?.dequantize(&tensor.read(), &mut value);
        if !value[0].is_finite() {
            return Err(Error::NotFinite { path: path.clone(), name: name(), index: 0, value: value[0] });
        }
        Ok(Some(value[0]))
    }

    /// Says that a tensor is needed which is not there.
    pub(super) fn miss(&mut self, name: &str) {
        self.missing.push(self.whole(name));
    }

    /// The tensor of the schema, in the shape that the schema wants; `None` if one that it is made from is missing.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Dtype`], [`Error::Malformed`].
    pub(super) fn source(
        &mut self,
        spec: schema::TensorSpec,
        recipe: &Recipe,
        by: &DescribedBy,
    ) -> Result<Option<SourceTensor>, Error> {
        let mut room = self.room;
        let scale = match &recipe.scale {
            Some(name) => self.scale(name, &spec, by)?,
            None => None,
        };
        let Some(Placed { file, path, tensor, .. }) = self.take(&recipe.name) else {
            self.miss(&recipe.name);
            return Ok(None);
        };
        // PyTorch states the contiguous dimension last.
        let mut expected: Vec<u64> = spec.dims.iter().rev().copied().collect();
        if recipe.transposed {
            expected.reverse();
        }
        if recipe.third.is_some() {
            expected[0] *= 3;
        }
        if dims(tensor) != expected {
            let (path, name, found) = (path.clone(), shown(&tensor.name), dims(tensor));
            return Err(Error::Shape { path, name, expected, found, by: by.clone() });
        }
        let format = format_of(path, tensor)?;
        let gathered =
            if tensor.is_contiguous() { Some(0) } else { tensor.elements().and_then(|n| n.checked_mul(format.block_bytes())) };
        let too_large = || Error::Malformed {
            path: path.clone(),
            problem: format!(
                "tensor {}: its elements overlap, and together have many times the bytes of the file; save a .contiguous() copy",
                shown(&tensor.name)
            ),
        };
        room = gathered.and_then(|gathered| room.checked_sub(gathered)).ok_or_else(too_large)?;
        let mut window = tensor.clone();
        if recipe.transposed {
            window = window.transposed();
        }
        if let Some(third) = recipe.third {
            window = window.part(third, 3).expect("the first dimension was checked to be three times a whole number");
        }
        let source = SourceTensor::new(spec, *file, format, window, scale);
        self.room = room;
        Ok(Some(source))
    }

    /// What multiplies the rows of a tensor, as f32.
    fn scale(&mut self, name: &str, spec: &schema::TensorSpec, by: &DescribedBy) -> Result<Option<Vec<f32>>, Error> {
        let Some(Placed { path, tensor, .. }) = self.take(name) else { return Ok(None) };
        let rows = *spec.dims.last().expect("every tensor has a dimension");
        if dims(tensor) != [rows] {
            return Err(Error::Shape {
                path: path.clone(),
                name: shown(&tensor.name),
                expected: vec![rows],
                found: dims(tensor),
                by: by.clone(),
            });
        }
        let format = format_of(path, tensor)?;
        let mut values = vec![0f32; tensor.elements().unwrap_or(0)];
        format.dequantize(&tensor.read(), &mut values);
        Ok(Some(values))
    }

    /// After everything was taken: nothing may be missing, and nothing left over but what `ignored` says.
    ///
    /// # Errors
    /// [`Error::MissingTensors`], [`Error::LeftOverTensors`].
    pub(super) fn all_taken(self, by: &DescribedBy, ignored: impl Fn(&str) -> bool) -> Result<(), Error> {
        let first = |mut names: Vec<String>| {
            names.truncate(SHOWN_NAMES);
            names
        };
        if !self.missing.is_empty() {
            let count = self.missing.len();
            return Err(Error::MissingTensors { path: self.path, names: first(self.missing), count, by: by.clone() });
        }
        let left = self.by_name.iter().filter(|(name, placed)| !placed.taken && !ignored(name));
        let mut left: Vec<String> = left.map(|(_, placed)| shown(&placed.tensor.name)).collect();
        if left.is_empty() {
            return Ok(());
        }
        left.sort_unstable();
        let count = left.len();
        Err(Error::LeftOverTensors { path: self.path, names: first(left), count, by: by.clone() })
    }
}

/// Whether a name belongs to the encoder that was not asked for, or says nothing new.
pub(super) fn is_ignored(layout: Layout, tower: Option<edgeclip_model::Tower>, name: &str) -> bool {
    layout.is_buffer(name) || matches!((tower, layout.tower(name)), (Some(wanted), Some(own)) if own != wanted)
}

fn dims(tensor: &Stored) -> Vec<u64> {
    tensor.shape.iter().map(|&dim| dim as u64).collect()
}

fn format_of(path: &Path, tensor: &Stored) -> Result<Format, Error> {
    tensor.format().ok_or_else(|| Error::Dtype {
        path: path.to_owned(),
        name: shown(&tensor.name),
        found: tensor.dtype.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use edgeclip_model::{
        Tower,
        schema::{Id, Piece, TensorSpec},
    };
    use safetensors::Dtype;

    use super::*;

    /// Rows that overlap are read as what they show, but not without end: this one would be 8 GiB out of four bytes.
    #[test]
    fn a_small_file_does_not_become_a_huge_tensor() {
        let stored = |rows: usize| Stored {
            name: "w".into(),
            dtype: Dtype::F32,
            shape: vec![rows, 1 << 14],
            strides: vec![0, 0],
            bytes: vec![0; 4].into(),
        };
        let recipe = Recipe { name: "w".into(), third: None, transposed: false, scale: None };
        let source = |rows: usize| {
            let id = Id::weight(Tower::Text, Piece::MlpIn(0));
            let spec = TensorSpec { id, name: id.name(), dims: vec![1 << 14, rows as u64] };
            let mut tensors = Tensors::new(Path::new("m.pt"), "", 100, [(0, PathBuf::from("m.pt"), stored(rows))].into_iter());
            tensors.source(spec, &recipe, &DescribedBy::Shapes).map(|source| source.unwrap().read().len())
        };
        assert_eq!(source(10).unwrap(), 10 << 16);
        assert_eq!(
            source(1 << 17).unwrap_err().to_string(),
            "m.pt: tensor w: its elements overlap, and together have many times the bytes of the file; save a .contiguous() copy"
        );
    }
}
