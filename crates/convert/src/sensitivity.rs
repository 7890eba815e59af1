//! What the types cost: each matrix alone in each of them, everything else as in the source, and how far the probes' vectors move.
//!
//! Nothing before the matrix changes, so its variants start from the streams of the source, and go through what is behind it together.

use std::collections::HashMap;

use edgeclip_model::{
    Format, Tensor, Tower, Weights,
    parts::Stream,
    schema::{Piece, Role, TensorSpec},
};

use crate::{
    Error, Options, Progress,
    check::{cosine, source_vectors},
    compat,
    policy::{self, Choice},
    probes::Encoder,
    stored_bytes,
};

/// Matrices that share a type: query, key and value of a block, which are packed together; any other matrix is alone.
pub(crate) struct Group {
    pub(crate) tower: Tower,
    place: Place,
    /// By their places among the tensors.
    pub(crate) tensors: Vec<usize>,
    /// The types that they can have, smallest first. Never empty.
    pub(crate) candidates: Vec<Candidate>,
}

/// What a group costs in a type.
#[derive(Clone)]
pub(crate) struct Candidate {
    pub(crate) format: Format,
    /// Of the group in the file.
    pub(crate) bytes: u64,
    /// What is missing from a cosine of 1, for every probe.
    pub(crate) losses: Vec<f64>,
}

impl Candidate {
    pub(crate) fn mean(&self) -> f64 {
        self.losses.iter().sum::<f64>() / self.losses.len().max(1) as f64
    }

    pub(crate) fn largest(&self) -> f64 {
        self.losses.iter().copied().fold(0.0, f64::max)
    }
}

/// Which piece of an encoder a matrix belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Embedding,
    Block(usize),
    Head,
}

impl Place {
    fn of(piece: Piece) -> Self {
        match piece {
            Piece::Query(block) | Piece::Key(block) | Piece::Value(block) | Piece::AttentionOutput(block) => Self::Block(block),
            Piece::MlpIn(block) | Piece::MlpOut(block) | Piece::Norm1(block) | Piece::Norm2(block) => Self::Block(block),
            Piece::PostNorm | Piece::Projection => Self::Head,
            Piece::TokenEmbedding | Piece::PositionEmbedding | Piece::ClassEmbedding | Piece::PatchEmbedding | Piece::PreNorm => {
                Self::Embedding
            }
        }
    }
}

/// The types that are tried. Those of 16 bits are one: f16 is closer, unless values are beyond its range.
const TYPES: [Format; 8] =
    [Format::F16, Format::Q8_0, Format::Q6K, Format::Q5_1, Format::Q5_0, Format::Q4_1, Format::Q4K, Format::Q4_0];

/// The groups of all matrices whose type is to choose, in the order of the file. The patch kernel is f16 always, so that its group has one
/// type, which costs something nevertheless: in a file with quantized weights it is multiplied in int8.
fn groups(specs: &[&TensorSpec], largest: &[f32], options: &Options) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (index, spec) in specs.iter().enumerate() {
        if spec.id.role() == Role::Vector || policy::is_overridden(spec, options) {
            continue;
        }
        let place = Place::of(spec.id.piece);
        let joins = |group: &&mut Group| {
            let first = specs[group.tensors[0]].id;
            first.tower == spec.id.tower && group.place == place && first.role() == Role::Attention
        };
        if spec.id.role() == Role::Attention
            && let Some(group) = groups.iter_mut().find(joins)
        {
            group.tensors.push(index);
            continue;
        }
        groups.push(Group { tower: spec.id.tower, place, tensors: vec![index], candidates: Vec::new() });
    }
    for group in &mut groups {
        let is_patch = specs[group.tensors[0]].id.role() == Role::PatchEmbedding;
        let types = if is_patch { &[Format::F16][..] } else { &TYPES };
        let types = types.iter().filter(|format| !options.compat || compat::reads(**format));
        let fits = |format: &&Format| group.tensors.iter().all(|&i| policy::fits(specs[i], **format, largest[i]).is_ok());
        let mut formats: Vec<Format> = types.filter(fits).copied().collect();
        if formats.is_empty() {
            formats.push(Format::F32);
        }
        let candidate = |format| {
            let bytes = group.tensors.iter().map(|&i| stored_bytes(&specs[i].dims, format)).sum();
            Candidate { format, bytes, losses: Vec::new() }
        };
        group.candidates = formats.into_iter().rev().map(candidate).collect();
        group.candidates.sort_by_key(|candidate| candidate.bytes);
    }
    groups
}

