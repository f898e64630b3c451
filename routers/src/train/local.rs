//! Training of the routers that fit Bradley–Terry to known prompts, `sw`, `knn` and `kmeans`: they remember the
//! training prompts, and their few settings are chosen on held-out ones.

mod task;
#[cfg(test)]
mod tests;

use faer::{ColRef, Mat};
use serde_json::json;

use self::task::Task;
use super::{Material, Report, Settings, TrainError, Trained, shifts_of, temperature};
use crate::artifact::Body;
use crate::local::{Neighbours, Similarity, shifts_of_weighted};
use crate::regions::{RegionWeights, Regions};
use crate::topics::{centres, nearest};

/// ln γ that are tried: γ = 10, as RouteLLM has it, hardly routes.
const LOG_GAMMAS: [f64; 10] = [2.3, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 11.0, 14.0, 20.0];
/// ρ that are tried, ascending.
const RIDGES: [f64; 8] = [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0];

/// `sw`: γ, ρ and the temperature are chosen on the dev prompts, the training prompts are remembered. `report` is told how
/// many of how many settings are tried.
pub(super) fn train_sw(material: &Material<'_>, report: Report<'_>) -> Result<Trained, TrainError> {
    let task = Task::new(*material)?;
    let evidence = task.evidence().clustered();
    let chosen = task.choose::<Similarity>(&evidence, &LOG_GAMMAS, report);
    Ok(task.finish::<Similarity>(chosen, "log_gamma", Body::Sw))
}

/// `knn` likewise; the number of neighbours is given.
pub(super) fn train_knn(
    material: &Material<'_>,
    neighbours: usize,
    report: Report<'_>,
) -> Result<Trained, TrainError> {
    let task = Task::new(*material)?;
    let chosen = task.choose::<Neighbours>(&task.evidence(), &[neighbours as f64], report);
    Ok(task.finish::<Neighbours>(chosen, "neighbours", Body::Knn))
}

/// `kmeans`: a fit for each cluster of the training prompts.
pub(super) fn train_kmeans(
    material: &Material<'_>,
    clusters: usize,
    report: Report<'_>,
) -> Result<Trained, TrainError> {
    let Material { data, embeddings, .. } = *material;
    let task = Task::new(*material)?;
    let evidence = task.evidence();
    let places: Vec<usize> = (0..evidence.index.len()).collect();
    let mut vectors = Mat::<f32>::zeros(embeddings.ncols(), places.len());
    for (column, &place) in vectors.col_iter_mut().zip(&places) {
        column.iter_mut().zip(evidence.index.vector(place)).for_each(|(into, value)| *into = value);
    }
    let centres = centres(&vectors, &places, clusters.max(1));
    let homes: Vec<usize> = vectors.col_iter().map(|vector| nearest(&centres, vector)).collect();
    let fits = |ridge: f64| -> Vec<Vec<f64>> {
        let of_cluster = |cluster: usize| {
            let weights: Vec<f32> = homes.iter().map(|&home| f32::from(u8::from(home == cluster))).collect();
            shifts_of_weighted(&evidence, &weights, &task.global.skills, ridge)
        };
        (0..centres.ncols()).map(of_cluster).collect()
    };
    let home = |row: usize| nearest(&centres, ColRef::from_slice(&task.embedding(row)));
    let mut best: Option<(f64, f64, Vec<Vec<f64>>)> = None;
    for (tried, &ridge) in RIDGES.iter().enumerate() {
        report(tried, RIDGES.len());
        let fits = fits(ridge);
        let loss = task.loss(&task.compared(), |row| fits[home(row)].clone());
        if best.as_ref().is_none_or(|(lowest, ..)| loss < *lowest) {
            best = Some((loss, ridge, fits));
        }
    }
    let Some((_, ridge, fits)) = best else { return Err(TrainError::NoBattles) };
    let shifts = Mat::from_fn(data.models.len(), centres.ncols(), |model, cluster| fits[cluster][model]);
    let weights = |temperature: f64| RegionWeights {
        centres: centres.clone(),
        shifts: Mat::from_fn(shifts.nrows(), shifts.ncols(), |model, cluster| {
            (temperature * shifts[(model, cluster)]) as f32
        }),
    };
    let of_all = shifts_of(material, &Regions::new(&weights(1.0), &task.global.skills));
    let settings = Settings::from([("clusters", json!(centres.ncols())), ("ridge", json!(ridge))]);
    Ok(temperature::finish(material, &of_all, task.learned(settings), |temperature| {
        Body::Kmeans(weights(temperature))
    }))
}
