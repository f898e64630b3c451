//! Thresholds for people and for programs.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::Point;
use super::pool::Pool;

/// The share of prompts at exactly a threshold that is worth a word.
const ATOM: f64 = 0.01;

/// The object that `--format json` writes.
pub(super) fn json(pool: &Pool<'_>, prompts: usize, points: &[Point], is_single: bool) -> Value {
    let head = json!({"router": pool.router(), "models": pool.models, "prompts": prompts});
    let mut all = points.iter().map(|point| fields(pool, point));
    match head {
        Value::Object(mut object) => {
            if is_single {
                object.extend(all.next().unwrap_or_default());
            } else {
                object.insert("points".to_owned(), all.map(Value::Object).collect());
            }
            Value::Object(object)
        }
        other => other,
    }
}

fn fields(pool: &Pool<'_>, Point { solved, outlook }: &Point) -> Map<String, Value> {
    let shares: Map<String, Value> = pool
        .models
        .iter()
        .zip(&outlook.share_by_candidate)
        .map(|(model, share)| (model.clone(), json!(share)))
        .collect();
    let cost = pool.has_prices().then_some(outlook.cost_usd_per_1k);
    Map::from_iter([
        ("threshold".to_owned(), json!(solved.alpha)),
        ("split".to_owned(), json!(solved.split)),
        ("expected_share".to_owned(), json!(outlook.strong_share)),
        ("share_by_model".to_owned(), Value::Object(shares)),
        ("mean_cost_usd_per_1k".to_owned(), json!(cost)),
    ])
}

/// A line for each threshold, a column for each model.
pub(super) fn write(
    out: &mut impl Write,
    pool: &Pool<'_>,
    prompts: usize,
    points: &[Point],
) -> io::Result<()> {
    writeln!(out, "router {}, {prompts} prompts\n", pool.router())?;
    write!(out, "threshold")?;
    let widths: Vec<usize> = pool.models.iter().map(|model| model.chars().count().max(6)).collect();
    for (model, width) in pool.models.iter().zip(&widths) {
        write!(out, "  {model:>width$}")?;
    }
    writeln!(out, "{}", if pool.has_prices() { "  USD per 1,000" } else { "" })?;
    for Point { solved, outlook } in points {
        write!(out, "{:<9.7}", solved.alpha)?;
        for (share, width) in outlook.share_by_candidate.iter().zip(&widths) {
            write!(out, "  {:>width$}", format!("{:.1}%", 100.0 * share))?;
        }
        match pool.has_prices() {
            true => writeln!(out, "  {:>13.4}", outlook.cost_usd_per_1k)?,
            false => writeln!(out)?,
        }
    }
    if !pool.has_prices() {
        writeln!(out, "\nWithout --prices the model with the highest global rating counts as the dearest.")?;
    }
    for Point { solved, outlook } in points.iter().filter(|point| point.outlook.share_at_threshold > ATOM) {
        writeln!(
            out,
            "\n{:.1}% of the prompts are at exactly {:.7}, and {:.1}% of these count as reaching it where a route says \
             strong_share\nor budget_usd_per_1k. Where it says threshold, all do.",
            100.0 * outlook.share_at_threshold,
            solved.alpha,
            100.0 * solved.split,
        )?;
    }
    Ok(())
}
