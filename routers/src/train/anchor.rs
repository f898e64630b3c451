//! Which model an artefact's Elo scale is tied to.

use crate::artifact::Anchor;
use crate::data::Dataset;

/// The Arena's own where the data knows it. Else the model that fought most battles, of which most is known, of equals
/// the first by name, at the same Elo; `None` of data without models.
pub(super) fn of(data: &Dataset) -> Option<Anchor> {
    let arena = Anchor::arena();
    if data.model(&arena.model).is_some() {
        return Some(arena);
    }
    let fought = battles(data);
    // The last of equals is taken, and names ascend.
    let most = (0..data.models.len()).rev().max_by_key(|&model| fought.get(model))?;
    Some(Anchor { model: data.models.get(most)?.clone(), ..arena })
}

/// How many battles and votes each model took part in.
fn battles(data: &Dataset) -> Vec<u64> {
    let mut fought = vec![0; data.models.len()];
    let mut add = |models: [u16; 2], count: u64| {
        for model in models {
            if let Some(sum) = fought.get_mut(usize::from(model)) {
                *sum = u64::saturating_add(*sum, count);
            }
        }
    };
    for battle in data.battles(|_| true) {
        add([battle.model_a, battle.model_b], 1);
    }
    for votes in &data.votes {
        add([votes.model_a, votes.model_b], votes.counts.iter().copied().fold(0, u64::saturating_add));
    }
    fought
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::PairVotes;

    fn voted(models: &[&str], counts: &[(u16, u16, u64)]) -> Option<Anchor> {
        let models = models.iter().map(|name| (*name).to_owned()).collect();
        let votes = counts.iter().map(|&(model_a, model_b, count)| PairVotes {
            model_a,
            model_b,
            counts: [count, 0, 0, 1],
        });
        of(&Dataset { models, votes: votes.collect(), ..Dataset::default() })
    }

    #[test]
    fn the_arenas_anchor_or_the_model_of_most_battles() {
        let elo = |model: &str| Some(Anchor { model: model.to_owned(), elo: 1114.0 });
        assert_eq!(voted(&["amber", "beryl", "cobalt"], &[(0, 1, 5), (1, 2, 9)]), elo("beryl"));
        assert_eq!(voted(&["amber", "beryl"], &[(0, 1, 5)]), elo("amber"), "of equals the first");
        let arena = "mixtral-8x7b-instruct-v0.1";
        assert_eq!(voted(&["amber", "beryl", arena], &[(0, 1, 5)]), elo(arena));
        assert_eq!(voted(&[], &[]), None);
    }
}
