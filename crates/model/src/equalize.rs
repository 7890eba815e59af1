//! Outlier channels, moved out of the way of int8 activations without changing what a model computes.
//!
//! A row of activations has one scale, and its largest value decides it. Trained transformers have channels that are tens of times as large
//! as the others ("LLM.int8()", Dettmers et al. 2022; "Massive Activations", Sun et al. 2024), and what is left of 8 bits for the others
//! is little. Where a norm or the value of attention has such channels, they are moved into what reads them:
//!
//! * A channel that is far from 0 in every token is shifted: its mean goes from the norm's bias into the biases of the linears behind it
//!   ("Outlier Suppression+", Wei et al. 2023). The mean is that of a blank input, so no data are needed.
//! * A channel with a large gain, or a large row of the value, is divided, and the columns that read it are multiplied, half of the way, so
//!   that neither activations nor weights have the outlier ("SmoothQuant", Xiao et al. 2023). Factors are powers of two, so this is exact.
//!
//! Models without outliers are left as they are, to the bit. docs/accuracy.md has what it gains, by tools/stress.py.

use std::{borrow::Borrow, collections::HashMap, path::Path};

use edgeclip_kernels::{Format, Kernels, Norm as NormArgs, Threads, layer_norm};
use edgeclip_preprocess::Pixels;
use rayon::prelude::*;

use crate::{
    Compute, Config, Error, Observer, Stage, StageKind, Tensor, Tower, TowerConfig, Weights,
    parts::{Block, ImageEmbedding, Pass, Stream, TextEmbedding, Workspace, image_config, text_config},
    schema::{Id, Piece, TensorSpec},
};

/// A channel is shifted if its mean is further from the norm's bias than so many gains: the largest of the demo's is 4.1, and massive
/// activations are at tens.
const FAR: f32 = 6.0;
/// A channel is divided if it is so many times as large as the median channel.
const LARGE: f32 = 6.0;
/// No factor is larger, so that f16 scales of blocks stay in their range.
const MOST: f32 = 1024.0;
/// Tokens of the blank input: the class token with a patch, or the start token with the end token.
const TOKENS: usize = 2;

/// What becomes of the tensors of a model, by name. Those that are not here stay what they are.
#[derive(Debug, Default)]
pub struct Equalization {
    edits: HashMap<String, Edit>,
    added: Vec<(Id, u64)>,
    /// Channels whose mean went into biases.
    pub shifted: usize,
    /// Channels that were divided.
    pub scaled: usize,
}

/// What becomes of a tensor.
#[derive(Debug, PartialEq)]
pub enum Edit {
    /// A vector has these values.
    Values(Vec<f32>),
    /// A matrix is multiplied.
    Factors {
        /// Of each row; empty if all are 1.
        rows: Vec<f32>,
        /// Of each column; empty if all are 1.
        columns: Vec<f32>,
    },
}

impl Edit {
    /// Edits row `row` of the tensor; of a vector, row 0 is all of it.
    ///
    /// # Panics
    /// If there is no such row, or it has another length.
    pub fn apply(&self, row: usize, values: &mut [f32]) {
        match self {
            Self::Values(new) => values.copy_from_slice(new),
            Self::Factors { rows, columns } => {
                if let Some(factor) = rows.get(row) {
                    values.iter_mut().for_each(|value| *value *= factor);
                }
                if !columns.is_empty() {
                    assert_eq!(columns.len(), values.len(), "columns of a row");
                    values.iter_mut().zip(columns).for_each(|(value, factor)| *value *= factor);
                }
            }
        }
    }
}

