//! The smallest mix of types whose vectors are close enough.
//!
//! What groups of matrices lose is taken to add up, probe by probe: roundings are independent, so their errors are nearly at right angles, and
//! what is missing from a cosine of 1 is half the square of the error's length. From the smallest types on, the group whose next type saves
//! most loss for its bytes gets that type, which gives a row of mixes, each larger and closer than the one before. The real check says which
//! of them is the first that is close enough; the sums only say where to look.

use std::iter;

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

/// A thousandth of the size is not worth another trial.
const TOLERANCE: f64 = 0.001;
/// Trials that go where the sums point; after that, the middle of what is left.
const POINTED: usize = 3;
/// Of what is left of the loss that is allowed, how much the last trials spend on smaller types.
const SPENT: [f64; 3] = [0.9, 0.6, 0.3];

/// Sets the types of an encoder's groups in `choices`, which has those of all tensors, so that the check finds every probe at a cosine of at
/// least `required` to `source`. Gives the number of trials.
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
    let groups: Vec<&Group> = groups.iter().filter(|group| group.tower == encoder.tower()).collect();
    progress.begin("trying types", encoder.steps());
    let wanted = source_vectors(encoder, source)?;
    let mut trials = 0;
    // The probe that is furthest off, and its cosine.
    let mut check = |mix: &Mix, choices: &mut [Choice]| {
        trials += 1;
        mix.write(&groups, choices, options);
        progress.begin("trying types", encoder.steps());
        let names = specs.iter().map(|spec| spec.name.as_str());
        let mixed = Mixed { source, choices: names.zip(&*choices).collect(), quantized: true };
        match compare(encoder, &wanted, &mixed, options) {
            Ok(cosines) => Ok(cosines.worst().map_or((String::new(), 1.0), |probe| (probe.input.clone(), probe.cosine))),
            Err(Error::ResultNotFinite { probe, .. }) => Ok((probe, -1.0)),
            Err(error) => Err(error),
        }
    };

    let row: Vec<Mix> = iter::successors(Some(Mix::smallest(&groups)), |mix| mix.larger(&groups)).collect();
    let (allowed, last) = (1.0 - required, row.len() - 1);
    // All mixes before `first` are too small, and `found` is the one at `end + 1`.
    let (mut first, mut end, mut ratio) = (0, last, 1.0);
    let mut found: Option<(Mix, f64)> = None;
    for trial in 0.. {
        let pointed = row.iter().position(|mix| mix.worst() * ratio <= allowed).unwrap_or(last);
        let at = if trial < POINTED { pointed.clamp(first, end) } else { first + (end - first) / 2 };
        let mix = &row[at];
        let (probe, cosine) = check(mix, choices)?;
        ratio = (1.0 - cosine) / mix.worst().max(f64::MIN_POSITIVE);
        if cosine >= required {
            found = Some((mix.clone(), cosine));
            if at == first || (mix.bytes - row[first].bytes) as f64 <= TOLERANCE * mix.bytes as f64 {
                break;
            }
            end = at - 1;
        } else if at == last {
            let (path, tower) = (source.path().to_owned(), encoder.tower());
            return Err(Error::TargetCosine { path, tower, probe, cosine, required });
        } else {
            first = at + 1;
            if first > end {
                break;
            }
        }
    }
    let Some((mut mix, mut cosine)) = found else { unreachable!("the last mix was found or refused") };

    // The last step may have been a large one, so that others were not needed.
    for spent in SPENT {
        let limit = mix.worst() * (1.0 + spent * ((allowed / (1.0 - cosine).max(f64::MIN_POSITIVE)).min(1e3) - 1.0));
        let smaller = mix.trimmed(&groups, limit);
        if ((mix.bytes - smaller.bytes) as f64) <= TOLERANCE * mix.bytes as f64 {
            continue;
        }
        let (_, reached) = check(&smaller, choices)?;
        if reached >= required {
            (mix, cosine) = (smaller, reached);
        }
    }
    mix.write(&groups, choices, options);
    Ok(trials)
}

/// A type for every group of an encoder.
#[derive(Clone)]
struct Mix {
    /// Of every group, which of its candidates.
    types: Vec<usize>,
    /// Bytes of the groups.
    bytes: u64,
    /// What the groups lose, by probe.
    losses: Vec<f64>,
}

impl Mix {
    /// Every group in its smallest type; of several, in the one that loses least.
    fn smallest(groups: &[&Group]) -> Self {
        let smallest = |group: &&Group| {
            let candidates = group.candidates.iter().enumerate();
            let least = candidates.min_by(|(_, a), (_, b)| a.bytes.cmp(&b.bytes).then(a.mean().total_cmp(&b.mean())));
            least.map_or(0, |(which, _)| which)
        };
        let types: Vec<usize> = groups.iter().map(smallest).collect();
        let chosen = || groups.iter().zip(&types).map(|(group, &which)| &group.candidates[which]);
        let mut losses = vec![0f64; groups.first().map_or(0, |group| group.candidates[0].losses.len())];
        chosen().for_each(|candidate| losses.iter_mut().zip(&candidate.losses).for_each(|(sum, loss)| *sum += loss));
        Self { bytes: chosen().map(|candidate| candidate.bytes).sum(), losses, types }
    }

    /// The same but for one group.
    fn with(&self, groups: &[&Group], group: usize, which: usize) -> Self {
        let (from, to) = (&groups[group].candidates[self.types[group]], &groups[group].candidates[which]);
        let mut mix = self.clone();
        mix.types[group] = which;
        mix.bytes = mix.bytes - from.bytes + to.bytes;
        mix.losses.iter_mut().zip(from.losses.iter().zip(&to.losses)).for_each(|(sum, (from, to))| *sum += to - from);
        mix
    }

