//! The folder in which files gather until they are whole: `<out>.partial`, kept from call to call.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::PullError;

/// An open gathering place; nobody else has it.
#[derive(Debug)]
pub(super) struct Staging {
    folder: PathBuf,
    /// Held until the end; the system lets go of it with the process.
    _lock: File,
}

/// The end of the name of a file that may not be whole.
const PART: &str = "part";
const LOCK: &str = "lock";

/// Whether there is something at `out` that a rename would not replace.
pub(super) fn is_occupied(out: &Path) -> bool {
    match fs::read_dir(out) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(".");
    path.push(end);
    PathBuf::from(path)
}

fn at(path: &Path) -> impl Fn(io::Error) -> PullError + '_ {
    |source| PullError::File { path: path.to_owned(), source }
}

impl Staging {
    /// Opens the gathering place of `out`.
    pub(super) fn open(out: &Path) -> Result<Self, PullError> {
        // A trailing slash would put the place inside the folder it stands for.
        let folder = with_end(&out.components().collect::<PathBuf>(), "partial");
        fs::create_dir_all(&folder).map_err(at(&folder))?;
        let lock_path = folder.join(LOCK);
        let lock = File::create(&lock_path).map_err(at(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { folder, _lock: lock }),
            Err(fs::TryLockError::WouldBlock) => Err(PullError::Busy { folder }),
            Err(fs::TryLockError::Error(error)) => Err(at(&lock_path)(error)),
        }
    }

    /// Where the files are.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a file gathers.
    pub(super) fn part(&self, file: &str) -> Result<PathBuf, PullError> {
        let path = self.folder.join(file);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(at(parent))?;
        }
        Ok(with_end(&path, PART))
    }

    /// Gives files that are whole their names.
    pub(super) fn name_files<'a>(&self, files: impl Iterator<Item = &'a str>) -> Result<(), PullError> {
        for file in files {
            let path = self.folder.join(file);
            fs::rename(with_end(&path, PART), &path).map_err(at(&path))?;
        }
        Ok(())
    }

    /// Puts the whole folder at its place, in place of what is there.
    pub(super) fn publish(self, out: &Path) -> Result<(), PullError> {
        sweep(&self.folder).map_err(at(&self.folder))?;
        let former = with_end(&out.components().collect::<PathBuf>(), "former");
        if is_occupied(out) {
            fs::rename(out, &former).map_err(at(out))?;
        }
        fs::rename(&self.folder, out).map_err(at(out))?;
        // What was replaced is of no use, whether it can be removed or not.
        let _ = fs::remove_dir_all(&former);
        Ok(())
    }

    /// Gives up what has gathered.
    pub(super) fn discard(self) {
        // The next call starts anew over whatever is left.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Drop for Staging {
    /// What has come is kept for the next call; a place where nothing has come is none.
    fn drop(&mut self) {
        if !has_bytes(&self.folder) {
            // It may be gone, published or given up.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// Whether a file below the folder holds anything; when that cannot be told, it does.
fn has_bytes(folder: &Path) -> bool {
    let Ok(mut entries) = fs::read_dir(folder) else { return true };
    entries.any(|entry| match entry.and_then(|entry| Ok((entry.metadata()?, entry.path()))) {
        Ok((about, path)) if about.is_dir() => has_bytes(&path),
        Ok((about, _)) => about.len() > 0,
        Err(_) => true,
    })
}

/// Removes everything that is no file of an encoder.
fn sweep(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sweep(&path)?;
            // Only an empty one goes.
            let _ = fs::remove_dir(&path);
        } else if !super::FILES.iter().any(|wanted| path.ends_with(wanted.path)) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}
