//! The thread that waits for the database, so that the writer never does: it does one thing after the other.

use std::{
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::{Record, rows::Rows};
use crate::database::DatabaseError;

/// What is to be done with the database.
pub(super) enum Job {
    Write(Arc<Vec<Record>>),
    /// Is heard of; settles what those have left who are silent, if it is to.
    Beat {
        settle: bool,
    },
    /// Deletes some rows from before this time.
    Forget {
        before_ms: i64,
    },
    /// Says that this process ends.
    Leave,
}

/// What came of it.
pub(super) struct Answer {
    pub(super) done: Result<Done, DatabaseError>,
    pub(super) took: Duration,
}

pub(super) enum Done {
    Written,
    /// So many requests were settled.
    Heard {
        settled: usize,
    },
    /// There may be more.
    Forgotten {
        more: bool,
    },
    Left,
}

pub(super) struct Worker {
    jobs: Sender<Job>,
    answers: Receiver<Answer>,
    thread: JoinHandle<()>,
    is_shared: bool,
}

impl Worker {
    pub(super) fn spawn(mut store: Rows) -> std::io::Result<Self> {
        let (jobs, mut todo) = channel(1);
        let (answer, answers) = channel(1);
        let is_shared = store.is_shared();
        let work = move || {
            while let Some(job) = todo.blocking_recv() {
                let begun = Instant::now();
                let done = work(&mut store, &job);
                let _ = answer.blocking_send(Answer { done, took: begun.elapsed() });
            }
        };
        let thread = std::thread::Builder::new().name("ledger-database".to_owned()).spawn(work)?;
        Ok(Self { jobs, answers, thread, is_shared })
    }

    /// Several processes write: each must be heard of.
    pub(super) fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// A job has one answer, which is waited for before the next one.
    pub(super) fn ask(&self, job: Job) {
        // A thread that has ended has panicked, which is told elsewhere: there is no answer.
        let _ = self.jobs.try_send(job);
    }

    /// None where there will be no more.
    pub(super) async fn answer(&mut self) -> Option<Answer> {
        self.answers.recv().await
    }

    /// Waits for what was asked, and closes the database.
    pub(super) fn end(self) {
        drop(self.jobs);
        let _ = self.thread.join();
    }
}

fn work(store: &mut Rows, job: &Job) -> Result<Done, DatabaseError> {
    match job {
        Job::Write(records) => store.write(records).map(|()| Done::Written),
        &Job::Beat { settle } => {
            store.beat()?;
            let settled = if settle { store.settle_abandoned(SystemTime::now())? } else { 0 };
            Ok(Done::Heard { settled })
        }
        &Job::Forget { before_ms } => store.forget_before(before_ms).map(|more| Done::Forgotten { more }),
        Job::Leave => store.leave().map(|()| Done::Left),
    }
}
