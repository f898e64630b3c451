//! Why an encoder could not be fetched, and what to do about it.

use std::path::PathBuf;

/// Why there is no encoder.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// TLS cannot be spoken.
    #[error(transparent)]
    Tls(#[from] crate::upstream::tls::TlsError),
    /// The token has characters that a header cannot carry.
    #[error("HF_TOKEN holds characters that a header cannot carry")]
    Token,
    /// Endpoint, name, revision and file make no URL.
    #[error("{0} is no URL: check the endpoint and the revision")]
    Url(String),
    /// The hub has no such file.
    #[error(
        "{endpoint} has no {file} of {name} at revision {revision}: check the name (organisation/name) and the \
         revision; only encoders whose weights are in safetensors can be used"
    )]
    Missing {
        /// Whose file.
        name: String,
        /// The file.
        file: &'static str,
        /// At which revision.
        revision: String,
        /// Who was asked.
        endpoint: String,
    },
    /// The hub does not let us have it.
    #[error(
        "{host} refuses {file} (status {status}): there is no such encoder, or it is not public. Check the name, or set \
         HF_TOKEN to a token that may read it"
    )]
    Refused {
        /// Who refused.
        host: String,
        /// The file.
        file: &'static str,
        /// The HTTP status.
        status: u16,
    },
    /// The hub gave an answer that makes no sense.
    #[error("{host} answered {what} to the request for {file}")]
    Answer {
        /// Who answered.
        host: String,
        /// What it answered.
        what: String,
        /// The file.
        file: &'static str,
    },
    /// The connection failed again and again.
    #[error(
        "fetching {file} failed after {bytes} bytes: {reason}. What is here is kept: the same command goes on from it"
    )]
    Interrupted {
        /// The file.
        file: &'static str,
        /// Bytes that are here.
        bytes: u64,
        /// What the last attempt failed on.
        reason: String,
    },
    /// A file is larger than anything of its kind.
    #[error("{file} is larger than {bytes_max} bytes: this is no encoder that can be used")]
    TooLarge {
        /// The file.
        file: &'static str,
        /// The most it may have.
        bytes_max: u64,
    },
    /// The content is not what it should be.
    #[error(
        "{file} has the sha256 {found}, expected {expected}: it was changed or damaged on its way, or the name is another \
         encoder's. If the file is right, give `--sha256 {file}={found}`"
    )]
    Checksum {
        /// The file.
        file: &'static str,
        /// SHA-256 in hexadecimal.
        expected: String,
        /// SHA-256 in hexadecimal.
        found: String,
    },
    /// There is something at the wanted place.
    #[error(
        "{} is there already and is not this encoder ({reason}): give another --out, or --force to replace it",
        folder.display()
    )]
    Occupied {
        /// The place.
        folder: PathBuf,
        /// What is wrong with what is there.
        reason: String,
    },
    /// Another process fetches to the same place.
    #[error("another pull is at work in {}: wait for it, or give another --out", folder.display())]
    Busy {
        /// Where it gathers its files.
        folder: PathBuf,
    },
    /// The files are there and make no encoder.
    #[error("{name} cannot be used: {reason}")]
    Unusable {
        /// Whose files.
        name: String,
        /// Why not.
        reason: String,
    },
    /// The folder or archive holds no encoder.
    #[error("{} holds {what}: give a folder, or a wheel, with config.json, tokenizer.json and model.safetensors", path.display())]
    NoEncoder {
        /// The folder or archive.
        path: PathBuf,
        /// What it holds instead.
        what: String,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}
