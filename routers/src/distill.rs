//! Distils a sentence encoder into the table of a static embedder: a vector for every word piece.
//!
//! Each piece goes through the encoder by itself, the vectors are centred, rotated to their principal
//! components and cut to the wanted width, then weighted by how frequent the piece is and rounded to bytes.

mod components;
mod frequency;
mod quantise;
mod source;

use faer::Mat;

use crate::embed::{StaticTable, TableError};
use crate::encoder::{Encoder, EncoderError};

pub use frequency::Frequencies;

use source::Source;

/// What to make of an encoder.
#[derive(Debug, Clone)]
pub struct DistillOptions {
    /// Dimensions of the static vectors.
    pub dim: usize,
    /// How frequent the pieces are.
    pub frequencies: Frequencies,
}

/// Why an encoder could not be distilled.
#[derive(Debug, thiserror::Error)]
pub enum DistillError {
    /// The encoder failed.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// The encoder does not tokenise as BERT does.
    #[error("only encoders with BERT's word pieces can be distilled: {0}")]
    Tokenizer(String),
    /// The width asked for is impossible.
    #[error("an encoder of {width} dimensions and {pieces} pieces cannot be distilled to {dim} dimensions")]
    Dim {
        /// Dimensions asked for.
        dim: usize,
        /// Dimensions of the encoder.
        width: usize,
        /// Pieces of the vocabulary.
        pieces: usize,
    },
    /// The principal components did not converge.
    #[error("the principal components could not be computed")]
    Components,
    /// The table came out unusable.
    #[error(transparent)]
    Table(#[from] TableError),
}

impl Default for DistillOptions {
    fn default() -> Self {
        Self { dim: 256, frequencies: Frequencies::Rank }
    }
}

/// Pieces that go through the encoder between two reports of progress.
const PIECES_AT_ONCE: usize = 512;

/// Distils `encoder`, telling `progress` how many pieces are done, and of how many.
///
/// # Errors
/// When the encoder fails or is not of BERT's kind, or the width asked for is more than it has.
pub fn distill(
    encoder: &Encoder,
    options: &DistillOptions,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<StaticTable, DistillError> {
    let source = Source::of(encoder)?;
    let pieces = source.vocabulary.len();
    let width = encoder.dim();
    if options.dim == 0 || options.dim > width || options.dim > pieces {
        return Err(DistillError::Dim { dim: options.dim, width, pieces });
    }
    let mut rows = run_pieces(encoder, &source, progress)?;
    let mean = components::mean(rows.as_ref());
    components::subtract(&mut rows, &mean);
    let mut projected = components::project(rows.as_ref(), options.dim)?;
    let mut weights = frequency::weights(&options.frequencies, pieces);
    for (weight, piece) in weights.iter_mut().zip(&source.vocabulary) {
        if source.is_silent(piece) {
            *weight = 0.0;
        }
    }
    for column in projected.col_iter_mut() {
        column.iter_mut().zip(&weights).for_each(|(value, weight)| *value *= weight);
    }
    let (vectors, scales) = quantise::to_bytes(projected.as_ref());
    Ok(StaticTable {
        vocabulary: source.vocabulary,
        unknown: source.unknown,
        tokenizer: source.tokenizer,
        dim: options.dim,
        vectors,
        scales,
        encoder: encoder.fingerprint().to_owned(),
        method: "mean of states; centred; principal components; smooth inverse frequency by rank".to_owned(),
    })
}

/// Every piece alone between the special tokens, as a row.
fn run_pieces(
    encoder: &Encoder,
    source: &Source,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Mat<f64>, DistillError> {
    let pieces = source.vocabulary.len();
    let mut rows = Mat::zeros(pieces, encoder.dim());
    for first in (0..pieces).step_by(PIECES_AT_ONCE) {
        progress(first, pieces);
        let last = (first + PIECES_AT_ONCE).min(pieces);
        let sequences: Vec<Vec<u32>> = (first..last).map(|piece| source.sequence(piece as u32)).collect();
        let pooled = encoder.pool_tokens(&sequences)?;
        for (row, pooled) in
            rows.as_mut().subrows_mut(first, last - first).row_iter_mut().zip(pooled.row_iter())
        {
            row.iter_mut().zip(pooled.iter()).for_each(|(into, value)| *into = f64::from(*value));
        }
    }
    progress(pieces, pieces);
    Ok(rows)
}

#[cfg(test)]
mod tests;
