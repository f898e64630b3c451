//! Example texts: how often each piece occurs in them, and what the encoder makes of them.

use faer::Mat;

use super::DistillError;
use super::source::Source;
use crate::data::Row;
use crate::encoder::Encoder;
use crate::wordpiece::{WordPiece, WordPieceScratch};

/// Adds every user turn of a row of a data file, in any format that [`crate::data`] reads, to `texts`.
pub fn take_texts(row: Row, texts: &mut Vec<String>) {
    match row {
        Row::Outcome(row) => texts.extend(row.turns),
        Row::Battle(row) => texts.extend(row.turns),
        Row::Votes(_) => {}
    }
}

/// Tokens of a text that are read. Beginnings say what a text is about; more of it costs time in proportion.
const TOKENS_MAX: usize = 126;

/// Texts that go through the encoder between two reports of progress.
const TEXTS_AT_ONCE: usize = 32;

/// The texts as bags of pieces. Sorted, every text once: their order and repetition do not matter.
pub(super) struct Corpus {
    sequences: Vec<Vec<u32>>,
}

impl Corpus {
    /// Cuts texts into pieces.
    pub(super) fn read(texts: &[String], source: &Source) -> Result<Self, DistillError> {
        let pieces: Vec<&str> = source.vocabulary.iter().map(String::as_str).collect();
        let tokenizer = WordPiece::new(&pieces, &source.unknown, source.tokenizer)
            .map_err(|error| DistillError::Tokenizer(error.to_string()))?;
        let mut scratch = WordPieceScratch::default();
        let mut sequences: Vec<Vec<u32>> = texts
            .iter()
            .map(|text| {
                let mut sequence = Vec::new();
                tokenizer.tokenize(text, TOKENS_MAX, &mut scratch, |token| sequence.push(token));
                sequence
            })
            .filter(|sequence| !sequence.is_empty())
            .collect();
        sequences.sort_unstable();
        sequences.dedup();
        Ok(Self { sequences })
    }

    /// The texts' pieces, in order.
    pub(super) fn sequences(&self) -> &[Vec<u32>] {
        &self.sequences
    }

    /// How often each piece occurs.
    pub(super) fn counts(&self, pieces: usize) -> Vec<u64> {
        let mut counts = vec![0; pieces];
        for token in self.sequences.iter().flatten() {
            if let Some(count) = counts.get_mut(*token as usize) {
                *count += 1;
            }
        }
        counts
    }

    /// The encoder's vectors of the texts, a row of unit length each.
    pub(super) fn embed(
        &self,
        encoder: &Encoder,
        source: &Source,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Mat<f64>, DistillError> {
        let texts = self.sequences.len();
        let mut rows = Mat::zeros(texts, encoder.dim());
        for first in (0..texts).step_by(TEXTS_AT_ONCE) {
            let last = (first + TEXTS_AT_ONCE).min(texts);
            let sequences: Vec<_> =
                self.sequences[first..last].iter().map(|sequence| source.sequence(sequence)).collect();
            super::copy_unit_rows(
                &encoder.pool_tokens(&sequences)?,
                rows.as_mut().subrows_mut(first, last - first),
            );
            progress(last);
        }
        Ok(rows)
    }
}
