//! Held-out prompts decide: the settings of a router that fits at the prompt, its temperature, and what is measured.

use std::collections::BTreeMap;
use std::sync::Arc;

use faer::Mat;
use serde_json::json;

use super::super::evidence::{SourceTerms, gather};
use super::super::{DEV_SHARE, Origin, TrainError, balanced_weights, battle_loss, sample};
use super::RIDGES;
use crate::artifact::{Anchor, Artifact, Body, CalibrationSample, Provenance, Ratings};
use crate::bradley_terry::{maximum, sigmoid};
use crate::data::{Battle, Dataset, Prompt};
use crate::local::{Evidence, Kernel, LocalFit, LocalWeights};
use crate::ratings::{GlobalFit, fit_global};
use crate::split::{Side, Split};

/// Held-out prompts of each source that settings are compared on.
const COMPARED: usize = 100;
/// Bounds of the temperature.
const TEMPERATURES: (f64, f64) = (0.2, 2.0);

/// What all three are trained on.
pub(super) struct Task<'a> {
    data: &'a Dataset,
    embeddings: &'a Mat<f32>,
    seed: u64,
    pub(super) global: GlobalFit,
    weights: Vec<f64>,
    /// Of the held-out prompts, sorted by prompt.
    dev: Vec<Battle>,
}

/// What was found on the held-out prompts.
pub(super) struct Measured {
    pub(super) temperature: f64,
    losses: BTreeMap<String, serde_json::Value>,
}

impl<'a> Task<'a> {
    pub(super) fn new(data: &'a Dataset, embeddings: &'a Mat<f32>, seed: u64) -> Result<Self, TrainError> {
        if embeddings.nrows() != data.prompts.len() {
            return Err(TrainError::Embeddings { prompts: data.prompts.len(), rows: embeddings.nrows() });
        }
        let train = data.battles(|prompt| is_train(seed, prompt));
        if train.is_empty() {
            return Err(TrainError::NoBattles);
        }
        let global = fit_global(data, &train)?;
        let weights = levels(data, &train);
        let dev = data.battles(|prompt| !is_train(seed, prompt));
        Ok(Self { data, embeddings, seed, global, weights, dev })
    }

    pub(super) fn evidence(&self) -> Evidence {
        let terms = SourceTerms { scales: &self.global.scales, weights: &self.weights };
        gather(self.data, self.embeddings, &|prompt| is_train(self.seed, prompt), terms)
    }

    fn embedding(&self, row: usize) -> Vec<f32> {
        self.embeddings.row(row).iter().copied().collect()
    }

    /// The battles of some held-out prompts of each source, evenly spread over them.
    pub(super) fn compared(&self) -> Vec<Battle> {
        let mut prompts = vec![0_usize; self.data.sources.len()];
        let of_prompt = || self.dev.chunk_by(|one, other| one.prompt == other.prompt);
        let source = |battles: &[Battle]| battles.first().map_or(0, |battle| usize::from(battle.source));
        of_prompt().for_each(|battles| prompts[source(battles)] += 1);
        let mut seen = vec![0_usize; prompts.len()];
        let is_chosen = |battles: &&[Battle]| {
            let (count, seen) = (prompts[source(battles)].max(1), &mut seen[source(battles)]);
            *seen += 1;
            // One in `count / COMPARED`.
            *seen * COMPARED / count > (*seen - 1) * COMPARED / count
        };
        of_prompt().filter(is_chosen).flatten().copied().collect()
    }

    /// The mean log-loss of battles sorted by prompt, sources levelled; `shifts` tells θ − θ⁰ at a prompt.
    pub(super) fn loss(&self, battles: &[Battle], mut shifts: impl FnMut(usize) -> Vec<f64>) -> f64 {
        let levels = levels(self.data, battles);
        let (mut loss, mut weight) = (0.0, 0.0);
        for of_prompt in battles.chunk_by(|one, other| one.prompt == other.prompt) {
            let shifts = of_prompt.first().map(|battle| shifts(battle.prompt as usize)).unwrap_or_default();
            for battle in of_prompt {
                let (prior, moved) = self.logits(battle, &shifts);
                let level = levels[usize::from(battle.source)] * f64::from(battle.weight);
                loss += level * battle_loss(battle, prior + moved);
                weight += level;
            }
        }
        loss / f64::max(weight, f64::MIN_POSITIVE)
    }

    /// The log-odds of a battle by the global ratings, and what shifts add to them.
    fn logits(&self, battle: &Battle, shifts: &[f64]) -> (f64, f64) {
        let (a, b) = (usize::from(battle.model_a), usize::from(battle.model_b));
        let scale = self.global.scales[usize::from(battle.source)];
        (scale * (self.global.skills[a] - self.global.skills[b]), scale * (shifts[a] - shifts[b]))
    }

    /// The setting and ρ with the lowest held-out loss.
    pub(super) fn choose<K: Kernel>(
        &self,
        evidence: &Evidence,
        settings: &[f64],
        report: &dyn Fn(usize, usize),
    ) -> LocalWeights {
        let compared = self.compared();
        let mut best: Option<(f64, LocalWeights)> = None;
        let mut tried = 0;
        for &setting in settings {
            for &ridge in &RIDGES {
                report(tried, settings.len() * RIDGES.len());
                tried += 1;
                let weights = LocalWeights { evidence: evidence.clone(), setting, ridge, temperature: 1.0 };
                let fit = LocalFit::<K>::new(&Arc::new(weights.clone()), &self.global.skills);
                let loss = self.loss(&compared, |row| self.at(&fit, row, false));
                if best.as_ref().is_none_or(|(lowest, _)| loss < *lowest) {
                    best = Some((loss, weights));
                }
            }
        }
        best.map(|(_, weights)| weights).unwrap_or_else(|| LocalWeights {
            evidence: evidence.clone(),
            setting: settings.first().copied().unwrap_or_default(),
            ridge: RIDGES[0],
            temperature: 1.0,
        })
    }

