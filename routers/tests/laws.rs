//! The laws that every router keeps, over every router that ships and small ones of the kinds that do not. One generic
//! check for each law; the third, on training, is tested where training is.

#![cfg(test)]

use std::sync::{Arc, LazyLock};

use pointsman_routers::artifact::Artifact;
use pointsman_routers::data::{DatasetBuilder, OutcomeRow, PresentationOrders, Row, Run};
use pointsman_routers::embed::{self, Embedder, StaticEmbedder};
use pointsman_routers::select::{Offer, Rule, hash::text_hash, rank, win_probability};
use pointsman_routers::train::{Origin, Recipe, embed_prompts, train_artifact};
use pointsman_routers::{Candidate, QueryBatch, Router, SkillMatrix, shipped};
use proptest::prelude::*;

/// Models of the shipped artefact, cheap to dear, and one placed by its rating alone.
const POOL: [(&str, Option<f64>); 7] = [
    ("llama-3.1-8b-instruct", None),
    ("mixtral-8x7b-instruct-v0.1", None),
    ("claude-3-haiku-20240307", None),
    ("my-own-model", Some(1180.0)),
    ("qwen2.5-72b-instruct", None),
    ("gpt-4-1106-preview", None),
    ("claude-3-5-sonnet-20240620", None),
];

static EMBEDDER: LazyLock<StaticEmbedder> = LazyLock::new(|| embed::default_static().unwrap());

static ROUTERS: LazyLock<Vec<Arc<dyn Router>>> = LazyLock::new(|| {
    let shipped = shipped::KINDS.iter().map(|kind| shipped::router(kind).unwrap());
    shipped.chain(small_artifacts().iter().map(Artifact::router)).collect()
});

/// Of the kinds that do not ship, trained on an exam in which dear models are better at sums and cheap ones at greetings.
fn small_artifacts() -> [Artifact; 3] {
    let mut builder = DatasetBuilder::new();
    for number in 0..60_usize {
        let is_sum = number.is_multiple_of(2);
        let text = if is_sum { "What is the sum of 17 and" } else { "Say a friendly hello to guest" };
        let run = |(place, (model, elo)): (usize, &(&str, Option<f64>))| {
            let score = if is_sum { place } else { POOL.len() - place } as f64 / POOL.len() as f64;
            elo.is_none().then(|| Run { model: (*model).to_owned(), score, out_chars: None })
        };
        let row = OutcomeRow {
            id: String::new(),
            source: "exam".to_owned(),
            category: None,
            language: None,
            turns: vec![format!("{text} {number}")],
            runs: POOL.iter().enumerate().filter_map(run).collect(),
        };
        builder.add(Row::Outcome(row)).unwrap();
    }
    let data = builder.finish(PresentationOrders::default());
    let embeddings = embed_prompts(&data, &*EMBEDDER, &mut |_| ()).unwrap();
    let origin = Origin { embedder: Embedder::fingerprint(&*EMBEDDER).to_owned(), sources: Vec::new() };
    [Recipe::Sw, Recipe::Knn { neighbours: 10 }, Recipe::Kmeans { clusters: 4 }]
        .map(|recipe| train_artifact(&recipe, &data, &embeddings, &origin, 0, &|_, _| ()).unwrap())
}

fn pool(router: &dyn Router) -> Vec<Candidate> {
    POOL.iter().map(|(name, elo)| router.place(name, *elo).unwrap_or_else(|| panic!("{name}"))).collect()
}

fn score(router: &dyn Router, texts: &[&str], candidates: &[Candidate]) -> SkillMatrix {
    let embeddings = router.needs().embedding.map(|space| {
        assert_eq!(space, Embedder::fingerprint(&*EMBEDDER), "a shipped router reads the shipped embedder");
        EMBEDDER.embed_batch(texts).unwrap()
    });
    router.skills(&QueryBatch { texts, embeddings, ..QueryBatch::default() }, candidates).unwrap()
}

fn bits(skills: &SkillMatrix, row: usize) -> Vec<u64> {
    (0..skills.ncols()).map(|column| skills[(row, column)].to_bits()).collect()
}

/// The choice among candidates that cost what their place in [`POOL`] says; candidates known by pool name.
fn choice(skills: &SkillMatrix, row: usize, order: &[usize], alpha: f64, text: &str) -> usize {
    let offers: Vec<Offer<'_>> = order
        .iter()
        .enumerate()
        .map(|(column, &place)| Offer {
            name: POOL[place].0,
            pool_name: POOL[place].0,
            skill: skills[(row, column)],
            cost_usd: (place / 2) as f64,
        })
        .collect();
    order[rank(&Rule::Threshold { alpha, split: 0.5 }, &offers, text_hash(text))[0]]
}

