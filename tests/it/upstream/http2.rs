//! An upstream that speaks HTTP/2 without asking first, and sees the single frames.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use h2::{Reason, SendStream, server::SendResponse};
use http::{Request, Response};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{Gate, Log, Received};

/// What it does with a request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    /// The stream is refused in place of an answer.
    pub(crate) refused: bool,
    /// Waits for this before the head.
    pub(crate) before_head: Option<Gate>,
    /// Sent with the head.
    pub(crate) first: String,
    /// Waits for this before the rest.
    pub(crate) before_rest: Option<Gate>,
    /// The end of the body.
    pub(crate) rest: String,
}

/// An HTTP/2 upstream; ends when dropped.
pub(crate) struct Http2Upstream {
    address: SocketAddr,
    log: Arc<Log>,
    _serving: JoinSet<()>,
}

impl Http2Upstream {
    /// Answers the first request by the first answer, and so on; the last answer repeats.
    pub(crate) async fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::new(Log::default());
        let mut serving = JoinSet::new();
        serving.spawn(accept(listener, Arc::clone(&log), answers.into()));
        Self { address, log, _serving: serving }
    }

    /// The `base_url` for the configuration.
    pub(crate) fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The request of this place, counted from zero.
    pub(crate) async fn request(&self, place: usize) -> Received {
        self.log.wait("a request at the upstream", |seen| seen.requests.get(place).cloned()).await
    }

    /// Waits for the reset of this request's stream.
    pub(crate) async fn reset(&self, place: usize) {
        let is_reset = |seen: &super::Seen| seen.abandoned.contains(&place).then_some(());
        self.log.wait("RST_STREAM at the upstream", is_reset).await;
    }

    /// How many requests have come.
    pub(crate) fn requests(&self) -> usize {
        self.log.note(|seen| seen.requests.len())
    }

    /// How many connections were opened.
    pub(crate) fn connections(&self) -> usize {
        self.log.note(|seen| seen.connections)
    }
}

async fn accept(listener: TcpListener, log: Arc<Log>, answers: Arc<[Answer]>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        log.note(|seen| seen.connections += 1);
        connections.spawn(converse(stream, Arc::clone(&log), Arc::clone(&answers)));
    }
}

async fn converse(stream: TcpStream, log: Arc<Log>, answers: Arc<[Answer]>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let number = log.note(|seen| seen.connections - 1);
    let mut streams = JoinSet::new();
    while let Some(Ok((request, respond))) = connection.accept().await {
        streams.spawn(answer(request, respond, number, Arc::clone(&log), Arc::clone(&answers)));
    }
}

async fn answer(
    mut request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    connection: usize,
    log: Arc<Log>,
    answers: Arc<[Answer]>,
) {
    let mut body = Vec::new();
    while let Some(Ok(bytes)) = request.body_mut().data().await {
        let _ = request.body_mut().flow_control().release_capacity(bytes.len());
        body.extend_from_slice(&bytes);
    }
    let head = format!("{} {} {:?}", request.method(), request.uri().path(), request.headers());
    let place = log.note(|seen| {
        seen.requests.push(Received { connection, at: tokio::time::Instant::now(), head, body });
        seen.requests.len() - 1
    });
    let Some(answer) = answers.get(place).or_else(|| answers.last()) else { return };
    if answer.refused {
        return respond.send_reset(Reason::REFUSED_STREAM);
    }
    if let Some(gate) = &answer.before_head {
        tokio::select! {
            () = gate.opened() => {}
            reset = std::future::poll_fn(|context| respond.poll_reset(context)) => return abandoned(&log, place, reset),
        }
    }
    let head = Response::builder().header("content-type", "text/event-stream").body(()).unwrap();
    let Ok(mut stream) = respond.send_response(head, false) else { return };
    let _ = stream.send_data(answer.first.clone().into(), false);
    if let Some(gate) = &answer.before_rest {
        tokio::select! {
            () = gate.opened() => {}
            reset = poll_reset(&mut stream) => return abandoned(&log, place, reset),
        }
    }
    let _ = stream.send_data(answer.rest.clone().into(), true);
}

async fn poll_reset(stream: &mut SendStream<Bytes>) -> Result<Reason, h2::Error> {
    std::future::poll_fn(|context| stream.poll_reset(context)).await
}

/// Only a reset of the stream counts: one that ends with its connection is not one.
fn abandoned(log: &Log, place: usize, reset: Result<Reason, h2::Error>) {
    if reset.is_ok_and(|reason| reason == Reason::CANCEL) {
        log.note(|seen| seen.abandoned.push(place));
    }
}
