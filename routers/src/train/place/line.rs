//! What is fitted of a model that a rating alone does not say, and the model that comes out.

use faer::Mat;

use super::fit::{Meeting, Problem};
use crate::artifact::Added;
use crate::rating_line::RatingLine;
use crate::router::SkillMatrix;

/// What is to be fitted, given the known models' skills on the prompts of `meetings`.
pub(super) fn problem(
    line: &RatingLine,
    skills: &SkillMatrix,
    prior: &[f64],
    meetings: Vec<Meeting>,
    folds: Vec<u32>,
) -> Problem {
    let shift = |row: usize, model: usize| skills[(row, model)] - prior[model];
    let lines: Vec<(f64, f64)> = (0..skills.nrows())
        .map(|row| line.through((0..prior.len()).map(|model| shift(row, model))))
        .collect();
    let features = Mat::from_fn(skills.nrows(), 1 + prior.len(), |row, column| match column {
        0 => 1.0 + lines[row].1,
        _ => shift(row, column - 1),
    });
    let levels = lines.iter().map(|(level, _)| *level).collect();
    Problem { features, levels, meetings, folds }
}

/// The model that a solution describes.
pub(super) fn added(line: &RatingLine, name: &str, solution: &[f64]) -> Added {
    let prior = solution.first().copied().unwrap_or_default();
    let own = solution.iter().skip(1);
    let mix = line.mix(prior).zip(own).map(|(of_rating, own)| (of_rating + own) as f32).collect();
    Added { model: name.to_owned(), prior, mix }
}
