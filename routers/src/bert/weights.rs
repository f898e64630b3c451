//! What the training of last layers learns, and what must hold of it.

use faer::Mat;

use crate::artifact::ArtifactProblem;
use crate::artifact::check::{magnitudes, refuse};
use crate::reading::ReadingWeights;

/// The weights of a `bert` router; temperature and label scales are folded in.
#[derive(Debug, Clone, PartialEq)]
pub struct BertWeights {
    /// How prompts are read.
    pub reading: ReadingWeights,
    /// The heads, ascending by domain; every domain has at least one. Of a domain's heads that know a model, the first
    /// tells how it moves.
    pub heads: Vec<Head>,
    /// How much the prompts of a domain (row) seem to belong to each domain, on average: from there models are borrowed
    /// that its own heads do not know.
    pub nearness: Mat<f32>,
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
        let (found, domains) = ((self.nearness.nrows(), self.nearness.ncols()), self.reading.domains());
        if found != (domains, domains) {
            return Err(refuse(
                "nearness",
                format!("has shape {found:?}, expected {:?}", (domains, domains)),
            ));
        }
        let nearness = || self.nearness.col_iter().flat_map(|column| column.iter().copied());
        if nearness().any(|value| value < 0.0) {
            return Err(refuse("nearness", "holds a value below 0".to_owned()));
        }
        magnitudes("nearness", nearness().map(f64::from))?;
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
