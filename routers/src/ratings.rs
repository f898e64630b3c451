//! θ⁰, the global ratings: one Bradley–Terry fit over the Arena's votes and every source's battles.
//!
//! The votes define the scale. Every other source has a scale of its own, fitted together with the skills: exam
//! answers, mostly equal, are flatter than votes; a judge's scores are steeper. Models that the Arena rates are
//! held near their Arena ratings, the others are placed by the battles that link them. Must not read prompts.

mod components;
mod pairs;
#[cfg(test)]
mod tests;

use crate::bradley_terry::{FitError, PairSum, Prior, fit, fit_scale};
use crate::data::{Battle, Dataset};

use components::{components, unlinked};

/// The model whose rating the Arena fixes, and the rating.
pub const ANCHOR: (&str, f64) = ("mixtral-8x7b-instruct-v0.1", 1114.0);

/// Precision with which models that the Arena rates are held to their Arena ratings: a skill may move by one
/// logit for as much evidence as some 400 even battles give.
const ARENA_PRECISION: f64 = 100.0;
/// Precision of everything else, towards the mean: enough for the fit to be unique.
const FREE_PRECISION: f64 = 1.0;
/// Precision of the fit over the votes alone.
const VOTES_PRECISION: f64 = 1e-3;
/// Rounds of fitting skills and scales in turn; they settle within a dozen.
const ROUNDS_MAX: usize = 40;
/// Scales that move by less, relatively, have settled.
const SCALE_STEP_MIN: f64 = 1e-8;

/// The global fit.
#[derive(Debug, Clone, PartialEq)]
pub struct GlobalFit {
    /// θ⁰ of each of the data's models, natural-log Bradley–Terry units; their mean is zero.
    pub skills: Vec<f64>,
    /// How many logits of each source's labels one unit of skill difference is worth.
    pub scales: Vec<f64>,
    /// The component of the comparison graph that each model lies in: skills are comparable within one only.
    pub components: Vec<u32>,
    /// Groups of models that no chain of comparisons links to a model with votes.
    pub unlinked: Vec<Vec<usize>>,
}

/// Fits θ⁰ and the sources' scales to the votes and to `battles`, which are some or all of the data's.
///
/// Without votes every scale is 1.
///
/// # Errors
/// When a count is not finite.
pub fn fit_global(data: &Dataset, battles: &[Battle]) -> Result<GlobalFit, FitError> {
    let models = data.models.len();
    let votes = pairs::of_votes(data);
    let mut sources = pairs::of_battles(data, battles);
    let arena = fit(&votes, &flat(models, VOTES_PRECISION))?;
    let mut has_votes = vec![false; models];
    for pair in &votes {
        has_votes[pair.model_a] = true;
        has_votes[pair.model_b] = true;
    }
    let prior = Prior {
        centre: arena.iter().zip(&has_votes).map(|(skill, has)| if *has { *skill } else { 0.0 }).collect(),
        precision: has_votes.iter().map(|has| if *has { ARENA_PRECISION } else { FREE_PRECISION }).collect(),
    };
    let mut scales = vec![1.0; data.sources.len()];
    let mut skills = joint(&votes, &sources, &prior)?;
    for _ in 0..if votes.is_empty() { 0 } else { ROUNDS_MAX } {
        let before = scales.clone();
        for (pairs, scale) in sources.iter_mut().zip(&mut scales).filter(|(pairs, _)| !pairs.is_empty()) {
            *scale = fit_scale(pairs, &skills);
            pairs.iter_mut().for_each(|pair| pair.scale = *scale);
        }
        skills = joint(&votes, &sources, &prior)?;
        let moved = scales.iter().zip(&before).map(|(scale, before)| (scale / before - 1.0).abs());
        if moved.fold(0.0, f64::max) < SCALE_STEP_MIN {
            break;
        }
    }
    let mean = skills.iter().sum::<f64>() / models.max(1) as f64;
    skills.iter_mut().for_each(|skill| *skill -= mean);
    let all: Vec<PairSum> = votes.iter().chain(sources.iter().flatten()).copied().collect();
    let components = components(models, &all);
    Ok(GlobalFit { skills, scales, unlinked: unlinked(&components, &has_votes), components })
}

/// The Elo rating of a skill, given the anchor's skill: 1114 + (400 / ln 10)(θ − θ_anchor).
#[must_use]
pub fn elo(skill: f64, anchor_skill: f64) -> f64 {
    ANCHOR.1 + 400.0 / std::f64::consts::LN_10 * (skill - anchor_skill)
}

fn flat(models: usize, precision: f64) -> Prior {
    Prior { centre: vec![0.0; models], precision: vec![precision; models] }
}

fn joint(votes: &[PairSum], sources: &[Vec<PairSum>], prior: &Prior) -> Result<Vec<f64>, FitError> {
    let all: Vec<PairSum> = votes.iter().chain(sources.iter().flatten()).copied().collect();
    fit(&all, prior)
}
