//! A pool of models, placed, priced and scored.

use std::collections::BTreeMap;

use faer::Mat;
use pointsman::config::{HttpBaseUrl, ModelConfig, Price};
use pointsman::routing::candidates::PoolModel;
use pointsman::routing::engine::Engine;
use pointsman::routing::plan::Costs;
use pointsman_routers::calibration::Sample;
use pointsman_routers::{Candidate, SkillMatrix};

use super::traffic::{BATCH, Traffic};
use crate::cli::output::Failure;
use crate::cli::prices::PriceFile;
use crate::cli::progress;

/// The models to choose from.
pub(super) struct Pool<'a> {
    engine: &'a Engine,
    pub(super) models: &'a [String],
    candidates: Vec<Candidate>,
    costs: Costs,
}

/// The skills and expected costs of a pool's models on a sample of prompts.
pub(super) struct Scored {
    pub(super) skills: SkillMatrix,
    costs_usd: Mat<f64>,
}

impl Scored {
    pub(super) fn sample(&self) -> Sample<'_> {
        Sample { skills: &self.skills, costs_usd: &self.costs_usd }
    }
}

impl<'a> Pool<'a> {
    /// Every model must be known to the router, and have a price where there are any.
    pub(super) fn new(
        engine: &'a Engine,
        models: &'a [String],
        prices: Option<&PriceFile>,
    ) -> Result<Self, Failure> {
        let router = engine.router();
        let candidates: Vec<Candidate> = models.iter().filter_map(|name| router.place(name, None)).collect();
        if candidates.len() < models.len() {
            return Err(unknown(engine, models));
        }
        let ratings: Vec<f64> = candidates.iter().map(|candidate| router.prior(candidate)).collect();
        let prices = prices.map(|prices| prices.of_all(models)).transpose()?.unwrap_or_default();
        Ok(Self { engine, models, costs: Costs::of(&pool_models(models, &prices)?, &ratings), candidates })
    }

    pub(super) fn router(&self) -> &'static str {
        self.engine.router().name()
    }

    pub(super) fn has_prices(&self) -> bool {
        matches!(self.costs, Costs::Priced(_))
    }

    /// Scores prompts as the gateway would.
    pub(super) fn score(&self, traffic: &Traffic) -> Result<Scored, Failure> {
        let prompts = traffic.texts.len();
        let mut skills = SkillMatrix::zeros(prompts, self.models.len());
        let bar = progress::bar("prompts scored", prompts);
        for start in (0..prompts).step_by(BATCH) {
            let texts: Vec<&str> = traffic.texts.iter().skip(start).take(BATCH).map(String::as_str).collect();
            let batch = self.engine.query(&texts, &self.candidates).map_err(Failure::Because)?;
            let scored = self.engine.router().skills(&batch, &self.candidates).map_err(Failure::because)?;
            skills.subrows_mut(start, texts.len()).copy_from(&scored);
            bar.inc(texts.len() as u64);
        }
        bar.finish_and_clear();
        Ok(self.costed(skills, &traffic.prompt_tokens))
    }

    /// Scores the sample that the artefact carries.
    pub(super) fn score_sample(&self) -> Result<Scored, Failure> {
        let sample = self.engine.router().calibration(&self.candidates).map_err(Failure::because)?;
        Ok(self.costed(sample.skills, &sample.prompt_tokens))
    }

    fn costed(&self, skills: SkillMatrix, prompt_tokens: &[u32]) -> Scored {
        let tokens = |prompt: usize| prompt_tokens.get(prompt).copied().map_or(0.0, f64::from);
        let costs_usd = Mat::from_fn(skills.nrows(), skills.ncols(), |prompt, model| {
            self.costs.expected(model, tokens(prompt))
        });
        Scored { skills, costs_usd }
    }
}

/// All models that the router does not know, and which may have been meant.
fn unknown(engine: &Engine, models: &[String]) -> Failure {
    let router = engine.router();
    let told = models.iter().filter(|name| router.place(name, None).is_none()).map(|name| {
        let hint = engine.hint(name).map(|hint| format!("; {hint}")).unwrap_or_default();
        format!("{name} is unknown to router {}{hint}", router.name())
    });
    Failure::Because(told.collect::<Vec<_>>().join("\n"))
}

fn pool_models(models: &[String], prices: &BTreeMap<&str, Price>) -> Result<Vec<PoolModel>, Failure> {
    /// Nobody is called.
    const NOWHERE: &str = "http://localhost";
    let nowhere: HttpBaseUrl = NOWHERE.parse().map_err(Failure::because)?;
    let model = |name: &String| {
        let price = prices.get(name.as_str()).copied();
        PoolModel::new(name, &ModelConfig { price, ..ModelConfig::new(name, nowhere.clone()) })
    };
    Ok(models.iter().map(model).collect())
}
