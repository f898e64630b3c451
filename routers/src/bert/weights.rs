//! What the training of last layers learns, and what must hold of it.

use faer::Mat;

use crate::artifact::ArtifactProblem;
use crate::artifact::check::{magnitudes, refuse};
use crate::reading::ReadingWeights;

/// How strongly the slope of shifts over ratings is held to 0 for models that a head does not know, in squared logits of
/// spread among those that it does: two models of nearly equal rating say little about a third.
const SLOPE_RIDGE: f64 = 1.0;

/// The weights of a `bert` router; temperature and label scales are folded in.
#[derive(Debug, Clone, PartialEq)]
pub struct BertWeights {
    /// How prompts are read.
    pub reading: ReadingWeights,
    /// The heads, ascending by domain; every domain has at least one. Of a domain's heads that know a model, the first
    /// tells how it moves.
    pub heads: Vec<Head>,
}

/// The last layer for the prompts of one domain, learned from the labels of one source.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// The domain's number.
    pub domain: u32,
    /// The models that it has a column for: their numbers, ascending.
    pub models: Vec<u32>,
    /// Inputs × its models.
    pub columns: Mat<f32>,
}

impl BertWeights {
    /// The shift of every model as a linear map of the inputs, for each domain: inputs × models. Over the models, each
    /// row has mean zero: the gauge.
    pub(crate) fn by_domain(&self, prior: &[f64]) -> Vec<Mat<f32>> {
        (0..self.reading.domains()).map(|domain| self.of_domain(domain, prior)).collect()
    }

    fn of_domain(&self, domain: usize, prior: &[f64]) -> Mat<f32> {
        let heads: Vec<&Head> = self.heads.iter().filter(|head| head.domain as usize == domain).collect();
        let (inputs, models) = (self.reading.inputs(), prior.len());
        let mut map = Mat::<f64>::zeros(inputs, models);
        for model in 0..models {
            let place = |head: &&Head| head.models.binary_search(&(model as u32)).ok();
            let own = heads.iter().find_map(|head| Some((*head, place(head)?)));
            for input in 0..inputs {
                map[(input, model)] = match own {
                    Some((head, column)) => f64::from(head.columns[(input, column)]),
                    None => {
                        let all = heads.iter().map(|head| head.at_rating(input, prior[model], prior));
                        all.sum::<f64>() / heads.len().max(1) as f64
                    }
                };
            }
        }
        let mean = |input: usize| map.row(input).iter().sum::<f64>() / models.max(1) as f64;
        let means: Vec<f64> = (0..inputs).map(mean).collect();
        Mat::from_fn(inputs, models, |input, model| (map[(input, model)] - means[input]) as f32)
    }

    /// With all shifts multiplied by a factor.
    #[must_use]
    pub(crate) fn scaled(mut self, factor: f64) -> Self {
        for head in &mut self.heads {
            head.columns *= faer::Scale(factor as f32);
        }
        self
    }

    /// Whether the parts fit together, for so many models.
    pub(crate) fn check(&self, models: usize) -> Result<(), ArtifactProblem> {
        self.reading.check()?;
        let inputs = self.reading.inputs();
        for domain in 0..self.reading.domains() {
            if !self.heads.iter().any(|head| head.domain as usize == domain) {
                return Err(refuse("head_domains", format!("has no head for domain {domain}")));
            }
        }
        for Head { domain, models: of_head, columns } in &self.heads {
            if *domain as usize >= self.reading.domains() {
                return Err(refuse("head_domains", format!("names domain {domain}, there are fewer")));
            }
            if of_head.is_empty() || of_head.windows(2).any(|pair| pair[0] >= pair[1]) {
                return Err(refuse(
                    "column_models",
                    "must ascend within a head, and not be empty".to_owned(),
                ));
            }
            if of_head.iter().any(|&model| model as usize >= models) {
                return Err(refuse("column_models", format!("names a model beyond the {models} there are")));
            }
            if (columns.nrows(), columns.ncols()) != (inputs, of_head.len()) {
                let found = (columns.nrows(), columns.ncols());
                let expected = (inputs, of_head.len());
                return Err(refuse("columns", format!("has shape {found:?}, expected {expected:?}")));
            }
            let values = columns.col_iter().flat_map(|column| column.iter().map(|&value| f64::from(value)));
            magnitudes("columns", values)?;
        }
        Ok(())
    }
}

impl Head {
    /// What a model of rating `at` takes of an input, by the ridge regression of the columns on the ratings.
    fn at_rating(&self, input: usize, at: f64, prior: &[f64]) -> f64 {
        let ratings =
            || self.models.iter().map(|&model| prior.get(model as usize).copied().unwrap_or_default());
        let mean = ratings().sum::<f64>() / self.models.len().max(1) as f64;
        let spread: f64 = ratings().map(|rating| (rating - mean).powi(2)).sum();
        let columns = || self.columns.row(input).iter().map(|&value| f64::from(value));
        let level = columns().sum::<f64>() / self.models.len().max(1) as f64;
        let joint: f64 = ratings().zip(columns()).map(|(rating, value)| (rating - mean) * value).sum();
        level + (at - mean) * joint / (spread + SLOPE_RIDGE)
    }
}
