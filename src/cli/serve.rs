//! `pointsman serve`: the gateway, until it is told to stop.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::Args;
use pointsman::{
    config::Config,
    gateway::{
        Gateway,
        reload::{Reloader, Stamps},
    },
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    database,
    output::{Failure, count},
};

/// Run the gateway
///
/// Stops gracefully on SIGTERM or Ctrl-C: `/health/ready` turns to 503, no connection is accepted any more, and
/// answers on their way may end, for at most `server.drain_timeout`. A second signal stops at once.
/// The configuration is read again on SIGHUP, when it or a file that it names changes, and on `POST /admin/reload` to the operators'
/// listener: what is valid takes force at once, anything else changes nothing.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman check-config config.yaml && pointsman serve --config config.yaml
  RUST_LOG=pointsman=debug pointsman --log-format json serve --config config.yaml")]
pub(super) struct Arguments {
    /// The configuration, a YAML file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let file = Stamps::of(&arguments.config, []);
    let loaded = Config::load(&arguments.config).map_err(|found| {
        Failure::Because(format!("{} is not valid:\n{found}", arguments.config.display()))
    })?;
    let stamps = file.with(Stamps::of(&arguments.config, &loaded.config.files));
    for warning in loaded.warnings.warnings() {
        tracing::warn!("{warning}");
    }
    let runtime = runtime()?;
    let books = runtime.block_on(async {
        let gateway =
            Gateway::bind(&loaded.config, None).await.map_err(|error| Failure::Because(error.to_string()))?;
        let books = Arc::clone(&gateway.app().books);
        if loaded.config.database.is_none() {
            keep_ledger(&gateway, &arguments.config, loaded.config.retention);
        }
        let stop = stop_signal()?;
        reload_when_told(&gateway, arguments.config.clone(), stamps)?;
        serve(gateway, stop).await;
        Ok::<_, Failure>(books)
    })?;
    // What was cut has its line, too.
    drop(runtime);
    books.write_to(None);
    if let Some(ledger) = books.ledger() {
        ledger.end();
    }
    Ok(())
}

/// Usage is recorded beside the configuration where it does not say where. What nobody asked for must not keep the gateway
/// from serving.
fn keep_ledger(gateway: &Gateway, config: &Path, retention: Option<Duration>) {
    let path = config.with_file_name(database::DEFAULT);
    match gateway.keep_ledger(&path, retention) {
        Ok(()) => tracing::info!("usage is recorded in {}", path.display()),
        Err(error) => tracing::warn!(
            "usage is not recorded, and budgets begin anew with every start: {error}; name a file by `database: sqlite:PATH`, or say `database: none`"
        ),
    }
}

/// The threads that serve.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Because(format!("the system gives no threads: {error}")))
}

/// Serves until it is told to stop, and says what became of it.
pub(super) async fn serve(gateway: Gateway, stop: Stop) {
    if let Ok(address) = gateway.address() {
        tracing::info!("listening on http://{address}");
    }
    if let Some(address) = gateway.admin_address() {
        tracing::info!("operators' listener on http://{address}");
    }
    tokio::select! {
        cut = gateway.serve(stop.gracefully) => match cut {
            0 => tracing::info!("stopped: every answer was brought to its end"),
            cut => tracing::warn!("stopped: {} cut at the drain timeout", count(cut, "connection")),
        },
        () = stop.at_once.cancelled() => tracing::warn!("stopped at once"),
    }
}

/// Reads the configuration again on every SIGHUP, on every change of a file, and whenever an operator asks.
fn reload_when_told(gateway: &Gateway, file: PathBuf, stamps: Stamps) -> Result<(), Failure> {
    let mut hangups = signal(SignalKind::hangup()).map_err(|error| cannot_listen(&error))?;
    let reloader = Reloader::new(gateway.app(), file, stamps);
    let tasks = TaskTracker::new();
    tasks.spawn(Arc::clone(&reloader).watch());
    let for_hangups = Arc::clone(&reloader);
    tasks.spawn(async move {
        while hangups.recv().await.is_some() {
            let _ = for_hangups.reload().await;
        }
    });
    gateway.app().set_reload(Box::new(move || {
        let reloader = Arc::clone(&reloader);
        Box::pin(async move { reloader.reload().await })
    }));
    Ok(())
}

fn cannot_listen(error: &std::io::Error) -> Failure {
    Failure::Because(format!("cannot listen for signals: {error}"))
}

/// What the process was told: the first signal stops it gracefully, the second at once.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop {
    pub(super) gracefully: CancellationToken,
    at_once: CancellationToken,
}

/// Listens for SIGTERM and Ctrl-C.
pub(super) fn stop_signal() -> Result<Stop, Failure> {
    let mut signals = Signals::new().map_err(|error| cannot_listen(&error))?;
    let stop = Stop::default();
    let told = stop.clone();
    TaskTracker::new().spawn(async move {
        signals.next().await;
        tracing::info!("stopping: waiting for the answers on their way; a second signal stops at once");
        told.gracefully.cancel();
        signals.next().await;
        told.at_once.cancel();
    });
    Ok(stop)
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
