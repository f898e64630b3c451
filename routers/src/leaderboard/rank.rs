//! From skills to a leaderboard: groups of comparable models, their anchors, ratings in order.

use super::tally::Cell;
use super::{RatingError, UNANCHORED_ELO, Votes, graph};
use crate::artifact::Anchor;
use crate::bradley_terry::PairSum;

/// Elo points to a unit of skill.
const ELO_PER_LOGIT: f64 = 400.0 / std::f64::consts::LN_10;
/// The quantiles of the resamples that bound an interval.
const INTERVAL: [f64; 2] = [0.025, 0.975];

/// Every model's rating.
#[derive(Debug, Clone, PartialEq)]
pub struct Leaderboard {
    /// By group, then best first.
    pub ratings: Vec<Rating>,
    /// The groups of models that battles link, the largest first. Ratings of different groups cannot be compared.
    pub groups: Vec<Group>,
}

/// What a group's ratings are relative to.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// How many models it has.
    pub models: usize,
    /// The model whose Elo is given; without one the mean of the ratings is.
    pub anchor: Option<Anchor>,
}

/// A model's rating.
#[derive(Debug, Clone, PartialEq)]
pub struct Rating {
    /// Canonical name.
    pub model: String,
    /// θ, natural-log Bradley–Terry units; their mean over the group's core is zero.
    pub skill: f64,
    /// The Elo rating.
    pub elo: f64,
    /// What 95 % of the resampled Elo ratings lie between; `None` without resamples, and where the votes bound
    /// nothing.
    pub interval: Option<[f64; 2]>,
    /// The battles it fought.
    pub battles: u64,
    /// The place of its group in [`Leaderboard::groups`].
    pub group: usize,
    /// What the rating rests on.
    pub standing: Standing,
}

/// What a rating rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The votes alone.
    Fitted,
    /// The votes and a virtual tie: it won every battle.
    Unbeaten,
    /// The votes and a virtual tie: it lost every battle.
    Winless,
    /// The votes and a virtual tie: no chain of wins leads both from it to the core and back.
    OneSided,
}

/// A group of linked models.
#[derive(Debug)]
pub(super) struct Linked {
    /// Their places among all models, ascending.
    pub(super) models: Vec<usize>,
    /// Which of them, by place in the group, are of the core.
    pub(super) is_core: Vec<bool>,
    /// The place in the group of the model whose Elo is given.
    anchor: Option<(usize, Anchor)>,
}

impl Linked {
    /// The group's battles by place in the group.
    pub(super) fn pairs(&self, votes: &Votes) -> Vec<PairSum> {
        let weights: Vec<[f64; 3]> =
            votes.cells().iter().map(|cell| cell.counts.map(|count| cell.weight * count as f64)).collect();
        self.weighted_pairs(votes, &weights)
    }

    /// The group's battles by place in the group, where the cells have these weights.
    pub(super) fn weighted_pairs(&self, votes: &Votes, weights: &[[f64; 3]]) -> Vec<PairSum> {
        let pair = |(cell, &[won_a, won_b, tied]): (&Cell, &[f64; 3])| {
            let place = |model: usize| self.models.binary_search(&model).ok();
            let (model_a, model_b) = (place(cell.model_a)?, place(cell.model_b)?);
            Some(PairSum {
                model_a,
                model_b,
                won_a: won_a + 0.5 * tied,
                won_b: won_b + 0.5 * tied,
                scale: 1.0,
            })
        };
        votes.cells().iter().zip(weights).filter_map(pair).collect()
    }

    /// The Elo of a skill, where the group's skills are these.
    fn elo(&self, skills: &[f64], skill: f64) -> f64 {
        match &self.anchor {
            Some((place, anchor)) => anchor.elo + ELO_PER_LOGIT * (skill - skills[*place]),
            None => {
                let mean = skills.iter().sum::<f64>() / skills.len().max(1) as f64;
                UNANCHORED_ELO + ELO_PER_LOGIT * (skill - mean)
            }
        }
    }
}

