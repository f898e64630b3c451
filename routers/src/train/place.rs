//! Places one more model in a trained artefact, from prompts that it and known models were scored on. Nothing that
//! the artefact knows of the others changes.
//!
//! The new model's skill is taken to be θ(x) = p + level(x) + p · slope(x) + Σ_m β_m δ_m(x), δ_m(x) = θ_m(x) − θ⁰_m the
//! shifts of the known models, level and slope their regression on the ratings: what the rating p alone says of a
//! model, and how this one differs. p and β maximise the Bradley–Terry likelihood of its battles less ½ ridge ‖β‖² (a
//! concave problem, solved by Newton's method); the ridge is chosen by cross-validation over prompts.

mod fit;
mod line;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use faer::Mat;

use crate::artifact::{Artifact, ArtifactProblem, Source};
use crate::bradley_terry::{FitError, PairSum, fit_scale};
use crate::data::{Battle, Dataset};
use crate::identity;
use crate::rating_line::RatingLine;
use crate::router::{Candidate, QueryBatch, RouterError, SkillMatrix, Standing};
use crate::split::{PromptHash, Split};

use super::routing_text;
use fit::{Meeting, Problem};

/// Ridges tried; the last holds a model to what its rating says.
const RIDGES: [f64; 6] = [0.3, 1.0, 3.0, 10.0, 100.0, 1e6];

/// Prompts with scores of the new model and of known ones, at least: on fewer nothing could be held out. Some hundreds
/// place it well.
pub const PLACE_PROMPTS_MIN: usize = 20;
/// Models that an error names, at most.
const NAMED_MAX: usize = 12;

/// A model placed, and how well that went.
#[derive(Debug, Clone)]
pub struct Placed {
    /// The artefact with the model.
    pub artifact: Artifact,
    /// The model's Elo rating.
    pub elo: f64,
    /// Prompts that it was placed by.
    pub prompts: usize,
    /// Battles with known models on them.
    pub battles: usize,
    /// The ridge chosen.
    pub ridge: f64,
    /// Cross-validated log-loss of the battles.
    pub loss: f64,
    /// The same, were the model placed by its rating alone.
    pub loss_by_rating: f64,
}

