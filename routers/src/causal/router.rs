//! The `causal` router: a language model is asked how well each candidate will answer, as one of five labels (RouteLLM,
//! arXiv 2406.18665, section 4.2, which asks about one model of a pair).
//!
//! The labels' logits come with the query, from whoever runs the model. What a prompt does to all models alike is left in: pairs
//! do not depend on it. Models that the language model was not trained on, and those placed by Elo, move as their rating says,
//! by the regression of some reference models' shifts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use faer::Mat;

use super::{CausalWeights, Reader, ReaderError, Script, labels};
use crate::artifact::{Artifact, CalibrationSample};
use crate::decoder::Decoder;
use crate::rating_line::RatingLine;
use crate::roster::Roster;
use crate::router::{
    CalibrationSkills, Candidate, CostClass, Needs, QueryBatch, Router, RouterError, SkillMatrix, Standing,
};

/// Least distance of the strongest from the weakest reference, in logits, from which something follows for others.
const SPREAD_MIN: f64 = 0.5;

/// The `causal` router of an artefact.
#[derive(Debug)]
pub struct Causal {
    roster: Roster,
    models: Vec<String>,
    decoder: String,
    weights: CausalWeights,
    by_rating: RatingLine,
    sample: CalibrationSample,
}

/// How a candidate's shift is found.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// By its own labels: its place in `asked`.
    Asked(usize),
    /// By its rating alone.
    Rating,
}

impl Causal {
    /// The kind of its artefacts.
    pub(crate) const KIND: &'static str = "causal";

    /// The router of an artefact, whose body `weights` are.
    pub(crate) fn new(artifact: &Artifact, weights: &CausalWeights) -> Self {
        let prior = &artifact.ratings().prior;
        let reference = |&place: &u32| {
            let row = weights.asked.get(place as usize).copied().unwrap_or_default();
            prior.get(row as usize).copied().unwrap_or_default()
        };
        let mut references: Vec<f64> = weights.references.iter().map(reference).collect();
        // Of references that are rated alike the difference says nothing of models that are rated otherwise: their mean does.
        let (lowest, highest) =
            references.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), prior| {
                (low.min(*prior), high.max(*prior))
            });
        if highest - lowest < SPREAD_MIN {
            references.fill(lowest);
        }
        Self {
            roster: artifact.roster(),
            models: artifact.ratings().models.clone(),
            decoder: artifact.embedder_fingerprint().to_owned(),
            weights: weights.clone(),
            by_rating: RatingLine::of(&references),
            sample: artifact.calibration().clone(),
        }
    }

    /// θ⁰ of a candidate, and how its shift is found.
    fn way(&self, candidate: &Candidate) -> Result<(f64, Way), RouterError> {
        let prior = self.roster.prior(candidate.standing);
        match candidate.standing {
            Standing::Elo(_) => Ok((prior.ok_or(RouterError::NotFinite)?, Way::Rating)),
            Standing::Row(row) => {
                let prior = prior.ok_or(RouterError::UnknownRow(row))?;
                let asked =
                    u32::try_from(row).ok().and_then(|row| self.weights.asked.binary_search(&row).ok());
                Ok((prior, asked.map_or(Way::Rating, Way::Asked)))
            }
        }
    }

    fn ways(&self, candidates: &[Candidate]) -> Result<Vec<(f64, Way)>, RouterError> {
        candidates.iter().map(|candidate| self.way(candidate)).collect()
    }

    /// Whom to ask about: places in `asked`, ascending.
    fn asked_of(&self, ways: &[(f64, Way)]) -> BTreeSet<usize> {
        let mut asked = BTreeSet::new();
        for (_, way) in ways {
            match way {
                Way::Asked(place) => drop(asked.insert(*place)),
                Way::Rating => asked.extend(self.weights.references.iter().map(|&place| place as usize)),
            }
        }
        asked
    }

    /// The model at a place in `asked`; an artefact has verified that there is one.
    fn name(&self, place: usize) -> Option<&str> {
        self.models.get(*self.weights.asked.get(place)? as usize).map(String::as_str)
    }

    /// θ − θ⁰ of a model that the decoder was asked about.
    fn shift(&self, place: usize, logits: [f32; 5]) -> f64 {
        let level = self.weights.levels.get(place).copied().unwrap_or_default();
        self.weights.slope * (labels::skill(logits) - f64::from(level))
    }

    /// The shifts of a query's candidates; `answers` are the labels' logits of each model asked about.
    fn shifts(
        &self,
        ways: &[(f64, Way)],
        asked: &BTreeSet<usize>,
        answers: &[[f32; 5]],
    ) -> Result<Vec<f64>, RouterError> {
        if answers.len() != asked.len() {
            return Err(RouterError::Labels { expected: asked.len(), found: answers.len() });
        }
        let told = asked.iter().zip(answers);
        let shifts: BTreeMap<usize, f64> =
            told.map(|(&place, &logits)| (place, self.shift(place, logits))).collect();
        let of = |place: usize| shifts.get(&place).copied().unwrap_or_default();
        let references = self.weights.references.iter().map(|&place| of(place as usize));
        let (level, slope) = self.by_rating.through(references);
        let shift = |&(prior, way): &(f64, Way)| match way {
            Way::Asked(place) => of(place),
            Way::Rating => level + prior * slope,
        };
        Ok(ways.iter().map(shift).collect())
    }

    /// The shift of a candidate on every prompt of the sample.
    fn sample_shifts(&self, prior: f64, way: Way) -> Option<Vec<f64>> {
        match way {
            Way::Asked(place) => self.sample.of_row(*self.weights.asked.get(place)? as usize),
            Way::Rating => {
                let mut mix = vec![0.0; self.models.len()];
                for (&place, share) in self.weights.references.iter().zip(self.by_rating.mix(prior)) {
                    *mix.get_mut(*self.weights.asked.get(place as usize)? as usize)? = share;
                }
                Some(self.sample.mixed(&mix))
            }
        }
    }
}

