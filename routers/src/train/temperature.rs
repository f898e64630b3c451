//! The one factor of all shifts that fits held-out battles best, and what is measured there.

use faer::Mat;

use super::loss::losses;
use super::options::balanced_weights;
use super::{Material, Part, Settings, Trained};
use crate::artifact::Body;
use crate::bradley_terry::{maximum, sigmoid};
use crate::data::{Battle, Dataset};
use crate::ratings::GlobalFit;

/// Bounds of the temperature.
const TEMPERATURES: (f64, f64) = (0.2, 2.0);

/// What a router was learned with.
#[derive(Debug)]
pub(super) struct Learned {
    pub(super) global: GlobalFit,
    pub(super) scales: Vec<f64>,
    pub(super) settings: Settings,
}

/// Fits the temperature of `shifts`, θ − θ⁰ of every prompt and model, on the dev battles; `body` makes the weights with
/// it folded in.
pub(super) fn finish(
    material: &Material<'_>,
    shifts: &Mat<f64>,
    learned: Learned,
    body: impl FnOnce(f64) -> Body,
) -> Trained {
    let Material { data, part, .. } = *material;
    let Learned { global, scales, settings } = learned;
    let dev = data.battles(|prompt| part(prompt) == Part::Dev);
    let temperature = if dev.is_empty() { 1.0 } else { fit(data, &dev, shifts, &global, &scales) };
    let skills = Mat::from_fn(shifts.nrows(), shifts.ncols(), |row, model| {
        global.skills[model] + temperature * shifts[(row, model)]
    });
    let dev = losses(data, &dev, &skills, &scales, &global);
    Trained { body: body(temperature), global, scales, temperature, settings, dev, skills }
}

/// By bisection of the slope of the likelihood, each source's battles at a weight that levels them.
fn fit(data: &Dataset, dev: &[Battle], shifts: &Mat<f64>, global: &GlobalFit, scales: &[f64]) -> f64 {
    let weights = balanced_weights(data, dev);
    let slope = |temperature: f64| -> f64 {
        let of_battle = |battle: &Battle| {
            let (a, b) = (usize::from(battle.model_a), usize::from(battle.model_b));
            let (row, source) = (battle.prompt as usize, usize::from(battle.source));
            let moved = scales[source] * (shifts[(row, a)] - shifts[(row, b)]);
            let logit = scales[source] * (global.skills[a] - global.skills[b]) + temperature * moved;
            weights[source] * f64::from(battle.weight) * (f64::from(battle.share) - sigmoid(logit)) * moved
        };
        dev.iter().map(of_battle).sum()
    };
    maximum(TEMPERATURES, 50, slope)
}