    /// All that differ in one group.
    fn neighbours<'a>(&'a self, groups: &'a [&Group]) -> impl Iterator<Item = Self> + 'a {
        let all = groups.iter().enumerate().flat_map(|(group, of)| (0..of.candidates.len()).map(move |which| (group, which)));
        all.map(|(group, which)| self.with(groups, group, which))
    }

    /// The next larger type for the group that gains most by the byte; `None` if no larger type gains anything.
    fn larger(&self, groups: &[&Group]) -> Option<Self> {
        let now = self.badness();
        let larger = self.neighbours(groups).filter(|mix| mix.bytes > self.bytes);
        let gains = larger.map(|mix| ((now - mix.badness()) / (mix.bytes - self.bytes) as f64, mix));
        first_largest(gains.filter(|(gain, _)| *gain > 0.0))
    }

    /// With smaller types, those first that cost least by the byte, as long as no probe loses more than `limit`.
    fn trimmed(&self, groups: &[&Group], limit: f64) -> Self {
        let smaller = |mix: &Self| {
            let now = mix.badness();
            let smaller = mix.neighbours(groups).filter(|other| other.bytes < mix.bytes && other.worst() <= limit);
            let saved =
                smaller.map(|other| ((mix.bytes - other.bytes) as f64 / (other.badness() - now).max(f64::MIN_POSITIVE), other));
            first_largest(saved)
        };
        iter::successors(Some(self.clone()), smaller).last().unwrap_or_else(|| self.clone())
    }

    /// Of the probe that loses most.
    fn worst(&self) -> f64 {
        self.losses.iter().copied().fold(0.0, f64::max)
    }

    /// What is to be made small: the largest loss, with some weight for those just below, because the probe that is worst changes on the way.
    fn badness(&self) -> f64 {
        let worst = self.worst();
        let sum: f64 = self.losses.iter().map(|loss| (loss / worst).max(0.0).powi(8)).sum();
        if worst > 0.0 { worst * sum.powf(1.0 / 8.0) } else { 0.0 }
    }

    fn write(&self, groups: &[&Group], choices: &mut [Choice], options: &Options) {
        for (group, &which) in groups.iter().zip(&self.types) {
            for &tensor in &group.tensors {
                choices[tensor] = Choice::plain(group.candidates[which].format, options);
            }
        }
    }
}

/// The first of those with the largest number.
fn first_largest(mixes: impl Iterator<Item = (f64, Mix)>) -> Option<Mix> {
    mixes.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, mix)| mix)
}

#[cfg(test)]
mod tests {
    use edgeclip_model::Format;

    use super::*;
    use crate::sensitivity::Candidate;

    fn group(candidates: &[(Format, u64, [f64; 2])]) -> Group {
        let candidate = |&(format, bytes, losses): &(Format, u64, [f64; 2])| Candidate { format, bytes, losses: losses.to_vec() };
        Group::of_candidates(candidates.iter().map(candidate).collect())
    }

    fn groups() -> [Group; 2] {
        [
            group(&[
                (Format::Q4_0, 45, [9e-4, 3e-4]),
                (Format::Q4K, 45, [8e-4, 3e-4]),
                (Format::Q5_1, 60, [9e-4, 9e-4]),
                (Format::Q8_0, 85, [1e-5, 1e-5]),
            ]),
            group(&[(Format::Q4K, 450, [1e-4, 4e-4]), (Format::Q8_0, 850, [1e-5, 1e-5])]),
        ]
    }

    #[test]
    fn the_dearest_byte_is_bought_first() {
        let groups = groups();
        let groups: Vec<&Group> = groups.iter().collect();
        let row: Vec<Mix> = iter::successors(Some(Mix::smallest(&groups)), |mix| mix.larger(&groups)).collect();
        let types: Vec<&[usize]> = row.iter().map(|mix| &*mix.types).collect();
        // Of two types of one size the closer, never one that is larger and no closer, and the small matrix with the large loss first.
        assert_eq!(types, [&[1, 0][..], &[3, 0], &[3, 1]]);
        assert_eq!(row.iter().map(|mix| mix.bytes).collect::<Vec<_>>(), [495, 535, 935]);
        for (mix, worst) in row.iter().zip([9e-4, 4.1e-4, 2e-5]) {
            assert!((mix.worst() - worst).abs() < 1e-12, "{}", mix.worst());
        }
    }

    #[test]
    fn what_was_not_needed_is_taken_back() {
        let groups = groups();
        let groups: Vec<&Group> = groups.iter().collect();
        let all = Mix::smallest(&groups).with(&groups, 0, 3).with(&groups, 1, 1);
        assert_eq!(all.trimmed(&groups, 1e-5).types, [3, 1]);
        assert_eq!(all.trimmed(&groups, 5e-4).types, [3, 0]);
        assert_eq!(all.trimmed(&groups, 1e-3).types, [1, 0]);
    }

    #[test]
    fn types_go_to_all_tensors_of_a_group() {
        let [mut both, _] = groups();
        both.tensors = vec![0, 2];
        let options = Options::default();
        let mut choices = vec![Choice::plain(Format::F32, &options); 3];
        Mix::smallest(&[&both]).write(&[&both], &mut choices, &options);
        assert_eq!(choices.iter().map(|choice| choice.format).collect::<Vec<_>>(), [Format::Q4K, Format::F32, Format::Q4K]);
    }
}