    /// The shifts at a prompt of the data.
    fn at<K: Kernel>(&self, fit: &LocalFit<K>, row: usize, is_blind: bool) -> Vec<f64> {
        let embedding = self.embedding(row);
        if embedding.iter().any(|&value| value != 0.0) {
            fit.shifts(&embedding, is_blind)
        } else {
            vec![0.0; self.global.skills.len()]
        }
    }

    pub(super) fn local_artifact<K: Kernel>(
        &self,
        weights: LocalWeights,
        setting: &'static str,
        body: fn(Arc<LocalWeights>) -> Body,
        origin: &Origin,
    ) -> Result<Artifact, TrainError> {
        let fit = LocalFit::<K>::new(&Arc::new(weights.clone()), &self.global.skills);
        let measured = self.measure(|row| self.at(&fit, row, false));
        let settings = [(setting, weights.setting), ("ridge", weights.ridge)];
        let weights = Arc::new(LocalWeights { temperature: measured.temperature, ..weights });
        let fit = LocalFit::<K>::new(&weights, &self.global.skills);
        let artifact = self.artifact(body(weights), &settings, &measured, origin)?;
        sample::calibrated_by(artifact, self.data, |row| self.at(&fit, row, true))
    }

    /// Fits the temperature on the held-out battles and measures there; `shifts` tells θ − θ⁰ before it.
    pub(super) fn measure(&self, mut shifts: impl FnMut(usize) -> Vec<f64>) -> Measured {
        let mut logits: Vec<(f64, f64)> = Vec::with_capacity(self.dev.len());
        for of_prompt in self.dev.chunk_by(|one, other| one.prompt == other.prompt) {
            let shifts = of_prompt.first().map(|battle| shifts(battle.prompt as usize)).unwrap_or_default();
            logits.extend(of_prompt.iter().map(|battle| self.logits(battle, &shifts)));
        }
        let temperature = if self.dev.is_empty() { 1.0 } else { self.temperature(&logits) };
        let of_source = |(number, source): (usize, &String)| {
            let (mut router, mut global, mut weight, mut prompts, mut last) = (0.0, 0.0, 0.0, 0_usize, None);
            let own = self.dev.iter().zip(&logits).filter(|(battle, _)| usize::from(battle.source) == number);
            for (battle, (prior, moved)) in own {
                router += f64::from(battle.weight) * battle_loss(battle, prior + temperature * moved);
                global += f64::from(battle.weight) * battle_loss(battle, *prior);
                weight += f64::from(battle.weight);
                prompts += usize::from(last != Some(battle.prompt));
                last = Some(battle.prompt);
            }
            let (router, global) = (router / weight, global / weight);
            let measured = json!({"prompts": prompts, "log_loss": router, "log_loss_of_global_fit": global});
            (prompts > 0).then(|| (source.clone(), measured))
        };
        Measured { temperature, losses: self.data.sources.iter().enumerate().filter_map(of_source).collect() }
    }

    /// The factor of the shifts that fits the held-out battles best, sources levelled, by bisection of the slope.
    fn temperature(&self, logits: &[(f64, f64)]) -> f64 {
        let levels = levels(self.data, &self.dev);
        let slope = |temperature: f64| -> f64 {
            let of_battle = |(battle, (prior, moved)): (&Battle, &(f64, f64))| {
                let level = levels[usize::from(battle.source)] * f64::from(battle.weight);
                level * (f64::from(battle.share) - sigmoid(prior + temperature * moved)) * moved
            };
            self.dev.iter().zip(logits).map(of_battle).sum()
        };
        maximum(TEMPERATURES, 50, slope)
    }

    /// Without a calibration sample yet.
    pub(super) fn artifact(
        &self,
        body: Body,
        settings: &[(&str, f64)],
        measured: &Measured,
        origin: &Origin,
    ) -> Result<Artifact, TrainError> {
        let by_source = |values: &[f64]| -> BTreeMap<String, f64> {
            self.data.sources.iter().cloned().zip(values.iter().copied()).collect()
        };
        let mut metrics = BTreeMap::from([
            ("dev_log_loss".to_owned(), json!(measured.losses)),
            ("label_scales".to_owned(), json!(by_source(&self.global.scales))),
            ("source_weights".to_owned(), json!(by_source(&self.weights))),
            ("temperature".to_owned(), json!(measured.temperature)),
        ]);
        metrics.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), json!(value))));
        let is_trained_on = |prompt: &&Prompt| is_train(self.seed, prompt);
        let provenance = Provenance {
            embedder: origin.embedder.clone(),
            anchor: Anchor::arena(),
            sources: origin.sources.clone(),
            training_prompts: self.data.prompts.iter().filter(is_trained_on).map(Prompt::hash).collect(),
            seed: self.seed,
            metrics,
        };
        let ratings = Ratings::of(&self.data.models, &self.global);
        let empty = CalibrationSample::quantise(&Mat::zeros(0, self.data.models.len()), &[]);
        Ok(Artifact::new(ratings, body, provenance, empty)?)
    }
}

/// Nine prompts of ten.
fn is_train(seed: u64, prompt: &Prompt) -> bool {
    Split::new(seed).side(prompt.hash(), DEV_SHARE) == Side::Train
}

/// What each source's battles are weighted by.
fn levels(data: &Dataset, battles: &[Battle]) -> Vec<f64> {
    balanced_weights(data, battles)
}
