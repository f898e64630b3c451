//! Held-out prompts decide: the settings of a router that fits at the prompt, its temperature, and what is measured.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use faer::Mat;
use rayon::prelude::*;
use serde_json::json;

use super::super::evidence::{SourceTerms, gather};
use super::super::temperature::{self, Learned};
use super::super::{Material, Part, Report, Settings, TrainError, Trained, balanced_weights, battle_loss};
use super::RIDGES;
use crate::artifact::Body;
use crate::data::Battle;
use crate::local::{Evidence, Kernel, LocalFit, LocalWeights};
use crate::ratings::{GlobalFit, fit_global};

/// Held-out prompts of each source that settings are compared on.
const COMPARED: usize = 100;

/// What all three are trained on.
pub(super) struct Task<'a> {
    material: Material<'a>,
    pub(super) global: GlobalFit,
    weights: Vec<f64>,
    /// Of the held-out prompts, sorted by prompt.
    dev: Vec<Battle>,
}

impl<'a> Task<'a> {
    pub(super) fn new(material: Material<'a>) -> Result<Self, TrainError> {
        let Material { data, part, .. } = material;
        let train = data.battles(|prompt| part(prompt) == Part::Train);
        if train.is_empty() {
            return Err(TrainError::NoBattles);
        }
        let global = fit_global(data, &train)?;
        let weights = balanced_weights(data, &train);
        let dev = data.battles(|prompt| part(prompt) == Part::Dev);
        Ok(Self { material, global, weights, dev })
    }

    pub(super) fn evidence(&self) -> Evidence {
        let terms = SourceTerms { scales: &self.global.scales, weights: &self.weights };
        let Material { data, embeddings, part, .. } = self.material;
        gather(data, embeddings, &|prompt| part(prompt) == Part::Train, terms)
    }

    pub(super) fn embedding(&self, row: usize) -> Vec<f32> {
        self.material.embeddings.row(row).iter().copied().collect()
    }

    /// The battles of some held-out prompts of each source, evenly spread over them.
    pub(super) fn compared(&self) -> Vec<Battle> {
        let mut prompts = vec![0_usize; self.material.data.sources.len()];
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
        let levels = balanced_weights(self.material.data, battles);
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
        report: Report<'_>,
    ) -> LocalWeights {
        let compared = self.compared();
        let rows: BTreeSet<usize> = compared.iter().map(|battle| battle.prompt as usize).collect();
        let mut chosen = LocalWeights {
            evidence: evidence.clone(),
            setting: settings.first().copied().unwrap_or_default(),
            ridge: RIDGES[0],
            temperature: 1.0,
        };
        let mut lowest = f64::INFINITY;
        for (tried, &setting) in settings.iter().enumerate() {
            report(tried, settings.len());
            let weights = LocalWeights { setting, ridge: RIDGES[0], ..chosen.clone() };
            let fit = LocalFit::<K>::new(&Arc::new(weights), &self.global.skills);
            let of_row = |row: usize| -> Option<Vec<Vec<f64>>> {
                // The sums do not depend on ρ.
                let sums = fit.sums(&self.told(row)?, false);
                Some(RIDGES.iter().map(|&ridge| fit.solve(&sums, ridge)).collect())
            };
            let told: BTreeMap<usize, Vec<Vec<f64>>> =
                rows.par_iter().filter_map(|&row| Some((row, of_row(row)?))).collect();
            for (place, &ridge) in RIDGES.iter().enumerate() {
                let still = || vec![0.0; self.global.skills.len()];
                let loss =
                    self.loss(&compared, |row| told.get(&row).map_or_else(still, |told| told[place].clone()));
                if loss < lowest {
                    lowest = loss;
                    (chosen.setting, chosen.ridge) = (setting, ridge);
                }
            }
        }
        chosen
    }

    /// The shifts at a prompt of the data.
    fn at<K: Kernel>(&self, fit: &LocalFit<K>, row: usize, is_blind: bool) -> Vec<f64> {
        let still = || vec![0.0; self.global.skills.len()];
        self.told(row).map_or_else(still, |embedding| fit.shifts(&embedding, is_blind))
    }

    /// The embedding of a prompt of the data, unless it is zero, which says nothing.
    fn told(&self, row: usize) -> Option<Vec<f32>> {
        Some(self.embedding(row)).filter(|embedding| embedding.iter().any(|&value| value != 0.0))
    }

    /// The router with these weights, brought to scale on the held-out prompts.
    pub(super) fn finish<K: Kernel>(
        &self,
        weights: LocalWeights,
        setting: &'static str,
        body: fn(Arc<LocalWeights>) -> Body,
    ) -> Trained {
        let settings = Settings::from([
            (setting, json!(weights.setting)),
            ("ridge", json!(weights.ridge)),
            (
                "source_weights",
                self.material.data.sources.iter().cloned().zip(self.weights.clone()).collect(),
            ),
        ]);
        let fit = LocalFit::<K>::new(&Arc::new(weights.clone()), &self.global.skills);
        let shifts = self.shifts(&fit);
        temperature::finish(&self.material, &shifts, self.learned(settings), |temperature| {
            body(Arc::new(LocalWeights { temperature, ..weights }))
        })
    }

    /// θ − θ⁰ of every prompt and model: of a remembered prompt as though it were not, for of those a router that knows
    /// them by heart can tell what it can tell of no other.
    fn shifts<K: Kernel>(&self, fit: &LocalFit<K>) -> Mat<f64> {
        let Material { data, part, .. } = self.material;
        let is_blind: Vec<bool> = data.prompts.iter().map(|prompt| part(prompt) == Part::Train).collect();
        let rows: Vec<Vec<f64>> =
            is_blind.into_par_iter().enumerate().map(|(row, blind)| self.at(fit, row, blind)).collect();
        Mat::from_fn(rows.len(), self.global.skills.len(), |row, model| rows[row][model])
    }

    pub(super) fn learned(&self, settings: Settings) -> Learned {
        Learned { global: self.global.clone(), scales: self.global.scales.clone(), settings }
    }
}
