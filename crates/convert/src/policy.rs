//! Which type each tensor gets.
//!
//! | tensors | f32 | f16, bf16 | q8_0, q6_k | 5 and 4 bits |
//! |---|---|---|---|---|
//! | query, key, value; MLP | f32 | that type | that type | that type |
//! | attention output, token table, projections | f32 | that type | that type | q8_0 |
//! | position tables, patch kernel | f32 | that type | f16 | f16 |
//! | biases, norms, class token | f32 | f32 | f32 | f32 |
//!
//! [`Options::pure`] gives every matrix (two dimensions) the type that was asked for, as clip.cpp does.
//!
//! What the policy buys at q4_0, as the probes' lowest cosine to the source (8 pictures, 16 sentences), with int8 activations:
//!
//! | | demo, pure | demo, policy | random ViT-B/32, pure | random ViT-B/32, policy |
//! |---|---|---|---|---|
//! | size | 5.6 MB | 7.0 MB | 90.9 MB | 109.1 MB |
//! | pictures | 0.9977 | 0.9992 | 0.9931 | 0.9974 |
//! | sentences | 0.9851 | 0.9990 | 0.9923 | 0.9976 |
//!
//! And why these tensors: one matrix alone at q4_0 and all else as it was, on the demo, in millionths of the mean cosine. The token table costs
//! 1303, the image projection 1271, the text projection 946; by comparison, all queries, keys, values and MLPs together 414 in the image
//! encoder and 247 in the text encoder. The attention output costs 337 and 119, at an eleventh of their weights. Position tables are a
//! thousandth of the file. `edgeclip convert models/demo --analyze` prints all of it ([`analyze`](crate::analyze), docs/accuracy.md); the
//! random ViT-B/32 is that of tools/make_random_b32.py.

use edgeclip_model::{
    Format, Tensor,
    schema::{Role, TensorSpec},
};
use rayon::prelude::*;

use crate::{Error, Options, Target, stream::TASK_VALUES};

/// How a tensor is stored.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Choice {
    pub(crate) format: Format,
    /// Why it is not the type that was asked for.
    pub(crate) reason: Option<String>,
    /// Whether scales come from ggml's simple rule, not from a search.
    pub(crate) fast: bool,
}

impl Choice {
    /// A type that needs no reason.
    pub(crate) fn plain(format: Format, options: &Options) -> Self {
        Self { format, reason: None, fast: options.fast_quantize }
    }

    /// The tensor in this type.
    pub(crate) fn store(&self, tensor: &Tensor) -> Tensor {
        let row = tensor.dims[0] as usize;
        let [from, to] = [tensor.format, self.format].map(|format| format.row_bytes(row).unwrap_or_default());
        let mut bytes = vec![0; tensor.bytes.len() / from * to];
        let rows = bytes.par_chunks_exact_mut(to).zip(tensor.bytes.par_chunks_exact(from));
        rows.with_min_len(TASK_VALUES.div_ceil(row)).for_each_init(
            || vec![0f32; row],
            |values, (to, from)| {
                tensor.format.dequantize(from, values);
                self.quantize(values, to);
            },
        );
        Tensor { format: self.format, dims: tensor.dims.clone(), bytes: bytes.into() }
    }

    /// Writes whole rows of the tensor.
    pub(crate) fn quantize(&self, values: &[f32], bytes: &mut [u8]) {
        if self.fast { self.format.quantize(values, bytes) } else { self.format.quantize_searched(values, bytes) }
    }
}

/// Whether a name is that of a matrix, or some of its parts between the dots, in a row. So `t.blk.1` does not mean `t.blk.10`.
fn is_named(spec: &TensorSpec, name: &str) -> bool {
    let parts: Vec<&str> = spec.name.split('.').collect();
    let wanted: Vec<&str> = name.split('.').collect();
    spec.id.role() != Role::Vector && parts.windows(wanted.len()).any(|found| found == wanted)
}

/// Whether every name that was given a type means something: a slip of the pen would otherwise go unnoticed.
///
/// # Errors
/// [`Error::NoSuchTensor`] with the first that does not.
pub(crate) fn check_names(specs: &[&TensorSpec], options: &Options) -> Result<(), Error> {
    match options.overrides.iter().find(|(name, _)| !specs.iter().any(|spec| is_named(spec, name))) {
        None => Ok(()),
        Some((name, _)) => {
            let example = specs.iter().find(|spec| spec.id.role() == Role::Attention).map(|spec| spec.name.clone());
            Err(Error::NoSuchTensor { name: name.clone(), example: example.unwrap_or_default() })
        }
    }
}

/// Whether a type is asked for by the name of the tensor.
pub(crate) fn is_overridden(spec: &TensorSpec, options: &Options) -> bool {
    options.overrides.iter().any(|(name, _)| is_named(spec, name))
}

