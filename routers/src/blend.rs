//! The `blend` router: several routers of the same models, heard together,
//!
//! θ_m(x) = θ⁰_m + Σ_r w_r (θ_{r,m}(x) − θ⁰_m).
//!
//! Each router's shifts are in gauge, and so is their sum. The weights are fitted to held-out battles, so that a router
//! that knows little, or says what another says, counts little. Must not know how routers or weights are trained.

use crate::artifact::check::refuse;
use crate::artifact::{Artifact, ArtifactProblem, Ratings};
use crate::learned::{Learned, Query, Shifts};
use crate::rating_line::RatingLine;
use crate::router::CostClass;

/// The `blend` router of an artefact.
pub type Blend = Learned<Blended>;

/// The largest weight.
const WEIGHT_MAX: f64 = 100.0;

/// What a `blend` is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct BlendWeights {
    /// Ascending by kind, one of each at most.
    pub parts: Vec<BlendPart>,
}

/// A router within a blend.
#[derive(Debug, Clone, PartialEq)]
pub struct BlendPart {
    /// w, at least 0.
    pub weight: f64,
    /// The router, complete: it can be used by itself.
    pub artifact: Artifact,
}

impl BlendWeights {
    /// Whether the parts fit together: the same models at the same ratings, reading the same embeddings.
    pub(crate) fn check(&self, ratings: &Ratings, embedder: &str) -> Result<(), ArtifactProblem> {
        let wrong = |reason: &str| Err(refuse("blend_weights", reason.to_owned()));
        if self.parts.is_empty() {
            return wrong("blends no routers");
        }
        if !self.parts.is_sorted_by(|one, other| one.artifact.kind() < other.artifact.kind()) {
            return wrong("blends routers of one kind");
        }
        for BlendPart { weight, artifact } in &self.parts {
            if !(0.0..=WEIGHT_MAX).contains(weight) {
                return Err(refuse("blend_weights", format!("holds {weight}, expected 0 to {WEIGHT_MAX}")));
            }
            if artifact.ratings() != ratings || !artifact.added().is_empty() {
                return wrong("blends routers of other models");
            }
            if artifact.embedder_fingerprint() != embedder {
                return wrong("blends routers that read another embedder");
            }
        }
        Ok(())
    }

    /// The router of a kind among the parts.
    pub(crate) fn part(&self, kind: &str) -> Option<&Artifact> {
        self.parts.iter().map(|part| &part.artifact).find(|artifact| artifact.kind() == kind)
    }

    /// Dimensions of an embedding.
    pub(crate) fn dim(&self) -> usize {
        self.parts.first().map_or(0, |part| part.artifact.body().dim())
    }
}

/// The routers of an artefact; a prompt's state is every model's shift, and the line through them over the ratings.
pub struct Blended {
    parts: Vec<(f64, Box<dyn Shifts>)>,
    dim: usize,
    by_rating: RatingLine,
}

impl Blended {
    /// The kind of its artefacts.
    pub(crate) const KIND: &'static str = "blend";

    /// `prior` is θ⁰ of each model.
    pub(crate) fn new(weights: &BlendWeights, prior: &[f64]) -> Self {
        let part = |part: &BlendPart| Some((part.weight, part.artifact.body().shifts(prior).ok()?));
        // What counts nothing need not be asked.
        let heard = weights.parts.iter().filter(|part| part.weight > 0.0);
        Self { parts: heard.filter_map(part).collect(), dim: weights.dim(), by_rating: RatingLine::of(prior) }
    }
}

impl Shifts for Blended {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn cost(&self) -> CostClass {
        self.parts.iter().map(|(_, part)| part.cost()).max().unwrap_or(CostClass::Microseconds)
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn width(&self) -> usize {
        self.by_rating.width()
    }

    fn see(&self, query: Query<'_>, state: &mut [f32]) {
        let mut shifts = vec![0.0; self.by_rating.level.len()];
        for (weight, part) in &self.parts {
            let mut own = vec![0.0; part.width()];
            part.see(query, &mut own);
            for (row, shift) in shifts.iter_mut().enumerate() {
                *shift += weight * part.of_row(row, &own).unwrap_or_default();
            }
        }
        self.by_rating.set(&shifts, state);
    }

    #[inline(always)]
    fn of_row(&self, row: usize, state: &[f32]) -> Option<f64> {
        self.by_rating.of_row(row, state)
    }

    #[inline(always)]
    fn of_rating(&self, prior: f64, state: &[f32]) -> f64 {
        RatingLine::of_rating(prior, state)
    }
}
