//! What is known of the models on known prompts: rows of ranks where many models answered a prompt, pairs elsewhere.

use crate::artifact::ArtifactProblem;
use crate::artifact::check::refuse;
use crate::index::Index;

/// The rank of a model that did not answer.
pub const ABSENT: u8 = u8::MAX;
/// What the shares of pairs are parts of: halves, quarters, thirds and sevenths are whole.
pub const SHARE_PARTS: u8 = 252;
/// Sums kept per query, at most: no file can ask for more memory than this.
const SUMS_MAX: usize = 1 << 24;
/// Bounds of a source's scale.
const SCALES: std::ops::RangeInclusive<f32> = 1e-3..=1e3;
/// Bounds of a source's weight.
const WEIGHTS: std::ops::RangeInclusive<f32> = 0.0..=1e6;

/// Known prompts and what is known of the models there. Places are places in the index.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Evidence {
    /// The prompts' embeddings.
    pub index: Index,
    /// Prompts that many models answered.
    pub panels: Vec<Panel>,
    /// The kinds of pairs that `battles` are of.
    pub pairs: Vec<Pair>,
    /// Battles, ascending by prompt.
    pub battles: Vec<LocalBattle>,
    /// How many prompts each cluster holds, clusters one after the other in the index; none when it is scanned whole.
    pub clusters: Vec<u32>,
}

/// Prompts of one source that mostly the same models answered: the pairs of each prompt's k models are battles of
/// weight 2/k.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// How many logits of a label one unit of skill difference is worth.
    pub scale: f32,
    /// What the battles are weighted by.
    pub weight: f32,
    /// The models, ascending.
    pub models: Vec<u32>,
    /// Places of the prompts, ascending.
    pub prompts: Vec<u32>,
    /// For each prompt a row of the models' ranks, equal for a tie, the best highest; [`ABSENT`] for no answer.
    pub ranks: Vec<u8>,
}

/// Two models compared in one source.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// The first model.
    pub model_a: u32,
    /// The second model.
    pub model_b: u32,
    /// How many logits of a label one unit of skill difference is worth.
    pub scale: f32,
    /// What each battle is weighted by.
    pub weight: f32,
}

/// A battle on a known prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LocalBattle {
    /// The prompt's place.
    pub prompt: u32,
    /// The pair's place.
    pub pair: u32,
    /// The first model's share of the win, in parts of [`SHARE_PARTS`].
    pub share: u8,
}

impl Evidence {
    /// Whether everything is in its place, for so many models.
    pub(crate) fn check(&self, models: usize) -> Result<(), ArtifactProblem> {
        let prompts = self.index.len();
        let is_model = |model: u32| (model as usize) < models;
        let ascends =
            |places: &[u32]| places.is_sorted() && places.last().is_none_or(|&p| (p as usize) < prompts);
        let mut sums = self.pairs.len().saturating_mul(2);
        for panel in &self.panels {
            let width = panel.models.len();
            sums = sums.saturating_add((width + 2).saturating_mul(width + super::tally::LANES));
            weighed("panel_scale", panel.scale, panel.weight)?;
            if !panel.models.is_sorted_by(|a, b| a < b) || !panel.models.iter().all(|&model| is_model(model))
            {
                return Err(refuse("panel_models", "names models out of order".to_owned()));
            }
            if !ascends(&panel.prompts) || panel.ranks.len() != panel.prompts.len().saturating_mul(width) {
                return Err(refuse("panel_prompts", "names prompts out of order".to_owned()));
            }
        }
        if sums > SUMS_MAX {
            return Err(refuse("panel_models", format!("asks for {sums} sums, expected {SUMS_MAX} at most")));
        }
        for pair in &self.pairs {
            weighed("pair_scale", pair.scale, pair.weight)?;
            if !is_model(pair.model_a) || !is_model(pair.model_b) || pair.model_a == pair.model_b {
                return Err(refuse("pair_first", "names no pair of models".to_owned()));
            }
        }
        let is_battle =
            |battle: &LocalBattle| (battle.pair as usize) < self.pairs.len() && battle.share <= SHARE_PARTS;
        let order: Vec<u32> = self.battles.iter().map(|battle| battle.prompt).collect();
        if !ascends(&order) || !self.battles.iter().all(is_battle) {
            return Err(refuse("battle_prompts", "names prompts out of order, or no pair".to_owned()));
        }
        let clustered: u64 = self.clusters.iter().map(|&size| u64::from(size)).sum();
        if !self.clusters.is_empty() && (clustered != prompts as u64 || self.clusters.contains(&0)) {
            return Err(refuse("clusters", format!("hold {clustered} prompts, expected {prompts}")));
        }
        Ok(())
    }
}

fn weighed(name: &'static str, scale: f32, weight: f32) -> Result<(), ArtifactProblem> {
    if SCALES.contains(&scale) && WEIGHTS.contains(&weight) {
        return Ok(());
    }
    Err(refuse(name, format!("and the weight beside it are {scale} and {weight}, out of bounds")))
}
