//! Sentence encoders of the BERT family: from a folder of weights to vectors of unit length.
//!
//! The forward pass is our own: dense layers in whole numbers, attention on faer's matrix product. The texts are
//! tokenised by the folder's own `tokenizer.json`. Must not know what the vectors are used for.

mod config;
mod dense;
mod error;
mod forward;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
pub(crate) mod kernels;
mod layout;
mod pooling;
pub(crate) mod tensors;

use std::path::Path;

use faer::{Mat, MatRef};
use sha2::{Digest, Sha256};
use tokenizers::{Tokenizer, TruncationParams};

pub use error::EncoderError;
pub use pooling::Pooling;

use crate::tokenizer_file;
use config::Config;
use forward::Network;
use layout::Layout;

/// Longest token sequence that is read of a text, special tokens included. A model that takes fewer reads fewer.
pub const TOKENS_MAX: usize = 256;

/// Most tokens that go through the network in one pass; longer batches are cut into passes of about this size.
const PASS_TOKENS: usize = 512;

/// A sentence encoder: tokenizer, network and pooling.
pub struct Encoder {
    tokenizer: Tokenizer,
    network: Network,
    pooling: Pooling,
    fingerprint: String,
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder")
            .field("dim", &self.dim())
            .field("pooling", &self.pooling)
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

impl Encoder {
    /// Loads a folder holding `config.json`, `tokenizer.json` and `model.safetensors`, and optionally the files
    /// by which sentence-transformers names the pooling (`modules.json`, `1_Pooling/config.json`).
    ///
    /// # Errors
    /// When a file is missing, malformed, or describes a network that this crate cannot run; the error names
    /// the file.
    pub fn load(folder: &Path) -> Result<Self, EncoderError> {
        let config_path = folder.join("config.json");
        let config_bytes = read(&config_path)?;
        let config = Config::parse(&config_path, &config_bytes)?;
        let pooling = Pooling::find(folder)?;
        let tokens_max = config.tokens_max().min(pooling::tokens_max(folder)?).min(TOKENS_MAX);

        let tokenizer_path = folder.join("tokenizer.json");
        let tokenizer_bytes = read(&tokenizer_path)?;
        let tokenizer = load_tokenizer(&tokenizer_path, &tokenizer_bytes, &config, tokens_max)?;

        let weights_path = folder.join("model.safetensors");
        let weights_bytes = read(&weights_path)?;
        let fingerprint =
            fingerprint(&[&weights_bytes, &tokenizer_bytes, &config_bytes], pooling, tokens_max);
        let layout = Layout::of(&config);
        let network = Network::load(&weights_path, &weights_bytes, &config, &layout)?;
        Ok(Self { tokenizer, network, pooling, fingerprint })
    }

    /// The number of dimensions of a vector.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.network.width()
    }

    /// SHA-256 in hexadecimal over everything that decides the vectors: weights, tokenizer, configuration,
    /// pooling, the longest sequence read, and how the layers round.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The tokenizer, padding off and truncation on.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Embeds texts: one row of unit length per text.
    ///
    /// # Errors
    /// When the tokenizer fails on a text, or a vector comes out infinite or not a number.
    pub fn embed_batch(&self, texts: &[&str]) -> Result<Mat<f32>, EncoderError> {
        let sequences = texts
            .iter()
            .map(|text| {
                self.tokenizer
                    .encode_fast(*text, true)
                    .map(|encoding| encoding.get_ids().to_vec())
                    .map_err(|source| EncoderError::Tokenize(source.to_string()))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let mut pooled = self.pool_tokens(&sequences)?;
        for row in pooled.row_iter_mut() {
            let norm = row.norm_l2();
            if !norm.is_finite() {
                return Err(EncoderError::NotFinite);
            }
            if norm > 0.0 {
                row.iter_mut().for_each(|value| *value /= norm);
            }
        }
        Ok(pooled)
    }

    /// Runs token sequences (special tokens included, no padding) and pools each: one row per sequence, not
    /// normalised. An empty sequence gives a row of zeros.
    ///
    /// # Errors
    /// When a token is outside the vocabulary, or a sequence is longer than the model takes.
    pub fn pool_tokens(&self, sequences: &[Vec<u32>]) -> Result<Mat<f32>, EncoderError> {
        let mut pooled = Mat::zeros(sequences.len(), self.dim());
        let mut first = 0;
        while first < sequences.len() {
            let last = pass_end(sequences, first);
            let pass = &sequences[first..last];
            let states = self.network.run(pass)?;
            let states = MatRef::from_column_major_slice(&states, self.dim(), states.len() / self.dim());
            let mut column = 0;
            for (offset, sequence) in pass.iter().enumerate() {
                self.pooling
                    .pool(states.subcols(column, sequence.len()), pooled.as_mut().row_mut(first + offset));
                column += sequence.len();
            }
            first = last;
        }
        Ok(pooled)
    }
}

/// The end of the pass that starts at `first`: at least one sequence, and no more tokens than one pass holds.
fn pass_end(sequences: &[Vec<u32>], first: usize) -> usize {
    let mut tokens = 0;
    let fitting = sequences[first..].iter().take_while(|sequence| {
        tokens += sequence.len();
        tokens <= PASS_TOKENS
    });
    first + fitting.count().max(1)
}

fn read(path: &Path) -> Result<Vec<u8>, EncoderError> {
    std::fs::read(path).map_err(|source| EncoderError::Read { path: path.to_owned(), source })
}

fn load_tokenizer(
    path: &Path,
    bytes: &[u8],
    config: &Config,
    tokens_max: usize,
) -> Result<Tokenizer, EncoderError> {
    let refuse = |reason: String| EncoderError::Tokenizer { path: path.to_owned(), reason };
    let mut tokenizer = tokenizer_file::parse(bytes).map_err(refuse)?;
    tokenizer.with_padding(None);
    let truncation = TruncationParams { max_length: tokens_max, ..TruncationParams::default() };
    tokenizer.with_truncation(Some(truncation)).map_err(|source| refuse(source.to_string()))?;
    let largest = tokenizer.get_vocab(true).into_values().max().unwrap_or(0);
    if largest as usize >= config.vocabulary {
        return Err(refuse(format!(
            "token {largest} is outside the model's vocabulary of {} tokens",
            config.vocabulary
        )));
    }
    Ok(tokenizer)
}

fn fingerprint(files: &[&[u8]], pooling: Pooling, tokens_max: usize) -> String {
    let mut digest = Sha256::new();
    for file in files {
        digest.update(Sha256::digest(file));
    }
    digest.update(format!("{pooling:?} {tokens_max} {}", dense::NUMERICS));
    hexadecimal(&digest.finalize())
}

/// Bytes in lower-case hexadecimal.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
