//! Skills by lot.

use faer::Mat;

use crate::identity;
use crate::router::{
    CalibrationSkills, Candidate, CostClass, Needs, QueryBatch, Router, RouterError, SkillMatrix, Standing,
};
use crate::select::hash::{mix, text_hash, unit_interval};

/// Texts of the calibration sample.
const SAMPLE_PROMPTS: usize = 4096;
/// How long a prompt is taken to be, tokens: about the mean of real ones; lots say nothing of it.
const SAMPLE_PROMPT_TOKENS: u32 = 100;

/// Draws every skill by a hash of the seed, the text and the model's canonical name.
///
/// The skills follow Gumbel's distribution: the difference of two is then logistic, so that each win rate is
/// spread evenly over 0..1, and of two models the dearer gets 1 − α of the texts under `threshold: α`.
#[derive(Debug, Clone, Copy)]
pub struct RandomRouter {
    seed: u64,
}

impl RandomRouter {
    /// The router of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed }
    }

    fn skill(self, text: u64, model: u64) -> f64 {
        let lot = mix(mix(mix(self.seed) ^ text) ^ model);
        // Half a step off both ends, so that no logarithm is of zero.
        let share = unit_interval(lot).max(f64::EPSILON / 4.0);
        -(-share.ln()).ln()
    }

    fn score<Text: AsRef<str>>(
        self,
        texts: impl Iterator<Item = Text>,
        candidates: &[Candidate],
    ) -> SkillMatrix {
        let texts: Vec<u64> = texts.map(|text| text_hash(text.as_ref())).collect();
        let models: Vec<u64> = candidates.iter().map(|candidate| text_hash(&candidate.name)).collect();
        let (texts, models) = (&texts, &models);
        Mat::from_fn(texts.len(), models.len(), |row, column| self.skill(texts[row], models[column]))
    }
}

impl Router for RandomRouter {
    fn name(&self) -> &'static str {
        "random"
    }

    fn needs(&self) -> Needs {
        Needs { embedding: None, decoder: None, cost: CostClass::Microseconds }
    }

    /// Any model can be drawn; its row means nothing.
    fn place(&self, name: &str, _elo: Option<f64>) -> Option<Candidate> {
        Some(Candidate { name: identity::canonical(name).to_owned(), standing: Standing::Row(0) })
    }

    fn prior(&self, _candidate: &Candidate) -> f64 {
        0.0
    }

    fn skills(&self, queries: &QueryBatch<'_>, candidates: &[Candidate]) -> Result<SkillMatrix, RouterError> {
        Ok(self.score(queries.texts.iter(), candidates))
    }

    /// Drawn for made-up texts: which ones makes no difference.
    fn calibration(&self, candidates: &[Candidate]) -> Result<CalibrationSkills, RouterError> {
        let texts = (0..SAMPLE_PROMPTS).map(|number| format!("calibration text {number}"));
        let skills = self.score(texts, candidates);
        Ok(CalibrationSkills { skills, prompt_tokens: vec![SAMPLE_PROMPT_TOKENS; SAMPLE_PROMPTS] })
    }
}
