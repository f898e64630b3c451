//! The battles on the known prompts most like a query: what there is to show for a decision.

use super::evidence::{ABSENT, Evidence, Panel, SHARE_PARTS};
use crate::index::Probe;
use crate::router::KnownBattle;

/// Up to `count` battles between models of these rows, those on the most similar prompts first; `rows` has the row of each candidate
/// that has one.
pub(super) fn battles(
    evidence: &Evidence,
    embedding: &[f32],
    rows: &[Option<usize>],
    count: usize,
) -> Vec<KnownBattle> {
    let mut cosines = vec![0.0; evidence.index.len()];
    evidence.index.cosines(0..evidence.index.len(), &Probe::new(embedding), &mut cosines);
    let mut order: Vec<usize> = (0..cosines.len()).collect();
    order.sort_unstable_by(|&a, &b| cosines[b].total_cmp(&cosines[a]).then(a.cmp(&b)));
    let among = Among { evidence, rows };
    let known = order.into_iter().flat_map(|prompt| {
        let similarity = cosines[prompt];
        let at = move |(candidates, share): ([usize; 2], f64)| {
            let [a, b] = candidates.map(|place| rows[place].unwrap_or_default());
            KnownBattle { id: format!("{prompt}-{a}-{b}"), similarity, candidates, share }
        };
        among.at(prompt).into_iter().map(at)
    });
    known.take(count).collect()
}

/// What is known of some models.
struct Among<'a> {
    evidence: &'a Evidence,
    rows: &'a [Option<usize>],
}

impl Among<'_> {
    /// The candidate of an artefact's model.
    fn candidate(&self, model: u32) -> Option<usize> {
        self.rows.iter().position(|row| *row == usize::try_from(model).ok())
    }

    /// The battles on a known prompt, each with the first candidate's share.
    fn at(&self, prompt: usize) -> Vec<([usize; 2], f64)> {
        let Ok(prompt) = u32::try_from(prompt) else { return Vec::new() };
        let mut found = Vec::new();
        let battles = &self.evidence.battles;
        let first = battles.partition_point(|battle| battle.prompt < prompt);
        for battle in battles[first..].iter().take_while(|battle| battle.prompt == prompt) {
            let Some(pair) = self.evidence.pairs.get(battle.pair as usize) else { continue };
            if let (Some(a), Some(b)) = (self.candidate(pair.model_a), self.candidate(pair.model_b)) {
                found.push(([a, b], f64::from(battle.share) / f64::from(SHARE_PARTS)));
            }
        }
        for panel in &self.evidence.panels {
            self.of_panel(panel, prompt, &mut found);
        }
        found
    }

    /// The pairs of those who answered a prompt of a panel.
    fn of_panel(&self, panel: &Panel, prompt: u32, found: &mut Vec<([usize; 2], f64)>) {
        let Ok(place) = panel.prompts.binary_search(&prompt) else { return };
        let width = panel.models.len();
        let ranks = panel.ranks.get(place * width..(place + 1) * width).unwrap_or_default();
        let answered: Vec<(usize, u8)> = panel
            .models
            .iter()
            .zip(ranks)
            .filter(|(_, rank)| **rank != ABSENT)
            .filter_map(|(model, rank)| Some((self.candidate(*model)?, *rank)))
            .collect();
        for (place, &(a, rank_a)) in answered.iter().enumerate() {
            for &(b, rank_b) in &answered[place + 1..] {
                let share = match rank_a.cmp(&rank_b) {
                    std::cmp::Ordering::Greater => 1.0,
                    std::cmp::Ordering::Equal => 0.5,
                    std::cmp::Ordering::Less => 0.0,
                };
                found.push(([a, b], share));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        index::Index,
        local::{LocalBattle, Pair},
    };

    /// Three prompts along the axes; models 0, 1 and 2.
    fn evidence() -> Evidence {
        let mut index = Index::empty(3);
        for axis in 0..3 {
            let mut vector = [0.0; 3];
            vector[axis] = 1.0;
            index.push(&vector);
        }
        let pair = |model_a, model_b| Pair { model_a, model_b, scale: 1.0, weight: 1.0 };
        Evidence {
            index,
            panels: vec![Panel {
                scale: 1.0,
                weight: 1.0,
                models: vec![0, 1, 2],
                prompts: vec![1],
                ranks: vec![2, ABSENT, 1],
            }],
            pairs: vec![pair(1, 2), pair(0, 1)],
            battles: vec![
                LocalBattle { prompt: 0, pair: 1, share: SHARE_PARTS / 2 },
                LocalBattle { prompt: 2, pair: 0, share: 0 },
            ],
            clusters: Vec::new(),
        }
    }

    #[test]
    fn the_most_similar_prompts_battles_come_first_and_only_those_of_candidates() {
        let evidence = evidence();
        // Candidates: model 2, one without a row, model 0, model 1.
        let rows = [Some(2), None, Some(0), Some(1)];
        let found = battles(&evidence, &[0.1, 0.5, 0.9], &rows, 9);
        let told: Vec<_> = found.iter().map(|one| (one.id.as_str(), one.candidates, one.share)).collect();
        assert_eq!(
            told,
            [("2-1-2", [3, 0], 0.0), ("1-0-2", [2, 0], 1.0), ("0-0-1", [2, 3], 0.5)],
            "by cosine, and whoever did not answer is in no battle"
        );
        assert!(found.is_sorted_by(|a, b| a.similarity >= b.similarity));
        assert_eq!(battles(&evidence, &[0.1, 0.5, 0.9], &rows, 1).len(), 1);
        assert_eq!(battles(&evidence, &[0.1, 0.5, 0.9], &[Some(2), None], 9), []);
        assert_eq!(battles(&Evidence::default(), &[], &rows, 9), []);
    }
}
