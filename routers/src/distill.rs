//! Distils a sentence encoder into the table of a static embedder: a vector for every word piece.
//!
//! 1. Each piece goes through the encoder by itself; its vector is brought to unit length.
//! 2. Pieces are weighted by smooth inverse frequency, and centred so that an average text lies at zero.
//! 3. Where there are example texts, the pieces' vectors are corrected by a ridge regression, so that the
//!    weighted mean of a text's pieces comes near the encoder's own vector of the text.
//! 4. The vectors are rotated to their principal components, cut to the wanted width, multiplied by their
//!    weights and rounded to bytes.
//!
//! Runs on one thread: the same encoder and texts give the same bytes (on the same instruction set).

mod bags;
mod components;
mod corpus;
mod frequency;
mod quantise;
mod source;

use faer::{Mat, MatMut};

use crate::embed::{StaticTable, TableError};
use crate::encoder::{Encoder, EncoderError};

pub use corpus::take_texts;

use bags::Bags;
use corpus::Corpus;
use source::Source;

/// What to make of an encoder.
#[derive(Debug, Clone)]
pub struct DistillOptions {
    /// Dimensions of the static vectors.
    pub dim: usize,
    /// Example texts, of the kind that will be embedded. Their order and repetition do not matter. Without any,
    /// frequencies follow Zipf's law and no vector is corrected.
    pub texts: Vec<String>,
}

impl Default for DistillOptions {
    /// 256 dimensions, no example texts.
    fn default() -> Self {
        Self { dim: 256, texts: Vec::new() }
    }
}

/// The λ of the correction, chosen on held-out prompts among 3e-3 … 3.
const RIDGE: f64 = 0.3;

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

/// Distils `encoder`, telling `progress` how many pieces and texts the encoder has read, and of how many.
///
/// # Errors
/// When the encoder fails or is not of BERT's kind, or the width asked for is more than it has.
pub fn distill(
    encoder: &Encoder,
    options: &DistillOptions,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<StaticTable, DistillError> {
    let source = Source::of(encoder)?;
    let (dim, width, pieces) = (options.dim, encoder.dim(), source.vocabulary.len());
    if dim == 0 || dim > width || dim > pieces {
        return Err(DistillError::Dim { dim, width, pieces });
    }
    let corpus = Corpus::read(&options.texts, &source)?;
    let shares = frequency::shares(&corpus.counts(pieces));
    let weights: Vec<f64> = shares
        .iter()
        .zip(&source.vocabulary)
        .map(|(share, piece)| if source.is_silent(piece) { 0.0 } else { frequency::weight(*share) })
        .collect();
    // How much of an average text's vector each piece makes up.
    let presence: Vec<f64> = shares.iter().zip(&weights).map(|(share, weight)| share * weight).collect();

    let bags = Bags::new(corpus.sequences(), &weights);
    let total = pieces + bags.texts();
    progress(0, total);
    let mut rows = run_pieces(encoder, &source, &mut |done| progress(done, total))?;
    let mean = components::mean(rows.as_ref(), &presence);
    components::subtract(rows.as_mut(), &mean);
    if bags.texts() > 0 {
        let targets = corpus.embed(encoder, &source, &mut |done| progress(pieces + done, total))?;
        correct(&mut rows, &bags, targets);
    }
    let mut projected = components::project(rows.as_ref(), &presence, dim)?;
    for column in projected.col_iter_mut() {
        column.iter_mut().zip(&weights).for_each(|(value, weight)| *value *= weight);
    }
    let (vectors, scales) = quantise::to_bytes(projected.as_ref());
    let method = format!(
        "pieces weighted by inverse frequency, centred, fitted to {} texts, principal components",
        bags.texts()
    );
    let Source { vocabulary, unknown, tokenizer, .. } = source;
    let encoder = encoder.fingerprint().to_owned();
    Ok(StaticTable { vocabulary, unknown, tokenizer, dim, vectors, scales, encoder, method })
}

/// Moves the pieces' vectors so that the texts' weighted means come near `targets`, the encoder's vectors of the
/// texts, once those are centred and brought to the same scale.
fn correct(rows: &mut Mat<f64>, bags: &Bags, mut targets: Mat<f64>) {
    let width = rows.ncols();
    let centre = components::mean(targets.as_ref(), &vec![1.0; targets.nrows()]);
    components::subtract(targets.as_mut(), &centre);
    let pooled = bags.pool(&row_major(rows), width);
    let targets = row_major(&targets);
    let along: f64 = pooled.iter().zip(&targets).map(|(pooled, target)| pooled * target).sum();
    let square: f64 = pooled.iter().map(|pooled| pooled * pooled).sum();
    // The factor that the pooled vectors lack, by least squares. Unrelated vectors have none: nothing to fit.
    let scale = along / square;
    if !(scale.is_finite() && scale > 0.0) {
        return;
    }
    let residual = targets.iter().zip(&pooled).map(|(target, pooled)| target / scale - pooled).collect();
    let change = bags.ridge(residual, width, RIDGE);
    for (row, change) in rows.row_iter_mut().zip(change.chunks_exact(width)) {
        row.iter_mut().zip(change).for_each(|(value, change)| *value += change);
    }
}

fn row_major(rows: &Mat<f64>) -> Vec<f64> {
    rows.row_iter().flat_map(|row| row.iter().copied().collect::<Vec<_>>()).collect()
}

/// Pieces that go through the encoder between two reports of progress.
const PIECES_AT_ONCE: usize = 512;

/// Every piece alone between the special tokens, as a row of unit length.
fn run_pieces(
    encoder: &Encoder,
    source: &Source,
    progress: &mut dyn FnMut(usize),
) -> Result<Mat<f64>, DistillError> {
    let pieces = source.vocabulary.len();
    let mut rows = Mat::zeros(pieces, encoder.dim());
    for first in (0..pieces).step_by(PIECES_AT_ONCE) {
        let last = (first + PIECES_AT_ONCE).min(pieces);
        let sequences: Vec<_> = (first..last).map(|piece| source.sequence(&[piece as u32])).collect();
        copy_unit_rows(&encoder.pool_tokens(&sequences)?, rows.as_mut().subrows_mut(first, last - first));
        progress(last);
    }
    Ok(rows)
}

/// Copies rows, each divided by its length.
fn copy_unit_rows(from: &Mat<f32>, into: MatMut<'_, f64>) {
    for (into, from) in into.row_iter_mut().zip(from.row_iter()) {
        let length = from.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        let factor = if length > 0.0 { 1.0 / length } else { 0.0 };
        into.iter_mut().zip(from.iter()).for_each(|(into, value)| *into = f64::from(*value) * factor);
    }
}

#[cfg(test)]
mod tests;