/// The groups with their costs, in all encoders.
pub(crate) fn all(
    encoders: &mut [Encoder<'_>],
    specs: &[&TensorSpec],
    largest: &[f32],
    source: &dyn Weights,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Vec<Group>, Error> {
    let mut groups = groups(specs, largest, options);
    progress.begin("analyzing", encoders.iter().map(|encoder| steps(encoder, &groups)).sum());
    encoders.iter_mut().try_for_each(|encoder| measure(encoder, &mut groups, specs, source, options))?;
    Ok(groups)
}

/// Steps of [`measure`].
fn steps(encoder: &Encoder<'_>, groups: &[Group]) -> u64 {
    let layers = encoder.layers() as u64;
    let own = groups.iter().filter(|group| group.tower == encoder.tower());
    let of = |group: &Group| match group.place {
        Place::Embedding => layers + 2,
        Place::Block(block) => layers - block as u64 + 1,
        Place::Head => 1,
    };
    // The source goes through twice, the second time without its head.
    2 * encoder.steps() - 1 + own.map(|group| of(group) * group.candidates.len() as u64).sum::<u64>()
}

/// Fills in what the candidates of an encoder's groups cost. A type in which a vector is not finite is taken away.
fn measure(
    encoder: &mut Encoder<'_>,
    groups: &mut [Group],
    specs: &[&TensorSpec],
    source: &dyn Weights,
    options: &Options,
) -> Result<(), Error> {
    let wanted = source_vectors(encoder, source)?;
    let mut streams = encoder.embed(source)?;
    let layers = encoder.layers();
    for place in [Place::Embedding].into_iter().chain((0..layers).map(Place::Block)).chain([Place::Head]) {
        let mut variants: Vec<(usize, usize, Vec<Stream>)> = Vec::new();
        let found = |group: &Group| group.tower == encoder.tower() && group.place == place;
        let found: Vec<usize> = (0..groups.len()).filter(|&i| found(&groups[i])).collect();
        for at in found {
            for which in 0..groups[at].candidates.len() {
                let group = &mut groups[at];
                let choice = Choice::plain(group.candidates[which].format, options);
                let changed = group.tensors.iter().map(|&i| (specs[i].name.as_str(), &choice));
                let is_patch = specs[group.tensors[0]].id.role() == Role::PatchEmbedding;
                let mixed = Mixed { source, choices: changed.collect(), quantized: is_patch };
                match place {
                    Place::Embedding => variants.push((at, which, encoder.embed(&mixed)?)),
                    Place::Block(index) => {
                        let (block, mut streams) = (encoder.block(index, &mixed)?, streams.clone());
                        encoder.forward(&block, &mut streams)?;
                        variants.push((at, which, streams));
                    }
                    Place::Head => {
                        let vectors = encoder.project(&encoder.head(&mixed)?, &streams)?;
                        group.candidates[which].losses = losses(encoder, &wanted, &vectors);
                    }
                }
            }
        }
        let behind = match place {
            Place::Embedding => 0,
            Place::Block(index) => {
                encoder.forward(&encoder.block(index, source)?, &mut streams)?;
                index + 1
            }
            Place::Head => break,
        };
        for index in behind..layers {
            let block = encoder.block(index, source)?;
            for (_, _, streams) in &mut variants {
                encoder.forward(&block, streams)?;
            }
        }
        let head = encoder.head(source)?;
        for (at, which, streams) in variants {
            let vectors = encoder.project(&head, &streams)?;
            groups[at].candidates[which].losses = losses(encoder, &wanted, &vectors);
        }
    }
    for group in groups.iter_mut().filter(|group| group.tower == encoder.tower()) {
        group.candidates.retain(|candidate| candidate.losses.iter().all(|loss| loss.is_finite()));
        if group.candidates.is_empty() {
            let bytes = group.tensors.iter().map(|&i| stored_bytes(&specs[i].dims, Format::F32)).sum();
            group.candidates.push(Candidate { format: Format::F32, bytes, losses: vec![0.0; encoder.probes().len()] });
        }
    }
    Ok(())
}

/// What is missing from a cosine of 1, for every probe; not a number where a vector is not finite.
fn losses(encoder: &Encoder<'_>, wanted: &[f32], vectors: &[f32]) -> Vec<f64> {
    let pairs = wanted.chunks_exact(encoder.dim()).zip(vectors.chunks_exact(encoder.dim()));
    pairs.map(|(a, b)| if b.iter().all(|x| x.is_finite()) { (1.0 - cosine(a, b)).max(0.0) } else { f64::NAN }).collect()
}

/// The source with other types for some tensors, made when they are asked for.
pub(crate) struct Mixed<'a> {
    pub(crate) source: &'a dyn Weights,
    pub(crate) choices: HashMap<&'a str, &'a Choice>,
    pub(crate) quantized: bool,
}

impl Weights for Mixed<'_> {
    fn path(&self) -> &std::path::Path {
        self.source.path()
    }

    fn tensor(&self, name: &str) -> Result<Tensor, edgeclip_model::Error> {
        let tensor = self.source.tensor(name)?;
        Ok(match self.choices.get(name) {
            Some(choice) if choice.format != tensor.format => choice.store(&tensor),
            _ => tensor,
        })
    }

    fn is_quantized(&self) -> bool {
        self.quantized
    }
}

