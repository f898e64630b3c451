//! Scores of the models that strategies choose, price aside, on prompts with outcomes.
//!
//! Every strategy learns from the training side of the same source alone, except the router.

use std::collections::BTreeMap;

use faer::Mat;

use super::{clusters, neighbours};
use crate::data::{Dataset, Outcomes, Prompt, Score};

/// Who chooses among a source's models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strategy {
    /// The model with the router's highest skill.
    Router,
    /// The model with the highest mean score on the training side.
    BestSingle,
    /// The model with the highest global rating.
    Rating,
    /// The model with the highest mean score on the nearest training prompts.
    Neighbours,
    /// The model with the highest mean score in the nearest cluster of training prompts.
    Clusters,
    /// The model with the highest mean score in the prompt's category, on the training side.
    DatasetOracle,
    /// The prompt's best model.
    Oracle,
    /// Any model: the mean.
    Random,
}

/// Which of a source's models are there to choose from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pool {
    /// All.
    Whole,
    /// The best fifth left out, by mean score on the training side; of two models none is left to choose from.
    WithoutBestFifth,
}

/// What choices are made from.
pub(super) struct Setting<'a> {
    pub(super) data: &'a Dataset,
    /// Embeddings, a column per prompt.
    pub(super) vectors: &'a Mat<f32>,
    pub(super) is_test: &'a dyn Fn(&Prompt) -> bool,
    pub(super) skills: &'a Mat<f64>,
    pub(super) prior: &'a [f64],
}

/// A strategy's choice on a test prompt.
pub(super) struct Chosen {
    pub(super) source: u16,
    pub(super) pool: Pool,
    pub(super) strategy: Strategy,
    pub(super) prompt: u32,
    pub(super) score: f64,
    pub(super) best_single: f64,
}

/// The training side of one source.
struct Learned<'a> {
    best_single: u16,
    best_of_category: BTreeMap<&'a Option<String>, u16>,
    neighbours: neighbours::Neighbours,
    clusters: clusters::Clusters,
}

/// Every strategy's choice on every test prompt, from the whole pool and from what is left without its best models.
pub(super) fn measure(setting: &Setting<'_>) -> Vec<Chosen> {
    let data = setting.data;
    let prompt_of = |outcomes: &Outcomes| &data.prompts[outcomes.prompt as usize];
    let mut chosen = Vec::new();
    for source in 0..data.sources.len() as u16 {
        let of_source = data.outcomes.iter().filter(|outcomes| prompt_of(outcomes).source == source);
        let (test, train): (Vec<&Outcomes>, Vec<&Outcomes>) =
            of_source.partition(|outcomes| (setting.is_test)(prompt_of(outcomes)));
        choose_from(setting, Pool::Whole, &test, &train, &mut chosen);
        let best = best_fifth(&train);
        let left = |of: &[&Outcomes]| of.iter().map(|outcomes| without(outcomes, &best)).collect::<Vec<_>>();
        let (test, train) = (left(&test), left(&train));
        let (test, train): (Vec<&Outcomes>, Vec<&Outcomes>) = (test.iter().collect(), train.iter().collect());
        choose_from(setting, Pool::WithoutBestFifth, &test, &train, &mut chosen);
    }
    chosen
}

fn choose_from(
    setting: &Setting<'_>,
    pool: Pool,
    test: &[&Outcomes],
    train: &[&Outcomes],
    chosen: &mut Vec<Chosen>,
) {
    let has_choice = |of: &[&Outcomes]| of.iter().any(|outcomes| outcomes.scores.len() > 1);
    if !has_choice(train) {
        return;
    }
    let Some(learned) = learn(setting, train) else { return };
    for outcomes in test {
        choose(setting, &learned, outcomes, pool, chosen);
    }
}

/// A fifth of the models, rounded up: those with the highest mean scores.
fn best_fifth(train: &[&Outcomes]) -> Vec<u16> {
    let mut ranked: Vec<(u16, f64)> = mean_scores(train.iter().copied()).into_iter().collect();
    ranked.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
    let count = ranked.len().div_ceil(5);
    ranked.into_iter().take(count).map(|(model, _)| model).collect()
}

