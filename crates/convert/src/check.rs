//! Runs source and result on the probes, and compares the embeddings.
//!
//! The source is computed in f32, from where it lies.

use edgeclip_model::{Compute, Config, Kernels, Tower, Weights};
use edgeclip_tokenize::Tokenizer;
use serde::Serialize;

use crate::{Error, Options, Progress, probes::Encoder};

/// The cosine between source and result for every probe.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// Of the image encoder.
    pub image: Option<Cosines>,
    /// Of the text encoder.
    pub text: Option<Cosines>,
}

/// The cosines of an encoder.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cosines {
    /// Of the probe that is furthest off.
    pub min: f64,
    /// Of all probes.
    pub mean: f64,
    /// Each.
    pub probes: Vec<Probe>,
}

/// A picture or sentence of the check.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Probe {
    /// The picture's name, or the sentence.
    pub input: String,
    /// Between the embeddings of source and result.
    pub cosine: f64,
}

impl Cosines {
    /// The probe that is furthest off.
    pub fn worst(&self) -> Option<&Probe> {
        self.probes.iter().min_by(|a, b| a.cosine.total_cmp(&b.cosine))
    }
}

impl Check {
    /// The probe that is furthest off, of both encoders.
    pub fn worst(&self) -> Option<&Probe> {
        let probes = [&self.image, &self.text].into_iter().flatten().filter_map(Cosines::worst);
        probes.min_by(|a, b| a.cosine.total_cmp(&b.cosine))
    }
}

/// With what the probes are computed.
pub(crate) fn compute(options: &Options) -> Result<Compute, Error> {
    let kernels = match options.isa {
        Some(isa) => Kernels::new(isa).map_err(|error| Error::Isa(error.to_string()))?,
        None => Kernels::best(),
    };
    Ok(Compute { kernels, groups: options.groups })
}

/// Compares `result`, a file of the configuration `config` that was asked for with `options`, with `source`.
///
/// # Errors
/// What loading says; [`Error::Isa`]; [`Error::SourceNotFinite`] and [`Error::ResultNotFinite`]; [`Error::Interrupted`].
pub(crate) fn check(
    config: &Config,
    tokenizer: Option<&Tokenizer>,
    source: &dyn Weights,
    result: &dyn Weights,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Check, Error> {
    let mut encoders = Encoder::all(config, tokenizer, source, options, progress)?;
    progress.begin("checking", 2 * encoders.iter().map(Encoder::steps).sum::<u64>());
    let mut check = Check { image: None, text: None };
    for encoder in &mut encoders {
        // The source comes first, so that its faults are not put down to the result.
        let wanted = source_vectors(encoder, source)?;
        let cosines = compare(encoder, &wanted, result, options)?;
        match encoder.tower() {
            Tower::Image => check.image = Some(cosines),
            Tower::Text => check.text = Some(cosines),
        }
    }
    Ok(check)
}

/// The vectors of the source, which are finite.
pub(crate) fn source_vectors(encoder: &mut Encoder<'_>, source: &dyn Weights) -> Result<Vec<f32>, Error> {
    let vectors = encoder.vectors(source)?;
    match encoder.not_finite(&vectors) {
        Some(probe) => Err(Error::SourceNotFinite { path: source.path().to_owned(), tower: encoder.tower(), probe }),
        None => Ok(vectors),
    }
}

/// The cosines between the vectors of `result` and those of the source.
pub(crate) fn compare(
    encoder: &mut Encoder<'_>,
    wanted: &[f32],
    result: &dyn Weights,
    options: &Options,
) -> Result<Cosines, Error> {
    let vectors = encoder.vectors(result)?;
    if let Some(probe) = encoder.not_finite(&vectors) {
        let (path, tower, target) = (result.path().to_owned(), encoder.tower(), options.target);
        return Err(Error::ResultNotFinite { path, tower, probe, target });
    }
    let pairs = wanted.chunks_exact(encoder.dim()).zip(vectors.chunks_exact(encoder.dim()));
    let probes: Vec<Probe> = encoder
        .probes()
        .into_iter()
        .zip(pairs)
        .map(|(input, (a, b))| Probe { input: input.to_owned(), cosine: cosine(a, b) })
        .collect();
    let min = probes.iter().map(|probe| probe.cosine).fold(f64::INFINITY, f64::min);
    let mean = probes.iter().map(|probe| probe.cosine).sum::<f64>() / probes.len() as f64;
    Ok(Cosines { min, mean, probes })
}

/// Of two finite vectors; of two zero vectors 1, of one 0.
pub(crate) fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    let norms = (dot(a, a) * dot(b, b)).sqrt();
    if norms > 0.0 { dot(a, b) / norms } else { f64::from(u8::from(a == b)) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{Target, checkpoint::Checkpoint};
    use edgeclip_model::Tensor;

    #[test]
    fn cosines() {
        assert_eq!(cosine(&[3.0, 4.0], &[6.0, 8.0]), 1.0);
        assert_eq!(cosine(&[1.0, 0.0], &[0.0, 2.0]), 0.0);
        assert_eq!(cosine(&[0.0, 0.0], &[0.0, 0.0]), 1.0);
        assert_eq!(cosine(&[0.0, 0.0], &[0.0, 1.0]), 0.0);
    }

    /// A checkpoint of which one tensor reads as NaN.
    struct Broken<'a>(&'a Checkpoint, &'static str);

    impl Weights for Broken<'_> {
        fn path(&self) -> &Path {
            Path::new("m.gguf")
        }

        fn tensor(&self, name: &str) -> Result<Tensor, edgeclip_model::Error> {
            let mut tensor = self.0.tensor(name)?;
            if name == self.1 {
                tensor.bytes = vec![0xff; tensor.bytes.len()].into();
            }
            Ok(tensor)
        }

        fn is_quantized(&self) -> bool {
            false
        }
    }

    #[test]
    fn it_is_said_which_side_is_not_finite() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/odd-f16");
        let source = Checkpoint::open(&folder, &Options::default()).unwrap();
        let options = Options { target: Target::Q4_0, ..Options::default() };
        let run = |a: &dyn Weights, b: &dyn Weights| check(&source.config, source.tokenizer.as_ref(), a, b, &options, &());
        run(&source, &source).unwrap();
        for (name, tower, probe) in [("v.post_ln.bias", "image", "bicycle.png"), ("t.post_ln.bias", "text", "a")] {
            let broken = Broken(&source, name);
            assert_eq!(
                run(&source, &broken).unwrap_err().to_string(),
                format!(
                    "m.gguf: not written: as q4_0 the {tower} encoder gives a vector that is not finite for the probe \"{probe}\", where \
                     the checkpoint's is finite; take a wider --type"
                )
            );
            assert!(
                matches!(run(&broken, &broken), Err(Error::SourceNotFinite { .. })),
                "both are broken: the source is to blame"
            );
        }
    }
}
