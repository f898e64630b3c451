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
/// Bisections between them.
const BISECTIONS: usize = 50;

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

/// What a battle says of how far skills should move.
#[derive(Debug)]
pub(super) struct Stake {
    pub(super) weight: f64,
    /// The first model's share of the win.
    pub(super) share: f64,
    /// The log-odds that it wins where nothing moves.
    pub(super) logit: f64,
    /// What a whole move adds to them.
    pub(super) moved: f64,
}

/// The part of a whole move, within bounds, under which the battles are likeliest: by bisection of the slope.
pub(super) fn likeliest(bounds: (f64, f64), bisections: usize, stakes: &[Stake]) -> f64 {
    maximum(bounds, bisections, |part| {
        let slope = |&Stake { weight, share, logit, moved }: &Stake| {
            weight * (share - sigmoid(logit + part * moved)) * moved
        };
        stakes.iter().map(slope).sum()
    })
}

/// Each source's battles at a weight that levels them.
fn fit(data: &Dataset, dev: &[Battle], shifts: &Mat<f64>, global: &GlobalFit, scales: &[f64]) -> f64 {
    let weights = balanced_weights(data, dev);
    let stake = |battle: &Battle| {
        let (a, b) = (usize::from(battle.model_a), usize::from(battle.model_b));
        let (row, source) = (battle.prompt as usize, usize::from(battle.source));
        Stake {
            weight: weights[source] * f64::from(battle.weight),
            share: f64::from(battle.share),
            logit: scales[source] * (global.skills[a] - global.skills[b]),
            moved: scales[source] * (shifts[(row, a)] - shifts[(row, b)]),
        }
    };
    likeliest(TEMPERATURES, BISECTIONS, &dev.iter().map(stake).collect::<Vec<Stake>>())
}
