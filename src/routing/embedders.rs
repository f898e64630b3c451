//! The embedders that routers read: the one in the binary, and encoders by their folders.
//!
//! Each is loaded once a process, however many routes and configurations use it. Must not know what a router makes of
//! a vector.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, PoisonError, Weak},
    time::SystemTime,
};

use pointsman_routers::{
    embed::{Embedder, StaticEmbedder, default_static},
    encoder::{Encoder, EncoderError},
};

/// Why an embedder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EmbedderError {
    /// The build embedded a damaged table.
    #[error("the embedder in this binary cannot be used: {0}")]
    Static(String),
    /// The folder holds no encoder that can be run.
    #[error("the encoder in `{}` cannot be used: {source}", folder.display())]
    Encoder {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        source: EncoderError,
    },
}

/// A router was trained with another embedder than those that are at hand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("was trained with the embedder {needed}; here is {}", present.join(" and "))]
pub struct EmbedderMismatch {
    /// The fingerprint of the space that the router reads.
    pub needed: String,
    /// What there is, each with its fingerprint.
    pub present: Vec<String>,
    /// Whether the one in the binary is needed, and not allowed.
    is_static_needed: bool,
    has_encoder: bool,
}

impl EmbedderMismatch {
    /// What to do about it, where an encoder is named by `option`.
    #[must_use]
    pub fn advice(&self, option: &str) -> String {
        if self.is_static_needed {
            return format!("leave out `{option}`: it was trained with the embedder in this binary");
        }
        if self.has_encoder {
            return format!(
                "name the folder of that encoder by `{option}`, or train it again with the one given"
            );
        }
        format!(
            "name the folder of its encoder by `{option}`, or train it again with the embedder in this binary"
        )
    }
}

/// The embedders that a router may read; none by default.
#[derive(Clone, Default)]
pub struct Embedders {
    all: Vec<Present>,
}

#[derive(Clone)]
struct Present {
    /// As errors call it.
    name: String,
    embedder: Arc<dyn Embedder>,
}

impl std::fmt::Debug for Embedders {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.all.iter().map(|present| &present.name)).finish()
    }
}

impl Embedders {
    /// The one in the binary.
    ///
    /// # Errors
    /// When the build embedded a damaged table.
    pub fn only_static() -> Result<Self, EmbedderError> {
        Ok(Self::only("the one in this binary", static_embedder()?))
    }

    /// The encoder in a folder.
    ///
    /// # Errors
    /// When it cannot be loaded.
    pub fn only_encoder(folder: &Path) -> Result<Self, EmbedderError> {
        Ok(Self::only(&format!("the encoder in `{}`", folder.display()), encoder(folder)?))
    }

    /// Any embedder; errors call it by `name`.
    #[must_use]
    pub fn only(name: &str, embedder: Arc<dyn Embedder>) -> Self {
        let name = format!("{name}, {}", embedder.fingerprint());
        Self { all: vec![Present { name, embedder }] }
    }

    /// The one in the binary, and an encoder where one is given.
    ///
    /// # Errors
    /// When one cannot be loaded.
    pub fn with_encoder(folder: Option<&Path>) -> Result<Self, EmbedderError> {
        let mut embedders = Self::only_static()?;
        if let Some(folder) = folder {
            embedders.all.extend(Self::only_encoder(folder)?.all);
        }
        Ok(embedders)
    }

    /// The embedder of a space.
    ///
    /// # Errors
    /// When it is not among them.
    pub fn find(&self, fingerprint: &str) -> Result<Arc<dyn Embedder>, EmbedderMismatch> {
        let found = self.all.iter().find(|present| present.embedder.fingerprint() == fingerprint);
        if let Some(present) = found {
            return Ok(Arc::clone(&present.embedder));
        }
        let is_static = |other: &str| static_embedder().is_ok_and(|embedder| embedder.fingerprint() == other);
        let mut present: Vec<String> = self.all.iter().map(|present| present.name.clone()).collect();
        if present.is_empty() {
            present.push("none".to_owned());
        }
        Err(EmbedderMismatch {
            needed: fingerprint.to_owned(),
            present,
            is_static_needed: is_static(fingerprint),
            has_encoder: self.all.iter().any(|present| !is_static(present.embedder.fingerprint())),
        })
    }
}

/// The table in the binary, decoded once: ten megabytes that every snapshot shares.
///
/// # Errors
/// When the build embedded a damaged table.
pub fn static_embedder() -> Result<Arc<StaticEmbedder>, EmbedderError> {
    static EMBEDDER: LazyLock<Result<Arc<StaticEmbedder>, String>> =
        LazyLock::new(|| default_static().map(Arc::new).map_err(|error| error.to_string()));
    EMBEDDER.clone().map_err(EmbedderError::Static)
}

/// An encoder that is in use, and the files that it was read from.
struct Loaded {
    files: Files,
    encoder: Weak<Encoder>,
}

/// Length and time of change of each file of a folder.
type Files = BTreeMap<PathBuf, (u64, Option<SystemTime>)>;

/// The encoder in a folder: the one that somebody holds already, unless a file has changed since it was read.
///
/// # Errors
/// When it cannot be loaded.
pub fn encoder(folder: &Path) -> Result<Arc<Encoder>, EmbedderError> {
    static LOADED: Mutex<BTreeMap<PathBuf, Loaded>> = Mutex::new(BTreeMap::new());
    // Held while one is read: whoever wants the same waits for it instead of reading it, too.
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    loaded.retain(|_, one| one.encoder.strong_count() > 0);
    // Before reading: a file that changes meanwhile is read again the next time.
    let files = files(folder);
    if let Some(encoder) = loaded.get(folder).filter(|one| one.files == files)
        && let Some(encoder) = encoder.encoder.upgrade()
    {
        return Ok(encoder);
    }
    let encoder = Encoder::load(folder)
        .map(Arc::new)
        .map_err(|source| EmbedderError::Encoder { folder: folder.to_owned(), source })?;
    loaded.insert(folder.to_owned(), Loaded { files, encoder: Arc::downgrade(&encoder) });
    Ok(encoder)
}

/// The files in a folder and in the folders in it, where the pooling is described. What cannot be read is left out:
/// loading says so.
fn files(folder: &Path) -> Files {
    let mut found = Files::new();
    let mut list = |folder: &Path| {
        let mut folders = Vec::new();
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            // Follows links, which is what caches of the hub are made of.
            let Ok(about) = std::fs::metadata(entry.path()) else { continue };
            if about.is_dir() {
                folders.push(entry.path());
            } else {
                found.insert(entry.path(), (about.len(), about.modified().ok()));
            }
        }
        folders
    };
    for inner in list(folder) {
        list(&inner);
    }
    found
}

#[cfg(test)]
mod tests;
