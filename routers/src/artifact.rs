//! Router artefacts: what a training leaves behind, in one file that says where it comes from.
//!
//! | tensor                      | type, shape           | holds                                                 |
//! |-----------------------------|-----------------------|-------------------------------------------------------|
//! | `added_mix`                 | F32, added × models   | what each model added later takes from the others     |
//! | `added_prior`               | F64, added            | θ⁰ of each model added later                          |
//! | `calibration_models`        | U32, moved            | the models that any prompt of the sample moves        |
//! | `calibration_prompt_tokens` | U32, prompts          | estimated tokens of each prompt                       |
//! | `calibration_rows`          | U32, prompts          | which row of the sample is each prompt's              |
//! | `calibration_scales`        | F32, rows             | what each row of the sample is multiplied by          |
//! | `calibration_shifts`        | I16, rows × moved     | the calibration sample: θ(x) − θ⁰ of each of these    |
//! | `components`                | U32, models           | which part of the comparison graph each model lies in |
//! | `prior`                     | F64, models           | θ⁰ of each model                                      |
//! | `training_prompts`          | U8, prompts × 16      | hashes of the training prompts, ascending             |
//!
//! The first two are there when models were added. `calibration_rows` is there when at most half of the prompts' rows differ: each is
//! stored once then; else there is a row per prompt, in their order. To these come the tensors of the router's kind, listed where they are read: `artifact/body/`.
//!
//! Reading verifies everything and never panics, whatever the bytes. Must not know how routers are trained or run.

mod added;
mod body;
pub(crate) mod check;
mod container;
mod error;
mod manifest;
mod ratings;
mod sample;
mod tensors;
#[cfg(test)]
mod tests;

pub use added::Added;
pub use body::Body;
pub use error::{ArtifactError, ArtifactProblem};
pub use manifest::{Anchor, Provenance, Source};
pub use ratings::Ratings;
pub use sample::CalibrationSample;

use std::sync::Arc;

use faer::Mat;

use self::manifest::Manifest;
use self::tensors::{OwnedTensor, Tensors};
use crate::roster::Roster;
use crate::router::{Candidate, QueryBatch, Router, RouterError, Standing};
use crate::split::PromptHash;

/// The version of the format that this release writes, and the highest it reads.
pub const FORMAT_VERSION: u64 = 1;

/// A verified artefact: ratings, a router of some kind, where they come from, and what they are calibrated on.
#[derive(Debug, Clone, PartialEq)]
pub struct Artifact {
    ratings: Ratings,
    added: Vec<Added>,
    body: Body,
    provenance: Provenance,
    calibration: CalibrationSample,
}

impl Artifact {
    /// Puts a trained router together with where it comes from and what it is calibrated on. The training prompts are
    /// sorted; everything else is taken as it is.
    ///
    /// # Errors
    /// When the parts do not fit together, a weight is not finite, or the gauge does not hold.
    pub fn new(
        ratings: Ratings,
        body: Body,
        mut provenance: Provenance,
        calibration: CalibrationSample,
    ) -> Result<Self, ArtifactProblem> {
        ratings.check()?;
        body.check(&ratings, &provenance.embedder)?;
        manifest::check_anchor(&provenance.anchor, &ratings.models)?;
        calibration.check(ratings.models.len())?;
        provenance.training_prompts.sort_unstable();
        provenance.training_prompts.dedup();
        Ok(Self { ratings, added: Vec::new(), body, provenance, calibration })
    }

