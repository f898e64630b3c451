//! Writing results, and ending badly.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

/// The exit status of a wrong command line.
pub(super) const USAGE: u8 = 2;

/// Why a command failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The command line was wrong in a way that only the command can see.
    Usage(String),
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

    /// Tells why on stderr. The exit status that says the same.
    pub(super) fn show(&self) -> ExitCode {
        let mut stderr = io::stderr().lock();
        // When stderr is closed, nobody is there to be told.
        let _ = match self {
            Self::Because(reason) => writeln!(stderr, "error: {reason}"),
            Self::Usage(reason) => writeln!(stderr, "error: {reason}\n\nFor more information, try '--help'."),
            Self::Shown | Self::Closed => Ok(()),
        };
        if matches!(self, Self::Usage(_)) { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
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

/// The same for what comes piece by piece. What is no file of a folder's (a pipe, a device) is written to as it is.
pub(super) fn stream_file(
    path: &Path,
    write: impl FnOnce(File) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::Because(format!("cannot write {}: {error}", path.display()));
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
        return write(File::options().write(true).open(path).map_err(failed)?);
    }
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".unfinished");
    let file = File::create(&unfinished).map_err(failed)?;
    let written = write(file).and_then(|()| fs::rename(&unfinished, path).map_err(failed));
    if written.is_err() {
        // There may be nothing to remove.
        let _ = fs::remove_file(&unfinished);
    }
    written
}

/// A number with its thousands apart.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        assert_eq!([0, 12, 999, 1000, 1_670_250].map(thousands), ["0", "12", "999", "1,000", "1,670,250"]);
    }
}