impl Equalization {
    /// For the encoder `tower` of `weights`, which is loaded piece by piece. `quantized` says of a matrix by its name whether its inputs
    /// become integers; floats need no help. `projection_bias` says whether the projection may get a bias, which CLIP's has not:
    /// [`schema::tensors`](crate::schema::tensors) does not list it, and [`added`](Self::added) gives it.
    ///
    /// # Errors
    /// What loading a piece says.
    pub fn find(
        config: &Config,
        tower: Tower,
        weights: &dyn Weights,
        compute: impl Into<Compute>,
        quantized: &(dyn Fn(&str) -> bool + Sync),
        projection_bias: bool,
    ) -> Result<Self, Error> {
        let compute = compute.into();
        let blocks = |own: &TowerConfig, causal: bool| {
            let own = own.clone();
            (0..own.layers).map(move |index| Block::load(&own, tower, causal, index, weights, compute))
        };
        let (own, blank) = match tower {
            Tower::Image => {
                let image = image_config(config, weights)?;
                let embedding = ImageEmbedding::load(image, weights, compute)?;
                (&image.tower, Blank::picture(&embedding, blocks(&image.tower, false))?)
            }
            Tower::Text => {
                let text = text_config(config, weights)?;
                let embedding = TextEmbedding::load(text, weights, compute)?;
                (&text.tower, Blank::text(&embedding, blocks(&text.tower, text.causal))?)
            }
        };
        blank.equalization(&Finder { config: own, tower, weights, kernels: compute.kernels, quantized, projection_bias })
    }

    /// The edit of the tensor of this name.
    pub fn edit(&self, name: &str) -> Option<&Edit> {
        self.edits.get(name)
    }

    /// Vectors that the model had not before, with their lengths; [`edit`](Self::edit) has their values.
    pub fn added(&self) -> impl Iterator<Item = TensorSpec> {
        self.added.iter().map(|&(id, len)| TensorSpec { id, name: id.name(), dims: vec![len] })
    }

    /// Whether every tensor stays what it is.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// With another encoder's.
    pub fn extend(&mut self, other: Self) {
        self.edits.extend(other.edits);
        self.added.extend(other.added);
        self.shifted += other.shifted;
        self.scaled += other.scaled;
    }
}

/// Loads an encoder, and once more with its outlier channels moved if there are any and nobody did it when the weights were quantized.
pub(crate) fn load<T>(
    config: &TowerConfig,
    tower: Tower,
    weights: &dyn Weights,
    compute: Compute,
    load: impl Fn(&dyn Weights) -> Result<T, Error>,
    blank: impl FnOnce(&T) -> Result<Blank, Error>,
) -> Result<T, Error> {
    let loaded = load(weights)?;
    if !weights.is_quantized() || weights.is_equalized() {
        return Ok(loaded);
    }
    let quantized = |name: &str| weights.tensor(name).is_ok_and(|tensor| tensor.format.is_quantized());
    let finder = Finder { config, tower, weights, kernels: compute.kernels, quantized: &quantized, projection_bias: true };
    let equalization = blank(&loaded)?.equalization(&finder)?;
    if equalization.is_empty() {
        return Ok(loaded);
    }
    // Two of them would not have room on a small machine.
    drop(loaded);
    load(&Equalized { weights, equalization: &equalization })
}

/// Weights with an [`Equalization`]: quantized matrices that it edits are quantized anew as q8_0, others become f32.
#[derive(Clone, Copy)]
pub struct Equalized<'a> {
    /// As they were.
    pub weights: &'a dyn Weights,
    /// What becomes of them.
    pub equalization: &'a Equalization,
}

impl Weights for Equalized<'_> {
    fn path(&self) -> &Path {
        self.weights.path()
    }

    fn tensor(&self, name: &str) -> Result<Tensor, Error> {
        let tensor = match self.equalization.added().find(|spec| spec.name == name) {
            Some(spec) => Tensor { format: Format::F32, bytes: vec![0; 4 * spec.dims[0] as usize].into(), dims: spec.dims },
            None => self.weights.tensor(name)?,
        };
        let Some(edit) = self.equalization.edit(name) else { return Ok(tensor) };
        let row = tensor.dims[0] as usize;
        let format = if tensor.format.is_quantized() { Format::Q8_0 } else { Format::F32 };
        let from = tensor.bytes.len() / tensor.rows();
        let to = format.row_bytes(row).expect("quantized rows are whole blocks of 32");
        let mut bytes = vec![0; tensor.rows() * to];
        bytes.par_chunks_exact_mut(to).zip(tensor.bytes.par_chunks_exact(from)).enumerate().for_each_init(
            || vec![0f32; row],
            |values, (index, (to, from))| {
                tensor.format.dequantize(from, values);
                edit.apply(index, values);
                format.quantize(values, to);
            },
        );
        Ok(Tensor { format, dims: tensor.dims, bytes: bytes.into() })
    }

    fn release(&self, name: &str) {
        self.weights.release(name);
    }

    fn is_quantized(&self) -> bool {
        self.weights.is_quantized()
    }

    fn is_equalized(&self) -> bool {
        true
    }
}

