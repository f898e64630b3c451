//! What choices cost: quality over cost for every setting of a router.

use std::collections::BTreeMap;
use std::path::Path;

use pointsman_routers::SkillMatrix;
use pointsman_routers::data::Dataset;
use pointsman_routers::evaluate::{Frontier, Interval, Standpoint, bootstrap_together};
use pointsman_routers::identity;
use pointsman_routers::select::cost::Price;
use pointsman_routers::select::hash::text_hash;
use pointsman_routers::select::{Offer, Rule, rank};
use serde::{Deserialize, Serialize};

use super::choices::mean;
use super::rows::Rows;
use crate::cli::output::Failure;
use crate::cli::{files, prices};

/// Characters to a token.
const TOKEN_CHARS: f64 = 4.0;
/// Tokens of an answer whose length nobody wrote down.
const ANSWER_TOKENS: f64 = 300.0;
/// Settings that the curve of a router is made of: λ from 10⁻³ to 10³ of the inverse of the dearest mean cost.
const LAMBDAS: i32 = 120;

#[derive(Serialize)]
pub(super) struct Costs {
    pub(super) aiq: Option<f64>,
    /// USD per request at the best single model's quality, on the concave hull (mixing two settings by lot); null if it is never reached.
    pub(super) cost_at_best_single: Option<f64>,
    /// (mean USD per request, mean score), one per setting of the router, not sorted out.
    pub(super) curve: Vec<(f64, f64)>,
    /// (mean USD per request, low, high) of the mean score, for the plot.
    #[serde(skip)]
    pub(super) band: Vec<(f64, f64, f64)>,
}

/// What the models of the pool cost on the rows.
pub(super) struct Prices {
    prices: Vec<Price>,
    /// What a router may expect of each model's answers: their mean length.
    answer_tokens: Vec<f64>,
    prompt_tokens: Vec<f64>,
    /// USD, a row per prompt.
    costs: Vec<Vec<f64>>,
}

/// USD per million tokens.
#[derive(Deserialize)]
struct PriceRow {
    input: f64,
    output: f64,
}

/// What one setting of a router makes of the rows.
struct Setting {
    cost_usd: f64,
    /// The score on each row.
    scores: Vec<f64>,
}

impl Prices {
    pub(super) fn read(file: &Path, data: &Dataset, columns: &[usize], rows: &Rows) -> Result<Self, Failure> {
        let prices = read(file, &rows.pool)?;
        let tokens_of = |text: &String| text.chars().count() as f64 / TOKEN_CHARS;
        let prompt_tokens: Vec<f64> = rows.texts.iter().map(tokens_of).collect();
        let of_row = |(tokens, lengths): (&f64, &Vec<Option<f64>>)| {
            let cost = |(price, chars): (&Price, &Option<f64>)| {
                price.expected_cost_usd(*tokens, chars.map_or(ANSWER_TOKENS, |chars| chars / TOKEN_CHARS))
            };
            prices.iter().zip(lengths).map(cost).collect()
        };
        let costs = prompt_tokens.iter().zip(&rows.out_chars).map(of_row).collect();
        let answer_tokens = columns.iter().map(|&model| answer_tokens(data, model)).collect();
        Ok(Self { prices, answer_tokens, prompt_tokens, costs })
    }

    /// USD per request.
    pub(super) fn mean_cost(&self, model: usize) -> f64 {
        mean(self.costs.iter().map(|row| row[model]))
    }

    /// What choosing by lot comes to: one setting, whose score on each row is the mean of all models.
    pub(super) fn by_lot(&self, means: &[f64], best_single: f64) -> Costs {
        let cost_usd = mean(self.costs.iter().map(|row| mean(row.iter().copied())));
        self.summary(&[Setting { cost_usd, scores: means.to_vec() }], best_single, false)
    }

    /// Where each setting of the utility rule stands. `prior` is θ⁰ of each model of the pool; what follows is the best
    /// single model's quality, and whether intervals are wanted.
    pub(super) fn measure(
        &self,
        rows: &Rows,
        skills: &SkillMatrix,
        prior: &[f64],
        (best_single, has_band): (f64, bool),
    ) -> Costs {
        let dearest = self.extremes().1;
        let reference =
            (0..prior.len()).max_by(|&one, &other| prior[one].total_cmp(&prior[other])).unwrap_or(0);
        let step = |number: i32| 10_f64.powf(6.0 * f64::from(number) / f64::from(LAMBDAS) - 3.0);
        let lambdas =
            std::iter::once(0.0).chain((0..=LAMBDAS).map(|number| step(number) / dearest.max(1e-12)));
        let settings: Vec<Setting> =
            lambdas.map(|lambda| self.setting(rows, skills, reference, lambda)).collect();
        self.summary(&settings, best_single, has_band)
    }

