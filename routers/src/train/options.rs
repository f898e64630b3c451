//! How the weights of sources are levelled.

use crate::data::{Battle, Dataset};

/// How far sources are levelled: at 0 each has its battles' weight, at 1 all have the same.
const BALANCE: f64 = 0.5;

/// The weight of each source's battles, levelled half-way: a wide exam table, which makes most of the battles, does not
/// drown the others.
#[must_use]
pub fn balanced_weights(data: &Dataset, battles: &[Battle]) -> Vec<f64> {
    let mut totals = vec![0.0; data.sources.len()];
    for battle in battles {
        if let Some(total) = totals.get_mut(usize::from(battle.source)) {
            *total += f64::from(battle.weight);
        }
    }
    levelled(&totals, BALANCE)
}

/// Factors for parts of these sizes: each its share of the whole to the power of −`balance`, scaled so that the total
/// stays what it was; 0 for an empty part.
pub(super) fn levelled(sizes: &[f64], balance: f64) -> Vec<f64> {
    let all: f64 = sizes.iter().sum();
    let factor = |size: &f64| if *size > 0.0 { (size / all).powf(-balance) } else { 0.0 };
    let factors: Vec<f64> = sizes.iter().map(factor).collect();
    let weighted: f64 = factors.iter().zip(sizes).map(|(factor, size)| factor * size).sum();
    factors.iter().map(|factor| if weighted > 0.0 { factor * all / weighted } else { 0.0 }).collect()
}
