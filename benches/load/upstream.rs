//! The upstream that all proxies stand before. Its answers are made beforehand; it sends them at once, or at a pace.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Request, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    time::{MissedTickBehavior, interval},
};
use tokio_util::task::TaskTracker;

use crate::{Failure, prompts, wire};

/// How a streamed answer ends.
pub(crate) const STREAM_ENDING: &[u8] = b"data: [DONE]\n\n";

/// How a whole answer ends.
pub(crate) const WHOLE_ENDING: &[u8] = b"\"total_tokens\":254}}";

/// Time between two events of a paced answer: 500 tokens a second, as fast as models get.
pub(crate) const PACE: Duration = Duration::from_millis(2);

/// What a request asks for a paced answer with: a field that no proxy knows.
const PACED: &[u8] = b",\"paced\":true}";

/// A chat request that wants its answer event by event.
pub(crate) fn paced(body: &Bytes) -> Bytes {
    let fields = body.strip_suffix(b"}").unwrap_or_default();
    [fields, PACED].concat().into()
}

struct Answers {
    whole: Bytes,
    events: Vec<Bytes>,
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Serves on a free port until the process ends.
pub(crate) async fn start(events: usize) -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let answers = Arc::new(Answers { whole: whole_answer(), events: wire::answer_events(events) });
    let tasks = TaskTracker::new();
    let connections = tasks.clone();
    tasks.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(connection(stream, Arc::clone(&answers)));
        }
    });
    Ok(address)
}

async fn connection(stream: TcpStream, answers: Arc<Answers>) {
    let service = service_fn(|request| respond(request, Arc::clone(&answers)));
    // A proxy that closes its connection has its reasons; a client that gets no answer tells.
    if stream.set_nodelay(true).is_ok() {
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }
}

async fn respond(request: Request<Incoming>, answers: Arc<Answers>) -> Result<Response<Body>, hyper::Error> {
    let asked = request.into_body().collect().await?.to_bytes();
    let streamed = memchr::memmem::find(&asked, b"\"stream\":true").is_some();
    let (kind, body) = if asked.ends_with(PACED) {
        ("text/event-stream", paced_events(answers))
    } else if streamed {
        ("text/event-stream", events(answers))
    } else {
        ("application/json", Full::new(answers.whole.clone()).boxed_unsync())
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(response)
}

/// Each event in a chunk of its own.
fn events(answers: Arc<Answers>) -> Body {
    let frames = (0..).map_while(move |number: usize| answers.events.get(number).cloned());
    StreamBody::new(stream::iter(frames.map(|event| Ok(Frame::data(event))))).boxed_unsync()
}

/// Each event in a chunk of its own, when its time has come.
fn paced_events(answers: Arc<Answers>) -> Body {
    let mut ticks = interval(PACE);
    // An event that is late puts off all after it, so that no two go out together.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let frames = stream::unfold((ticks, 0), move |(mut ticks, number)| {
        let event = answers.events.get(number).cloned();
        async move {
            let event = event?;
            ticks.tick().await;
            Some((Ok(Frame::data(event)), (ticks, number + 1)))
        }
    });
    StreamBody::new(frames).boxed_unsync()
}

/// An answer of some 190 tokens.
fn whole_answer() -> Bytes {
    let content: String = prompts::TEXT.chars().take(800).collect();
    let answer = json!({
        "id": "chatcmpl-BkJ2mVq0XyZ8T4nWc6LrPsDfGhAe1", "object": "chat.completion", "created": 1_718_000_000,
        "model": "upstream-model-2024-06-01", "service_tier": "default", "system_fingerprint": "fp_0a1b2c3d4e",
        "choices": [{
            "index": 0, "message": {"role": "assistant", "content": content, "refusal": null, "annotations": []},
            "logprobs": null, "finish_reason": "stop",
        }],
        "usage": {"prompt_tokens": 64, "completion_tokens": 190, "total_tokens": 254},
    });
    answer.to_string().into()
}
