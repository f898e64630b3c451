//! The training of all heads and of the gate that mixes them.
//!
//! Every head is a convex fit of its own to the battles of one source on the prompts of one domain; how strongly its
//! coefficients are held is chosen by cross-validation within the training prompts, for each source.

use std::cmp::Reverse;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};

use faer::Mat;
use rayon::prelude::*;
use serde_json::json;

use super::difficulty::{Difficulty, FOLDS};
use super::gate::{self, Domains};
use super::head::{Problem, Ridge, Solution};
use super::lbfgs::Stop;
use super::source::SourceFit;
use super::temperature::Learned;
use super::{Material, Part, Report, Settings, TrainError, inputs};
use crate::bert::{BertWeights, Head};
use crate::data::{Battle, Dataset, Prompt};
use crate::ratings::{GlobalFit, fit_global};
use crate::split::Split;

/// Penalties that are tried, strongest first: each fit starts where the last one ended.
const RIDGES: [f64; 7] = [1000.0, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0];
/// What the penalty on the embedding's coefficients is tried at, times that on the features'.
const EMBEDDING_FACTORS: [f64; 2] = [1.0, 10.0];
/// Parts of the cross-validation.
const PARTS: NonZeroU32 = NonZeroU32::new(2).unwrap();
/// While settings are compared, and for good.
const ROUGH: Stop = Stop { steps_max: 60, gain_min: 1e-5 };
const FINE: Stop = Stop { steps_max: 300, gain_min: 1e-8 };

/// What was trained, before temperature.
#[derive(Debug)]
pub(super) struct Heads {
    pub(super) weights: BertWeights,
    pub(super) learned: Learned,
}

/// A head to be fitted.
struct Task {
    domain: usize,
    source: usize,
    /// Prompts that it is fitted to.
    prompts: usize,
    /// The mean of the prompts' inputs.
    mean: Vec<f64>,
    problem: Problem,
    difficulty: Option<Difficulty>,
    /// The part of the cross-validation of each prompt.
    parts: Vec<u32>,
}

/// Trains on the prompts that `part` names.
pub(super) fn train(material: &Material<'_>, report: Report<'_>) -> Result<Heads, TrainError> {
    let Material { data, embeddings, part, seed, .. } = *material;
    let is_train = |prompt: &Prompt| part(prompt) == Part::Train;
    let battles = data.battles(is_train);
    if battles.is_empty() {
        return Err(TrainError::NoBattles);
    }
    let global = fit_global(data, &battles)?;
    let domains = Domains::of(data, &is_train);
    let chosen: Vec<usize> = (0..data.prompts.len()).filter(|&row| is_train(&data.prompts[row])).collect();
    let (mut reading, rows) = inputs::read(data, embeddings, &chosen);
    let sources = SourceFit::all(data, &battles, &global)?;
    let kit = Kit {
        data,
        domains: &domains,
        rows: &rows,
        embedding_dim: embeddings.ncols(),
        sources: &sources,
        seed,
    };
    let tasks = kit.tasks(&battles);
    let (gate, (heads, ridges)) = rayon::join(
        || gate::fit(&rows, &chosen, &domains),
        || fit(data, &tasks, &sources, &global, &Counter::new(&tasks, report)),
    );
    reading.gate = gate;
    if !(heads.iter().all(|head| head.columns.is_all_finite()) && reading.gate.is_all_finite()) {
        return Err(TrainError::Diverged);
    }
    let scales = sources.iter().map(|source| source.told.scale).collect();
    let settings = Settings::from([("ridges", told(data, &ridges))]);
    let nearness = gate::nearness(&reading, &rows, &chosen, &domains);
    Ok(Heads {
        weights: BertWeights { reading, heads, nearness },
        learned: Learned { global, scales, settings },
    })
}

/// What tasks are made of.
struct Kit<'a> {
    data: &'a Dataset,
    domains: &'a Domains,
    /// The inputs of every prompt, the constant at their end.
    rows: &'a Mat<f64>,
    embedding_dim: usize,
    sources: &'a [SourceFit],
    seed: u64,
}

