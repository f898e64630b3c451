//! Rows of scores: any number of models.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use pointsman_routers::SkillMatrix;
use pointsman_routers::data::{Dataset, Outcomes, ReadOptions};
use pointsman_routers::evaluate::{Frontier, Standpoint};
use pointsman_routers::identity;
use pointsman_routers::select::cost::Price;
use pointsman_routers::select::hash::text_hash;
use pointsman_routers::select::{Offer, Rule, rank};
use pointsman_routers::train::routing_text;
use serde::{Deserialize, Serialize};

use super::Arguments;
use super::plot::{self, Chart, Line};
use super::routers::{Subject, Subjects};
use crate::cli::output::{Failure, write_file};
use crate::cli::{Format, data};

/// A model scored on this share of the rows is in the default pool.
const SCORED_SHARE: f64 = 0.97;
/// Characters to a token.
const TOKEN_CHARS: f64 = 4.0;
/// Tokens of an answer whose length nobody wrote down.
const ANSWER_TOKENS: f64 = 300.0;
/// Settings that the curve of a router is made of: λ from 10⁻³ to 10³ of the inverse of the dearest mean cost.
const LAMBDAS: i32 = 120;

#[derive(Serialize)]
struct Report {
    benchmark: &'static str,
    rows: usize,
    dropped_trained: usize,
    dropped_incomplete: usize,
    pool: Vec<String>,
    singles: BTreeMap<String, Single>,
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
    /// The mean score of the model with the highest skill.
    quality: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    costs: Option<Costs>,
}

#[derive(Serialize)]
struct Costs {
    aiq: Option<f64>,
    /// USD per request at the best single model's quality; null if it is never reached.
    cost_at_best_single: Option<f64>,
    /// (mean USD per request, mean score), one per setting of the router, not sorted out.
    curve: Vec<(f64, f64)>,
}

/// The rows that are measured on: a column per model of the pool.
struct Table {
    pool: Vec<String>,
    texts: Vec<String>,
    categories: Vec<Option<String>>,
    scores: Vec<Vec<f64>>,
    /// USD, when there are prices.
    costs: Option<Vec<Vec<f64>>>,
    prices: Vec<Price>,
    answer_tokens: Vec<f64>,
    dropped_trained: usize,
    dropped_incomplete: usize,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (data, _) = data::read(&arguments.data, &ReadOptions::default())?;
    let subjects = Subjects::load(arguments)?;
    let table = Table::new(&data, &subjects, arguments)?;
    let texts: Vec<&str> = table.texts.iter().map(String::as_str).collect();
    let names: Vec<&str> = table.pool.iter().map(String::as_str).collect();
    let count = table.scores.len() as f64;
    let mean = |value: &dyn Fn(&[f64]) -> f64| table.scores.iter().map(|row| value(row)).sum::<f64>() / count;
    let singles: Vec<f64> = (0..names.len()).map(|model| mean(&|row| row[model])).collect();
    let best = (0..names.len()).max_by(|&one, &other| singles[one].total_cmp(&singles[other])).unwrap_or(0);
    let mut routers = BTreeMap::new();
    for subject in &subjects.all {
        let candidates = Subjects::place(subject, &names)?;
        let skills = subject.score(&texts, &candidates)?;
        let costs =
            table.costs.as_ref().map(|_| table.costs_of(subject, &candidates, &skills, singles[best]));
        routers.insert(subject.name.clone(), Measured { quality: table.quality_of_top(&skills), costs });
    }
    let report = Report {
        benchmark: "outcomes",
        rows: table.scores.len(),
        dropped_trained: table.dropped_trained,
        dropped_incomplete: table.dropped_incomplete,
        random: mean(&|row| row.iter().sum::<f64>() / row.len() as f64),
        oracle: mean(&|row| row.iter().copied().fold(0.0, f64::max)),
        dataset_oracle: dataset_oracle(&table, &arguments.train)?,
        best_single: table.pool[best].clone(),
        singles: (0..names.len())
            .map(|model| {
                let single = Single { quality: singles[model], cost_usd: table.mean_cost(model) };
                (table.pool[model].clone(), single)
            })
            .collect(),
        pool: table.pool,
        routers,
    };
    if let Some(file) = &arguments.plot {
        draw(file, &report)?;
    }
    let mut stdout = io::stdout().lock();
    match arguments.format {
        Format::Json => {
            serde_json::to_writer(&mut stdout, &report).map_err(io::Error::from)?;
            writeln!(stdout)?;
        }
        Format::Text => show(&mut stdout, &report)?,
    }
    Ok(())
}

