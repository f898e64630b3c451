//! From whole heads to factors: the closest routers of few hidden dimensions.
//!
//! The shifts of all models on the training data's prompts, a row each, lie close to a space of few dimensions; its best
//! basis V is that of the principal components (Eckart and Young 1936). Heads are linear, so with W_d the whole map of a
//! domain, W_d V are the hidden dimensions' maps and the rows of V the models' factors.

use faer::{Mat, Side};

use super::TrainError;
use super::options::levelled;
use crate::bert::BertWeights;
use crate::data::Dataset;
use crate::mf::MfWeights;
use crate::vectors::product;

/// Factorises heads whose shifts on all prompts of the data are `shifts`, sources levelled.
pub(super) fn factorise(
    data: &Dataset,
    heads: &BertWeights,
    shifts: &Mat<f64>,
    prior: &[f64],
    rank: usize,
) -> Result<MfWeights, TrainError> {
    let models = prior.len();
    let rank = rank.clamp(1, models.max(1));
    let mut prompts = vec![0.0; data.sources.len()];
    data.prompts.iter().for_each(|prompt| prompts[usize::from(prompt.source)] += 1.0);
    let weights = levelled(&prompts, 0.5);
    let weight = |row: usize| weights[usize::from(data.prompts[row].source)].sqrt();
    let weighted = Mat::from_fn(shifts.nrows(), models, |row, model| weight(row) * shifts[(row, model)]);
    let gram = product(weighted.transpose(), weighted.as_ref());
    let eigen = gram.self_adjoint_eigen(Side::Lower).map_err(|_| TrainError::Diverged)?;
    // Ascending; the sign of each is brought to one that does not depend on how it was found.
    let vectors = eigen.U();
    let component = |column: usize| vectors.col(models - 1 - column);
    let sign = |column: usize| {
        let largest = component(column)
            .iter()
            .copied()
            .fold(0.0, |largest: f64, value| if value.abs() > largest.abs() { value } else { largest });
        if largest < 0.0 { -1.0 } else { 1.0 }
    };
    let factors = Mat::from_fn(models, rank, |model, column| sign(column) * component(column)[model]);
    let project = |map: &Mat<f32>| {
        Mat::from_fn(map.nrows(), rank, |input, column| {
            let products = (0..models).map(|model| f64::from(map[(input, model)]) * factors[(model, column)]);
            products.sum::<f64>() as f32
        })
    };
    let projections = heads.by_domain(prior).iter().map(project).collect();
    let factors = Mat::from_fn(models, rank, |model, column| factors[(model, column)] as f32);
    let mut weights = MfWeights { reading: heads.reading.clone(), projections, factors };
    weights.centre();
    Ok(weights)
}
