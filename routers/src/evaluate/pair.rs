//! How well a router divides questions between two models: quality over the share that goes to the strong one.
//!
//! PGR(c) = (quality at share c − weak quality) / (strong quality − weak quality); APGR is its area over all shares, CPT(x)
//! the least share with PGR ≥ x (RouteLLM, arXiv 2406.18665, section 3). Questions of equal scores go to the strong
//! model in an unknown order: the curve shows the expectation, a straight line. Must not know where scores come from.

mod resampling;

use self::resampling::interval;

pub use self::resampling::quality_band;

/// Points of the paper's area: shares 0, 0.1, …, 1.
const PAPER_POINTS: usize = 11;

/// A curve that comes this near to a wanted part of the gap has reached it: qualities are means, and half of a gap of
/// them is seldom a number of the machine.
const REACHED_WITHIN: f64 = 1e-9;

/// What two models reached on one question, in the benchmark's unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairQuality {
    /// Of the strong model.
    pub strong: f64,
    /// Of the weak model.
    pub weak: f64,
}

/// Quality over the share of questions that go to the strong model.
#[derive(Debug, Clone, PartialEq)]
pub struct PairCurve {
    /// (share, mean quality) for 0 to all questions at the strong model, shares ascending.
    pub points: Vec<(f64, f64)>,
}

/// What is read off a curve. `None` where the models are equally good: then there is no gap to recover.
#[derive(Debug, Clone, PartialEq)]
pub struct PairMeasures {
    /// The area under PGR.
    pub apgr: Option<f64>,
    /// Its 95 % interval: percentiles over resampled questions.
    pub apgr_interval: Option<[f64; 2]>,
    /// The same area from eleven points.
    pub apgr_of_paper: Option<f64>,
    /// The least share with half of the gap.
    pub cpt50: Option<f64>,
    /// The least share with 80 % of the gap.
    pub cpt80: Option<f64>,
}

impl PairCurve {
    /// Sends questions to the strong model in the order of falling `scores`, which are numbers, one per question.
    #[must_use]
    pub fn new(scores: &[f64], qualities: &[PairQuality]) -> Self {
        let count = qualities.len().max(1) as f64;
        // Sums, divided at the end: those of right and wrong answers are exact.
        let mut sum: f64 = qualities.iter().map(|of| of.weak).sum();
        let mut points = vec![(0.0, sum / count)];
        for group in groups(scores) {
            let gain: f64 = group.iter().map(|&at| gain(&qualities[at])).sum();
            for place in 1..=group.len() {
                let gained = gain * place as f64 / group.len() as f64;
                points.push((points.len() as f64 / count, (sum + gained) / count));
            }
            sum += gain;
        }
        Self { points }
    }

    /// The curve of a router that knows nothing: a straight line.
    #[must_use]
    pub fn random(qualities: &[PairQuality]) -> Self {
        Self::new(&vec![0.0; qualities.len()], qualities)
    }

    /// The mean quality of the weak model alone.
    #[must_use]
    pub fn weak(&self) -> f64 {
        self.points.first().map_or(0.0, |(_, quality)| *quality)
    }

    /// The mean quality of the strong model alone.
    #[must_use]
    pub fn strong(&self) -> f64 {
        self.points.last().map_or(0.0, |(_, quality)| *quality)
    }

    /// PGR at every point.
    fn recovered(&self) -> Option<Vec<(f64, f64)>> {
        let (weak, gap) = (self.weak(), self.strong() - self.weak());
        // What is left of summing equal qualities in another order is no gap.
        let is_gap = gap.abs() > 1e-12 * self.strong().abs().max(weak.abs());
        is_gap.then(|| self.points.iter().map(|(share, quality)| (*share, (quality - weak) / gap)).collect())
    }

    fn apgr(&self) -> Option<f64> {
        Some(area(&self.recovered()?))
    }

    fn apgr_of_paper(&self) -> Option<f64> {
        let recovered = self.recovered()?;
        let intervals = PAPER_POINTS - 1;
        let at = |point: usize| {
            let share = point as f64 / intervals as f64;
            (share, value_at(&recovered, share))
        };
        Some(area(&(0..PAPER_POINTS).map(at).collect::<Vec<_>>()))
    }

