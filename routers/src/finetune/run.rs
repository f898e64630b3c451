//! The training itself.
//!
//! The loss is the cross-entropy of the right label over the whole vocabulary, not over the five labels: then a served
//! model puts its mass on labels, and a server that returns only the likeliest tokens returns them. It costs little, as
//! only the places where labels stand are asked, and it trains the labels' proportions, which skills are made of, as well.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use candle_core::{Tensor, Var};
use serde_json::{Map, Value};

use super::checkpoint::{self, State};
use super::event::{Event, Measures, StepReport};
use super::forms::cross_entropy;
use super::measure::measure;
use super::network::Network;
use super::optimiser::{Optimiser, StepSize, norm};
use super::pack::{Pack, Question, by_length};
use super::recipe::recipe;
use super::{CausalModel, FinetuneError, FinetuneOptions};
use crate::causal::examples::examples;
use crate::causal::{Draw, Sampler, label_of, schedule};
use crate::data::Dataset;
use crate::split::{Side, Split};
use crate::train::routing_text;

/// A model that was trained.
#[derive(Debug)]
pub struct Finetuned {
    /// The model after the last step.
    pub model: CausalModel,
    /// How good it is on held-out prompts.
    pub measures: Measures,
}

/// Hears what happens; `Break` ends the training after the step at hand, with a checkpoint.
pub type Report<'a> = &'a mut (dyn FnMut(Event) -> ControlFlow<()> + Send);

/// Trains every weight of a model on scores of models on prompts.
///
/// The same base, data and options give the same bits on one machine, whether the training was interrupted or not.
///
/// # Errors
/// See [`FinetuneError`].
pub fn finetune(
    base: CausalModel,
    data: &Dataset,
    options: &FinetuneOptions,
    report: Report<'_>,
) -> Result<Finetuned, FinetuneError> {
    let threads = options.threads.map_or(0, usize::from);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    pool.install(|| Run::begin(base, data, options)?.finish(report))
}

struct Run<'a> {
    model: CausalModel,
    /// The same weights as the model's, with derivatives.
    network: Network,
    optimiser: Optimiser,
    data: &'a Dataset,
    options: &'a FinetuneOptions,
    recipe: Map<String, Value>,
    sampler: Sampler,
    held_out: (Vec<Draw>, Vec<Question>),
    /// Steps made.
    step: usize,
}

impl<'a> Run<'a> {
    fn begin(
        mut model: CausalModel,
        data: &'a Dataset,
        options: &'a FinetuneOptions,
    ) -> Result<Self, FinetuneError> {
        let split = Split::new(options.seed);
        let of = |side| examples(data, |prompt| split.side(prompt.hash(), options.dev_share) == side);
        let training = of(Side::Train);
        let recipe = recipe(options, &model, data, &training)?;
        let sampler = Sampler::new(data, &training, options.seed, options.models_per_prompt);
        if sampler.is_empty() {
            return Err(FinetuneError::NoExamples);
        }
        // All models of a held-out prompt: pairs are what is measured.
        let draws =
            Sampler::new(data, &of(Side::Dev), options.seed, usize::MAX).sample(options.evaluate_prompts_max);
        let (network, optimiser) = trainable(&mut model)?;
        let mut run = Self {
            model,
            network,
            optimiser,
            data,
            options,
            recipe,
            sampler,
            held_out: (Vec::new(), Vec::new()),
            step: 0,
        };
        let questions = draws.iter().map(|draw| run.question(draw)).collect::<Result<_, _>>()?;
        run.held_out = (draws, questions);
        run.resume()?;
        Ok(run)
    }

    /// Goes on from the latest checkpoint, if that is wanted and there is one.
    fn resume(&mut self) -> Result<(), FinetuneError> {
        let Some(folder) = self.options.checkpoint_dir.as_deref().filter(|_| self.options.resume) else {
            return Ok(());
        };
        let state = checkpoint::load_latest(folder, &self.recipe, &mut self.optimiser, &self.model.device)?;
        let Some(state) = state else { return Ok(()) };
        if !self.sampler.resume(&state.sampler) {
            let reason = "the latest checkpoint is of other data".to_owned();
            return Err(FinetuneError::Checkpoint { path: folder.to_owned(), reason });
        }
        self.step = state.step;
        Ok(())
    }

    fn finish(mut self, report: Report<'_>) -> Result<Finetuned, FinetuneError> {
        let mut measured = None;
        while self.step < self.options.steps {
            let step = self.make_step()?;
            let mut flow = report(Event::Step(step));
            let is_last = self.step == self.options.steps;
            if is_last || self.step.is_multiple_of(self.options.evaluate_every.max(1)) {
                let measures = self.measure()?;
                measured = Some(measures);
                flow = merged(flow, report(Event::Measured(measures)));
            }
            let is_due = self.step.is_multiple_of(self.options.checkpoint_every.max(1));
            if is_last || is_due || flow.is_break() {
                flow = merged(flow, self.save_checkpoint(report)?);
            }
            if flow.is_break() && !is_last {
                return Err(FinetuneError::Interrupted { step: self.step });
            }
        }
        // Nothing is left to do when a finished training is resumed, except to say how good it is.
        let measures = match measured {
            Some(measures) => measures,
            None => self.measure()?,
        };
        Ok(Finetuned { model: self.model, measures })
    }

