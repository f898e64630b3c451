//! Votes and battles summed up by pair of models.

use std::collections::BTreeMap;

use crate::bradley_terry::PairSum;
use crate::data::{Battle, Dataset};

/// The votes, ties of either kind counted half.
pub(super) fn of_votes(data: &Dataset) -> Vec<PairSum> {
    let sum = |pair: &crate::data::PairVotes| {
        let [won_a, won_b, ties, both_bad] = pair.counts.map(|count| count as f64);
        let half = 0.5 * (ties + both_bad);
        PairSum {
            model_a: usize::from(pair.model_a),
            model_b: usize::from(pair.model_b),
            won_a: won_a + half,
            won_b: won_b + half,
            scale: 1.0,
        }
    };
    data.votes.iter().map(sum).collect()
}

/// The battles of each source, at scale 1.
pub(crate) fn of_battles(data: &Dataset, battles: &[Battle]) -> Vec<Vec<PairSum>> {
    let mut sums: Vec<BTreeMap<(u16, u16), (f64, f64)>> = vec![BTreeMap::new(); data.sources.len()];
    for battle in battles {
        let Some(of_source) = sums.get_mut(usize::from(battle.source)) else { continue };
        let (won_a, won_b) = of_source.entry((battle.model_a, battle.model_b)).or_default();
        let (weight, share) = (f64::from(battle.weight), f64::from(battle.share));
        *won_a += weight * share;
        *won_b += weight * (1.0 - share);
    }
    let pairs = |of_source: BTreeMap<(u16, u16), (f64, f64)>| {
        let pair = |((model_a, model_b), (won_a, won_b))| PairSum {
            model_a: usize::from(model_a),
            model_b: usize::from(model_b),
            won_a,
            won_b,
            scale: 1.0,
        };
        of_source.into_iter().map(pair).collect()
    };
    sums.into_iter().map(pairs).collect()
}