    /// Writes the file; equal artefacts give equal bytes.
    ///
    /// # Errors
    /// When a metric is not a JSON number.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ArtifactProblem> {
        let Self { ratings, added, body, provenance, calibration } = self;
        let hashes: Vec<[u8; 16]> = provenance.training_prompts.iter().map(|hash| hash.0).collect();
        let mut tensors = vec![OwnedTensor::u8("training_prompts", &hashes)];
        tensors.extend(calibration.tensors());
        tensors.extend(added::tensors(added));
        tensors.extend(ratings.tensors());
        tensors.extend(body.tensors()?);
        tensors.sort_unstable_by_key(|tensor| tensor.name);
        container::write(&Manifest::describe(self).to_json()?, &tensors)
    }

    /// Reads and verifies a file. `file` is what errors call it.
    ///
    /// Whether the embedder is the right one is for the caller to check, by [`Artifact::embedder_fingerprint`].
    ///
    /// # Errors
    /// When the bytes are no such file, of a later version, of an unknown kind, or damaged.
    pub fn from_bytes(bytes: &[u8], file: &str) -> Result<Self, ArtifactError> {
        Self::read(bytes, |_| true).map_err(|problem| problem.in_file(file))
    }

    /// What tells a file from every other: the beginning of its content's digest, 12 hexadecimal digits. Not verified here.
    #[must_use]
    pub fn version(bytes: &[u8]) -> Option<String> {
        container::stated_digest(bytes)?.get(..12).map(str::to_owned)
    }

    /// Reads a file whose kind is `allowed`.
    fn read(bytes: &[u8], allowed: impl FnOnce(&str) -> bool) -> Result<Self, ArtifactProblem> {
        let container = container::read(bytes)?;
        if !allowed(&container.kind) {
            return Err(ArtifactProblem::UnknownKind { found: container.kind });
        }
        let Manifest { models, added, dim, embedder, anchor, sources, seed, metrics, .. } =
            Manifest::from_json(&container.manifest)?;
        let tensors = Tensors(container.tensors);
        let body = Body::read(&container.kind, models.len(), dim, &tensors)?;
        let added = added::read(added, models.len(), &tensors)?;
        let ratings = Ratings::read(models, &tensors)?;
        let calibration = CalibrationSample::read(ratings.models.len(), &tensors)?;
        let hashes = tensors.u8("training_prompts", tensors.rows("training_prompts")?)?;
        let training_prompts = hashes.into_iter().map(PromptHash).collect();
        let provenance = Provenance { embedder, anchor, sources, training_prompts, seed, metrics };
        Self::new(ratings, body, provenance, calibration)?.with_added(added)
    }

    /// The file of a router within the file of a blend, by its kind; `None` when there is none.
    #[must_use]
    pub fn part_of<'a>(blend: &'a [u8], kind: &str) -> Option<&'a [u8]> {
        body::part(blend, kind)
    }

    /// The same router with another calibration sample.
    ///
    /// # Errors
    /// When the sample is of other models.
    pub fn recalibrated(self, calibration: CalibrationSample) -> Result<Self, ArtifactProblem> {
        Self::new(self.ratings, self.body, self.provenance, calibration)?.with_added(self.added)
    }

    /// The same router with one more model, and the prompts and files that it was placed by.
    ///
    /// # Errors
    /// When the model is known already, or what was learned of it does not fit.
    pub fn adding(
        self,
        model: Added,
        prompts: impl IntoIterator<Item = PromptHash>,
        sources: impl IntoIterator<Item = Source>,
    ) -> Result<Self, ArtifactProblem> {
        let Self { ratings, mut added, body, mut provenance, calibration } = self;
        added.push(model);
        added.sort_by(|one, other| one.model.cmp(&other.model));
        provenance.training_prompts.extend(prompts);
        provenance.sources.extend(sources);
        Self::new(ratings, body, provenance, calibration)?.with_added(added)
    }

    fn with_added(self, added: Vec<Added>) -> Result<Self, ArtifactProblem> {
        added::check(&added, &self.ratings.models)?;
        Ok(Self { added, ..self })
    }

    /// The router that it describes.
    #[must_use]
    pub fn router(&self) -> Arc<dyn Router> {
        self.body.router(self, &self.ratings)
    }

    /// Its own models, as its router sees them.
    #[must_use]
    pub fn candidates(&self) -> Vec<Candidate> {
        let candidate =
            |(row, name): (usize, &String)| Candidate { name: name.clone(), standing: Standing::Row(row) };
        self.ratings.models.iter().enumerate().map(candidate).collect()
    }

    /// θ(x) − θ⁰ of each of its own models, by its router (made once by the caller, as it may be large): a row per
    /// query. What a calibration sample is made of.
    ///
    /// # Errors
    /// When the queries do not carry what the router needs.
    pub fn shifts(&self, router: &dyn Router, queries: &QueryBatch<'_>) -> Result<Mat<f64>, RouterError> {
        let mut shifts = router.skills(queries, &self.candidates())?;
        for (column, prior) in shifts.col_iter_mut().zip(&self.ratings.prior) {
            column.iter_mut().for_each(|skill| *skill -= prior);
        }
        Ok(shifts)
    }

    /// The kind of router: `mf`, …
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.body.kind()
    }

    /// The router of the kind asked for: this one, or a part of this blend.
    ///
    /// # Errors
    /// When it is of another kind, and has no such part. `file` is what the error calls it.
    pub fn of_kind(&self, kind: &str, file: &str) -> Result<&Self, ArtifactError> {
        let chosen = match &self.body {
            _ if self.kind() == kind => Some(self),
            Body::Blend(weights) => weights.part(kind),
            _ => None,
        };
        chosen.ok_or_else(|| {
            let (found, expected) = (self.kind().to_owned(), kind.to_owned());
            ArtifactProblem::Kind { found, expected }.in_file(file)
        })
    }

    /// The space that the embeddings must be of.
    #[must_use]
    pub fn embedder_fingerprint(&self) -> &str {
        &self.provenance.embedder
    }

    /// The models and their global ratings.
    #[must_use]
    pub fn ratings(&self) -> &Ratings {
        &self.ratings
    }

    /// The models that were placed afterwards.
    #[must_use]
    pub fn added(&self) -> &[Added] {
        &self.added
    }

    /// What was learned of how prompts move skills.
    #[must_use]
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// Where it comes from.
    #[must_use]
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// What it is calibrated on.
    #[must_use]
    pub fn calibration(&self) -> &CalibrationSample {
        &self.calibration
    }

    /// Its models and their global skills.
    pub(crate) fn roster(&self) -> Roster {
        let Ratings { models, prior, components } = &self.ratings;
        let Anchor { model, elo } = &self.provenance.anchor;
        let anchor = models.binary_search(model).unwrap_or_default();
        let added = self.added.iter().map(|added| (added.model.as_str(), added.prior));
        Roster::new(models, prior, components, (anchor, *elo)).with_added(added)
    }
}
