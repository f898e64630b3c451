//! The prompts that an artefact is calibrated on: their embeddings and lengths, never their texts.

use faer::Mat;

/// Embeddings of a sample of prompts, a byte per value, and the prompts' lengths.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CalibrationSample {
    /// Dimensions of an embedding.
    pub(super) dim: usize,
    /// A row of `dim` values per prompt.
    pub(super) embeddings: Vec<i8>,
    /// What each row is multiplied by.
    pub(super) scales: Vec<f32>,
    /// Estimated tokens of each prompt.
    pub(super) prompt_tokens: Vec<u32>,
}

impl CalibrationSample {
    /// Rounds embeddings of unit length (or zero) to bytes: one row per prompt, and per prompt its estimated tokens
    /// ([`crate::select::cost::estimate_tokens`]). Rows without a length, and lengths without a row, are dropped.
    #[must_use]
    pub fn quantise(embeddings: &Mat<f32>, prompt_tokens: &[u32]) -> Self {
        let mut sample = Self { dim: embeddings.ncols(), ..Self::default() };
        for (row, &tokens) in embeddings.row_iter().zip(prompt_tokens) {
            let largest = row.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
            let scale = largest / f32::from(i8::MAX);
            let steps = if scale > 0.0 { 1.0 / scale } else { 0.0 };
            // The largest value is ±127 by the choice of the scale, so nothing is cut off.
            sample.embeddings.extend(row.iter().map(|value| (value * steps).round() as i8));
            sample.scales.push(scale);
            sample.prompt_tokens.push(tokens);
        }
        sample
    }

    /// Prompts in the sample.
    #[must_use]
    pub fn len(&self) -> usize {
        self.prompt_tokens.len()
    }

    /// Whether there are no prompts.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.prompt_tokens.is_empty()
    }

    /// Dimensions of an embedding.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The estimated tokens of each prompt.
    #[must_use]
    pub fn prompt_tokens(&self) -> &[u32] {
        &self.prompt_tokens
    }

    /// The embeddings, of unit length but for rounding, each as an iterator over its values.
    pub fn rows(&self) -> impl Iterator<Item = impl Iterator<Item = f32>> {
        let rows = self.embeddings.chunks_exact(self.dim.max(1));
        rows.zip(&self.scales).map(|(row, &scale)| row.iter().map(move |&value| scale * f32::from(value)))
    }
}
