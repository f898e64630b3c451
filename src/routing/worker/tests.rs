use std::{
    pin::Pin,
    sync::{Mutex, mpsc::SyncSender as Gate},
};

use faer::Mat;
use futures_util::poll;
use pointsman_routers::{
    CalibrationSkills, CostClass, Needs, QueryBatch, Router, RouterError, SkillMatrix, Standing,
    embed::{EmbedError, Embedder},
};

use super::*;
use crate::routing::embedders::Embedders;

const SPACE: &str = "lengths";
/// Longer than any test takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A text's vector is its length. Each batch waits until it is let go.
struct Lengths {
    begun: Gate<Vec<String>>,
    go: Mutex<Receiver<()>>,
}

impl Embedder for Lengths {
    fn dim(&self) -> usize {
        1
    }

    fn fingerprint(&self) -> &str {
        SPACE
    }

    fn embed_batch(&self, texts: &[&str]) -> Result<Mat<f32>, EmbedError> {
        self.begun.send(texts.iter().map(|text| (*text).to_owned()).collect()).unwrap();
        self.go.lock().unwrap().recv().unwrap();
        assert!(!texts.contains(&"boom"), "it panics, as this test means it to");
        Ok(Mat::from_fn(texts.len(), 1, |row, _| texts[row].len() as f32))
    }
}

/// A model's skill is the text's length times its number.
struct Product;

impl Router for Product {
    fn name(&self) -> &'static str {
        "product"
    }

    fn needs(&self) -> Needs {
        Needs { embedding: Some(SPACE.to_owned()), decoder: None, cost: CostClass::Microseconds }
    }

    fn place(&self, _: &str, _: Option<f64>) -> Option<Candidate> {
        None
    }

    fn prior(&self, _: &Candidate) -> f64 {
        0.0
    }

    fn skills(&self, queries: &QueryBatch<'_>, candidates: &[Candidate]) -> Result<SkillMatrix, RouterError> {
        let rows = queries.embeddings.as_ref().unwrap();
        assert_eq!((rows.nrows(), queries.texts.len()), (1, 1));
        Ok(Mat::from_fn(1, candidates.len(), |_, column| {
            let Standing::Row(number) = candidates[column].standing else { panic!("all have rows") };
            f64::from(rows[(0, 0)]) * number as f64
        }))
    }

    fn calibration(&self, _: &[Candidate]) -> Result<CalibrationSkills, RouterError> {
        Err(RouterError::NoCalibration)
    }
}

fn models(numbers: &[usize]) -> Arc<[Candidate]> {
    let model = |number: &usize| Candidate { name: number.to_string(), standing: Standing::Row(*number) };
    numbers.iter().map(model).collect()
}

/// A worker whose batches the test sees begin, and lets go.
struct Stage {
    worker: Worker,
    begun: Receiver<Vec<String>>,
    go: Gate<()>,
}

type Waiting<'a> = Pin<Box<dyn Future<Output = Scored> + 'a>>;

impl Stage {
    fn new() -> Self {
        let (begin, begun) = sync_channel(100);
        let (go, let_go) = sync_channel(100);
        let embedder = Lengths { begun: begin, go: Mutex::new(let_go) };
        let engine = Engine::new(Arc::new(Product), &Embedders::only("lengths", Arc::new(embedder))).unwrap();
        assert_eq!(
            engine.cost(),
            CostClass::Milliseconds,
            "the embedder's, which is longer than the router's"
        );
        Self { worker: Worker::start(engine, 100).unwrap(), begun, go }
    }

    /// In the queue when this returns.
    async fn ask<'a>(&'a self, text: &str, numbers: &[usize]) -> Waiting<'a> {
        let scored = {
            let asked = Asked { text: text.to_owned(), read: None, candidates: models(numbers) };
            self.worker.score(asked, PATIENCE)
        };
        let mut asked: Waiting<'a> = Box::pin(async { scored.await.map(|(skills, _)| skills) });
        assert!(poll!(asked.as_mut()).is_pending());
        asked
    }

    /// A first question, whose batch has begun.
    async fn hold(&self) -> Waiting<'_> {
        let held = self.ask("first", &[1]).await;
        assert_eq!(self.begun.recv().unwrap(), ["first"]);
        held
    }

    /// Lets this many batches go, and says what they were since the last time.
    fn batches(&self, count: usize) -> Vec<Vec<String>> {
        (0..count).for_each(|_| self.go.send(()).unwrap());
        (0..count - 1).map(|_| self.begun.recv().unwrap()).collect()
    }
}

