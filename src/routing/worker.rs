//! A thread of its own for routers whose mathematics takes longer than a request's thread may be held.
//!
//! The queue is bounded; a request that has left, or whose time is up, is skipped.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    time::Duration,
};

use pointsman_routers::Candidate;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use super::engine::Engine;
use crate::telemetry::outcome::FailOpen;

/// The sending side of a router's thread, which ends with the last of its senders.
#[derive(Debug, Clone)]
pub struct Worker {
    queue: SyncSender<Job>,
}

#[derive(Debug)]
struct Job {
    text: String,
    candidates: Arc<[Candidate]>,
    reply: oneshot::Sender<Result<Vec<f64>, FailOpen>>,
}

impl Worker {
    /// Starts a thread for `engine` with room for `queue_max` waiting requests.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(engine: Engine, queue_max: usize) -> std::io::Result<Self> {
        let (queue, jobs) = sync_channel(queue_max);
        let name = format!("router-{}", engine.router().name());
        std::thread::Builder::new().name(name).spawn(move || run(&engine, &jobs))?;
        Ok(Self { queue })
    }

    /// Has a text scored, waiting at most `limit`.
    ///
    /// # Errors
    /// When the queue is full, time is up, or the router fails.
    pub async fn score(
        &self,
        text: String,
        candidates: Arc<[Candidate]>,
        limit: Duration,
    ) -> Result<Vec<f64>, FailOpen> {
        let deadline = Instant::now() + limit;
        let (reply, answer) = oneshot::channel();
        self.queue.try_send(Job { text, candidates, reply }).map_err(|error| match error {
            TrySendError::Full(_) => FailOpen::Overloaded,
            TrySendError::Disconnected(_) => FailOpen::Panic,
        })?;
        match timeout_at(deadline, answer).await {
            Ok(Ok(scored)) => scored,
            Ok(Err(_)) => Err(FailOpen::Panic),
            Err(_) => Err(FailOpen::Timeout),
        }
    }
}

fn run(engine: &Engine, jobs: &Receiver<Job>) {
    while let Ok(job) = jobs.recv() {
        // A receiver that is gone stands for a client that left or a decision whose time was up.
        if !job.reply.is_closed() {
            let _ = job.reply.send(engine.score(&job.text, &job.candidates));
        }
    }
}
