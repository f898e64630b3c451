//! A gateway under test: assembled as the program assembles it, on a port of its own.

use std::{collections::BTreeMap, net::SocketAddr, path::Path, sync::Arc, time::Instant};

use bytes::Bytes;
use hyper_util::client::proxy::matcher::Matcher;
use pointsman::{
    budget::Budgets,
    config::{Config, EmbedderConfig, Input, RoutedConfig},
    gateway::{Gateway, load_engine},
    http::app::{App, Watcher},
    routing::engine::Engine,
    snapshot::{BuildContext, RouteFault},
    upstream::client::Clients,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    client::{Client, KEY, Reply, get, post},
    upstream::{PATIENCE, soon},
};

/// What a gateway is made of. Without more, one tenant with every model in its pool, and the models in the order of
/// their addition as the route `auto`, which asks none of them twice.
#[derive(Default)]
pub(crate) struct Setup {
    models: Vec<(String, String)>,
    top: String,
    server: String,
    routes: Option<String>,
    tenants: Option<String>,
    engines: BTreeMap<&'static str, Engine>,
    proxies: Option<Matcher>,
    watcher: Option<Watcher>,
}

impl Setup {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A model at this address, with YAML fields of its own (`usage: as_is, features: []`).
    pub(crate) fn model(mut self, name: &str, base_url: &str, fields: &str) -> Self {
        self.models.push((name.to_owned(), format!("{{base_url: \"{base_url}\", {fields}}}")));
        self
    }

    /// Lines at the top of the file.
    pub(crate) fn top(mut self, yaml: &str) -> Self {
        self.top = format!("{}{yaml}\n", self.top);
        self
    }

    /// Fields of `server`.
    pub(crate) fn server(mut self, fields: &str) -> Self {
        fields.clone_into(&mut self.server);
        self
    }

    /// The `routes`, as a YAML flow mapping.
    pub(crate) fn routes(mut self, yaml: &str) -> Self {
        self.routes = Some(yaml.to_owned());
        self
    }

    /// The `tenants`, as a YAML flow mapping.
    pub(crate) fn tenants(mut self, yaml: &str) -> Self {
        self.tenants = Some(yaml.to_owned());
        self
    }

    /// A router in place of the one that ships under this name.
    pub(crate) fn engine(mut self, name: &'static str, engine: Engine) -> Self {
        self.engines.insert(name, engine);
        self
    }

    /// The proxies on the way out; none unless given.
    pub(crate) fn proxies(mut self, proxies: Matcher) -> Self {
        self.proxies = Some(proxies);
        self
    }

    /// Somebody who watches the decisions.
    pub(crate) fn watcher(mut self, watcher: Watcher) -> Self {
        self.watcher = Some(watcher);
        self
    }

    /// The configuration's text.
    pub(crate) fn yaml(&self) -> String {
        let names: Vec<&str> = self.models.iter().map(|(name, _)| name.as_str()).collect();
        let all = names.join(", ");
        let models: String = self.models.iter().map(|(name, body)| format!("  {name}: {body}\n")).collect();
        let routes = self
            .routes
            .clone()
            .unwrap_or_else(|| format!("{{auto: {{models: [{all}], retry: {{max: 0}}}}}}"));
        let tenants = self
            .tenants
            .clone()
            .unwrap_or_else(|| format!("{{t: {{keys: [{{key: {KEY}}}], pool: [{all}]}}}}"));
        format!(
            "listen: 127.0.0.1:0\nadmin_listen: 127.0.0.1:0\n{}server: {{{}}}\nmodels:\n{models}routes: {routes}\ntenants: {tenants}\n",
            self.top, self.server
        )
    }

    /// The configuration.
    pub(crate) fn config(&self) -> Config {
        read(&self.yaml())
    }

    /// Starts the gateway.
    pub(crate) async fn start(self) -> Stand {
        let config = self.config();
        self.start_with(&config).await
    }

    async fn start_with(self, config: &Config) -> Stand {
        let clients = Clients::new(self.proxies.unwrap_or_else(|| Matcher::builder().build()));
        let load = |route: &RoutedConfig, at_once_max: usize, clients: &Clients| match route.embedder {
            EmbedderConfig::Served(_) => load_engine(route, at_once_max, clients),
            _ => Err(RouteFault::new("artifact", &"no artefacts in these tests")),
        };
        let budgets = Budgets::default();
        let context =
            BuildContext { clients: &clients, engines: &self.engines, budgets: &budgets, load: &load };
        let gateway = Gateway::bind_with(config, &context, self.watcher).await.unwrap();
        Stand::serve(gateway)
    }

