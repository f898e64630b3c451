//! A tenant with a pool of any size, made as the gateway makes it: from a configuration, with the shipped router.

use std::{fmt::Write as _, path::Path, sync::Arc};

use futures_util::FutureExt;
use hyper_util::client::proxy::matcher::Matcher;
use pointsman::{
    budget::Budgets,
    config::{Config, Input},
    gateway::shipped_engines,
    openai::{messages::Message, request::Requirements},
    routing::decide::{Asked, Decision, decide},
    snapshot::{BuildContext, RouteFault, Tenant, build},
    upstream::client::Clients,
};
use pointsman_routers::shipped::default_artifact;

/// A tenant of `models` models, each at its own price and rated as another model of the artefact; past the last of
/// those they begin again. Its route `auto` is decided by `mf` at a threshold.
pub(crate) fn tenant(models: usize) -> Arc<Tenant> {
    let yaml = config_yaml(models);
    let input =
        Input { name: "pool.yaml", bytes: yaml.as_bytes(), directory: Path::new(""), environment: &|_| None };
    let config = Config::parse(&input).unwrap_or_else(|found| panic!("{found}")).config;
    let clients = Clients::new(Matcher::builder().build());
    let engines = shipped_engines().expect("the artefacts in the binary are sound");
    let context = BuildContext {
        clients: &clients,
        engines: &engines,
        budgets: &Budgets::default(),
        load: &|_, _, _| Err(RouteFault::new("artifact", &"no files here")),
    };
    let (snapshot, warnings) = build(&config, &context).unwrap_or_else(|found| panic!("{found}"));
    assert!(warnings.is_empty(), "a model that is not rated would not be scored:\n{warnings}");
    Arc::clone(snapshot.tenant("bench").expect("the configuration has this tenant"))
}

fn config_yaml(models: usize) -> String {
    let rated = &default_artifact().expect("the artefact in the binary is sound").ratings().models;
    let mut yaml = "models:\n".to_owned();
    for (number, rated_as) in (0..models).zip(rated.iter().cycle()) {
        let input_usd = number + 1;
        let _ = writeln!(
            yaml,
            "  model-{number}: {{ base_url: \"http://127.0.0.1:9/v1\", rated_as: \"{rated_as}\", \
             price: {{ input: 0.{input_usd:03}, output: {input_usd}.0 }} }}"
        );
    }
    let pool: Vec<String> = (0..models).map(|number| format!("model-{number}")).collect();
    let _ = write!(
        yaml,
        "routes:\n  auto: {{ router: mf, threshold: 0.5 }}\ntenants:\n  \
         bench: {{ open: true, pool: [{}], default_route: auto }}\n",
        pool.join(", ")
    );
    yaml
}

/// Decides on the thread that asks, as a request's thread does with a router of microseconds.
pub(crate) fn decide_now(tenant: &Tenant, messages: &[Message<'_>], needs: &Requirements) -> Decision {
    let plans = &tenant.plans;
    let plan = plans.routes.get("auto").expect("the configuration has this route");
    let decision = decide(plan, &plans.models, Asked { messages, needs })
        .now_or_never()
        .expect("a router of microseconds decides at once");
    assert_eq!(decision.fail_open, None, "the router itself must decide");
    decision
}
