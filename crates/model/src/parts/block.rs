//! Transformer blocks.

use edgeclip_kernels::{
    Activation, Epilogue, Kernels, Linear,
    attention::{Qkv, Shape, Strided, attention},
};

use super::{Norm, Pass, Stream, room};
use crate::{Compute, Error, Phase, Stage, StageKind, Tower, TowerConfig, Weights, schema::Piece, weights::Loader};

/// A pre-norm transformer block: `x += attention(norm(x))`, `x += mlp(norm(x))`.
///
/// The last block of an encoder does so for the pooled rows only, and leaves nothing else in the stream: the others are there to be attended
/// to.
#[derive(Debug)]
pub struct Block {
    kernels: &'static Kernels,
    tower: Tower,
    index: usize,
    shape: Shape,
    norm1: Norm,
    /// Query, key and value of every token, or the last two if queries are apart.
    inputs: Linear,
    /// Of the last block: queries, which only the pooled rows have.
    query: Option<Linear>,
    out: Linear,
    norm2: Norm,
    up: Linear,
    down: Linear,
    activation: Activation,
}

impl Block {
    /// Loads block `index` of an encoder.
    ///
    /// # Errors
    /// A tensor that is missing, of the wrong shape or of a type that cannot be computed with.
    pub fn load(
        config: &TowerConfig,
        tower: Tower,
        causal: bool,
        index: usize,
        weights: &dyn Weights,
        compute: impl Into<Compute>,
    ) -> Result<Self, Error> {
        let compute = compute.into();
        let loader = Loader { weights, compute };
        let (width, mlp) = (config.width, config.mlp);
        let linear = |pieces: &[Piece], k, n| loader.linear(tower, pieces, k, n);
        let (query, key, value) = (Piece::Query(index), Piece::Key(index), Piece::Value(index));
        let (query, inputs) = if index + 1 == config.layers {
            (Some(linear(&[query], width, width)?), linear(&[key, value], width, width)?)
        } else {
            (None, linear(&[query, key, value], width, width)?)
        };
        Ok(Self {
            kernels: compute.kernels,
            tower,
            index,
            shape: Shape { width, heads: config.heads, causal },
            norm1: Norm::load(&loader, tower, Piece::Norm1(index), config)?,
            inputs,
            query,
            out: linear(&[Piece::AttentionOutput(index)], width, width)?,
            norm2: Norm::load(&loader, tower, Piece::Norm2(index), config)?,
            up: linear(&[Piece::MlpIn(index)], width, mlp)?,
            down: linear(&[Piece::MlpOut(index)], mlp, width)?,
            activation: config.activation,
        })
    }

    /// Adds the block's two terms to the stream.
    pub fn forward(&self, stream: &mut Stream, pass: &mut Pass<'_>) {
        self.attend(stream, pass);
        self.show(StageKind::Attention, stream, pass);
        self.mlp(stream, pass);
        self.show(StageKind::Mlp, stream, pass);
    }

    fn show(&self, kind: StageKind, stream: &Stream, pass: &mut Pass<'_>) {
        let stage = Stage { tower: self.tower, block: Some(self.index), kind };
        pass.observer.stage(stage, self.shape.width, &stream.values);
    }

    fn attend(&self, stream: &mut Stream, pass: &mut Pass<'_>) {
        let (workspace, threads, width) = (&mut *pass.workspace, pass.threads, self.shape.width);
        let (activations, norm) = (&mut workspace.activations, self.norm1.args());
        let mut linear = |linear: &Linear, x: &[f32], out: &mut [f32]| {
            pass.observer.phase(Phase::Norm);
            activations.set_layer_norm(linear, x, norm, threads);
            pass.observer.phase(Phase::Qkv);
            linear.forward(activations, Epilogue::Store, out, threads);
        };
        let (x, stride) = (&stream.values, self.inputs.n());
        let qkv = room(&mut workspace.qkv, x.len() / width * stride);
        linear(&self.inputs, x, qkv);
        let inputs = Strided { values: qkv, stride, offset: 0 };
        let (query, key, sequences) = match &self.query {
            None => (inputs, Strided { offset: width, ..inputs }, &stream.sequences),
            Some(own) => {
                let query = room(&mut workspace.query, stream.inputs() * width);
                let pooled = room(&mut workspace.pooled, stream.inputs() * width);
                stream.gather(width, pooled);
                stream.values.clear();
                stream.values.extend_from_slice(pooled);
                linear(own, pooled, query);
                (Strided { values: query, stride: width, offset: 0 }, inputs, &stream.pooled)
            }
        };
        let attended = room(&mut workspace.attended, stream.values.len());
        let qkv = Qkv { query, key, value: Strided { offset: key.offset + width, ..key } };
        pass.observer.phase(Phase::Attention);
        attention(self.kernels, self.shape, qkv, &stream.rows, sequences, attended, threads);
        pass.observer.phase(Phase::Norm);
        activations.set(&self.out, attended, threads);
        pass.observer.phase(Phase::AttentionOutput);
        self.out.forward(activations, Epilogue::Add, &mut stream.values, threads);
        if self.query.is_some() {
            stream.keep_pooled();
        }
    }

    fn mlp(&self, stream: &mut Stream, pass: &mut Pass<'_>) {
        let (workspace, threads) = (&mut *pass.workspace, pass.threads);
        let hidden = room(&mut workspace.hidden, stream.values.len() / self.shape.width * self.up.n());
        let activations = &mut workspace.activations;
        pass.observer.phase(Phase::Norm);
        activations.set_layer_norm(&self.up, &stream.values, self.norm2.args(), threads);
        pass.observer.phase(Phase::MlpUp);
        self.up.forward(activations, Epilogue::Activate(self.activation), hidden, threads);
        pass.observer.phase(Phase::Norm);
        activations.set(&self.down, hidden, threads);
        pass.observer.phase(Phase::MlpDown);
        self.down.forward(activations, Epilogue::Add, &mut stream.values, threads);
    }
}
