//! Ratings against values computed elsewhere, and data that determine none.

use std::path::Path;

use proptest::prelude::*;

use super::graph::{linked, mutual};
use super::{Leaderboard, Options, Rating, RatingError, Standing, Tally, rate};
use crate::artifact::Anchor;
use crate::bradley_terry::sigmoid;
use crate::data::{BattleRow, OutcomeRow, ReadOptions, Row, Run, Verdict, VoteRow, read};

fn votes(model_a: &str, model_b: &str, counts: [u64; 4]) -> Row {
    Row::Votes(VoteRow { model_a: model_a.to_owned(), model_b: model_b.to_owned(), counts })
}

fn leaderboard(rows: &[Row], options: &Options) -> Result<Leaderboard, RatingError> {
    let mut tally = Tally::default();
    rows.iter().for_each(|row| tally.add(row).unwrap());
    rate(&tally.finish(), options, &mut |_| ())
}

fn rated(rows: &[Row]) -> Leaderboard {
    leaderboard(rows, &Options { resamples: 20, ..Options::default() }).unwrap()
}

fn of<'a>(leaderboard: &'a Leaderboard, model: &str) -> &'a Rating {
    leaderboard.ratings.iter().find(|rating| rating.model == model).unwrap()
}

fn anchor(model: &str, elo: f64) -> Anchor {
    Anchor { model: model.to_owned(), elo }
}

#[test]
fn ratings_equal_an_independent_logistic_regression() {
    let mixtral = "mixtral-8x7b-instruct-v0.1";
    let rows = [
        votes("a", mixtral, [30, 14, 5, 1]),
        votes("a", "c", [11, 9, 0, 3]),
        votes(mixtral, "c", [7, 12, 2, 2]),
        votes("c", "d", [40, 5, 1, 0]),
        votes("d", "e", [3, 8, 6, 0]),
        votes("a", "e", [9, 2, 1, 1]),
        votes(mixtral, "d", [6, 1, 0, 0]),
    ];
    let found = rated(&rows);
    // By scipy.optimize.minimize (BFGS), gradient below 2e-8.
    let expected = [
        ("a", 0.86585722, 1223.188237),
        ("c", 0.70022122, 1194.414317),
        (mixtral, 0.2373192, 1114.0),
        ("e", -0.54068996, 978.845966),
        ("d", -1.26270768, 853.418640),
    ];
    for (rating, (model, skill, elo)) in found.ratings.iter().zip(expected) {
        assert_eq!((rating.model.as_str(), rating.standing), (model, Standing::Fitted));
        assert!((rating.skill - skill).abs() < 1e-7 && (rating.elo - elo).abs() < 1e-5, "{rating:?}");
        let [low, high] = rating.interval.unwrap();
        assert!(low <= elo + 1e-9 && elo <= high + 1e-9 && (high > low) == (model != mixtral), "{rating:?}");
    }
    assert_eq!(found.ratings.iter().map(|rating| rating.battles).collect::<Vec<_>>(), [86, 92, 80, 30, 70]);
    assert_eq!(found.groups[0].anchor, Some(Anchor::arena()));
}

#[test]
fn two_models_by_hand() {
    // Three to one: ln 3 apart, ties counted half.
    let found = rated(&[votes("a", "b", [2, 0, 1, 1])]);
    assert!((found.ratings[0].skill - 0.5 * 3f64.ln()).abs() < 1e-9);
    assert!((found.ratings[0].elo - found.ratings[1].elo - 400.0 * 3f64.log10()).abs() < 1e-6);
    assert!(
        (found.ratings[0].elo + found.ratings[1].elo - 2000.0).abs() < 1e-6,
        "without an anchor the mean is 1000"
    );
}

#[test]
fn intervals_have_the_width_that_theory_gives() {
    // 600 wins to 400: the log-odds have standard error sqrt(1/600 + 1/400), 11.2 Elo.
    let options = Options { resamples: 2000, anchors: vec![anchor("b", 0.0)], ..Options::default() };
    let found = leaderboard(&[votes("a", "b", [600, 400, 0, 0])], &options).unwrap();
    let [low, high] = of(&found, "a").interval.unwrap();
    let half = 1.96 * (1.0 / 600.0 + 1.0 / 400.0_f64).sqrt() * 400.0 / std::f64::consts::LN_10;
    assert!(((high - low) / (2.0 * half) - 1.0).abs() < 0.08, "{low} {high} {half}");
    assert_eq!(of(&found, "b").interval, Some([0.0, 0.0]));
}