/// The residual stream of a blank input in front of every norm: of the two of each block in turn, and the last.
#[derive(Default)]
pub(crate) struct Blank {
    streams: Vec<Vec<f32>>,
}

impl Observer for Blank {
    fn stage(&mut self, stage: Stage, width: usize, values: &[f32]) {
        if stage.kind != StageKind::Projection {
            self.streams.push(values[..values.len().min(TOKENS * width)].to_vec());
        }
    }
}

impl Blank {
    /// Of a picture of the mean colour.
    pub(crate) fn picture<B: Borrow<Block>>(
        embedding: &ImageEmbedding,
        blocks: impl Iterator<Item = Result<B, Error>>,
    ) -> Result<Self, Error> {
        let spec = embedding.preprocessing();
        let colour = spec.mean.map(|mean| (255.0 * mean).round() as u8);
        let crop = colour.repeat((spec.size * spec.size) as usize);
        let pixels = Pixels::from_crop(spec.size, crop, spec.mean, spec.std).expect("a crop of the size that is asked for");
        Self::run(|stream, pass| embedding.forward(&[pixels], stream, pass), blocks)
    }

    /// Of an empty text.
    pub(crate) fn text<B: Borrow<Block>>(
        embedding: &TextEmbedding,
        blocks: impl Iterator<Item = Result<B, Error>>,
    ) -> Result<Self, Error> {
        let ids = embedding.empty();
        Self::run(|stream, pass| embedding.forward([ids.as_slice()].into_iter(), stream, pass), blocks)
    }

    fn run<B: Borrow<Block>>(
        embed: impl FnOnce(&mut Stream, &mut Pass<'_>) -> Result<(), Error>,
        blocks: impl Iterator<Item = Result<B, Error>>,
    ) -> Result<Self, Error> {
        let (mut stream, mut workspace, mut blank) = (Stream::default(), Workspace::default(), Self::default());
        let mut pass = Pass { workspace: &mut workspace, threads: Threads::All, observer: &mut blank };
        embed(&mut stream, &mut pass)?;
        stream.keep_first(TOKENS);
        for block in blocks {
            block?.borrow().forward(&mut stream, &mut pass);
        }
        Ok(blank)
    }

    /// Decides by the streams and the weights.
    fn equalization(&self, finder: &Finder<'_>) -> Result<Equalization, Error> {
        let layers = finder.config.layers;
        let blocks: Vec<Equalization> = (0..layers)
            .into_par_iter()
            .map(|block| finder.block(block, &self.streams[2 * block], &self.streams[2 * block + 1]))
            .collect::<Result<_, _>>()?;
        let mut all = finder.norm(Piece::PostNorm, &self.streams[2 * layers], &[Piece::Projection])?.0;
        blocks.into_iter().for_each(|block| all.extend(block));
        Ok(all)
    }
}

/// The channels in front of some linears.
struct Channels {
    /// Deviation of each, as the norm's gain has it.
    gain: Vec<f32>,
    /// Mean of each, as a blank input has it or else the norm's bias.
    mean: Vec<f32>,
}

struct Finder<'a> {
    config: &'a TowerConfig,
    tower: Tower,
    weights: &'a dyn Weights,
    kernels: &'a Kernels,
    quantized: &'a (dyn Fn(&str) -> bool + Sync),
    projection_bias: bool,
}

