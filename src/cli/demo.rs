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

    /// Where operators connect: the page and the metrics [default: 127.0.0.1:9090, or another port where that is taken]
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<SocketAddr>,
}

/// Where operators connect who were not told otherwise.
const ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9090);

/// The usual place, unless somebody else is there.
fn admin_listen(listen: SocketAddr) -> SocketAddr {
    let is_free = listen.port() != 0 && std::net::TcpListener::bind(ADMIN).is_ok();
    if is_free { ADMIN } else { SocketAddr::new(ADMIN.ip(), 0) }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let because = |error: &dyn std::fmt::Display| Failure::Because(error.to_string());
        let (upstream, address) = demo::upstream::bind().await.map_err(|error| because(&error))?;
        let admin = arguments.admin_listen.unwrap_or_else(|| admin_listen(arguments.listen));
        let yaml = demo::config_yaml([arguments.listen, admin], address);
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
        writeln!(std::io::stdout().lock(), "{}", demo::welcome(listening, gateway.admin_address()))?;
        tokio::join!(demo::upstream::serve(upstream, stop.gracefully.clone()), serve(gateway, stop));
        Ok(())
    })
}
