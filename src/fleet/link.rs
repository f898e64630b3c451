//! The connection to Redis: made in the background, and anew when it breaks.

use std::{
    io,
    sync::{Arc, Weak},
    time::Duration,
};

use redis::{AsyncConnectionConfig, RedisError, aio::MultiplexedConnection};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::watch,
    time::{sleep, timeout},
};
use tokio_rustls::TlsConnector;
use tokio_util::task::TaskTracker;

use crate::{
    config::{RedisUrl, UpstreamTls},
    telemetry::metrics::Metrics,
    upstream::tls::{self, TlsError},
};

/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// How long an answer may take: no request waits longer for one.
const ANSWER_MAX: Duration = Duration::from_millis(500);
/// How long it is waited after one that could not be made: the first time, and at most.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A connection that all who need one share.
#[derive(Debug)]
pub struct Link {
    live: watch::Sender<Option<Live>>,
    metrics: Arc<Metrics>,
}

/// A connection as it stands.
#[derive(Clone)]
pub struct Live {
    /// For commands; cheap to clone.
    pub connection: MultiplexedConnection,
    /// The server's process: with another one, data may be gone.
    pub run_id: Arc<str>,
    /// Which of this link's connections it is.
    pub generation: u64,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { run_id, generation, .. } = self;
        formatter
            .debug_struct("Live")
            .field("run_id", run_id)
            .field("generation", generation)
            .finish_non_exhaustive()
    }
}

impl Link {
    /// Connects to a server in the background, for as long as somebody has the link. Waits for nothing.
    ///
    /// # Errors
    /// When the authorities of its certificate cannot be read.
    pub fn open(url: &RedisUrl, metrics: Arc<Metrics>) -> Result<Arc<Self>, TlsError> {
        let trust = UpstreamTls { ca_file: url.root_certificate.clone(), client: None };
        let tls = url.has_tls.then(|| tls::client_config(&trust)).transpose()?;
        let way = Way { url: url.clone(), tls: tls.map(|config| TlsConnector::from(Arc::new(config))) };
        let link = Arc::new(Self { live: watch::Sender::new(None), metrics });
        TaskTracker::new().spawn(keep(Arc::downgrade(&link), link.live.subscribe(), way));
        Ok(link)
    }

    /// Waits for a connection, and no longer than this.
    pub async fn wait(&self, at_most: Duration) {
        let mut changed = self.changed();
        let _ = timeout(at_most, changed.wait_for(Option::is_some)).await;
    }

    /// The connection, if there is one.
    #[must_use]
    pub fn connection(&self) -> Option<Live> {
        let live = self.live.borrow().clone();
        if live.is_some() {
            self.metrics.redis.commands.inc();
        }
        live
    }

    /// The connection of that generation has failed: another one is made.
    pub fn failed(&self, generation: u64) {
        self.live.send_if_modified(|live| {
            let is_this = live.as_ref().is_some_and(|live| live.generation == generation);
            if is_this {
                *live = None;
            }
            is_this
        });
    }

    /// Tells of every change: there is another connection, or none.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<Option<Live>> {
        self.live.subscribe()
    }
}

/// Keeps a connection until nobody has the link any more.
async fn keep(link: Weak<Link>, mut changed: watch::Receiver<Option<Live>>, way: Way) {
    let (mut pause, mut is_lost) = (PAUSE, false);
    for generation in 1.. {
        let made = timeout(CONNECT_MAX, way.connect()).await.unwrap_or(Err(LinkError::Timeout));
        let Some(link) = link.upgrade() else { return };
        match made {
            Ok((connection, run_id)) => {
                if is_lost {
                    tracing::info!("redis: connected again");
                }
                (pause, is_lost) = (PAUSE, false);
                link.metrics.redis.up.set(1);
                link.live.send_replace(Some(Live { connection, run_id, generation }));
                drop(link);
                if changed.wait_for(Option::is_none).await.is_err() {
                    return;
                }
                changed.mark_unchanged();
                continue;
            }
            Err(error) if !is_lost => {
                is_lost = true;
                tracing::error!("redis: no connection to {}: {error}", way.url);
            }
            Err(_) => {}
        }
        link.metrics.redis.up.set(0);
        drop(link);
        // Not all gateways at once.
        sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// How a server is connected to.
#[derive(Clone)]
struct Way {
    url: RedisUrl,
    tls: Option<TlsConnector>,
}

impl Way {
    async fn connect(&self) -> Result<(MultiplexedConnection, Arc<str>), LinkError> {
        let RedisUrl { host, port, .. } = &self.url;
        let stream = TcpStream::connect((host.as_str(), *port)).await?;
        stream.set_nodelay(true)?;
        let mut connection = match &self.tls {
            None => self.speak(stream).await?,
            Some(tls) => {
                let name = ServerName::try_from(host.clone())
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
                self.speak(tls.connect(name, stream).await?).await?
            }
        };
        let told: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await?;
        let run_id = told.lines().find_map(|line| line.strip_prefix("run_id:")).unwrap_or_default();
        Ok((connection, run_id.trim().into()))
    }

    async fn speak(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<MultiplexedConnection, LinkError> {
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(ANSWER_MAX));
        let login = &self.url.login;
        let (connection, driver) = MultiplexedConnection::new_with_config(login, stream, config).await?;
        TaskTracker::new().spawn(driver);
        Ok(connection)
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("{0}")]
    Stream(#[from] io::Error),
    #[error("{0}")]
    Redis(#[from] RedisError),
    #[error("nothing was answered in time")]
    Timeout,
}