/// Why a model could not be placed.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// It has a row.
    #[error("the artefact knows `{0}` already")]
    Known(String),
    /// The data holds nothing of it.
    #[error("no prompt has a score of `{name}`; {}", listed(models))]
    Unknown {
        /// The model.
        name: String,
        /// The models that there are scores of.
        models: Vec<String>,
    },
    /// Too little to compare it with.
    #[error(
        "{prompts} prompts have a score of `{name}` and of a model that the artefact knows, at least {PLACE_PROMPTS_MIN} are needed: \
         give more outcomes or battles with both, some hundreds of prompts, or place it by its rating with `elo:`"
    )]
    TooFew {
        /// The model.
        name: String,
        /// The prompts.
        prompts: usize,
    },
    /// The embeddings are not the prompts'.
    #[error("{prompts} prompts, but {rows} embeddings")]
    Embeddings {
        /// Prompts of the data.
        prompts: usize,
        /// Rows of the embeddings.
        rows: usize,
    },
    /// The router could not score the prompts.
    #[error(transparent)]
    Router(#[from] RouterError),
    /// There is no solution.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// The result makes no artefact.
    #[error(transparent)]
    Artifact(#[from] ArtifactProblem),
}

fn listed(models: &[String]) -> String {
    let named: Vec<&str> = models.iter().take(NAMED_MAX).map(String::as_str).collect();
    match (named.is_empty(), models.len() - named.len()) {
        (true, _) => "there are no scores at all".to_owned(),
        (false, 0) => format!("there are scores of {}", named.join(", ")),
        (false, rest) => format!("there are scores of {} and {rest} more", named.join(", ")),
    }
}

/// Places the model `name` (any spelling) in `artifact` by `data`, `embeddings` holding a row per prompt. `sources` go
/// into the manifest.
///
/// # Errors
/// See [`PlaceError`].
pub fn place_model(
    artifact: Artifact,
    name: &str,
    data: &Dataset,
    embeddings: &Mat<f32>,
    sources: Vec<Source>,
) -> Result<Placed, PlaceError> {
    let name = identity::canonical(name);
    let router = artifact.router();
    if matches!(router.place(name, None), Some(Candidate { standing: Standing::Row(_), .. })) {
        return Err(PlaceError::Known(name.to_owned()));
    }
    if embeddings.nrows() != data.prompts.len() {
        return Err(PlaceError::Embeddings { prompts: data.prompts.len(), rows: embeddings.nrows() });
    }
    let unknown = || PlaceError::Unknown { name: name.to_owned(), models: data.models.clone() };
    let newcomer = data.model(name).ok_or_else(unknown)?;
    let ratings = artifact.ratings();
    let known: Vec<Option<usize>> =
        data.models.iter().map(|model| ratings.models.binary_search(model).ok()).collect();
    let line = RatingLine::of(&ratings.prior);
    let (problem, prompts) = gather(&artifact, data, embeddings, newcomer, &known, &line)?;
    if prompts.len() < PLACE_PROMPTS_MIN {
        return Err(PlaceError::TooFew { name: name.to_owned(), prompts: prompts.len() });
    }
    let mut losses = Vec::with_capacity(RIDGES.len());
    for ridge in RIDGES {
        losses.push((ridge, problem.cross_validated(ridge)?));
    }
    let by_rating = losses.last().map_or(0.0, |(_, loss)| *loss);
    let best = losses.iter().copied().min_by(|one, other| one.1.total_cmp(&other.1));
    let (ridge, loss) = best.unwrap_or_default();
    let added = line::added(&line, name, &problem.solve(ridge, |_| true)?);
    let anchor = &artifact.provenance().anchor;
    let anchor_skill = router.place(&anchor.model, None).map_or(0.0, |anchor| router.prior(&anchor));
    Ok(Placed {
        elo: anchor.elo + 400.0 / std::f64::consts::LN_10 * (added.prior - anchor_skill),
        prompts: prompts.len(),
        battles: problem.meetings.len(),
        ridge,
        loss,
        loss_by_rating: by_rating,
        artifact: artifact.adding(added, prompts, sources)?,
    })
}

/// The newcomer's meetings with known models, and the hashes of the prompts they are on.
fn gather(
    artifact: &Artifact,
    data: &Dataset,
    embeddings: &Mat<f32>,
    newcomer: usize,
    known: &[Option<usize>],
    line: &RatingLine,
) -> Result<(Problem, Vec<PromptHash>), PlaceError> {
    let all = data.battles(|_| true);
    let opponent = |battle: &Battle| {
        let (a, b) = (usize::from(battle.model_a), usize::from(battle.model_b));
        match (a == newcomer, b == newcomer) {
            (true, false) => Some((known.get(b).copied().flatten()?, f64::from(battle.share))),
            (false, true) => Some((known.get(a).copied().flatten()?, 1.0 - f64::from(battle.share))),
            _ => None,
        }
    };
    let mut rows: BTreeMap<u32, usize> = BTreeMap::new();
    for battle in all.iter().filter(|battle| opponent(battle).is_some()) {
        let next = rows.len();
        rows.entry(battle.prompt).or_insert(next);
    }
    let prompts: Vec<u32> = rows.keys().copied().collect();
    let skills = score(artifact, data, embeddings, &prompts)?;
    let scales = scales(artifact, data, &all, known);
    let meeting = |battle: &Battle| {
        let (row, won) = opponent(battle)?;
        let prompt = *rows.get(&battle.prompt)?;
        Some(Meeting {
            prompt,
            opponent: skills[(prompt, row)],
            scale: scales.get(usize::from(battle.source)).copied().unwrap_or(1.0),
            won,
            weight: f64::from(battle.weight),
        })
    };
    let meetings: Vec<Meeting> = all.iter().filter_map(meeting).collect();
    let hashes: Vec<PromptHash> =
        prompts.iter().filter_map(|&prompt| Some(data.prompts.get(prompt as usize)?.hash())).collect();
    let split = Split::new(artifact.provenance().seed);
    let folds = hashes.iter().map(|hash| split.fold(*hash, fit::FOLDS)).collect();
    Ok((line::problem(line, &skills, &artifact.ratings().prior, meetings, folds), hashes))
}

/// θ of all the artefact's own models on some prompts: a row per prompt.
fn score(
    artifact: &Artifact,
    data: &Dataset,
    embeddings: &Mat<f32>,
    prompts: &[u32],
) -> Result<SkillMatrix, RouterError> {
    let names = artifact.ratings().models.iter().enumerate();
    let candidates: Vec<Candidate> =
        names.map(|(row, name)| Candidate { name: name.clone(), standing: Standing::Row(row) }).collect();
    let texts: Vec<String> =
        prompts.iter().filter_map(|&prompt| data.prompts.get(prompt as usize).map(routing_text)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let rows = Mat::from_fn(texts.len(), embeddings.ncols(), |row, column| {
        embeddings[(prompts[row] as usize, column)]
    });
    artifact
        .router()
        .skills(&QueryBatch { texts: &texts, embeddings: Some(rows), ..QueryBatch::default() }, &candidates)
}

/// The label scale of each source: the artefact's own, if it was trained on that source; else what fits the battles
/// between known models best; 1 without any.
fn scales(artifact: &Artifact, data: &Dataset, battles: &[Battle], known: &[Option<usize>]) -> Vec<f64> {
    let trained = artifact.provenance().metrics.get("label_scales");
    let mut pairs: Vec<Vec<PairSum>> = vec![Vec::new(); data.sources.len()];
    for battle in battles {
        let row = |model: u16| known.get(usize::from(model)).copied().flatten();
        let (Some(model_a), Some(model_b)) = (row(battle.model_a), row(battle.model_b)) else { continue };
        let (weight, share) = (f64::from(battle.weight), f64::from(battle.share));
        if let Some(pairs) = pairs.get_mut(usize::from(battle.source)) {
            let (won_a, won_b) = (weight * share, weight * (1.0 - share));
            pairs.push(PairSum { model_a, model_b, won_a, won_b, scale: 1.0 });
        }
    }
    let scale = |(source, pairs): (&String, &Vec<PairSum>)| {
        let trained = trained.and_then(|scales| scales.get(source)?.as_f64());
        let fitted = || (!pairs.is_empty()).then(|| fit_scale(pairs, &artifact.ratings().prior));
        trained.or_else(fitted).unwrap_or(1.0)
    };
    data.sources.iter().zip(&pairs).map(scale).collect()
}
