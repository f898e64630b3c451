//! Writing results, and ending badly.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

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
    /// For the reason that `error` gives.
    pub(super) fn because(error: impl fmt::Display) -> Self {
        Self::Because(error.to_string())
    }

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

/// Writes a whole file or none: a reader never sees half of it, a failure leaves what was there.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".unfinished");
    let written = fs::write(&unfinished, bytes).and_then(|()| fs::rename(&unfinished, path));
    written.map_err(|error| {
        // There may be nothing to remove.
        let _ = fs::remove_file(&unfinished);
        Failure::Because(format!("cannot write {}: {error}", path.display()))
    })
}