/// Whether a tensor whose largest magnitude is `largest` can be stored in a format.
///
/// # Errors
/// Why not.
pub(crate) fn fits(spec: &TensorSpec, format: Format, largest: f32) -> Result<(), String> {
    let row = spec.dims[0];
    if !row.is_multiple_of(format.block_len() as u64) {
        Err(format!("rows of {row} are no whole blocks of {}", format.block_len()))
    } else if largest > range(format) {
        Err(format!("values up to {largest:e} are beyond the range of {format}"))
    } else {
        Ok(())
    }
}

/// The type of a tensor whose largest magnitude is `largest`.
pub(crate) fn choose(spec: &TensorSpec, options: &Options, largest: f32) -> Choice {
    let target = options.target.format();
    let named = || options.overrides.iter().find(|(name, _)| is_named(spec, name));
    let (wanted, mut reason) = match named() {
        // The one type that its convolution takes, whatever was asked for.
        _ if options.compat && spec.id.role() == Role::PatchEmbedding => {
            (Format::F16, Some("clip.cpp takes no other".to_owned()))
        }
        Some((text, other)) if other.format() != target => (other.format(), Some(format!("asked for by name ({text})"))),
        Some(_) => (target, None),
        None if options.pure && spec.dims.len() == 2 => (target, None),
        None => wanted(spec.id.role(), options.target),
    };
    let fast = options.fast_quantize;
    for format in [wanted, smaller_blocks(wanted), Format::Q8_0, Format::F16, Format::F32] {
        // Only towards more bits.
        if bits(format) < bits(wanted) {
            continue;
        }
        match fits(spec, format, largest) {
            Ok(()) => return Choice { format, reason, fast },
            Err(problem) => reason = Some(problem),
        }
    }
    Choice { format: Format::F32, reason, fast }
}

fn wanted(role: Role, target: Target) -> (Format, Option<String>) {
    let format = target.format();
    let kept = |format: Format, why: &str| (format, Some(why.to_owned()));
    match (role, target) {
        (_, Target::F32) => (format, None),
        (Role::Vector, _) => kept(Format::F32, "vectors are small and cost nothing"),
        (_, Target::F16 | Target::BF16) => (format, None),
        (Role::PatchEmbedding, _) => kept(Format::F16, "rows of a patch are no whole blocks in most models"),
        (Role::PositionEmbedding, _) => kept(Format::F16, "position tables are small and reach every token"),
        (_, Target::Q8_0 | Target::Q6K) => (format, None),
        (Role::TokenEmbedding | Role::Projection, _) => kept(Format::Q8_0, "first and last matrices weigh most"),
        (Role::AttentionOutput, _) => kept(Format::Q8_0, "weighs most within a block"),
        (Role::Attention | Role::Mlp, _) => (format, None),
    }
}

/// For rows that are no whole blocks of a format: the smallest format with smaller blocks and no larger error, on bell-shaped and on
/// heavy-tailed weights (docs/accuracy.md).
fn smaller_blocks(format: Format) -> Format {
    match format {
        Format::Q4K => Format::Q4_1,
        other => other,
    }
}

/// Bits of a value, scales included.
fn bits(format: Format) -> f64 {
    (8 * format.block_bytes()) as f64 / format.block_len() as f64
}

/// Largest magnitude that a format stores as a finite number, whatever its sign. Scale and minimum of a block are f16.
fn range(format: Format) -> f32 {
    const F16_MAX: f32 = 65504.0;
    match format {
        Format::F32 => f32::MAX,
        // f32 rounded to bf16 overflows above this.
        Format::BF16 => f32::from_bits(0x7f7f_0000),
        Format::F16 | Format::Q5_1 | Format::Q4_1 => F16_MAX,
        Format::Q8_0 => F16_MAX * 127.0,
        Format::Q6K => F16_MAX * 128.0 * 32.0,
        Format::Q5_0 => F16_MAX * 16.0,
        Format::Q4K => F16_MAX * 63.0,
        Format::Q4_0 => F16_MAX * 8.0,
    }
}

#[cfg(test)]
mod tests {
    use edgeclip_model::{
        Tower,
        schema::{Id, Piece},
    };

    use super::*;

    fn spec(role: Role, dims: &[u64]) -> TensorSpec {
        let (piece, bias) = match role {
            Role::Vector => (Piece::Query(0), true),
            Role::TokenEmbedding => (Piece::TokenEmbedding, false),
            Role::PositionEmbedding => (Piece::PositionEmbedding, false),
            Role::PatchEmbedding => (Piece::PatchEmbedding, false),
            Role::Attention => (Piece::Query(0), false),
            Role::AttentionOutput => (Piece::AttentionOutput(0), false),
            Role::Mlp => (Piece::MlpIn(0), false),
            Role::Projection => (Piece::Projection, false),
        };
        let id = Id { tower: Tower::Text, piece, bias };
        assert_eq!(id.role(), role);
        TensorSpec { id, name: id.name(), dims: dims.to_vec() }
    }

    fn format(role: Role, dims: &[u64], options: &Options, largest: f32) -> Format {
        choose(&spec(role, dims), options, largest).format
    }