impl Kit<'_> {
    /// A task for each domain and source with battles, which are sorted by prompt.
    fn tasks(&self, battles: &[Battle]) -> Vec<Task> {
        let sources = self.sources.len();
        let mut of_task: Vec<Vec<&[Battle]>> = vec![Vec::new(); self.domains.count * sources];
        let by_prompt =
            battles.chunk_by(|one, other| (one.prompt, one.source) == (other.prompt, other.source));
        for of_prompt in by_prompt {
            let Some(first) = of_prompt.first() else { continue };
            let domain = self.domains.of_prompt[first.prompt as usize];
            of_task[domain * sources + usize::from(first.source)].push(of_prompt);
        }
        let is_there = |(_, prompts): &(usize, Vec<&[Battle]>)| !prompts.is_empty();
        let told: Vec<(usize, Vec<&[Battle]>)> = of_task.into_iter().enumerate().filter(is_there).collect();
        told.into_par_iter().map(|(place, of)| self.task(place / sources, place % sources, &of)).collect()
    }

    fn task(&self, domain: usize, source: usize, battles: &[&[Battle]]) -> Task {
        let fit = &self.sources[source];
        let rows: Vec<usize> =
            battles.iter().filter_map(|of| of.first()).map(|battle| battle.prompt as usize).collect();
        let width = self.rows.ncols() - 1;
        let total = |input: usize| rows.iter().map(|&row| self.rows[(row, input)]).sum::<f64>();
        let mean: Vec<f64> = (0..width).map(|input| total(input) / rows.len() as f64).collect();
        let inputs =
            Mat::from_fn(rows.len(), width, |row, input| self.rows[(rows[row], input)] - mean[input]);
        let folds = |step: u64, count: NonZeroU32| -> Vec<u32> {
            let split = Split::new(self.seed.wrapping_add(step));
            rows.iter().map(|&row| split.fold(self.data.prompts[row].hash(), count)).collect()
        };
        let difficulty = fit
            .mean_scores(self.data, &rows)
            .and_then(|scores| Difficulty::fit(&inputs, &scores, &folds(1, FOLDS)));
        let (difficulty, guesses) = difficulty.unzip();
        let problem = Problem {
            inputs,
            embedding_dim: self.embedding_dim,
            difficulty: guesses.unwrap_or_else(|| vec![0.0; rows.len()]),
            meetings: battles
                .iter()
                .map(|of| of.iter().map(|battle| fit.meeting(battle)).collect())
                .collect(),
            base: fit.graded.base.clone(),
        };
        Task { domain, source, prompts: rows.len(), mean, problem, difficulty, parts: folds(2, PARTS) }
    }
}

impl Task {
    /// The head's columns in units of skill, as shifts from θ⁰. How models move with the prompt is what graded labels teach;
    /// where they stand before, what the labels tell.
    fn head(&self, solution: &Solution, fit: &SourceFit, global: &GlobalFit) -> Head {
        let width = self.mean.len();
        let columns: Vec<Vec<f64>> = (0..fit.models.len())
            .map(|model| {
                let hard = solution.difficulties()[model];
                let guess = |input: usize| self.difficulty.as_ref().map_or(0.0, |of| of.coefficients[input]);
                let mut column: Vec<f64> = (0..width)
                    .map(|input| solution.coefficient(input, model) + hard * guess(input))
                    .collect();
                let at_mean: f64 = column.iter().zip(&self.mean).map(|(value, mean)| value * mean).sum();
                column.push(solution.offsets()[model] - at_mean);
                column.iter_mut().for_each(|value| *value /= fit.graded.scale);
                column[width] += fit.told.base[model] / fit.told.scale - global.skills[fit.models[model]];
                column
            })
            .collect();
        Head {
            domain: self.domain as u32,
            models: fit.models.iter().map(|&model| model as u32).collect(),
            columns: Mat::from_fn(width + 1, columns.len(), |input, model| columns[model][input] as f32),
        }
    }
}

