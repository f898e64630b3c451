//! The calibration sample of a trained artefact: which prompts it is taken on, and what the router makes of them.

use faer::Mat;

use super::{TrainError, routing_text};
use crate::artifact::{Artifact, CalibrationSample};
use crate::data::Dataset;
use crate::router::{QueryBatch, RouterError};
use crate::select::cost::estimate_tokens;
use crate::split::PromptHash;

/// Prompts in a calibration sample, if there are as many.
pub const SAMPLE_PROMPTS: usize = 4608;
/// Prompts scored at a time.
const CHUNK: usize = 512;

/// The artefact with a sample of the data's prompts, scored by its own router.
pub(super) fn calibrated(
    artifact: Artifact,
    data: &Dataset,
    embeddings: &Mat<f32>,
) -> Result<Artifact, TrainError> {
    let places = places(data);
    let texts: Vec<String> = places.iter().map(|&place| routing_text(&data.prompts[place])).collect();
    let tokens: Vec<u32> = texts.iter().map(|text| estimate_tokens(text)).collect();
    let shifts = shifts(&artifact, &texts, &places, embeddings)?;
    Ok(artifact.recalibrated(CalibrationSample::quantise(&shifts, &tokens))?)
}

/// The same with θ − θ⁰ of every model as `shifts` tells it for the prompt at a place: for routers that know the
/// training prompts by heart, and would tell of those what they can tell of no other.
pub(super) fn calibrated_by(
    artifact: Artifact,
    data: &Dataset,
    mut shifts: impl FnMut(usize) -> Vec<f64>,
) -> Result<Artifact, TrainError> {
    let places = places(data);
    let tokens: Vec<u32> =
        places.iter().map(|&place| estimate_tokens(&routing_text(&data.prompts[place]))).collect();
    let rows: Vec<Vec<f64>> = places.iter().map(|&place| shifts(place)).collect();
    let shifts = Mat::from_fn(rows.len(), data.models.len(), |row, model| rows[row][model]);
    Ok(artifact.recalibrated(CalibrationSample::quantise(&shifts, &tokens))?)
}

/// θ(x) − θ⁰ of the artefact's models on the prompts at `places`.
fn shifts(
    artifact: &Artifact,
    texts: &[String],
    places: &[usize],
    embeddings: &Mat<f32>,
) -> Result<Mat<f64>, RouterError> {
    let router = artifact.router();
    let mut shifts = Mat::zeros(places.len(), artifact.ratings().models.len());
    for (chunk, (texts, places)) in texts.chunks(CHUNK).zip(places.chunks(CHUNK)).enumerate() {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let rows =
            Mat::from_fn(places.len(), embeddings.ncols(), |row, column| embeddings[(places[row], column)]);
        let scored = artifact.shifts(&*router, &QueryBatch { texts: &texts, embeddings: Some(rows) })?;
        shifts.subrows_mut(chunk * CHUNK, places.len()).copy_from(&scored);
    }
    Ok(shifts)
}

/// As many prompts of each source as there are, up to an even share of the whole; within a source those of the lowest
/// hashes, which is to say any.
fn places(data: &Dataset) -> Vec<usize> {
    let mut of_source: Vec<Vec<(PromptHash, usize)>> = vec![Vec::new(); data.sources.len()];
    for (place, prompt) in data.prompts.iter().enumerate() {
        if let Some(prompts) = of_source.get_mut(usize::from(prompt.source)) {
            prompts.push((prompt.hash(), place));
        }
    }
    of_source.iter_mut().for_each(|prompts| prompts.sort_unstable());
    let mut order: Vec<usize> = (0..of_source.len()).collect();
    order.sort_by_key(|&source| of_source[source].len());
    let mut chosen: Vec<usize> = Vec::new();
    for (done, source) in order.iter().enumerate() {
        // What the smaller sources could not fill is shared by the larger ones.
        let share = (SAMPLE_PROMPTS - chosen.len()) / (order.len() - done);
        chosen.extend(of_source[*source].iter().take(share).map(|(_, place)| *place));
    }
    chosen.sort_unstable();
    chosen
}
