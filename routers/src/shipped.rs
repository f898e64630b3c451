//! Routers by the kind that a configuration names: those that ship with this crate, and those of a user's files.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::artifact::{Artifact, ArtifactError};
use crate::baseline::{BestSingle, RandomRouter};
use crate::router::Router;

/// The kinds of routers that ship with this crate.
pub const KINDS: &[&str] = &["best_single", "knn", "mf", "random", "sw"];

static KNN: Shipped =
    Shipped::new("knn-default.safetensors", include_bytes!("../artifacts/knn-default.safetensors"));
/// `best_single` is made of its ratings.
static MF: Shipped =
    Shipped::new("mf-default.safetensors", include_bytes!("../artifacts/mf-default.safetensors"));
static SW: Shipped =
    Shipped::new("sw-default.safetensors", include_bytes!("../artifacts/sw-default.safetensors"));

/// A file that ships with this crate; read once, when it is first asked for.
struct Shipped {
    file: &'static str,
    bytes: &'static [u8],
    artifact: OnceLock<Artifact>,
    router: OnceLock<Arc<dyn Router>>,
}

impl Shipped {
    const fn new(file: &'static str, bytes: &'static [u8]) -> Self {
        Self { file, bytes, artifact: OnceLock::new(), router: OnceLock::new() }
    }

    /// The file of a kind of router; `None` for a kind that is made of none, or does not ship.
    fn of(kind: &str) -> Option<&'static Self> {
        match kind {
            "knn" => Some(&KNN),
            "best_single" | "mf" => Some(&MF),
            "sw" => Some(&SW),
            _ => None,
        }
    }

    fn artifact(&self) -> Result<&Artifact, ArtifactError> {
        match self.artifact.get() {
            Some(artifact) => Ok(artifact),
            // Two threads may both read it; one of them keeps it.
            None => Artifact::from_bytes(self.bytes, self.file)
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
/// When the kind takes no file, and when the file cannot be read or used, or holds a router of another kind.
pub fn load(kind: &str, file: &Path) -> Result<Arc<dyn Router>, ShippedError> {
    match kind {
        "random" => Err(ShippedError::NeedsNoFile { kind: "random", file: file.to_owned() }),
        "best_single" => Ok(Arc::new(BestSingle::new(&read(file)?))),
        _ => {
            let artifact = read(file)?;
            artifact.expect_kind(kind, &file.display().to_string())?;
            Ok(artifact.router())
        }
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
