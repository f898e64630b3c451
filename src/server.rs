//! Connections: accepted, bounded, encrypted where configured, and let go gracefully.
//!
//! Must not know what a request means.

#[cfg(fuzzing)]
#[doc(hidden)]
pub use gate::fuzzing;

mod gate;
mod idle;
mod stall;
mod streams;
pub mod tls;

use std::{io, pin::pin, sync::Arc, time::Duration};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    gate::{Gate, HeadLimits},
    idle::Activity,
    stall::Unstalled,
    streams::{Streams, windowed},
};
use crate::{
    config::ServerLimits,
    http::{Face, HEADER_FIELDS_MAX, HeadFault, app::App, handle, refuse},
};

/// A client that vanished without a word is noticed after two minutes, before most firewalls forget the connection.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);

/// Streams that one HTTP/2 connection may have open.
const STREAMS_MAX: u32 = 256;

/// A listener and what its connections need.
pub struct Listener {
    /// The socket.
    pub socket: TcpListener,
    /// Whether it speaks TLS; with which certificate, the gateway knows.
    pub has_tls: bool,
    /// What is served here.
    pub face: Face,
    /// The gateway.
    pub app: Arc<App>,
    /// The limits.
    pub limits: ServerLimits,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Listener")
            .field("socket", &self.socket)
            .field("face", &self.face)
            .finish_non_exhaustive()
    }
}

/// What every connection of a listener shares.
struct Shared {
    has_tls: bool,
    face: Face,
    app: Arc<App>,
    limits: ServerLimits,
    protocols: auto::Builder<Streams>,
    /// No request is begun any more.
    stop: CancellationToken,
}

impl Listener {
    /// Serves until `stop`, then waits for the requests in flight, at most the drain timeout. Returns how many
    /// connections were cut.
    pub async fn serve(self, stop: CancellationToken) -> usize {
        let slots = Arc::new(Semaphore::new(self.limits.max_connections.min(Semaphore::MAX_PERMITS)));
        let drain_timeout = self.limits.drain_timeout;
        let protocols = protocols(&self.limits);
        let Self { socket, has_tls, face, app, limits } = self;
        let shared = Arc::new(Shared { has_tls, face, app, limits, protocols, stop: stop.clone() });
        let tasks = TaskTracker::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = accept(&socket, &slots) => match accepted {
                    Ok((stream, slot)) => {
                        tasks.spawn(connection(Arc::clone(&shared), stream, slot));
                    }
                    Err(error) => {
                        // Out of file descriptors, as a rule: trying again at once would only spin.
                        tracing::error!(%error, "cannot accept a connection");
                        shared.app.metrics.connections_refused.with_label_values(&["accept"]).inc();
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
            }
        }
        drop(socket);
        tasks.close();
        if timeout(drain_timeout, tasks.wait()).await.is_ok() { 0 } else { tasks.len() }
    }
}

/// A slot first, then a connection: past the limit clients wait in the kernel's queue.
async fn accept(
    socket: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _peer) = socket.accept().await?;
    // Fails for a client that is gone already; its connection will tell.
    let _ = stream.set_nodelay(true).and_then(|()| SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE));
    Ok((stream, slot))
}

/// What is read of a head at all, above the limit that a request is held to: that one can be raised by a reload.
fn head_bytes_max(limits: &ServerLimits) -> usize {
    limits.max_header_bytes.saturating_mul(4).max(64 << 10)
}

fn protocols(limits: &ServerLimits) -> auto::Builder<Streams> {
    let mut builder = auto::Builder::new(Streams::new(limits.write_timeout));
    let head_bytes_max = head_bytes_max(limits);
    builder
        .http1()
        .timer(TokioTimer::new())
        // The gate and the idle timeout see to it.
        .header_read_timeout(None)
        .max_headers(HEADER_FIELDS_MAX)
        // The gate has its say first.
        .max_buf_size(head_bytes_max.saturating_mul(2));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(head_bytes_max).unwrap_or(u32::MAX))
        .keep_alive_interval(Duration::from_secs(30));
    builder
}

/// One connection, from its handshake to its end.
async fn connection(shared: Arc<Shared>, stream: TcpStream, slot: OwnedSemaphorePermit) {
    shared.app.metrics.connections.inc();
    if shared.has_tls {
        match timeout(shared.limits.header_timeout, handshake(&shared, stream)).await {
            Ok(Ok(stream)) => requests(&shared, stream).await,
            Ok(Err(_)) | Err(_) => refused(&shared, "tls"),
        }
    } else {
        requests(&shared, stream).await;
    }
    shared.app.metrics.connections.dec();
    drop(slot);
}

/// With the certificate in force; never in the clear instead.
async fn handshake(shared: &Shared, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    let config = shared.app.snapshot.load().tls.clone().ok_or(io::ErrorKind::NotConnected)?;
    TlsAcceptor::from(config).accept(stream).await
}

fn refused(shared: &Shared, reason: &str) {
    shared.app.metrics.connections_refused.with_label_values(&[reason]).inc();
}

async fn requests<S>(shared: &Arc<Shared>, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits =
        HeadLimits { bytes_max: head_bytes_max(&shared.limits), timeout: shared.limits.header_timeout };
    let gate = Gate::new(Unstalled::new(stream, shared.limits.write_timeout), limits);
    let verdict = gate.verdict();
    let activity = Activity::new();
    let service = service_fn(|request| {
        let (app, face) = (Arc::clone(&shared.app), shared.face);
        let in_flight = activity.begin();
        let fault = verdict.on_next();
        if let Some(fault) = fault {
            refused(shared, if fault == HeadFault::Slow { "slow" } else { "malformed" });
        }
        async move {
            let answer = match fault {
                None => handle(app, face, request).await,
                Some(fault) => refuse(&app, face, fault),
            };
            Ok::<_, std::convert::Infallible>(in_flight.until_answered(windowed(answer)))
        }
    });
    let mut serving = pin!(shared.protocols.serve_connection(TokioIo::new(gate), service).into_owned());
    let served = tokio::select! {
        served = serving.as_mut() => served,
        () = let_go(shared, &activity) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "connection ended with an error");
        refused(shared, reason_of(&*error));
    }
}

/// Comes back when a connection is to end after the answers on their way.
async fn let_go(shared: &Shared, activity: &Activity) {
    tokio::select! {
        () = shared.stop.cancelled() => {}
        () = activity.idle_for(shared.limits.idle_timeout) => {}
    }
}

/// Why a connection ended early, as a closed vocabulary.
fn reason_of(error: &(dyn std::error::Error + 'static)) -> &'static str {
    match (error.downcast_ref::<hyper::Error>(), error.downcast_ref::<io::Error>()) {
        (Some(error), _) if error.is_parse() => "malformed",
        (Some(error), _) if error.is_incomplete_message() => "cut",
        (Some(error), _) if is_stalled(error) => "stalled",
        // Nothing came at all.
        (_, Some(error)) if error.kind() == io::ErrorKind::TimedOut => "slow",
        _ => "other",
    }
}

fn is_stalled(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_are_kept_alive_and_not_delayed() {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
        let (stream, _slot) = accept(&socket, &Arc::new(Semaphore::new(1))).await.unwrap();
        assert!(stream.nodelay().unwrap());
        assert!(SockRef::from(&stream).keepalive().unwrap());
    }
}
