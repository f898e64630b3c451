//! What all learned routers share: who is known, where each model stands before any prompt is seen, and the
//! calibration sample. How a prompt moves the skills away from there is each router's own: [`Shifts`].
//!
//! A zero embedding says nothing of its prompt: there θ(x) = θ⁰, whatever the router.

use faer::Mat;
use rayon::prelude::*;

use crate::artifact::{Artifact, CalibrationSample};
use crate::rating_line::RatingLine;
use crate::roster::Roster;
use crate::router::{
    CalibrationSkills, Candidate, CostClass, KnownBattle, Needs, QueryBatch, Router, RouterError,
    SkillMatrix, Standing,
};

/// What a router sees of a prompt.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// The routing text.
    pub text: &'a str,
    /// Its embedding.
    pub embedding: &'a [f32],
}

/// How a prompt moves skills: θ_m(x) − θ⁰_m, by way of a state, a few numbers that say all that the router sees in
/// the prompt.
///
/// Each state depends on its query alone and each shift on its state and model alone, bit for bit.
pub trait Shifts: Send + Sync {
    /// The router's short name, and the kind of its artefacts.
    fn kind(&self) -> &'static str;

    /// How long a state takes.
    fn cost(&self) -> CostClass;

    /// Dimensions of an embedding.
    fn dim(&self) -> usize;

    /// Numbers in a state.
    fn width(&self) -> usize;

    /// Sets the state, which is zero, of a query whose embedding is not.
    fn see(&self, query: Query<'_>, state: &mut [f32]);

    /// θ_m(x) − θ⁰_m of the artefact's model number `row`; `None` when there is none.
    fn of_row(&self, row: usize, state: &[f32]) -> Option<f64>;

    /// The same of a model of which nothing is known but its global skill θ⁰: by the regression of the skills of all
    /// the artefact's models on θ⁰.
    fn of_rating(&self, prior: f64, state: &[f32]) -> f64;

    /// Battles on known prompts are kept.
    fn keeps_battles(&self) -> bool {
        false
    }

    /// Up to `count` battles between the artefact's models of these rows on the known prompts most like one of this embedding.
    fn nearest(&self, _embedding: &[f32], _rows: &[Option<usize>], _count: usize) -> Vec<KnownBattle> {
        Vec::new()
    }
}

impl Shifts for Box<dyn Shifts> {
    fn kind(&self) -> &'static str {
        (**self).kind()
    }

    fn keeps_battles(&self) -> bool {
        (**self).keeps_battles()
    }

    fn nearest(&self, embedding: &[f32], rows: &[Option<usize>], count: usize) -> Vec<KnownBattle> {
        (**self).nearest(embedding, rows, count)
    }

    fn cost(&self) -> CostClass {
        (**self).cost()
    }

    fn dim(&self) -> usize {
        (**self).dim()
    }

    fn width(&self) -> usize {
        (**self).width()
    }

    fn see(&self, query: Query<'_>, state: &mut [f32]) {
        (**self).see(query, state);
    }

    fn of_row(&self, row: usize, state: &[f32]) -> Option<f64> {
        (**self).of_row(row, state)
    }

    fn of_rating(&self, prior: f64, state: &[f32]) -> f64 {
        (**self).of_rating(prior, state)
    }
}

/// θ − θ⁰ of every prompt (rows) and each of the first `models` models; `embeddings` has a row per text.
pub(crate) fn shifts_of_all<S: Shifts>(
    shifts: &S,
    texts: &[String],
    embeddings: &Mat<f32>,
    models: usize,
) -> Mat<f64> {
    let states: Vec<Vec<f32>> = texts
        .par_iter()
        .enumerate()
        .map(|(row, text)| {
            let embedding: Vec<f32> = embeddings.row(row).iter().copied().collect();
            let mut state = vec![0.0; shifts.width()];
            if embedding.iter().any(|&value| value != 0.0) {
                shifts.see(Query { text, embedding: &embedding }, &mut state);
            }
            state
        })
        .collect();
    Mat::from_fn(states.len(), models, |row, model| shifts.of_row(model, &states[row]).unwrap_or_default())
}

/// A learned router: an artefact's ratings and sample, and how a prompt moves the skills.
#[derive(Debug)]
pub struct Learned<S> {
    roster: Roster,
    embedder: String,
    shifts: S,
    /// The models that have shifts of their own; the rows of added ones follow.
    models: usize,
    /// What each added model takes from the shifts of the others.
    mixes: Vec<Vec<f32>>,
    by_rating: RatingLine,
    sample: CalibrationSample,
}

impl<S: Shifts> Learned<S> {
    /// The router of an artefact; `shifts` is made of the artefact's body.
    pub(crate) fn new(artifact: &Artifact, shifts: S) -> Self {
        Self {
            roster: artifact.roster(),
            embedder: artifact.embedder_fingerprint().to_owned(),
            shifts,
            models: artifact.ratings().models.len(),
            mixes: artifact.added().iter().map(|added| added.mix.clone()).collect(),
            by_rating: RatingLine::of(&artifact.ratings().prior),
            sample: artifact.calibration().clone(),
        }
    }

    /// The states of queries, one after the other; `embeddings` has a row per text.
    fn states(&self, texts: &[&str], embeddings: &Mat<f32>) -> Vec<f32> {
        let width = self.shifts.width();
        let mut states = vec![0.0; texts.len() * width];
        let mut embedding = Vec::with_capacity(self.shifts.dim());
        for ((text, row), state) in
            texts.iter().zip(embeddings.row_iter()).zip(states.chunks_exact_mut(width.max(1)))
        {
            embedding.clear();
            embedding.extend(row.iter().copied());
            if embedding.iter().any(|&value| value != 0.0) {
                self.shifts.see(Query { text, embedding: &embedding }, state);
            }
        }
        states
    }

