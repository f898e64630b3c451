//! The gate before hyper: lets whole heads in that may be served, and in place of the first that may not, one that the
//! service knows to refuse.
//!
//! hyper refuses malformed heads itself, with a status and nothing else, reads a request with two ends by its chunks,
//! and has one limit for a begun head and for an idle connection. Here a bad head is found before hyper sees it, and
//! its refusal goes the way of every answer: in its turn behind those before it, in OpenAI's form, counted once.
//! Nothing behind it is read. Must not know what a request is for.

mod chunks;
mod framing;
#[cfg(fuzzing)]
pub mod fuzzing;
mod head;

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};
use tokio_util::io::poll_read_buf;

use self::framing::Framing;
use crate::http::HeadFault;

/// What hyper reads in place of a refused head.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n";
/// Read at a time while a head is awaited, in bytes.
const READ_BYTES: usize = 8 << 10;
/// How long, and for how many bytes, a client in the middle of sending may go on after its connection's last answer:
/// closing under it would lose it the answer.
const LINGER_MAX: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 16 << 20;

/// Which request of a connection is refused, and why.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// The place of the refused head, counted from zero.
    refused: OnceLock<(u64, HeadFault)>,
    taken: AtomicU64,
}

impl Verdict {
    /// To be asked once for every request that comes through, in their order: what is wrong with it.
    pub(super) fn on_next(&self) -> Option<HeadFault> {
        let place = self.taken.fetch_add(1, Ordering::Relaxed);
        self.refused.get().filter(|(refused, _)| *refused == place).map(|&(_, fault)| fault)
    }
}

/// What bounds a head.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeadLimits {
    /// Its bytes.
    pub(super) bytes_max: usize,
    /// The time from its first byte to its last; of a connection's first, from the beginning.
    pub(super) timeout: Duration,
}

/// A connection with a gate.
#[derive(Debug)]
pub(super) struct Gate<S> {
    stream: S,
    framing: Framing,
    verdict: Arc<Verdict>,
    head_timeout: Duration,
    /// When the head that has begun must be there.
    due: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    /// Read and not handed on: bytes that may pass, then a head that is not whole.
    held: BytesMut,
    passing: usize,
    /// What came after the last answer, once that is out.
    lingered_bytes: Option<usize>,
}

impl<S> Gate<S> {
    /// A gate before a connection just accepted.
    pub(super) fn new(stream: S, limits: HeadLimits) -> Self {
        Self {
            stream,
            framing: Framing::new(limits.bytes_max),
            verdict: Arc::default(),
            head_timeout: limits.timeout,
            due: Some(Instant::now() + limits.timeout),
            timer: None,
            held: BytesMut::new(),
            passing: 0,
            lingered_bytes: None,
        }
    }

    /// Tells the requests apart that come through.
    pub(super) fn verdict(&self) -> Arc<Verdict> {
        Arc::clone(&self.verdict)
    }

    fn is_refusing(&self) -> bool {
        self.verdict.refused.get().is_some()
    }

    /// Nothing held may pass yet, and more has come, or will not.
    fn look_at_held(&mut self, is_end: bool) {
        let look = self.framing.look(&self.held, is_end);
        self.passing = look.passing;
        if let Some(fault) = look.fault {
            self.refuse(fault);
        } else if self.held.len() == self.passing {
            (self.due, self.timer) = (None, None);
        } else {
            self.due.get_or_insert_with(|| Instant::now() + self.head_timeout);
        }
    }

    /// Lets the stand-in pass in place of the head at hand.
    fn refuse(&mut self, fault: HeadFault) {
        self.held.truncate(self.passing);
        self.held.extend_from_slice(STAND_IN);
        self.passing = self.held.len();
        (self.due, self.timer) = (None, None);
        let _ = self.verdict.refused.set((self.framing.heads(), fault));
    }

    fn hand_on(&mut self, buffer: &mut ReadBuf<'_>) {
        let here = self.passing.min(buffer.remaining());
        buffer.put_slice(self.held.get(..here).unwrap_or_default());
        self.held.advance(here);
        self.passing -= here;
    }

    fn poll_timer(&mut self, context: &mut Context<'_>, due: Instant) -> Poll<()> {
        self.timer.get_or_insert_with(|| Box::pin(sleep_until(due))).as_mut().poll(context)
    }
}

impl<S: AsyncRead + Unpin> Gate<S> {
    /// Reads what may be a head. Ready where something may pass, or nothing more will come.
    fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.passing == 0 {
            self.held.reserve(READ_BYTES);
            match poll_read_buf(Pin::new(&mut self.stream), context, &mut self.held)? {
                Poll::Ready(count) => {
                    self.look_at_held(count == 0);
                    if count == 0 {
                        break;
                    }
                }
                Poll::Pending => {
                    if self.held.is_empty() {
                        // Idle connections are many.
                        self.held = BytesMut::new();
                    }
                    let Some(due) = self.due else { return Poll::Pending };
                    ready!(self.poll_timer(context, due));
                    if self.held.is_empty() {
                        return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                    }
                    self.refuse(HeadFault::Slow);
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads a body where hyper wants it; a head behind it is held back.
    fn poll_body(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let new = buffer.filled().get(before..).unwrap_or_default();
        let look = self.framing.look(new, false);
        if look.passing < new.len() {
            self.held.extend_from_slice(new.get(look.passing..).unwrap_or_default());
            self.due = Some(Instant::now() + self.head_timeout);
        }
        buffer.set_filled(before + look.passing);
        if let Some(fault) = look.fault {
            self.refuse(fault);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gate<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        if gate.passing == 0 {
            if gate.is_refusing() {
                // The answer closes the connection; an end of its own would cut it short.
                return Poll::Pending;
            }
            if !gate.framing.is_at_head() {
                return gate.poll_body(context, buffer);
            }
            ready!(gate.poll_head(context))?;
        }
        gate.hand_on(buffer);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Gate<S> {
    fn poll_linger(&mut self, context: &mut Context<'_>, mut lingered_bytes: usize) -> Poll<()> {
        let mut scratch = [0; READ_BYTES];
        while lingered_bytes < LINGER_BYTES_MAX {
            let mut buffer = ReadBuf::new(&mut scratch);
            let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(context, &mut buffer) else {
                let due = *self.due.get_or_insert_with(|| Instant::now() + LINGER_MAX);
                return self.poll_timer(context, due);
            };
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
            lingered_bytes += buffer.filled().len();
            self.lingered_bytes = Some(lingered_bytes);
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Gate<S> {
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

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        if gate.lingered_bytes.is_none() {
            ready!(Pin::new(&mut gate.stream).poll_shutdown(context))?;
        }
        if gate.is_refusing() || gate.framing.is_in_body() {
            let lingered_bytes = *gate.lingered_bytes.get_or_insert(0);
            ready!(gate.poll_linger(context, lingered_bytes));
        }
        Poll::Ready(Ok(()))
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
mod tests;
