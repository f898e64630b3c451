//! The `kmeans` router: a Bradley–Terry fit for each cluster of known prompts; a prompt's skills are those of the cluster
//! nearest to it. A baseline: what routing by topic alone reaches.
//!
//! Must not know how clusters and fits are made.

use faer::Mat;

use crate::artifact::ArtifactProblem;
use crate::artifact::check::{centred, magnitudes, refuse};
use crate::learned::{Learned, Query, Shifts};
use crate::rating_line::RatingLine;
use crate::router::CostClass;
use crate::topics::nearest;

/// The `kmeans` router of an artefact.
pub type Kmeans = Learned<Regions>;

/// Clusters, and what is known of the models in each.
#[derive(Debug, Clone, PartialEq)]
pub struct RegionWeights {
    /// dim × clusters: the centres, of unit length.
    pub centres: Mat<f32>,
    /// models × clusters: θ − θ⁰; every column has mean zero.
    pub shifts: Mat<f32>,
}

impl RegionWeights {
    /// Whether the parts fit together and the gauge holds, for so many models.
    pub(crate) fn check(&self, models: usize) -> Result<(), ArtifactProblem> {
        let shape = (self.shifts.nrows(), self.shifts.ncols());
        if self.centres.nrows() == 0 || self.centres.ncols() == 0 || shape != (models, self.centres.ncols()) {
            return Err(refuse("region_shifts", format!("has shape {shape:?} for {models} models")));
        }
        magnitudes("region_centres", self.centres.col_iter().flat_map(|c| c.iter().map(|&v| f64::from(v))))?;
        self.shifts.col_iter().try_for_each(|column| {
            let column: Vec<f64> = column.iter().map(|&shift| f64::from(shift)).collect();
            centred("region_shifts", &column)
        })
    }
}

/// The fits of an artefact; a prompt's state is every model's shift in its cluster, and the line through them.
#[derive(Debug)]
pub struct Regions {
    centres: Mat<f32>,
    /// The state of each cluster.
    states: Vec<Vec<f32>>,
    by_rating: RatingLine,
}

impl Regions {
    /// The kind of its artefacts.
    pub(crate) const KIND: &'static str = "kmeans";

    /// `prior` is θ⁰ of each model.
    pub(crate) fn new(weights: &RegionWeights, prior: &[f64]) -> Self {
        let by_rating = RatingLine::of(prior);
        let state = |column: faer::ColRef<'_, f32>| {
            let shifts: Vec<f64> = column.iter().map(|&shift| f64::from(shift)).collect();
            let mut state = vec![0.0; by_rating.width()];
            by_rating.set(&shifts, &mut state);
            state
        };
        let states = weights.shifts.col_iter().map(state).collect();
        Self { centres: weights.centres.clone(), states, by_rating }
    }
}

impl Shifts for Regions {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn cost(&self) -> CostClass {
        CostClass::Microseconds
    }

    fn dim(&self) -> usize {
        self.centres.nrows()
    }

    fn width(&self) -> usize {
        self.by_rating.width()
    }

    fn see(&self, query: Query<'_>, state: &mut [f32]) {
        let cluster = nearest(&self.centres, faer::ColRef::from_slice(query.embedding));
        if let Some(of_cluster) = self.states.get(cluster) {
            state.copy_from_slice(of_cluster);
        }
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