impl Finder<'_> {
    fn weight(&self, piece: Piece) -> String {
        Id::weight(self.tower, piece).name()
    }

    fn bias(&self, piece: Piece) -> String {
        Id::bias(self.tower, piece).name()
    }

    /// Shows every row of a matrix, of which no more than that is in memory.
    fn rows(&self, piece: Piece, mut show: impl FnMut(usize, &[f32])) -> Result<(), Error> {
        let name = self.weight(piece);
        let tensor = self.weights.tensor(&name)?;
        let mut row = vec![0f32; tensor.dims[0] as usize];
        for (index, bytes) in tensor.bytes.chunks_exact(tensor.bytes.len() / tensor.rows()).enumerate() {
            tensor.format.dequantize(bytes, &mut row);
            show(index, &row);
        }
        self.weights.release(&name);
        Ok(())
    }

    fn block(&self, block: usize, before: &[f32], between: &[f32]) -> Result<Equalization, Error> {
        let inputs = [Piece::Query(block), Piece::Key(block), Piece::Value(block)];
        let (mut all, channels) = self.norm(Piece::Norm1(block), before, &inputs)?;
        self.value(block, &channels, &mut all)?;
        all.extend(self.norm(Piece::Norm2(block), between, &[Piece::MlpIn(block)])?.0);
        Ok(all)
    }

    /// A norm behind `stream`, and the linears that read it.
    fn norm(&self, norm: Piece, stream: &[f32], readers: &[Piece]) -> Result<(Equalization, Channels), Error> {
        let gain = self.weights.tensor(&self.weight(norm))?.to_f32();
        let bias = self.weights.tensor(&self.bias(norm))?.to_f32();
        let blank = mean_of_rows(self.kernels, stream, NormArgs { gain: &gain, shift: &bias, eps: self.config.eps });
        let is_far = |j: usize| (blank[j] - bias[j]).abs() > FAR * gain[j].abs();
        let mean: Vec<f32> = (0..gain.len()).map(|j| if is_far(j) { blank[j] } else { bias[j] }).collect();
        let mut all = Equalization::default();
        if !readers.iter().all(|&reader| (self.quantized)(&self.weight(reader))) {
            return Ok((all, Channels { gain, mean }));
        }
        let can_shift = self.projection_bias || !readers.contains(&Piece::Projection);
        let shift: Vec<f32> = (0..gain.len()).map(|j| if can_shift && is_far(j) { mean[j] } else { 0.0 }).collect();
        let size: Vec<f32> = (0..gain.len()).map(|j| (gain[j].powi(2) + (mean[j] - shift[j]).powi(2)).sqrt()).collect();
        all.shifted = shift.iter().filter(|&&shift| shift != 0.0).count();
        if all.shifted == 0 && !has_large(&size) {
            return Ok((all, Channels { gain, mean }));
        }
        let mut largest = vec![0f32; gain.len()];
        for &reader in readers {
            if all.shifted == 0 {
                self.rows(reader, |_, row| raise(&mut largest, row))?;
                continue;
            }
            let mut bias = match reader {
                Piece::Projection => vec![0.0; self.weights.tensor(&self.weight(reader))?.rows()],
                _ => self.weights.tensor(&self.bias(reader))?.to_f32(),
            };
            self.rows(reader, |index, row| {
                raise(&mut largest, row);
                bias[index] = (f64::from(bias[index]) + dot(row, &shift)) as f32;
            })?;
            if reader == Piece::Projection {
                all.added.push((Id::bias(self.tower, reader), bias.len() as u64));
            }
            all.edits.insert(self.bias(reader), Edit::Values(bias));
        }
        let factors = factors(&size, &largest);
        all.scaled = factors.iter().filter(|&&factor| factor != 1.0).count();
        if all.scaled > 0 {
            for &reader in readers {
                let edit = Edit::Factors { rows: Vec::new(), columns: factors.clone() };
                all.edits.insert(self.weight(reader), edit);
            }
            let gain = gain.iter().zip(&factors).map(|(gain, factor)| gain / factor).collect();
            all.edits.insert(self.weight(norm), Edit::Values(gain));
        }
        if all.shifted + all.scaled > 0 {
            let bias = bias.iter().zip(&shift).zip(&factors).map(|((bias, shift), factor)| (bias - shift) / factor).collect();
            all.edits.insert(self.bias(norm), Edit::Values(bias));
        }
        Ok((all, Channels { gain, mean }))
    }

    /// The value of attention, behind `channels`, and the linear that reads what is attended to.
    fn value(&self, block: usize, channels: &Channels, all: &mut Equalization) -> Result<(), Error> {
        let (value, out) = (Piece::Value(block), Piece::AttentionOutput(block));
        if !(self.quantized)(&self.weight(out)) {
            return Ok(());
        }
        let bias = self.weights.tensor(&self.bias(value))?.to_f32();
        let mut size = vec![0f32; bias.len()];
        self.rows(value, |index, row| {
            let spread = row.iter().zip(&channels.gain).map(|(w, gain)| f64::from(w * gain).powi(2)).sum::<f64>();
            let mean = f64::from(bias[index]) + dot(row, &channels.mean);
            size[index] = (spread + mean * mean).sqrt() as f32;
        })?;
        if !has_large(&size) {
            return Ok(());
        }
        let mut largest = vec![0f32; bias.len()];
        self.rows(out, |_, row| raise(&mut largest, row))?;
        let factors = factors(&size, &largest);
        let scaled = factors.iter().filter(|&&factor| factor != 1.0).count();
        if scaled == 0 {
            return Ok(());
        }
        all.scaled += scaled;
        // The norm before it may have edited it already.
        let mut bias = match all.edits.remove(&self.bias(value)) {
            Some(Edit::Values(bias)) => bias,
            _ => bias,
        };
        bias.iter_mut().zip(&factors).for_each(|(bias, factor)| *bias /= factor);
        let columns = match all.edits.remove(&self.weight(value)) {
            Some(Edit::Factors { columns, .. }) => columns,
            _ => Vec::new(),
        };
        let rows = factors.iter().map(|factor| 1.0 / factor).collect();
        all.edits.insert(self.bias(value), Edit::Values(bias));
        all.edits.insert(self.weight(value), Edit::Factors { rows, columns });
        all.edits.insert(self.weight(out), Edit::Factors { rows: Vec::new(), columns: factors });
        Ok(())
    }
}

