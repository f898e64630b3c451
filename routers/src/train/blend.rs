//! Training of a blend: its parts, each as it is trained by itself, and the weights that suit the dev prompts' battles best.

use faer::Mat;

use super::assemble::artifact;
use super::options::balanced_weights;
use super::temperature::{self, Learned, Stake, likeliest};
use super::{Material, Part, Recipe, Report, Settings, TrainError, Trained, train};
use crate::artifact::Body;
use crate::blend::{BlendPart, BlendWeights};

/// The kinds of the parts. The last knows its labels best: the blend reads labels at its scales.
const PARTS: [&str; 3] = ["knn", "sw", "mf"];
/// Bounds of a weight.
const WEIGHTS: (f64, f64) = (0.0, 2.0);
/// A part that is worth less is not heard.
const WEIGHT_MIN: f64 = 1e-3;
/// Rounds over the weights, and bisections of each.
const ROUNDS: usize = 40;
const BISECTIONS: usize = 20;
/// What a part's steps count as, however many they are.
const STEPS: usize = 100;

/// Trains the parts, then the weights.
pub(super) fn train_blend(material: &Material<'_>, report: Report<'_>) -> Result<Trained, TrainError> {
    let recipes: Vec<Recipe> = PARTS.iter().filter_map(|kind| Recipe::of(kind)).collect();
    let mut parts = Vec::with_capacity(recipes.len());
    for (place, recipe) in recipes.iter().enumerate() {
        let of_part = |done: usize, total: usize| {
            report(place * STEPS + done * STEPS / total.max(1), recipes.len() * STEPS);
        };
        parts.push(train(recipe, material, &of_part)?);
    }
    let Some(last) = parts.last() else { return Err(TrainError::NoBattles) };
    let (global, scales) = (last.global.clone(), last.scales.clone());
    let weights = weigh(material, &parts);
    let shifts = Mat::from_fn(material.data.prompts.len(), global.skills.len(), |row, model| {
        let shift = |part: &Trained| part.skills[(row, model)] - global.skills[model];
        weights.iter().zip(&parts).map(|(weight, part)| weight * shift(part)).sum()
    });
    let settings = Settings::from([("weights", PARTS.iter().copied().zip(weights.clone()).collect())]);
    let mut told = Vec::with_capacity(parts.len());
    for (weight, part) in weights.into_iter().zip(parts) {
        told.push(BlendPart { weight, artifact: artifact(material, part)? });
    }
    told.sort_by_key(|part| part.artifact.kind());
    let learned = Learned { global, scales, settings };
    Ok(temperature::finish(material, &shifts, learned, |temperature| {
        told.iter_mut().for_each(|part| part.weight *= temperature);
        Body::Blend(BlendWeights { parts: told })
    }))
}

/// The weights of the parts under which the dev prompts' battles are likeliest, sources levelled: concave, so that one weight
/// after the other comes to the best of all. Without dev prompts, equal shares.
fn weigh(material: &Material<'_>, parts: &[Trained]) -> Vec<f64> {
    let Material { data, part, .. } = *material;
    let mut weights = vec![1.0 / parts.len().max(1) as f64; parts.len()];
    let dev = data.battles(|prompt| part(prompt) == Part::Dev);
    let Some(Trained { global, scales, .. }) = parts.last() else { return weights };
    if dev.is_empty() {
        return weights;
    }
    let levels = balanced_weights(data, &dev);
    let (mut told, mut moved) =
        (Vec::with_capacity(dev.len()), vec![Vec::with_capacity(dev.len()); parts.len()]);
    for battle in &dev {
        let (a, b) = (usize::from(battle.model_a), usize::from(battle.model_b));
        let (row, source) = (battle.prompt as usize, usize::from(battle.source));
        let prior = global.skills[a] - global.skills[b];
        told.push((
            levels[source] * f64::from(battle.weight),
            f64::from(battle.share),
            scales[source] * prior,
        ));
        for (moved, part) in moved.iter_mut().zip(parts) {
            moved.push(scales[source] * (part.skills[(row, a)] - part.skills[(row, b)] - prior));
        }
    }
    for _ in 0..ROUNDS {
        for place in 0..parts.len() {
            let stake = |(battle, &(weight, share, prior)): (usize, &(f64, f64, f64))| {
                let all =
                    weights.iter().zip(&moved).map(|(weight, moved)| weight * moved[battle]).sum::<f64>();
                let moved = moved[place][battle];
                Stake { weight, share, logit: prior + (all - weights[place] * moved), moved }
            };
            let stakes: Vec<Stake> = told.iter().enumerate().map(stake).collect();
            weights[place] = likeliest(WEIGHTS, BISECTIONS, &stakes);
        }
    }
    weights.into_iter().map(|weight| if weight < WEIGHT_MIN { 0.0 } else { weight }).collect()
}
