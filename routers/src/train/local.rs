//! Training of the routers that fit Bradley–Terry to known prompts, `sw`, `knn` and `kmeans`: they remember the
//! training prompts, and their few settings are chosen on held-out ones.

mod task;
#[cfg(test)]
mod tests;

use faer::Mat;

use self::task::Task;
use super::{Origin, TrainError, sample};
use crate::artifact::{Artifact, Body};
use crate::data::Dataset;
use crate::local::{Neighbours, Similarity, shifts_of_weighted};
use crate::regions::RegionWeights;
use crate::topics::{centres, nearest};

/// ln γ that are tried: γ = 10, as RouteLLM has it, hardly routes.
const LOG_GAMMAS: [f64; 7] = [2.3, 4.0, 6.0, 9.0, 13.0, 18.0, 25.0];
/// ρ that are tried.
const RIDGES: [f64; 6] = [1.0, 3.0, 10.0, 30.0, 100.0, 300.0];

/// Settings of [`train_sw_artifact`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SwOptions {
    /// Decides which prompts are held out.
    pub seed: u64,
}

/// Settings of [`train_knn_artifact`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnnOptions {
    /// Decides which prompts are held out.
    pub seed: u64,
    /// k, the prompts that count.
    pub neighbours: usize,
}

impl Default for KnnOptions {
    fn default() -> Self {
        Self { seed: 0, neighbours: 100 }
    }
}

/// Settings of [`train_kmeans_artifact`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KmeansOptions {
    /// Decides which prompts are held out.
    pub seed: u64,
    /// Clusters, if there are as many prompts.
    pub clusters: usize,
}

impl Default for KmeansOptions {
    fn default() -> Self {
        Self { seed: 0, clusters: 25 }
    }
}

/// Trains the `sw` router: γ, ρ and the temperature are chosen on a tenth of the prompts, the others are remembered.
/// `report` is told how many of how many settings are tried.
///
/// # Errors
/// See [`TrainError`].
pub fn train_sw_artifact(
    data: &Dataset,
    embeddings: &Mat<f32>,
    origin: &Origin,
    options: &SwOptions,
    report: &dyn Fn(usize, usize),
) -> Result<Artifact, TrainError> {
    let task = Task::new(data, embeddings, options.seed)?;
    let evidence = task.evidence().clustered();
    let chosen = task.choose::<Similarity>(&evidence, &LOG_GAMMAS, report);
    task.local_artifact::<Similarity>(chosen, "log_gamma", Body::Sw, origin)
}

/// Trains the `knn` router likewise; the number of neighbours is given.
///
/// # Errors
/// See [`TrainError`].
pub fn train_knn_artifact(
    data: &Dataset,
    embeddings: &Mat<f32>,
    origin: &Origin,
    options: &KnnOptions,
    report: &dyn Fn(usize, usize),
) -> Result<Artifact, TrainError> {
    let task = Task::new(data, embeddings, options.seed)?;
    let evidence = task.evidence();
    let chosen = task.choose::<Neighbours>(&evidence, &[options.neighbours as f64], report);
    task.local_artifact::<Neighbours>(chosen, "neighbours", Body::Knn, origin)
}

/// Trains the `kmeans` router: a fit for each cluster of the training prompts.
///
/// # Errors
/// See [`TrainError`].
pub fn train_kmeans_artifact(
    data: &Dataset,
    embeddings: &Mat<f32>,
    origin: &Origin,
    options: &KmeansOptions,
    report: &dyn Fn(usize, usize),
) -> Result<Artifact, TrainError> {
    let task = Task::new(data, embeddings, options.seed)?;
    let evidence = task.evidence();
    let places: Vec<usize> = (0..evidence.index.len()).collect();
    let mut vectors = Mat::<f32>::zeros(embeddings.ncols(), places.len());
    for (column, &place) in vectors.col_iter_mut().zip(&places) {
        column.iter_mut().zip(evidence.index.vector(place)).for_each(|(into, value)| *into = value);
    }
    let centres = centres(&vectors, &places, options.clusters.max(1));
    let homes: Vec<usize> = vectors.col_iter().map(|vector| nearest(&centres, vector)).collect();
    let fits = |ridge: f64| -> Vec<Vec<f64>> {
        let of_cluster = |cluster: usize| {
            let weights: Vec<f32> = homes.iter().map(|&home| f32::from(u8::from(home == cluster))).collect();
            shifts_of_weighted(&evidence, &weights, &task.global.skills, ridge)
        };
        (0..centres.ncols()).map(of_cluster).collect()
    };
    let home = |row: usize| {
        let embedding: Vec<f32> = embeddings.row(row).iter().copied().collect();
        nearest(&centres, faer::ColRef::from_slice(&embedding))
    };
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
    let measured = task.measure(|row| fits[home(row)].clone());
    let shifts = Mat::from_fn(data.models.len(), centres.ncols(), |model, cluster| {
        (measured.temperature * fits[cluster][model]) as f32
    });
    let settings = [("clusters", centres.ncols() as f64), ("ridge", ridge)];
    let body = Body::Kmeans(RegionWeights { centres, shifts });
    let artifact = task.artifact(body, &settings, &measured, origin)?;
    sample::calibrated(artifact, data, embeddings)
}
