//! Files and folders, with errors that name them.

use std::path::Path;

use super::FinetuneError;

pub(super) fn read(path: &Path) -> Result<Vec<u8>, FinetuneError> {
    std::fs::read(path).map_err(|source| FinetuneError::Read { path: path.to_owned(), source })
}

pub(super) fn write(path: &Path, bytes: impl AsRef<[u8]>) -> Result<(), FinetuneError> {
    std::fs::write(path, bytes).map_err(|source| FinetuneError::Write { path: path.to_owned(), source })
}

pub(super) fn create_folder(path: &Path) -> Result<(), FinetuneError> {
    std::fs::create_dir_all(path).map_err(|source| FinetuneError::Write { path: path.to_owned(), source })
}

pub(super) fn rename(from: &Path, to: &Path) -> Result<(), FinetuneError> {
    std::fs::rename(from, to).map_err(|source| FinetuneError::Write { path: to.to_owned(), source })
}
