//! Training of a head: AdamW (Loshchilov, Hutter 2019, arXiv 1711.05101) under a cosine, stopped when held-out examples
//! get no better. One thread and one order of sums: the same data and seed give the same bits.

use faer::{Mat, MatRef};
use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha12Rng;

use super::Head;
use super::gradient::{LossAndGradient, loss, loss_and_gradient};
use crate::causal::LABELS;

/// The share of the past in the means of gradients and of their squares.
const MOMENTUM: [f32; 2] = [0.9, 0.999];
/// Keeps steps finite where a gradient has always been zero.
const EPSILON: f32 = 1e-8;

/// Examples with their hidden states.
#[derive(Debug, Clone, Copy)]
pub struct HeadData<'a> {
    /// Examples × width: the base's last hidden state at the token before the label, after its last norm.
    pub hidden: MatRef<'a, f32>,
    /// From 1 to 5, one for each example.
    pub labels: &'a [u8],
    /// How much each example counts, not negative.
    pub weights: &'a [f32],
}

/// How a head is trained.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadOptions {
    /// Inner dimensions of the adapter.
    pub rank: usize,
    /// Steps at most.
    pub steps: usize,
    /// Examples a step.
    pub batch: usize,
    /// The largest step size, from which a cosine leads to zero.
    pub learning_rate: f64,
    /// Steps over which the step size grows to the largest.
    pub warm_up: usize,
    /// How fast weights decay, per step size.
    pub weight_decay: f64,
    /// Steps between two measurements on the held-out examples.
    pub evaluate_every: usize,
    /// Training stops after so many measurements without a better one.
    pub patience: usize,
    /// Decides what is drawn.
    pub seed: u64,
}

impl Default for HeadOptions {
    fn default() -> Self {
        Self {
            rank: 32,
            steps: 4000,
            batch: 256,
            learning_rate: 1e-3,
            warm_up: 100,
            weight_decay: 0.01,
            evaluate_every: 100,
            patience: 8,
            seed: 0,
        }
    }
}

/// How far the training of a head has come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeadReport {
    /// Steps made.
    pub step: usize,
    /// Steps at most.
    pub steps: usize,
    /// The mean cross-entropy on the held-out examples, in nats.
    pub held_out_loss: f64,
}

/// What came out.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainedHead {
    /// The weights that were best on the held-out examples.
    pub head: Head,
    /// The mean cross-entropy of the untrained head on the held-out examples, in nats.
    pub first_loss: f64,
    /// That of `head`.
    pub held_out_loss: f64,
    /// The step at which `head` was.
    pub step: usize,
}

/// Why there is no head.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// There are no examples on one of the sides, or none that counts.
    #[error("no {side} examples that count")]
    Nothing {
        /// Training or held-out.
        side: &'static str,
    },
    /// Hidden states, labels, weights or label rows do not fit together.
    #[error("{0}")]
    Shape(String),
    /// A weight or a loss came out infinite or not a number.
    #[error("training diverged: a value is not finite; try a smaller learning rate")]
    Diverged,
}

/// Trains a head from the base's rows for the labels (5 × width), such as the mean of the rows of the tokens that spell
/// each label. `report` is called after each measurement.
///
/// # Errors
/// See [`HeadError`].
pub fn train_head(
    label_rows: &Mat<f32>,
    training: &HeadData<'_>,
    held_out: &HeadData<'_>,
    options: &HeadOptions,
    report: &mut dyn FnMut(HeadReport),
) -> Result<TrainedHead, HeadError> {
    training.check("training", label_rows)?;
    held_out.check("held-out", label_rows)?;
    let measure = |head: &Head| loss(head, held_out.hidden, held_out.labels, held_out.weights);
    let mut random = ChaCha12Rng::seed_from_u64(options.seed);
    let mut head = first(label_rows, options.rank, &mut random);
    let first_loss = measure(&head);
    let mut best = TrainedHead { head: head.clone(), first_loss, held_out_loss: first_loss, step: 0 };
    let (mut optimiser, mut batches) = (Optimiser::new(&head), Batches::of(training.labels.len()));
    let mut worse = 0;
    for step in 1..=options.steps {
        let batch = training.take(batches.next(options.batch.max(1), &mut random));
        let LossAndGradient { loss, gradient } =
            loss_and_gradient(&head, batch.hidden.as_ref(), &batch.labels, &batch.weights);
        if !loss.is_finite() {
            return Err(HeadError::Diverged);
        }
        optimiser.step(&mut head, &gradient, options, step);
        if step % options.evaluate_every.max(1) != 0 && step != options.steps {
            continue;
        }
        let held_out_loss = measure(&head);
        if !(held_out_loss.is_finite() && head.is_sound()) {
            return Err(HeadError::Diverged);
        }
        report(HeadReport { step, steps: options.steps, held_out_loss });
        if held_out_loss < best.held_out_loss {
            best = TrainedHead { head: head.clone(), first_loss, held_out_loss, step };
            worse = 0;
        } else {
            worse += 1;
        }
        if worse >= options.patience.max(1) {
            break;
        }
    }
    Ok(best)
}

