//! The routers under test, and the prompts as each of them reads them.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use faer::Mat;
use pointsman::config::RouterKind;
use pointsman::routing::beside::{self, Beside};
use pointsman::routing::embedders::Embedders;
use pointsman::routing::engine::{Joined, joined};
use pointsman_routers::artifact::Artifact;
use pointsman_routers::causal::Reader;
use pointsman_routers::embed::Embedder;
use pointsman_routers::shipped::{self, ShippedError};
use pointsman_routers::split::PromptHash;
use pointsman_routers::{Candidate, QueryBatch, Router, SkillMatrix};

use super::Arguments;
use crate::cli::output::Failure;
use crate::cli::{artifact, encoder, progress};

/// Baselines that are always measured where they mean something, so they may be named, too.
pub(super) const LENGTH: &str = "length";
pub(super) const ORACLE: &str = "oracle";
/// The baseline that knows nothing. What it reaches is known without drawing any lots.
pub(super) const RANDOM: &str = "random";
const BASELINES: [&str; 4] = [RANDOM, LENGTH, ORACLE, "dataset_oracle"];
/// The trained baselines, which are measured beside whatever is asked for.
const TRAINED_BASELINES: [&str; 2] = ["kmeans", "knn"];
/// Texts scored at a time.
const CHUNK: usize = 64;

/// A router under test.
pub(super) struct Subject {
    /// Its kind; of several artefacts of one kind, the file.
    pub(super) name: String,
    kind: &'static str,
    /// Whether it is there for comparison alone: then what is measured on is not chosen by what it knows.
    pub(super) is_baseline: bool,
    /// Hashes of the prompts that it was trained on, ascending.
    trained: Vec<PromptHash>,
    /// How many logits of each source's labels a unit of its skill is worth, for the sources it was trained on.
    pub(super) label_scales: BTreeMap<String, f64>,
    router: Arc<dyn Router>,
    /// Where the router reads embeddings.
    embedder: Option<Arc<dyn Embedder>>,
    /// Where it reads a decoder's labels.
    reader: Option<Arc<Reader>>,
}

impl Subject {
    /// θ⁰ of a candidate.
    pub(super) fn prior(&self, candidate: &Candidate) -> f64 {
        self.router.prior(candidate)
    }

    /// Its place for a model, if it knows it.
    pub(super) fn find(&self, model: &str) -> Option<Candidate> {
        self.router.place(model, None)
    }

    /// Its places for models.
    pub(super) fn place(&self, models: &[&str]) -> Result<Vec<Candidate>, Failure> {
        let unknown: Vec<&str> = models.iter().copied().filter(|model| self.find(model).is_none()).collect();
        if !unknown.is_empty() {
            return Err(Failure::Because(format!(
                "{} knows no {}: it cannot be measured on that, unless `pointsman models add` places it",
                self.name,
                unknown.join(", ")
            )));
        }
        Ok(models.iter().filter_map(|model| self.find(model)).collect())
    }

    /// Why a baseline has no place beside routers that are measured on these models and prompts.
    fn unfit(&self, models: &[&str], prompts: &BTreeSet<PromptHash>) -> Option<String> {
        if let Err(Failure::Because(reason)) = self.place(models) {
            return Some(reason);
        }
        let trained = prompts.iter().filter(|prompt| self.trained.binary_search(prompt).is_ok()).count();
        (trained > 0).then(|| format!("{} was trained on {trained} of the prompts", self.name))
    }
}

/// All routers, and what they share.
pub(super) struct Subjects {
    pub(super) all: Vec<Subject>,
    /// Hashes of every prompt that any router that was asked for was trained on.
    pub(super) trained: BTreeSet<PromptHash>,
    embedders: Embedders,
    /// The fingerprint of the encoder given, if one is.
    encoder: Option<String>,
}

/// Prompts with the vectors that the routers read.
pub(super) struct Prompts<'a> {
    pub(super) texts: Vec<&'a str>,
    /// By the embedder's fingerprint.
    embeddings: BTreeMap<String, Mat<f32>>,
}

