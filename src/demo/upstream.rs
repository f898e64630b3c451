//! The built-in upstream: an OpenAI-compatible server that answers as the demo's models do.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full, Limited, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{MODELS, answer};

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Longest request; the gateway's own limit is what users meet.
const BODY_BYTES_MAX: usize = 64 << 20;

/// Binds the built-in upstream to a free port of this machine.
///
/// # Errors
/// When there is no such port.
pub async fn bind() -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Serves until `stop`.
pub async fn serve(listener: TcpListener, stop: CancellationToken) {
    let tasks = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _peer)) = accepted else { continue };
        // Small frames that wait for an acknowledgement would make the demo stutter.
        if stream.set_nodelay(true).is_err() {
            continue;
        }
        tasks.spawn(async move {
            let service = service_fn(|request| async { Ok::<_, Infallible>(respond(request).await) });
            let served = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "demo connection ended");
            }
        });
    }
}

async fn respond(request: Request<Incoming>) -> Response<Body> {
    if !request.uri().path().ends_with("/chat/completions") {
        return error(StatusCode::NOT_FOUND, "the demo's models answer chat completions only");
    }
    let Ok(body) = Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await else {
        return error(StatusCode::BAD_REQUEST, "the body cannot be read");
    };
    let Ok(asked) = serde_json::from_slice::<Value>(&body.to_bytes()) else {
        return error(StatusCode::BAD_REQUEST, "the body is not JSON");
    };
    let model = asked.get("model").and_then(Value::as_str).unwrap_or_default().to_owned();
    let prompt = last_user_text(&asked);
    let tokens = answer::tokens(&model, &prompt);
    let usage = json!({
        "prompt_tokens": prompt.len().div_ceil(4), "completion_tokens": tokens.len(),
        "total_tokens": prompt.len().div_ceil(4) + tokens.len(),
    });
    if asked.get("stream").and_then(Value::as_bool) == Some(true) {
        let wants_usage =
            asked.pointer("/stream_options/include_usage").and_then(Value::as_bool) == Some(true);
        streamed(model, tokens, wants_usage.then_some(usage))
    } else {
        tokio::time::sleep(pause(&model) * u32::try_from(tokens.len()).unwrap_or(1)).await;
        whole(&model, &tokens.concat(), &usage)
    }
}

fn last_user_text(asked: &Value) -> String {
    let messages = asked.get("messages").and_then(Value::as_array);
    let last =
        messages.and_then(|all| all.iter().rev().find(|message| message.get("role") == Some(&json!("user"))));
    match last.and_then(|message| message.get("content")) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            parts.iter().filter_map(|part| part.get("text")?.as_str()).collect::<Vec<_>>().join(" ")
        }
        _ => String::new(),
    }
}

/// The time a token takes.
fn pause(model: &str) -> Duration {
    let per_second =
        MODELS.iter().find(|known| known.name == model).map_or(100, |known| known.tokens_per_second);
    Duration::from_micros(1_000_000 / per_second)
}

fn whole(model: &str, text: &str, usage: &Value) -> Response<Body> {
    let answer = json!({
        "id": "chatcmpl-demo", "object": "chat.completion", "created": created(), "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": usage,
    });
    json_response(StatusCode::OK, &answer)
}

fn streamed(model: String, tokens: Vec<String>, usage: Option<Value>) -> Response<Body> {
    let pause = pause(&model);
    let chunk = move |delta: Value, finish: Option<&str>| {
        let choices = json!([{"index": 0, "delta": delta, "finish_reason": finish}]);
        json!({"id": "chatcmpl-demo", "object": "chat.completion.chunk", "created": created(), "model": &model, "choices": choices})
    };
    let mut events = vec![chunk(json!({"role": "assistant", "content": ""}), None)];
    events.extend(tokens.into_iter().map(|token| chunk(json!({"content": token}), None)));
    events.push(chunk(json!({}), Some("stop")));
    if let Some(usage) = usage {
        let mut last = chunk(json!({}), None);
        last["choices"] = json!([]);
        last["usage"] = usage;
        events.push(last);
    }
    let texts =
        events.into_iter().map(|event| format!("data: {event}\n\n")).chain(["data: [DONE]\n\n".to_owned()]);
    let frames = stream::unfold(texts, move |mut texts| async move {
        let text = texts.next()?;
        tokio::time::sleep(pause).await;
        Some((Ok::<_, Infallible>(Frame::data(Bytes::from(text))), texts))
    });
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response
}

fn created() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn error(status: StatusCode, message: &str) -> Response<Body> {
    let body =
        json!({"error": {"message": message, "type": "invalid_request_error", "param": null, "code": null}});
    json_response(status, &body)
}

fn json_response(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(value.to_string())).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
