//! Examples from battles and outcomes, and draws that the order of rows cannot move.

use super::*;
use crate::data::{BattleRow, DatasetBuilder, OutcomeRow, PresentationOrders, Row, Run, Verdict};
use crate::split::{Side, Split};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn battle(turn: &str, model_a: &str, model_b: &str, verdict: Verdict) -> Row {
    Row::Battle(BattleRow {
        source: "people".to_owned(),
        prompt_id: None,
        language: None,
        turns: vec![turn.to_owned()],
        model_a: model_a.to_owned(),
        model_b: model_b.to_owned(),
        verdict,
        judge: None,
    })
}

fn outcome(source: &str, turn: &str, scores: &[(&str, f64)]) -> Row {
    let runs = scores.iter().map(|(model, score)| Run {
        model: (*model).to_owned(),
        score: *score,
        out_chars: None,
    });
    Row::Outcome(OutcomeRow {
        id: String::new(),
        source: source.to_owned(),
        category: None,
        language: None,
        turns: vec![turn.to_owned()],
        runs: runs.collect(),
    })
}

/// Twenty exam questions to five models, four requests with battles.
fn rows() -> Vec<Row> {
    let models = ["m1", "m2", "m3", "m4", "m5"];
    let exam = |number: usize| {
        let scores: Vec<(&str, f64)> = models
            .iter()
            .enumerate()
            .map(|(place, model)| (*model, ((number + place) % 3) as f64 / 2.0))
            .collect();
        outcome("exam", &format!("question {number}"), &scores)
    };
    let fought = (0..4).flat_map(|number| {
        let turn = format!("request {number}");
        [battle(&turn, "m1", "m2", Verdict::A), battle(&turn, "m3", "m1", Verdict::Tie)]
    });
    (0..20).map(exam).chain(fought).collect()
}

fn gather(rows: impl IntoIterator<Item = Row>) -> Dataset {
    let mut builder = DatasetBuilder::new();
    rows.into_iter().for_each(|row| builder.add(row).unwrap());
    builder.finish(PresentationOrders::default())
}

/// What is drawn, in words.
fn draws(data: &Dataset, seed: u64, count: usize) -> Vec<String> {
    let mut sampler = Sampler::new(data, &examples(data, |_| true), seed, 2);
    (0..count).map(|_| in_words(data, &sampler.draw().unwrap())).collect()
}

fn in_words(data: &Dataset, draw: &Draw) -> String {
    let turn = &data.prompts[draw.prompt as usize].turns[0];
    let example =
        |example: &Example| format!(" {}={}", data.models[usize::from(example.model)], example.score);
    draw.examples.iter().fold(turn.clone(), |words, of| words + &example(of))
}

#[test]
fn battles_count_as_the_mean_share_won() {
    let data = gather([
        battle("hello", "m1", "m2", Verdict::A),
        battle("hello", "m3", "m1", Verdict::A),
        battle("hello", "m1", "m3", Verdict::TieBothBad),
        battle("hello", "m1", "m4", Verdict::A),
    ]);
    let scores: Vec<f64> = examples(&data, |_| true).iter().map(|example| example.score).collect();
    assert_eq!(scores, [2.5 / 4.0, 0.0, 0.75, 0.0]);
}

#[test]
fn outcomes_are_taken_as_they_are_and_before_battles() {
    let data = gather([
        outcome("people", "hello", &[("m1", 0.3), ("m2", 0.9)]),
        battle("hello", "m1", "m3", Verdict::A),
    ]);
    let found = examples(&data, |_| true);
    assert_eq!(found.iter().map(|example| example.score).collect::<Vec<_>>(), [0.3, 0.9, 0.0]);
    assert!(examples(&data, |_| false).is_empty());
}

#[test]
fn no_prompt_is_on_both_sides_of_a_split() {
    let (data, split) = (gather(rows()), Split::new(3));
    let of = |side| examples(&data, |prompt| split.side(prompt.hash(), 0.3) == side);
    let (train, dev) = (of(Side::Train), of(Side::Dev));
    let prompts = |of: &[Example]| of.iter().map(|example| example.prompt).collect::<BTreeSet<_>>();
    assert!(prompts(&train).is_disjoint(&prompts(&dev)));
    assert!(!dev.is_empty() && train.len() + dev.len() == examples(&data, |_| true).len());
}

#[test]
fn every_prompt_is_drawn_before_any_is_drawn_again() {
    let data = gather(rows());
    let mut sampler = Sampler::new(&data, &examples(&data, |_| true), 0, 2);
    let (mut exam, mut people) = (Vec::new(), Vec::new());
    for _ in 0..60 {
        let draw = sampler.draw().unwrap();
        assert!(draw.examples.len() == 2 && draw.examples[0].model < draw.examples[1].model);
        let of_exam = data.prompts[draw.prompt as usize].source == 0;
        if of_exam { exam.push(draw.prompt) } else { people.push(draw.prompt) }
    }
    // √20 to √4 of 60 draws.
    assert_eq!([exam.len(), people.len()], [41, 19]);
    for (drawn, prompts) in [(exam, 20), (people, 4)] {
        for pass in drawn.chunks_exact(prompts) {
            assert_eq!(pass.iter().collect::<BTreeSet<_>>().len(), prompts);
        }
        assert_ne!(drawn[..prompts], drawn[prompts..2 * prompts], "each pass has its own order");
    }
}

#[test]
fn a_resumed_sampler_goes_on_where_it_was() {
    let data = gather(rows());
    let new = || Sampler::new(&data, &examples(&data, |_| true), 5, 3);
    let mut whole = new();
    (0..33).for_each(|_| drop(whole.draw()));
    let mut resumed = new();
    assert!(resumed.resume(&whole.state()));
    assert!((0..40).all(|_| whole.draw() == resumed.draw()));
    assert!(!resumed.resume(&SamplerState { drawn: vec![1] }));
}

#[test]
fn a_sample_has_no_prompt_twice() {
    let data = gather(rows());
    let sample = |count| Sampler::new(&data, &examples(&data, |_| true), 5, 9).sample(count);
    assert_eq!(sample(10).len(), 10);
    let all: BTreeSet<u32> = sample(1000).iter().map(|draw| draw.prompt).collect();
    assert_eq!((all.len(), sample(1000).len()), (24, 24));
    assert!(Sampler::new(&data, &[], 5, 9).draw().is_none());
}

proptest! {
    #[test]
    fn the_order_and_the_sides_of_rows_move_no_draw(
        (shuffled, flips) in (Just(rows()).prop_shuffle(), prop::collection::vec(any::<bool>(), rows().len())),
        seed: u64,
    ) {
        let told = shuffled.into_iter().zip(flips).map(|(row, flip)| match row {
            Row::Battle(row) if flip => {
                let verdict = if row.verdict == Verdict::A { Verdict::B } else { row.verdict };
                Row::Battle(BattleRow { model_a: row.model_b, model_b: row.model_a, verdict, ..row })
            }
            row => row,
        });
        prop_assert_eq!(draws(&gather(rows()), seed, 50), draws(&gather(told), seed, 50));
    }

    #[test]
    fn other_seeds_draw_otherwise(seed: u64) {
        let data = gather(rows());
        prop_assert_ne!(draws(&data, seed, 24), draws(&data, seed.wrapping_add(1), 24));
    }
}