impl Table {
    fn new(data: &Dataset, subjects: &Subjects, arguments: &Arguments) -> Result<Self, Failure> {
        let columns = pool(data, &arguments.pool)?;
        let prices = arguments.prices.as_deref().map(|file| prices(file, data, &columns)).transpose()?;
        let mut table = Self {
            pool: columns.iter().map(|&model| data.models[model].clone()).collect(),
            texts: Vec::new(),
            categories: Vec::new(),
            scores: Vec::new(),
            costs: prices.is_some().then(Vec::new),
            answer_tokens: vec![ANSWER_TOKENS; columns.len()],
            prices: prices.unwrap_or_default(),
            dropped_trained: 0,
            dropped_incomplete: 0,
        };
        table.set_answer_tokens(data, &columns);
        for outcomes in &data.outcomes {
            let prompt = &data.prompts[outcomes.prompt as usize];
            if subjects.trained.contains(&prompt.hash()) {
                table.dropped_trained += 1;
                continue;
            }
            let found: Option<Vec<_>> = columns.iter().map(|&model| score_of(outcomes, model)).collect();
            let Some(found) = found else {
                table.dropped_incomplete += 1;
                continue;
            };
            let text = routing_text(prompt);
            let prompt_tokens = text.chars().count() as f64 / TOKEN_CHARS;
            if let Some(costs) = &mut table.costs {
                let cost = |(price, score): (&Price, &&pointsman_routers::data::Score)| {
                    let tokens = score.out_chars.map_or(ANSWER_TOKENS, |chars| chars / TOKEN_CHARS);
                    price.expected_cost_usd(prompt_tokens, tokens)
                };
                costs.push(table.prices.iter().zip(&found).map(cost).collect());
            }
            table.scores.push(found.iter().map(|score| score.score).collect());
            table.texts.push(text);
            table.categories.push(prompt.category.clone());
        }
        if table.scores.is_empty() {
            let (trained, incomplete) = (table.dropped_trained, table.dropped_incomplete);
            return Err(Failure::Because(format!(
                "no row is left: {trained} are of prompts that a router was trained on, {incomplete} lack a score of the pool"
            )));
        }
        Ok(table)
    }

    /// What a router may expect of each model's answers: their mean length.
    fn set_answer_tokens(&mut self, data: &Dataset, columns: &[usize]) {
        for (&model, tokens) in columns.iter().zip(&mut self.answer_tokens) {
            let lengths = data.outcomes.iter().filter_map(|outcomes| score_of(outcomes, model)?.out_chars);
            let (count, sum) = lengths.fold((0.0, 0.0), |(count, sum), chars| (count + 1.0, sum + chars));
            if count > 0.0 {
                *tokens = sum / count / TOKEN_CHARS;
            }
        }
    }

    fn mean_cost(&self, model: usize) -> Option<f64> {
        let costs = self.costs.as_ref()?;
        Some(costs.iter().map(|row| row[model]).sum::<f64>() / costs.len() as f64)
    }

    /// The mean score of the model with the highest skill; of equals the mean.
    fn quality_of_top(&self, skills: &SkillMatrix) -> f64 {
        let of_row = |(row, scores): (usize, &Vec<f64>)| {
            let top = skills.row(row).iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let tied: Vec<f64> = (0..scores.len())
                .filter(|&model| skills[(row, model)].total_cmp(&top).is_eq())
                .map(|model| scores[model])
                .collect();
            tied.iter().sum::<f64>() / tied.len() as f64
        };
        self.scores.iter().enumerate().map(of_row).sum::<f64>() / self.scores.len() as f64
    }

    /// Where each setting of the utility rule stands.
    fn costs_of(
        &self,
        subject: &Subject,
        candidates: &[pointsman_routers::Candidate],
        skills: &SkillMatrix,
        best_single: f64,
    ) -> Costs {
        let means: Vec<f64> = (0..self.pool.len()).filter_map(|model| self.mean_cost(model)).collect();
        let (cheapest, dearest) =
            means.iter().fold((f64::INFINITY, 0.0_f64), |(low, high), &cost| (low.min(cost), high.max(cost)));
        let rating = |model: usize| subject.prior(&candidates[model]);
        let reference =
            (0..candidates.len()).max_by(|&one, &other| rating(one).total_cmp(&rating(other))).unwrap_or(0);
        let step = |number: i32| 10_f64.powf(6.0 * f64::from(number) / f64::from(LAMBDAS) - 3.0);
        let lambdas =
            std::iter::once(0.0).chain((0..=LAMBDAS).map(|number| step(number) / dearest.max(1e-12)));
        let standpoints: Vec<Standpoint> =
            lambdas.map(|lambda| self.standpoint(skills, reference, lambda)).collect();
        let frontier = Frontier::new(&standpoints);
        Costs {
            aiq: frontier.aiq(cheapest, dearest),
            cost_at_best_single: frontier.cost_at(best_single),
            curve: standpoints.iter().map(|at| (at.cost_usd, at.quality)).collect(),
        }
    }

