//! The `mf` router: matrix factorisation, θ_m(x) = θ⁰_m + (w ∘ v_m) · (W₁ᵀ e(x) + W₂ᵀ p(x) + b), e(x) the prompt's
//! embedding (RouteLLM, arXiv 2406.18665, section 4.2, for any number of models and on top of a global fit) and
//! p(x) = softmax(Cᵀ e(x)) its membership in topics: what the embedding says but no straight line in it can.
//!
//! Gauge: the columns of the factors have mean zero, so the mean over the artefact's models of θ_m(x) − θ⁰_m is zero
//! for every prompt. A zero embedding says nothing of its prompt: there θ(x) = θ⁰, b included.
//!
//! Must not know how weights are trained, nor how texts are embedded.

mod product;
#[cfg(test)]
mod tests;
mod weights;

use std::sync::OnceLock;

use faer::{Mat, MatRef};

pub use weights::MfWeights;

use self::product::{Hidden, dot, row_major};
use crate::artifact::{Artifact, CalibrationSample};
use crate::roster::Roster;
use crate::router::{
    CalibrationSkills, Candidate, CostClass, Needs, QueryBatch, Router, RouterError, SkillMatrix, Standing,
};

/// The `mf` router of an artefact.
#[derive(Debug)]
pub struct Mf {
    roster: Roster,
    embedder: String,
    hidden: Hidden,
    /// One row of the rank's length per model.
    factors: Vec<f32>,
    by_rating: ByRating,
    sample: CalibrationSample,
    /// The hidden states of the calibration sample, one row each: every pool's calibration starts from them.
    sample_hidden: OnceLock<Vec<f32>>,
}

/// Factors of a model of which nothing is known but its rating: the regression of skills on ratings over all
/// models of the artefact, which for factors is `level + θ⁰ · slope`.
///
/// Least squares is linear in the skills and skills are linear in the hidden state, so fitting the factors once is
/// fitting every prompt.
#[derive(Debug)]
struct ByRating {
    level: Vec<f32>,
    slope: Vec<f32>,
}

/// A candidate ready to be scored.
enum Scorer<'a> {
    Row { prior: f64, factors: &'a [f32] },
    Rated { prior: f64 },
}

impl Mf {
    /// The router that an artefact describes.
    #[must_use]
    pub fn new(artifact: &Artifact) -> Self {
        let weights = artifact.weights();
        Self {
            roster: artifact.roster(),
            embedder: artifact.embedder_fingerprint().to_owned(),
            hidden: Hidden::new(weights),
            factors: row_major(&weights.factors),
            by_rating: ByRating::fit(&weights.prior, &weights.factors),
            sample: artifact.calibration().clone(),
            sample_hidden: OnceLock::new(),
        }
    }

    fn scorers(&self, candidates: &[Candidate]) -> Result<Vec<Scorer<'_>>, RouterError> {
        let scorer = |candidate: &Candidate| {
            let prior = self.roster.prior(candidate.standing);
            let rank = self.hidden.rank();
            match candidate.standing {
                Standing::Elo(_) => prior.map(|prior| Scorer::Rated { prior }).ok_or(RouterError::NotFinite),
                Standing::Row(row) => prior
                    .zip(self.factors.chunks_exact(rank).nth(row))
                    .map(|(prior, factors)| Scorer::Row { prior, factors })
                    .ok_or(RouterError::UnknownRow(row)),
            }
        };
        candidates.iter().map(scorer).collect()
    }

    /// The skill of a candidate at a hidden state. Each candidate's sum is its own and in a fixed order, so it
    /// depends neither on the other candidates nor on the other queries.
    #[inline(always)]
    fn skill(&self, scorer: &Scorer<'_>, hidden: &[f32]) -> f64 {
        match scorer {
            Scorer::Row { prior, factors } => prior + f64::from(dot(factors, hidden)),
            Scorer::Rated { prior } => {
                let level = f64::from(dot(&self.by_rating.level, hidden));
                prior + level + prior * f64::from(dot(&self.by_rating.slope, hidden))
            }
        }
    }

    /// `states` holds the hidden states of `queries` queries.
    fn score(
        &self,
        states: &[f32],
        queries: usize,
        candidates: &[Candidate],
    ) -> Result<SkillMatrix, RouterError> {
        let scorers = self.scorers(candidates)?;
        let mut skills = Mat::zeros(queries, scorers.len());
        let mut are_finite = true;
        // Candidate by candidate: that is how the matrix lies in memory.
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                for (column, scorer) in skills.col_iter_mut().zip(&scorers) {
                    for (skill, state) in column.iter_mut().zip(states.chunks_exact(self.hidden.rank())) {
                        *skill = self.skill(scorer, state);
                        are_finite &= skill.is_finite();
                    }
                }
            },
        );
        if are_finite { Ok(skills) } else { Err(RouterError::NotFinite) }
    }
}