#[test]
fn models_without_a_finite_rating_are_placed_and_move_no_other() {
    let core = [votes("a", "b", [6, 4, 0, 0]), votes("b", "c", [5, 5, 2, 0]), votes("a", "c", [7, 2, 0, 0])];
    let more = [
        votes("top", "a", [5, 0, 0, 0]),
        votes("b", "bottom", [9, 0, 0, 0]),
        votes("top", "bottom", [4, 0, 0, 0]),
    ];
    let (alone, all) = (rated(&core), rated(&[&core[..], &more].concat()));
    for rating in &alone.ratings {
        assert_eq!(of(&all, &rating.model).skill.to_bits(), rating.skill.to_bits());
    }
    let standings: Vec<_> =
        all.ratings.iter().map(|rating| (rating.model.as_str(), rating.standing)).collect();
    assert_eq!(
        standings,
        [
            ("top", Standing::Unbeaten),
            ("a", Standing::Fitted),
            ("b", Standing::Fitted),
            ("c", Standing::Fitted),
            ("bottom", Standing::Winless)
        ]
    );
    assert!(all.ratings.iter().all(|rating| rating.elo.is_finite()));
    assert_eq!((of(&all, "top").interval, of(&all, "bottom").interval), (None, None));
}

#[test]
fn a_model_that_never_lost_is_where_its_virtual_tie_puts_it() {
    // a and b are even, so of average skill: with the tie, 10½ wins to ½.
    let found = rated(&[votes("a", "b", [5, 5, 0, 0]), votes("top", "a", [10, 0, 0, 0])]);
    assert!((of(&found, "top").skill - 21f64.ln()).abs() < 1e-9, "{found:?}");
}

#[test]
fn where_nobody_has_a_finite_rating_all_are_placed() {
    let found = rated(&[votes("a", "b", [3, 0, 0, 0]), votes("b", "c", [2, 0, 0, 0])]);
    let order: Vec<_> = found.ratings.iter().map(|rating| (rating.model.as_str(), rating.standing)).collect();
    assert_eq!(order, [("a", Standing::Unbeaten), ("b", Standing::OneSided), ("c", Standing::Winless)]);
}

#[test]
fn models_that_no_battle_links_are_rated_apart() {
    let rows = [votes("a", "b", [2, 1, 0, 0]), votes("x", "y", [1, 1, 0, 0]), votes("y", "z", [1, 3, 0, 0])];
    let found = rated(&rows);
    assert_eq!(found.groups.iter().map(|group| group.models).collect::<Vec<_>>(), [3, 2]);
    assert_eq!(found.ratings.iter().map(|rating| rating.group).collect::<Vec<_>>(), [0, 0, 0, 1, 1]);
    let anchors = vec![anchor("a", 1500.0), anchor("z", 800.0)];
    let found = leaderboard(&rows, &Options { anchors, ..Options::default() }).unwrap();
    assert!((of(&found, "a").elo - 1500.0).abs() < 1e-9 && (of(&found, "z").elo - 800.0).abs() < 1e-9);
}

#[test]
fn what_cannot_be_rated_is_said() {
    let rows = [votes("a", "b", [2, 1, 0, 0])];
    let with = |anchors| leaderboard(&rows, &Options { anchors, ..Options::default() }).unwrap_err();
    assert_eq!(with(vec![anchor("c", 1.0)]), RatingError::UnknownAnchor("c".to_owned()));
    assert_eq!(with(vec![anchor("a", f64::NAN)]), RatingError::AnchorElo("a".to_owned()));
    assert_eq!(
        with(vec![anchor("a", 1.0), anchor("b", 2.0)]),
        RatingError::TwoAnchors("a".to_owned(), "b".to_owned())
    );
    let none = [votes("a", "b", [0; 4])];
    assert_eq!(leaderboard(&none, &Options::default()), Err(RatingError::NoBattles));
}

#[test]
fn outcomes_are_battles_of_their_better_scores() {
    let run = |model: &str, score| Run { model: model.to_owned(), score, out_chars: None };
    let row = |runs| {
        Row::Outcome(OutcomeRow {
            id: String::new(),
            source: "s".to_owned(),
            category: None,
            language: None,
            turns: vec!["p".to_owned()],
            runs,
        })
    };
    // Two runs of a average to b's; with three models a battle weighs 2/3, with two 1.
    let rows = [
        row(vec![run("a", 1.0), run("b", 0.5), run("c", 0.5), run("a", 0.0)]),
        row(vec![run("b", 1.0), run("a", 0.0)]),
        row(vec![run("a", 1.0), run("b", 0.0), run("c", 0.0)]),
    ];
    let mut tally = Tally::default();
    rows.iter().for_each(|row| tally.add(row).unwrap());
    let votes = tally.finish();
    let cells: Vec<_> =
        votes.cells().iter().map(|cell| (cell.model_a, cell.model_b, cell.counts, cell.weight)).collect();
    let third = 2.0 / 3.0;
    assert_eq!(
        cells,
        [
            (0, 1, [0, 1, 0], 1.0),
            (0, 1, [1, 0, 1], third),
            (0, 2, [1, 0, 1], third),
            (1, 2, [0, 0, 2], third)
        ]
    );
}

