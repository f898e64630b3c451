//! What a fit at the prompt costs, on one core: the similarity-weighted router on made-up battles of 64 models, in 256
//! dimensions.
//!
//! The aims are 2 ms at 55,000 battles, the size of the Arena's public set, and 8 ms at 1.67 million, the size of all its
//! votes, where far prompts are told by their clusters; there no model may be more than 2 Elo from where the whole index
//! puts it, which is measured and printed first.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark without its subject should stop")]

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use divan::{Bencher, black_box};
use faer::Mat;
use pointsman_routers::artifact::{Anchor, Artifact, Body, CalibrationSample, Provenance, Ratings};
use pointsman_routers::index::Index;
use pointsman_routers::local::{Evidence, LocalBattle, LocalWeights, Pair, SHARE_PARTS};
use pointsman_routers::select::hash::{mix, unit_interval};
use pointsman_routers::{Candidate, QueryBatch, Router};

fn main() {
    for settings in SETTINGS {
        let far = farthest(settings);
        println!("{} battles by clusters, {settings:?}: at most {far:.3} Elo from the whole index", many());
    }
    divan::main();
}

const DIM: usize = 256;
const MODELS: u32 = 64;
const TOPICS: usize = 300;
const FEW: u64 = 55_000;
const MANY: u64 = 1_670_000;
/// As many as are clustered at all: for a run that only shows that the benchmark works.
const SOME: u64 = 140_000;
/// Settings that training chose on other data, the widest and the narrowest kernel among them.
const SETTINGS: [Settings; 2] =
    [Settings { log_gamma: 6.0, ridge: 0.1 }, Settings { log_gamma: 9.0, ridge: 30.0 }];
/// Queries that are taken in turn.
const QUERIES: u64 = 24;

/// ln γ and ρ.
#[derive(Debug, Clone, Copy)]
struct Settings {
    log_gamma: f64,
    ridge: f64,
}

fn many() -> u64 {
    if std::env::args().any(|argument| argument == "--test") { SOME } else { MANY }
}

/// A number from −1 to 1, by lot.
fn drawn(seed: u64) -> f32 {
    (2.0 * unit_interval(mix(seed)) - 1.0) as f32
}

/// A direction that is half its topic's and half its own.
fn vector(number: u64, topics: &[[f32; DIM]]) -> [f32; DIM] {
    let topic = &topics[topic(number)];
    let seed = mix(number);
    std::array::from_fn(|place| topic[place] + drawn(seed.wrapping_add(place as u64)))
}

fn topic(number: u64) -> usize {
    (mix(number ^ 0x70_71c5) % TOPICS as u64) as usize
}

fn topics() -> Vec<[f32; DIM]> {
    (0..TOPICS as u64).map(|topic| std::array::from_fn(|place| drawn((topic << 20) + place as u64))).collect()
}

fn prior(model: u32) -> f64 {
    0.04 * (f64::from(model) - 31.5)
}

/// One battle on each prompt; who wins depends on the models and the topic.
fn evidence(battles: u64) -> Evidence {
    let (scale, weight) = (1.0, 1.0);
    let pairs: Vec<Pair> = (0..MODELS)
        .flat_map(|a| (a + 1..MODELS).map(move |b| Pair { model_a: a, model_b: b, scale, weight }))
        .collect();
    let topics = topics();
    let mut index = Index::empty(DIM);
    let mut known = Vec::new();
    for number in 0..battles {
        index.push(&vector(number, &topics));
        let place = mix(number ^ 0x00ba_771e) % pairs.len() as u64;
        let Pair { model_a, model_b, .. } = pairs[place as usize];
        let skill =
            |model: u32| prior(model) + f64::from(drawn((topic(number) as u64) << 8 | u64::from(model)));
        let chance = 1.0 / (1.0 + (skill(model_b) - skill(model_a)).exp());
        let is_won = unit_interval(mix(number ^ 0x5eed)) < chance;
        let share = if is_won { SHARE_PARTS } else { 0 };
        known.push(LocalBattle { prompt: number as u32, pair: place as u32, share });
    }
    Evidence { index, panels: Vec::new(), pairs, battles: known, clusters: Vec::new() }
}

fn router(evidence: Evidence, settings: Settings) -> Arc<dyn Router> {
    let Settings { log_gamma, ridge } = settings;
    let models: Vec<String> = (0..MODELS).map(|model| format!("model-{model:02}")).collect();
    let provenance = Provenance {
        embedder: "none".to_owned(),
        anchor: Anchor { model: models[0].clone(), elo: 1000.0 },
        sources: Vec::new(),
        training_prompts: Vec::new(),
        seed: 0,
        metrics: BTreeMap::new(),
    };
    let ratings =
        Ratings { models, prior: (0..MODELS).map(prior).collect(), components: vec![0; MODELS as usize] };
    let weights = LocalWeights { evidence, setting: log_gamma, ridge, temperature: 1.0 };
    let sample = CalibrationSample::quantise(&Mat::zeros(0, MODELS as usize), &[]);
    Artifact::new(ratings, Body::Sw(Arc::new(weights)), provenance, sample).unwrap().router()
}

/// Clustered once for all settings.
fn of_many() -> Evidence {
    static EVIDENCE: OnceLock<Evidence> = OnceLock::new();
    EVIDENCE.get_or_init(|| evidence(many()).clustered()).clone()
}

fn pool(router: &dyn Router) -> Vec<Candidate> {
    (0..MODELS).map(|model| router.place(&format!("model-{model:02}"), None).unwrap()).collect()
}

/// Prompts that are not in the index.
fn queries() -> Vec<Mat<f32>> {
    let topics = topics();
    let query = |number: u64| {
        let vector = vector(MANY + number, &topics);
        let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
        Mat::from_fn(1, DIM, |_, column| vector[column] / length)
    };
    (0..QUERIES).map(query).collect()
}

fn skills(router: &dyn Router, query: &Mat<f32>, pool: &[Candidate]) -> Vec<f64> {
    let batch = QueryBatch { texts: &["a prompt"], embeddings: Some(query.clone()), ..QueryBatch::default() };
    router.skills(&batch, pool).unwrap().row(0).iter().copied().collect()
}

fn farthest(settings: Settings) -> f64 {
    let routers = [evidence(many()), of_many()].map(|evidence| router(evidence, settings));
    let mut farthest = 0.0;
    for query in queries() {
        let [exact, rough] = routers.each_ref().map(|router| skills(&**router, &query, &pool(&**router)));
        farthest = exact.iter().zip(&rough).fold(farthest, |far, (a, b)| f64::max(far, (a - b).abs()));
    }
    400.0 / std::f64::consts::LN_10 * farthest
}

fn timed(bencher: Bencher<'_, '_>, router: &dyn Router) {
    let (pool, queries) = (pool(router), queries());
    let mut turn = queries.iter().cycle();
    bencher.bench_local(|| skills(router, black_box(turn.next().unwrap()), &pool));
}

#[divan::bench(args = SETTINGS)]
fn battles_55_000(bencher: Bencher<'_, '_>, settings: Settings) {
    timed(bencher, &*router(evidence(FEW), settings));
}

#[divan::bench(args = SETTINGS)]
fn battles_1_670_000(bencher: Bencher<'_, '_>, settings: Settings) {
    timed(bencher, &*router(of_many(), settings));
}
