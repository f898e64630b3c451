//! What an artefact says of itself, in JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::error::ArtifactProblem;
use super::{Artifact, FORMAT_VERSION};
use crate::json;
use crate::split::PromptHash;

/// Most dimensions of an embedding: keeps every product far from overflow.
const DIM_MAX: usize = 1 << 16;

/// Where an artefact comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Provenance {
    /// Fingerprint of the embedder that the training used.
    pub embedder: String,
    /// What ties skills to Elo ratings.
    pub anchor: Anchor,
    /// The files it was trained on.
    pub sources: Vec<Source>,
    /// Hashes of the prompts it was trained on.
    pub training_prompts: Vec<PromptHash>,
    /// The seed of the training.
    pub seed: u64,
    /// What was measured on held-out prompts, by name.
    pub metrics: BTreeMap<String, serde_json::Value>,
}

/// A model whose Elo rating is given: Elo = elo + (400 / ln 10) · (θ − θ of this model).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Anchor {
    /// Canonical name, one of the artefact's models.
    pub model: String,
    /// Its rating.
    pub elo: f64,
}

impl Anchor {
    /// The Chatbot Arena's own anchor.
    #[must_use]
    pub fn arena() -> Self {
        Self { model: "mixtral-8x7b-instruct-v0.1".to_owned(), elo: 1114.0 }
    }
}

/// A file of training data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// The file's name, or the source's.
    pub name: String,
    /// SHA-256 of the file in hexadecimal.
    pub sha256: String,
    /// Rows read.
    pub rows: u64,
    /// Under which terms: an SPDX expression, or words.
    pub licence: String,
}

/// The manifest as it is written.
#[derive(Serialize, Deserialize)]
pub(super) struct Manifest {
    kind: String,
    format_version: u64,
    /// Canonical names, ascending.
    pub(super) models: Vec<String>,
    /// Canonical names of models placed afterwards, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) added: Vec<String>,
    pub(super) dim: usize,
    pub(super) embedder: String,
    pub(super) anchor: Anchor,
    pub(super) sources: Vec<Source>,
    pub(super) seed: u64,
    pub(super) metrics: BTreeMap<String, serde_json::Value>,
}

impl Manifest {
    pub(super) fn describe(artifact: &Artifact) -> Self {
        let Artifact { ratings, added, body, provenance, calibration: _ } = artifact;
        let Provenance { embedder, anchor, sources, seed, metrics, training_prompts: _ } = provenance.clone();
        Self {
            kind: body.kind().to_owned(),
            format_version: FORMAT_VERSION,
            models: ratings.models.clone(),
            added: added.iter().map(|added| added.model.clone()).collect(),
            dim: body.dim(),
            embedder,
            anchor,
            sources,
            seed,
            metrics,
        }
    }

    pub(super) fn to_json(&self) -> Result<String, ArtifactProblem> {
        serde_json::to_string(self).map_err(|source| ArtifactProblem::Manifest(source.to_string()))
    }

    pub(super) fn from_json(text: &str) -> Result<Self, ArtifactProblem> {
        let manifest: Self = serde_json::from_str(text)
            .map_err(|source| ArtifactProblem::Manifest(json::problem_and_place(&source)))?;
        if manifest.dim == 0 || manifest.dim > DIM_MAX {
            let reason = format!("`dim` is {}, expected 1 to {DIM_MAX}", manifest.dim);
            return Err(ArtifactProblem::Manifest(reason));
        }
        Ok(manifest)
    }
}

/// The anchor must be one of the models, and its rating a number.
pub(super) fn check_anchor(anchor: &Anchor, models: &[String]) -> Result<(), ArtifactProblem> {
    if models.binary_search(&anchor.model).is_err() {
        let reason = format!("the anchor `{}` is not one of its models", anchor.model);
        return Err(ArtifactProblem::Manifest(reason));
    }
    if !anchor.elo.is_finite() {
        return Err(ArtifactProblem::Manifest(format!("the anchor's Elo is {}", anchor.elo)));
    }
    Ok(())
}
