//! Training on small made-up data: what it learns, and that rows' order and sides have no say.

use faer::Mat;
use proptest::prelude::*;

use super::{Material, Origin, Part, Recipe, TrainError, Trained, routing_text, train, train_artifact};
use crate::artifact::{Artifact, Body, Provenance, Ratings};
use crate::blend::{BlendPart, BlendWeights};
use crate::data::{
    BattleRow, Dataset, DatasetBuilder, OutcomeRow, PresentationOrders, Prompt, Row, Run, Verdict, VoteRow,
};
use crate::router::QueryBatch;
use crate::split::{Side, Split};

pub(super) const ANCHOR: &str = "mixtral-8x7b-instruct-v0.1";
pub(super) const MODELS: [&str; 3] = ["gpt-4-0314", "llama-13b", ANCHOR];

const MF: Recipe = Recipe::Mf { rank: 2 };
const SEED: u64 = 0;

/// Exams in which the first model is right on even questions and the second on odd ones, battles, and votes.
pub(super) fn rows() -> Vec<Row> {
    let run = |model: &str, score| Run { model: model.to_owned(), score, out_chars: None };
    let exam = |question: usize| {
        let even = f64::from(u8::from(question.is_multiple_of(2)));
        let runs = vec![run(MODELS[0], even), run(MODELS[1], 1.0 - even), run(ANCHOR, 0.5)];
        let turns = vec![format!("question {question}")];
        let source = "exam".to_owned();
        Row::Outcome(OutcomeRow { id: String::new(), source, category: None, language: None, turns, runs })
    };
    let battle = |place: usize| {
        Row::Battle(BattleRow {
            source: "people".to_owned(),
            prompt_id: None,
            language: None,
            turns: vec![format!("request {place}"), "and more".to_owned()],
            model_a: MODELS[place % 3].to_owned(),
            model_b: MODELS[(place + 1) % 3].to_owned(),
            verdict: [Verdict::A, Verdict::B, Verdict::Tie][place % 3],
            judge: None,
        })
    };
    let votes = VoteRow { model_a: MODELS[0].to_owned(), model_b: ANCHOR.to_owned(), counts: [60, 30, 5, 5] };
    (0..40).map(exam).chain((0..20).map(battle)).chain([Row::Votes(votes)]).collect()
}

pub(super) fn gather(rows: Vec<Row>) -> Dataset {
    let mut builder = DatasetBuilder::new();
    rows.into_iter().for_each(|row| builder.add(row).unwrap());
    builder.finish(PresentationOrders::default())
}

/// Vectors that tell even questions from odd ones, and say nothing else.
pub(super) fn embed(data: &Dataset) -> Mat<f32> {
    let parity = |row: usize| {
        let text = routing_text(&data.prompts[row]);
        let number: usize = text.split_whitespace().nth(1).unwrap().parse().unwrap();
        number % 2
    };
    Mat::from_fn(data.prompts.len(), 6, |row, column| f32::from(u8::from(column == parity(row))))
}

/// An artefact of a kind.
pub(super) fn artifact(recipe: &Recipe, data: &Dataset) -> Artifact {
    train_artifact(recipe, data, &embed(data), &origin(), SEED, &|_, _| ()).unwrap()
}

fn origin() -> Origin {
    Origin { embedder: "parity".to_owned(), sources: Vec::new() }
}

/// What is trained when all prompts are used for one thing.
pub(super) fn trained(
    recipe: &Recipe,
    data: &Dataset,
    embeddings: &Mat<f32>,
    part: Part,
) -> Result<Trained, TrainError> {
    let (origin, part) = (origin(), |_: &Prompt| part);
    train(recipe, &Material { data, embeddings, origin: &origin, part: &part, seed: SEED }, &|_, _| ())
}

/// The same row, told the other way round.
pub(super) fn exchanged(row: Row) -> Row {
    match row {
        Row::Outcome(mut row) => {
            row.runs.reverse();
            Row::Outcome(row)
        }
        Row::Battle(row) => {
            let verdict = match row.verdict {
                Verdict::A => Verdict::B,
                Verdict::B => Verdict::A,
                tie => tie,
            };
            Row::Battle(BattleRow { model_a: row.model_b, model_b: row.model_a, verdict, ..row })
        }
        Row::Votes(row) => {
            let [first, second, ties, both_bad] = row.counts;
            let counts = [second, first, ties, both_bad];
            Row::Votes(VoteRow { model_a: row.model_b, model_b: row.model_a, counts })
        }
    }
}

#[test]
fn what_the_prompt_says_is_learned() {
    let is_exam = |row: &Row| matches!(row, Row::Outcome(_));
    let data = gather(rows().into_iter().filter(is_exam).collect());
    let embeddings = embed(&data);
    for recipe in [Recipe::Bert, MF] {
        let trained = trained(&recipe, &data, &embeddings, Part::Train).unwrap();
        for row in 0..data.prompts.len() {
            let skill = |model: &str| trained.skills[(row, data.model(model).unwrap())];
            let is_odd = embeddings[(row, 1)] > 0.0;
            let [better, worse] = if is_odd { [MODELS[1], MODELS[0]] } else { [MODELS[0], MODELS[1]] };
            assert!(skill(better) > skill(ANCHOR) && skill(ANCHOR) > skill(worse), "{row}");
            // The gauge: the mean of θ − θ⁰ over the models is zero, whatever the prompt.
            let sum: f64 = MODELS.iter().map(|model| skill(model)).sum();
            assert!(sum.abs() < 1e-4, "prompt {row}: {sum}");
        }
        assert!((trained.temperature - 1.0).abs() < 1e-12, "no dev prompts, no temperature");
        assert!(trained.settings["ridges"].get("exam").is_some(), "{:?}", trained.settings);
    }
}