/// Mean over the rows of a stream behind its norm.
fn mean_of_rows(kernels: &Kernels, stream: &[f32], norm: NormArgs<'_>) -> Vec<f32> {
    let mut rows = stream.to_vec();
    layer_norm(kernels, &mut rows, norm, Threads::One);
    let (width, count) = (norm.gain.len(), stream.len() / norm.gain.len());
    (0..width).map(|j| rows.iter().skip(j).step_by(width).sum::<f32>() / count as f32).collect()
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// To the largest magnitudes of columns, another row.
fn raise(largest: &mut [f32], row: &[f32]) {
    largest.iter_mut().zip(row).for_each(|(largest, w)| *largest = largest.max(w.abs()));
}

fn median(values: &[f32]) -> f32 {
    let mut values = values.to_vec();
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f32::total_cmp).1
}

fn has_large(size: &[f32]) -> bool {
    let limit = LARGE * median(size);
    size.iter().any(|&size| size > limit)
}

/// What large channels are divided by: the root of how much larger they are than others, and the columns that read them smaller, to the next
/// power of two.
fn factors(size: &[f32], largest: &[f32]) -> Vec<f32> {
    let (typical, weight) = (median(size), median(largest));
    // A column of zeros bears any factor.
    let relative = |j: usize| (size[j] / typical) / (largest[j] / weight).max(1.0 / (MOST * MOST));
    // By products alone, which are the same on every platform.
    let factor = |j: usize| {
        let mut factor = 1f32;
        while size[j] > LARGE * typical && factor < MOST && relative(j) >= 2.0 * factor * factor {
            factor *= 2.0;
        }
        factor
    };
    (0..size.len()).map(factor).collect()
}
