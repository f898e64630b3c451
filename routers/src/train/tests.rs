//! Training on small made-up data: what it learns, and that rows' order and sides have no say.

use faer::Mat;
use proptest::prelude::*;

use super::{
    BertOptions, MfOptions, Origin, Part, TrainError, routing_text, train_bert, train_bert_artifact,
    train_mf, train_mf_artifact,
};
use crate::artifact::Artifact;
use crate::data::{
    BattleRow, Dataset, DatasetBuilder, OutcomeRow, PresentationOrders, Row, Run, Verdict, VoteRow,
};
use crate::split::{Side, Split};

pub(super) const ANCHOR: &str = "mixtral-8x7b-instruct-v0.1";
pub(super) const MODELS: [&str; 3] = ["gpt-4-0314", "llama-13b", ANCHOR];

fn options() -> MfOptions {
    MfOptions { rank: 2, ..MfOptions::default() }
}

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

fn artifact(data: &Dataset) -> Artifact {
    let origin = Origin { embedder: "parity".to_owned(), sources: Vec::new() };
    train_mf_artifact(data, &embed(data), &origin, &options(), &|_, _| ()).unwrap()
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
    let bert = train_bert(&data, &embeddings, &|_| Part::Train, &BertOptions::default(), &|_, _| ()).unwrap();
    let mf = train_mf(&data, &embeddings, &|_| Part::Train, &options(), &|_, _| ()).unwrap();
    for trained in [bert, mf] {
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
        assert!(trained.ridges.iter().all(Option::is_some), "{:?}", trained.ridges);
    }
}

#[test]
fn a_tenth_of_the_prompts_is_measured_and_not_listed_as_trained_on() {
    let data = gather(rows());
    let artifact = artifact(&data);
    let listed = &artifact.provenance().training_prompts;
    let split = Split::new(options().seed);
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
fn nothing_to_learn_from_is_an_error() {
    let data = gather(rows());
    let nothing = train_mf(&data, &embed(&data), &|_| Part::Dev, &options(), &|_, _| ());
    assert!(matches!(nothing, Err(TrainError::NoBattles)));
    let misfit = train_mf(&data, &Mat::zeros(1, 6), &|_| Part::Train, &options(), &|_, _| ());
    assert!(matches!(misfit, Err(TrainError::Embeddings { rows: 1, .. })));
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
        prop_assert!(artifact(&data).to_bytes().unwrap() == artifact(&told).to_bytes().unwrap());
        let bert = |data: &Dataset| {
            let origin = Origin { embedder: "parity".to_owned(), sources: Vec::new() };
            train_bert_artifact(data, &embed(data), &origin, &BertOptions::default(), &|_, _| ()).unwrap()
        };
        prop_assert!(bert(&data).to_bytes().unwrap() == bert(&told).to_bytes().unwrap());
    }
}