    #[test]
    fn rows_that_are_no_whole_blocks_fall_back_with_a_reason() {
        let q4 = Options { target: Target::Q4_0, ..Options::default() };
        let choice = choose(&spec(Role::Mlp, &[72, 8]), &q4, 1.0);
        assert_eq!(choice.format, Format::F16);
        assert_eq!(choice.reason.as_deref(), Some("rows of 72 are no whole blocks of 32"));
        assert_eq!(choose(&spec(Role::Mlp, &[96, 8]), &q4, 1.0), Choice { format: Format::Q4_0, reason: None, fast: false });
        for (target, format) in [(Target::Q4K, Format::Q4_1), (Target::Q6K, Format::Q8_0)] {
            let options = Options { target, ..Options::default() };
            let of = |row| choose(&spec(Role::Mlp, &[row, 8]), &options, 1.0);
            assert_eq!(of(512), Choice { format: target.format(), reason: None, fast: false });
            let reason = Some("rows of 96 are no whole blocks of 256".to_owned());
            assert_eq!(of(96), Choice { format, reason, fast: false });
            assert_eq!(of(72).format, Format::F16);
        }
    }

    #[test]
    fn values_beyond_the_range_fall_back() {
        let of = |target, largest| format(Role::Attention, &[32, 8], &Options { target, ..Options::default() }, largest);
        assert_eq!(of(Target::F16, 65504.0), Format::F16);
        assert_eq!(of(Target::F16, 65505.0), Format::F32);
        assert_eq!(of(Target::Q8_0, 8e6), Format::Q8_0);
        assert_eq!(of(Target::Q8_0, 9e6), Format::F32);
        assert_eq!(of(Target::Q4_0, 6e5), Format::Q8_0);
        assert_eq!(of(Target::Q4_1, 7e4), Format::Q8_0);
        assert_eq!(of(Target::BF16, 1e38), Format::BF16);
        assert_eq!(of(Target::F32, f32::MAX), Format::F32);
    }

    #[test]
    fn every_limit_of_the_range_is_stored_finite_and_not_much_more_is() {
        for f in Format::ALL.into_iter().filter(|f| *f != Format::F32) {
            let mut bytes = vec![0; f.row_bytes(256).unwrap()];
            // Negative, since of a positive number a format with a minimum stores the distance from 0.
            for (factor, finite) in [(-1.0, true), (-1.01, false)] {
                for quantize in [Format::quantize, Format::quantize_searched] {
                    let mut back = [0f32; 256];
                    quantize(f, &[range(f) * factor; 256], &mut bytes);
                    f.dequantize(&bytes, &mut back);
                    assert_eq!(back[0].is_finite(), finite, "{f} {factor}");
                    quantize(f, &[range(f); 256], &mut bytes);
                    f.dequantize(&bytes, &mut back);
                    assert!(back[0].is_finite(), "{f}");
                }
            }
        }
    }

    #[test]
    fn pure_is_for_matrices_only() {
        let pure = Options { target: Target::Q4_0, pure: true, ..Options::default() };
        assert_eq!(format(Role::PositionEmbedding, &[64, 77], &pure, 1.0), Format::Q4_0);
        assert_eq!(format(Role::Projection, &[64, 64], &pure, 1.0), Format::Q4_0);
        assert_eq!(format(Role::PatchEmbedding, &[32, 32, 3, 64], &pure, 1.0), Format::F16);
        assert_eq!(format(Role::Vector, &[64], &pure, 1.0), Format::F32);
    }

    #[test]
    fn a_name_overrides_the_policy() {
        let options = Options { overrides: vec![("attn_q".into(), Target::F16)], ..Options::default() };
        let choice = choose(&spec(Role::Attention, &[64, 64]), &options, 1.0);
        assert_eq!(choice, Choice { format: Format::F16, reason: Some("asked for by name (attn_q)".into()), fast: false });
    }

    #[test]
    fn names_are_whole_parts() {
        let of = |id: Id| TensorSpec { id, name: id.name(), dims: vec![64, 64] };
        let tensor = of(Id::weight(Tower::Text, Piece::Query(10)));
        for name in ["t.blk.10.attn_q.weight", "t.blk.10", "blk.10", "attn_q", "t", "weight", "10.attn_q"] {
            assert!(is_named(&tensor, name), "{name}");
        }
        for name in ["t.blk.1", "blk.0", "attn", "t.blk", "t.attn_q", "v.blk.10", "", ".", "t.blk.10.attn_q.weight.x"] {
            assert_eq!(is_named(&tensor, name), name == "t.blk", "{name}");
        }
        assert!(!is_named(&of(Id::bias(Tower::Text, Piece::Query(10))), "attn_q"), "vectors are not asked");
        let named = |name: &str| Options { overrides: vec![(name.into(), Target::F16)], ..Options::default() };
        assert!(check_names(&[&tensor], &named("attn_q")).is_ok());
        let message = check_names(&[&tensor], &named("atn_q")).unwrap_err().to_string();
        assert!(message.contains("\"atn_q\"") && message.contains("t.blk.10.attn_q.weight"), "{message}");
    }
}
