//! A router whose word the test writes, and which tells what it was asked.

use std::sync::{Arc, Mutex};

use pointsman::routing::{embedders::Embedders, engine::Engine};
use pointsman_routers::{
    CalibrationSkills, Candidate, CostClass, Needs, QueryBatch, Router, RouterError, SkillMatrix, Standing,
};

/// What a router does when it is asked: a text and a model's canonical name give its skill.
pub(crate) type Word = dyn Fn(&str, &str) -> Result<f64, RouterError> + Send + Sync;

/// One question: the text, and the candidates' names.
pub(crate) type Question = (String, Vec<String>);

/// A router under the test's thumb. It knows the models that it is given, each with its global rating.
#[derive(Clone)]
pub(crate) struct Scripted {
    name: &'static str,
    priors: &'static [(&'static str, f64)],
    cost: CostClass,
    word: Arc<Word>,
    asked: Arc<Mutex<Vec<Question>>>,
}

impl Scripted {
    /// A router of microseconds whose skills are its global ratings.
    pub(crate) fn new(name: &'static str, priors: &'static [(&'static str, f64)]) -> Self {
        let prior =
            move |model: &str| priors.iter().find(|(known, _)| *known == model).map_or(0.0, |found| found.1);
        let word: Arc<Word> = Arc::new(move |_: &str, model: &str| Ok(prior(model)));
        Self { name, priors, cost: CostClass::Microseconds, word, asked: Arc::default() }
    }

    /// Says this instead.
    pub(crate) fn says(
        mut self,
        word: impl Fn(&str, &str) -> Result<f64, RouterError> + Send + Sync + 'static,
    ) -> Self {
        self.word = Arc::new(word);
        self
    }

    /// Needs a thread of its own.
    pub(crate) fn slow(mut self) -> Self {
        self.cost = CostClass::Milliseconds;
        self
    }

    /// Ready for a gateway.
    pub(crate) fn engine(&self) -> Engine {
        Engine::new(Arc::new(self.clone()), &Embedders::default()).unwrap()
    }

    /// What it was asked so far.
    pub(crate) fn asked(&self) -> Vec<Question> {
        self.asked.lock().unwrap().clone()
    }
}

impl Router for Scripted {
    fn name(&self) -> &'static str {
        self.name
    }

    fn needs(&self) -> Needs {
        Needs { embedding: None, decoder: None, cost: self.cost }
    }

    fn place(&self, name: &str, elo: Option<f64>) -> Option<Candidate> {
        let row = self.priors.iter().position(|(known, _)| *known == name).map(Standing::Row);
        let standing = row.or_else(|| elo.map(Standing::Elo))?;
        Some(Candidate { name: name.to_owned(), standing })
    }

    fn prior(&self, candidate: &Candidate) -> f64 {
        match candidate.standing {
            Standing::Row(row) => self.priors[row].1,
            Standing::Elo(elo) => (elo - 1114.0) * std::f64::consts::LN_10 / 400.0,
        }
    }

    fn skills(&self, queries: &QueryBatch<'_>, candidates: &[Candidate]) -> Result<SkillMatrix, RouterError> {
        let names = candidates.iter().map(|candidate| candidate.name.clone()).collect();
        self.asked.lock().unwrap().push((queries.texts[0].to_owned(), names));
        let skills: Result<Vec<f64>, RouterError> =
            candidates.iter().map(|candidate| (self.word)(queries.texts[0], &candidate.name)).collect();
        let skills = skills?;
        Ok(SkillMatrix::from_fn(1, skills.len(), |_, column| skills[column]))
    }

    fn calibration(&self, _candidates: &[Candidate]) -> Result<CalibrationSkills, RouterError> {
        Err(RouterError::NoCalibration)
    }
}
