//! Routers by the kind that a configuration names: those that ship with this crate, and those of a user's files.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::artifact::{Artifact, ArtifactError};
use crate::baseline::{BestSingle, RandomRouter};
use crate::router::Router;

/// The kinds of routers that ship with this crate.
pub const KINDS: &[&str] = &["best_single", "mf", "random"];

/// The file that `mf` and `best_single` are made of where no other is given.
const DEFAULT_FILE: &str = "mf-default.safetensors";
static DEFAULT_BYTES: &[u8] = include_bytes!("../artifacts/mf-default.safetensors");

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
    static MF: OnceLock<Arc<dyn Router>> = OnceLock::new();
    match kind {
        "random" => Ok(Arc::new(RandomRouter::new(RANDOM_SEED))),
        "best_single" => Ok(Arc::new(BestSingle::new(default_artifact()?))),
        "mf" => {
            let artifact = default_artifact()?;
            Ok(Arc::clone(MF.get_or_init(|| artifact.router())))
        }
        _ => Err(ShippedError::UnknownKind { kind: kind.to_owned() }),
    }
}

/// The artefact that a shipped router is made of; `None` for one that is made of nothing.
///
/// # Errors
/// As [`router`].
pub fn artifact(kind: &str) -> Result<Option<&'static Artifact>, ShippedError> {
    match kind {
        "random" => Ok(None),
        "best_single" | "mf" => Ok(Some(default_artifact()?)),
        _ => Err(ShippedError::UnknownKind { kind: kind.to_owned() }),
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

/// The artefact that ships with this crate.
///
/// # Errors
/// Only for a build that embedded a damaged file.
pub fn default_artifact() -> Result<&'static Artifact, ArtifactError> {
    static DEFAULT: OnceLock<Artifact> = OnceLock::new();
    match DEFAULT.get() {
        Some(artifact) => Ok(artifact),
        // Two threads may both read it; one of them keeps it.
        None => {
            Artifact::from_bytes(DEFAULT_BYTES, DEFAULT_FILE).map(|artifact| DEFAULT.get_or_init(|| artifact))
        }
    }
}

fn read(file: &Path) -> Result<Artifact, ShippedError> {
    let bytes = std::fs::read(file).map_err(|source| ShippedError::Read { file: file.to_owned(), source })?;
    Ok(Artifact::from_bytes(&bytes, &file.display().to_string())?)
}