#[test]
fn the_comparison_graph() {
    let wins = [(0, 1), (1, 2), (2, 0), (2, 3), (4, 5), (5, 4)];
    assert_eq!(linked(7, &wins), [vec![0, 1, 2, 3], vec![4, 5], vec![6]]);
    assert_eq!(mutual(7, &wins), [vec![0, 1, 2], vec![3], vec![4, 5], vec![6]]);
    // As long a chain as there may be: no recursion.
    let chain: Vec<_> = (1..100_000).map(|model| (model - 1, model)).collect();
    assert_eq!((linked(100_000, &chain).len(), mutual(100_000, &chain).len()), (1, 100_000));
}

#[test]
fn the_published_votes_win_what_their_ratings_say() {
    let beside = || concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data").into();
    let folder = std::env::var_os("POINTSMAN_DATA").unwrap_or_else(beside);
    let file = Path::new(&folder).join("arena_votes_20240814.json");
    let Ok(opened) = std::fs::File::open(&file) else {
        eprintln!("SKIPPED: no {}; set POINTSMAN_DATA", file.display());
        return;
    };
    let mut tally = Tally::default();
    read(opened, &file, &ReadOptions::default(), &mut |row| tally.add(&row)).unwrap();
    let votes = tally.finish();
    assert_eq!((votes.models().len(), votes.battles()), (129, 1_670_250));
    let found = rate(&votes, &Options::default(), &mut |_| ()).unwrap();
    // At the maximum of the likelihood every model wins as many battles as its rating expects.
    let skills: Vec<f64> = votes.models().iter().map(|model| of(&found, model).skill).collect();
    let mut surplus = vec![0.0; skills.len()];
    for cell in votes.cells() {
        let [won_a, won_b, tied] = cell.counts.map(|count| count as f64);
        let (a, b) = (cell.model_a, cell.model_b);
        let more = won_a + 0.5 * tied - (won_a + won_b + tied) * sigmoid(skills[a] - skills[b]);
        surplus[a] += more;
        surplus[b] -= more;
    }
    assert!(surplus.iter().all(|surplus| surplus.abs() < 1e-5), "{surplus:?}");
    // By scikit-learn 1.9, LogisticRegression without a penalty: all 129 within 0.003 of ours.
    for (model, elo) in
        [("chatgpt-4o-latest", 1315.156), ("gpt-4-1106-preview", 1250.843), ("llama-13b", 798.846)]
    {
        assert!((of(&found, model).elo - elo).abs() < 0.1, "{model}: {:?}", of(&found, model));
    }
}

fn any_row() -> impl Strategy<Value = Row> {
    const MODELS: [&str; 5] = ["a", "b", "c", "d", "e"];
    let pair = (0..5_usize, 1..5_usize).prop_map(|(first, step)| (MODELS[first], MODELS[(first + step) % 5]));
    let verdict = prop::sample::select(vec![Verdict::A, Verdict::B, Verdict::Tie, Verdict::TieBothBad]);
    let battle = |((model_a, model_b), verdict): ((&str, &str), Verdict)| {
        Row::Battle(BattleRow {
            source: "s".to_owned(),
            prompt_id: None,
            language: None,
            turns: Vec::new(),
            model_a: model_a.to_owned(),
            model_b: model_b.to_owned(),
            verdict,
            judge: None,
        })
    };
    let counted = |((model_a, model_b), counts): ((&str, &str), [u64; 4])| votes(model_a, model_b, counts);
    prop_oneof![
        (pair.clone(), verdict).prop_map(battle),
        (pair, prop::array::uniform4(0..5_u64)).prop_map(counted)
    ]
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
            votes(&model_b, &model_a, [second, first, tie, bad])
        }
        outcome @ Row::Outcome(_) => outcome,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    /// Intervals included, for any votes: few rows leave models unlinked, unbeaten and winless.
    #[test]
    fn any_order_of_rows_and_models_gives_the_same_ratings(
        (rows, shuffled) in prop::collection::vec(any_row(), 1..30)
            .prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())),
        exchange in prop::collection::vec(any::<bool>(), 30),
    ) {
        let options = Options { resamples: 3, ..Options::default() };
        let straight = leaderboard(&rows, &options);
        let told_otherwise: Vec<Row> = shuffled
            .into_iter()
            .zip(exchange)
            .map(|(row, exchange)| if exchange { exchanged(row) } else { row })
            .collect();
        // Debug text shows every digit: equal bit for bit.
        prop_assert_eq!(format!("{straight:?}"), format!("{:?}", leaderboard(&told_otherwise, &options)));
        if let Ok(found) = straight {
            prop_assert!(found.ratings.iter().all(|rating| rating.elo.is_finite() && rating.battles > 0));
            let finite = |rating: &Rating| rating.interval.is_none_or(|[low, high]| low <= high && (high - low).is_finite());
            prop_assert!(found.ratings.iter().all(finite), "{:?}", found);
        }
    }
}
