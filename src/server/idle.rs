//! How long a connection has had nothing to do. Over HTTP/2 nobody else asks: a client that answers pings would keep its
//! slot for ever.
//!
//! Must not know what a request means.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, sleep_until};

/// The requests of a connection, and when the last of them was answered.
#[derive(Debug)]
pub(super) struct Activity(Mutex<State>);

#[derive(Debug)]
struct State {
    in_flight: usize,
    /// Of importance while none is in flight.
    idle_since: Instant,
}

impl Activity {
    /// A connection just accepted.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { in_flight: 0, idle_since: Instant::now() })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request has come; it is in flight until what is returned is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> InFlight {
        self.state().in_flight += 1;
        InFlight(Arc::clone(self))
    }

    /// Comes back when nothing was in flight for as long as `limit`.
    pub(super) async fn idle_for(&self, limit: Duration) {
        loop {
            // Nothing wakes this when requests come and go: what becomes idle after this look is not due before the next.
            let idle_since = {
                let state = self.state();
                if state.in_flight == 0 { state.idle_since } else { Instant::now() }
            };
            if idle_since.elapsed() >= limit {
                return;
            }
            sleep_until(idle_since + limit).await;
        }
    }
}

/// A request in flight.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Activity>);

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.in_flight = state.in_flight.saturating_sub(1);
        state.idle_since = Instant::now();
    }
}

impl InFlight {
    /// The request is in flight until the body of its answer is dropped.
    pub(super) fn until_answered<B>(self, answer: Response<B>) -> Response<Answering<B>> {
        answer.map(|body| Answering { body, _in_flight: self })
    }
}

/// A body whose request is in flight.
#[derive(Debug)]
pub(super) struct Answering<B> {
    body: B,
    _in_flight: InFlight,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Answering<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    async fn idle_after(activity: &Activity) -> u64 {
        let begun = Instant::now();
        activity.idle_for(LIMIT).await;
        begun.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_requests_is_idle_from_the_beginning() {
        assert_eq!(idle_after(&Activity::new()).await, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn idleness_is_counted_from_the_end_of_the_last_answer() {
        let activity = Activity::new();
        let first = activity.begin();
        let later = async {
            tokio::time::sleep(Duration::from_secs(33)).await;
            let second =
                activity.begin().until_answered(Response::new(http_body_util::Empty::<Bytes>::new()));
            drop(first);
            tokio::time::sleep(Duration::from_secs(4)).await;
            drop(second);
        };
        let (seconds, ()) = tokio::join!(idle_after(&activity), later);
        assert_eq!(seconds, 47);
    }
}
