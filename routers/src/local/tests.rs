//! What a fit at a prompt is, against the fit that the global ratings come from, and what clusters cost.

use rand::RngExt;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;

use super::*;
use crate::bradley_terry::{PairSum, Prior, fit, maximum, sigmoid};
use crate::index::{Index, Probe};

const DIM: usize = 24;
const MODELS: u32 = 7;

/// Prompts around four directions, a panel of five models (one absent now and then), and battles of pairs.
fn evidence(prompts: usize) -> Evidence {
    let mut random = ChaCha12Rng::seed_from_u64(3);
    let mut index = Index::empty(DIM);
    for prompt in 0..prompts {
        index.push(&vector(prompt % 4, &mut random));
    }
    let told: Vec<u32> = (0..prompts as u32).step_by(3).collect();
    let rank = |place: usize, random: &mut ChaCha12Rng| match random.random_range(0..9_u8) {
        0 => ABSENT,
        drawn => u8::from(usize::from(drawn) > place) + u8::from(drawn > 5),
    };
    let ranks = (0..told.len() * 5).map(|place| rank(place % 5, &mut random)).collect();
    let panel = Panel { scale: 0.8, weight: 1.5, models: vec![0, 1, 2, 4, 6], prompts: told, ranks };
    let pair = |model_a, model_b, scale| Pair { model_a, model_b, scale, weight: 0.7 };
    let pairs = vec![pair(0, 3, 1.0), pair(3, 4, 1.0), pair(0, 3, 2.0)];
    let mut battle = |prompt: usize| LocalBattle {
        prompt: prompt as u32,
        pair: random.random_range(0..3),
        share: if random.random_bool(if prompt.is_multiple_of(2) { 0.8 } else { 0.3 }) {
            SHARE_PARTS
        } else {
            0
        },
    };
    let battles = (0..prompts).map(&mut battle).collect();
    Evidence { index, panels: vec![panel], pairs, battles, clusters: Vec::new() }
}

fn vector(direction: usize, random: &mut ChaCha12Rng) -> Vec<f32> {
    let value = |place: usize, noise: f32| noise + if place % 4 == direction { 0.4 } else { 0.0 };
    (0..DIM).map(|place| value(place, random.random_range(-0.35..0.35))).collect()
}

fn weights(evidence: Evidence, setting: f64) -> LocalWeights {
    LocalWeights { evidence, setting, ridge: 4.0, temperature: 1.0 }
}

fn prior() -> Vec<f64> {
    (0..MODELS).map(|model| 0.3 * f64::from(model) - 0.9).collect()
}

fn shifts<K: Kernel>(weights: &LocalWeights, embedding: &[f32]) -> Vec<f64> {
    weights.check(MODELS as usize).unwrap();
    LocalFit::<K>::new(&Arc::new(weights.clone()), &prior()).shifts(embedding, false)
}

/// Every battle as a pair of its own, at the weight of its prompt.
fn reference(weights: &LocalWeights, embedding: &[f32]) -> Vec<f64> {
    let evidence = &weights.evidence;
    let mut of_prompt = cosines(evidence, embedding);
    kernel::weigh(weights.setting, 0.0, &mut of_prompt);
    let mut pairs = Vec::new();
    let mut push = |(a, b): (u32, u32), scale: f32, weight: f64, share: f64| {
        let (model_a, model_b) = (a as usize, b as usize);
        let (won_a, won_b) = (weight * share, weight * (1.0 - share));
        pairs.push(PairSum { model_a, model_b, won_a, won_b, scale: f64::from(scale) });
    };
    for battle in &evidence.battles {
        let pair = evidence.pairs[battle.pair as usize];
        let weight = f64::from(of_prompt[battle.prompt as usize]) * f64::from(pair.weight);
        push((pair.model_a, pair.model_b), pair.scale, weight, f64::from(battle.share) / 252.0);
    }
    for panel in &evidence.panels {
        for (prompt, ranks) in panel.prompts.iter().zip(panel.ranks.chunks_exact(panel.models.len())) {
            let present: Vec<usize> = (0..ranks.len()).filter(|&place| ranks[place] != ABSENT).collect();
            let each = f64::from(panel.weight) * 2.0 / present.len() as f64;
            for (place, &i) in present.iter().enumerate() {
                for &j in &present[place + 1..] {
                    let share = 0.5 + 0.5 * f64::from(ranks[i].cmp(&ranks[j]) as i8);
                    let weight = each * f64::from(of_prompt[*prompt as usize]);
                    push((panel.models[i], panel.models[j]), panel.scale, weight, share);
                }
            }
        }
    }
    let centred = Prior { centre: prior(), precision: vec![weights.ridge; MODELS as usize] };
    fit(&pairs, &centred).unwrap().iter().zip(prior()).map(|(skill, prior)| skill - prior).collect()
}

