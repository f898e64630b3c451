//! A scripted upstream over raw sockets, so that it can do what no HTTP library would: it keeps every byte it was
//! sent, and answers with exactly the bytes of its scripts.

pub(crate) mod http2;
mod script;
mod wire;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustls::ServerConfig;
use tokio::{
    net::TcpListener,
    sync::Notify,
    task::JoinSet,
    time::{Instant, error::Elapsed, timeout},
};

pub(crate) use script::{Gate, Script, chunk};
use wire::Wire;

/// How long a test waits for what should come at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for what should come at once.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let waited: Result<T, Elapsed> = timeout(PATIENCE, future).await;
    waited.unwrap_or_else(|_| panic!("never happened: {what}"))
}

/// A request as it came in.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// Which connection it came by, counted from zero.
    pub(crate) connection: usize,
    /// When it was there whole.
    pub(crate) at: Instant,
    /// The head, line by line as sent, without the blank line.
    pub(crate) head: String,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl Received {
    /// The request target.
    pub(crate) fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    /// Every value of a header.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        fields.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }

    /// The only value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() <= 1, "{name} more than once: {}", self.head);
        values.first().copied()
    }

    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// What an upstream has seen so far.
#[derive(Debug, Default)]
struct Seen {
    requests: Vec<Received>,
    connections: usize,
    handshakes_failed: usize,
    /// Requests whose sender left before their script was through.
    abandoned: Vec<usize>,
}

/// What an upstream sees, for tests to wait on.
#[derive(Debug, Default)]
struct Log {
    seen: Mutex<Seen>,
    changed: Notify,
}

impl Log {
    fn note<T>(&self, change: impl FnOnce(&mut Seen) -> T) -> T {
        let noted = change(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_waiters();
        noted
    }

    async fn wait<T>(&self, what: &str, mut find: impl FnMut(&Seen) -> Option<T>) -> T {
        soon(what, async {
            loop {
                let mut changed = std::pin::pin!(self.changed.notified());
                changed.as_mut().enable();
                if let Some(found) = self.note_nothing(&mut find) {
                    return found;
                }
                changed.await;
            }
        })
        .await
    }

    fn note_nothing<T>(&self, find: &mut impl FnMut(&Seen) -> Option<T>) -> Option<T> {
        find(&self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Which script a request is answered by.
#[derive(Clone)]
enum Play {
    InOrder(Arc<[Script]>),
    Any(Arc<dyn Fn(Received) -> Script + Send + Sync>),
}

fn in_order(scripts: Vec<Script>) -> Play {
    Play::InOrder(scripts.into())
}

/// A scripted upstream; ends when dropped.
pub(crate) struct Upstream {
    address: SocketAddr,
    log: Arc<Log>,
    scheme: &'static str,
    _serving: JoinSet<()>,
}

impl Upstream {
    /// Answers the first request by the first script, and so on; the last script repeats.
    pub(crate) async fn start(scripts: impl Into<Vec<Script>>) -> Self {
        Self::serve(in_order(scripts.into()), None).await
    }

    /// The same behind TLS.
    pub(crate) async fn start_tls(scripts: impl Into<Vec<Script>>, tls: ServerConfig) -> Self {
        Self::serve(in_order(scripts.into()), Some(Arc::new(tls))).await
    }

    /// Answers each request as `play` says, and keeps none of them.
    pub(crate) async fn playing(play: impl Fn(Received) -> Script + Send + Sync + 'static) -> Self {
        Self::serve(Play::Any(Arc::new(play)), None).await
    }

    async fn serve(play: Play, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::new(Log::default());
        let scheme = if tls.is_some() { "https" } else { "http" };
        let mut serving = JoinSet::new();
        serving.spawn(accept(listener, tls, Arc::clone(&log), play));
        Self { address, log, scheme, _serving: serving }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The `base_url` for the configuration.
    pub(crate) fn base_url(&self) -> String {
        format!("{}://{}/v1", self.scheme, self.address)
    }

    /// The request of this place, counted from zero, once it is there whole.
    pub(crate) async fn request(&self, place: usize) -> Received {
        self.log.wait("a request at the upstream", |seen| seen.requests.get(place).cloned()).await
    }

    /// How many requests have come.
    pub(crate) fn requests(&self) -> usize {
        self.log.note(|seen| seen.requests.len())
    }

    /// How many connections were opened.
    pub(crate) fn connections(&self) -> usize {
        self.log.note(|seen| seen.connections)
    }

    /// Waits until the sender of this request has closed its connection before the script was through.
    pub(crate) async fn abandoned(&self, place: usize) {
        self.log
            .wait("the gateway closing its connection to the upstream", |seen| {
                seen.abandoned.contains(&place).then_some(())
            })
            .await;
    }

    /// Waits until a TLS handshake has failed.
    pub(crate) async fn refused_handshake(&self) {
        self.log.wait("a failed handshake", |seen| (seen.handshakes_failed > 0).then_some(())).await;
    }
}

async fn accept(listener: TcpListener, tls: Option<Arc<ServerConfig>>, log: Arc<Log>, play: Play) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let connection = log.note(|seen| {
            seen.connections += 1;
            seen.connections - 1
        });
        let (log, play, tls) = (Arc::clone(&log), play.clone(), tls.clone());
        connections.spawn(async move {
            match Wire::accept(stream, tls).await {
                Ok(wire) => converse(wire, connection, &log, &play).await,
                Err(_) => log.note(|seen| seen.handshakes_failed += 1),
            }
        });
    }
}

/// One connection: request, script, request, script.
async fn converse(mut wire: Wire, connection: usize, log: &Log, play: &Play) {
    while let Some((head, body)) = wire.request().await {
        let received = Received { connection, at: Instant::now(), head, body };
        let (place, script) = match play {
            Play::InOrder(scripts) => {
                let place = log.note(|seen| {
                    seen.requests.push(received);
                    seen.requests.len() - 1
                });
                (place, scripts.get(place).or_else(|| scripts.last()).cloned().unwrap_or_default())
            }
            Play::Any(play) => (0, play(received)),
        };
        match script.play(&mut wire).await {
            script::End::Through => {}
            script::End::Closed => return,
            script::End::Abandoned => {
                if matches!(play, Play::InOrder(_)) {
                    log.note(|seen| seen.abandoned.push(place));
                }
                return;
            }
        }
    }
}