    /// Starts the gateway with the routers that ship in the binary.
    pub(crate) async fn start_shipped(self) -> Stand {
        Stand::serve(Gateway::bind(&self.config(), self.watcher).await.unwrap())
    }
}

fn read(yaml: &str) -> Config {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    let input = Input { name: "test.yaml", bytes: yaml.as_bytes(), directory, environment: &|_| None };
    match Config::parse(&input) {
        Ok(loaded) => loaded.config,
        Err(found) => panic!("{yaml}\n{found}"),
    }
}

/// Starts a gateway with this configuration, which [`Setup`] does not write.
pub(crate) async fn start(yaml: &str) -> Stand {
    Setup::new().start_with(&read(yaml)).await
}

/// The values of a metric's series that have all of these labels, of the text that Prometheus reads.
pub(crate) fn values(metrics: &str, name: &str, labels: &[&str]) -> Vec<String> {
    let series = metrics.lines().filter_map(|line| line.rsplit_once(' ')).filter(|(series, _)| {
        series.split('{').next() == Some(name) && labels.iter().all(|label| series.contains(label))
    });
    series.map(|(_, value)| value.to_owned()).collect()
}

/// A running gateway; ends when dropped.
pub(crate) struct Stand {
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) app: Arc<App>,
    pub(crate) stop: CancellationToken,
    serving: JoinSet<usize>,
}

impl Stand {
    /// Serves.
    pub(crate) fn serve(gateway: Gateway) -> Self {
        let (address, admin, app) =
            (gateway.address().unwrap(), gateway.admin_address().unwrap(), gateway.app());
        let stop = CancellationToken::new();
        let mut serving = JoinSet::new();
        serving.spawn(gateway.serve(stop.clone()));
        Self { address, admin, app, stop, serving }
    }

    /// A new connection.
    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    /// Posts to a path on a connection of its own.
    pub(crate) async fn post(&self, path: &str, body: impl Into<Bytes>) -> Reply {
        self.client().await.last(post(path, body)).await
    }

    /// Posts a chat request on a connection of its own.
    pub(crate) async fn chat(&self, body: impl Into<Bytes>) -> Reply {
        self.post("/v1/chat/completions", body).await
    }

    /// Gets a path on a connection of its own.
    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.client().await.last(get(path)).await
    }

    /// The metrics as text.
    pub(crate) fn metrics(&self) -> String {
        String::from_utf8(self.app.metrics.render().unwrap()).unwrap()
    }

    /// The values of a metric's series that have all of these labels (`outcome="ok"`).
    pub(crate) fn values(&self, name: &str, labels: &[&str]) -> Vec<String> {
        values(&self.metrics(), name, labels)
    }

    /// The sum of these values, where they count something.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> u64 {
        self.values(name, labels).iter().map(|value| value.parse::<u64>().unwrap()).sum()
    }

    /// Waits until no request is in flight, and gives the outcomes counted so far.
    pub(crate) async fn outcomes(&self) -> BTreeMap<&'static str, u64> {
        self.eventually("no request in flight", || self.app.metrics.in_flight.get() == 0).await;
        let text = self.metrics();
        let mut counted = BTreeMap::new();
        for outcome in pointsman::telemetry::outcome::Outcome::ALL {
            let label = format!("outcome=\"{}\"", outcome.label());
            let lines = text
                .lines()
                .filter(|line| line.starts_with("pointsman_requests_total{") && line.contains(&label));
            let sum: u64 = lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum();
            if sum > 0 {
                counted.insert(outcome.label(), sum);
            }
        }
        counted
    }

    /// Waits until a model's breaker shows this.
    pub(crate) async fn eventually_open(&self, model: &str, shown: &str) {
        let line = format!("pointsman_breaker_open{{model=\"{model}\"}} {shown}\n");
        let begun = Instant::now();
        loop {
            let text = Client::connect(self.admin).await.last(get("/metrics")).await.text().await;
            if text.contains(&line) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "never came: {line}");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }

    /// Lets everything else run until something is so that no event tells of.
    pub(crate) async fn eventually(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < PATIENCE, "never came: {what}");
            tokio::task::yield_now().await;
        }
    }

    /// Waits until the gateway has ended, and gives the number of connections it cut.
    pub(crate) async fn ended(&mut self) -> usize {
        soon("the end of the gateway", self.serving.join_next()).await.unwrap().unwrap()
    }
}
