//! Ratings of models from votes: the maximum-likelihood Bradley–Terry skills, Elo, and bootstrap intervals.
//!
//! No prior moves a rating that the votes alone determine. They determine it, up to the level of a group, exactly
//! where every model of the group has beaten every other over some chain of battles, ties counted as half a win each
//! way (Ford 1957). Such a group's largest is the *core*; a model outside it, such as one that never lost, has no
//! finite rating, and gets one from a single virtual tie with an average model of the core, which stays as it is.
//! Models that no chain of battles links are rated apart.
//!
//! Must not read prompts, nor know how ratings are shown.

mod bootstrap;
mod fit;
mod graph;
mod rank;
mod tally;
#[cfg(test)]
mod tests;

pub use rank::{Group, Leaderboard, Rating, Standing};
pub use tally::{Tally, Votes};

use crate::artifact::Anchor;
use crate::bradley_terry::FitError;

/// The most models that are rated: a fit takes time in the third power of their number.
pub const MODELS_MAX: usize = 4096;

/// What the mean rating of a group's models is where no anchor lies in it.
pub const UNANCHORED_ELO: f64 = 1000.0;

/// How to rate.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Models whose Elo is given; none: the Arena's anchor, if it is there. A group of linked models without an anchor
    /// is centred on [`UNANCHORED_ELO`].
    pub anchors: Vec<Anchor>,
    /// Resamples that the intervals are made of; none: no intervals.
    pub resamples: usize,
    /// Decides the resamples.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { anchors: Vec::new(), resamples: 200, seed: 0 }
    }
}

/// Why there are no ratings.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum RatingError {
    /// There is not one battle.
    #[error("there are no battles to rate models by")]
    NoBattles,
    /// More models than can be rated.
    #[error("there are {0} models, more than the {MODELS_MAX} that can be rated together")]
    TooManyModels(usize),
    /// Two anchors where one fixes the level.
    #[error("{0} and {1} are both anchors, but battles link them: the one's Elo follows from the other's")]
    TwoAnchors(String, String),
    /// An anchor that is not among the models.
    #[error("no battle is fought by the anchor {0}: name one of the models that are rated")]
    UnknownAnchor(String),
    /// An Elo that is no number.
    #[error("the Elo of the anchor {0} is not finite")]
    AnchorElo(String),
    /// Counts beyond the range of numbers.
    #[error(transparent)]
    Fit(#[from] FitError),
}

/// Rates every model. `progress` is told how many resamples are done.
///
/// The order of the rows, and which model stood first in a row, change nothing, to the last bit.
///
/// # Errors
/// When there are no battles or too many models, and when the anchors contradict each other or the battles.
pub fn rate(
    votes: &Votes,
    options: &Options,
    progress: &mut dyn FnMut(usize),
) -> Result<Leaderboard, RatingError> {
    if votes.cells().is_empty() {
        return Err(RatingError::NoBattles);
    }
    if votes.models().len() > MODELS_MAX {
        return Err(RatingError::TooManyModels(votes.models().len()));
    }
    let groups = rank::groups(votes, &options.anchors)?;
    let fitted = groups.iter().map(|group| fit::skills(group, &group.pairs(votes)));
    let skills: Vec<Vec<f64>> = fitted.collect::<Result<_, _>>()?;
    let resampled = bootstrap::resample(votes, &groups, &skills, options, progress)?;
    Ok(rank::leaderboard(votes, &groups, &skills, &resampled))
}
