//! From fitted parameters to weights: temperature, gauge, and the form in which they are used.

use faer::Mat;

use super::examples::Examples;
use super::inputs::Inputs;
use super::loss::{self, SourceLoss};
use super::parameters::{Parameters, input_scale};
use super::{TrainError, TrainedMf};
use crate::bradley_terry::sigmoid;
use crate::data::{Battle, Dataset};
use crate::mf::MfWeights;
use crate::ratings::GlobalFit;

/// Bounds of the temperature.
const TEMPERATURES: (f64, f64) = (0.2, 5.0);

/// What the epochs left.
pub(super) struct Fitted {
    pub(super) parameters: Parameters,
    pub(super) epoch: usize,
    pub(super) global: GlobalFit,
    pub(super) weights: Vec<f64>,
}

/// Fits the temperature on the dev battles and folds it and the gauge into the weights.
pub(super) fn finish(
    data: &Dataset,
    inputs: &Inputs,
    dev: &Examples,
    fitted: &Fitted,
) -> Result<TrainedMf, TrainError> {
    let Fitted { parameters, epoch, global, weights } = fitted;
    let mut logits: Vec<(Battle, f64)> = Vec::with_capacity(dev.battles.len());
    loss::for_each_logit(&inputs.values, dev, parameters, &global.skills, |battle, logit| {
        logits.push((*battle, logit));
    });
    let temperature = if dev.is_empty() { 1.0 } else { temperature(&logits, weights) };
    let mut folded = fold(&inputs.topics, parameters, global, temperature);
    folded.centre();
    if !(folded.projection.is_all_finite()
        && folded.topic_projection.is_all_finite()
        && folded.factors.is_all_finite())
    {
        return Err(TrainError::Diverged);
    }
    let scales: Vec<f64> =
        (0..data.sources.len()).map(|source| parameters.log_scales[(source, 0)].exp()).collect();
    Ok(TrainedMf {
        weights: folded,
        dev: losses(data, dev, &logits, temperature, global),
        global: global.clone(),
        scales,
        source_weights: weights.clone(),
        temperature,
        epoch: *epoch,
    })
}

/// The factor of all log-odds that fits the battles best, by bisection of the slope of the likelihood.
fn temperature(logits: &[(Battle, f64)], source_weights: &[f64]) -> f64 {
    let slope = |factor: f64| -> f64 {
        let of_battle = |(battle, logit): &(Battle, f64)| {
            let weight = f64::from(battle.weight) * source_weights[usize::from(battle.source)];
            weight * (f64::from(battle.share) - sigmoid(factor * logit)) * logit
        };
        logits.iter().map(of_battle).sum()
    };
    let (mut low, mut high) = TEMPERATURES;
    for _ in 0..50 {
        let middle = 0.5 * (low + high);
        if slope(middle) > 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// θ = τ(θ⁰ + c + u · (Wᵀ κ e + b)), written as θ⁰ + factors · (projectionᵀ e + bias): a hidden dimension that is
/// always 1 holds what does not depend on the prompt. The rows of the projection past the embedding's
/// dimensions are the topics'.
fn fold(topics: &Mat<f32>, parameters: &Parameters, global: &GlobalFit, temperature: f64) -> MfWeights {
    let (models, hidden) = (parameters.factors.nrows(), parameters.factors.ncols());
    let (dimensions, all) = (topics.nrows(), parameters.projection.nrows());
    let scale = input_scale(all);
    let factors = Mat::from_fn(models, hidden + 1, |model, column| {
        if column < hidden {
            temperature * parameters.factors[(model, column)]
        } else {
            temperature * parameters.offsets[(model, 0)] + (temperature - 1.0) * global.skills[model]
        }
    });
    let projection = |dimension: usize, column: usize| {
        if column < hidden { scale * parameters.projection[(dimension, column)] } else { 0.0 }
    };
    MfWeights {
        projection: Mat::from_fn(dimensions, hidden + 1, |row, column| projection(row, column) as f32),
        topics: topics.clone(),
        topic_projection: Mat::from_fn(all - dimensions, hidden + 1, |topic, column| {
            projection(dimensions + topic, column) as f32
        }),
        bias: (0..=hidden)
            .map(|column| if column < hidden { parameters.bias[(column, 0)] as f32 } else { 1.0 })
            .collect(),
        factors: Mat::from_fn(models, hidden + 1, |row, column| factors[(row, column)] as f32),
    }
}

/// The dev losses of the router and of the global fit.
fn losses(
    data: &Dataset,
    dev: &Examples,
    logits: &[(Battle, f64)],
    temperature: f64,
    global: &GlobalFit,
) -> Vec<SourceLoss> {
    let sources = data.sources.len();
    let mut of_router = logits.iter();
    // `logits` is in the battles' order.
    let next = |_: &Battle| of_router.next().map_or(0.0, |(_, logit)| temperature * logit);
    let router = loss::mean_log_losses(&dev.battles, sources, next);
    let of_global = loss::mean_log_losses(&dev.battles, sources, |battle| {
        let gap = global.skills[usize::from(battle.model_a)] - global.skills[usize::from(battle.model_b)];
        global.scales[usize::from(battle.source)] * gap
    });
    let mut prompts = vec![0; sources];
    for example in 0..dev.len() {
        prompts[usize::from(dev.of(example)[0].source)] += 1;
    }
    let of_source = |source: usize| SourceLoss {
        source: data.sources[source].clone(),
        prompts: prompts[source],
        router: router[source].0 / router[source].1,
        global: of_global[source].0 / of_global[source].1,
    };
    (0..sources).filter(|&source| prompts[source] > 0).map(of_source).collect()
}
