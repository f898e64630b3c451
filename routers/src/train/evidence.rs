//! From data to what routers that fit at the prompt remember: the training prompts' embeddings and battles.

use std::collections::{BTreeMap, HashMap};

use faer::Mat;

use crate::data::{Dataset, Outcomes, Prompt};
use crate::index::Index;
use crate::local::{ABSENT, Evidence, LocalBattle, Pair, Panel, SHARE_PARTS};

/// Prompts with so many scored models or fewer are told pair by pair.
const PAIRED_MODELS_MAX: usize = 4;

/// A set of models is rare that answered fewer than one in so many of a source's prompts.
const RARE_SET: usize = 50;

/// What the battles of a source count.
#[derive(Debug, Clone, Copy)]
pub(super) struct SourceTerms<'a> {
    /// Logits of each source's labels per unit of skill difference.
    pub(super) scales: &'a [f64],
    /// What each source's battles are weighted by.
    pub(super) weights: &'a [f64],
}

/// The evidence of the prompts that `is_train` names; prompts whose embedding is zero say nothing and are left out.
pub(super) fn gather(
    data: &Dataset,
    embeddings: &Mat<f32>,
    is_train: &dyn Fn(&Prompt) -> bool,
    terms: SourceTerms<'_>,
) -> Evidence {
    let places = Places::of(data, embeddings, is_train);
    let mut gathered = Gathered { data, terms, pairs: BTreeMap::new(), battles: Vec::new() };
    for battle in &data.judged {
        if let Some(place) = places.of_prompt[battle.prompt as usize] {
            let kind = (battle.source, battle.model_a, battle.model_b, battle.weight.to_bits());
            gathered.add(place, kind, battle.share);
        }
    }
    let mut of_source: BTreeMap<u16, Vec<(u32, &Outcomes)>> = BTreeMap::new();
    for outcomes in &data.outcomes {
        let Some(place) = places.of_prompt[outcomes.prompt as usize] else { continue };
        let source = data.prompts[outcomes.prompt as usize].source;
        if outcomes.scores.len() > PAIRED_MODELS_MAX {
            of_source.entry(source).or_default().push((place, outcomes));
        } else {
            gathered.add_outcomes(place, source, outcomes);
        }
    }
    let panels = of_source.into_iter().flat_map(|(source, rows)| panels(source, rows, terms)).collect();
    let (pairs, battles) = gathered.finish();
    Evidence { index: places.index, panels, pairs, battles, clusters: Vec::new() }
}

/// Where each prompt of the data is in the index; prompts of one embedding share a place.
struct Places {
    index: Index,
    of_prompt: Vec<Option<u32>>,
}

impl Places {
    fn of(data: &Dataset, embeddings: &Mat<f32>, is_train: &dyn Fn(&Prompt) -> bool) -> Self {
        let mut has_battles = vec![false; data.prompts.len()];
        data.judged.iter().for_each(|battle| has_battles[battle.prompt as usize] = true);
        let scored = data.outcomes.iter().filter(|outcomes| outcomes.pairs() > 0);
        scored.for_each(|outcomes| has_battles[outcomes.prompt as usize] = true);
        let mut index = Index::empty(embeddings.ncols());
        let mut known: HashMap<Vec<u32>, u32> = HashMap::new();
        let mut of_prompt = Vec::with_capacity(data.prompts.len());
        for ((prompt, has_battles), row) in data.prompts.iter().zip(has_battles).zip(embeddings.row_iter()) {
            let embedding: Vec<f32> = row.iter().copied().collect();
            let is_told = has_battles && is_train(prompt) && embedding.iter().any(|&value| value != 0.0);
            of_prompt.push(is_told.then(|| {
                *known.entry(embedding.iter().map(|value| value.to_bits()).collect()).or_insert_with(|| {
                    index.push(&embedding);
                    index.len() as u32 - 1
                })
            }));
        }
        Self { index, of_prompt }
    }
}

/// Source, models, and the bits of a battle's weight.
type Kind = (u16, u16, u16, u32);

