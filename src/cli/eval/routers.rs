//! The routers under test, each with the embedder it needs.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use faer::Mat;
use pointsman::routing::embedders::Embedders;
use pointsman_routers::artifact::Artifact;
use pointsman_routers::embed::Embedder;
use pointsman_routers::split::PromptHash;
use pointsman_routers::{Candidate, QueryBatch, Router, SkillMatrix, shipped};

use super::Arguments;
use crate::cli::encoder;
use crate::cli::output::Failure;
use crate::cli::progress;

/// The baseline that sends long prompts to the strong model. Always measured on pairs, so it may be named, too.
pub(super) const LENGTH: &str = "length";
/// Texts scored at a time.
const CHUNK: usize = 256;

/// A router under test.
pub(super) struct Subject {
    pub(super) name: String,
    router: Arc<dyn Router>,
    /// Where the router reads embeddings.
    embedder: Option<Arc<dyn Embedder>>,
}

impl Subject {
    /// θ⁰ of a candidate.
    pub(super) fn prior(&self, candidate: &Candidate) -> f64 {
        self.router.prior(candidate)
    }

    /// One row of skills per text.
    pub(super) fn score(&self, texts: &[&str], candidates: &[Candidate]) -> Result<SkillMatrix, Failure> {
        let bar = progress::bar("prompts scored", texts.len());
        bar.set_message(format!("prompts scored by {}", self.name));
        let mut skills = Mat::zeros(texts.len(), candidates.len());
        for (chunk, some) in texts.chunks(CHUNK).enumerate() {
            let embeddings = self.embedder.as_ref().map(|embedder| embedder.embed_batch(some)).transpose();
            let queries = QueryBatch { texts: some, embeddings: embeddings.map_err(Failure::because)? };
            let scored = self.router.skills(&queries, candidates).map_err(Failure::because)?;
            skills.get_mut(chunk * CHUNK..chunk * CHUNK + some.len(), ..).copy_from(&scored);
            bar.inc(some.len() as u64);
        }
        bar.finish_and_clear();
        Ok(skills)
    }
}

/// All routers, and what they share.
pub(super) struct Subjects {
    pub(super) all: Vec<Subject>,
    /// Hashes of every prompt that any of them was trained on.
    pub(super) trained: BTreeSet<PromptHash>,
    embedders: Embedders,
}

impl Subjects {
    /// The routers that the command line names; `mf` and `random` when it names none.
    pub(super) fn load(arguments: &Arguments) -> Result<Self, Failure> {
        let embedders = Embedders::with_encoder(arguments.encoder.as_deref()).map_err(Failure::because)?;
        let mut subjects = Self { all: Vec::new(), trained: BTreeSet::new(), embedders };
        for file in &arguments.artifact {
            subjects.add_file(file)?;
        }
        let default = ["mf", "random"].map(str::to_owned);
        let none_named = arguments.routers.is_empty();
        let names = if none_named { &default[..] } else { &arguments.routers };
        for name in names.iter().filter(|name| *name != LENGTH) {
            let is_there = subjects.all.iter().any(|subject| subject.name == *name);
            // Files alone: lots beside them, nothing else.
            if is_there || (none_named && !arguments.artifact.is_empty() && name == "mf") {
                continue;
            }
            let router = shipped::router(name).map_err(|error| Failure::Usage(error.to_string()))?;
            if router.needs().embedding.is_some() {
                let artifact = shipped::default_artifact().map_err(Failure::because)?;
                subjects.trained.extend(artifact.provenance().training_prompts.iter().copied());
            }
            subjects.add(name.clone(), router)?;
        }
        // In the order in which they were asked for.
        if !none_named {
            let place = |subject: &Subject| names.iter().position(|name| *name == subject.name);
            subjects.all.retain(|subject| place(subject).is_some());
            subjects.all.sort_by_key(place);
        }
        Ok(subjects)
    }

    fn add_file(&mut self, file: &Path) -> Result<(), Failure> {
        let shown = file.display().to_string();
        let bytes = std::fs::read(file).map_err(|error| Failure::Because(format!("{shown}: {error}")))?;
        let artifact = Artifact::from_bytes(&bytes, &shown).map_err(Failure::because)?;
        self.trained.extend(artifact.provenance().training_prompts.iter().copied());
        let taken = self.all.iter().any(|subject| subject.name == artifact.kind());
        let name = if taken { shown } else { artifact.kind().to_owned() };
        self.add(name, artifact.router())
    }

    fn add(&mut self, name: String, router: Arc<dyn Router>) -> Result<(), Failure> {
        let needed = router.needs().embedding;
        let embedder = needed.map(|needed| self.embedders.find(&needed)).transpose();
        let embedder = embedder.map_err(|mismatch| Failure::Because(encoder::missing(&name, &mismatch)))?;
        self.all.push(Subject { name, router, embedder });
        Ok(())
    }

    /// Places models in a router's artefact.
    pub(super) fn place(subject: &Subject, models: &[&str]) -> Result<Vec<Candidate>, Failure> {
        let place = |model: &&str| {
            subject.router.place(model, None).ok_or_else(|| {
                Failure::Because(format!("{} knows no {model}: it cannot be measured on it", subject.name))
            })
        };
        models.iter().map(place).collect()
    }
}