impl Router for Mf {
    fn name(&self) -> &'static str {
        "mf"
    }

    fn needs(&self) -> Needs {
        Needs { embedding: Some(self.embedder.clone()), cost: CostClass::Microseconds }
    }

    fn place(&self, name: &str, elo: Option<f64>) -> Option<Candidate> {
        self.roster.place(name, elo)
    }

    fn prior(&self, candidate: &Candidate) -> f64 {
        self.roster.prior(candidate.standing).unwrap_or_default()
    }

    fn skills(&self, queries: &QueryBatch<'_>, candidates: &[Candidate]) -> Result<SkillMatrix, RouterError> {
        let expected = self.hidden.dim();
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
        let hidden = self.hidden.of_rows(embeddings.row_iter().map(|row| row.iter().copied()));
        self.score(&hidden, embeddings.nrows(), candidates)
    }

    fn calibration(&self, candidates: &[Candidate]) -> Result<CalibrationSkills, RouterError> {
        if self.sample.is_empty() {
            return Err(RouterError::NoCalibration);
        }
        let hidden = self.sample_hidden.get_or_init(|| self.hidden.of_rows(self.sample.rows()));
        let skills = self.score(hidden, self.sample.len(), candidates)?;
        Ok(CalibrationSkills { skills, prompt_tokens: self.sample.prompt_tokens().to_vec() })
    }
}

/// θ of every row of `embeddings` and every model, unchecked.
pub(crate) fn skills_of_all(weights: &MfWeights, embeddings: &Mat<f32>) -> Mat<f64> {
    let hidden = Hidden::new(weights);
    let states = hidden.of_rows(embeddings.row_iter().map(|row| row.iter().copied()));
    let states = MatRef::from_row_major_slice(&states, embeddings.nrows(), hidden.rank());
    let shifts = states * weights.factors.transpose();
    Mat::from_fn(shifts.nrows(), shifts.ncols(), |row, model| {
        weights.prior[model] + f64::from(shifts[(row, model)])
    })
}

impl ByRating {
    /// Least squares of the factors on θ⁰, column by column. Without two ratings that differ there is no slope.
    fn fit(prior: &[f64], factors: &Mat<f32>) -> Self {
        let count = prior.len().max(1) as f64;
        let mean = prior.iter().sum::<f64>() / count;
        let spread: f64 = prior.iter().map(|prior| (prior - mean).powi(2)).sum();
        let line = |column: usize| {
            let column = || factors.col(column).iter().map(|&factor| f64::from(factor));
            let joint: f64 = prior.iter().zip(column()).map(|(prior, factor)| (prior - mean) * factor).sum();
            let slope = if spread > 0.0 { joint / spread } else { 0.0 };
            let level = column().sum::<f64>() / count - slope * mean;
            (level as f32, slope as f32)
        };
        let (level, slope) = (0..factors.ncols()).map(line).unzip();
        Self { level, slope }
    }
}
