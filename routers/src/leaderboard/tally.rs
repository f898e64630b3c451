//! Rows of any format summed up by pair of models, in bounded memory and in an order of its own.

use std::collections::HashMap;

use crate::data::{DataError, OutcomeRow, Row};

/// Gathers rows, in any order.
///
/// A vote counts whole, whoever judged, in either order of presentation. A prompt with k scored models makes
/// k(k−1)/2 battles of weight 2/k each, several runs of one model averaged. Sums are of integers: exact in any order.
#[derive(Debug, Default)]
pub struct Tally {
    numbers: HashMap<String, u32>,
    counts: HashMap<Key, [u64; 3]>,
}

/// Two models, the smaller number first, and how many models were scored on the prompt; 2 for a vote.
type Key = (u32, u32, u32);

/// The battles of all rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Votes {
    models: Vec<String>,
    cells: Vec<Cell>,
}

/// Battles of one pair of models, of one weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cell {
    /// The place of the model whose name is the smaller.
    pub(super) model_a: usize,
    /// The place of the other.
    pub(super) model_b: usize,
    /// What each battle counts.
    pub(super) weight: f64,
    /// Won by the first, won by the second, tied.
    pub(super) counts: [u64; 3],
}

impl Tally {
    /// Adds a row.
    ///
    /// # Errors
    /// [`DataError::TooMany`] past 2³² models.
    pub fn add(&mut self, row: &Row) -> Result<(), DataError> {
        match row {
            Row::Battle(row) => self.count(&row.model_a, &row.model_b, row.verdict.counts(), 2),
            Row::Votes(row) => self.count(&row.model_a, &row.model_b, row.counts, 2),
            Row::Outcome(row) => self.add_outcome(row),
        }
    }

    /// Everything gathered, in the order of the models' names.
    #[must_use]
    pub fn finish(self) -> Votes {
        let mut models: Vec<(String, u32)> = self.numbers.into_iter().collect();
        models.sort_unstable();
        let places: HashMap<u32, usize> =
            models.iter().enumerate().map(|(place, (_, number))| (*number, place)).collect();
        let place = |number: u32| places.get(&number).copied().unwrap_or_default();
        let mut keyed: Vec<((usize, usize, u32), [u64; 3])> = self
            .counts
            .into_iter()
            .map(|((a, b, scored), counts)| turned((place(a), place(b)), scored, counts))
            .collect();
        keyed.sort_unstable();
        let cell = |((model_a, model_b, scored), counts): ((usize, usize, u32), [u64; 3])| Cell {
            model_a,
            model_b,
            weight: 2.0 / f64::from(scored),
            counts,
        };
        Votes {
            models: models.into_iter().map(|(name, _)| name).collect(),
            cells: keyed.into_iter().map(cell).collect(),
        }
    }

    fn add_outcome(&mut self, row: &OutcomeRow) -> Result<(), DataError> {
        let mut runs: Vec<(&str, f64)> = row.runs.iter().map(|run| (run.model.as_str(), run.score)).collect();
        // By score too: a sum of floating-point numbers depends on their order.
        runs.sort_unstable_by(|one, other| one.0.cmp(other.0).then(one.1.total_cmp(&other.1)));
        let by_model = runs.chunk_by(|one, other| one.0 == other.0);
        let mean = |runs: &[(&str, f64)]| runs.iter().map(|run| run.1).sum::<f64>() / runs.len() as f64;
        let scores: Vec<(&str, f64)> =
            by_model.filter_map(|runs| Some((runs.first()?.0, mean(runs)))).collect();
        let scored = u32::try_from(scores.len()).unwrap_or(u32::MAX);
        for (place, (model_a, score_a)) in scores.iter().enumerate() {
            for (model_b, score_b) in scores.iter().skip(place + 1) {
                let counts = match score_a.total_cmp(score_b) {
                    std::cmp::Ordering::Greater => [1, 0, 0, 0],
                    std::cmp::Ordering::Less => [0, 1, 0, 0],
                    std::cmp::Ordering::Equal => [0, 0, 1, 0],
                };
                self.count(model_a, model_b, counts, scored)?;
            }
        }
        Ok(())
    }

    /// Counts comparisons: won by the first, won by the second, ties of either kind.
    fn count(&mut self, first: &str, second: &str, counts: [u64; 4], scored: u32) -> Result<(), DataError> {
        let [won_first, won_second, tied, both_bad] = counts;
        let counts = [won_first, won_second, tied.saturating_add(both_bad)];
        if counts == [0; 3] {
            return Ok(());
        }
        let (first, second) = (self.number(first)?, self.number(second)?);
        let (key, counts) = turned((first, second), scored, counts);
        let sums = self.counts.entry(key).or_default();
        for (sum, count) in sums.iter_mut().zip(counts) {
            *sum = sum.saturating_add(count);
        }
        Ok(())
    }

    fn number(&mut self, name: &str) -> Result<u32, DataError> {
        if let Some(&number) = self.numbers.get(name) {
            return Ok(number);
        }
        let limit = u32::MAX as usize;
        let number = u32::try_from(self.numbers.len());
        let number = number.map_err(|_| DataError::TooMany { what: "models", limit })?;
        self.numbers.insert(name.to_owned(), number);
        Ok(number)
    }
}

/// The same comparisons with the smaller model first.
fn turned<N: Ord>((first, second): (N, N), scored: u32, counts: [u64; 3]) -> ((N, N, u32), [u64; 3]) {
    let [won_first, won_second, tied] = counts;
    if first <= second {
        ((first, second, scored), counts)
    } else {
        ((second, first, scored), [won_second, won_first, tied])
    }
}

impl Votes {
    /// Canonical names, ascending.
    #[must_use]
    pub fn models(&self) -> &[String] {
        &self.models
    }

    /// The number of battles.
    #[must_use]
    pub fn battles(&self) -> u64 {
        self.cells.iter().map(Cell::battles).fold(0, u64::saturating_add)
    }

    /// The battles, ascending by models.
    pub(super) fn cells(&self) -> &[Cell] {
        &self.cells
    }
}

impl Cell {
    pub(super) fn battles(&self) -> u64 {
        self.counts.iter().copied().fold(0, u64::saturating_add)
    }
}
