//! Token ids to the residual stream.

use edgeclip_kernels::Rows;

use super::{Pass, Stream};
use crate::{
    Compute, Error, Phase, Stage, StageKind, TextConfig, TextPooling, Tower, Weights,
    schema::{Id, Piece},
    weights::Loader,
};

/// Token ids to the residual stream. The table of tokens stays where it is; only the rows that are used are read.
#[derive(Debug)]
pub struct TextEmbedding {
    width: usize,
    context_length: usize,
    causal: bool,
    pooling: TextPooling,
    start: u32,
    end: u32,
    tokens: Rows,
    /// `[context_length, width]`
    positions: Vec<f32>,
}

impl TextEmbedding {
    /// Loads the piece.
    ///
    /// # Errors
    /// A tensor that is missing, of the wrong shape or of a type that cannot be computed with.
    pub fn load(config: &TextConfig, weights: &dyn Weights, compute: impl Into<Compute>) -> Result<Self, Error> {
        let compute = compute.into();
        let loader = Loader { weights, compute };
        let id = |piece| Id::weight(Tower::Text, piece);
        let width = config.tower.width;
        Ok(Self {
            tokens: loader.rows(id(Piece::TokenEmbedding), &[width], config.vocabulary.tokens.len())?,
            positions: loader.values(id(Piece::PositionEmbedding), &[width, config.vocabulary.context_length])?,
            width,
            context_length: config.vocabulary.context_length,
            causal: config.causal,
            pooling: config.pooling,
            start: config.vocabulary.start,
            end: config.vocabulary.end,
        })
    }

    /// The ids of an empty text.
    pub(crate) fn empty(&self) -> [u32; 2] {
        [self.start, self.end]
    }

    /// The ids of a row that matter, and the position that is pooled: what comes after that in a causal encoder cannot change it and is cut
    /// off. `index` is for the message.
    pub(crate) fn cut<'t>(&self, index: usize, ids: &'t [u32]) -> Result<(&'t [u32], usize), Error> {
        let wrong = |problem: String| Error::Tokens { index, problem };
        if let Some(id) = ids.iter().find(|id| **id as usize >= self.tokens.n) {
            return Err(wrong(format!("expected ids below {}, found {id}", self.tokens.n)));
        }
        let pooled = self.pooling.position(ids, self.end);
        let pooled =
            pooled.ok_or_else(|| wrong(format!("expected the end token {} among {} ids, found none", self.end, ids.len())))?;
        let ids = if self.causal { &ids[..=pooled] } else { ids };
        if ids.len() > self.context_length {
            return Err(wrong(format!("expected at most {} ids, found {}", self.context_length, ids.len())));
        }
        Ok((ids, pooled))
    }

    /// Of two rows as [`cut`](Self::cut) leaves them, the number of tokens that are the same in all they are computed from: of a causal
    /// encoder what they begin with, of another all or nothing.
    pub(crate) fn shared(&self, a: &[u32], b: &[u32]) -> usize {
        if self.causal {
            a.iter().zip(b).take_while(|(a, b)| a == b).count()
        } else if a == b {
            a.len()
        } else {
            0
        }
    }

    /// Makes `stream` that of rows of ids, padded or not. A row shares with the row before it the tokens that both begin with, if the encoder
    /// is causal, so that sorted rows are computed fastest.
    ///
    /// # Errors
    /// [`Error::Tokens`] for a row that is empty, too long, without the token to pool, or with an id that is not in the vocabulary.
    pub fn forward<'t>(
        &self,
        rows: impl Iterator<Item = &'t [u32]>,
        stream: &mut Stream,
        pass: &mut Pass<'_>,
    ) -> Result<(), Error> {
        pass.observer.phase(Phase::Embedding);
        stream.clear();
        let (width, row_bytes) = (self.width, self.tokens.bytes.len() / self.tokens.n);
        let mut before: &[u32] = &[];
        for (index, ids) in rows.enumerate() {
            let (ids, pooled) = self.cut(index, ids)?;
            let shared = self.shared(before, ids);
            let start = stream.values.len();
            stream.values.resize(start + (ids.len() - shared) * width, 0.0);
            let own = stream.values[start..].chunks_exact_mut(width);
            for ((out, position), &id) in own.zip(self.positions.chunks_exact(width).skip(shared)).zip(&ids[shared..]) {
                self.tokens.format.dequantize(&self.tokens.bytes[id as usize * row_bytes..][..row_bytes], out);
                out.iter_mut().zip(position).for_each(|(x, p)| *x += p);
            }
            stream.push(ids.len(), shared, (start / width) as u32, pooled);
            before = ids;
        }
        pass.observer.stage(Stage { tower: Tower::Text, block: None, kind: StageKind::Embedding }, width, &stream.values);
        Ok(())
    }
}
