//! How long a client takes over the head of its next request, told from the bytes that come in.
//!
//! hyper has one limit for a kept connection's idle time and for a begun head; the two are not alike. Must not
//! know what the bytes mean.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Response, Version};
use http_body::{Body, Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, sleep_until},
};

/// No head has begun.
const IDLE: u64 = 0;
/// A request is being answered, or the connection carries many at a time: what comes in is no head.
const ANSWERING: u64 = u64::MAX;

/// Where a connection stands: idle, answering, or since when a head is coming in.
#[derive(Debug)]
pub(super) struct Pace {
    accepted: Instant,
    /// [`IDLE`], [`ANSWERING`], or the microseconds from `accepted` to the head's first byte, and one.
    state: AtomicU64,
}

impl Pace {
    /// A connection just accepted, whose first head counts as begun: clients connect when they have something to say.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { accepted: Instant::now(), state: AtomicU64::new(1) })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.accepted.elapsed().as_micros())
            .unwrap_or(ANSWERING)
            .saturating_add(1)
            .min(ANSWERING - 1)
    }

    fn bytes_came(&self) {
        if self.state.load(Ordering::Relaxed) == IDLE {
            self.state.store(self.now(), Ordering::Relaxed);
        }
    }

    /// A head is there whole.
    pub(super) fn head_came(&self) {
        self.state.store(ANSWERING, Ordering::Relaxed);
    }

    /// The answer's body will tell when the next head may begin. Over HTTP/2 heads do not wait for answers.
    pub(super) fn until_answered<B>(
        self: Arc<Self>,
        version: Version,
        answer: Response<B>,
    ) -> Response<Answering<B>> {
        let pace = (version < Version::HTTP_2).then_some(self);
        answer.map(|body| Answering { body, pace })
    }

    /// Comes back when a head has taken longer than `limit`.
    pub(super) async fn overdue(&self, limit: Duration) {
        loop {
            // Nothing wakes this when a head begins: whatever began since the last look is not due before the next.
            let begun = match self.state.load(Ordering::Relaxed) {
                IDLE | ANSWERING => Instant::now(),
                micros => self.accepted + Duration::from_micros(micros - 1),
            };
            if begun.elapsed() >= limit {
                return;
            }
            sleep_until(begun + limit).await;
        }
    }
}

/// A body that ends the answering when it is dropped.
#[derive(Debug)]
pub(super) struct Answering<B> {
    body: B,
    pace: Option<Arc<Pace>>,
}

impl<B> Drop for Answering<B> {
    fn drop(&mut self) {
        if let Some(pace) = &self.pace {
            pace.state.store(IDLE, Ordering::Relaxed);
        }
    }
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

/// A connection whose incoming bytes are noticed.
#[derive(Debug)]
pub(super) struct Paced<S> {
    pub(super) stream: S,
    pub(super) pace: Arc<Pace>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let held = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > held {
            self.pace.bytes_came();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    async fn overdue_after(pace: &Pace) -> u64 {
        let begun = Instant::now();
        pace.overdue(LIMIT).await;
        begun.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_head_is_due_from_the_beginning() {
        assert_eq!(overdue_after(&Pace::new()).await, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_begun_head_is_due_whenever_it_began() {
        let pace = Pace::new();
        pace.head_came();
        drop(Arc::clone(&pace).until_answered(Version::HTTP_11, Response::new(())));
        let later = async {
            tokio::time::sleep(Duration::from_secs(33)).await;
            pace.bytes_came();
            tokio::time::sleep(Duration::from_secs(5)).await;
            pace.bytes_came();
        };
        let (seconds, ()) = tokio::join!(overdue_after(&pace), later);
        assert_eq!(seconds, 43, "more bytes give no more time");
    }

    #[tokio::test(start_paused = true)]
    async fn neither_an_answer_nor_many_streams_are_a_slow_head() {
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let pace = Pace::new();
            pace.head_came();
            let answer = Arc::clone(&pace).until_answered(version, Response::new(()));
            if version == Version::HTTP_2 {
                drop(answer);
            }
            pace.bytes_came();
            let hour = Duration::from_secs(3600);
            assert!(tokio::time::timeout(hour, pace.overdue(LIMIT)).await.is_err(), "{version:?}");
        }
    }
}