/// The penalties of each source that has battles.
fn told(data: &Dataset, ridges: &[Option<Ridge>]) -> serde_json::Value {
    let of_source = |(source, ridge): (&String, &Option<Ridge>)| {
        let Ridge { features, embedding } = (*ridge)?;
        Some((source.clone(), json!({"features": features, "embedding": embedding})))
    };
    data.sources.iter().zip(ridges).filter_map(of_source).collect()
}

type Fitted = (Vec<Head>, Vec<Option<Ridge>>);

/// Fits all heads, each source's at the penalties that suit it.
fn fit(
    data: &Dataset,
    tasks: &[Task],
    sources: &[SourceFit],
    global: &GlobalFit,
    counter: &Counter<'_>,
) -> Fitted {
    let of_source =
        |source: usize| -> Vec<&Task> { tasks.iter().filter(|task| task.source == source).collect() };
    let ridges: Vec<Option<Ridge>> =
        (0..data.sources.len()).into_par_iter().map(|source| choose(&of_source(source), counter)).collect();
    // The larger head of a domain first: its word counts for a model that several know.
    let mut order: Vec<&Task> = tasks.iter().collect();
    order.sort_by_key(|task| (task.domain, Reverse(task.prompts), task.source));
    let heads = order
        .par_iter()
        .filter_map(|task| {
            let mut solution = task.problem.start();
            task.problem.solve(&mut solution, ridges[task.source]?, &|_| true, FINE);
            counter.count();
            Some(task.head(&solution, &sources[task.source], global))
        })
        .collect();
    (heads, ridges)
}

/// The penalties under which the tasks' prompts of one part are best foretold by the others; `None` without tasks.
fn choose(tasks: &[&Task], counter: &Counter<'_>) -> Option<Ridge> {
    if tasks.is_empty() {
        return None;
    }
    let paths: Vec<Vec<f64>> =
        EMBEDDING_FACTORS.par_iter().map(|&factor| path(tasks, factor, counter)).collect();
    let all = EMBEDDING_FACTORS.iter().zip(&paths).flat_map(|(factor, losses)| {
        let at =
            RIDGES.iter().map(move |features| Ridge { features: *features, embedding: factor * features });
        at.zip(losses)
    });
    all.min_by(|one, other| one.1.total_cmp(other.1)).map(|(ridge, _)| ridge)
}

/// The mean held-out loss under each penalty, as far as it is worth going: once it rises it keeps rising.
fn path(tasks: &[&Task], factor: f64, counter: &Counter<'_>) -> Vec<f64> {
    let mut solutions: Vec<(&Task, u32, Solution)> = tasks
        .iter()
        .flat_map(|task| (0..PARTS.get()).map(|part| (*task, part, task.problem.start())))
        .collect();
    let mut losses: Vec<f64> = Vec::new();
    for features in RIDGES {
        let ridge = Ridge { features, embedding: factor * features };
        let sums: Vec<(f64, f64)> = solutions
            .par_iter_mut()
            .map(|(task, part, solution)| {
                task.problem.solve(solution, ridge, &|prompt| task.parts[prompt] != *part, ROUGH);
                task.problem.loss(solution, &|prompt| task.parts[prompt] == *part)
            })
            .collect();
        let (loss, weight) = sums.iter().fold((0.0, 0.0), |all, one| (all.0 + one.0, all.1 + one.1));
        losses.push(if weight > 0.0 { loss / weight } else { 0.0 });
        if let [.., before, last] = losses[..]
            && last > before
        {
            break;
        }
    }
    (0..tasks.len()).for_each(|_| counter.count());
    losses
}

/// Tells how many fits are done.
struct Counter<'a> {
    done: AtomicUsize,
    total: usize,
    report: Report<'a>,
}

impl<'a> Counter<'a> {
    /// A task is compared under each of the embedding's factors, and then fitted.
    fn new(tasks: &[Task], report: Report<'a>) -> Self {
        Self { done: AtomicUsize::new(0), total: tasks.len() * (1 + EMBEDDING_FACTORS.len()), report }
    }

    fn count(&self) {
        let done = 1 + self.done.fetch_add(1, Ordering::Relaxed);
        (self.report)(done, self.total);
    }
}