/// Texts of every kind: words, any characters at all, nothing.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => "[a-z ]{0,80}",
        2 => any::<String>(),
        1 => "(def |class |\\{|\\}|[0-9]|\n){0,30}",
        1 => Just(String::new()),
    ]
}

/// Some of the pool in some order, never none.
fn some_of_the_pool() -> impl Strategy<Value = Vec<usize>> {
    prop::sample::subsequence((0..POOL.len()).collect::<Vec<_>>(), 1..=POOL.len()).prop_shuffle()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Law 1.
    #[test]
    fn probabilities_of_a_pair_sum_to_one(text in text()) {
        for router in ROUTERS.iter() {
            let skills = score(&**router, &[&text], &pool(&**router));
            for a in 0..POOL.len() {
                for b in 0..POOL.len() {
                    let sum = win_probability(skills[(0, a)], skills[(0, b)])
                        + win_probability(skills[(0, b)], skills[(0, a)]);
                    prop_assert!((sum - 1.0).abs() <= 1e-12, "{}", router.name());
                }
            }
        }
    }

    /// Laws 2 and 5: a model's skill is the same in any pool that holds it, so that no probability of a pair and no
    /// choice depends on how the pool is listed.
    #[test]
    fn a_pool_in_another_order_or_with_others_changes_nothing(
        text in text(), order in some_of_the_pool(), alpha in 0.0..=1.0f64,
    ) {
        for router in ROUTERS.iter() {
            let whole = pool(&**router);
            let all = score(&**router, &[&text], &whole);
            let candidates: Vec<Candidate> = order.iter().map(|&place| whole[place].clone()).collect();
            let some = score(&**router, &[&text], &candidates);
            for (column, &place) in order.iter().enumerate() {
                prop_assert_eq!(some[(0, column)].to_bits(), all[(0, place)].to_bits(), "{}", router.name());
            }
            let mut sorted = order.clone();
            sorted.sort_unstable();
            let in_order: Vec<Candidate> = sorted.iter().map(|&place| whole[place].clone()).collect();
            let listed = score(&**router, &[&text], &in_order);
            prop_assert_eq!(
                choice(&some, 0, &order, alpha, &text),
                choice(&listed, 0, &sorted, alpha, &text),
                "{}", router.name()
            );
        }
    }

    /// Law 4: finite, and the same alone as in a batch.
    #[test]
    fn any_text_scores_the_same_alone_and_in_a_batch(texts in prop::collection::vec(text(), 1..6)) {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        for router in ROUTERS.iter() {
            let candidates = pool(&**router);
            let together = score(&**router, &texts, &candidates);
            prop_assert!(together.is_all_finite(), "{}", router.name());
            for (row, text) in texts.iter().enumerate() {
                let alone = score(&**router, &[*text], &candidates);
                prop_assert_eq!(bits(&alone, 0), bits(&together, row), "{}: {:?}", router.name(), text);
            }
        }
    }
}

/// Law 4, where it is hardest: nothing, a megabyte, every plane of Unicode, NULs.
#[test]
fn extreme_texts_score_finitely() {
    let plane = |plane: u32| -> String {
        (plane * 0x1_0000..(plane + 1) * 0x1_0000).step_by(97).filter_map(char::from_u32).collect()
    };
    let planes: Vec<String> = (0..=0x10).map(plane).collect();
    let megabyte = "all work and no play ".repeat(50_000);
    let one_word = "a".repeat(1 << 20);
    let mut texts: Vec<&str> = planes.iter().map(String::as_str).collect();
    texts.extend(["", "\0", "a\0b\0\0", " \n\t", "\u{feff}\u{200d}", &megabyte, &one_word]);
    for router in ROUTERS.iter() {
        let skills = score(&**router, &texts, &pool(&**router));
        assert_eq!((skills.nrows(), skills.ncols()), (texts.len(), POOL.len()));
        assert!(skills.is_all_finite(), "{}", router.name());
    }
}

/// What skills are for: the learned router is no constant, and its calibration sample is what shares are solved on.
#[test]
fn learned_skills_depend_on_the_text_and_the_sample_is_large_enough() {
    let router = shipped::router("mf").unwrap();
    let candidates = pool(&*router);
    let skills = score(&*router, &["write a haiku", "prove that √2 is irrational"], &candidates);
    assert_ne!(bits(&skills, 0), bits(&skills, 1));
    let sample = router.calibration(&candidates).unwrap();
    assert!(sample.skills.nrows() >= 4096 && sample.skills.nrows() == sample.prompt_tokens.len());
    assert!(sample.skills.is_all_finite());
}
