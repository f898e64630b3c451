//! Rows of scores: any number of models.

mod choices;
mod costs;
mod rows;
mod show;

use std::collections::BTreeMap;

use pointsman_routers::data::ReadOptions;
use pointsman_routers::evaluate::{Interval, bootstrap};
use serde::Serialize;

use self::choices::{mean, scores_of_top};
use self::costs::{Costs, Prices};
use self::rows::{Dropped, Rows};
use super::Arguments;
use super::routers::{RANDOM, Subjects};
use crate::cli::data;
use crate::cli::output::Failure;

#[derive(Serialize)]
struct Report {
    benchmark: &'static str,
    rows: usize,
    #[serde(flatten)]
    dropped: Dropped,
    pool: Vec<String>,
    singles: BTreeMap<String, Single>,
    /// The model with the highest mean score on these rows.
    best_single: String,
    /// The mean over all models.
    random: f64,
    oracle: f64,
    /// The best model of each category, picked on the files of --train; null without them.
    dataset_oracle: Option<f64>,
    routers: BTreeMap<String, Measured>,
}

#[derive(Serialize)]
struct Single {
    quality: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_usd: Option<f64>,
}

#[derive(Serialize)]
struct Measured {
    /// The mean score of the model with the highest skill, tied ones averaged.
    quality: f64,
    /// That less the quality of the best single model, paired by row.
    gain: f64,
    gain_ci95: [f64; 2],
    #[serde(skip_serializing_if = "Option::is_none")]
    costs: Option<Costs>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (data, _) = data::read("--data", &arguments.data, &ReadOptions::default())?;
    let mut subjects = Subjects::load(arguments)?;
    let columns = rows::pool(&data, &arguments.pool)?;
    let (rows, dropped) = Rows::new(&data, &columns, &subjects.trained)?;
    let prices =
        arguments.prices.as_deref().map(|file| Prices::read(file, &data, &columns, &rows)).transpose()?;
    let names: Vec<&str> = rows.pool.iter().map(String::as_str).collect();
    let singles: Vec<f64> =
        (0..names.len()).map(|model| mean(rows.scores.iter().map(|row| row[model]))).collect();
    let best = (0..names.len()).max_by(|&one, &other| singles[one].total_cmp(&singles[other])).unwrap_or(0);
    let of_best: Vec<f64> = rows.scores.iter().map(|row| row[best]).collect();

    let means: Vec<f64> = rows.scores.iter().map(|row| mean(row.iter().copied())).collect();
    let by_lot = prices.as_ref().map(|prices| prices.by_lot(&means, singles[best]));
    let mut routers = BTreeMap::from([(RANDOM.to_owned(), Measured::new(&means, &of_best, by_lot))]);
    subjects.keep_fit(&names, &rows.hashes);
    let prompts = subjects.read(arguments, &rows.texts)?;
    for subject in &subjects.all {
        let candidates = subject.place(&names)?;
        let skills = subject.score(&prompts, &candidates)?;
        let prior: Vec<f64> = candidates.iter().map(|candidate| subject.prior(candidate)).collect();
        let has_band = arguments.plot.is_some() && !subject.is_baseline;
        let costs =
            prices.as_ref().map(|prices| prices.measure(&rows, &skills, &prior, (singles[best], has_band)));
        let measured = Measured::new(&scores_of_top(&rows, &skills), &of_best, costs);
        routers.insert(subject.name.clone(), measured);
    }
    let single = |model: usize| {
        let cost_usd = prices.as_ref().map(|prices| prices.mean_cost(model));
        (rows.pool[model].clone(), Single { quality: singles[model], cost_usd })
    };
    let report = Report {
        benchmark: "outcomes",
        rows: rows.scores.len(),
        dropped,
        singles: (0..names.len()).map(single).collect(),
        best_single: rows.pool[best].clone(),
        random: mean(means.iter().copied()),
        oracle: mean(rows.scores.iter().map(|row| row.iter().copied().fold(0.0, f64::max))),
        dataset_oracle: choices::dataset_oracle(&rows, &arguments.train)?,
        pool: rows.pool,
        routers,
    };
    if let Some(file) = &arguments.plot {
        show::draw(file, &report)?;
    }
    super::write(arguments.format, &report, |out| show::table(out, &report))
}

impl Measured {
    /// What was scored on each row, beside the best single model's scores.
    fn new(scores: &[f64], of_best: &[f64], costs: Option<Costs>) -> Self {
        let gains: Vec<(f64, f64)> =
            scores.iter().zip(of_best).map(|(score, best)| (1.0, score - best)).collect();
        let Interval { mean: gain, low, high } = bootstrap(&gains);
        Self { quality: mean(scores.iter().copied()), gain, gain_ci95: [low, high], costs }
    }
}
