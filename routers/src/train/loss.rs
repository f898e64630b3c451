//! Log-losses of battles, by source.

use faer::Mat;

use super::batch::Batch;
use super::examples::Examples;
use super::parameters::Parameters;
use crate::bradley_terry::log_loss;
use crate::data::Battle;
use crate::ratings::GlobalFit;

/// Prompts scored at a time.
const CHUNK: usize = 256;

/// The mean log-loss of one source's battles.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceLoss {
    /// The source's name.
    pub source: String,
    /// Prompts measured.
    pub prompts: usize,
    /// Natural-log loss per battle of the router, weighted by the battles' weights.
    pub router: f64,
    /// The same of the global ratings.
    pub global: f64,
}

/// The cross-entropy of a battle's share under skills `skill_a`, `skill_b` at a scale.
#[must_use]
pub(crate) fn battle_loss(battle: &Battle, logit: f64) -> f64 {
    let share = f64::from(battle.share);
    share * log_loss(logit) + (1.0 - share) * log_loss(-logit)
}

/// Mean log-losses by source of battles sorted by prompt; `logit` gives the log-odds that the first model wins.
///
/// Returns the sum of losses and of weights for each source, 0 and 0 for one without battles.
pub(super) fn mean_log_losses(
    battles: &[Battle],
    sources: usize,
    mut logit: impl FnMut(&Battle) -> f64,
) -> Vec<(f64, f64)> {
    let mut sums = vec![(0.0, 0.0); sources];
    for battle in battles {
        if let Some((loss, weight)) = sums.get_mut(usize::from(battle.source)) {
            *loss += f64::from(battle.weight) * battle_loss(battle, logit(battle));
            *weight += f64::from(battle.weight);
        }
    }
    sums
}

/// Calls `visit` with each battle and its log-odds under the parameters, before the temperature.
pub(super) fn for_each_logit(
    embeddings: &Mat<f32>,
    examples: &Examples,
    parameters: &Parameters,
    prior: &[f64],
    mut visit: impl FnMut(&Battle, f64),
) {
    let all: Vec<usize> = (0..examples.len()).collect();
    for chosen in all.chunks(CHUNK) {
        let batch = Batch::new(embeddings, examples, chosen);
        let skills = batch.skills(parameters, prior);
        for row in 0..chosen.len() {
            for battle in batch.battles(row) {
                let gap =
                    skills[(row, usize::from(battle.model_a))] - skills[(row, usize::from(battle.model_b))];
                visit(battle, parameters.scale(battle.source) * gap);
            }
        }
    }
}

/// The mean log-loss, each source's battles at its weight.
pub(super) fn weighted_loss(
    embeddings: &Mat<f32>,
    examples: &Examples,
    parameters: &Parameters,
    global: &GlobalFit,
    source_weights: &[f64],
) -> f64 {
    let (mut losses, mut weights) = (0.0, 0.0);
    for_each_logit(embeddings, examples, parameters, &global.skills, |battle, logit| {
        let weight = f64::from(battle.weight) * source_weights[usize::from(battle.source)];
        losses += weight * battle_loss(battle, logit);
        weights += weight;
    });
    losses / weights
}
