//! The accounting of one request: lives as long as the request and its answer, and records exactly one outcome,
//! whichever way both end.

use std::sync::Arc;

use super::{
    metrics::{Metrics, NONE},
    outcome::{Estimated, Outcome},
};
use crate::{config::Price, openai::usage::Usage};

/// What is recorded of one request. Dropped without [`Account::ended`]: the client left.
#[derive(Debug)]
pub struct Account {
    metrics: Arc<Metrics>,
    tenant: Arc<str>,
    route: Arc<str>,
    prompt_tokens: u64,
    /// The attempt that is on its way, or was the last.
    attempt: Option<Billed>,
    /// Attempts before it whose answers had begun: they are charged for too.
    earlier: Vec<Billed>,
    outcome: Outcome,
}

/// An attempt: the model that was asked, what it charges, and what it did.
#[derive(Debug, Clone)]
struct Billed {
    name: Arc<str>,
    price: Option<Price>,
    usage: Option<Usage>,
    /// Once an answer has begun.
    written_characters: Option<u64>,
}

impl Billed {
    /// What was used, and whether that is an estimate. Nothing is known of a model that did not begin.
    fn used(&self, prompt_tokens: u64) -> Option<(Usage, bool)> {
        Usage::known(self.usage, prompt_tokens, self.written_characters)
    }
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
            prompt_tokens: 0,
            attempt: None,
            earlier: Vec::new(),
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

    /// A model is asked. What the one before it used stays on the books.
    pub fn set_model(&mut self, name: &Arc<str>, price: Option<Price>) {
        let next = Billed { name: Arc::clone(name), price, usage: None, written_characters: None };
        let before = self.attempt.replace(next);
        self.earlier.extend(before.filter(|before| before.used(0).is_some()));
    }

    /// A failed attempt at a model has cost so much all the same: as reported, or so many characters written.
    pub fn add_spent(
        &mut self,
        name: &Arc<str>,
        price: Option<Price>,
        usage: Option<Usage>,
        written_characters: Option<u64>,
    ) {
        let spent = Billed { name: Arc::clone(name), price, usage, written_characters };
        self.earlier.extend(Some(spent).filter(|spent| spent.used(0).is_some()));
    }

    /// The upstream reported usage; the last report counts.
    pub fn set_usage(&mut self, usage: Usage) {
        if let Some(attempt) = &mut self.attempt {
            attempt.usage = Some(usage);
        }
    }

    /// What the attempt on its way has used so far: as reported, or else estimated.
    #[must_use]
    pub fn used(&self) -> Usage {
        self.attempt.as_ref().and_then(|attempt| attempt.used(self.prompt_tokens)).unwrap_or_default().0
    }

    /// The prompt has about so many tokens; counts where no usage is reported.
    pub fn set_prompt_estimate(&mut self, tokens: u64) {
        self.prompt_tokens = tokens;
    }

    /// An answer has begun, and the model has written so many characters of it; counts where no usage is reported.
    pub fn set_written(&mut self, characters: u64) {
        if let Some(attempt) = &mut self.attempt {
            attempt.written_characters = Some(characters);
        }
    }

    /// The request ended so.
    pub fn ended(&mut self, outcome: Outcome) {
        self.outcome = outcome;
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
        let model = self.attempt.as_ref().map_or(NONE, |attempt| &attempt.name);
        let labels = [&*self.tenant, &*self.route, model, self.outcome.label()];
        let counted = self.metrics.requests.with_label_values(&labels);
        counted.inc();
        // The first of its series: its sisters are shown at zero with it.
        if counted.get() == 1 {
            self.metrics.seed_outcomes(&self.tenant, &self.route, model);
        }
        let broke_off = self.earlier.iter().map(|attempt| (attempt, Estimated::Truncated));
        let last = self.attempt.iter().map(|attempt| (attempt, Estimated::after(self.outcome)));
        for (attempt, why) in broke_off.chain(last) {
            let Some((usage, is_estimate)) = attempt.used(self.prompt_tokens) else { continue };
            self.record_usage(attempt, usage);
            if is_estimate {
                self.metrics.usage_estimated.with_label_values(&[&*attempt.name, why.label()]).inc();
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
    fn every_attempt_that_began_is_billed() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let mut account = Account::open(Arc::clone(&metrics));
        account.set_prompt_estimate(10);
        account.set_model(&"never-began".into(), None);
        account.set_model(&"broke".into(), None);
        account.set_written(40);
        assert_eq!(account.used(), Usage { prompt_tokens: 10, completion_tokens: 10 });
        account.set_model(&"rest".into(), None);
        account.set_usage(Usage { prompt_tokens: 12, completion_tokens: 3 });
        account.ended(Outcome::Ok);
        drop(account);
        let tokens = |model, kind| metrics.tokens.with_label_values(&["none", model, kind]).get();
        assert_eq!((tokens("broke", "prompt"), tokens("broke", "completion")), (10, 10));
        assert_eq!((tokens("rest", "prompt"), tokens("rest", "completion")), (12, 3));
        assert_eq!(tokens("never-began", "prompt"), 0);
        assert_eq!(metrics.usage_estimated.with_label_values(&["broke", "truncated"]).get(), 1);
    }

    #[test]
    fn a_request_that_is_dropped_was_cancelled() {
        let metrics = Arc::new(Metrics::new().unwrap());
        drop(Account::open(Arc::clone(&metrics)));
        assert_eq!(metrics.requests.with_label_values(&["none", "none", "none", "cancelled"]).get(), 1);
    }
}