fn cosines(evidence: &Evidence, embedding: &[f32]) -> Vec<f32> {
    let mut cosines = vec![0.0; evidence.index.len()];
    evidence.index.cosines(0..cosines.len(), &Probe::new(embedding), &mut cosines);
    cosines
}

/// How steeply the likelihood rises at `shift`, by the results of one model on its nearest prompts, one by one.
fn slope(weights: &LocalWeights, embedding: &[f32], model: u32, shift: f64) -> f64 {
    let (evidence, panel) = (&weights.evidence, &weights.evidence.panels[0]);
    let cosines = cosines(evidence, embedding);
    // Prompt, scale, share and expected log-odds.
    let mut results: Vec<(u32, f64, f64, f64)> = Vec::new();
    if let Ok(column) = panel.models.binary_search(&model) {
        let rows = panel.prompts.iter().zip(panel.ranks.chunks_exact(panel.models.len()));
        for (&prompt, ranks) in rows.filter(|(_, ranks)| ranks[column] != ABSENT) {
            let others = (0..ranks.len()).filter(|&other| other != column && ranks[other] != ABSENT);
            let shares: Vec<f64> =
                others.map(|other| 0.5 + 0.5 * f64::from(ranks[column].cmp(&ranks[other]) as i8)).collect();
            let share =
                if shares.is_empty() { 0.5 } else { shares.iter().sum::<f64>() / shares.len() as f64 };
            results.push((prompt, f64::from(panel.scale), share, 0.0));
        }
        let others = panel.models.iter().filter(|&&other| other != model);
        let gaps = others.map(|&other| prior()[model as usize] - prior()[other as usize]);
        let expected = gaps.map(|gap| sigmoid(f64::from(panel.scale) * gap)).sum::<f64>() / 4.0;
        results.iter_mut().for_each(|result| result.3 = (expected / (1.0 - expected)).ln());
    }
    for battle in &evidence.battles {
        let pair = evidence.pairs[battle.pair as usize];
        let (own, other) =
            if pair.model_a == model { (pair.model_a, pair.model_b) } else { (pair.model_b, pair.model_a) };
        if own == model {
            let (scale, first) = (f64::from(pair.scale), f64::from(battle.share) / f64::from(SHARE_PARTS));
            let share = if pair.model_a == own { first } else { 1.0 - first };
            let gap = prior()[own as usize] - prior()[other as usize];
            results.push((battle.prompt, scale, share, scale * gap));
        }
    }
    let cosine = |prompt: u32| cosines[prompt as usize];
    results.sort_by(|one, other| cosine(other.0).total_cmp(&cosine(one.0)).then(one.0.cmp(&other.0)));
    let near = results.iter().take(weights.setting as usize).filter(|result| cosine(result.0) > 0.0);
    let pull = |&(prompt, scale, share, expected): &(u32, f64, f64, f64)| {
        f64::from(cosine(prompt)).powi(2) * scale * (share - sigmoid(expected + scale * shift))
    };
    near.map(pull).sum::<f64>() - weights.ridge * shift
}

fn largest_gap(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).fold(0.0, |largest, (a, b)| f64::max(largest, (a - b).abs()))
}

#[test]
fn the_fit_at_a_prompt_is_the_weighted_ridge_fit() {
    let mut random = ChaCha12Rng::seed_from_u64(5);
    let weights = weights(evidence(900), 9.0);
    for direction in 0..4 {
        let query = vector(direction, &mut random);
        let found = shifts::<Similarity>(&weights, &query);
        let expected = reference(&weights, &query);
        assert!(largest_gap(&found, &expected) < 1e-4, "{found:?} {expected:?}");
        // The gauge; model 5 fought nowhere.
        assert!(found.iter().sum::<f64>().abs() < 1e-9 && found[5].to_bits() == 0);
        assert!(found.iter().any(|shift| shift.abs() > 0.05));
    }
}

