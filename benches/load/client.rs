//! Clients in a closed loop: each sends its next request when the last one's answer is there.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet};

use crate::{Failure, processes::KEY};

/// What is sent, and to whom.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) at: SocketAddr,
    /// Sent in turns.
    pub(crate) bodies: Arc<[Bytes]>,
    pub(crate) connections: usize,
    pub(crate) requests: usize,
    /// How every answer must end.
    pub(crate) ending: &'static [u8],
}

impl Load {
    /// Sends everything; returns how long each answer took, from the first byte sent to the last one read.
    pub(crate) async fn run(self) -> Result<Vec<Duration>, Failure> {
        let load = Arc::new(self);
        let sent = Arc::new(AtomicUsize::new(0));
        let mut clients = JoinSet::new();
        for _ in 0..load.connections {
            clients.spawn(client(Arc::clone(&load), Arc::clone(&sent)));
        }
        let mut latencies = Vec::with_capacity(load.requests);
        while let Some(client) = clients.join_next().await {
            latencies.extend(client??);
        }
        Ok(latencies)
    }
}

async fn client(load: Arc<Load>, sent: Arc<AtomicUsize>) -> Result<Vec<Duration>, Failure> {
    let stream = TcpStream::connect(load.at).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    let mut connections = JoinSet::new();
    connections.spawn(connection);
    let mut latencies = Vec::new();
    loop {
        let number = sent.fetch_add(1, Ordering::Relaxed);
        if number >= load.requests {
            return Ok(latencies);
        }
        let body = load.bodies.iter().cycle().nth(number % load.bodies.len()).cloned().unwrap_or_default();
        latencies.push(exchange(&mut sender, &load, body).await?);
    }
}

async fn exchange(
    sender: &mut SendRequest<Full<Bytes>>,
    load: &Load,
    body: Bytes,
) -> Result<Duration, Failure> {
    let request = Request::post("/v1/chat/completions")
        .header(header::HOST, "gateway")
        .header(header::AUTHORIZATION, format!("Bearer {KEY}"))
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json")
        .header(header::USER_AGENT, "load/1")
        .body(Full::new(body))?;
    let started = Instant::now();
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let mut answer = response.into_body();
    let mut last = Vec::new();
    while let Some(frame) = answer.frame().await {
        keep_last(&mut last, &frame?.into_data().unwrap_or_default());
    }
    let elapsed = started.elapsed();
    if !status.is_success() || !last.ends_with(load.ending) {
        let text = String::from_utf8_lossy(&last).into_owned();
        return Err(format!("an answer with status {status} that ends so: {text}").into());
    }
    Ok(elapsed)
}

/// Keeps the end of what has come: the ending may be spread over frames.
fn keep_last(last: &mut Vec<u8>, bytes: &[u8]) {
    const KEPT: usize = 64;
    last.extend_from_slice(bytes.get(bytes.len().saturating_sub(KEPT)..).unwrap_or_default());
    last.drain(..last.len().saturating_sub(KEPT));
}
