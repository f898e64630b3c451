//! What an upstream does with a request, step by step.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::wire::Wire;

/// Holds a script until the test opens it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate(CancellationToken);

impl Gate {
    /// Lets every script that waits here, or will, go on.
    pub(crate) fn open(&self) {
        self.0.cancel();
    }

    /// Waits until the gate is open.
    pub(crate) async fn opened(&self) {
        self.0.cancelled().await;
    }
}

#[derive(Debug, Clone)]
enum Step {
    Write(Arc<[u8]>),
    Repeat(Arc<[u8]>, usize),
    Wait(Gate),
    Pause(Duration),
    Silence,
    HalfClose,
    Reset,
    Close,
}

/// How a script ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The connection goes on.
    Through,
    /// The script closed the connection.
    Closed,
    /// The peer was gone first.
    Abandoned,
}

/// The steps of an answer. Built from its head on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script(Vec<Step>);

impl Script {
    /// Nothing yet: for what is no HTTP.
    pub(crate) fn empty() -> Self {
        Self::default()
    }

    /// A whole JSON answer.
    pub(crate) fn json(status: u16, body: &str) -> Self {
        Self::whole(status, "content-type: application/json", body.as_bytes())
    }

    /// A whole answer with header lines of its own, separated by CRLF.
    pub(crate) fn whole(status: u16, headers: &str, body: &[u8]) -> Self {
        let length = body.len();
        Self::empty()
            .write(format!("HTTP/1.1 {status} Status\r\n{headers}\r\ncontent-length: {length}\r\n\r\n"))
            .write(body)
    }

    /// The head of a streamed answer.
    pub(crate) fn stream() -> Self {
        Self::stream_with("content-type: text/event-stream; charset=utf-8")
    }

    /// The head of a chunked answer with header lines of its own.
    pub(crate) fn stream_with(headers: &str) -> Self {
        Self::empty().write(format!("HTTP/1.1 200 OK\r\n{headers}\r\ntransfer-encoding: chunked\r\n\r\n"))
    }

    /// These events and a proper end.
    pub(crate) fn events(events: &[String]) -> Self {
        events.iter().fold(Self::stream(), |script, event| script.chunk(event)).end()
    }

    fn then(mut self, step: Step) -> Self {
        self.0.push(step);
        self
    }

    /// Bytes as they are.
    pub(crate) fn write(self, bytes: impl AsRef<[u8]>) -> Self {
        self.then(Step::Write(bytes.as_ref().into()))
    }

    /// The same bytes many times.
    pub(crate) fn repeat(self, bytes: impl AsRef<[u8]>, times: usize) -> Self {
        self.then(Step::Repeat(bytes.as_ref().into(), times))
    }

    /// One chunk of a chunked body.
    pub(crate) fn chunk(self, text: impl AsRef<[u8]>) -> Self {
        self.write(chunk(text.as_ref()))
    }

    /// The end of a chunked body.
    pub(crate) fn end(self) -> Self {
        self.write("0\r\n\r\n")
    }

    /// Waits until the gate is open.
    pub(crate) fn wait(self, gate: &Gate) -> Self {
        self.then(Step::Wait(gate.clone()))
    }

    /// Waits for so long.
    pub(crate) fn pause(self, time: Duration) -> Self {
        self.then(Step::Pause(time))
    }

    /// Says nothing more, until the peer has left.
    pub(crate) fn silence(self) -> Self {
        self.then(Step::Silence)
    }

    /// Ends the sending direction, and waits for the peer to leave.
    pub(crate) fn half_close(self) -> Self {
        self.then(Step::HalfClose)
    }

    /// Resets the connection.
    pub(crate) fn reset(self) -> Self {
        self.then(Step::Reset)
    }

    /// Closes the connection.
    pub(crate) fn close(self) -> Self {
        self.then(Step::Close)
    }

    pub(super) async fn play(self, wire: &mut Wire) -> End {
        for step in self.0 {
            if let Some(end) = perform(step, wire).await {
                return end;
            }
        }
        End::Through
    }
}

async fn perform(step: Step, wire: &mut Wire) -> Option<End> {
    match step {
        Step::Write(bytes) => return wire.write(&bytes).await.is_err().then_some(End::Abandoned),
        Step::Repeat(bytes, times) => {
            for _ in 0..times {
                if wire.write(&bytes).await.is_err() {
                    return Some(End::Abandoned);
                }
            }
            return None;
        }
        Step::Wait(gate) => {
            tokio::select! {
                biased;
                () = gate.opened() => return None,
                () = wire.closed() => return Some(End::Abandoned),
            }
        }
        Step::Pause(time) => {
            tokio::select! {
                () = tokio::time::sleep(time) => return None,
                () = wire.closed() => return Some(End::Abandoned),
            }
        }
        Step::Silence => {
            wire.closed().await;
            return Some(End::Abandoned);
        }
        Step::HalfClose => {
            wire.half_close().await;
            wire.closed().await;
        }
        Step::Reset => wire.reset(),
        Step::Close => wire.half_close().await,
    }
    Some(End::Closed)
}

/// One chunk of a chunked body.
pub(crate) fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}
