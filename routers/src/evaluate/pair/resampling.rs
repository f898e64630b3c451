//! What resampling questions says of a router: percentiles over draws with replacement (Efron 1979), seed 0.

use rand::RngExt;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;

use super::{PairQuality, area, gain, groups, value_at};

/// Resamples of the intervals.
const RESAMPLES: usize = 1000;
/// Steps between the shares of a band.
const BAND_STEPS: usize = 50;

/// The 95 % interval of APGR; `None` without a gap in any resample.
pub(super) fn interval(scores: &[f64], qualities: &[PairQuality]) -> Option<[f64; 2]> {
    let groups = groups(scores);
    let mut areas: Vec<f64> = Vec::with_capacity(RESAMPLES);
    resample(qualities.len(), &mut |drawn| {
        let points = gained(&groups, drawn, qualities);
        let whole = points.last().map_or(0.0, |(_, gained)| *gained);
        if whole.abs() > 1e-9 {
            areas.push(area(&points) / whole);
        }
    });
    bounds(&mut areas)
}

/// 95 % intervals of the mean quality at evenly spaced shares of the strong model, each (share, low, high).
#[must_use]
pub fn quality_band(scores: &[f64], qualities: &[PairQuality]) -> Vec<(f64, f64, f64)> {
    let groups = groups(scores);
    let count = qualities.len().max(1) as f64;
    let mut found: Vec<Vec<f64>> = vec![Vec::new(); BAND_STEPS + 1];
    resample(qualities.len(), &mut |drawn| {
        let points = gained(&groups, drawn, qualities);
        let weak: f64 = drawn.iter().zip(qualities).map(|(times, of)| f64::from(*times) * of.weak).sum();
        for (step, found) in found.iter_mut().enumerate() {
            found.push((weak + value_at(&points, share_of(step))) / count);
        }
    });
    let at = |(step, found): (usize, &mut Vec<f64>)| {
        let [low, high] = bounds(found)?;
        Some((share_of(step), low, high))
    };
    found.iter_mut().enumerate().filter_map(at).collect()
}

fn share_of(step: usize) -> f64 {
    step as f64 / BAND_STEPS as f64
}

/// Draws questions, as many as there are, a thousand times over; `each` is told how often each one was drawn.
fn resample(count: usize, each: &mut dyn FnMut(&[u32])) {
    if count == 0 {
        return;
    }
    let mut random = ChaCha12Rng::seed_from_u64(0);
    let mut drawn = vec![0_u32; count];
    for _ in 0..RESAMPLES {
        drawn.fill(0);
        for _ in 0..count {
            drawn[random.random_range(0..count)] += 1;
        }
        each(&drawn);
    }
}

/// (share, summed gain over the weak model) of questions that each occur as often as they were drawn.
fn gained(groups: &[Vec<usize>], drawn: &[u32], qualities: &[PairQuality]) -> Vec<(f64, f64)> {
    // Numbers of questions, so that the last share is exactly one.
    let (mut number, mut sum, mut points) = (0_u64, 0.0, vec![(0.0, 0.0)]);
    let count = drawn.len() as f64;
    for group in groups {
        for &at in group {
            number += u64::from(drawn[at]);
            sum += f64::from(drawn[at]) * gain(&qualities[at]);
        }
        points.push((number as f64 / count, sum));
    }
    points
}

/// The 2.5th and the 97.5th percentile.
fn bounds(values: &mut [f64]) -> Option<[f64; 2]> {
    values.sort_unstable_by(f64::total_cmp);
    let last = values.len().checked_sub(1)? as f64;
    let at = |share: f64| values.get((last * share).round() as usize).copied();
    Some([at(0.025)?, at(0.975)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_band_holds_the_curve_and_ends_at_the_single_models() {
        let qualities: Vec<PairQuality> = (0..200)
            .map(|number| PairQuality {
                strong: f64::from(number % 4 != 0),
                weak: f64::from(number % 3 == 0),
            })
            .collect();
        let scores: Vec<f64> = (0..200).map(|number| f64::from(number % 7)).collect();
        let band = quality_band(&scores, &qualities);
        let curve = super::super::PairCurve::new(&scores, &qualities);
        assert_eq!(band.len(), BAND_STEPS + 1);
        for (share, low, high) in &band {
            let quality = value_at(&curve.points, *share);
            assert!(low < &quality && &quality < high, "{share}: {low} {quality} {high}");
        }
        // Of 200 questions, 0.25 ± 0.06 of the strong model's are wrong.
        let (_, low, high) = band[BAND_STEPS];
        assert!((low - 0.69).abs() < 0.02 && (high - 0.81).abs() < 0.02, "{low} {high}");
        assert!(quality_band(&[], &[]).is_empty());
    }
}
