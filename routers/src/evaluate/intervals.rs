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
/// prompt is (weight, weight × value); not a number without any weight.
#[must_use]
pub fn bootstrap(prompts: &[(f64, f64)]) -> Interval {
    let mean_of = |sums: (f64, f64)| sums.1 / sums.0;
    let all = prompts.iter().fold((0.0, 0.0), |sums, prompt| (sums.0 + prompt.0, sums.1 + prompt.1));
    if prompts.is_empty() {
        return Interval { mean: f64::NAN, low: f64::NAN, high: f64::NAN };
    }
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

/// As [`bootstrap`], of several values of the same prompts, each of one weight: the same draws serve all. Every column
/// has a value per prompt.
#[must_use]
pub fn bootstrap_together(columns: &[Vec<f64>]) -> Vec<Interval> {
    let count = columns.first().map_or(0, Vec::len);
    if count == 0 {
        return vec![Interval { mean: f64::NAN, low: f64::NAN, high: f64::NAN }; columns.len()];
    }
    let mut random = ChaCha12Rng::seed_from_u64(0);
    let mut means: Vec<Vec<f64>> = vec![Vec::new(); columns.len()];
    let mut drawn = vec![0.0; count];
    for _ in 0..RESAMPLES {
        drawn.fill(0.0);
        for _ in 0..count {
            drawn[random.random_range(0..count)] += 1.0 / count as f64;
        }
        for (means, column) in means.iter_mut().zip(columns) {
            means.push(column.iter().zip(&drawn).map(|(value, share)| value * share).sum());
        }
    }
    let interval = |(means, column): (&mut Vec<f64>, &Vec<f64>)| {
        means.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| means[((RESAMPLES - 1) as f64 * share).round() as usize];
        Interval { mean: column.iter().sum::<f64>() / count as f64, low: at(0.025), high: at(0.975) }
    };
    means.iter_mut().zip(columns).map(interval).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_drawn_together_have_the_intervals_that_they_have_alone() {
        let column = |period: u32| (0..300).map(|at| f64::from(at % period)).collect::<Vec<f64>>();
        let columns = [column(2), column(5)];
        for (column, together) in columns.iter().zip(bootstrap_together(&columns)) {
            let alone = bootstrap(&column.iter().map(|value| (1.0, *value)).collect::<Vec<_>>());
            let pairs = [(alone.mean, together.mean), (alone.low, together.low), (alone.high, together.high)];
            assert!(pairs.iter().all(|(one, other)| (one - other).abs() < 1e-9), "{alone:?} {together:?}");
        }
        assert!(bootstrap_together(&[Vec::new()])[0].mean.is_nan());
    }
}
