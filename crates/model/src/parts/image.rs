//! Pictures to the residual stream.

use std::{
    slice,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use edgeclip_kernels::{Activations, Epilogue, Kernels, Linear, Rows, Threads, layer_norm};
use edgeclip_preprocess::{Pixels, Spec};

use super::{Norm, Pass, Stream, room};
use crate::{
    Compute, Error, ImageConfig, Phase, Stage, StageKind, Tower, Weights,
    schema::{Id, Piece},
    weights::Loader,
};

/// Pictures to the residual stream: patches, class token, positions, first norm.
#[derive(Debug)]
pub struct ImageEmbedding {
    kernels: &'static Kernels,
    config: ImageConfig,
    patch: Patch,
    /// The class token, with its position added.
    class: Vec<f32>,
    /// `[patches, width]`
    positions: Vec<f32>,
    norm: Norm,
}

impl ImageEmbedding {
    /// Loads the piece.
    ///
    /// # Errors
    /// A tensor that is missing, of the wrong shape or of a type that cannot be computed with.
    pub fn load(config: &ImageConfig, weights: &dyn Weights, compute: impl Into<Compute>) -> Result<Self, Error> {
        let compute = compute.into();
        let loader = Loader { weights, compute };
        let width = config.tower.width;
        let id = |piece| Id::weight(Tower::Image, piece);
        let mut class = loader.values(id(Piece::ClassEmbedding), &[width])?;
        let mut positions = loader.values(id(Piece::PositionEmbedding), &[width, config.tokens()])?;
        let rest = positions.split_off(width);
        class.iter_mut().zip(&positions).for_each(|(class, position)| *class += position);
        Ok(Self {
            kernels: compute.kernels,
            config: config.clone(),
            patch: Patch::load(&loader, config)?,
            class,
            positions: rest,
            norm: Norm::load(&loader, Tower::Image, Piece::PreNorm, &config.tower)?,
        })
    }

    /// Tokens of a picture.
    pub(crate) fn tokens(&self) -> usize {
        self.config.tokens()
    }

    /// What pictures have to be.
    pub(crate) fn preprocessing(&self) -> &Spec {
        &self.config.preprocessing
    }

    /// Refuses a picture that is not of the model's size; `index` is for the message.
    pub(crate) fn check(&self, index: usize, pixels: &Pixels) -> Result<(), Error> {
        let (expected, found) = (self.config.preprocessing.size as usize, pixels.size() as usize);
        if found == expected { Ok(()) } else { Err(Error::PictureSize { index, expected, found }) }
    }

    /// Makes `stream` that of a batch of pictures.
    ///
    /// # Errors
    /// [`Error::PictureSize`] if a picture is not of the model's size.
    pub fn forward(&self, pictures: &[Pixels], stream: &mut Stream, pass: &mut Pass<'_>) -> Result<(), Error> {
        pass.observer.phase(Phase::Embedding);
        let (width, tokens) = (self.config.tower.width, self.config.tokens());
        stream.clear();
        for (index, pixels) in pictures.iter().enumerate() {
            self.check(index, pixels)?;
            stream.values.extend_from_slice(&self.class);
            let patches = stream.values.len();
            stream.values.extend_from_slice(&self.positions);
            self.patch.add(pixels, &self.config, &mut stream.values[patches..], pass);
            stream.push(tokens, 0, (index * tokens) as u32, 0);
        }
        layer_norm(self.kernels, &mut stream.values, self.norm.args(), pass.threads);
        pass.observer.stage(Stage { tower: Tower::Image, block: None, kind: StageKind::Embedding }, width, &stream.values);
        Ok(())
    }
}

/// The strided convolution.
#[derive(Debug)]
struct Patch {
    kernels: &'static Kernels,
    /// `[width, 3 * side * side]`, a row in the order channel, y, x.
    rows: Rows,
    /// `rows` packed, when first needed.
    floats: OnceLock<Linear>,
    /// For pictures that are bytes with the model's own mean and deviation, in a file of quantized weights.
    bytes: Option<Linear>,
}

impl Patch {
    fn load(loader: &Loader<'_>, config: &ImageConfig) -> Result<Self, Error> {
        let id = Id::weight(Tower::Image, Piece::PatchEmbedding);
        let rows = loader.rows(id, &[config.patch, config.patch, 3], config.tower.width)?;
        let kernels = loader.compute.kernels;
        let bytes =
            if loader.weights.is_quantized() { for_bytes(kernels, &rows, config.patch, &config.preprocessing) } else { None };
        let patch = Self { kernels, rows, floats: OnceLock::new(), bytes };
        if patch.bytes.is_none() {
            patch.floats();
        }
        loader.release(id);
        Ok(patch)
    }

    fn floats(&self) -> &Linear {
        // Two threads may both pack. Packing inside `get_or_init` would lock a pool up: a thread that packs on all threads may be handed
        // another picture while it waits.
        if let Some(linear) = self.floats.get() {
            return linear;
        }
        let linear = Linear::new(self.kernels, slice::from_ref(&self.rows), None);
        let linear = linear.expect("the size of rows is checked when they are loaded");
        self.floats.get_or_init(|| linear)
    }

    /// Adds the products of a picture's patches to `out[patches, width]`.
    fn add(&self, pixels: &Pixels, config: &ImageConfig, out: &mut [f32], pass: &mut Pass<'_>) {
        let (size, side, grid) = (config.preprocessing.size as usize, config.patch, config.grid());
        let (workspace, threads) = (&mut *pass.workspace, pass.threads);
        let own = Some((config.preprocessing.mean, config.preprocessing.std));
        if let (Some(linear), Some(crop)) = (&self.bytes, pixels.crop())
            && pixels.normalization() == own
        {
            let fill = |patch: usize, row: &mut [u8]| {
                let (top, left) = (patch / grid * side, patch % grid * side);
                for (y, line) in row.chunks_exact_mut(3 * side).enumerate() {
                    line.copy_from_slice(&crop[3 * ((top + y) * size + left)..][..3 * side]);
                }
            };
            workspace.activations.set_bytes(linear, grid * grid, fill, threads);
            linear.forward(&workspace.activations, Epilogue::Add, out, threads);
            return;
        }
        let linear = self.floats();
        let (chw, patches) =
            room(&mut workspace.hidden, 3 * size * size + grid * grid * linear.k()).split_at_mut(3 * size * size);
        pixels.write_chw(chw);
        for (p, patch) in patches.chunks_exact_mut(linear.k()).enumerate() {
            let (top, left) = (p / grid * side, p % grid * side);
            for (line, row) in patch.chunks_exact_mut(side).enumerate() {
                let (channel, y) = (line / side, top + line % side);
                row.copy_from_slice(&chw[(channel * size + y) * size + left..][..side]);
            }
        }
        workspace.activations.set(linear, patches, threads);
        linear.forward(&workspace.activations, Epilogue::Add, out, threads);
    }
}

/// The convolution for bytes p: W (p / 255 - mean) / std = sum of W / (255 std) p, minus the same sum over 255 mean.
///
/// A row is in the order y, x, channel, in which the lines of a patch are pieces of the lines of a crop. `None` if a weight is not finite,
/// which only floats can carry to the end, where it is reported.
fn for_bytes(kernels: &'static Kernels, rows: &Rows, side: usize, spec: &Spec) -> Option<Linear> {
    let (n, k, plane) = (rows.n, rows.k, side * side);
    let row_bytes = rows.bytes.len() / n;
    let finite = AtomicBool::new(true);
    let mut linear = Linear::for_bytes(kernels, n, k, |row, folded| {
        let mut values = vec![0f32; k];
        rows.format.dequantize(&rows.bytes[row * row_bytes..][..row_bytes], &mut values);
        for (channel, (values, std)) in values.chunks_exact_mut(plane).zip(spec.std).enumerate() {
            values.iter_mut().for_each(|value| *value /= 255.0 * std);
            values.iter().zip(folded[channel..].iter_mut().step_by(3)).for_each(|(value, out)| *out = *value);
        }
        if values.iter().any(|value| !value.is_finite()) {
            finite.store(false, Ordering::Relaxed);
        }
    });
    if !finite.into_inner() {
        return None;
    }
    // What belongs to the mean is summed over the quantized weights, by the linear itself: their error then meets p - 255 mean, which is
    // smaller than p.
    let mut white = Activations::default();
    let fill = |channel: usize, row: &mut [u8]| {
        row.fill(0);
        row.iter_mut().skip(channel).step_by(3).for_each(|byte| *byte = 255);
    };
    white.set_bytes(&linear, 3, fill, Threads::All);
    let mut sums = vec![0f32; 3 * n];
    linear.forward(&white, Epilogue::Store, &mut sums, Threads::All);
    let mean = |output: usize| -> f64 { (0..3).map(|c| f64::from(spec.mean[c]) * f64::from(sums[c * n + output])).sum() };
    let bias = (0..n).map(|output| -mean(output) as f32).collect::<Vec<_>>();
    linear.set_bias(&bias);
    Some(linear)
}
