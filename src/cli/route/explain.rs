//! Decides as the gateway does, for a pool made up on the command line.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pointsman::budget::Budgets;
use pointsman::config::{
    Config, HttpBaseUrl, ModelConfig, RouteChoice, RouteConfig, RoutedConfig, RouterKind, Selection,
    TenantConfig,
};
use pointsman::gateway::{StartError, snapshot_with};
use pointsman::routing::candidates::PoolModel;
use pointsman::routing::decide::{Asked, decide};
use pointsman::routing::embedders::Embedders;
use pointsman::routing::engine::Engine;
use pointsman::routing::explain::{Explanation, Subject};
use pointsman::routing::plan::Plan;
use pointsman::snapshot::RouteFault;
use pointsman::upstream::client::Clients;

use crate::cli::encoder;
use crate::cli::output::Failure;
use crate::cli::prices::PriceFile;
use crate::cli::prompts;

/// Who asks, and by which route, in the configuration that is made up.
const NAME: &str = "command-line";

/// What decides.
pub(super) struct Setup<'a> {
    pub(super) router: RouterKind,
    /// The file of an artefact, in place of the one that ships.
    pub(super) artifact: Option<&'a Path>,
    /// The folder of the encoder that it was trained with.
    pub(super) encoder: Option<&'a Path>,
    /// The decoder that it asks.
    pub(super) decoder: Option<&'a Path>,
    pub(super) selection: Selection,
    pub(super) models: &'a [String],
    /// The file of the prices.
    pub(super) prices: Option<&'a Path>,
}

/// Explains prompts, one after the other.
pub(super) struct Explainer {
    models: Arc<[PoolModel]>,
    plan: Arc<Plan>,
    runtime: tokio::runtime::Runtime,
}

impl Explainer {
    pub(super) fn new(setup: &Setup<'_>) -> Result<Self, Failure> {
        let because = |error: &dyn std::fmt::Display| Failure::Because(error.to_string());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| because(&error))?;
        // An encoder that is named is the one to read.
        let embedders = setup
            .encoder
            .map_or_else(Embedders::only_static, Embedders::only_encoder)
            .and_then(|embedders| embedders.with_decoder(setup.decoder))
            .map_err(|error| because(&error))?;
        let load = |route: &RoutedConfig, _: usize, _: &Clients| {
            let loaded = Engine::load(route.router.name(), route.artifact.as_deref(), &embedders);
            loaded.map_err(|error| RouteFault::new("artifact", &encoder::advised(&error)))
        };
        let (snapshot, _) = snapshot_with(&configuration(setup)?, &Budgets::default(), &load).map_err(
            |error| match error {
                // Its places are of a file that does not exist.
                StartError::Config(found) => {
                    let messages: Vec<&str> = found.errors().map(|error| error.message.as_str()).collect();
                    Failure::Because(messages.join("; "))
                }
                error => because(&error),
            },
        )?;
        let plans = snapshot.tenant(NAME).map(|tenant| &tenant.plans);
        let found =
            plans.and_then(|plans| Some((Arc::clone(&plans.models), Arc::clone(plans.routes.get(NAME)?))));
        let (models, plan) = found.ok_or_else(|| because(&"no route was made"))?;
        Ok(Self { models, plan, runtime })
    }

    /// Decides about a conversation of these user turns.
    pub(super) fn explain(&self, turns: &[String]) -> Result<Explanation<'_>, Failure> {
        let because = |error: &dyn std::fmt::Display| Failure::Because(error.to_string());
        let request = prompts::request(NAME, turns)?;
        let messages = request.messages().map_err(|error| because(&error))?;
        let asked = Asked { messages: &messages, needs: &request.requirements(&messages) };
        let decision = self.runtime.block_on(decide(&self.plan, &self.models, asked));
        let subject = Subject::of(&self.models, &self.plan, asked.needs.prompt_tokens);
        let mut explanation = subject.explain(&decision);
        if explanation.fail_open.is_some() || explanation.model.is_none() {
            let reasons = explanation.excluded.iter().map(|(model, why)| format!("{model} {why}"));
            let mut reasons: Vec<String> = reasons.collect();
            if let (Some(reason), true) = (explanation.fail_open, reasons.is_empty()) {
                reasons.push(format!("router {} failed: {reason}", decision.router));
            }
            return Err(Failure::Because(format!("no model can be chosen: {}", reasons.join("; "))));
        }
        if let Some(question) = subject.question(asked, &decision) {
            explanation.nearest_battles = subject.battles(question.answer());
        }
        Ok(explanation)
    }
}

/// One tenant with one route, which chooses among these models.
fn configuration(setup: &Setup<'_>) -> Result<Config, Failure> {
    /// It is never called.
    const NOWHERE: &str = "http://localhost";
    /// Whoever asks why wants the router's word, not the default model's.
    const PATIENCE: Duration = Duration::from_secs(3600);
    let nowhere: HttpBaseUrl =
        NOWHERE.parse().map_err(|error| Failure::Because(format!("{NOWHERE}: {error}")))?;
    let prices = setup.prices.map(PriceFile::read).transpose()?;
    let prices = prices.map(|prices| prices.of_all(setup.models)).transpose()?.unwrap_or_default();
    let model = |name: &String| {
        let price = prices.get(name.as_str()).copied();
        (name.clone(), ModelConfig { price, ..ModelConfig::new(name, nowhere.clone()) })
    };
    let route = RoutedConfig {
        router: setup.router,
        artifact: setup.artifact.map(Path::to_owned),
        selection: setup.selection,
        timeout: PATIENCE,
        ..RoutedConfig::standard()
    };
    let tenant = TenantConfig {
        open: true,
        pool: setup.models.to_vec(),
        default_route: NAME.to_owned(),
        ..TenantConfig::default()
    };
    Ok(Config::in_memory(
        NAME,
        setup.models.iter().map(model).collect(),
        BTreeMap::from([(NAME.to_owned(), RouteConfig::new(RouteChoice::Routed(route)))]),
        BTreeMap::from([(NAME.to_owned(), tenant)]),
    ))
}
