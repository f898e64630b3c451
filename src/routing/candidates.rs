//! The pool's models as routing sees them, and which of them can serve a request at all.

use std::{fmt, sync::Arc};

use crate::{
    config::{FeatureSet, ModelConfig, Price},
    openai::request::Requirements,
};

/// One model of a pool.
#[derive(Debug, Clone)]
pub struct PoolModel {
    /// Its name in the pool.
    pub name: Arc<str>,
    /// The row of the artefact that describes it.
    pub rated_as: String,
    /// Its rating, where no row does.
    pub elo: Option<f64>,
    /// What its tokens cost.
    pub price: Option<Price>,
    /// The longest answer that it writes, in tokens.
    pub max_output_tokens: Option<u32>,
    context_tokens: Option<u32>,
    features: Option<FeatureSet>,
}

/// Why a model is no candidate for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exclusion {
    /// The prompt and the answer asked for do not fit its context.
    Context {
        /// What is needed, estimated.
        needed: u64,
        /// What there is.
        available: u32,
    },
    /// It has no tools.
    Tools,
    /// It reads no images.
    Vision,
    /// It holds to no JSON schema.
    JsonSchema,
    /// It neither hears nor speaks.
    Audio,
    /// No row of the artefact describes it, and it has no rating.
    Unrated,
    /// Nobody knows what it costs, and there is a budget.
    Unpriced,
}

impl fmt::Display for Exclusion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Context { needed, available } => {
                write!(formatter, "needs about {needed} tokens of context, has {available}")
            }
            Self::Tools => formatter.write_str("does not support tools"),
            Self::Vision => formatter.write_str("does not read images"),
            Self::JsonSchema => formatter.write_str("does not support JSON schemas"),
            Self::Audio => formatter.write_str("does not support audio"),
            Self::Unrated => formatter.write_str("is not rated: give rated_as or elo"),
            Self::Unpriced => formatter.write_str("has no price, which a budget needs"),
        }
    }
}

impl PoolModel {
    /// The model `name` of the configuration.
    #[must_use]
    pub fn new(name: &str, config: &ModelConfig) -> Self {
        Self {
            name: name.into(),
            rated_as: config.rated_as.clone().unwrap_or_else(|| name.to_owned()),
            elo: config.elo,
            price: config.price,
            max_output_tokens: config.max_output_tokens,
            context_tokens: config.context_tokens,
            features: config.features,
        }
    }

    /// How many tokens prompt and answer may have together, as far as the configuration says.
    #[must_use]
    pub fn context_tokens(&self) -> Option<u32> {
        self.context_tokens
    }

    /// Why this model cannot serve a request; `None` when it can.
    #[must_use]
    pub fn exclusion(&self, needs: &Requirements) -> Option<Exclusion> {
        if let Some(available) = self.context_tokens
            && u64::from(available) < needs.context_tokens
        {
            return Some(Exclusion::Context { needed: needs.context_tokens, available });
        }
        if needs.price && self.price.is_none() {
            return Some(Exclusion::Unpriced);
        }
        // Where the configuration does not list abilities, all are assumed.
        let has = self.features?;
        [
            (needs.tools && !has.tools, Exclusion::Tools),
            (needs.vision && !has.vision, Exclusion::Vision),
            (needs.json_schema && !has.json_schema, Exclusion::JsonSchema),
            (needs.audio && !has.audio, Exclusion::Audio),
        ]
        .into_iter()
        .find_map(|(lacks, exclusion)| lacks.then_some(exclusion))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> PoolModel {
        let mut config = ModelConfig::new("m", "http://upstream/v1".parse().unwrap());
        config.context_tokens = Some(1000);
        config.features = Some(FeatureSet { tools: true, ..FeatureSet::default() });
        PoolModel::new("m", &config)
    }

    #[test]
    fn a_model_serves_what_it_can() {
        let needs = Requirements { tools: true, context_tokens: 1000, ..Requirements::default() };
        assert_eq!(model().exclusion(&needs), None);
        let long = Requirements { context_tokens: 1001, ..needs };
        assert_eq!(model().exclusion(&long), Some(Exclusion::Context { needed: 1001, available: 1000 }));
        assert_eq!(model().exclusion(&Requirements { vision: true, ..needs }), Some(Exclusion::Vision));
        assert_eq!(
            model().exclusion(&Requirements { json_schema: true, ..needs }),
            Some(Exclusion::JsonSchema)
        );
        assert_eq!(model().exclusion(&Requirements { audio: true, ..needs }), Some(Exclusion::Audio));
    }

    #[test]
    fn what_is_not_declared_is_assumed() {
        let config = ModelConfig::new("m", "http://upstream/v1".parse().unwrap());
        let everything = Requirements {
            tools: true,
            vision: true,
            json_schema: true,
            audio: true,
            context_tokens: u64::MAX,
            prompt_tokens: 1,
            price: false,
        };
        assert_eq!(PoolModel::new("m", &config).exclusion(&everything), None);
    }
}
