//! `pointsman demo`: a gateway with built-in models, for a first look.

use std::{io::Write, net::SocketAddr, path::Path};

use clap::Args;
use pointsman::{
    config::{Config, Input},
    demo,
    gateway::Gateway,
};

use super::{
    output::Failure,
    serve::{runtime, serve, stop_signal},
};

/// Run a gateway with three built-in models: no keys, no network, no configuration
///
/// Prints the base_url, a curl line and a Python snippet that work when pasted, and a line for every request: the
/// beginning of the prompt, the model chosen, how often it would beat the others, and the time the decision took.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman demo
  pointsman demo --listen 127.0.0.1:9000")]
pub(super) struct Arguments {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    listen: SocketAddr,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let because = |error: &dyn std::fmt::Display| Failure::Because(error.to_string());
        let (upstream, address) = demo::upstream::bind().await.map_err(|error| because(&error))?;
        let yaml = demo::config_yaml(arguments.listen, address);
        let input =
            Input { name: "demo", bytes: yaml.as_bytes(), directory: Path::new(""), environment: &|_| None };
        let loaded = Config::parse(&input).map_err(|error| because(&error))?;
        let watcher = |report: &pointsman::http::app::DecisionReport<'_>| {
            // When stdout is closed, nobody watches.
            let _ = writeln!(std::io::stdout().lock(), "{}", demo::decision_line(report));
        };
        let gateway =
            Gateway::bind(&loaded.config, Some(Box::new(watcher))).await.map_err(|error| because(&error))?;
        let listening = gateway.address().map_err(|error| because(&error))?;
        let stop = stop_signal()?;
        writeln!(std::io::stdout().lock(), "{}", demo::welcome(listening))?;
        tokio::join!(demo::upstream::serve(upstream, stop.gracefully.clone()), serve(gateway, stop));
        Ok(())
    })
}
