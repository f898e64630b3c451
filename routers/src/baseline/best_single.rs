//! The global fit, whatever the prompt.

use faer::Mat;

use crate::artifact::Artifact;
use crate::roster::Roster;
use crate::router::{
    CalibrationSkills, Candidate, CostClass, Needs, QueryBatch, Router, RouterError, SkillMatrix, Standing,
};

/// θ_m(x) = θ⁰_m: the ratings of an artefact, with its calibration sample's prompt lengths.
#[derive(Debug, Clone)]
pub struct BestSingle {
    roster: Roster,
    prompt_tokens: Vec<u32>,
}

impl BestSingle {
    /// The ratings of an artefact.
    #[must_use]
    pub fn new(artifact: &Artifact) -> Self {
        Self { roster: artifact.roster(), prompt_tokens: artifact.calibration().prompt_tokens().to_vec() }
    }

    fn score(&self, queries: usize, candidates: &[Candidate]) -> Result<SkillMatrix, RouterError> {
        let prior = |candidate: &Candidate| {
            self.roster.prior(candidate.standing).ok_or(match candidate.standing {
                Standing::Row(row) => RouterError::UnknownRow(row),
                Standing::Elo(_) => RouterError::NotFinite,
            })
        };
        let priors: Vec<f64> = candidates.iter().map(prior).collect::<Result<_, _>>()?;
        if !priors.iter().all(|prior| prior.is_finite()) {
            return Err(RouterError::NotFinite);
        }
        Ok(Mat::from_fn(queries, priors.len(), |_, column| priors[column]))
    }
}

impl Router for BestSingle {
    fn name(&self) -> &'static str {
        "best_single"
    }

    fn needs(&self) -> Needs {
        Needs { embedding: None, decoder: None, cost: CostClass::Microseconds }
    }

    fn place(&self, name: &str, elo: Option<f64>) -> Option<Candidate> {
        self.roster.place(name, elo)
    }

    fn prior(&self, candidate: &Candidate) -> f64 {
        self.roster.prior(candidate.standing).unwrap_or_default()
    }

    fn skills(&self, queries: &QueryBatch<'_>, candidates: &[Candidate]) -> Result<SkillMatrix, RouterError> {
        self.score(queries.texts.len(), candidates)
    }

    fn calibration(&self, candidates: &[Candidate]) -> Result<CalibrationSkills, RouterError> {
        if self.prompt_tokens.is_empty() {
            return Err(RouterError::NoCalibration);
        }
        let skills = self.score(self.prompt_tokens.len(), candidates)?;
        Ok(CalibrationSkills { skills, prompt_tokens: self.prompt_tokens.clone() })
    }
}
