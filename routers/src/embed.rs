//! Texts to vectors: the contract every embedder keeps, and the static one, a table of word-piece vectors.
//!
//! Must not know which router reads the vectors.

mod scale;
mod spread;
mod table;

use std::borrow::Cow;
use std::ops::Range;

use faer::Mat;

use crate::encoder::{Encoder, EncoderError};
use crate::router::CostClass;
use crate::wordpiece::{WordPiece, WordPieceScratch};

pub use spread::embed_all;
pub use table::{StaticTable, TableError};

/// Most tokens of a text that the static embedder reads.
pub const TOKENS_MAX: usize = 512;

/// The table that ships with this crate: all-MiniLM-L6-v2 distilled to 256 dimensions.
static DEFAULT_TABLE: &[u8] = include_bytes!("../artifacts/static-minilm-256.safetensors");

/// The static embedder that ships with this crate.
///
/// # Errors
/// Never, unless the build embedded a damaged file.
pub fn default_static() -> Result<StaticEmbedder, TableError> {
    StaticEmbedder::load(DEFAULT_TABLE)
}

/// Why an embedder gave no vectors.
#[derive(Debug, thiserror::Error)]
pub enum EmbedError {
    /// The encoder failed.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
}

/// Anything that turns texts into vectors of one space.
pub trait Embedder: Send + Sync {
    /// Dimensions of a vector.
    fn dim(&self) -> usize;

    /// Names the space: equal fingerprints, equal vectors.
    fn fingerprint(&self) -> &str;

    /// How long a text takes, by order of magnitude: decides where it may be embedded.
    fn cost(&self) -> CostClass {
        CostClass::Milliseconds
    }

    /// One row per text, of unit length or all zero.
    ///
    /// # Errors
    /// When the embedder fails on a text.
    fn embed_batch(&self, texts: &[&str]) -> Result<Mat<f32>, EmbedError>;
}

/// Embeds by table: the weighted sum of the vectors of a text's word pieces, brought to unit length.
///
/// The same text gives the same bits, alone or in a batch, on any machine.
#[derive(Debug)]
pub struct StaticEmbedder {
    tokenizer: WordPiece,
    dim: usize,
    fingerprint: String,
    bytes: Cow<'static, [u8]>,
    /// Where in `bytes` the vectors are: a row of `dim` signed bytes per piece.
    vectors: Range<usize>,
    /// What a row is multiplied by; holds the piece's weight.
    scales: Vec<f32>,
}

/// Memory that calls hand on to each other, so that a call allocates nothing once it is warm.
#[derive(Debug, Default)]
pub struct EmbedScratch {
    tokenizer: WordPieceScratch,
    tokens: Vec<u32>,
}

impl StaticEmbedder {
    /// Reads a table as [`StaticTable::to_bytes`] writes it, and verifies it. The vectors stay where they are.
    ///
    /// # Errors
    /// When the bytes are no such table, of another version, or damaged.
    pub fn load(bytes: impl Into<Cow<'static, [u8]>>) -> Result<Self, TableError> {
        let bytes = bytes.into();
        let opened = table::open(&bytes)?;
        let tokenizer =
            WordPiece::new(&opened.vocabulary, &opened.manifest.unknown, opened.manifest.tokenizer)?;
        let (dim, fingerprint) = (opened.manifest.dim, opened.fingerprint);
        let (vectors, scales) = (opened.vectors, opened.scales);
        Ok(Self { tokenizer, dim, fingerprint, bytes, vectors, scales })
    }

    /// Dimensions of a vector.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// SHA-256 in hexadecimal over everything that decides the vectors.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The tokenizer.
    #[must_use]
    pub fn tokenizer(&self) -> &WordPiece {
        &self.tokenizer
    }

    /// Embeds a text: unit length, or all zero where no known piece is found.
    #[must_use]
    pub fn embed(&self, text: &str) -> Vec<f32> {
        let mut vector = vec![0.0; self.dim];
        self.embed_into(text, &mut vector, &mut EmbedScratch::default());
        vector
    }

    /// Embeds a text into `vector`, which holds [`StaticEmbedder::dim`] values.
    pub fn embed_into(&self, text: &str, vector: &mut [f32], scratch: &mut EmbedScratch) {
        debug_assert_eq!(vector.len(), self.dim, "a vector has as many values as the table has dimensions");
        let EmbedScratch { tokenizer, tokens } = scratch;
        tokens.clear();
        self.tokenizer.tokenize(text, TOKENS_MAX, tokenizer, |token| tokens.push(token));
        let rows = &self.bytes[self.vectors.clone()];
        vector.fill(0.0);
        scale::add_rows(tokens, rows, &self.scales, self.dim, vector);
        scale::to_unit_length(vector);
    }
}

impl Embedder for StaticEmbedder {
    fn dim(&self) -> usize {
        self.dim
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn cost(&self) -> CostClass {
        CostClass::Microseconds
    }

    fn embed_batch(&self, texts: &[&str]) -> Result<Mat<f32>, EmbedError> {
        let mut scratch = EmbedScratch::default();
        let mut vector = vec![0.0; self.dim];
        let mut batch = Mat::zeros(texts.len(), self.dim);
        for (text, row) in texts.iter().zip(batch.row_iter_mut()) {
            self.embed_into(text, &mut vector, &mut scratch);
            row.iter_mut().zip(&vector).for_each(|(into, value)| *into = *value);
        }
        Ok(batch)
    }
}

impl Embedder for Encoder {
    fn dim(&self) -> usize {
        Self::dim(self)
    }

    fn fingerprint(&self) -> &str {
        Self::fingerprint(self)
    }

    fn embed_batch(&self, texts: &[&str]) -> Result<Mat<f32>, EmbedError> {
        Ok(Self::embed_batch(self, texts)?)
    }
}

#[cfg(test)]
mod tests;
