//! Routers by the kind that a configuration names: those that ship with this crate, and those of a user's files.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::artifact::{Artifact, ArtifactError};
use crate::baseline::{BestSingle, RandomRouter};
use crate::router::Router;

/// The kinds of routers that ship with this crate.
pub const KINDS: &[&str] = &["best_single", "blend", "kmeans", "knn", "mf", "random", "sw"];

/// A file that ships: its name, and what is in it.
struct ShippedFile {
    name: &'static str,
    bytes: &'static [u8],
}

/// A blend, whose parts are other routers.
static BLEND_FILE: ShippedFile = ShippedFile {
    name: "blend-default.safetensors",
    bytes: include_bytes!("../artifacts/blend-default.safetensors"),
};
static KMEANS_FILE: ShippedFile = ShippedFile {
    name: "kmeans-default.safetensors",
    bytes: include_bytes!("../artifacts/kmeans-default.safetensors"),
};

static BLEND: Shipped = Shipped::new("blend", &BLEND_FILE);
static KMEANS: Shipped = Shipped::new("kmeans", &KMEANS_FILE);
static KNN: Shipped = Shipped::new("knn", &BLEND_FILE);
/// `best_single` is made of its ratings.
static MF: Shipped = Shipped::new("mf", &BLEND_FILE);
static SW: Shipped = Shipped::new("sw", &BLEND_FILE);
static ALL: [&Shipped; 5] = [&BLEND, &KMEANS, &KNN, &MF, &SW];

/// A router of a file; read once, when it is first asked for.
struct Shipped {
    kind: &'static str,
    file: &'static ShippedFile,
    artifact: OnceLock<Artifact>,
    router: OnceLock<Arc<dyn Router>>,
}

impl Shipped {
    const fn new(kind: &'static str, file: &'static ShippedFile) -> Self {
        Self { kind, file, artifact: OnceLock::new(), router: OnceLock::new() }
    }

    /// That of a kind; `None` for a kind that is made of no artefact, or does not ship.
    fn of(kind: &str) -> Option<&'static Self> {
        match kind {
            "best_single" => Some(&MF),
            _ => ALL.into_iter().find(|shipped| shipped.kind == kind),
        }
    }

    /// The bytes of the whole file, or of the part.
    fn bytes(&self) -> &'static [u8] {
        Artifact::part_of(self.file.bytes, self.kind).unwrap_or(self.file.bytes)
    }

    fn artifact(&self) -> Result<&Artifact, ArtifactError> {
        match self.artifact.get() {
            Some(artifact) => Ok(artifact),
            // Two threads may both read it; one of them keeps it.
            None => Artifact::from_bytes(self.bytes(), self.file.name)
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

/// The version of the file that a shipped router is made of, as [`Artifact::version`] has it; `None` for one that is made of nothing.
#[must_use]
pub fn version(kind: &str) -> Option<String> {
    Artifact::version(Shipped::of(kind)?.file.bytes)
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

/// The router of a kind that a file describes, and the file's version, as [`Artifact::version`] has it. `best_single` takes the ratings of an artefact of any kind.
///
/// Whether the file's embedder is at hand is for the caller to check, by [`crate::router::Needs`].
///
/// # Errors
/// When the kind takes no file, and when the file cannot be read or used, or holds no router of this kind.
pub fn load(kind: &str, file: &Path) -> Result<(Arc<dyn Router>, Option<String>), ShippedError> {
    if kind == "random" {
        return Err(ShippedError::NeedsNoFile { kind: "random", file: file.to_owned() });
    }
    let name = file.display().to_string();
    let bytes = std::fs::read(file).map_err(|source| ShippedError::Read { file: file.to_owned(), source })?;
    let artifact = Artifact::from_bytes(&bytes, &name)?;
    let router: Arc<dyn Router> = match kind {
        "best_single" => Arc::new(BestSingle::new(&artifact)),
        _ => artifact.of_kind(kind, &name)?.router(),
    };
    Ok((router, Artifact::version(&bytes)))
}

/// The artefact of the shipped `mf`, whose ratings `best_single` takes.
///
/// # Errors
/// Only for a build that embedded a damaged file.
pub fn default_artifact() -> Result<&'static Artifact, ArtifactError> {
    MF.artifact()
}
