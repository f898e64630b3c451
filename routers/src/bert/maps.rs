//! From the heads of each domain to one linear map of all models: also of those that none of its heads knows.
//!
//! With ℓ_d(θ⁰) the line of domain d's columns over ratings, a model m that d does not know moves as
//!
//! ℓ_d(θ⁰_m) + Σ_e a_de (u_em − ℓ_e(θ⁰_m)) / Σ_e a_de, e over the domains that know it,
//!
//! a_de being how near e is to d: what sets a model apart from others of its rating it takes along to prompts that are
//! hard to tell from those where it was seen.

use faer::reborrow::ReborrowMut;
use faer::{ColMut, ColRef, Mat};

use super::{BertWeights, Head};

/// How strongly the slope of shifts over ratings is held to 0 for models that a head does not know, in squared logits of
/// spread among those that it does: two models of nearly equal rating say little about a third.
const SLOPE_RIDGE: f64 = 1.0;

/// What is known of the prompts of one domain.
struct Domain<'a> {
    heads: Vec<&'a Head>,
    /// ℓ at each model's rating: inputs × models, the mean over the heads.
    lines: Mat<f64>,
}

impl BertWeights {
    /// The shift of every model as a linear map of the inputs, for each domain: inputs × models. Over the models, each
    /// row has mean zero: the gauge.
    pub(crate) fn by_domain(&self, prior: &[f64]) -> Vec<Mat<f32>> {
        let count = self.reading.domains();
        let domains: Vec<Domain<'_>> = (0..count).map(|domain| Domain::new(self, domain, prior)).collect();
        (0..count).map(|domain| self.of_domain(domain, &domains)).collect()
    }

    fn of_domain(&self, number: usize, domains: &[Domain<'_>]) -> Mat<f32> {
        let Some(domain) = domains.get(number) else { return Mat::zeros(self.reading.inputs(), 0) };
        let mut map = domain.lines.clone();
        for (model, shift) in map.col_iter_mut().enumerate() {
            match domain.column(model) {
                Some(own) => shift.iter_mut().zip(own.iter()).for_each(|(at, own)| *at = f64::from(*own)),
                None => self.borrow(number, domains, model, shift),
            }
        }
        let mean = |input: usize| map.row(input).iter().sum::<f64>() / map.ncols().max(1) as f64;
        let means: Vec<f64> = (0..map.nrows()).map(mean).collect();
        Mat::from_fn(map.nrows(), map.ncols(), |input, model| (map[(input, model)] - means[input]) as f32)
    }

    /// Adds to `shift` what sets a model apart in the domains that know it, nearer ones counting more.
    fn borrow(&self, number: usize, domains: &[Domain<'_>], model: usize, mut shift: ColMut<'_, f64>) {
        let near = |other: usize| f64::from(self.nearness[(number, other)]);
        let knowing = |(other, of): (usize, &'_ Domain<'_>)| of.column(model).map(|_| near(other));
        let all: f64 = domains.iter().enumerate().filter_map(knowing).sum();
        for (other, lender) in domains.iter().enumerate().filter(|_| all > 0.0) {
            let Some(column) = lender.column(model) else { continue };
            let pairs = column.iter().zip(lender.lines.col(model).iter());
            for (at, (seen, line)) in shift.rb_mut().iter_mut().zip(pairs) {
                *at += near(other) / all * (f64::from(*seen) - line);
            }
        }
    }
}

impl<'a> Domain<'a> {
    fn new(weights: &'a BertWeights, number: usize, prior: &[f64]) -> Self {
        let heads: Vec<&Head> = weights.heads.iter().filter(|head| head.domain as usize == number).collect();
        let mut lines = Mat::zeros(weights.reading.inputs(), prior.len());
        heads.iter().for_each(|head| head.add_line(prior, 1.0 / heads.len() as f64, &mut lines));
        Self { heads, lines }
    }

    /// How a model moves, by the first head that knows it.
    fn column(&self, model: usize) -> Option<ColRef<'a, f32>> {
        self.heads.iter().find_map(|head| {
            let column = head.models.binary_search(&(model as u32)).ok()?;
            Some(head.columns.col(column))
        })
    }
}

impl Head {
    /// Adds a share of what models of ratings `prior` take of each input, by the ridge regression of the columns on the
    /// ratings of its own models.
    fn add_line(&self, prior: &[f64], share: f64, into: &mut Mat<f64>) {
        let ratings =
            || self.models.iter().map(|&model| prior.get(model as usize).copied().unwrap_or_default());
        let count = self.models.len().max(1) as f64;
        let mean = ratings().sum::<f64>() / count;
        let spread: f64 = ratings().map(|rating| (rating - mean).powi(2)).sum();
        for (input, columns) in self.columns.row_iter().enumerate() {
            let columns = || columns.iter().map(|&value| f64::from(value));
            let level = columns().sum::<f64>() / count;
            let joint: f64 = ratings().zip(columns()).map(|(rating, value)| (rating - mean) * value).sum();
            let slope = joint / (spread + SLOPE_RIDGE);
            for (model, rating) in prior.iter().enumerate() {
                into[(input, model)] += share * (level + (rating - mean) * slope);
            }
        }
    }
}