#[test]
fn each_model_is_fitted_to_its_own_nearest_results() {
    let mut random = ChaCha12Rng::seed_from_u64(5);
    for neighbours in [40.0, 1e5] {
        let weights = weights(evidence(900), neighbours);
        for direction in 0..4 {
            let query = vector(direction, &mut random);
            let found = shifts::<Neighbours>(&weights, &query);
            // All are moved by the same, into the gauge.
            assert!(found.iter().sum::<f64>().abs() < 1e-9);
            let gauge = maximum((-8.0, 8.0), 40, |shift| slope(&weights, &query, 0, shift)) - found[0];
            // Model 5 fought nowhere.
            for (model, &shift) in (0..MODELS).zip(&found).filter(|(model, _)| *model != 5) {
                let (before, after) = (
                    slope(&weights, &query, model, shift + gauge - 1e-4),
                    slope(&weights, &query, model, shift + gauge + 1e-4),
                );
                assert!(before > 0.0 && after < 0.0, "{model} of {found:?}: {before} {after}");
            }
            assert!(found[5].to_bits() == 0 && found.iter().any(|shift| shift.abs() > 0.05));
        }
    }
}

#[test]
fn nothing_known_moves_nothing() {
    let empty = Evidence { index: Index::empty(DIM), ..Evidence::default() };
    let still = vec![0.0; MODELS as usize];
    assert_eq!(shifts::<Similarity>(&weights(empty.clone(), 9.0), &[1.0; DIM]), still);
    assert_eq!(shifts::<Neighbours>(&weights(empty, 9.0), &[1.0; DIM]), still);
}

#[test]
fn a_prompt_that_is_not_to_be_known_counts_nothing() {
    let evidence = evidence(300);
    let own: Vec<f32> = evidence.index.vector(17).collect();
    let fit = LocalFit::<Similarity>::new(&Arc::new(weights(evidence.clone(), 60.0)), &prior());
    let without = Evidence {
        battles: evidence.battles.iter().filter(|battle| battle.prompt != 17).copied().collect(),
        ..evidence
    };
    let ignorant = LocalFit::<Similarity>::new(&Arc::new(weights(without, 60.0)), &prior());
    let gap = |is_blind| largest_gap(&fit.shifts(&own, is_blind), &ignorant.shifts(&own, is_blind));
    assert!(gap(false) > 1e-3 && gap(true) < 1e-4, "{} {}", gap(false), gap(true));
}

#[test]
fn far_clusters_by_their_sums_change_no_rating_by_two_elo() {
    let mut random = ChaCha12Rng::seed_from_u64(8);
    let whole = evidence(4_000);
    let clustered = whole.clone().clustered_in(36);
    assert!(clustered.clusters.len() > 20 && clustered.index.len() == whole.index.len());
    let (exact, rough) = (weights(whole, 9.0), weights(clustered, 9.0));
    rough.check(MODELS as usize).unwrap();
    let exact = LocalFit::<Similarity>::new(&Arc::new(exact), &prior());
    let mut rough = LocalFit::<Similarity>::new(&Arc::new(rough), &prior());
    let elo = 400.0 / std::f64::consts::LN_10;
    for (near, bound) in [(4_000, 0.1), (2_000, 2.0)] {
        rough.kernel.clusters.as_mut().unwrap().near_prompts = near;
        for _ in 0..12 {
            let query = vector(1, &mut random);
            let gap = elo * largest_gap(&exact.shifts(&query, false), &rough.shifts(&query, false));
            assert!(gap < bound, "{near} prompts near: {gap} Elo");
        }
    }
}

#[test]
fn what_points_nowhere_is_refused() {
    let refused = |change: &dyn Fn(&mut LocalWeights)| {
        let mut weights = weights(evidence(30), 9.0);
        weights.check(MODELS as usize).unwrap();
        change(&mut weights);
        weights.check(MODELS as usize).unwrap_err();
    };
    refused(&|weights| weights.ridge = 0.0);
    refused(&|weights| weights.setting = f64::NAN);
    refused(&|weights| weights.temperature = f64::INFINITY);
    refused(&|weights| weights.evidence.battles[29].prompt = 30);
    refused(&|weights| weights.evidence.battles[3].prompt = 20);
    refused(&|weights| weights.evidence.battles[3].pair = 3);
    refused(&|weights| weights.evidence.battles[3].share = 253);
    refused(&|weights| weights.evidence.pairs[0].model_b = MODELS);
    refused(&|weights| weights.evidence.pairs[0].model_b = 0);
    refused(&|weights| weights.evidence.pairs[0].scale = 0.0);
    refused(&|weights| weights.evidence.panels[0].weight = f32::NAN);
    refused(&|weights| weights.evidence.panels[0].models.swap(0, 1));
    refused(&|weights| weights.evidence.panels[0].models[4] = MODELS);
    refused(&|weights| weights.evidence.panels[0].prompts.swap(0, 1));
    refused(&|weights| weights.evidence.panels[0].ranks.truncate(7));
    refused(&|weights| weights.evidence.clusters = vec![29]);
    refused(&|weights| weights.evidence.clusters = vec![30, 0]);
}