    fn make_step(&mut self) -> Result<StepReport, FinetuneError> {
        let draws: Vec<Draw> = (0..self.options.batch.max(1)).map_while(|_| self.sampler.draw()).collect();
        let questions = draws.iter().map(|draw| self.question(draw)).collect::<Result<Vec<_>, _>>()?;
        let (tokens, labels) = questions.iter().fold((0, 0), |(tokens, labels), question| {
            (tokens + question.len(), labels + question.candidates.len())
        });
        let (loss, gradients) = self.gradients(questions)?;
        let loss = loss / labels as f64;
        // The sum's gradient: the mean's is shorter by the number of labels.
        let gradient_norm = norm(&gradients)? / labels as f64;
        let step = self.step + 1;
        if !(loss.is_finite() && gradient_norm.is_finite()) {
            return Err(FinetuneError::Diverged { step });
        }
        let clipped = (self.options.clip / gradient_norm).min(1.0);
        let share = schedule::share(step, self.options.warm_up, self.options.steps);
        let size = StepSize {
            step,
            learning_rate: share * self.options.learning_rate,
            weight_decay: self.options.weight_decay,
            scale: clipped / labels as f64,
        };
        self.optimiser.step(&gradients, size)?;
        self.step = step;
        let (steps, learning_rate) = (self.options.steps, size.learning_rate);
        Ok(StepReport { step, steps, loss, tokens, learning_rate, gradient_norm })
    }

    /// The sum of the questions' losses, and its gradient by every weight.
    fn gradients(&self, questions: Vec<Question>) -> Result<(f64, BTreeMap<String, Tensor>), FinetuneError> {
        let (mut loss, mut sums) = (0.0, BTreeMap::<String, Tensor>::new());
        for questions in by_length(questions).chunks(self.options.micro_batch.max(1)) {
            let pack = Pack::of(questions, &self.model.config.frequencies, &self.model.device)?;
            let of_pack = cross_entropy(&self.network.logits(&pack)?, &pack.targets)?;
            loss += f64::from(of_pack.to_scalar::<f32>()?);
            let mut gradients = of_pack.backward()?;
            for (name, weight) in &self.optimiser.weights {
                let Some(gradient) = gradients.remove(weight) else { continue };
                let sum = match sums.remove(name) {
                    Some(sum) => (sum + gradient)?,
                    None => gradient,
                };
                sums.insert(name.clone(), sum.detach());
            }
        }
        Ok((loss, sums))
    }

    fn question(&self, draw: &Draw) -> Result<Question, FinetuneError> {
        let text = self.data.prompts.get(draw.prompt as usize).map(routing_text).unwrap_or_default();
        let candidate = |example: &crate::causal::Example| {
            let name = self.data.models.get(usize::from(example.model)).map_or("", String::as_str);
            let place = usize::from(label_of(example.score)) - 1;
            (name, self.model.labels.get(place).copied().unwrap_or_default())
        };
        let candidates: Vec<(&str, u32)> = draw.examples.iter().map(candidate).collect();
        self.model.question(&text, &candidates, self.options.question_tokens_max)
    }

    fn measure(&self) -> Result<Measures, FinetuneError> {
        let (draws, questions) = &self.held_out;
        measure(&self.model, (draws, questions), self.options.micro_batch.max(1), self.step)
    }

    fn save_checkpoint(&self, report: Report<'_>) -> Result<ControlFlow<()>, FinetuneError> {
        let Some(folder) = &self.options.checkpoint_dir else { return Ok(ControlFlow::Continue(())) };
        let state = State::new(self.step, self.sampler.state(), self.recipe.clone());
        let path = checkpoint::save(folder, &state, &self.optimiser)?;
        Ok(report(Event::Checkpoint(path)))
    }
}

/// A network with derivatives; the model's own weights become views of the same numbers.
fn trainable(model: &mut CausalModel) -> Result<(Network, Optimiser), FinetuneError> {
    let mut weights = BTreeMap::new();
    for (name, tensor) in &mut model.weights {
        let weight = Var::from_tensor(tensor)?;
        *tensor = weight.as_detached_tensor();
        weights.insert(name.clone(), weight);
    }
    let tracked = weights.iter().map(|(name, weight)| (name.clone(), weight.as_tensor().clone())).collect();
    Ok((Network::new(&model.config, &tracked)?, Optimiser::new(weights)?))
}

fn merged(one: ControlFlow<()>, other: ControlFlow<()>) -> ControlFlow<()> {
    if one.is_break() { one } else { other }
}