#[tokio::test]
async fn what_waits_is_taken_together_and_each_gets_its_own_answer() {
    let stage = Stage::new();
    let first = stage.hold().await;
    let (one, two, three) =
        (stage.ask("a", &[1, 2]).await, stage.ask("bb", &[3]).await, stage.ask("", &[]).await);
    assert_eq!(stage.batches(2), [["a", "bb", ""]]);
    assert_eq!(first.await, Ok(vec![5.0]));
    assert_eq!((one.await, two.await, three.await), (Ok(vec![1.0, 2.0]), Ok(vec![6.0]), Ok(vec![])));
}

#[tokio::test]
async fn who_has_left_is_skipped() {
    let stage = Stage::new();
    let first = stage.hold().await;
    let left = stage.ask("left", &[1]).await;
    let stays = stage.ask("stays", &[1]).await;
    drop(left);
    assert_eq!(stage.batches(2), [["stays"]]);
    assert_eq!((first.await, stays.await), (Ok(vec![5.0]), Ok(vec![5.0])));
}

#[tokio::test]
async fn a_panic_is_one_texts_own_and_the_thread_lives_on() {
    let stage = Stage::new();
    let first = stage.hold().await;
    let (boom, fine) = (stage.ask("boom", &[1]).await, stage.ask("fine", &[1]).await);
    assert_eq!(stage.batches(4), [vec!["boom", "fine"], vec!["boom"], vec!["fine"]]);
    assert_eq!((first.await, boom.await, fine.await), (Ok(vec![5.0]), Err(FailOpen::Panic), Ok(vec![4.0])));
    let again = stage.ask("again", &[2]).await;
    stage.batches(1);
    assert_eq!(again.await, Ok(vec![10.0]));
}

fn job(text: &str, limit: Duration) -> (Job, oneshot::Receiver<Reply>) {
    let (reply, answer) = oneshot::channel();
    let queued = Instant::now();
    let deadline = queued + limit;
    let asked = Asked { text: text.to_owned(), read: None, candidates: models(&[1]) };
    (Job { asked, queued, deadline, reply }, answer)
}

#[test]
fn whose_time_is_up_is_told_so() {
    let (queue, jobs) = sync_channel(100);
    let (late, mut told) = job("late", Duration::ZERO);
    let (early, _awaited) = job("early", PATIENCE);
    queue.send(early).unwrap();
    let (batch, rest) = batch_from(late, &jobs, (BATCH_TEXTS_MAX, Duration::ZERO));
    assert_eq!(batch.iter().map(|job| job.asked.text.as_str()).collect::<Vec<_>>(), ["early"]);
    let told = told.try_recv().map(|(scored, _)| scored);
    assert_eq!((rest.is_none(), told), (true, Ok(Err(FailOpen::Timeout))));
}

/// What would be late is not begun.
#[test]
fn who_has_too_little_time_left_is_told_so_at_once() {
    let (_queue, jobs) = sync_channel(1);
    let (hasty, mut told) = job("hasty", PATIENCE / 2);
    let (batch, rest) = batch_from(hasty, &jobs, (1, PATIENCE));
    let told = told.try_recv().map(|(scored, _)| scored);
    assert_eq!((batch.len(), rest.is_none(), told), (0, true, Ok(Err(FailOpen::Timeout))));
}

#[test]
fn batches_are_bounded() {
    let sizes = |lengths: &[usize], texts_max: usize| {
        let (queue, jobs) = sync_channel(100);
        let mut awaited = Vec::new();
        for length in lengths {
            let (one, answer) = job(&"x".repeat(*length), PATIENCE);
            queue.send(one).unwrap();
            awaited.push(answer);
        }
        let (mut sizes, mut first) = (Vec::new(), None);
        while let Some(job) = first.take().or_else(|| jobs.try_recv().ok()) {
            let batch;
            (batch, first) = batch_from(job, &jobs, (texts_max, Duration::ZERO));
            sizes.push(batch.len());
        }
        sizes
    };
    assert_eq!(sizes(&[1; 40], BATCH_TEXTS_MAX), [BATCH_TEXTS_MAX, BATCH_TEXTS_MAX, 8]);
    assert_eq!(sizes(&[500, 500, 500, 8_000, 24, 1_000, 1], BATCH_TEXTS_MAX), [2, 1, 1, 2, 1]);
    assert_eq!(sizes(&[1; 3], 1), [1, 1, 1]);
}
