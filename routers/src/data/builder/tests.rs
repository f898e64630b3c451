//! Law 3: only what rows say matters, not their order, their files or which model stands first.

use super::*;
use crate::data::{BattleRow, Run, Singles, Verdict};
use proptest::prelude::*;

const MODELS: [&str; 4] = ["claude-2.0", "gpt-4", "llama-13b", "zephyr-7b-beta"];

fn run(model: &str, score: f64) -> Run {
    Run { model: model.to_owned(), score, out_chars: None }
}

fn outcome(source: &str, prompt: &str, runs: Vec<Run>) -> Row {
    let turns = vec![prompt.to_owned()];
    Row::Outcome(OutcomeRow {
        id: String::new(),
        source: source.to_owned(),
        category: None,
        language: None,
        turns,
        runs,
    })
}

fn battle(prompt: &[&str], model_a: &str, model_b: &str, verdict: Verdict, judge: Option<&str>) -> Row {
    Row::Battle(BattleRow {
        source: "judged".to_owned(),
        prompt_id: None,
        language: None,
        turns: prompt.iter().map(|&turn| turn.to_owned()).collect(),
        model_a: model_a.to_owned(),
        model_b: model_b.to_owned(),
        verdict,
        judge: judge.map(str::to_owned),
    })
}

fn build(rows: impl IntoIterator<Item = Row>, orders: PresentationOrders) -> Dataset {
    let mut builder = DatasetBuilder::new();
    for row in rows {
        builder.add(row).unwrap();
    }
    builder.finish(orders)
}

/// The same comparison told the other way round.
fn exchanged(row: Row) -> Row {
    match row {
        Row::Battle(row) => {
            let verdict = match row.verdict {
                Verdict::A => Verdict::B,
                Verdict::B => Verdict::A,
                tie => tie,
            };
            Row::Battle(BattleRow { model_a: row.model_b, model_b: row.model_a, verdict, ..row })
        }
        Row::Votes(VoteRow { model_a, model_b, counts: [first, second, tie, bad] }) => {
            Row::Votes(VoteRow { model_a: model_b, model_b: model_a, counts: [second, first, tie, bad] })
        }
        outcome @ Row::Outcome(_) => outcome,
    }
}

fn any_pair() -> impl Strategy<Value = (String, String)> {
    (0..MODELS.len(), 1..MODELS.len()).prop_map(|(first, step)| {
        (MODELS[first].to_owned(), MODELS[(first + step) % MODELS.len()].to_owned())
    })
}

fn any_outcome() -> impl Strategy<Value = Row> {
    // Thirds and tenths: their sums show the order of summation.
    let run =
        (0..MODELS.len(), 0..=30_u32, prop::option::of(0..99_u32)).prop_map(|(model, score, length)| Run {
            model: MODELS[model].to_owned(),
            score: f64::from(score) / 30.0,
            out_chars: length.map(|length| f64::from(length) / 3.0),
        });
    let label = prop::option::of("[xy]");
    ("[st]", "[pqr]", label.clone(), label, prop::collection::vec(run, 1..5)).prop_map(
        |(source, prompt, category, language, runs)| {
            Row::Outcome(OutcomeRow {
                id: String::new(),
                source,
                category,
                language,
                turns: vec![prompt],
                runs,
            })
        },
    )
}

fn any_battle() -> impl Strategy<Value = Row> {
    let verdict = prop::sample::select(vec![Verdict::A, Verdict::B, Verdict::Tie, Verdict::TieBothBad]);
    let turns = prop::collection::vec("[pqr]", 0..3);
    ("[st]", turns, any_pair(), verdict, prop::option::of("[j]")).prop_map(
        |(source, turns, (model_a, model_b), verdict, judge)| {
            Row::Battle(BattleRow {
                source,
                prompt_id: None,
                language: None,
                turns,
                model_a,
                model_b,
                verdict,
                judge,
            })
        },
    )
}

fn any_votes() -> impl Strategy<Value = Row> {
    (any_pair(), prop::array::uniform4(0..9_u64))
        .prop_map(|((model_a, model_b), counts)| Row::Votes(VoteRow { model_a, model_b, counts }))
}

fn any_rows() -> impl Strategy<Value = Vec<Row>> {
    prop::collection::vec(prop_oneof![any_outcome(), any_battle(), any_votes()], 0..40)
}

fn any_orders() -> impl Strategy<Value = PresentationOrders> {
    prop::sample::select(vec![
        PresentationOrders::Separate,
        PresentationOrders::United(Singles::Keep),
        PresentationOrders::United(Singles::Drop),
    ])
}

proptest! {
    #[test]
    fn shuffled_rows_and_exchanged_models_make_the_same_dataset(
        (rows, shuffled) in any_rows().prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())),
        exchange in prop::collection::vec(any::<bool>(), 40),
        orders in any_orders(),
    ) {
        let straight = build(rows, orders);
        let told_otherwise = shuffled.into_iter().zip(exchange);
        let other = build(
            told_otherwise.map(|(row, exchange)| if exchange { exchanged(row) } else { row }),
            orders,
        );
        // Debug text tells -0 from 0 and shows every digit: equal bit for bit.
        prop_assert_eq!(format!("{:?}", straight.battles(|_| true)), format!("{:?}", other.battles(|_| true)));
        prop_assert_eq!(format!("{straight:?}"), format!("{other:?}"));
    }

    #[test]
    fn tables_are_in_order_and_battles_refer_into_them(rows in any_rows(), orders in any_orders()) {
        let data = build(rows, orders);
        prop_assert!(data.models.is_sorted_by(|one, next| one < next));
        prop_assert!(data.prompts.is_sorted_by(|one, next| (one.source, &one.turns) < (next.source, &next.turns)));
        prop_assert!(data.votes.is_sorted_by(|one, next| (one.model_a, one.model_b) < (next.model_a, next.model_b)));
        for battle in data.battles(|_| true) {
            prop_assert!(battle.model_a < battle.model_b && usize::from(battle.model_b) < data.models.len());
            prop_assert_eq!(data.prompts[battle.prompt as usize].source, battle.source);
            prop_assert!((0.0..=1.0).contains(&battle.share) && battle.weight > 0.0);
        }
    }
}