#[test]
fn a_tenth_of_the_prompts_is_measured_and_not_listed_as_trained_on() {
    let data = gather(rows());
    let artifact = artifact(&MF, &data);
    let listed = &artifact.provenance().training_prompts;
    let split = Split::new(SEED);
    for prompt in &data.prompts {
        let is_train = split.side(prompt.hash(), super::DEV_SHARE) == Side::Train;
        assert_eq!(listed.contains(&prompt.hash()), is_train);
    }
    assert!(listed.len() < data.prompts.len(), "some prompts are held out");
    assert!(artifact.provenance().metrics.contains_key("dev_log_loss"));
    assert_eq!(
        artifact.calibration().len(),
        data.prompts.len(),
        "fewer prompts than a sample holds: all of them"
    );
}

#[test]
fn a_blend_is_the_weighted_sum_of_its_parts_and_holds_them_complete() {
    let data = gather(rows());
    let blend = artifact(&Recipe::Blend, &data);
    let bytes = blend.to_bytes().unwrap();
    let read = Artifact::from_bytes(&bytes, "it").unwrap();
    assert!(read == blend);
    let Body::Blend(BlendWeights { parts }) = blend.body() else { panic!("{}", blend.kind()) };
    assert_eq!(parts.iter().map(|part| part.artifact.kind()).collect::<Vec<_>>(), ["knn", "mf", "sw"]);
    assert!(parts.iter().any(|part| part.weight > 0.1), "what the parts say counts");
    let shifts = |artifact: &Artifact| {
        let embeddings = Some(Mat::from_fn(2, 6, |row, column| f32::from(u8::from(row == column))));
        artifact
            .shifts(
                &*artifact.router(),
                &QueryBatch { texts: &["even", "odd"], embeddings, ..QueryBatch::default() },
            )
            .unwrap()
    };
    let whole = shifts(&read);
    for row in 0..2 {
        for model in 0..whole.ncols() {
            let part = |part: &BlendPart| part.weight * shifts(&part.artifact)[(row, model)];
            let sum: f64 = parts.iter().map(part).sum();
            assert!((whole[(row, model)] - sum).abs() < 1e-5, "{row} {model}: {} {sum}", whole[(row, model)]);
        }
    }
    for kind in ["knn", "mf", "sw"] {
        let part = Artifact::from_bytes(Artifact::part_of(&bytes, kind).unwrap(), kind).unwrap();
        assert!(part == *blend.of_kind(kind, "it").unwrap(), "{kind}");
    }
    assert!(Artifact::part_of(&bytes, "kmeans").is_none() && blend.of_kind("kmeans", "it").is_err());
}

#[test]
fn a_blend_of_what_does_not_belong_together_is_refused() {
    let data = gather(rows());
    let blend = artifact(&Recipe::Blend, &data);
    let Body::Blend(weights) = blend.body() else { panic!("{}", blend.kind()) };
    let fails = |spoil: &dyn Fn(&mut BlendWeights), ratings: Ratings, embedder: &str| {
        let mut weights = weights.clone();
        spoil(&mut weights);
        let provenance = Provenance { embedder: embedder.to_owned(), ..blend.provenance().clone() };
        let sample = blend.calibration().clone();
        Artifact::new(ratings, Body::Blend(weights), provenance, sample).unwrap_err().to_string()
    };
    let mf = weights.parts[1].artifact.clone();
    let ratings = || blend.ratings().clone();
    assert!(fails(&|weights| weights.parts.clear(), ratings(), "parity").contains("no routers"));
    assert!(
        fails(
            &|weights| weights.parts.fill(BlendPart { weight: 1.0, artifact: mf.clone() }),
            ratings(),
            "parity"
        )
        .contains("one kind")
    );
    assert!(fails(&|weights| weights.parts[0].weight = f64::NAN, ratings(), "parity").contains("NaN"));
    assert!(fails(&|_| (), ratings(), "another").contains("another embedder"));
    let mut others = ratings();
    others.components[0] += 1;
    assert!(fails(&|_| (), others, "parity").contains("other models"));
}

#[test]
fn nothing_to_learn_from_is_an_error() {
    let data = gather(rows());
    for recipe in ["bert", "blend", "kmeans", "knn", "mf", "sw"].map(|kind| Recipe::of(kind).unwrap()) {
        let nothing = trained(&recipe, &data, &embed(&data), Part::Dev);
        assert!(matches!(nothing, Err(TrainError::NoBattles)), "{recipe:?}");
        let misfit = trained(&recipe, &data, &Mat::zeros(1, 6), Part::Train);
        assert!(matches!(misfit, Err(TrainError::Embeddings { rows: 1, .. })), "{recipe:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Law 3: rows in any order, told from either side, train the same bytes.
    #[test]
    fn the_order_and_the_sides_of_rows_change_no_byte(
        (shuffled, flips) in (Just(rows()).prop_shuffle(), prop::collection::vec(any::<bool>(), rows().len())),
    ) {
        let told = shuffled.into_iter().zip(flips).map(|(row, flip)| if flip { exchanged(row) } else { row });
        let (data, told) = (gather(rows()), gather(told.collect()));
        for recipe in [Recipe::Bert, Recipe::Blend, MF] {
            let bytes = |data| artifact(&recipe, data).to_bytes().unwrap();
            prop_assert!(bytes(&data) == bytes(&told), "{recipe:?}");
        }
    }
}
