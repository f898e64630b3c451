//! The configuration's file, put in force again: on SIGHUP, when it or a file that it names has changed, or when an operator asks.

use std::{
    collections::BTreeMap,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::sync::Mutex as AsyncMutex;
use tokio_util::task::TaskTracker;

use super::reload;
use crate::{config::Config, http::app::App};

const UNREAD: &str = "the configuration could not be read to its end";

/// How often files are looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// Puts a file in force whenever it is asked to, one time after the other.
#[derive(Debug)]
pub struct Reloader {
    app: Arc<App>,
    file: PathBuf,
    /// What was last read, as it was just before.
    stamps: Mutex<Stamps>,
    running: AsyncMutex<()>,
    tasks: TaskTracker,
}

/// Files and folders as they were at a time. What tells a changed one from the same one is cheap to look at: what they
/// hold may be large.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamps(BTreeMap<PathBuf, Vec<Stamp>>);

/// When it was changed and under which name it lies on the disk; its length.
type Stamp = (SystemTime, u64, u64);

impl Stamps {
    /// Of a configuration's file, and of what it names.
    #[must_use]
    pub fn of<'a>(file: &'a Path, named: impl IntoIterator<Item = &'a PathBuf>) -> Self {
        let files = std::iter::once(file).chain(named.into_iter().map(PathBuf::as_path));
        Self(files.map(|file| (file.to_owned(), stamp(file))).collect())
    }

    /// Of the same files, now.
    fn again(&self) -> Self {
        Self(self.0.keys().map(|file| (file.clone(), stamp(file))).collect())
    }

    /// With those of others that are not among them.
    #[must_use]
    pub fn with(mut self, others: Self) -> Self {
        for (file, stamp) in others.0 {
            self.0.entry(file).or_insert(stamp);
        }
        self
    }
}

/// Of a file, through links: a mounted secret is replaced by turning one. Of a folder, that of each file in it.
fn stamp(path: &Path) -> Vec<Stamp> {
    let one = |path: &Path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.ino(), metadata.len()))
    };
    let Ok(entries) = std::fs::read_dir(path) else { return one(path).into_iter().collect() };
    let mut stamps: Vec<Stamp> = entries.filter_map(|entry| one(&entry.ok()?.path())).collect();
    stamps.sort_unstable();
    stamps
}

impl Reloader {
    /// A reloader of `file`, which was read for the configuration in force after `stamps` were taken.
    #[must_use]
    pub fn new(app: Arc<App>, file: PathBuf, stamps: Stamps) -> Arc<Self> {
        let stamps = Mutex::new(stamps);
        Arc::new(Self { app, file, stamps, running: AsyncMutex::default(), tasks: TaskTracker::new() })
    }

    /// Reads the file and puts it in force; the number of configurations in force so far. Goes on when nobody waits for it any more.
    ///
    /// # Errors
    /// Why the one in force is kept.
    pub async fn reload(self: &Arc<Self>) -> Result<u64, String> {
        let this = Arc::clone(self);
        let reloading = self.tasks.spawn(async move {
            let _one_at_a_time = this.running.lock().await;
            let for_read = Arc::clone(&this);
            // Files are read and thresholds solved: not on a thread that requests wait for.
            let read = this.tasks.spawn_blocking(move || for_read.read()).await;
            let result = read.unwrap_or_else(|_| Err(UNREAD.to_owned()));
            this.app.metrics.reloaded(result.is_ok());
            result
        });
        reloading.await.unwrap_or_else(|_| Err(UNREAD.to_owned()))
    }

    fn read(&self) -> Result<u64, String> {
        let name = self.file.display();
        // Before anything is read: what changes meanwhile is read again.
        let before = self.known().again();
        let kept = |why: String| {
            tracing::error!("reload: the configuration in force is kept: {why}");
            why
        };
        let loaded = Config::load(&self.file).map_err(|found| {
            self.note(before.clone());
            kept(format!("{name} is not valid:\n{found}"))
        })?;
        // What it names now and did not before is stamped before it is used, but for keys.
        let named = Stamps::of(&self.file, &loaded.config.files);
        let names = |file: &PathBuf| named.0.contains_key(file);
        let stamps =
            Stamps(before.0.into_iter().filter(|(file, _)| names(file)).collect()).with(named.clone());
        self.note(stamps);
        let warnings = reload(&self.app, &loaded.config)
            .map_err(|error| kept(format!("{name} cannot be used: {error}")))?;
        for warning in loaded.warnings.warnings().chain(warnings.warnings()) {
            tracing::warn!("{warning}");
        }
        let version = self.app.version();
        tracing::info!("reload: {name} is in force, as version {version}");
        Ok(version)
    }

    /// Reloads whenever a file has changed and has then been left as it is for a moment.
    pub async fn watch(self: Arc<Self>) {
        let mut seen = None;
        loop {
            tokio::time::sleep(WATCH_INTERVAL).await;
            let this = Arc::clone(&self);
            let Ok(change) = self.tasks.spawn_blocking(move || this.change()).await else { continue };
            // Half-written files settle first.
            if change.is_some() && change == seen {
                tracing::info!("reload: {} or a file that it names has changed", self.file.display());
                let _ = self.reload().await;
                seen = None;
            } else {
                seen = change;
            }
        }
    }

    /// The files as they are, if one is not as it was.
    fn change(&self) -> Option<Stamps> {
        let known = self.known();
        let now = known.again();
        (now != known).then_some(now)
    }

    fn known(&self) -> Stamps {
        self.stamps.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, stamps: Stamps) {
        *self.stamps.lock().unwrap_or_else(PoisonError::into_inner) = stamps;
    }
}
