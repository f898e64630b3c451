//! What the trained heads read of every prompt.

use faer::Mat;
use rayon::prelude::*;

use super::routing_text;
use crate::data::Dataset;
use crate::features;
use crate::learned::Query;
use crate::reading::{Reading, ReadingWeights};

/// How prompts are read, with features scaled by the prompts that `chosen` names and a gate still to be fitted; and every
/// prompt's inputs, the constant 1 at their end: prompts × inputs.
pub(super) fn read(data: &Dataset, embeddings: &Mat<f32>, chosen: &[usize]) -> (ReadingWeights, Mat<f64>) {
    let texts: Vec<String> = data.prompts.par_iter().map(routing_text).collect();
    let counted: Vec<Vec<f32>> = texts
        .par_iter()
        .map(|text| {
            let mut counted = vec![0.0; features::COUNT];
            features::count(text, &mut counted);
            counted
        })
        .collect();
    let of_chosen = Mat::from_fn(chosen.len(), features::COUNT, |row, place| counted[chosen[row]][place]);
    let (feature_centre, feature_scale) = ReadingWeights::scaling(&of_chosen);
    let dim = embeddings.ncols();
    let gate = Mat::zeros(dim + features::COUNT + 1, 1);
    let weights = ReadingWeights { dim, feature_centre, feature_scale, gate };
    let reading = Reading::new(&weights);
    let rows: Vec<Vec<f32>> = texts
        .par_iter()
        .enumerate()
        .map(|(row, text)| {
            let embedding: Vec<f32> = embeddings.row(row).iter().copied().collect();
            reading.read(Query { text, embedding: &embedding }).inputs
        })
        .collect();
    let inputs = Mat::from_fn(rows.len(), weights.inputs(), |row, input| f64::from(rows[row][input]));
    (weights, inputs)
}