#[cfg(test)]
impl Group {
    /// For tests of what is done with costs.
    pub(crate) fn of_candidates(candidates: Vec<Candidate>) -> Self {
        Self { tower: Tower::Image, place: Place::Head, tensors: vec![0], candidates }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{Target, checkpoint::Checkpoint};

    fn folder(name: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data").join(name)
    }

    /// Every matrix is in one group, query, key and value in that of their block, and nothing that has a type of its own.
    #[test]
    fn groups_are_what_is_packed_together() {
        let options = Options { overrides: vec![("t.token_embd".into(), Target::F16)], ..Options::default() };
        let checkpoint = Checkpoint::open(&folder("odd-blocks"), &options).unwrap();
        let specs: Vec<&TensorSpec> = checkpoint.tensors.iter().map(|tensor| &tensor.spec).collect();
        let groups = groups(&specs, &vec![1.0; specs.len()], &options);
        let mut found: Vec<usize> = groups.iter().flat_map(|group| group.tensors.clone()).collect();
        found.sort_unstable();
        let is_wanted = |spec: &TensorSpec| spec.id.role() != Role::Vector && spec.name != "t.token_embd.weight";
        assert_eq!(found, (0..specs.len()).filter(|&i| is_wanted(specs[i])).collect::<Vec<_>>());
        for group in &groups {
            let roles: Vec<Role> = group.tensors.iter().map(|&i| specs[i].id.role()).collect();
            assert_eq!(roles.len(), if roles[0] == Role::Attention { 3 } else { 1 }, "{roles:?}");
            assert!(group.candidates.iter().is_sorted_by_key(|candidate| candidate.bytes));
            let formats: Vec<Format> = group.candidates.iter().map(|candidate| candidate.format).collect();
            // Rows of 64 or 96 are no blocks of 256.
            match roles[0] {
                Role::PatchEmbedding => assert_eq!(formats, [Format::F16]),
                _ => assert!(!formats.contains(&Format::Q4K) && formats.contains(&Format::Q4_0), "{formats:?}"),
            }
        }
    }

    /// What starts from the middle is what the whole encoder gives.
    #[test]
    fn a_loss_is_that_of_the_encoder_with_one_matrix_changed() {
        let options = Options::default();
        let source = Checkpoint::open(&folder("odd-blocks"), &options).unwrap();
        let specs: Vec<&TensorSpec> = source.tensors.iter().map(|tensor| &tensor.spec).collect();
        let tokenizer = source.tokenizer.as_ref();
        let mut encoders = Encoder::all(&source.config, tokenizer, &source, &options, &()).unwrap();
        let groups = all(&mut encoders, &specs, &vec![1.0; specs.len()], &source, &options, &()).unwrap();
        for encoder in &mut encoders {
            let wanted = source_vectors(encoder, &source).unwrap();
            let tower = encoder.tower();
            for group in groups.iter().filter(|group| group.tower == tower) {
                let smallest = &group.candidates[0];
                let choice = Choice::plain(smallest.format, &options);
                let names = group.tensors.iter().map(|&i| (specs[i].name.as_str(), &choice));
                let quantized = specs[group.tensors[0]].id.role() == Role::PatchEmbedding;
                let mixed = Mixed { source: &source, choices: names.collect(), quantized };
                let vectors = encoder.vectors(&mixed).unwrap();
                assert_eq!(losses(encoder, &wanted, &vectors), smallest.losses, "{}", specs[group.tensors[0]].name);
                assert!(smallest.losses.iter().any(|loss| *loss > 0.0));
            }
        }
    }
}