/// The groups of linked models, the largest first, each with its core and its anchor.
pub(super) fn groups(votes: &Votes, anchors: &[Anchor]) -> Result<Vec<Linked>, RatingError> {
    let wins: Vec<graph::Win> = votes.cells().iter().flat_map(wins).collect();
    let count = votes.models().len();
    let cores = graph::mutual(count, &wins);
    let mut groups = graph::linked(count, &wins);
    groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
    let mut linked: Vec<Linked> = groups.into_iter().map(|models| with_core(models, &cores)).collect();
    for anchor in anchors {
        set_anchor(votes, &mut linked, anchor)?;
    }
    if anchors.is_empty() {
        match set_anchor(votes, &mut linked, &Anchor::arena()) {
            Ok(()) | Err(RatingError::UnknownAnchor(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(linked)
}

fn set_anchor(votes: &Votes, groups: &mut [Linked], anchor: &Anchor) -> Result<(), RatingError> {
    if !anchor.elo.is_finite() {
        return Err(RatingError::AnchorElo(anchor.model.clone()));
    }
    let unknown = |_| RatingError::UnknownAnchor(anchor.model.clone());
    let model = votes.models().binary_search(&anchor.model).map_err(unknown)?;
    for group in groups {
        let Ok(place) = group.models.binary_search(&model) else { continue };
        if let Some((_, first)) = &group.anchor {
            return Err(RatingError::TwoAnchors(first.model.clone(), anchor.model.clone()));
        }
        group.anchor = Some((place, anchor.clone()));
    }
    Ok(())
}

/// Who beat whom, a tie being a win of each.
fn wins(cell: &Cell) -> impl Iterator<Item = graph::Win> {
    let [won_a, won_b, tied] = cell.counts.map(|count| count > 0);
    let (a, b) = (cell.model_a, cell.model_b);
    [(won_a || tied).then_some((a, b)), (won_b || tied).then_some((b, a))].into_iter().flatten()
}

/// The core is the largest set of the group's models that have beaten each other; of equals, the first. One model
/// alone is none.
fn with_core(models: Vec<usize>, mutual: &[Vec<usize>]) -> Linked {
    let holds = |set: &&Vec<usize>| set.first().is_some_and(|model| models.binary_search(model).is_ok());
    let core = mutual.iter().filter(|set| set.len() > 1).filter(holds).rev().max_by_key(|set| set.len());
    let is_core =
        models.iter().map(|model| core.is_some_and(|core| core.binary_search(model).is_ok())).collect();
    Linked { models, is_core, anchor: None }
}

/// Puts everything together.
pub(super) fn leaderboard(
    votes: &Votes,
    groups: &[Linked],
    skills: &[Vec<f64>],
    resampled: &[Vec<Vec<f64>>],
) -> Leaderboard {
    let mut records = vec![[0_u64; 3]; votes.models().len()];
    for cell in votes.cells() {
        let [won_a, won_b, tied] = cell.counts;
        add(&mut records[cell.model_a], [won_a, won_b, tied]);
        add(&mut records[cell.model_b], [won_b, won_a, tied]);
    }
    let mut ratings = Vec::with_capacity(records.len());
    for (number, (group, skills)) in groups.iter().zip(skills).enumerate() {
        let mut of_group: Vec<Rating> = Vec::with_capacity(skills.len());
        for (place, (&model, &skill)) in group.models.iter().zip(skills).enumerate() {
            let is_core = group.is_core[place];
            let elos = resampled.iter().filter_map(|resample| {
                let skills = resample.get(number)?;
                Some(group.elo(skills, *skills.get(place)?))
            });
            of_group.push(Rating {
                model: votes.models()[model].clone(),
                skill,
                elo: group.elo(skills, skill),
                interval: if is_core { interval(elos.collect()) } else { None },
                battles: records[model].iter().copied().fold(0, u64::saturating_add),
                group: number,
                standing: standing(is_core, records[model]),
            });
        }
        of_group
            .sort_by(|one, other| other.elo.total_cmp(&one.elo).then_with(|| one.model.cmp(&other.model)));
        ratings.append(&mut of_group);
    }
    let group = |group: &Linked| Group {
        models: group.models.len(),
        anchor: group.anchor.as_ref().map(|(_, anchor)| anchor.clone()),
    };
    Leaderboard { ratings, groups: groups.iter().map(group).collect() }
}

fn add(record: &mut [u64; 3], counts: [u64; 3]) {
    for (sum, count) in record.iter_mut().zip(counts) {
        *sum = sum.saturating_add(count);
    }
}

fn standing(is_core: bool, record: [u64; 3]) -> Standing {
    match record {
        _ if is_core => Standing::Fitted,
        [_, 0, 0] => Standing::Unbeaten,
        [0, _, 0] => Standing::Winless,
        _ => Standing::OneSided,
    }
}

/// The bounds of the middle 95 % of the values, linearly between neighbours.
fn interval(mut values: Vec<f64>) -> Option<[f64; 2]> {
    values.sort_unstable_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let quantile = |share: f64| {
        let position = share * last as f64;
        let below = position.floor();
        let (low, high) = (values[below as usize], values[(below as usize + 1).min(last)]);
        low + (position - below) * (high - low)
    };
    Some(INTERVAL.map(quantile))
}
