//! The causal router, trained and asked about the prompts that are measured: about the models with scores there alone, since each question costs
//! a pass through a language model.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use faer::Mat;
use pointsman_routers::data::{Dataset, Prompt};
use pointsman_routers::decoder::{Decoder, Precision};
use pointsman_routers::ratings::fit_global;
use pointsman_routers::train::{
    CausalOptions, Origin, Part, TrainError, Trained, routing_text, train_causal_on,
};
use pointsman_routers::{Candidate, QueryBatch, Standing};
use rayon::prelude::*;

use crate::PAIR;

/// What a head is trained on here: less than by default, for time's sake.
fn options() -> CausalOptions {
    CausalOptions {
        prompts: 2000,
        dev_prompts: 400,
        models_per_prompt: 5,
        sample_prompts: 96,
        question_tokens_max: 192,
        ..CausalOptions::default()
    }
}

pub(crate) struct Causal(Arc<Decoder>);

impl Causal {
    pub(crate) fn load(path: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        Ok(Self(Arc::new(Decoder::load(path, Precision::F32)?)))
    }

    pub(crate) fn train(
        &self,
        data: &Dataset,
        part: &(dyn Fn(&Prompt) -> Part + Sync),
        is_measured: &(dyn Fn(&Prompt) -> bool + Sync),
        seed: u64,
    ) -> Result<Trained, TrainError> {
        let report = |read: usize, questions: usize| {
            if read.is_multiple_of(50) {
                eprintln!("{read} of {questions} questions read");
            }
        };
        let origin = Origin::default();
        let artifact = train_causal_on(data, &self.0, &options(), &origin, (part, seed), &report)?;
        eprintln!("{}", serde_json::Value::from_iter(artifact.provenance().metrics.clone()));
        let router = artifact.router();
        let reader = router.reader(Arc::clone(&self.0)).transpose()?.ok_or(TrainError::NoBattles)?;
        let global = fit_global(data, &data.battles(|prompt| part(prompt) == Part::Train))?;
        let models = models_by_prompt(data, is_measured);
        let row = |(number, prompt): (usize, &Prompt)| {
            let mut skills = global.skills.clone();
            if !is_measured(prompt) {
                return Ok(skills);
            }
            let models = &models[number];
            let candidate = |&model: &usize| Candidate {
                name: data.models[model].clone(),
                standing: Standing::Row(model),
            };
            let candidates: Vec<Candidate> = models.iter().map(candidate).collect();
            let names = router.asks(&candidates);
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let text = routing_text(prompt);
            let labels = Some(vec![reader.read(&text, &names)?]);
            let queries = QueryBatch { texts: &[&text], embeddings: None, labels };
            let scored = router.skills(&queries, &candidates).map_err(|_| TrainError::NoBattles)?;
            models.iter().enumerate().for_each(|(column, model)| skills[*model] = scored[(0, column)]);
            Ok(skills)
        };
        let rows: Vec<Vec<f64>> = data
            .prompts
            .par_iter()
            .enumerate()
            .map(|(number, prompt)| row((number, prompt)))
            .collect::<Result<_, TrainError>>()?;
        Ok(Trained {
            body: artifact.body().clone(),
            scales: global.scales.clone(),
            global,
            temperature: 1.0,
            settings: pointsman_routers::train::Settings::new(),
            dev: Vec::new(),
            skills: Mat::from_fn(rows.len(), data.models.len(), |row, column| rows[row][column]),
        })
    }
}

/// By prompt, the models with scores or battles there, and the pair; of those that are not measured there may be some missing.
fn models_by_prompt(data: &Dataset, is_measured: &dyn Fn(&Prompt) -> bool) -> Vec<BTreeSet<usize>> {
    let pair: BTreeSet<usize> = PAIR.iter().filter_map(|name| data.model(name)).collect();
    let mut models = vec![pair; data.prompts.len()];
    for outcomes in &data.outcomes {
        models[outcomes.prompt as usize].extend(outcomes.scores.iter().map(|score| usize::from(score.model)));
    }
    for battle in data.battles(is_measured) {
        models[battle.prompt as usize].extend([battle.model_a, battle.model_b].map(usize::from));
    }
    models
}
