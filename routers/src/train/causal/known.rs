//! What held-out prompts say of a head: their battles between models that the decoder was asked about.

use std::collections::{BTreeMap, BTreeSet};

use faer::Mat;
use serde_json::json;

use super::super::temperature::Stake;
use super::super::{balanced_weights, battle_loss};
use super::{Task, meanings};
use crate::causal::Draw;
use crate::data::Battle;
use crate::ratings::GlobalFit;

/// Held-out battles between models that were asked about.
pub(super) struct Known<'a> {
    task: &'a Task<'a>,
    /// z less its level, by prompt and model.
    moves: BTreeMap<(u32, u16), f64>,
    pub(super) battles: Vec<Battle>,
    weights: Vec<f64>,
}

impl<'a> Known<'a> {
    pub(super) fn of(task: &'a Task<'_>, draws: &[Draw], hidden: &[Mat<f32>], levels: &[f32]) -> Self {
        let mut moves = BTreeMap::new();
        for (draw, hidden) in draws.iter().zip(hidden) {
            for (example, z) in draw.examples.iter().zip(meanings(&task.reader, hidden)) {
                let place = task.asked.binary_search(&u32::from(example.model)).unwrap_or_default();
                moves.insert((draw.prompt, example.model), z - f64::from(levels[place]));
            }
        }
        let prompts: BTreeSet<_> =
            draws.iter().map(|draw| task.data.prompts[draw.prompt as usize].hash()).collect();
        let mut battles = task.data.battles(|prompt| prompts.contains(&prompt.hash()));
        battles.retain(|battle| {
            [battle.model_a, battle.model_b].iter().all(|model| moves.contains_key(&(battle.prompt, *model)))
        });
        let weights = balanced_weights(task.data, &battles);
        Self { task, moves, battles, weights }
    }

    pub(super) fn stake(&self, battle: &Battle) -> Stake {
        let source = usize::from(battle.source);
        let GlobalFit { skills, scales, .. } = &self.task.global;
        let moved = |model: u16| self.moves.get(&(battle.prompt, model)).copied().unwrap_or_default();
        let (a, b) = (battle.model_a, battle.model_b);
        Stake {
            weight: self.weights[source] * f64::from(battle.weight),
            share: f64::from(battle.share),
            logit: scales[source] * (skills[usize::from(a)] - skills[usize::from(b)]),
            moved: scales[source] * (moved(a) - moved(b)),
        }
    }

    /// Log-loss by source, and that of the global fit.
    pub(super) fn losses(&self, slope: f64) -> BTreeMap<&str, serde_json::Value> {
        let mut sums: BTreeMap<u16, [f64; 3]> = BTreeMap::new();
        let mut prompts: BTreeMap<u16, BTreeSet<u32>> = BTreeMap::new();
        for battle in &self.battles {
            let Stake { logit, moved, .. } = self.stake(battle);
            let weight = f64::from(battle.weight);
            let [router, global, all] = sums.entry(battle.source).or_default();
            *router += weight * battle_loss(battle, logit + slope * moved);
            *global += weight * battle_loss(battle, logit);
            *all += weight;
            prompts.entry(battle.source).or_default().insert(battle.prompt);
        }
        let told = |(source, [router, global, all]): (u16, [f64; 3])| {
            let name = self.task.data.sources.get(usize::from(source)).map_or("", String::as_str);
            let prompts = prompts.get(&source).map_or(0, BTreeSet::len);
            let measured =
                json!({"prompts": prompts, "log_loss": router / all, "log_loss_of_global_fit": global / all});
            (name, measured)
        };
        sums.into_iter().map(told).collect()
    }
}