    /// The share at which the curve first reaches this much of the gap, between points on a straight line.
    #[must_use]
    pub fn cpt(&self, wanted: f64) -> Option<f64> {
        let recovered = self.recovered()?;
        let is_reached = |part: f64| part >= wanted - REACHED_WITHIN;
        let crossing = recovered.windows(2).find(|pair| is_reached(pair[1].1))?;
        let ((share, below), (next, above)) = (crossing[0], crossing[1]);
        if is_reached(below) {
            return Some(share);
        }
        // A point that was reached but for rounding is no further off than itself.
        let way = ((wanted - below) / (above - below)).min(1.0);
        Some(share + (next - share) * way)
    }
}

/// Measures a router on questions, by the scores that it gives the strong model.
#[must_use]
pub fn measure_pair(scores: &[f64], qualities: &[PairQuality]) -> PairMeasures {
    let curve = PairCurve::new(scores, qualities);
    PairMeasures { apgr_interval: interval(scores, qualities), ..measures(&curve) }
}

/// What is known of a router that decides by lot, without any sampling: its curve is a straight line.
#[must_use]
pub fn measure_random(qualities: &[PairQuality]) -> PairMeasures {
    let is_gap = PairCurve::random(qualities).recovered().is_some();
    let known = |value: f64| is_gap.then_some(value);
    PairMeasures {
        apgr: known(0.5),
        apgr_interval: is_gap.then_some([0.5; 2]),
        apgr_of_paper: known(0.5),
        cpt50: known(0.5),
        cpt80: known(0.8),
    }
}

fn measures(curve: &PairCurve) -> PairMeasures {
    PairMeasures {
        apgr: curve.apgr(),
        apgr_interval: None,
        apgr_of_paper: curve.apgr_of_paper(),
        cpt50: curve.cpt(0.5),
        cpt80: curve.cpt(0.8),
    }
}

fn gain(quality: &PairQuality) -> f64 {
    quality.strong - quality.weak
}

/// Questions by falling score, those of one score together, in the order of the questions.
fn groups(scores: &[f64]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&one, &other| scores[other].total_cmp(&scores[one]));
    order
        .chunk_by(|&one, &other| scores[one].total_cmp(&scores[other]).is_eq())
        .map(<[usize]>::to_vec)
        .collect()
}

/// The area under straight lines between points.
pub(super) fn area(points: &[(f64, f64)]) -> f64 {
    points.windows(2).map(|pair| (pair[1].0 - pair[0].0) * f64::midpoint(pair[0].1, pair[1].1)).sum()
}