    /// θ⁰ of each candidate, each with its row if it has one.
    fn standings(&self, candidates: &[Candidate]) -> Result<Vec<(f64, Option<usize>)>, RouterError> {
        let standing = |candidate: &Candidate| {
            let prior = self.roster.prior(candidate.standing);
            match candidate.standing {
                Standing::Elo(_) => prior.map(|prior| (prior, None)).ok_or(RouterError::NotFinite),
                Standing::Row(row) => {
                    prior.map(|prior| (prior, Some(row))).ok_or(RouterError::UnknownRow(row))
                }
            }
        };
        candidates.iter().map(standing).collect()
    }

    #[inline(always)]
    fn of_row(&self, row: usize, state: &[f32]) -> Option<f64> {
        match row.checked_sub(self.models) {
            None => self.shifts.of_row(row, state),
            Some(added) => {
                let shares = self.mixes.get(added)?.iter().enumerate();
                shares.map(|(row, &share)| Some(f64::from(share) * self.shifts.of_row(row, state)?)).sum()
            }
        }
    }

    /// The shift of a candidate on every prompt of the calibration sample; `None` for a row outside the artefact.
    fn sample_shifts(&self, prior: f64, row: Option<usize>) -> Option<Vec<f64>> {
        let Some(row) = row else {
            let mix: Vec<f64> = self.by_rating.mix(prior).collect();
            return Some(self.sample.mixed(&mix));
        };
        let Some(added) = row.checked_sub(self.models) else { return self.sample.of_row(row) };
        let mix: Vec<f64> = self.mixes.get(added)?.iter().map(|&share| f64::from(share)).collect();
        Some(self.sample.mixed(&mix))
    }

    /// `states` holds the states of `queries` queries.
    fn score(
        &self,
        states: &[f32],
        queries: usize,
        candidates: &[Candidate],
    ) -> Result<SkillMatrix, RouterError> {
        let standings = self.standings(candidates)?;
        let mut skills = Mat::zeros(queries, standings.len());
        let mut are_finite = true;
        // Candidate by candidate: that is how the matrix lies in memory. Compiled for the machine's vectors.
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                for (column, &(prior, row)) in skills.col_iter_mut().zip(&standings) {
                    for (skill, state) in column.iter_mut().zip(states.chunks_exact(self.shifts.width())) {
                        let shift = match row {
                            Some(row) => self.of_row(row, state).unwrap_or(f64::NAN),
                            None => self.shifts.of_rating(prior, state),
                        };
                        *skill = prior + shift;
                        are_finite &= skill.is_finite();
                    }
                }
            },
        );
        if are_finite { Ok(skills) } else { Err(RouterError::NotFinite) }
    }
}

impl<S: Shifts> Router for Learned<S> {
    fn name(&self) -> &'static str {
        self.shifts.kind()
    }

    fn needs(&self) -> Needs {
        Needs { embedding: Some(self.embedder.clone()), decoder: None, cost: self.shifts.cost() }
    }

    fn place(&self, name: &str, elo: Option<f64>) -> Option<Candidate> {
        self.roster.place(name, elo)
    }

    fn prior(&self, candidate: &Candidate) -> f64 {
        self.roster.prior(candidate.standing).unwrap_or_default()
    }

    fn skills(&self, queries: &QueryBatch<'_>, candidates: &[Candidate]) -> Result<SkillMatrix, RouterError> {
        let expected = self.shifts.dim();
        let Some(embeddings) = &queries.embeddings else {
            return Err(RouterError::Embedding { expected, found: 0 });
        };
        if embeddings.ncols() != expected {
            return Err(RouterError::Embedding { expected, found: embeddings.ncols() });
        }
        if embeddings.nrows() != queries.texts.len() {
            // Some query has none.
            return Err(RouterError::Embedding { expected, found: 0 });
        }
        let states = self.states(queries.texts, embeddings);
        self.score(&states, embeddings.nrows(), candidates)
    }

    fn calibration(&self, candidates: &[Candidate]) -> Result<CalibrationSkills, RouterError> {
        if self.sample.is_empty() {
            return Err(RouterError::NoCalibration);
        }
        let standings = self.standings(candidates)?;
        let mut skills = Mat::zeros(self.sample.len(), standings.len());
        for (column, (prior, row)) in skills.col_iter_mut().zip(standings) {
            let shifts = self.sample_shifts(prior, row).ok_or(RouterError::NotFinite)?;
            column.iter_mut().zip(shifts).for_each(|(skill, shift)| *skill = prior + shift);
        }
        if !skills.is_all_finite() {
            return Err(RouterError::NotFinite);
        }
        Ok(CalibrationSkills { skills, prompt_tokens: self.sample.prompt_tokens().to_vec() })
    }

    fn keeps_battles(&self) -> bool {
        self.shifts.keeps_battles()
    }

    fn nearest(&self, embedding: &[f32], candidates: &[Candidate], count: usize) -> Vec<KnownBattle> {
        let row = |candidate: &Candidate| match candidate.standing {
            Standing::Row(row) if row < self.models => Some(row),
            Standing::Row(_) | Standing::Elo(_) => None,
        };
        let rows: Vec<Option<usize>> = candidates.iter().map(row).collect();
        if embedding.len() != self.shifts.dim() {
            return Vec::new();
        }
        self.shifts.nearest(embedding, &rows, count)
    }
}
