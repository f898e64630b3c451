//! The accounting of one request: lives as long as the request and its answer, and records exactly one outcome,
//! whichever way both end.

use std::sync::Arc;

use super::{
    metrics::{Metrics, NONE},
    outcome::{Estimated, Outcome},
};
use crate::{
    config::Price,
    openai::{characters, usage::Usage},
};

/// What is recorded of one request. Dropped without [`Account::ended`]: the client left.
#[derive(Debug)]
pub struct Account {
    metrics: Arc<Metrics>,
    tenant: Arc<str>,
    route: Arc<str>,
    model: Option<Billed>,
    usage: Option<Usage>,
    prompt_tokens: u64,
    /// Once an answer has begun.
    written_characters: Option<u64>,
    outcome: Outcome,
}

/// The model that answers, and what it charges.
#[derive(Debug, Clone)]
struct Billed {
    name: Arc<str>,
    price: Option<Price>,
}

impl Account {
    /// Opens the account of a request that has just arrived.
    #[must_use]
    pub fn open(metrics: Arc<Metrics>) -> Self {
        metrics.in_flight.inc();
        Self {
            metrics,
            tenant: NONE.into(),
            route: NONE.into(),
            model: None,
            usage: None,
            prompt_tokens: 0,
            written_characters: None,
            outcome: Outcome::Cancelled,
        }
    }

    /// The tenant is known.
    pub fn set_tenant(&mut self, tenant: &Arc<str>) {
        self.tenant = Arc::clone(tenant);
    }

    /// The route is known. A name of the configuration, never a client's text.
    pub fn set_route(&mut self, route: &Arc<str>) {
        self.route = Arc::clone(route);
    }

    /// A model is asked.
    pub fn set_model(&mut self, name: &Arc<str>, price: Option<Price>) {
        self.model = Some(Billed { name: Arc::clone(name), price });
    }

    /// The upstream reported usage; the last report counts.
    pub fn set_usage(&mut self, usage: Usage) {
        self.usage = Some(usage);
    }

    /// The prompt has about so many tokens; counts where no usage is reported.
    pub fn set_prompt_estimate(&mut self, tokens: u64) {
        self.prompt_tokens = tokens;
    }

    /// An answer has begun, and the model has written so many characters of it; counts where no usage is reported.
    pub fn set_written(&mut self, characters: u64) {
        self.written_characters = Some(characters);
    }

    /// The request ended so.
    pub fn ended(&mut self, outcome: Outcome) {
        self.outcome = outcome;
    }

    /// What was used, and why that is an estimate if it is one. Nothing is known of a model that did not begin.
    fn usage(&self) -> Option<(Usage, Option<Estimated>)> {
        if let Some(reported) = self.usage {
            return Some((reported, None));
        }
        let completion_tokens = characters::tokens(self.written_characters?);
        let usage = Usage { prompt_tokens: self.prompt_tokens, completion_tokens };
        Some((usage, Some(Estimated::after(self.outcome))))
    }

    fn record_usage(&self, model: &Billed, usage: Usage) {
        let count = |kind, tokens| {
            self.metrics.tokens.with_label_values(&[&*self.tenant, &*model.name, kind]).inc_by(tokens);
        };
        count("prompt", usage.prompt_tokens);
        count("completion", usage.completion_tokens);
        if let Some(price) = model.price {
            let cost_usd = cost_pico_usd(price, usage) / 1e12;
            self.metrics.cost_usd.with_label_values(&[&*self.tenant, &*model.name]).inc_by(cost_usd);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "the metric is a double; exact money is kept elsewhere")]
fn cost_pico_usd(price: Price, usage: Usage) -> f64 {
    let input = u128::from(usage.prompt_tokens) * u128::from(price.input.pico_usd());
    let output = u128::from(usage.completion_tokens) * u128::from(price.output.pico_usd());
    (input + output) as f64
}

impl Drop for Account {
    fn drop(&mut self) {
        self.metrics.in_flight.dec();
        let model = self.model.as_ref().map_or(NONE, |model| &model.name);
        let labels = [&*self.tenant, &*self.route, model, self.outcome.label()];
        let counted = self.metrics.requests.with_label_values(&labels);
        counted.inc();
        // The first of its series: its sisters are shown at zero with it.
        if counted.get() == 1 {
            self.metrics.seed_outcomes(&self.tenant, &self.route, model);
        }
        if let (Some(model), Some((usage, estimated))) = (&self.model, self.usage()) {
            self.record_usage(model, usage);
            if let Some(why) = estimated {
                self.metrics.usage_estimated.with_label_values(&[&*model.name, why.label()]).inc();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TokenPrice;

    #[test]
    fn records_one_outcome_with_tokens_and_cost() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let mut account = Account::open(Arc::clone(&metrics));
        account.set_tenant(&"t".into());
        account.set_route(&"auto".into());
        let price = Price {
            input: TokenPrice::from_pico_usd(2_500_000),
            output: TokenPrice::from_pico_usd(10_000_000),
        };
        account.set_model(&"m".into(), Some(price));
        account.set_usage(Usage { prompt_tokens: 1000, completion_tokens: 100 });
        account.ended(Outcome::Ok);
        assert_eq!(metrics.in_flight.get(), 1);
        drop(account);
        assert_eq!(metrics.in_flight.get(), 0);
        assert_eq!(metrics.requests.with_label_values(&["t", "auto", "m", "ok"]).get(), 1);
        assert_eq!(metrics.tokens.with_label_values(&["t", "m", "prompt"]).get(), 1000);
        let cost = metrics.cost_usd.with_label_values(&["t", "m"]).get();
        assert!((cost - 0.0035).abs() < 1e-12, "{cost}");
    }

    #[test]
    fn a_request_that_is_dropped_was_cancelled() {
        let metrics = Arc::new(Metrics::new().unwrap());
        drop(Account::open(Arc::clone(&metrics)));
        assert_eq!(metrics.requests.with_label_values(&["none", "none", "none", "cancelled"]).get(), 1);
    }
}