/// The height of straight lines between points of ascending places; level outside of them.
pub(super) fn value_at(points: &[(f64, f64)], place: f64) -> f64 {
    let next = points.partition_point(|(at, _)| *at < place);
    let before = next.checked_sub(1).and_then(|previous| points.get(previous));
    match (before, points.get(next)) {
        (Some(&(from, low)), Some(&(to, high))) => low + (high - low) * (place - from) / (to - from),
        (None, Some(&(_, value))) | (Some(&(_, value)), None) => value,
        (None, None) => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::RngExt;
    use rand_chacha::ChaCha12Rng;
    use rand_chacha::rand_core::SeedableRng;

    fn qualities(pairs: &[(f64, f64)]) -> Vec<PairQuality> {
        pairs.iter().map(|&(strong, weak)| PairQuality { strong, weak }).collect()
    }

    #[test]
    fn a_small_case_by_hand() {
        // Gains 1, 0, −1, 1: quality from 0.5 to 0.75.
        let of = qualities(&[(1.0, 0.0), (1.0, 1.0), (0.0, 1.0), (1.0, 0.0)]);
        let curve = PairCurve::new(&[0.9, 0.8, 0.1, 0.7], &of);
        let expected = [(0.0, 0.5), (0.25, 0.75), (0.5, 0.75), (0.75, 1.0), (1.0, 0.75)];
        assert_eq!(curve.points, expected);
        // PGR: 0, 1, 1, 2, 1.
        let measured = measure_pair(&[0.9, 0.8, 0.1, 0.7], &of);
        assert_eq!(measured.apgr, Some(0.25 * (0.5 + 1.0 + 1.5 + 1.5)));
        assert_eq!((measured.cpt50, measured.cpt80), (Some(0.125), Some(0.2)));
        // At tenths: 0, .4, .8, 1, 1, 1, 1.4, 1.8, 1.8, 1.4, 1.
        let paper = 0.1 * (0.4 + 0.8 + 1.0 + 1.0 + 1.0 + 1.4 + 1.8 + 1.8 + 1.4 + 0.5);
        assert!((measured.apgr_of_paper.unwrap() - paper).abs() < 1e-12);
    }

    #[test]
    fn ties_are_broken_by_expectation() {
        let of = qualities(&[(1.0, 0.0), (1.0, 1.0), (0.0, 1.0), (1.0, 0.0)]);
        let all_tied = measure_pair(&[0.5; 4], &of);
        assert_eq!((all_tied.apgr, all_tied.cpt50, all_tied.cpt80), (Some(0.5), Some(0.5), Some(0.8)));
        assert_eq!(measure_random(&of).apgr_interval, Some([0.5, 0.5]));
        // The first two tied: their mean gain of a half, whichever comes first in the file.
        let one = PairCurve::new(&[0.9, 0.9, 0.1, 0.2], &of);
        let mut swapped = of;
        swapped.swap(0, 1);
        assert_eq!(one, PairCurve::new(&[0.9, 0.9, 0.1, 0.2], &swapped));
        assert!((one.points[1].1 - 0.625).abs() < 1e-12);
    }

    #[test]
    fn equal_models_leave_no_gap() {
        let measured = measure_pair(&[0.1, 0.2], &qualities(&[(1.0, 0.0), (0.0, 1.0)]));
        assert_eq!((measured.apgr, measured.cpt50, measured.apgr_of_paper), (None, None, None));
        assert_eq!(measure_pair(&[], &[]).apgr, None);
    }

    #[test]
    fn a_curve_that_dips_counts_its_first_crossing() {
        // PGR 0, 1, 0, 1: reaches a half on the first step, and again on the last.
        let of = qualities(&[(1.0, 0.0), (0.0, 1.0), (1.0, 0.0)]);
        let measured = measure_pair(&[3.0, 2.0, 1.0], &of);
        assert!((measured.cpt50.unwrap() - 1.0 / 6.0).abs() < 1e-12);
    }

    proptest! {
        /// The weak model called strong, and every score turned round: what was recovered is what is left.
        #[test]
        fn exchanged_models_add_up_to_one(
            rows in prop::collection::vec((0_u8..5, 0_u8..5, 0_u8..6), 1..40),
        ) {
            let of: Vec<_> = rows.iter().map(|row| (f64::from(row.0), f64::from(row.1))).collect();
            let scores: Vec<f64> = rows.iter().map(|row| f64::from(row.2)).collect();
            let turned: Vec<f64> = scores.iter().map(|score| -score).collect();
            let exchanged: Vec<_> = of.iter().map(|&(strong, weak)| (weak, strong)).collect();
            let one = measure_pair(&scores, &qualities(&of)).apgr;
            let other = measure_pair(&turned, &qualities(&exchanged)).apgr;
            match (one, other) {
                (Some(one), Some(other)) => prop_assert!((one + other - 1.0).abs() < 1e-9, "{} {}", one, other),
                (one, other) => prop_assert_eq!(one, other),
            }
        }

        /// Half of the gap of 6 is reached by the first gain, exactly: how many questions say nothing, before it or
        /// after, moves the place and not what is counted as a hit.
        #[test]
        fn an_exact_hit_counts_however_many_questions_say_nothing(
            before in 0_usize..40, after in 0_usize..40, strong in prop::sample::select(vec![3.0, 7.3, 9.1]),
        ) {
            let gains = [3.0, 0.0, 0.0, -2.0, 5.0].map(|gain| (strong, strong - gain));
            let both_right = |count| std::iter::repeat_n((1.0, 1.0), count);
            let of: Vec<_> = both_right(before).chain(gains).chain(both_right(after)).collect();
            let scores: Vec<f64> = (0..of.len()).map(|place| -(place as f64)).collect();
            let cpt50 = measure_pair(&scores, &qualities(&of)).cpt50.unwrap();
            let place = cpt50 * of.len() as f64;
            prop_assert!((place - (before + 1) as f64).abs() < 1e-6, "{} questions before: {}", before, place);
        }

        /// The interval holds what it is of, when there are questions enough.
        #[test]
        fn the_interval_holds_the_value(seed in 0_u64..50) {
            let mut random = ChaCha12Rng::seed_from_u64(seed);
            let scores: Vec<f64> = (0..300).map(|_| random.random_range(0.0..1.0)).collect();
            let of = scores.iter().map(|score| {
                PairQuality { strong: f64::from(random.random_range(0.0..1.0) < 0.5 + 0.4 * score), weak: 0.2 }
            });
            let measured = measure_pair(&scores, &of.collect::<Vec<_>>());
            let ([low, high], apgr) = (measured.apgr_interval.unwrap(), measured.apgr.unwrap());
            prop_assert!(low < apgr && apgr < high && high - low < 0.3, "{} {} {}", low, apgr, high);
        }
    }
}
