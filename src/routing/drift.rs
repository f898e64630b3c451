//! How far the prompts that come are from those that a route's threshold was solved on.
//!
//! Seen by one number of each: the probability, by the router, that the dearest model beats every cheaper one.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

/// Bins with as many prompts of the sample each.
const BINS: usize = 10;

/// The latest decisions that are looked at.
const WINDOW: usize = 1_000;

/// With fewer of them chance alone would look like drift.
const DECISIONS_MIN: usize = 200;

/// The win rates of a calibration sample, and of the latest decisions.
#[derive(Debug)]
pub struct Drift {
    sample: Arc<Bins>,
    latest: Mutex<Latest>,
}

/// The win rates of a calibration sample, of which most bins have as many.
#[derive(Debug, PartialEq)]
pub struct Bins {
    /// Where one bin ends and the next begins, ascending.
    edges: Vec<f64>,
    /// Prompts of the sample in each bin.
    expected: Vec<u32>,
}

#[derive(Debug, Clone, Default)]
struct Latest {
    /// The bins of the latest decisions, oldest first.
    bins: VecDeque<usize>,
    /// How many are in each.
    counts: Vec<u32>,
}

impl Bins {
    /// Of these win rates; none, where there are too few of them to say anything.
    #[must_use]
    pub fn of(mut sample: Vec<f64>) -> Option<Self> {
        if sample.len() < DECISIONS_MIN {
            return None;
        }
        sample.sort_by(f64::total_cmp);
        let mut edges: Vec<f64> =
            (1..BINS).filter_map(|bin| sample.get(bin * sample.len() / BINS).copied()).collect();
        // Where many are alike there are fewer bins.
        edges.dedup();
        let mut expected = vec![0; edges.len() + 1];
        for win_rate in sample {
            if let Some(count) = expected.get_mut(bin_of(&edges, win_rate)) {
                *count += 1;
            }
        }
        Some(Self { edges, expected })
    }
}

impl Drift {
    /// Against a sample. Nothing was decided yet.
    #[must_use]
    pub fn against(sample: &Arc<Bins>) -> Self {
        let latest = Latest { bins: VecDeque::new(), counts: vec![0; sample.expected.len()] };
        Self { sample: Arc::clone(sample), latest: Mutex::new(latest) }
    }

    /// Goes on from where another one is, if it is against the same sample.
    pub fn go_on_from(&self, other: &Self) {
        if self.sample == other.sample {
            let latest = other.latest.lock().unwrap_or_else(PoisonError::into_inner).clone();
            *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = latest;
        }
    }

    /// A decision was made at this win rate.
    pub fn note(&self, win_rate: f64) {
        let bin = bin_of(&self.sample.edges, win_rate);
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let Latest { bins, counts } = &mut *latest;
        let oldest = if bins.len() < WINDOW { None } else { bins.pop_front() };
        bins.push_back(bin);
        if let Some(count) = oldest.and_then(|oldest| counts.get_mut(oldest)) {
            *count = count.saturating_sub(1);
        }
        if let Some(count) = counts.get_mut(bin) {
            *count += 1;
        }
    }

    /// The population stability index of the latest decisions against the sample, Σ (p − q) ln(p / q) over the bins, where every bin
    /// has half a decision more than was seen in it; none before there are enough.
    ///
    /// By common practice below 0.1 is no drift, and above 0.25 a threshold should be solved anew. Without drift it is about 0.01.
    #[must_use]
    pub fn index(&self) -> Option<f64> {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if latest.bins.len() < DECISIONS_MIN {
            return None;
        }
        let (found, expected) = (shares(&latest.counts), shares(&self.sample.expected));
        Some(found.zip(expected).map(|(found, expected)| (found - expected) * (found / expected).ln()).sum())
    }
}

fn bin_of(edges: &[f64], win_rate: f64) -> usize {
    edges.partition_point(|edge| *edge <= win_rate)
}

fn shares(counts: &[u32]) -> impl Iterator<Item = f64> {
    let smoothed = |count: &u32| f64::from(*count) + 0.5;
    let all: f64 = counts.iter().map(smoothed).sum();
    counts.iter().map(move |count| smoothed(count) / all)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn uniform(from: f64, to: f64, count: u32) -> Vec<f64> {
        (0..count).map(|place| from + (to - from) * (f64::from(place) + 0.5) / f64::from(count)).collect()
    }

    fn index(sample: Vec<f64>, decisions: impl IntoIterator<Item = f64>) -> Option<f64> {
        let drift = Drift::against(&Arc::new(Bins::of(sample).unwrap()));
        decisions.into_iter().for_each(|win_rate| drift.note(win_rate));
        drift.index()
    }

    #[test]
    fn the_same_prompts_are_no_drift_and_others_are() {
        let sample = || uniform(0.2, 0.8, 1_000);
        assert!(index(sample(), uniform(0.2, 0.8, 1_000)).unwrap() < 0.001);
        // All in the upper half: 200 of 1,000 in each of five bins where 100 are expected.
        let upper = [0.53, 0.59, 0.65, 0.71, 0.77].repeat(200);
        let by_hand = index(sample(), upper).unwrap();
        let (empty, bin) = (0.5 / 1005.0, 200.5 / 1005.0);
        let exact = 5.0 * ((empty - 0.1) * (empty / 0.1_f64).ln() + (bin - 0.1) * (bin / 0.1_f64).ln());
        assert!((by_hand - exact).abs() < 1e-9, "{by_hand} {exact}");
        assert!(by_hand > 0.25);
    }

    #[test]
    fn a_reload_forgets_nothing_that_is_against_the_same_sample() {
        let drift = |from| Drift::against(&Arc::new(Bins::of(uniform(from, 1.0, 500)).unwrap()));
        let (before, same, other) = (drift(0.0), drift(0.0), drift(0.5));
        uniform(0.0, 0.3, 300).into_iter().for_each(|win_rate| before.note(win_rate));
        same.go_on_from(&before);
        other.go_on_from(&before);
        assert_eq!((same.index(), other.index()), (before.index(), None));
        assert!(same.index().is_some());
    }

    #[test]
    fn little_says_nothing_and_what_is_long_ago_is_forgotten() {
        assert!(Bins::of(uniform(0.0, 1.0, 199)).is_none());
        assert_eq!(index(uniform(0.0, 1.0, 500), uniform(0.9, 1.0, 199)), None);
        let both = uniform(0.9, 1.0, 700).into_iter().chain(uniform(0.0, 1.0, 1_000));
        assert!(index(uniform(0.0, 1.0, 500), both).unwrap() < 0.001);
    }

    proptest! {
        #[test]
        fn it_is_finite_and_never_below_nothing(
            sample in proptest::collection::vec(0.0..=1.0_f64, 200..400),
            decisions in proptest::collection::vec(prop_oneof![0.0..=1.0_f64, Just(0.5), Just(f64::NAN)], 200..1_500),
        ) {
            let index = index(sample, decisions).unwrap();
            prop_assert!(index.is_finite() && index >= -1e-12, "{index}");
        }

        #[test]
        fn a_sample_of_few_values_has_few_bins(value in 0.0..=1.0_f64, decisions in proptest::collection::vec(0.0..=1.0_f64, 200..300)) {
            prop_assert!(index(vec![value; 300], decisions).unwrap().is_finite());
        }
    }
}
