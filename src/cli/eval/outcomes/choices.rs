//! Which model is chosen where price is no matter: by a router, or by who knows the category.

use std::collections::BTreeMap;
use std::path::PathBuf;

use pointsman_routers::SkillMatrix;
use pointsman_routers::data::{Dataset, ReadOptions};

use super::rows::Rows;
use crate::cli::data;
use crate::cli::output::Failure;

/// The mean; not a number of nothing.
pub(super) fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (count, sum) = values.fold((0.0, 0.0), |(count, sum), value| (count + 1.0, sum + value));
    sum / count
}

/// The score of the model with the highest skill on each row; of equals the mean.
pub(super) fn scores_of_top(rows: &Rows, skills: &SkillMatrix) -> Vec<f64> {
    let of_row = |(row, scores): (usize, &Vec<f64>)| {
        let skills: Vec<f64> = skills.row(row).iter().copied().collect();
        let top = skills.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let tied = scores.iter().zip(&skills).filter(|(_, skill)| skill.total_cmp(&top).is_eq());
        mean(tied.map(|(score, _)| *score))
    };
    rows.scores.iter().enumerate().map(of_row).collect()
}

/// The mean score of each category's best model, picked on other files; a category that these lack gets the model that
/// is best over all of them.
pub(super) fn dataset_oracle(rows: &Rows, files: &[PathBuf]) -> Result<Option<f64>, Failure> {
    if files.is_empty() {
        return Ok(None);
    }
    let (data, _) = data::read("--train", files, &ReadOptions::default())?;
    let choice = best_by_category(&data, &rows.pool);
    let Some(Some(overall)) = choice.get(&None).copied() else {
        return Err(Failure::Because("--train has no row with a score of a model of the pool".to_owned()));
    };
    let of_row = |(category, scores): (&Option<String>, &Vec<f64>)| {
        let chosen = choice.get(&category.as_ref()).copied().flatten().unwrap_or(overall);
        scores.get(chosen).copied().unwrap_or_default()
    };
    Ok(Some(mean(rows.categories.iter().zip(&rows.scores).map(of_row))))
}

/// The place in the pool of the model with the highest mean score, by category and (`None`) over all rows.
fn best_by_category<'a>(data: &'a Dataset, pool: &[String]) -> BTreeMap<Option<&'a String>, Option<usize>> {
    let columns: Vec<Option<usize>> = pool.iter().map(|name| data.model(name)).collect();
    let mut sums: BTreeMap<Option<&String>, Vec<(f64, f64)>> = BTreeMap::new();
    for outcomes in &data.outcomes {
        let category = data.prompts.get(outcomes.prompt as usize).and_then(|prompt| prompt.category.as_ref());
        for of in if category.is_some() { vec![None, category] } else { vec![None] } {
            let sums = sums.entry(of).or_insert_with(|| vec![(0.0, 0.0); columns.len()]);
            for (column, sum) in columns.iter().zip(sums) {
                if let Some(score) = column.and_then(|model| outcomes.score_of(model)) {
                    *sum = (sum.0 + score.score, sum.1 + 1.0);
                }
            }
        }
    }
    let best = |sums: &Vec<(f64, f64)>| {
        let scored = sums.iter().enumerate().filter(|(_, (_, count))| *count > 0.0);
        let means = scored.map(|(place, (sum, count))| (place, sum / count));
        means.max_by(|one, other| one.1.total_cmp(&other.1)).map(|(place, _)| place)
    };
    sums.iter().map(|(category, sums)| (*category, best(sums))).collect()
}