    /// The mean costs of the cheapest and of the dearest model.
    fn extremes(&self) -> (f64, f64) {
        let means = (0..self.prices.len()).map(|model| self.mean_cost(model));
        means.fold((f64::INFINITY, 0.0), |(low, high), cost| (low.min(cost), high.max(cost)))
    }

    fn setting(&self, rows: &Rows, skills: &SkillMatrix, reference: usize, lambda: f64) -> Setting {
        let (mut cost_usd, mut scores) = (0.0, Vec::with_capacity(rows.scores.len()));
        for (row, of_row) in rows.scores.iter().enumerate() {
            let offer = |(model, name)| Offer {
                name,
                pool_name: name,
                skill: skills[(row, model)],
                cost_usd: self.prices[model]
                    .expected_cost_usd(self.prompt_tokens[row], self.answer_tokens[model]),
            };
            let names = rows.pool.iter().map(String::as_str);
            let offers: Vec<Offer<'_>> = names.enumerate().map(offer).collect();
            let rule = Rule::Utility { lambda, reference_skill: skills[(row, reference)] };
            let chosen = rank(&rule, &offers, text_hash(&rows.texts[row])).first().copied().unwrap_or(0);
            scores.push(of_row[chosen]);
            cost_usd += self.costs[row][chosen];
        }
        Setting { cost_usd: cost_usd / rows.scores.len() as f64, scores }
    }

    fn summary(&self, settings: &[Setting], best_single: f64, has_band: bool) -> Costs {
        let standpoint = |setting: &Setting| Standpoint {
            cost_usd: setting.cost_usd,
            quality: mean(setting.scores.iter().copied()),
        };
        let standpoints: Vec<Standpoint> = settings.iter().map(standpoint).collect();
        let frontier = Frontier::new(&standpoints);
        let (cheapest, dearest) = self.extremes();
        let intervals = if has_band {
            bootstrap_together(&settings.iter().map(|setting| setting.scores.clone()).collect::<Vec<_>>())
        } else {
            Vec::new()
        };
        let band = |(setting, quality): (&Setting, Interval)| (setting.cost_usd, quality.low, quality.high);
        Costs {
            aiq: frontier.aiq(cheapest, dearest),
            cost_at_best_single: frontier.cost_at(best_single),
            curve: standpoints.iter().map(|at| (at.cost_usd, at.quality)).collect(),
            band: settings.iter().zip(intervals).map(band).collect(),
        }
    }
}

/// The mean length of a model's answers.
fn answer_tokens(data: &Dataset, model: usize) -> f64 {
    let chars: Vec<f64> =
        data.outcomes.iter().filter_map(|outcomes| outcomes.score_of(model)?.out_chars).collect();
    if chars.is_empty() { ANSWER_TOKENS } else { mean(chars.iter().copied()) / TOKEN_CHARS }
}

fn read(file: &Path, pool: &[String]) -> Result<Vec<Price>, Failure> {
    let bytes = files::read("--prices", file, prices::EXPECTED)?;
    let rows: BTreeMap<String, PriceRow> =
        serde_json::from_slice(&bytes).map_err(|error| prices::malformed(file, &error))?;
    let rows: BTreeMap<&str, &PriceRow> =
        rows.iter().map(|(name, row)| (identity::canonical(name), row)).collect();
    let lacking: Vec<&str> =
        pool.iter().map(String::as_str).filter(|name| !rows.contains_key(name)).collect();
    if !lacking.is_empty() {
        return Err(prices::missing(file, &lacking, "--pool"));
    }
    let price = |name: &String| {
        let row = rows.get(name.as_str()).ok_or_else(|| prices::missing(file, &[name], "--pool"))?;
        if !(row.input >= 0.0 && row.output >= 0.0 && (row.input + row.output).is_finite()) {
            let file = file.display();
            return Err(Failure::Because(format!("{file}: the price of {name} is no amount of USD")));
        }
        Ok(Price { input_usd_per_million: row.input, output_usd_per_million: row.output })
    };
    pool.iter().map(price).collect()
}
