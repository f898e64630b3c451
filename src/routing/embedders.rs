//! What reads texts for routers: the embedder in the binary, and encoders and decoders by their files.
//!
//! Each is loaded once a process, however many routes and configurations use it. Must not know what a router makes of
//! a vector or a label.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, PoisonError, Weak},
    time::SystemTime,
};

use pointsman_routers::{
    causal::ReaderError,
    decoder::{Decoder, DecoderError, Precision},
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
    /// There is no decoder that can be run.
    #[error("the decoder `{}` cannot be used: {source}", path.display())]
    Decoder {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong with it.
        source: DecoderError,
    },
}

/// What a router was trained with is not at hand.
#[derive(Debug, thiserror::Error)]
pub enum Misfit {
    /// It reads embeddings of another space.
    #[error(transparent)]
    Embedder(#[from] EmbedderMismatch),
    /// It reads the labels of a decoder, and none is given.
    #[error("reads the labels of a decoder, {needed}, and none is given")]
    NoDecoder {
        /// The decoder's fingerprint.
        needed: String,
    },
    /// It was trained with another decoder.
    #[error("was trained with the decoder {needed}; here is {found}")]
    OtherDecoder {
        /// The fingerprint of the decoder that it reads.
        needed: String,
        /// That of the decoder given.
        found: String,
    },
    /// The decoder cannot be asked.
    #[error("cannot ask its decoder: {0}")]
    Reader(#[from] ReaderError),
}

impl Misfit {
    /// What to do about it, where an encoder and a decoder are named by these options.
    #[must_use]
    pub fn advice(&self, encoder: &str, decoder: &str) -> String {
        match self {
            Self::Embedder(mismatch) => mismatch.advice(encoder),
            Self::NoDecoder { .. } => format!("name its folder or GGUF file by `{decoder}`"),
            Self::OtherDecoder { .. } | Self::Reader(_) => {
                format!(
                    "name the folder or GGUF file of that decoder by `{decoder}`, or train the router again with the one given"
                )
            }
        }
    }
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
    decoder: Option<Arc<Decoder>>,
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

    /// A decoder in a folder or a GGUF file, and no embedder.
    ///
    /// # Errors
    /// When it cannot be loaded.
    pub fn only_decoder(path: &Path) -> Result<Self, EmbedderError> {
        Self::default().with_decoder(Some(path))
    }

    /// The same, and a decoder where one is given.
    ///
    /// # Errors
    /// When it cannot be loaded.
    pub fn with_decoder(self, path: Option<&Path>) -> Result<Self, EmbedderError> {
        Ok(Self { decoder: path.map(decoder).transpose()?, ..self })
    }

    /// The decoder of this fingerprint.
    ///
    /// # Errors
    /// When none is given, or another.
    pub fn find_decoder(&self, fingerprint: &str) -> Result<Arc<Decoder>, Misfit> {
        let needed = fingerprint.to_owned();
        match &self.decoder {
            Some(decoder) if decoder.fingerprint() == fingerprint => Ok(Arc::clone(decoder)),
            Some(other) => Err(Misfit::OtherDecoder { needed, found: other.fingerprint().to_owned() }),
            None => Err(Misfit::NoDecoder { needed }),
        }
    }

    /// Any embedder; errors call it by `name`.
    #[must_use]
    pub fn only(name: &str, embedder: Arc<dyn Embedder>) -> Self {
        let name = format!("{name}, {}", embedder.fingerprint());
        Self { all: vec![Present { name, embedder }], decoder: None }
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

/// What is in use, by where it was read from, and the files that it was read from.
type Loaded<T> = Mutex<BTreeMap<PathBuf, (Files, Weak<T>)>>;

/// Length and time of change of each file of a folder.
type Files = BTreeMap<PathBuf, (u64, Option<SystemTime>)>;

/// The encoder in a folder: the one that somebody holds already, unless a file has changed since it was read.
///
/// # Errors
/// When it cannot be loaded.
pub fn encoder(folder: &Path) -> Result<Arc<Encoder>, EmbedderError> {
    static LOADED: Loaded<Encoder> = Mutex::new(BTreeMap::new());
    loaded(&LOADED, folder, || {
        Encoder::load(folder).map_err(|source| EmbedderError::Encoder { folder: folder.to_owned(), source })
    })
}

/// The decoder in a folder or a GGUF file, likewise.
///
/// # Errors
/// When it cannot be loaded.
pub fn decoder(path: &Path) -> Result<Arc<Decoder>, EmbedderError> {
    static LOADED: Loaded<Decoder> = Mutex::new(BTreeMap::new());
    loaded(&LOADED, path, || {
        Decoder::load(path, Precision::F32)
            .map_err(|source| EmbedderError::Decoder { path: path.to_owned(), source })
    })
}

/// What is in use already, unless a file has changed since it was read, or else what `load` reads.
fn loaded<T>(
    all: &Loaded<T>,
    path: &Path,
    load: impl FnOnce() -> Result<T, EmbedderError>,
) -> Result<Arc<T>, EmbedderError> {
    // Held while one is read: whoever wants the same waits for it instead of reading it, too.
    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|_, (_, one)| one.strong_count() > 0);
    // Before reading: a file that changes meanwhile is read again the next time.
    let files = files(path);
    if let Some((_, one)) = all.get(path).filter(|(read, _)| *read == files)
        && let Some(one) = one.upgrade()
    {
        return Ok(one);
    }
    let one = Arc::new(load()?);
    all.insert(path.to_owned(), (files, Arc::downgrade(&one)));
    Ok(one)
}

/// A file, or the files in a folder and in the folders in it, where the pooling is described. What cannot be read is left out:
/// loading says so.
fn files(folder: &Path) -> Files {
    let mut found = Files::new();
    if let Ok(about) = std::fs::metadata(folder)
        && about.is_file()
    {
        found.insert(folder.to_owned(), (about.len(), about.modified().ok()));
    }
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