/// The base's rows, and an adapter that does nothing yet: B is zero, A is not, or it would never move.
fn first(label_rows: &Mat<f32>, rank: usize, random: &mut ChaCha12Rng) -> Head {
    let width = label_rows.ncols();
    // Even within ±√(3/width): a variance of 1/width, so that A h is about as large as a value of h.
    let bound = (3.0 / width.max(1) as f64).sqrt();
    let mut down = Mat::zeros(rank, width);
    for row in down.row_iter_mut() {
        row.iter_mut().for_each(|value: &mut f32| {
            let fraction = f64::from(random.next_u32()) / f64::from(u32::MAX);
            *value = ((2.0 * fraction - 1.0) * bound) as f32;
        });
    }
    Head { labels: label_rows.clone(), down, up: Mat::zeros(width, rank) }
}

impl HeadData<'_> {
    fn check(&self, side: &'static str, label_rows: &Mat<f32>) -> Result<(), HeadError> {
        let (rows, width) = (self.hidden.nrows(), self.hidden.ncols());
        let expected = (LABELS.len(), width);
        if (label_rows.nrows(), label_rows.ncols()) != expected {
            let found = (label_rows.nrows(), label_rows.ncols());
            return Err(HeadError::Shape(format!("label rows of {found:?} values, expected {expected:?}")));
        }
        if self.labels.len() != rows || self.weights.len() != rows {
            let (labels, weights) = (self.labels.len(), self.weights.len());
            let reason = format!("{rows} {side} hidden states, but {labels} labels and {weights} weights");
            return Err(HeadError::Shape(reason));
        }
        if let Some(label) = self.labels.iter().find(|label| !(1..=5).contains(*label)) {
            return Err(HeadError::Shape(format!("a {side} label is {label}, expected 1 to 5")));
        }
        let counts = self.weights.iter().all(|weight| *weight >= 0.0 && weight.is_finite());
        let all: f32 = self.weights.iter().sum();
        if !counts || all <= 0.0 {
            return Err(HeadError::Nothing { side });
        }
        Ok(())
    }

    fn take(&self, places: &[usize]) -> Batch {
        Batch {
            hidden: Mat::from_fn(places.len(), self.hidden.ncols(), |row, column| {
                self.hidden[(places[row], column)]
            }),
            labels: places.iter().map(|place| self.labels[*place]).collect(),
            weights: places.iter().map(|place| self.weights[*place]).collect(),
        }
    }
}

struct Batch {
    hidden: Mat<f32>,
    labels: Vec<u8>,
    weights: Vec<f32>,
}

/// Every example once in a new order, again and again.
struct Batches {
    order: Vec<usize>,
    next: usize,
}

impl Batches {
    fn of(count: usize) -> Self {
        // Used up: the first batch shuffles.
        Self { order: (0..count).collect(), next: count }
    }

    fn next(&mut self, size: usize, random: &mut ChaCha12Rng) -> &[usize] {
        if self.next >= self.order.len() {
            self.order.shuffle(random);
            self.next = 0;
        }
        let start = self.next;
        self.next = self.order.len().min(start + size);
        &self.order[start..self.next]
    }
}

/// Means of the gradients and of their squares.
struct Optimiser {
    first: Head,
    second: Head,
}

impl Optimiser {
    fn new(head: &Head) -> Self {
        let zeros = |of: &Mat<f32>| Mat::zeros(of.nrows(), of.ncols());
        let zero = Head { labels: zeros(&head.labels), down: zeros(&head.down), up: zeros(&head.up) };
        Self { first: zero.clone(), second: zero }
    }

    /// Step `number`, from 1.
    fn step(&mut self, head: &mut Head, gradient: &Head, options: &HeadOptions, number: usize) {
        let rate = step_size(options, number);
        let keep = 1.0 - (rate * options.weight_decay) as f32;
        let [first_left, second_left] = MOMENTUM.map(|share| 1.0 - f64::from(share).powf(number as f64));
        let (rate, scale) = ((rate / first_left) as f32, (1.0 / second_left.sqrt()) as f32);
        let parts = [
            (&mut head.labels, &gradient.labels, &mut self.first.labels, &mut self.second.labels),
            (&mut head.down, &gradient.down, &mut self.first.down, &mut self.second.down),
            (&mut head.up, &gradient.up, &mut self.first.up, &mut self.second.up),
        ];
        for (weights, gradient, first, second) in parts {
            for column in 0..weights.ncols() {
                for row in 0..weights.nrows() {
                    let at = (row, column);
                    let slope = gradient[at];
                    first[at] = MOMENTUM[0] * first[at] + (1.0 - MOMENTUM[0]) * slope;
                    second[at] = MOMENTUM[1] * second[at] + (1.0 - MOMENTUM[1]) * slope * slope;
                    weights[at] =
                        keep * weights[at] - rate * first[at] / (scale * second[at].sqrt() + EPSILON);
                }
            }
        }
    }
}

/// The step size at a step, from 1: up in a line, then down along a cosine.
fn step_size(options: &HeadOptions, step: usize) -> f64 {
    crate::causal::schedule::share(step, options.warm_up, options.steps) * options.learning_rate
}
