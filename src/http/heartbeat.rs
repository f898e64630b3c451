//! Signs of life for the client of a stream whose first content takes its time: comments, which clients skip and proxies on the
//! way count as traffic.
//!
//! The first one commits the status, 200; a failure after it is an error event, as one in the middle of an answer is.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

use super::respond::{BodyError, ResponseBody};

const HEARTBEAT: &[u8] = b": waiting for the model\n\n";

/// The answer, as it is if it comes within `every`; else a stream that shows signs of life until it comes.
pub(super) async fn answered(
    answering: impl Future<Output = Response<ResponseBody>> + Send + 'static,
    every: Duration,
) -> Response<ResponseBody> {
    let mut answering: Answering = Box::pin(answering);
    if let Ok(response) = timeout(every, &mut answering).await {
        return response;
    }
    let mut beats = interval(every);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut response = Response::new(Beating { stage: Stage::Waiting(answering, beats) }.boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

type Answering = Pin<Box<dyn Future<Output = Response<ResponseBody>> + Send>>;

struct Beating {
    stage: Stage,
}

enum Stage {
    Waiting(Answering, Interval),
    /// The answer's own events.
    Answer(ResponseBody),
    /// An error object in place of an answer, and what has come of it.
    Error(ResponseBody, Vec<u8>),
    Over,
}

impl Body for Beating {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            match &mut self.stage {
                Stage::Waiting(answering, beats) => {
                    if let Poll::Ready(response) = answering.as_mut().poll(context) {
                        let is_answer = response.status().is_success();
                        let body = response.into_body();
                        self.stage =
                            if is_answer { Stage::Answer(body) } else { Stage::Error(body, Vec::new()) };
                        continue;
                    }
                    ready!(beats.poll_tick(context));
                    return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(HEARTBEAT)))));
                }
                Stage::Answer(body) => return Pin::new(body).poll_frame(context),
                Stage::Error(body, told) => match ready!(Pin::new(body).poll_frame(context)) {
                    Some(Ok(frame)) => told.extend(frame.into_data().into_iter().flatten()),
                    Some(Err(_)) | None => {
                        // A JSON text may stand in several lines, an event's data not.
                        let line: Vec<u8> = told
                            .iter()
                            .map(|&byte| if byte == b'\n' || byte == b'\r' { b' ' } else { byte })
                            .collect();
                        self.stage = Stage::Over;
                        let event = [b"data: ", &line[..], b"\n\n"].concat();
                        return Poll::Ready(Some(Ok(Frame::data(event.into()))));
                    }
                },
                Stage::Over => return Poll::Ready(None),
            }
        }
    }
}
