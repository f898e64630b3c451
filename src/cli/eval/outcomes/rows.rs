//! The rows that are measured on: those that have a score of every model of the pool.

use std::collections::BTreeSet;

use pointsman::config::suggest;
use pointsman_routers::data::{Dataset, Score};
use pointsman_routers::identity;
use pointsman_routers::split::PromptHash;
use pointsman_routers::train::routing_text;
use serde::Serialize;

use crate::cli::eval::HINT_TRAINED;
use crate::cli::output::Failure;

/// A model scored on this share of the rows is in the default pool.
const SCORED_SHARE: f64 = 0.97;

/// Prompts with a column per model of the pool.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) pool: Vec<String>,
    pub(super) texts: Vec<String>,
    /// Of the prompts.
    pub(super) hashes: BTreeSet<PromptHash>,
    pub(super) categories: Vec<Option<String>>,
    /// 0..=1.
    pub(super) scores: Vec<Vec<f64>>,
    /// Lengths of the answers in characters, where they are known.
    pub(super) out_chars: Vec<Vec<Option<f64>>>,
}

/// Rows that are not measured on.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Dropped {
    /// Of prompts that a router was trained on.
    #[serde(rename = "dropped_trained")]
    pub(super) trained: usize,
    /// Without a score of every model of the pool.
    #[serde(rename = "dropped_incomplete")]
    pub(super) incomplete: usize,
}

impl Rows {
    /// The rows of the models `columns` whose prompts are not among the `trained` ones.
    pub(super) fn new(
        data: &Dataset,
        columns: &[usize],
        trained: &BTreeSet<PromptHash>,
    ) -> Result<(Self, Dropped), Failure> {
        let pool = columns.iter().filter_map(|&model| data.models.get(model).cloned()).collect();
        let mut rows = Self { pool, ..Self::default() };
        let mut dropped = Dropped::default();
        for outcomes in &data.outcomes {
            let Some(prompt) = data.prompts.get(outcomes.prompt as usize) else { continue };
            if trained.contains(&prompt.hash()) {
                dropped.trained += 1;
                continue;
            }
            let found: Option<Vec<&Score>> = columns.iter().map(|&model| outcomes.score_of(model)).collect();
            let Some(found) = found else {
                dropped.incomplete += 1;
                continue;
            };
            rows.scores.push(found.iter().map(|score| score.score).collect());
            rows.out_chars.push(found.iter().map(|score| score.out_chars).collect());
            rows.texts.push(routing_text(prompt));
            rows.hashes.insert(prompt.hash());
            rows.categories.push(prompt.category.clone());
        }
        if rows.scores.is_empty() {
            let Dropped { trained, incomplete } = dropped;
            return Err(Failure::Because(format!(
                "no row is left: {trained} are of prompts that a router was trained on, {incomplete} lack a score of the pool. {HINT_TRAINED}"
            )));
        }
        Ok((rows, dropped))
    }
}

/// The columns of the pool: those asked for, or those that nearly every row has.
pub(super) fn pool(data: &Dataset, asked: &[String]) -> Result<Vec<usize>, Failure> {
    let rows = data.outcomes.len();
    if rows == 0 {
        return Err(Failure::Because("--data holds no rows of outcomes".to_owned()));
    }
    let scored =
        |model: usize| data.outcomes.iter().filter(|outcomes| outcomes.score_of(model).is_some()).count();
    let columns: Vec<usize> = if asked.is_empty() {
        (0..data.models.len()).filter(|&model| scored(model) as f64 >= SCORED_SHARE * rows as f64).collect()
    } else {
        let place = |name: &String| {
            let canonical = identity::canonical(name.trim());
            let missing = || {
                let known = (0..data.models.len()).filter(|&model| scored(model) > 0);
                let hint = suggest::near(
                    canonical,
                    known.filter_map(|model| data.models.get(model).map(String::as_str)),
                );
                let hint = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
                Failure::Because(format!("--pool: no row has a score of {canonical}{hint}"))
            };
            data.model(canonical).filter(|&model| scored(model) > 0).ok_or_else(missing)
        };
        // A set: a model that is named twice, by two spellings perhaps, is one.
        let columns: BTreeSet<usize> = asked.iter().map(place).collect::<Result<_, _>>()?;
        columns.into_iter().collect()
    };
    if columns.len() < 2 {
        let (models, hint) =
            (columns.len(), "name them with --pool, or give rows that more models are scored on");
        return Err(Failure::Because(format!("the pool has {models} models, two are needed: {hint}")));
    }
    Ok(columns)
}
