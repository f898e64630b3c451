//! Battles grouped by prompt: a prompt is what is shuffled, batched and split.

use std::ops::Range;

use crate::data::Battle;

/// The battles of some prompts.
#[derive(Debug, Default)]
pub(super) struct Examples {
    /// Ascending by prompt.
    pub(super) battles: Vec<Battle>,
    /// Each prompt's battles.
    prompts: Vec<Range<usize>>,
}

impl Examples {
    /// Groups battles that are sorted by prompt.
    pub(super) fn new(battles: Vec<Battle>) -> Self {
        let mut prompts = Vec::new();
        let mut start = 0;
        for of_prompt in battles.chunk_by(|one, other| one.prompt == other.prompt) {
            prompts.push(start..start + of_prompt.len());
            start += of_prompt.len();
        }
        Self { battles, prompts }
    }

    pub(super) fn len(&self) -> usize {
        self.prompts.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.prompts.is_empty()
    }

    /// The battles of one of the prompts, at least one.
    pub(super) fn of(&self, example: usize) -> &[Battle] {
        &self.battles[self.prompts[example].clone()]
    }

    /// The sum of all battles' weights, each source's at its weight.
    pub(super) fn total_weight(&self, source_weights: &[f64]) -> f64 {
        let weight = |battle: &Battle| f64::from(battle.weight) * source_weights[usize::from(battle.source)];
        self.battles.iter().map(weight).sum()
    }
}
