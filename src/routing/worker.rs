//! A thread of its own for routers whose mathematics takes longer than a request's thread may be held.
//!
//! The queue is bounded. Whatever waits when the thread is free is taken together, up to a limit, and goes through the
//! embedder in one batch; nothing waits for a batch to fill. A request that has left, or whose time is up, is skipped.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    // The clock of the worker's thread, which is none of the runtime's.
    time::{Duration, Instant},
};

use pointsman_routers::Candidate;
use tokio::{sync::oneshot, time::timeout};

use super::{
    engine::{Engine, Question, Scored},
    served::Read,
};
use crate::telemetry::outcome::FailOpen;

/// Most texts of a batch.
const BATCH_TEXTS_MAX: usize = 16;
/// Most bytes of a batch's texts, about 256 tokens: an encoder takes for more as long as for the texts one by one, and
/// all would wait for the last. A text that is longer makes a batch of its own.
const BATCH_BYTES_MAX: usize = 1024;

/// The sending side of a router's thread, which ends with the last of its senders.
#[derive(Debug, Clone)]
pub struct Worker {
    queue: SyncSender<Job>,
}

/// What a thread is asked: a text, what another process has read of it, and the models whose skills are wanted.
#[derive(Debug)]
pub struct Asked {
    /// The routing text.
    pub text: String,
    /// Nothing where no other process reads.
    pub read: Option<Read>,
    /// The models.
    pub candidates: Arc<[Candidate]>,
}

impl Asked {
    fn question(&self) -> Question<'_> {
        Question { text: &self.text, candidates: &self.candidates, read: self.read.as_ref() }
    }
}

#[derive(Debug)]
struct Job {
    asked: Asked,
    queued: Instant,
    deadline: Instant,
    reply: oneshot::Sender<Reply>,
}

/// What a router says, and how long it was until it was asked.
type Reply = (Scored, Duration);

impl Job {
    /// Whether somebody waits for an answer that takes so long. A receiver that is gone stands for a client that left or a
    /// decision whose time was up.
    fn is_awaited(&self, takes: Duration) -> bool {
        !self.reply.is_closed() && Instant::now() + takes < self.deadline
    }
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

    /// Has a text scored, waiting at most `limit`; tells how long of that it waited for the thread.
    ///
    /// # Errors
    /// When the queue is full, time is up, or the router fails.
    pub async fn score(&self, asked: Asked, limit: Duration) -> Result<(Vec<f64>, Duration), FailOpen> {
        let queued = Instant::now();
        let deadline = queued + limit;
        let (reply, answer) = oneshot::channel();
        self.queue.try_send(Job { asked, queued, deadline, reply }).map_err(|error| match error {
            TrySendError::Full(_) => FailOpen::Overloaded,
            TrySendError::Disconnected(_) => FailOpen::Panic,
        })?;
        match timeout(limit, answer).await {
            Ok(Ok((scored, waited))) => scored.map(|skills| (skills, waited)),
            Ok(Err(_)) => Err(FailOpen::Panic),
            Err(_) => Err(FailOpen::Timeout),
        }
    }
}

fn run(engine: &Engine, jobs: &Receiver<Job>) {
    // Where texts are not read together, the first of a batch would be as late as the last, and time that is up not be seen.
    let texts_max = if engine.reads_together() { BATCH_TEXTS_MAX } else { 1 };
    let mut first = None;
    let mut takes = Duration::ZERO;
    while let Some(job) = first.take().or_else(|| jobs.recv().ok()) {
        let batch;
        (batch, first) = batch_from(job, jobs, (texts_max, takes));
        let (begun, is_empty) = (Instant::now(), batch.is_empty());
        score(engine, batch);
        // What is slow is not begun where it would be late: with more requests than it can answer, all would be. One slow answer must not
        // refuse all that come after it.
        takes = match texts_max {
            1 if is_empty => takes * 3 / 4,
            1 => (takes * 3 + begun.elapsed()) / 4,
            _ => Duration::ZERO,
        };
    }
}

/// The jobs that wait now and are awaited still, so many at most, each for so long, `job` before the others, and the one that was one too
/// many.
fn batch_from(
    job: Job,
    jobs: &Receiver<Job>,
    (texts_max, takes): (usize, Duration),
) -> (Vec<Job>, Option<Job>) {
    let mut batch = Vec::new();
    let mut bytes = 0;
    let mut next = Some(job);
    while let Some(job) = next.take().or_else(|| jobs.try_recv().ok()) {
        if !job.is_awaited(takes) {
            expire(job);
            continue;
        }
        bytes += job.asked.text.len();
        if !batch.is_empty() && bytes > BATCH_BYTES_MAX {
            return (batch, Some(job));
        }
        batch.push(job);
        if batch.len() == texts_max {
            break;
        }
    }
    (batch, None)
}

/// Tells a job that its time is up, should anybody listen.
fn expire(job: Job) {
    let _ = job.reply.send((Err(FailOpen::Timeout), job.queued.elapsed()));
}

fn score(engine: &Engine, batch: Vec<Job>) {
    let begun = Instant::now();
    let reply = |job: Job| (job.asked, (job.reply, begun.duration_since(job.queued)));
    let (asked, replies): (Vec<_>, Vec<_>) = batch.into_iter().map(reply).unzip();
    let questions: Vec<Question<'_>> = asked.iter().map(Asked::question).collect();
    let mut replies = replies.into_iter();
    engine.score_batch(&questions, |scored| {
        if let Some((reply, waited)) = replies.next() {
            let _ = reply.send((scored, waited));
        }
    });
}

#[cfg(test)]
mod tests;