impl Router for Causal {
    fn name(&self) -> &'static str {
        Self::KIND
    }

    fn needs(&self) -> Needs {
        Needs { embedding: None, decoder: Some(self.decoder.clone()), cost: CostClass::Seconds }
    }

    fn place(&self, name: &str, elo: Option<f64>) -> Option<Candidate> {
        self.roster.place(name, elo)
    }

    fn prior(&self, candidate: &Candidate) -> f64 {
        self.roster.prior(candidate.standing).unwrap_or_default()
    }

    fn asks(&self, candidates: &[Candidate]) -> Vec<String> {
        let Ok(ways) = self.ways(candidates) else { return Vec::new() };
        self.asked_of(&ways).into_iter().filter_map(|place| self.name(place)).map(str::to_owned).collect()
    }

    fn reader(&self, decoder: Arc<Decoder>) -> Option<Result<Reader, ReaderError>> {
        let names: Vec<&str> = (0..self.weights.asked.len()).filter_map(|place| self.name(place)).collect();
        Some(Reader::new(decoder, &self.weights, &names))
    }

    fn script(&self) -> Option<Result<Script, ReaderError>> {
        Some(Script::new(&self.weights))
    }

    fn skills(&self, queries: &QueryBatch<'_>, candidates: &[Candidate]) -> Result<SkillMatrix, RouterError> {
        let ways = self.ways(candidates)?;
        let asked = self.asked_of(&ways);
        let answers = queries.labels.as_deref().unwrap_or_default();
        if answers.len() != queries.texts.len() {
            return Err(RouterError::Labels { expected: asked.len(), found: 0 });
        }
        let mut skills = Mat::zeros(answers.len(), candidates.len());
        for (row, answers) in answers.iter().enumerate() {
            let shifts = self.shifts(&ways, &asked, answers)?;
            for (column, ((prior, _), shift)) in ways.iter().zip(shifts).enumerate() {
                skills[(row, column)] = prior + shift;
            }
        }
        if skills.is_all_finite() { Ok(skills) } else { Err(RouterError::NotFinite) }
    }

    fn calibration(&self, candidates: &[Candidate]) -> Result<CalibrationSkills, RouterError> {
        if self.sample.is_empty() {
            return Err(RouterError::NoCalibration);
        }
        let ways = self.ways(candidates)?;
        let mut skills = Mat::zeros(self.sample.len(), ways.len());
        for (column, (prior, way)) in skills.col_iter_mut().zip(ways) {
            let shifts = self.sample_shifts(prior, way).ok_or(RouterError::NotFinite)?;
            column.iter_mut().zip(shifts).for_each(|(skill, shift)| *skill = prior + shift);
        }
        if !skills.is_all_finite() {
            return Err(RouterError::NotFinite);
        }
        Ok(CalibrationSkills { skills, prompt_tokens: self.sample.prompt_tokens().to_vec() })
    }
}