impl Subjects {
    /// The routers that the command line names; without names those of its files, or else `mf`. Beside them the trained
    /// baselines.
    pub(super) fn load(arguments: &Arguments) -> Result<Self, Failure> {
        let folder = arguments.embedding.encoder.as_deref();
        let embedders = Embedders::with_encoder(folder)
            .and_then(|embedders| embedders.with_decoder(arguments.decoder.as_deref()))
            .map_err(Failure::because)?;
        let encoder = folder.map(|_| arguments.embedding.open()).transpose()?;
        let encoder = encoder.map(|encoder| encoder.fingerprint().to_owned());
        let (asked, files) = (&arguments.routers, &arguments.artifact);
        let mut subjects = Self { all: Vec::new(), trained: BTreeSet::new(), embedders, encoder };
        let given = subjects.add_files(files, asked)?;
        let named = asked.iter().map(String::as_str).filter(|name| !BASELINES.contains(name));
        let usual = (asked.is_empty() && files.is_empty()).then_some("mf");
        for name in named.chain(usual).chain(TRAINED_BASELINES) {
            if !subjects.all.iter().any(|subject| subject.kind == name) {
                subjects.add_named(name)?;
            }
        }
        // In the order in which they were asked for, then the baselines that were not.
        let place = |subject: &Subject| asked.iter().position(|name| *name == subject.kind);
        let is_wanted = |subject: &Subject| match asked.is_empty() {
            true => given.contains(subject.kind) || usual == Some(subject.kind),
            false => place(subject).is_some(),
        };
        for subject in &mut subjects.all {
            subject.is_baseline = !is_wanted(subject);
        }
        let is_shown = |subject: &Subject| !subject.is_baseline || TRAINED_BASELINES.contains(&subject.kind);
        subjects.all.retain(is_shown);
        subjects.all.sort_by_key(|subject| (subject.is_baseline, place(subject)));
        let trained = subjects.asked().flat_map(|subject| subject.trained.iter().copied()).collect();
        Ok(Self { trained, ..subjects })
    }

    /// The routers without the baselines that nobody asked for.
    pub(super) fn asked(&self) -> impl Iterator<Item = &Subject> {
        self.all.iter().filter(|subject| !subject.is_baseline)
    }

    /// Leaves out the baselines that do not know these models or were trained on any of these prompts, and tells so.
    pub(super) fn keep_fit(&mut self, models: &[&str], prompts: &BTreeSet<PromptHash>) {
        self.all.retain(|subject| {
            let reason = if subject.is_baseline { subject.unfit(models, prompts) } else { None };
            if let Some(reason) = &reason {
                tracing::warn!("the baseline {} is left out: {reason}", subject.kind);
            }
            reason.is_none()
        });
    }

    /// How the global ratings of two models compare, by the first router that knows both.
    pub(super) fn compare(&self, one: &str, other: &str) -> Option<Ordering> {
        let compare = |subject: &Subject| {
            let [one, other] = [one, other].map(|model| Some(subject.prior(&subject.find(model)?)));
            one?.partial_cmp(&other?)
        };
        self.all.iter().find_map(compare)
    }