struct Gathered<'a> {
    data: &'a Dataset,
    terms: SourceTerms<'a>,
    pairs: BTreeMap<Kind, u32>,
    /// Prompt, kind and share; the kinds are numbered once all are known.
    battles: Vec<(u32, Kind, u8)>,
}

impl Gathered<'_> {
    fn add(&mut self, place: u32, kind: Kind, share: f32) {
        self.pairs.insert(kind, 0);
        // A share is from 0 to 1, so this is from 0 to the number of parts.
        self.battles.push((place, kind, (share * f32::from(SHARE_PARTS)).round() as u8));
    }

    fn add_outcomes(&mut self, place: u32, source: u16, outcomes: &Outcomes) {
        for battle in outcomes.battles(source) {
            self.add(place, (source, battle.model_a, battle.model_b, battle.weight.to_bits()), battle.share);
        }
    }

    fn finish(mut self) -> (Vec<Pair>, Vec<LocalBattle>) {
        for (number, place) in self.pairs.values_mut().zip(0..) {
            *number = place;
        }
        let pair = |&(source, model_a, model_b, weight): &Kind| {
            let source = usize::from(source);
            debug_assert!(source < self.data.sources.len());
            Pair {
                model_a: u32::from(model_a),
                model_b: u32::from(model_b),
                scale: self.terms.scales[source] as f32,
                weight: self.terms.weights[source] as f32 * f32::from_bits(weight),
            }
        };
        let pairs = self.pairs.keys().map(pair).collect();
        let battle = |(prompt, kind, share): &(u32, Kind, u8)| LocalBattle {
            prompt: *prompt,
            pair: self.pairs[kind],
            share: *share,
        };
        let mut battles: Vec<LocalBattle> = self.battles.iter().map(battle).collect();
        battles.sort_unstable();
        (pairs, battles)
    }
}

/// A panel for each set of models that answered many of a source's prompts: where all answered, sums are quick. The other
/// rows share one.
fn panels(source: u16, rows: Vec<(u32, &Outcomes)>, terms: SourceTerms<'_>) -> Vec<Panel> {
    let count = rows.len();
    let mut groups: BTreeMap<Vec<u32>, Vec<(u32, &Outcomes)>> = BTreeMap::new();
    for row in rows {
        let models = row.1.scores.iter().map(|score| u32::from(score.model)).collect();
        groups.entry(models).or_default().push(row);
    }
    let (mut groups, rare): (BTreeMap<_, _>, BTreeMap<_, _>) =
        groups.into_iter().partition(|(_, rows)| rows.len() * RARE_SET >= count);
    let mut models: Vec<u32> = rare.keys().flatten().copied().collect();
    models.sort_unstable();
    models.dedup();
    let rare: Vec<(u32, &Outcomes)> = rare.into_values().flatten().collect();
    if !rare.is_empty() {
        groups.entry(models).or_default().extend(rare);
    }
    let (scale, weight) =
        (terms.scales[usize::from(source)] as f32, terms.weights[usize::from(source)] as f32);
    groups.into_iter().map(|(models, rows)| panel(models, rows, scale, weight)).collect()
}

fn panel(models: Vec<u32>, mut rows: Vec<(u32, &Outcomes)>, scale: f32, weight: f32) -> Panel {
    rows.sort_by_key(|(place, outcomes)| (*place, outcomes.prompt));
    let mut ranks = vec![ABSENT; rows.len() * models.len()];
    for ((_, outcomes), of_row) in rows.iter().zip(ranks.chunks_exact_mut(models.len())) {
        let mut distinct: Vec<f64> = outcomes.scores.iter().map(|score| score.score).collect();
        distinct.sort_by(f64::total_cmp);
        distinct.dedup();
        for score in &outcomes.scores {
            let rank = distinct.partition_point(|other| *other < score.score);
            if let Ok(column) = models.binary_search(&u32::from(score.model)) {
                // With more scores than ranks, the best share the highest.
                of_row[column] = u8::try_from(rank).unwrap_or(ABSENT).min(ABSENT - 1);
            }
        }
    }
    Panel { scale, weight, models, prompts: rows.iter().map(|(place, _)| *place).collect(), ranks }
}
