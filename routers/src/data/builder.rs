//! Gathers rows into a [`Dataset`] whose order does not depend on theirs.

mod names;
mod prompts;

use super::{
    BattleRow, DataError, Dataset, LoadReport, OutcomeRow, Outcomes, PairVotes, PresentationOrders,
    ReadOptions, Row, Score, VoteRow, read, verdicts, verdicts::Judged,
};
use names::Names;
use prompts::Prompts;
use std::{collections::BTreeMap, path::Path};

/// Gathers the rows of any number of files, in any order.
#[derive(Debug)]
pub struct DatasetBuilder {
    models: Names,
    sources: Names,
    prompts: Prompts,
    runs: Vec<ScoredRun>,
    verdicts: Vec<Judged>,
    votes: BTreeMap<(u16, u16), [u64; 4]>,
}

/// A run of a model on a prompt, both numbered as they came.
#[derive(Debug, Clone, Copy)]
struct ScoredRun {
    prompt: u32,
    model: u16,
    score: f64,
    out_chars: Option<f64>,
}

impl Default for DatasetBuilder {
    fn default() -> Self {
        Self {
            models: Names::of("models"),
            sources: Names::of("sources"),
            prompts: Prompts::default(),
            runs: Vec::new(),
            verdicts: Vec::new(),
            votes: BTreeMap::new(),
        }
    }
}

impl DatasetBuilder {
    /// A builder without rows.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the rows of a file; see [`read::read_file`](super::read_file).
    ///
    /// # Errors
    /// As [`read_file`](super::read_file). The builder then holds part of the file, and should be given up.
    pub fn read_file(
        &mut self,
        path: &Path,
        options: &ReadOptions,
        progress: &mut dyn FnMut(u64),
    ) -> Result<LoadReport, DataError> {
        read::read_file(path, options, progress, &mut |row| self.add(row))
    }

    /// Adds a row.
    ///
    /// # Errors
    /// [`DataError::TooMany`] past 65,536 models or sources, or 2³² prompts.
    pub fn add(&mut self, row: Row) -> Result<(), DataError> {
        match row {
            Row::Outcome(row) => self.add_outcome(row),
            Row::Battle(row) => self.add_battle(row),
            Row::Votes(row) => self.add_votes(&row),
        }
    }

    fn add_outcome(&mut self, row: OutcomeRow) -> Result<(), DataError> {
        let source = self.sources.number(&row.source)?;
        let prompt = self.prompts.number(source, row.category, row.language, row.turns)?;
        for run in row.runs {
            let model = self.models.number(&run.model)?;
            self.runs.push(ScoredRun { prompt, model, score: run.score, out_chars: run.out_chars });
        }
        Ok(())
    }

    fn add_battle(&mut self, row: BattleRow) -> Result<(), DataError> {
        let (first, second) = (self.models.number(&row.model_a)?, self.models.number(&row.model_b)?);
        if row.turns.is_empty() {
            self.count(first, second, row.verdict.counts());
            return Ok(());
        }
        let source = self.sources.number(&row.source)?;
        let prompt = self.prompts.number(source, None, row.language, row.turns)?;
        let by_model = row.judge.is_some();
        self.verdicts.push(Judged { prompt, first, second, source, verdict: row.verdict, by_model });
        Ok(())
    }

    fn add_votes(&mut self, row: &VoteRow) -> Result<(), DataError> {
        let (first, second) = (self.models.number(&row.model_a)?, self.models.number(&row.model_b)?);
        self.count(first, second, row.counts);
        Ok(())
    }

    fn count(&mut self, first: u16, second: u16, counts: [u64; 4]) {
        let sum = self.votes.entry((first, second)).or_default();
        for (sum, count) in sum.iter_mut().zip(counts) {
            *sum = sum.saturating_add(count);
        }
    }

    /// Everything gathered, in canonical order.
    #[must_use]
    pub fn finish(self, orders: PresentationOrders) -> Dataset {
        let (models, model_places) = self.models.sorted();
        let (sources, source_places) = self.sources.sorted();
        let (prompts, prompt_places) = self.prompts.sorted(&source_places);
        let model = |number: u16| place(&model_places, usize::from(number));
        let prompt = |number: u32| place(&prompt_places, number as usize);
        let runs = self.runs.into_iter();
        let runs = runs.map(|run| ScoredRun { prompt: prompt(run.prompt), model: model(run.model), ..run });
        let verdicts = self.verdicts.into_iter().map(|judged| Judged {
            prompt: prompt(judged.prompt),
            first: model(judged.first),
            second: model(judged.second),
            source: place(&source_places, usize::from(judged.source)),
            ..judged
        });
        let verdicts: Vec<Judged> = verdicts.collect();
        let (judged, orders) = verdicts::battles(&verdicts, orders);
        let votes =
            self.votes.into_iter().map(|((first, second), counts)| ((model(first), model(second)), counts));
        Dataset {
            models,
            sources,
            prompts,
            outcomes: outcomes(runs.collect()),
            judged,
            votes: pairs(votes),
            orders,
        }
    }
}

/// Where a number went when its table was sorted. Every number was given out by the table, so the default is never taken.
fn place<T: Copy + Default>(places: &[T], number: usize) -> T {
    places.get(number).copied().unwrap_or_default()
}

/// The runs by prompt and model, with several runs of one model averaged.
fn outcomes(mut runs: Vec<ScoredRun>) -> Vec<Outcomes> {
    // Sorted by content to the last field: sums of floating-point numbers depend on their order.
    runs.sort_unstable_by(|one, other| {
        let by_number = (one.prompt, one.model).cmp(&(other.prompt, other.model));
        let length = |run: &ScoredRun| run.out_chars.unwrap_or(f64::NEG_INFINITY);
        by_number.then(one.score.total_cmp(&other.score)).then(length(one).total_cmp(&length(other)))
    });
    let by_prompt = runs.chunk_by(|one, other| one.prompt == other.prompt);
    let outcomes = by_prompt.filter_map(|runs| {
        let by_model = runs.chunk_by(|one, other| one.model == other.model);
        Some(Outcomes { prompt: runs.first()?.prompt, scores: by_model.filter_map(mean_run).collect() })
    });
    outcomes.collect()
}

/// The mean of one model's runs on a prompt.
fn mean_run(runs: &[ScoredRun]) -> Option<Score> {
    let scores = mean(runs.iter().map(|run| run.score))?;
    Some(Score {
        model: runs.first()?.model,
        score: scores,
        out_chars: mean(runs.iter().filter_map(|run| run.out_chars)),
    })
}

/// The mean; `None` of nothing.
fn mean(values: impl Iterator<Item = f64> + Clone) -> Option<f64> {
    let count = values.clone().count();
    (count > 0).then(|| values.sum::<f64>() / count as f64)
}

/// The votes with the smaller model first, each pair once.
fn pairs(votes: impl Iterator<Item = ((u16, u16), [u64; 4])>) -> Vec<PairVotes> {
    let mut sums: BTreeMap<(u16, u16), [u64; 4]> = BTreeMap::new();
    for ((first, second), [first_wins, second_wins, ties, both_bad]) in votes {
        let (pair, counts) = if first < second {
            ((first, second), [first_wins, second_wins, ties, both_bad])
        } else {
            ((second, first), [second_wins, first_wins, ties, both_bad])
        };
        let sum = sums.entry(pair).or_default();
        for (sum, count) in sum.iter_mut().zip(counts) {
            *sum = sum.saturating_add(count);
        }
    }
    sums.into_iter().map(|((model_a, model_b), counts)| PairVotes { model_a, model_b, counts }).collect()
}

#[cfg(test)]
mod tests;