fn without(outcomes: &Outcomes, models: &[u16]) -> Outcomes {
    let is_left = |score: &&Score| !models.contains(&score.model);
    Outcomes { prompt: outcomes.prompt, scores: outcomes.scores.iter().filter(is_left).copied().collect() }
}

fn learn<'a>(setting: &Setting<'a>, train: &[&Outcomes]) -> Option<Learned<'a>> {
    let mut by_category: BTreeMap<&Option<String>, Vec<&Outcomes>> = BTreeMap::new();
    for outcomes in train {
        let category = &setting.data.prompts[outcomes.prompt as usize].category;
        by_category.entry(category).or_default().push(outcomes);
    }
    let best_of = |(category, of_category): (_, Vec<&Outcomes>)| Some((category, best_single(&of_category)?));
    Some(Learned {
        best_single: best_single(train)?,
        best_of_category: by_category.into_iter().filter_map(best_of).collect(),
        neighbours: neighbours::Neighbours::new(train),
        clusters: clusters::Clusters::new(setting.vectors, train),
    })
}

fn choose(
    setting: &Setting<'_>,
    learned: &Learned<'_>,
    outcomes: &Outcomes,
    pool: Pool,
    chosen: &mut Vec<Chosen>,
) {
    let row = outcomes.prompt as usize;
    let prompt = &setting.data.prompts[row];
    let score_of = |model: u16| outcomes.score_of(usize::from(model)).map(|score| score.score);
    let Some(best_single) = score_of(learned.best_single) else { return };
    let top = |value: &dyn Fn(u16) -> f64| {
        let best = outcomes.scores.iter().max_by(|a, b| value(a.model).total_cmp(&value(b.model)));
        best.map_or(0.0, |best| best.score)
    };
    let of_category = learned.best_of_category.get(&prompt.category).copied().unwrap_or(learned.best_single);
    let near = learned.neighbours.mean_scores(setting.vectors, row);
    let in_cluster = learned.clusters.mean_scores(setting.vectors, row);
    let mean =
        |means: &BTreeMap<u16, f64>, model: u16| means.get(&model).copied().unwrap_or(f64::NEG_INFINITY);
    let all = outcomes.scores.iter().map(|score| score.score);
    let scores = [
        (Strategy::Router, top(&|model| setting.skills[(row, usize::from(model))])),
        (Strategy::BestSingle, best_single),
        (Strategy::Rating, top(&|model| setting.prior[usize::from(model)])),
        (Strategy::Neighbours, top(&|model| mean(&near, model))),
        (Strategy::Clusters, top(&|model| mean(in_cluster, model))),
        (Strategy::DatasetOracle, score_of(of_category).unwrap_or(best_single)),
        (Strategy::Oracle, all.clone().fold(0.0, f64::max)),
        (Strategy::Random, all.sum::<f64>() / outcomes.scores.len() as f64),
    ];
    chosen.extend(scores.map(|(strategy, score)| Chosen {
        source: prompt.source,
        pool,
        strategy,
        prompt: outcomes.prompt,
        score,
        best_single,
    }));
}

/// The model with the highest mean score; of equals the last.
fn best_single(outcomes: &[&Outcomes]) -> Option<u16> {
    let means = mean_scores(outcomes.iter().copied());
    means.iter().max_by(|a, b| a.1.total_cmp(b.1)).map(|(model, _)| *model)
}

/// Each model's mean score.
pub(super) fn mean_scores<'a>(outcomes: impl Iterator<Item = &'a Outcomes>) -> BTreeMap<u16, f64> {
    let mut sums: BTreeMap<u16, (f64, f64)> = BTreeMap::new();
    for score in outcomes.flat_map(|outcomes| &outcomes.scores) {
        let (sum, count) = sums.entry(score.model).or_default();
        *sum += score.score;
        *count += 1.0;
    }
    sums.into_iter().map(|(model, (sum, count))| (model, sum / count)).collect()
}
