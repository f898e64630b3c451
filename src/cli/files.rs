//! Files that a command line names: where one cannot be read, the option that named it is told, and what it should be.

use std::fs;
use std::io;
use std::path::Path;

use super::output::Failure;

/// Reads a file whole.
pub(super) fn read(option: &str, file: &Path, expected: &str) -> Result<Vec<u8>, Failure> {
    fs::read(file).map_err(|error| unreadable(option, file, expected, &error))
}

/// Fails when there is no such file or folder: before the work on what else is named has begun.
pub(super) fn expect(option: &str, path: &Path, expected: &str) -> Result<(), Failure> {
    fs::metadata(path).map(|_| ()).map_err(|error| unreadable(option, path, expected, &error))
}

fn unreadable(option: &str, path: &Path, expected: &str, error: &io::Error) -> Failure {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::NotFound => {
            Failure::Because(format!("{option} {path}: there is no such file; expected {expected}"))
        }
        _ => Failure::Because(format!("{option} {path}: {error}; expected {expected}")),
    }
}