    fn standpoint(&self, skills: &SkillMatrix, reference: usize, lambda: f64) -> Standpoint {
        let (mut cost_usd, mut quality) = (0.0, 0.0);
        for (row, scores) in self.scores.iter().enumerate() {
            let prompt_tokens = self.texts[row].chars().count() as f64 / TOKEN_CHARS;
            let offers: Vec<Offer<'_>> = self
                .pool
                .iter()
                .enumerate()
                .map(|(model, name)| Offer {
                    name,
                    pool_name: name,
                    skill: skills[(row, model)],
                    cost_usd: self.prices[model].expected_cost_usd(prompt_tokens, self.answer_tokens[model]),
                })
                .collect();
            let rule = Rule::Utility { lambda, reference_skill: skills[(row, reference)] };
            let chosen = rank(&rule, &offers, text_hash(&self.texts[row])).first().copied().unwrap_or(0);
            quality += scores[chosen];
            cost_usd += self.costs.as_ref().map_or(0.0, |costs| costs[row][chosen]);
        }
        let count = self.scores.len() as f64;
        Standpoint { cost_usd: cost_usd / count, quality: quality / count }
    }
}

fn score_of(outcomes: &Outcomes, model: usize) -> Option<&pointsman_routers::data::Score> {
    let model = u16::try_from(model).ok()?;
    let place = outcomes.scores.binary_search_by_key(&model, |score| score.model).ok()?;
    outcomes.scores.get(place)
}

/// The columns of the pool: those asked for, or those that nearly every row has.
fn pool(data: &Dataset, asked: &[String]) -> Result<Vec<usize>, Failure> {
    let rows = data.outcomes.len();
    let scored =
        |model: usize| data.outcomes.iter().filter(|outcomes| score_of(outcomes, model).is_some()).count();
    let columns: Vec<usize> = if asked.is_empty() {
        (0..data.models.len()).filter(|&model| scored(model) as f64 >= SCORED_SHARE * rows as f64).collect()
    } else {
        let place = |name: &String| {
            let canonical = identity::canonical(name.trim());
            let missing = || Failure::Because(format!("--pool: no row has a score of {canonical}"));
            data.model(canonical).filter(|&model| scored(model) > 0).ok_or_else(missing)
        };
        asked.iter().map(place).collect::<Result<_, _>>()?
    };
    if rows == 0 {
        return Err(Failure::Because("--data holds no rows of outcomes".to_owned()));
    }
    if columns.len() < 2 {
        let hint = "name them with --pool, or give rows that more models are scored on";
        return Err(Failure::Because(format!(
            "the pool has {} models, two are needed: {hint}",
            columns.len()
        )));
    }
    Ok(columns)
}

/// USD per million tokens.
#[derive(Deserialize)]
struct PriceRow {
    input: f64,
    output: f64,
}

