//! What all learned routers share: who is known, where each model stands before any prompt is seen, and the
//! calibration sample. How a prompt moves the skills away from there is each router's own: [`Shifts`].
//!
//! A zero embedding says nothing of its prompt: there θ(x) = θ⁰, whatever the router.

use std::sync::OnceLock;

use faer::Mat;

use crate::artifact::{Artifact, CalibrationSample};
use crate::roster::Roster;
use crate::router::{
    CalibrationSkills, Candidate, CostClass, Needs, QueryBatch, Router, RouterError, SkillMatrix, Standing,
};

/// How a prompt moves skills: θ_m(x) − θ⁰_m, by way of a state, a few numbers that say all that the router sees in
/// the prompt.
///
/// Each state depends on its embedding alone and each shift on its state and model alone, bit for bit.
pub trait Shifts: Send + Sync {
    /// The router's short name, and the kind of its artefacts.
    const KIND: &'static str;
    /// How long a state takes.
    const COST: CostClass;

    /// Dimensions of an embedding.
    fn dim(&self) -> usize;

    /// Numbers in a state.
    fn width(&self) -> usize;

    /// Sets the state, which is zero, of an embedding, which is not.
    fn see(&self, embedding: &[f32], state: &mut [f32]);

    /// θ_m(x) − θ⁰_m of the artefact's model number `row`; `None` when there is none.
    fn of_row(&self, row: usize, state: &[f32]) -> Option<f64>;

    /// The same of a model of which nothing is known but its global skill θ⁰: by the regression of the skills of all
    /// the artefact's models on θ⁰.
    fn of_rating(&self, prior: f64, state: &[f32]) -> f64;
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
    sample: CalibrationSample,
    /// The states of the calibration sample, one row each: every pool's calibration starts from them.
    sample_states: OnceLock<Vec<f32>>,
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
            sample: artifact.calibration().clone(),
            sample_states: OnceLock::new(),
        }
    }

    /// The states of embeddings, one after the other.
    fn states<Row: Iterator<Item = f32>>(&self, rows: impl Iterator<Item = Row>) -> Vec<f32> {
        let width = self.shifts.width();
        let mut states = Vec::with_capacity(rows.size_hint().0 * width);
        let mut embedding = Vec::with_capacity(self.shifts.dim());
        for row in rows {
            embedding.clear();
            embedding.extend(row);
            let start = states.len();
            states.resize(start + width, 0.0);
            if let Some(state) = states.get_mut(start..)
                && embedding.iter().any(|&value| value != 0.0)
            {
                self.shifts.see(&embedding, state);
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
        S::KIND
    }

    fn needs(&self) -> Needs {
        Needs { embedding: Some(self.embedder.clone()), cost: S::COST }
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
        let states = self.states(embeddings.row_iter().map(|row| row.iter().copied()));
        self.score(&states, embeddings.nrows(), candidates)
    }

    fn calibration(&self, candidates: &[Candidate]) -> Result<CalibrationSkills, RouterError> {
        if self.sample.is_empty() {
            return Err(RouterError::NoCalibration);
        }
        let states = self.sample_states.get_or_init(|| self.states(self.sample.rows()));
        let skills = self.score(states, self.sample.len(), candidates)?;
        Ok(CalibrationSkills { skills, prompt_tokens: self.sample.prompt_tokens().to_vec() })
    }
}