#[test]
fn several_runs_of_a_model_are_averaged_before_models_are_compared() {
    let long = |model, score| Run { out_chars: Some(30.0), ..run(model, score) };
    let rows = [
        outcome("s", "p", vec![run("gpt-4", 1.0), long("gpt-4", 0.0), run("llama-13b", 0.5)]),
        outcome("s", "p", vec![long("llama-13b", 0.25), run("claude-2.0", 0.0)]),
        outcome("t", "p", vec![run("gpt-4", 1.0)]),
    ];
    let data = build(rows, PresentationOrders::Separate);
    assert_eq!(data.models, ["claude-2.0", "gpt-4", "llama-13b"]);
    assert_eq!(data.outcomes.len(), 2, "the other source's prompt is another");
    let scores: Vec<_> =
        data.outcomes[0].scores.iter().map(|of| (of.model, of.score, of.out_chars)).collect();
    assert_eq!(scores, [(0, 0.0, None), (1, 0.5, Some(30.0)), (2, 0.375, Some(30.0))]);

    let battles = data.battles(|_| true);
    let seen: Vec<_> = battles.iter().map(|of| (of.model_a, of.model_b, of.share, of.margin)).collect();
    assert_eq!(seen, [(0, 1, 0.0, Some(-0.5)), (0, 2, 0.0, Some(-0.375)), (1, 2, 1.0, Some(0.125))]);
    assert!(
        battles.iter().all(|battle| (battle.weight - 2.0 / 3.0).abs() < 1e-7),
        "2/k each, k−1 = 2 together"
    );
}

#[test]
fn equal_scores_tie_and_prompts_can_be_left_out() {
    let rows = [
        outcome("s", "p", vec![run("gpt-4", 0.3), run("llama-13b", 0.3)]),
        outcome("s", "q", vec![run("gpt-4", 0.3), run("llama-13b", 0.4)]),
        battle(&["q", "more"], "gpt-4", "llama-13b", Verdict::A, None),
    ];
    let data = build(rows, PresentationOrders::Separate);
    let on_p = data.battles(|prompt| prompt.turns == ["p"]);
    assert_eq!((on_p.len(), on_p[0].share, on_p[0].weight), (1, 0.5, 1.0));
    assert_eq!(data.battles(|prompt| prompt.turns[0] == "q").len(), 2);
}

#[test]
fn both_presentation_orders_are_united_into_their_mean() {
    let judged = |a, b, verdict| battle(&["p"], a, b, verdict, Some("gpt-4"));
    let rows = [
        // The first-listed answer wins twice: a tie.
        judged("claude-2.0", "gpt-4", Verdict::A),
        judged("gpt-4", "claude-2.0", Verdict::A),
        // One order says a tie, the other a win of the second-listed.
        judged("claude-2.0", "llama-13b", Verdict::Tie),
        judged("llama-13b", "claude-2.0", Verdict::B),
        // One order only.
        judged("llama-13b", "gpt-4", Verdict::B),
        // People's votes are never united.
        battle(&["p"], "gpt-4", "claude-2.0", Verdict::B, None),
        battle(&["p"], "claude-2.0", "gpt-4", Verdict::A, None),
    ];
    let shares = |orders| {
        let data = build(rows.clone(), orders);
        let shares: Vec<_> = data.judged.iter().map(|of| (of.model_a, of.model_b, of.share)).collect();
        (shares, data.orders.united, data.orders.single_kept, data.orders.single_dropped)
    };
    let always = [(0, 1, 0.5), (0, 1, 1.0), (0, 1, 1.0), (0, 2, 0.75)];
    let kept = [&always[..], &[(1, 2, 1.0)]].concat();
    assert_eq!(shares(PresentationOrders::United(Singles::Drop)), (always.to_vec(), 2, 0, 1));
    assert_eq!(shares(PresentationOrders::United(Singles::Keep)), (kept, 2, 1, 0));
    assert_eq!(build(rows, PresentationOrders::Separate).judged.len(), 7);
}

#[test]
fn battles_without_a_prompt_are_counted_as_votes() {
    let rows = [
        battle(&[], "gpt-4", "claude-2.0", Verdict::A, None),
        battle(&[], "claude-2.0", "gpt-4", Verdict::TieBothBad, None),
        Row::Votes(VoteRow { model_a: "claude-2.0".into(), model_b: "gpt-4".into(), counts: [5, 6, 7, 8] }),
    ];
    let data = build(rows, PresentationOrders::Separate);
    assert_eq!(data.votes, [PairVotes { model_a: 0, model_b: 1, counts: [5, 7, 7, 9] }]);
    assert!(data.judged.is_empty() && data.prompts.is_empty());
}

#[test]
fn too_many_names_are_an_error() {
    let mut builder = DatasetBuilder::new();
    let mut add = |number: u32| builder.add(outcome("s", "p", vec![run(&format!("model {number}"), 0.0)]));
    for number in 0..65_536 {
        add(number).unwrap();
    }
    assert!(matches!(add(65_536), Err(DataError::TooMany { what: "models", .. })));
}