    /// The routers of files; of a blend those of its parts, too, that are asked for, or a baseline, and in no file of their
    /// own. The kinds of the files.
    fn add_files(&mut self, files: &[PathBuf], asked: &[String]) -> Result<BTreeSet<&'static str>, Failure> {
        let load = |file: &PathBuf| Ok((file.display().to_string(), artifact::load(Some(file))?));
        let files: Vec<(String, Artifact)> = files.iter().map(load).collect::<Result<_, Failure>>()?;
        let mut artifacts: Vec<(&String, &Artifact)> =
            files.iter().map(|(file, artifact)| (file, artifact)).collect();
        let given: BTreeSet<&'static str> = artifacts.iter().map(|(_, artifact)| artifact.kind()).collect();
        let wanted: BTreeSet<&str> = asked
            .iter()
            .map(String::as_str)
            .chain(TRAINED_BASELINES)
            .filter(|kind| !given.contains(kind))
            .collect();
        for (file, artifact) in &files {
            artifacts
                .extend(wanted.iter().filter_map(|kind| Some((file, artifact.of_kind(kind, file).ok()?))));
        }
        for (file, artifact) in &artifacts {
            let of_kind = artifacts.iter().filter(|(_, other)| other.kind() == artifact.kind());
            let name = if of_kind.count() == 1 { artifact.kind() } else { file };
            self.add_artifact(name.to_owned(), artifact)?;
        }
        Ok(given)
    }

    /// A router of a kind: with an encoder, of the files beside the binary the one that was trained with it; else the one
    /// in the binary; else of those files the one that reads the embedder in the binary.
    fn add_named(&mut self, kind: &str) -> Result<(), Failure> {
        let is_trained = RouterKind::from_name(kind).is_some_and(RouterKind::reads_embeddings);
        if let Some(encoder) = &self.encoder
            && is_trained
            && let Ok(found) = beside::find(kind, encoder)
        {
            return self.add_beside(kind, &found);
        }
        match shipped::router(kind) {
            Ok(router) => {
                let artifact = shipped::artifact(kind).map_err(Failure::because)?;
                self.add(kind.to_owned(), artifact, router)
            }
            Err(ShippedError::UnknownKind { .. }) if is_trained => {
                let shipped = shipped::default_artifact().map_err(Failure::because)?;
                let found = beside::find(kind, shipped.embedder_fingerprint());
                self.add_beside(kind, &found.map_err(|error| artifact::none_beside(&error))?)
            }
            Err(error) => Err(Failure::Usage(error.to_string())),
        }
    }

    fn add_beside(&mut self, kind: &str, found: &Beside) -> Result<(), Failure> {
        tracing::info!("{kind} is {}", found.file.display());
        self.add_artifact(kind.to_owned(), &found.artifact)
    }

    fn add_artifact(&mut self, name: String, artifact: &Artifact) -> Result<(), Failure> {
        self.add(name, Some(artifact), artifact.router())
    }

    fn add(
        &mut self,
        name: String,
        artifact: Option<&Artifact>,
        router: Arc<dyn Router>,
    ) -> Result<(), Failure> {
        let trained = artifact.map(|artifact| artifact.provenance().training_prompts.clone());
        let Joined { embedder, reader } = joined(&*router, &self.embedders)
            .map_err(|misfit| Failure::Because(encoder::missing(&name, &misfit)))?;
        self.all.push(Subject {
            name,
            kind: router.name(),
            is_baseline: false,
            trained: trained.unwrap_or_default(),
            label_scales: artifact.map(label_scales).unwrap_or_default(),
            router,
            embedder,
            reader,
        });
        Ok(())
    }

    /// Embeds texts once for all routers.
    pub(super) fn read<'a>(
        &self,
        arguments: &Arguments,
        texts: &'a [String],
    ) -> Result<Prompts<'a>, Failure> {
        let mut embeddings = BTreeMap::new();
        for embedder in self.all.iter().filter_map(|subject| subject.embedder.as_ref()) {
            let fingerprint = embedder.fingerprint();
            if !embeddings.contains_key(fingerprint) {
                let vectors = arguments.embedding.embed(embedder.as_ref(), texts)?;
                embeddings.insert(fingerprint.to_owned(), vectors);
            }
        }
        Ok(Prompts { texts: texts.iter().map(String::as_str).collect(), embeddings })
    }
}

impl Subject {
    /// One row of skills per prompt.
    pub(super) fn score(
        &self,
        prompts: &Prompts<'_>,
        candidates: &[Candidate],
    ) -> Result<SkillMatrix, Failure> {
        let bar = progress::bar("prompts scored", prompts.texts.len());
        bar.set_message(format!("prompts scored by {}", self.name));
        let embeddings =
            self.embedder.as_ref().and_then(|embedder| prompts.embeddings.get(embedder.fingerprint()));
        let names = self.router.asks(candidates);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut skills = Mat::zeros(prompts.texts.len(), candidates.len());
        for (chunk, texts) in prompts.texts.chunks(CHUNK).enumerate() {
            let rows = chunk * CHUNK..chunk * CHUNK + texts.len();
            let embeddings = embeddings.map(|all| all.get(rows.clone(), ..).to_owned());
            let labels = self.reader.as_ref().map(|reader| reader.read_all(texts, &names)).transpose();
            let labels = labels.map_err(Failure::because)?;
            let scored = self.router.skills(&QueryBatch { texts, embeddings, labels }, candidates);
            skills.get_mut(rows, ..).copy_from(scored.map_err(Failure::because)?);
            bar.inc(texts.len() as u64);
        }
        bar.finish_and_clear();
        Ok(skills)
    }
}

fn label_scales(artifact: &Artifact) -> BTreeMap<String, f64> {
    let scales = artifact.provenance().metrics.get("label_scales").and_then(|scales| scales.as_object());
    let scale = |(source, scale): (&String, &serde_json::Value)| Some((source.clone(), scale.as_f64()?));
    scales.into_iter().flatten().filter_map(scale).collect()
}
