//! Log-losses of battles, by source.

use std::collections::BTreeSet;

use faer::Mat;

use crate::bradley_terry::log_loss;
use crate::data::{Battle, Dataset};
use crate::ratings::GlobalFit;

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

/// The cross-entropy of a battle's share under the log-odds that its first model wins.
#[must_use]
pub(crate) fn battle_loss(battle: &Battle, logit: f64) -> f64 {
    let share = f64::from(battle.share);
    share * log_loss(logit) + (1.0 - share) * log_loss(-logit)
}

/// The losses of `skills`, a row for each prompt of the data, at the router's own scales, and those of the global fit; of
/// each source that has battles here.
pub(super) fn losses(
    data: &Dataset,
    battles: &[Battle],
    skills: &Mat<f64>,
    scales: &[f64],
    global: &GlobalFit,
) -> Vec<SourceLoss> {
    let of_source = |(number, source): (usize, &String)| {
        let own = || battles.iter().filter(move |battle| usize::from(battle.source) == number);
        let (mut router, mut by_global, mut weight) = (0.0, 0.0, 0.0);
        for battle in own() {
            let (a, b) = (usize::from(battle.model_a), usize::from(battle.model_b));
            let row = battle.prompt as usize;
            let gap = skills[(row, a)] - skills[(row, b)];
            let global_gap = global.skills[a] - global.skills[b];
            router += f64::from(battle.weight) * battle_loss(battle, scales[number] * gap);
            by_global += f64::from(battle.weight) * battle_loss(battle, global.scales[number] * global_gap);
            weight += f64::from(battle.weight);
        }
        let prompts = own().map(|battle| battle.prompt).collect::<BTreeSet<_>>().len();
        let (router, global) = (router / weight, by_global / weight);
        (prompts > 0).then(|| SourceLoss { source: source.clone(), prompts, router, global })
    };
    data.sources.iter().enumerate().filter_map(of_source).collect()
}
