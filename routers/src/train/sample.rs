//! The calibration sample of a trained artefact: which prompts it is taken on, and what the router makes of them.

use faer::Mat;

use super::{Trained, routing_text};
use crate::artifact::CalibrationSample;
use crate::data::Dataset;
use crate::select::cost::estimate_tokens;
use crate::split::PromptHash;

/// Prompts in a calibration sample, if there are as many.
pub const SAMPLE_PROMPTS: usize = 4608;

/// What a trained router makes of a sample of the data's prompts.
pub(super) fn of(data: &Dataset, trained: &Trained) -> CalibrationSample {
    let places = places(data);
    let tokens: Vec<u32> =
        places.iter().map(|&place| estimate_tokens(&routing_text(&data.prompts[place]))).collect();
    let shifts = Mat::from_fn(places.len(), data.models.len(), |row, model| {
        trained.skills[(places[row], model)] - trained.global.skills[model]
    });
    CalibrationSample::quantise(&shifts, &tokens)
}

/// As many prompts of each source as there are, up to an even share of the whole; within a source those of the lowest
/// hashes, which is to say any.
pub(super) fn places(data: &Dataset) -> Vec<usize> {
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
