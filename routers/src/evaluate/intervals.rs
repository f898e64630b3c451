//! Confidence intervals of means.

use rand::RngExt;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;

/// Resamples of a bootstrap.
const RESAMPLES: usize = 2000;

/// A mean with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The mean.
    pub mean: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// The mean of weighted sums, resampling prompts with replacement (Efron 1979; percentile interval, seeded). Each
/// prompt is (weight, weight × value); at least one with weight.
pub(super) fn bootstrap(prompts: &[(f64, f64)]) -> Interval {
    let mean_of = |sums: (f64, f64)| sums.1 / sums.0;
    let all = prompts.iter().fold((0.0, 0.0), |sums, prompt| (sums.0 + prompt.0, sums.1 + prompt.1));
    let mut random = ChaCha12Rng::seed_from_u64(0);
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let drawn = (0..prompts.len()).map(|_| prompts[random.random_range(0..prompts.len())]);
            mean_of(drawn.fold((0.0, 0.0), |sums, prompt| (sums.0 + prompt.0, sums.1 + prompt.1)))
        })
        .collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means[((RESAMPLES - 1) as f64 * share).round() as usize];
    Interval { mean: mean_of(all), low: at(0.025), high: at(0.975) }
}