fn prices(file: &Path, data: &Dataset, columns: &[usize]) -> Result<Vec<Price>, Failure> {
    let because = |error: &dyn std::fmt::Display| Failure::Because(format!("{}: {error}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| because(&error))?;
    let rows: BTreeMap<String, PriceRow> = serde_json::from_str(&text).map_err(|error| because(&error))?;
    let rows: BTreeMap<&str, PriceRow> = rows
        .iter()
        .map(|(name, row)| (identity::canonical(name), PriceRow { input: row.input, output: row.output }))
        .collect();
    let price = |&model: &usize| {
        let name = data.models[model].as_str();
        let row = rows.get(name).ok_or_else(|| because(&format!("there is no price of {name}")))?;
        if !(row.input >= 0.0 && row.output >= 0.0 && (row.input + row.output).is_finite()) {
            return Err(because(&format!("the price of {name} is no amount of USD")));
        }
        Ok(Price { input_usd_per_million: row.input, output_usd_per_million: row.output })
    };
    columns.iter().map(price).collect()
}

/// The mean score of each category's best model; a category that was not trained on gets the best of all.
fn dataset_oracle(table: &Table, files: &[PathBuf]) -> Result<Option<f64>, Failure> {
    if files.is_empty() {
        return Ok(None);
    }
    let (data, _) = data::read(files, &ReadOptions::default())?;
    let columns: Vec<Option<usize>> = table.pool.iter().map(|name| data.model(name)).collect();
    let mut sums: BTreeMap<Option<&String>, Vec<(f64, f64)>> = BTreeMap::new();
    for outcomes in &data.outcomes {
        let category = data.prompts[outcomes.prompt as usize].category.as_ref();
        for of in if category.is_some() { vec![None, category] } else { vec![None] } {
            let sums = sums.entry(of).or_insert_with(|| vec![(0.0, 0.0); columns.len()]);
            for (column, sum) in columns.iter().zip(sums) {
                if let Some(score) = column.and_then(|model| score_of(outcomes, model)) {
                    *sum = (sum.0 + score.score, sum.1 + 1.0);
                }
            }
        }
    }
    let best = |sums: &Vec<(f64, f64)>| {
        let mean = |place: usize| if sums[place].1 > 0.0 { sums[place].0 / sums[place].1 } else { -1.0 };
        (0..sums.len()).max_by(|&one, &other| mean(one).total_cmp(&mean(other)))
    };
    let choice: BTreeMap<Option<&String>, Option<usize>> =
        sums.iter().map(|(category, sums)| (*category, best(sums))).collect();
    let overall = choice.get(&None).copied().flatten().unwrap_or(0);
    let of_row = |(category, scores): (&Option<String>, &Vec<f64>)| {
        let chosen = choice.get(&category.as_ref()).copied().flatten().unwrap_or(overall);
        scores[chosen]
    };
    let total: f64 = table.categories.iter().zip(&table.scores).map(of_row).sum();
    Ok(Some(total / table.scores.len() as f64))
}

fn show(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let Report { rows, dropped_trained, dropped_incomplete, .. } = report;
    writeln!(out, "{rows} rows, {} models", report.pool.len())?;
    writeln!(
        out,
        "left out: {dropped_trained} trained on, {dropped_incomplete} without a score of every model\n"
    )?;
    let best = report.singles.get(&report.best_single).map_or(0.0, |single| single.quality);
    writeln!(out, "{:<44} score   above best single      AIQ   USD/1k at best single", "who chooses")?;
    let mut line = |name: &str, quality: f64, costs: Option<&Costs>| {
        let gain = 100.0 * (quality - best);
        write!(out, "{name:<44} {quality:.4} {gain:>12.2} points")?;
        if let Some(costs) = costs {
            let number =
                |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"));
            write!(
                out,
                " {:>8} {:>14}",
                number(costs.aiq),
                number(costs.cost_at_best_single.map(|usd| 1e3 * usd))
            )?;
        }
        writeln!(out)
    };
    line("any model", report.random, None)?;
    line(&format!("best single: {}", report.best_single), best, None)?;
    for (name, measured) in &report.routers {
        line(name, measured.quality, measured.costs.as_ref())?;
    }
    if let Some(quality) = report.dataset_oracle {
        line("best model of the category (dataset oracle)", quality, None)?;
    }
    line("best model of the prompt (oracle)", report.oracle, None)?;
    writeln!(out)?;
    let mut singles: Vec<_> = report.singles.iter().collect();
    singles.sort_by(|one, other| other.1.quality.total_cmp(&one.1.quality));
    for (name, single) in singles {
        let cost = single.cost_usd.map_or_else(String::new, |usd| format!("   {:.4} USD/1k", 1e3 * usd));
        writeln!(out, "{name:<44} {:.4}{cost}", single.quality)?;
    }
    Ok(())
}

fn draw(file: &Path, report: &Report) -> Result<(), Failure> {
    let in_thousands = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
        let mut points: Vec<(f64, f64)> = points.iter().map(|(usd, quality)| (1e3 * usd, *quality)).collect();
        points.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
        points
    };
    let curves: Vec<(&String, Vec<(f64, f64)>)> = report
        .routers
        .iter()
        .filter_map(|(name, measured)| Some((name, in_thousands(&measured.costs.as_ref()?.curve))))
        .collect();
    if curves.is_empty() {
        return Err(Failure::Usage("--plot draws quality over cost: give --prices".to_owned()));
    }
    let lines: Vec<Line<'_>> = curves
        .iter()
        .map(|(name, points)| Line { label: (*name).clone(), points, is_baseline: *name == "random" })
        .collect();
    let chart = Chart {
        title: format!("outcomes: {} rows, {} models", report.rows, report.pool.len()),
        across: "USD per thousand requests".to_owned(),
        up: "mean score".to_owned(),
        lines: &lines,
    };
    let svg = plot::draw(&chart)
        .map_err(|error| Failure::Because(format!("{} cannot be drawn: {error}", file.display())))?;
    write_file(file, svg.as_bytes())
}
