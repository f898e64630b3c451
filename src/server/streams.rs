//! The streams of an HTTP/2 connection, each a task of its own. One whose client gives it no window is reset after a
//! while: its neighbours' bytes flow, so that the socket does not show it, and hyper would wait without end.
//!
//! Must not know what a stream carries.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use hyper::rt::Executor;
use hyper_util::rt::TokioExecutor;
use tokio::time::{Instant, sleep};

tokio::task_local! {
    static WINDOW: Arc<Window>;
}

/// Since when a body has waited to be asked for its next frame, which hyper does when there is window for it.
#[derive(Debug, Default)]
struct Window(Mutex<Option<Instant>>);

impl Window {
    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    fn awaited_since(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs streams, and ends those whose clients let them wait.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    limit: Duration,
}

impl Streams {
    /// Gives clients so long to take the next frame.
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit }
    }
}

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, stream: F) {
        TokioExecutor::new().execute(in_time(Box::pin(stream), self.limit));
    }
}

/// Runs `stream` to its end, or until it is to be reset, which dropping it does.
async fn in_time<F: Future>(stream: Pin<Box<F>>, limit: Duration) {
    let window = Arc::new(Window::default());
    let mut stream = pin!(WINDOW.scope(Arc::clone(&window), stream));
    let mut timer = pin!(sleep(limit));
    poll_fn(|context| {
        if stream.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        let Some(since) = window.awaited_since() else { return Poll::Pending };
        let due = since + limit;
        if timer.deadline() != due {
            timer.as_mut().reset(due);
        }
        timer.as_mut().poll(context)
    })
    .await;
}

/// A body that notes when it is not asked to go on.
#[derive(Debug)]
pub(super) struct Windowed<B> {
    body: B,
    /// None over HTTP/1, where the socket shows all.
    window: Option<Arc<Window>>,
}

/// Watches the body of an answer, if it is a stream's.
pub(super) fn windowed<B>(answer: Response<B>) -> Response<Windowed<B>> {
    let window = WINDOW.try_with(Arc::clone).ok();
    if let Some(window) = &window {
        window.set(Some(Instant::now()));
    }
    answer.map(|body| Windowed { body, window })
}

impl<B: Body<Data = Bytes> + Unpin> Body for Windowed<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if let Some(window) = &self.window {
            let goes_on = matches!(frame, Poll::Ready(Some(Ok(_)))) && !self.body.is_end_stream();
            window.set(goes_on.then(Instant::now));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
