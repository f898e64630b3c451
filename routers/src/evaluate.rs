//! How good a trained router is on prompts that it was not trained on, beside what it has to beat.
//!
//! Prompts are split by hash, several times over with different seeds; every difference is paired by prompt. Must
//! not know of artefacts or files.

mod battles;
mod choices;
mod clusters;
mod frontier;
mod intervals;
mod neighbours;
mod pair;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use faer::Mat;

use crate::data::{Battle, Dataset, Prompt};
use crate::split::{Side, Split};
use crate::train::{DEV_SHARE, Part, TrainError, Trained, battle_loss};

pub use battles::{BattleMeasures, Bin, Fit, PredictedBattle, measure_battles};
pub use choices::{Pool, Strategy};
pub use frontier::{Frontier, Standpoint};
pub use intervals::{Interval, bootstrap, bootstrap_together};
pub use pair::{PairCurve, PairMeasures, PairQuality, measure_pair, measure_random, quality_band};

/// The share of prompts that a seed holds out of training altogether.
pub const TEST_SHARE: f64 = 0.2;

/// What was measured over all seeds.
#[derive(Debug, Clone)]
pub struct Report {
    /// Log-losses of battles, by source.
    pub losses: Vec<LossRow>,
    /// Scores of chosen models, by source of outcomes, pool and strategy.
    pub choices: Vec<ChoiceRow>,
}

/// Battles of one source: the router against the global ratings.
#[derive(Debug, Clone)]
pub struct LossRow {
    /// The source.
    pub source: String,
    /// Distinct prompts held out under any seed.
    pub prompts: usize,
    /// Mean log-loss of the router.
    pub router: f64,
    /// Mean log-loss of the global ratings.
    pub global: f64,
    /// Router less global, paired by prompt; below zero is better.
    pub difference: Interval,
    /// The same difference under each seed.
    pub by_seed: Vec<f64>,
}

/// Scores of the models that a strategy chooses on one source's prompts.
#[derive(Debug, Clone)]
pub struct ChoiceRow {
    /// The source.
    pub source: String,
    /// From which of its models.
    pub pool: Pool,
    /// Who chooses.
    pub strategy: Strategy,
    /// Distinct prompts held out under any seed.
    pub prompts: usize,
    /// Mean score of the chosen models.
    pub score: f64,
    /// Score less that of the best single model, paired by prompt.
    pub gain: Interval,
    /// The same gain under each seed.
    pub by_seed: Vec<f64>,
}

/// Trains a router on the prompts that are told apart, with a seed.
pub type Train<'a> = &'a dyn Fn(&(dyn Fn(&Prompt) -> Part + Sync), u64) -> Result<Trained, TrainError>;

/// Hears of each seed what was trained, and which prompts it was measured on.
pub type Heard<'a> = &'a mut dyn FnMut(&Trained, &dyn Fn(&Prompt) -> bool);

/// Trains and measures once for each seed, on the held-out prompts that are `measured`.
///
/// # Errors
/// When a training fails.
pub fn evaluate(
    data: &Dataset,
    embeddings: &Mat<f32>,
    train: Train<'_>,
    seeds: &[u64],
    measured: &dyn Fn(&Prompt) -> bool,
    progress: Heard<'_>,
) -> Result<Report, TrainError> {
    let mut losses: Vec<Ledger> = vec![Ledger::default(); data.sources.len()];
    let mut choices: BTreeMap<(u16, Pool, Strategy), Ledger> = BTreeMap::new();
    let vectors = embeddings.transpose().to_owned();
    for seed in seeds {
        let split = Split::new(*seed);
        let part = |prompt: &Prompt| part_of(split, prompt);
        let trained = train(&part, *seed)?;
        let test = |prompt: &Prompt| part_of(split, prompt) == Part::Unused && measured(prompt);
        measure_losses(data, &data.battles(test), &trained, &mut losses);
        let setting = choices::Setting {
            data,
            vectors: &vectors,
            is_test: &test,
            skills: &trained.skills,
            prior: &trained.global.skills,
        };
        for chosen in choices::measure(&setting) {
            let ledger = choices.entry((chosen.source, chosen.pool, chosen.strategy)).or_default();
            ledger.add(chosen.prompt, 1.0, chosen.score, chosen.best_single);
        }
        losses.iter_mut().chain(choices.values_mut()).for_each(Ledger::end_seed);
        progress(&trained, &test);
    }
    Ok(Report { losses: loss_rows(data, &losses), choices: choice_rows(data, &choices) })
}

