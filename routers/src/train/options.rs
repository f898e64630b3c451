//! The settings of a training and their defaults, chosen on held-out prompts.

use std::collections::BTreeMap;

use crate::data::{Battle, Dataset};

/// Settings of [`train_mf`](super::train_mf).
#[derive(Debug, Clone, PartialEq)]
pub struct MfOptions {
    /// Seeds the first weights and the order of the prompts.
    pub seed: u64,
    /// Hidden dimensions k.
    pub hidden: usize,
    /// Topics that prompts belong to, beside their embeddings.
    pub topics: usize,
    /// Passes over the training prompts at most; the learning rate falls to zero over them.
    pub epochs_max: usize,
    /// Prompts per step.
    pub batch: usize,
    /// Adam's first learning rate.
    pub learning_rate: f64,
    /// Strength of the penalty on each model's coefficients of the (unit-length) embedding and of the topics, in battles.
    pub ridge: f64,
    /// Strength of the penalty on each model's offset from its global rating, in battles.
    pub offset_ridge: f64,
    /// How far sources are levelled: 0 leaves each its battles' weight, 1 gives all the same weight.
    pub balance: f64,
    /// Further factors for sources by name.
    pub source_weights: BTreeMap<String, f64>,
}

impl Default for MfOptions {
    fn default() -> Self {
        Self {
            seed: 0,
            hidden: 32,
            topics: 64,
            epochs_max: 15,
            batch: 64,
            learning_rate: 3e-3,
            ridge: 50.0,
            offset_ridge: 1.0,
            balance: 0.5,
            source_weights: BTreeMap::new(),
        }
    }
}

/// The weight of each source's battles: its share of all weight to the power of −`balance`, times the factor
/// given for it; scaled so that the total weight stays what it was. So a wide exam table, which makes most of
/// the battles, does not drown the others.
#[must_use]
pub fn balanced_weights(data: &Dataset, battles: &[Battle], options: &MfOptions) -> Vec<f64> {
    let mut totals = vec![0.0; data.sources.len()];
    for battle in battles {
        if let Some(total) = totals.get_mut(usize::from(battle.source)) {
            *total += f64::from(battle.weight);
        }
    }
    let all: f64 = totals.iter().sum();
    let given = |source: &String| options.source_weights.get(source).copied().unwrap_or(1.0);
    let weights: Vec<f64> = data
        .sources
        .iter()
        .zip(&totals)
        .map(
            |(source, total)| {
                if *total > 0.0 { (total / all).powf(-options.balance) * given(source) } else { 0.0 }
            },
        )
        .collect();
    let weighted: f64 = weights.iter().zip(&totals).map(|(weight, total)| weight * total).sum();
    weights.iter().map(|weight| if weighted > 0.0 { weight * all / weighted } else { 0.0 }).collect()
}
