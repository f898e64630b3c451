//! The configuration's file, put in force again: on SIGHUP, when it or a file that it names has changed, or when an operator asks.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::sync::Mutex as AsyncMutex;
use tokio_util::task::TaskTracker;

use super::reload;
use crate::{config::Config, http::app::App};

/// How often files are looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// Puts a file in force whenever it is asked to, one time after the other.
#[derive(Debug)]
pub struct Reloader {
    app: Arc<App>,
    file: PathBuf,
    /// What the configuration in force was read from, as it was when it was read.
    stamps: Mutex<Stamps>,
    running: AsyncMutex<()>,
    tasks: TaskTracker,
}

/// What tells a changed file from the same one: what it holds may be large.
type Stamps = BTreeMap<PathBuf, Option<(SystemTime, u64)>>;

impl Reloader {
    /// A reloader of `file`, which `config` was read from.
    #[must_use]
    pub fn new(app: Arc<App>, file: PathBuf, config: &Config) -> Arc<Self> {
        let stamps = Mutex::new(stamps(&file, config.files.iter()));
        Arc::new(Self { app, file, stamps, running: AsyncMutex::default(), tasks: TaskTracker::new() })
    }

    /// Reads the file and puts it in force; the number of configurations in force so far.
    ///
    /// # Errors
    /// Why the one in force is kept.
    pub async fn reload(self: &Arc<Self>) -> Result<u64, String> {
        let _one_at_a_time = self.running.lock().await;
        let this = Arc::clone(self);
        // Files are read and thresholds solved: not on a thread that requests wait for.
        let read = self.tasks.spawn_blocking(move || this.read()).await;
        let result =
            read.unwrap_or_else(|_| Err("the configuration could not be read to its end".to_owned()));
        let label = if result.is_ok() { "ok" } else { "error" };
        self.app.metrics.config_reloads.with_label_values(&[label]).inc();
        result
    }

    fn read(&self) -> Result<u64, String> {
        let name = self.file.display();
        // Before the file is read: what changes meanwhile is read again.
        let before = self.own_stamp();
        let kept = |why: String| {
            tracing::error!("reload: the configuration in force is kept: {why}");
            why
        };
        let loaded = Config::load(&self.file).map_err(|found| {
            self.note(before.clone());
            kept(format!("{name} is not valid:\n{found}"))
        })?;
        let stamps = stamps(&self.file, loaded.config.files.iter());
        let warnings = reload(&self.app, &loaded.config);
        self.note(stamps);
        let warnings = warnings.map_err(|error| kept(format!("{name} cannot be used: {error}")))?;
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
        let known = self.stamps.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let now: Stamps = known.keys().map(|file| (file.clone(), stamp(file))).collect();
        (now != known).then_some(now)
    }

    /// The known files, as they are now.
    fn own_stamp(&self) -> Stamps {
        let known = self.stamps.lock().unwrap_or_else(PoisonError::into_inner);
        known.keys().map(|file| (file.clone(), stamp(file))).collect()
    }

    fn note(&self, stamps: Stamps) {
        *self.stamps.lock().unwrap_or_else(PoisonError::into_inner) = stamps;
    }
}

fn stamps<'a>(file: &'a Path, named: impl Iterator<Item = &'a PathBuf>) -> Stamps {
    let files = std::iter::once(file).chain(named.map(PathBuf::as_path));
    files.map(|file| (file.to_owned(), stamp(file))).collect()
}

/// Through links: a mounted secret is replaced by turning one.
fn stamp(file: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(file).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