/// Test prompts are left out of the training; of the rest a tenth is for the temperature.
fn part_of(split: Split, prompt: &Prompt) -> Part {
    match split.side(prompt.hash(), TEST_SHARE) {
        Side::Dev => Part::Unused,
        Side::Train => match split.side(prompt.hash(), TEST_SHARE + DEV_SHARE) {
            Side::Dev => Part::Dev,
            Side::Train => Part::Train,
        },
    }
}

fn measure_losses(data: &Dataset, battles: &[Battle], trained: &Trained, ledgers: &mut [Ledger]) {
    let (global, skills) = (&trained.global, &trained.skills);
    for of_prompt in battles.chunk_by(|one, other| (one.prompt, one.source) == (other.prompt, other.source)) {
        let (mut weight, mut router, mut by_global) = (0.0, 0.0, 0.0);
        let Some(first) = of_prompt.first() else { continue };
        let source = usize::from(first.source);
        for battle in of_prompt {
            let (a, b) = (usize::from(battle.model_a), usize::from(battle.model_b));
            let row = battle.prompt as usize;
            let gap = trained.scales[source] * (skills[(row, a)] - skills[(row, b)]);
            let global_gap = global.scales[source] * (global.skills[a] - global.skills[b]);
            weight += f64::from(battle.weight);
            router += f64::from(battle.weight) * battle_loss(battle, gap);
            by_global += f64::from(battle.weight) * battle_loss(battle, global_gap);
        }
        debug_assert!(source < data.sources.len(), "battles name sources of their data");
        ledgers[source].add(first.prompt, weight, router / weight, by_global / weight);
    }
}

/// Pairs of values by prompt, over seeds.
#[derive(Debug, Clone, Default)]
struct Ledger {
    /// Weight, value and the value it is compared with, of each time a prompt was held out.
    prompts: BTreeMap<u32, [f64; 3]>,
    /// The sums of the seed that is running.
    running: [f64; 3],
    by_seed: Vec<f64>,
}

impl Ledger {
    fn add(&mut self, prompt: u32, weight: f64, value: f64, reference: f64) {
        let sums = self.prompts.entry(prompt).or_default();
        for all in [sums, &mut self.running] {
            all[0] += weight;
            all[1] += weight * value;
            all[2] += weight * reference;
        }
    }

    fn end_seed(&mut self) {
        let [weight, value, reference] = std::mem::take(&mut self.running);
        if weight > 0.0 {
            self.by_seed.push((value - reference) / weight);
        }
    }

    /// Means of the values and of what they are compared with.
    fn means(&self) -> (f64, f64) {
        let total = |column: usize| self.prompts.values().map(|sums| sums[column]).sum::<f64>();
        (total(1) / total(0), total(2) / total(0))
    }

    fn difference(&self) -> Interval {
        let pairs: Vec<(f64, f64)> =
            self.prompts.values().map(|[weight, value, reference]| (*weight, value - reference)).collect();
        intervals::bootstrap(&pairs)
    }
}

fn loss_rows(data: &Dataset, ledgers: &[Ledger]) -> Vec<LossRow> {
    let row = |(source, ledger): (&String, &Ledger)| {
        let (router, global) = ledger.means();
        LossRow {
            source: source.clone(),
            prompts: ledger.prompts.len(),
            router,
            global,
            difference: ledger.difference(),
            by_seed: ledger.by_seed.clone(),
        }
    };
    data.sources.iter().zip(ledgers).filter(|(_, ledger)| !ledger.prompts.is_empty()).map(row).collect()
}

fn choice_rows(data: &Dataset, ledgers: &BTreeMap<(u16, Pool, Strategy), Ledger>) -> Vec<ChoiceRow> {
    let row = |((source, pool, strategy), ledger): (&(u16, Pool, Strategy), &Ledger)| ChoiceRow {
        source: data.sources[usize::from(*source)].clone(),
        pool: *pool,
        strategy: *strategy,
        prompts: ledger.prompts.len(),
        score: ledger.means().0,
        gain: ledger.difference(),
        by_seed: ledger.by_seed.clone(),
    };
    ledgers.iter().map(row).collect()
}
