//! Writing results, and ending badly.

use std::io::{self, Write};

/// Why a command failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// This is why.
    Because(String),
    /// The results themselves say so.
    Shown,
    /// Stdout is closed: whoever read it has read enough.
    Closed,
}

impl Failure {
    /// Tells why on stderr.
    pub(super) fn show(&self) {
        if let Self::Because(reason) = self {
            // When stderr is closed, nobody is there to be told.
            let _ = writeln!(io::stderr().lock(), "error: {reason}");
        }
    }
}

impl From<io::Error> for Failure {
    /// Only writing results is handled by `?`: other failures are told with what was being done.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Because(format!("cannot write the result: {error}")),
        }
    }
}

/// `1 error`, `2 errors`.
pub(super) fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
