//! Routers by the kind that a configuration names: those that ship with this crate, and those of a user's files.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::artifact::{Artifact, ArtifactError};
use crate::baseline::{BestSingle, RandomRouter};
use crate::router::Router;

/// The kinds of routers that ship with this crate.
pub const KINDS: &[&str] = &["best_single", "blend", "knn", "mf", "random", "sw"];

/// The one file that ships: a blend, whose parts are the other routers.
const FILE: &str = "blend-default.safetensors";
static BYTES: &[u8] = include_bytes!("../artifacts/blend-default.safetensors");

static BLEND: Shipped = Shipped::new("blend");
static KNN: Shipped = Shipped::new("knn");
/// `best_single` is made of its ratings.
static MF: Shipped = Shipped::new("mf");
static SW: Shipped = Shipped::new("sw");

/// A router of the file; read once, when it is first asked for.
struct Shipped {
    kind: &'static str,
    artifact: OnceLock<Artifact>,
    router: OnceLock<Arc<dyn Router>>,
}

impl Shipped {
    const fn new(kind: &'static str) -> Self {
        Self { kind, artifact: OnceLock::new(), router: OnceLock::new() }
    }

    /// That of a kind; `None` for a kind that is made of no artefact, or does not ship.
    fn of(kind: &str) -> Option<&'static Self> {
        match kind {
            "best_single" => Some(&MF),
            _ => [&BLEND, &KNN, &MF, &SW].into_iter().find(|shipped| shipped.kind == kind),
        }
    }

    /// The bytes of the whole file, or of the part.
    fn bytes(&self) -> &'static [u8] {
        Artifact::part_of(BYTES, self.kind).unwrap_or(BYTES)
    }

    fn artifact(&self) -> Result<&Artifact, ArtifactError> {
        match self.artifact.get() {
            Some(artifact) => Ok(artifact),
            // Two threads may both read it; one of them keeps it.
            None => Artifact::from_bytes(self.bytes(), FILE)
                .map(|artifact| self.artifact.get_or_init(|| artifact)),
        }
    }

    fn router(&self) -> Result<Arc<dyn Router>, ArtifactError> {
        let artifact = self.artifact()?;
        Ok(Arc::clone(self.router.get_or_init(|| artifact.router())))
    }
}

/// The lots of the shipped `random`.
const RANDOM_SEED: u64 = 0;

/// Why there is no router.
#[derive(Debug, thiserror::Error)]
pub enum ShippedError {
    /// None of this kind ships with this crate.
    #[error("there is no router of kind `{kind}` in this release, only {}: give an artefact of one", KINDS.join(", "))]
    UnknownKind {
        /// What was asked for.
        kind: String,
    },
    /// A file was given to a router that reads none.
    #[error("the router `{kind}` reads no artefact: leave out `{}`", file.display())]
    NeedsNoFile {
        /// The router.
        kind: &'static str,
        /// The file given.
        file: PathBuf,
    },
    /// The file could not be read.
    #[error("router artefact `{}`: cannot be read: {source}", file.display())]
    Read {
        /// The file given.
        file: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is not a usable artefact.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
}

/// A router that ships with this crate. Made once: all callers share it.
///
/// # Errors
/// [`ShippedError::UnknownKind`]; and [`ShippedError::Artifact`] for a build that embedded a damaged file.
pub fn router(kind: &str) -> Result<Arc<dyn Router>, ShippedError> {
    match (kind, Shipped::of(kind)) {
        ("random", _) => Ok(Arc::new(RandomRouter::new(RANDOM_SEED))),
        ("best_single", Some(shipped)) => Ok(Arc::new(BestSingle::new(shipped.artifact()?))),
        (_, Some(shipped)) => Ok(shipped.router()?),
        (_, None) => Err(ShippedError::UnknownKind { kind: kind.to_owned() }),
    }
}

/// The artefact that a shipped router is made of; `None` for one that is made of nothing.
///
/// # Errors
/// As [`router`].
pub fn artifact(kind: &str) -> Result<Option<&'static Artifact>, ShippedError> {
    match Shipped::of(kind) {
        Some(shipped) => Ok(Some(shipped.artifact()?)),
        None if kind == "random" => Ok(None),
        None => Err(ShippedError::UnknownKind { kind: kind.to_owned() }),
    }
}

/// The router of a kind that a file describes. `best_single` takes the ratings of an artefact of any kind.
///
/// Whether the file's embedder is at hand is for the caller to check, by [`crate::router::Needs`].
///
/// # Errors
/// When the kind takes no file, and when the file cannot be read or used, or holds no router of this kind.
pub fn load(kind: &str, file: &Path) -> Result<Arc<dyn Router>, ShippedError> {
    match kind {
        "random" => Err(ShippedError::NeedsNoFile { kind: "random", file: file.to_owned() }),
        "best_single" => Ok(Arc::new(BestSingle::new(&read(file)?))),
        _ => Ok(read(file)?.of_kind(kind, &file.display().to_string())?.router()),
    }
}

/// The artefact of the shipped `mf`, whose ratings `best_single` takes.
///
/// # Errors
/// Only for a build that embedded a damaged file.
pub fn default_artifact() -> Result<&'static Artifact, ArtifactError> {
    MF.artifact()
}

fn read(file: &Path) -> Result<Artifact, ShippedError> {
    let bytes = std::fs::read(file).map_err(|source| ShippedError::Read { file: file.to_owned(), source })?;
    Ok(Artifact::from_bytes(&bytes, &file.display().to_string())?)
}
