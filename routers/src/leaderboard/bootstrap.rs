//! How far ratings might have come out otherwise: the Bayesian bootstrap (Rubin 1981).
//!
//! Each battle of a resample weighs as much as a draw from the exponential distribution, so n battles of one kind
//! weigh a draw from Gamma(n). Where the classical bootstrap draws a count, which may leave out the one battle that a
//! model lost and with it every finite rating, this leaves out none.

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, Gamma};

use super::rank::Linked;
use super::{Options, RatingError, Votes, fit};
use crate::bradley_terry::FitError;

/// The skills of each group, as [`fit::skills`] has them, of each resample.
pub(super) fn resample(
    votes: &Votes,
    groups: &[Linked],
    skills: &[Vec<f64>],
    options: &Options,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<Vec<Vec<f64>>>, RatingError> {
    let mut random = ChaCha12Rng::seed_from_u64(options.seed);
    let mut resamples = Vec::with_capacity(options.resamples);
    for done in 1..=options.resamples {
        let weights = votes
            .cells()
            .iter()
            .map(|cell| Ok(draw(cell.counts, &mut random)?.map(|weight| cell.weight * weight)))
            .collect::<Result<Vec<_>, FitError>>()?;
        let mut of_groups = Vec::with_capacity(groups.len());
        for (group, skills) in groups.iter().zip(skills) {
            let mut drawn = skills.clone();
            fit::refit_core(group, &group.weighted_pairs(votes, &weights), &mut drawn)?;
            of_groups.push(drawn);
        }
        resamples.push(of_groups);
        progress(done);
    }
    Ok(resamples)
}

/// The weights of so many battles of each kind.
fn draw(counts: [u64; 3], random: &mut ChaCha12Rng) -> Result<[f64; 3], FitError> {
    let mut weights = [0.0; 3];
    for (weight, count) in weights.iter_mut().zip(counts).filter(|(_, count)| *count > 0) {
        let gamma = Gamma::new(count as f64, 1.0).map_err(|_| FitError::Singular)?;
        *weight = gamma.sample(random);
    }
    Ok(weights)
}
