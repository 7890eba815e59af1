//! The smallest mix of types whose vectors are close enough.
//!
//! What groups of matrices lose is taken to add up, probe by probe: roundings are independent, so their errors are nearly at right angles, and what is
//! missing from a cosine of 1 is half the square of the error's length. From the smallest types on, the group whose next type saves most loss for
//! its bytes gets that type, which gives a row of mixes, each larger and closer than the one before. The real check says which of them is
//! the first that is close enough; the sums only say where to look.

use edgeclip_model::{Weights, schema::TensorSpec};
use serde::Serialize;

use crate::{
    Error, Options, Progress,
    check::{compare, source_vectors},
    policy::Choice,
    probes::Encoder,
    sensitivity::{Group, Mixed},
};

/// How a mix of types was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MixReport {
    /// The least cosine that every probe of the check had to have.
    pub target_cosine: f64,
    /// Mixes that were checked, of both encoders.
    pub trials: usize,
}

/// A mix that is close by 0.1 per cent of its size to one that does not do is small enough.
const TOLERANCE: f64 = 0.001;
/// Trials that go where the sums point; after that, the middle of what is left.
const POINTED: usize = 3;

/// Sets the types of an encoder's groups in `choices`, which has those of all tensors, so that the check finds every probe at a cosine of at
/// least `required`. Gives the number of trials.
///
/// # Errors
/// [`Error::TargetCosine`] if the largest types do not do; what the check says.
pub(crate) fn choose(
    encoder: &mut Encoder<'_>,
    groups: &[Group],
    specs: &[&TensorSpec],
    choices: &mut [Choice],
    (source, required): (&dyn Weights, f64),
    options: &Options,
    progress: &dyn Progress,
) -> Result<usize, Error> {
    let own: Vec<&Group> = groups.iter().filter(|group| group.tower == encoder.tower()).collect();
    let row = Row::new(&own);
    let wanted = source_vectors(encoder, source)?;
    let (mut first, mut end, mut trials, mut ratio) = (0, row.steps.len(), 0, 1.0);
    let mut found = None;
    let mut reached = (String::new(), -1.0);
    while first <= end {
        let pointed = row.losses.iter().position(|loss| loss * ratio <= 1.0 - required).unwrap_or(row.steps.len());
        let at = if trials < POINTED { pointed.clamp(first, end) } else { first + (end - first) / 2 };
        row.set(at, &own, choices, options);
        progress.begin("trying types", encoder.steps());
        let names = specs.iter().map(|spec| spec.name.as_str());
        let mixed = Mixed { source, choices: names.zip(&*choices).collect(), quantized: true };
        let (probe, cosine) = match compare(encoder, &wanted, &mixed, options) {
            Ok(cosines) => cosines.worst().map_or((String::new(), 1.0), |probe| (probe.input.clone(), probe.cosine)),
            Err(Error::ResultNotFinite { probe, .. }) => (probe, -1.0),
            Err(error) => return Err(error),
        };
        trials += 1;
        ratio = (1.0 - cosine) / row.losses[at].max(f64::MIN_POSITIVE);
        if cosine >= required {
            found = Some(at);
            // All below `first` are too small.
            let saved = row.bytes[at] - row.bytes[first.min(at)];
            if at == first || saved as f64 <= TOLERANCE * row.bytes[at] as f64 {
                break;
            }
            end = at - 1;
        } else {
            first = at + 1;
            reached = (probe, cosine);
        }
    }
    let Some(found) = found else {
        let (path, tower) = (source.path().to_owned(), encoder.tower());
        return Err(Error::TargetCosine { path, tower, probe: reached.0, cosine: reached.1, required });
    };
    row.set(found, &own, choices, options);
    Ok(trials)
}

/// The mixes of an encoder, from the smallest on.
struct Row {
    /// Of every group, the type that it begins with.
    start: Vec<usize>,
    /// A group and its next type.
    steps: Vec<(usize, usize)>,
    /// Before the first step and after each: the sum of losses of the probe that loses most.
    losses: Vec<f64>,
    /// The same of the bytes of the groups.
    bytes: Vec<u64>,
}

impl Row {
    fn new(groups: &[&Group]) -> Self {
        let probes = groups.first().map_or(0, |group| group.candidates[0].losses.len());
        let start: Vec<usize> = groups.iter().map(|group| smallest(group)).collect();
        let mut at = start.clone();
        let mut sums = vec![0f64; probes];
        for (group, &at) in groups.iter().zip(&at) {
            sums.iter_mut().zip(&group.candidates[at].losses).for_each(|(sum, loss)| *sum += loss);
        }
        let mut bytes = groups.iter().zip(&at).map(|(group, &at)| group.candidates[at].bytes).sum::<u64>();
        let mut row = Self { start, steps: Vec::new(), losses: vec![worst(&sums)], bytes: vec![bytes] };
        loop {
            let now = badness(&sums);
            let mut best: Option<(f64, usize, usize)> = None;
            for (index, group) in groups.iter().enumerate() {
                let from = &group.candidates[at[index]];
                for (which, to) in group.candidates.iter().enumerate().filter(|(_, to)| to.bytes > from.bytes) {
                    let then = sums.iter().zip(from.losses.iter().zip(&to.losses)).map(|(sum, (from, to))| sum - from + to);
                    let gain = (now - badness(&then.collect::<Vec<_>>())) / (to.bytes - from.bytes) as f64;
                    if gain > 0.0 && best.is_none_or(|(most, ..)| gain > most) {
                        best = Some((gain, index, which));
                    }
                }
            }
            let Some((_, index, which)) = best else { return row };
            let (from, to) = (&groups[index].candidates[at[index]], &groups[index].candidates[which]);
            sums.iter_mut().zip(from.losses.iter().zip(&to.losses)).for_each(|(sum, (from, to))| *sum += to - from);
            bytes += to.bytes - from.bytes;
            at[index] = which;
            row.steps.push((index, which));
            row.losses.push(worst(&sums));
            row.bytes.push(bytes);
        }
    }

    /// Writes the mix after so many steps into `choices`.
    fn set(&self, steps: usize, groups: &[&Group], choices: &mut [Choice], options: &Options) {
        let mut at = self.start.clone();
        self.steps[..steps].iter().for_each(|&(group, which)| at[group] = which);
        for (group, at) in groups.iter().zip(at) {
            for &tensor in &group.tensors {
                choices[tensor] = Choice::plain(group.candidates[at].format, options);
            }
        }
    }
}

/// The smallest type; of several, the one that loses least.
fn smallest(group: &Group) -> usize {
    let bytes = group.candidates.iter().map(|candidate| candidate.bytes).min();
    let all = group.candidates.iter().enumerate().filter(|(_, candidate)| Some(candidate.bytes) == bytes);
    all.min_by(|(_, a), (_, b)| a.mean().total_cmp(&b.mean())).map_or(0, |(index, _)| index)
}

fn worst(sums: &[f64]) -> f64 {
    sums.iter().copied().fold(0.0, f64::max)
}

/// What is to be made small: the largest sum, with some weight for those just below, because the probe that is worst changes on the way.
fn badness(sums: &[f64]) -> f64 {
    let worst = worst(sums);
    if worst == 0.0 { 0.0 } else { worst * sums.iter().map(|sum| (sum / worst).max(0.0).powi(8)).sum::<f64>().powf(1.0 / 8.0) }
}
