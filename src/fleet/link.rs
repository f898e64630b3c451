//! The connection to Redis, one for all who need it: made in the background, and anew when it breaks.
//!
//! Nobody waits for it: there is one, or there is none. Must not know what is kept there.

mod connection;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::RedisError;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

pub use self::connection::{Connection, is_lost_by};
use self::connection::{Made, Server};
use crate::{
    config::RedisUrl, resilience::backoff::full_jitter, telemetry::metrics::Metrics, upstream::tls::TlsError,
};

/// How long a connection may take to be made, its server to tell of itself.
const CONNECT_MAX: Duration = Duration::from_secs(1);

/// How long a command may take, before its connection is taken to be of no use.
const COMMAND_MAX: Duration = Duration::from_millis(500);

/// After how long without a command, and how often then, it is seen whether the other machine is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Waits between connections that could not be made: the first at most, and any at most.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Keeps one connection to a server for as long as somebody has the link.
#[derive(Debug)]
pub struct Link {
    live: watch::Sender<Option<Live>>,
    state: Arc<State>,
    _end: DropGuard,
}

/// A connection that is there.
#[derive(Clone)]
pub struct Live {
    /// For commands. It is cheap to clone, and none takes longer than half a second.
    pub connection: Connection,
    /// The server's process: with another one, what was kept may be gone.
    pub run_id: Arc<str>,
    /// Which of the link's connections it is.
    pub generation: u64,
}

impl fmt::Debug for Live {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Live(connection {} to {})", self.generation, self.run_id)
    }
}

/// What the link and its connections know of each other.
#[derive(Debug)]
struct State {
    metrics: Arc<Metrics>,
    /// The latest connection that has failed.
    failed: AtomicU64,
    /// Wakes whoever keeps the connection.
    has_failed: Notify,
}

impl State {
    fn failed(&self, generation: u64) {
        self.failed.fetch_max(generation, Ordering::AcqRel);
        self.has_failed.notify_one();
    }

    fn has_failed(&self, generation: u64) -> bool {
        self.failed.load(Ordering::Acquire) >= generation
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("{0}")]
    Connect(#[from] std::io::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("{0}")]
    Redis(#[from] RedisError),
    #[error("it has not answered within {CONNECT_MAX:?}")]
    Late,
    #[error("it is another server's replica, where nothing can be written")]
    Replica,
    #[error("it is one of a cluster: what is shared must be in one place")]
    Cluster,
    #[error("it is still reading what it has kept")]
    Loading,
    #[error("it does not say who it is")]
    Strange,
}

impl Link {
    /// Connects to a server in the background. Waits for nothing; must be called within a runtime.
    #[must_use]
    pub fn open(url: &RedisUrl, metrics: Arc<Metrics>) -> Arc<Self> {
        metrics.show_redis();
        let state = Arc::new(State { metrics, failed: AtomicU64::new(0), has_failed: Notify::new() });
        let (live, end) = (watch::Sender::new(None), CancellationToken::new());
        let keeper = Keeper {
            server: Server::new(url.clone()),
            live: live.clone(),
            state: Arc::clone(&state),
            was_up: None,
        };
        let until = end.clone();
        TaskTracker::new().spawn(async move { until.run_until_cancelled(keeper.keep()).await });
        Arc::new(Self { live, state, _end: end.drop_guard() })
    }

    /// The connection, where there is one that has not failed.
    #[must_use]
    pub fn connection(&self) -> Option<Live> {
        let live = self.live.borrow().clone();
        live.filter(|live| !self.state.has_failed(live.generation))
    }

    /// Waits for a connection, and no longer than this.
    pub async fn wait(&self, at_most: Duration) {
        let mut changed = self.changed();
        let _ = timeout(at_most, changed.wait_for(Option::is_some)).await;
    }

    /// That connection is of no use: it is dropped, and another one made. Commands that fail by [`is_lost_by`] tell so themselves.
    pub fn failed(&self, generation: u64) {
        self.state.failed(generation);
    }

    /// Tells of every change: there is another connection, or none.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<Option<Live>> {
        self.live.subscribe()
    }
}

/// Makes connections, one after the other.
struct Keeper {
    server: Server,
    live: watch::Sender<Option<Live>>,
    state: Arc<State>,
    /// What was last told to people.
    was_up: Option<bool>,
}

impl Keeper {
    async fn keep(mut self) {
        let mut tries = 0;
        for generation in 1.. {
            match timeout(CONNECT_MAX, self.server.connect(generation, &self.state)).await {
                Ok(Ok(made)) => {
                    let begun = Instant::now();
                    self.while_it_lasts(made).await;
                    // One that breaks at once is no better than none.
                    tries = if begun.elapsed() > PAUSE_MAX { 0 } else { tries };
                }
                Ok(Err(error)) => self.tell_down(&error.to_string()),
                Err(_) => self.tell_down(&LinkError::Late.to_string()),
            }
            sleep(full_jitter(PAUSE, PAUSE_MAX, tries, fastrand::f64())).await;
            tries = tries.saturating_add(1);
        }
    }

    async fn while_it_lasts(&mut self, Made { live, driver }: Made) {
        let generation = live.generation;
        // Told before anybody uses it.
        self.tell_up();
        self.live.send_replace(Some(live));
        let has_failed = async {
            while !self.state.has_failed(generation) {
                self.state.has_failed.notified().await;
            }
        };
        tokio::select! {
            () = has_failed => {}
            _ = driver => self.state.failed(generation),
        }
        self.live.send_replace(None);
        self.tell_down("the connection broke, or the server was silent");
    }

    fn tell_up(&mut self) {
        self.state.metrics.redis.up.set(1);
        if self.was_up.replace(true) != Some(true) {
            tracing::info!("redis: connected to {}", self.server.url);
        }
    }

    fn tell_down(&mut self, why: &str) {
        self.state.metrics.redis.up.set(0);
        if self.was_up.replace(false) != Some(false) {
            tracing::error!("redis: no connection to {}: {why}", self.server.url);
        }
    }
}
