//! Training of the `causal` router over a decoder that stays as it is, or was fine-tuned before: a head for the labels, and
//! what stands between the labels and skills.
//!
//! The decoder reads some prompts, each with some of its models; a head is trained on its hidden states, up to where held-out
//! prompts get no better. On those the slope is fitted, so that skills fit their battles; on a sample of all prompts, where every model
//! is asked about, the levels are taken and routes are calibrated.

mod known;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use faer::Mat;
use rayon::prelude::*;
use serde_json::json;

use self::known::Known;
use super::assemble::parts;
use super::sample::places;
use super::temperature::{Stake, likeliest};
use super::{Origin, Part, Report, TrainError, anchor, routing_text};
use crate::artifact::{Artifact, Body, CalibrationSample, Provenance, Ratings};
use crate::causal::examples::{Example, Sampler, examples};
use crate::causal::head::{HeadData, HeadOptions, train_head};
use crate::causal::template::{prepared, spellings};
use crate::causal::{CausalWeights, Draw, Head, Reader, Template, label_of, skill};
use crate::data::{Dataset, Prompt};
use crate::decoder::Decoder;
use crate::ratings::{GlobalFit, fit_global};
use crate::select::cost::estimate_tokens;

/// Bounds of the slope.
const SLOPES: (f64, f64) = (0.0, 4.0);
/// Bisections between them.
const BISECTIONS: usize = 50;
/// Models that stand for those placed by their ratings.
const REFERENCES: usize = 4;

/// How a head is trained.
#[derive(Debug, Clone, PartialEq)]
pub struct CausalOptions {
    /// Prompts that the head is trained on, at most.
    pub prompts: usize,
    /// Held-out prompts, at most.
    pub dev_prompts: usize,
    /// Models asked about on each of these, at most.
    pub models_per_prompt: usize,
    /// Prompts of the calibration sample, at most; every model is asked about on each.
    pub sample_prompts: usize,
    /// Models with scores on fewer training prompts are not asked about.
    pub scores_min: usize,
    /// Most tokens of a question.
    pub question_tokens_max: u32,
    /// How the head is trained; none where the decoder was fine-tuned and has labels of its own.
    pub head: Option<HeadOptions>,
}

impl Default for CausalOptions {
    fn default() -> Self {
        Self {
            prompts: 4000,
            dev_prompts: 500,
            models_per_prompt: 6,
            sample_prompts: 512,
            scores_min: 100,
            question_tokens_max: 256,
            head: Some(HeadOptions::default()),
        }
    }
}

/// What is learned from.
struct Task<'a> {
    data: &'a Dataset,
    reader: Reader,
    texts: Vec<String>,
    global: GlobalFit,
    /// The rows of the models asked about, ascending.
    asked: Vec<u32>,
    /// Questions read, and how many there are.
    read: AtomicUsize,
    questions: usize,
    report: Report<'a>,
}

/// Trains a head on nine prompts of ten, measures it on the tenth, and puts the artefact together; of `origin` the files count.
/// `report` is told how many of how many questions the decoder has read.
///
/// # Errors
/// See [`TrainError`].
pub fn train_causal(
    data: &Dataset,
    decoder: &Arc<Decoder>,
    options: &CausalOptions,
    origin: &Origin,
    seed: u64,
    report: Report<'_>,
) -> Result<Artifact, TrainError> {
    train_causal_on(data, decoder, options, origin, (&parts(seed), seed), report)
}

/// The same on the prompts that `part` says.
///
/// # Errors
/// See [`TrainError`].
pub fn train_causal_on(
    data: &Dataset,
    decoder: &Arc<Decoder>,
    options: &CausalOptions,
    origin: &Origin,
    (part, seed): (&(dyn Fn(&Prompt) -> Part + Sync), u64),
    report: Report<'_>,
) -> Result<Artifact, TrainError> {
    let train_battles = data.battles(|prompt| part(prompt) == Part::Train);
    if train_battles.is_empty() {
        return Err(TrainError::NoBattles);
    }
    let all = examples(data, |prompt| part(prompt) == Part::Train);
    let asked = asked(data, &all, options.scores_min);
    let of = |examples: Vec<Example>, prompts: usize| {
        let known = |example: &Example| asked.binary_search(&u32::from(example.model)).is_ok();
        let examples: Vec<Example> = examples.into_iter().filter(known).collect();
        Sampler::new(data, &examples, seed, options.models_per_prompt).sample(prompts)
    };
    let train = of(all, options.prompts);
    let dev = of(examples(data, |prompt| part(prompt) == Part::Dev), options.dev_prompts);
    if train.is_empty() || dev.is_empty() {
        return Err(TrainError::NoBattles);
    }
    let sample = spread(&places(data), options.sample_prompts);
    let mut task = Task {
        data,
        reader: Reader::untrained(
            Arc::clone(decoder),
            Template::CURRENT,
            options.question_tokens_max as usize,
            &asked.iter().map(|&row| data.models[row as usize].as_str()).collect::<Vec<_>>(),
        )?,
        texts: data.prompts.iter().map(routing_text).collect(),
        global: fit_global(data, &train_battles)?,
        read: AtomicUsize::new(0),
        questions: sample.len() + dev.len() + if options.head.is_some() { train.len() } else { 0 },
        asked,
        report,
    };
    let trained_on = train.iter().map(|draw| data.prompts[draw.prompt as usize].hash()).collect();
    let dev_hidden = task.hidden(&dev)?;
    let (head, mut metrics) = match &options.head {
        Some(options) => {
            let (train, dev) = (Examples::of(&train, &task.hidden(&train)?), Examples::of(&dev, &dev_hidden));
            let (head, metrics) = task.head(&train, &dev, options)?;
            task.reader = task.reader.with_head(head.clone());
            (Some(head), metrics)
        }
        None => {
            task.reader = task.reader.with_own_labels()?;
            (None, BTreeMap::new())
        }
    };
    let learned = task.learned((&dev, &dev_hidden), &sample)?;
    metrics.extend(learned.metrics);
    let weights = CausalWeights {
        template: Template::CURRENT.version().to_owned(),
        width: decoder.width(),
        question_tokens_max: options.question_tokens_max,
        references: references(&task.asked, &task.global.skills),
        asked: task.asked,
        levels: learned.levels,
        slope: learned.slope,
        head,
    };
    let provenance = Provenance {
        embedder: decoder.fingerprint().to_owned(),
        anchor: anchor::of(data).ok_or(TrainError::NoBattles)?,
        sources: origin.sources.clone(),
        training_prompts: trained_on,
        seed,
        metrics,
    };
    let ratings = Ratings::of(&data.models, &task.global);
    Ok(Artifact::new(ratings, Body::Causal(weights), provenance, learned.sample)?)
}

/// The models with scores on as many prompts; all that have any, where that would be fewer than two.
fn asked(data: &Dataset, examples: &[Example], scores_min: usize) -> Vec<u32> {
    let mut scores = vec![0_usize; data.models.len()];
    examples.iter().for_each(|example| scores[usize::from(example.model)] += 1);
    let with = |least: usize| -> Vec<u32> {
        (0..).zip(&scores).filter(|(_, scores)| **scores >= least).map(|(row, _)| row).collect()
    };
    let often = with(scores_min.max(1));
    if often.len() >= 2 { often } else { with(1) }
}

/// Some of the models asked about, from the weakest to the strongest: their places among them, ascending.
fn references(asked: &[u32], prior: &[f64]) -> Vec<u32> {
    let mut by_prior: Vec<u32> = (0..asked.len() as u32).collect();
    by_prior.sort_by(|one, other| {
        prior[asked[*one as usize] as usize].total_cmp(&prior[asked[*other as usize] as usize])
    });
    let mut chosen = spread(&by_prior, REFERENCES);
    chosen.sort_unstable();
    chosen
}

/// As many of these, evenly spread, the first and the last among them.
fn spread<T: Copy>(all: &[T], count: usize) -> Vec<T> {
    let count = count.min(all.len());
    match count {
        0 | 1 => all.iter().copied().take(count).collect(),
        _ => (0..count).map(|place| all[place * (all.len() - 1) / (count - 1)]).collect(),
    }
}

/// What follows from a head.
struct Learned {
    levels: Vec<f32>,
    slope: f64,
    sample: CalibrationSample,
    metrics: BTreeMap<String, serde_json::Value>,
}

impl Task<'_> {
    /// Hidden states of draws, one draw after the other.
    fn hidden(&self, draws: &[Draw]) -> Result<Vec<Mat<f32>>, TrainError> {
        let read = |draw: &Draw| {
            let names: Vec<&str> = draw
                .examples
                .iter()
                .map(|example| self.data.models[usize::from(example.model)].as_str())
                .collect();
            self.read(draw.prompt as usize, &names)
        };
        draws.par_iter().map(read).collect()
    }

    fn read(&self, prompt: usize, names: &[&str]) -> Result<Mat<f32>, TrainError> {
        let hidden = self.reader.hidden(&self.texts[prompt], names)?;
        (self.report)(1 + self.read.fetch_add(1, Ordering::Relaxed), self.questions);
        Ok(hidden)
    }

    fn head(
        &self,
        train: &Examples,
        dev: &Examples,
        options: &HeadOptions,
    ) -> Result<(Head, BTreeMap<String, serde_json::Value>), TrainError> {
        let trained = train_head(&self.label_rows()?, &train.data(), &dev.data(), options, &mut |_| {})?;
        let metrics = BTreeMap::from([
            ("trained_prompts".to_owned(), json!(train.prompts)),
            ("trained_examples".to_owned(), json!(train.labels.len())),
            ("steps".to_owned(), json!(trained.step)),
            ("dev_label_loss".to_owned(), json!(trained.held_out_loss)),
            ("dev_label_loss_untrained".to_owned(), json!(trained.first_loss)),
        ]);
        Ok((trained.head, metrics))
    }

    /// For each label the mean of the output rows of the tokens that spell it.
    fn label_rows(&self) -> Result<Mat<f32>, TrainError> {
        let decoder = self.reader.decoder();
        let tokenizer = prepared(decoder.tokenizer().clone()).map_err(crate::causal::ReaderError::from)?;
        let spellings = spellings(&tokenizer).map_err(crate::causal::ReaderError::from)?;
        let row = |tokens: &Vec<u32>| {
            let rows: Vec<Vec<f32>> = tokens.iter().filter_map(|token| decoder.output_row(*token)).collect();
            let mean =
                |place: usize| rows.iter().map(|row| row[place]).sum::<f32>() / rows.len().max(1) as f32;
            (0..decoder.width()).map(mean).collect()
        };
        let rows: Vec<Vec<f32>> = spellings.iter().map(row).collect();
        Ok(Mat::from_fn(rows.len(), decoder.width(), |label, place| rows[label][place]))
    }

    /// Levels and the sample, of all models on some prompts; the slope, and what is measured, on the held-out draws.
    fn learned(
        &self,
        (dev, dev_hidden): (&[Draw], &[Mat<f32>]),
        sample: &[usize],
    ) -> Result<Learned, TrainError> {
        let names: Vec<&str> =
            self.asked.iter().map(|&row| self.data.models[row as usize].as_str()).collect();
        let read = |&prompt: &usize| self.read(prompt, &names).map(|hidden| meanings(&self.reader, &hidden));
        let rows: Vec<Vec<f64>> = sample.par_iter().map(read).collect::<Result<_, _>>()?;
        let level = |place: usize| rows.iter().map(|row| row[place]).sum::<f64>() / rows.len().max(1) as f64;
        let levels: Vec<f32> = (0..names.len()).map(|place| level(place) as f32).collect();
        let known = Known::of(self, dev, dev_hidden, &levels);
        let stakes: Vec<Stake> = known.battles.iter().map(|battle| known.stake(battle)).collect();
        let slope = if stakes.is_empty() { 1.0 } else { likeliest(SLOPES, BISECTIONS, &stakes) };
        let shifts = Mat::from_fn(sample.len(), self.data.models.len(), |row, model| {
            let place = self.asked.binary_search(&(model as u32));
            place.map_or(0.0, |place| slope * (rows[row][place] - f64::from(levels[place])))
        });
        let tokens: Vec<u32> = sample.iter().map(|&prompt| estimate_tokens(&self.texts[prompt])).collect();
        let metrics = BTreeMap::from([
            ("slope".to_owned(), json!(slope)),
            ("dev_log_loss".to_owned(), json!(known.losses(slope))),
            ("asked".to_owned(), json!(names.len())),
        ]);
        Ok(Learned { levels, slope, sample: CalibrationSample::quantise(&shifts, &tokens), metrics })
    }
}

/// z of each row of hidden states.
fn meanings(reader: &Reader, hidden: &Mat<f32>) -> Vec<f64> {
    reader.labels_of(hidden).into_iter().map(skill).collect()
}

/// Hidden states with their labels.
struct Examples {
    hidden: Mat<f32>,
    labels: Vec<u8>,
    weights: Vec<f32>,
    prompts: usize,
}

impl Examples {
    /// Every prompt counts the same.
    fn of(draws: &[Draw], hidden: &[Mat<f32>]) -> Self {
        let rows: Vec<(usize, usize)> = hidden
            .iter()
            .enumerate()
            .flat_map(|(draw, hidden)| (0..hidden.nrows()).map(move |row| (draw, row)))
            .collect();
        let width = hidden.first().map_or(0, Mat::ncols);
        let flat = || draws.iter().flat_map(|draw| draw.examples.iter().map(move |example| (draw, example)));
        Self {
            hidden: Mat::from_fn(rows.len(), width, |row, column| {
                let (draw, row) = rows[row];
                hidden[draw][(row, column)]
            }),
            labels: flat().map(|(_, example)| label_of(example.score)).collect(),
            weights: flat().map(|(draw, _)| 1.0 / draw.examples.len() as f32).collect(),
            prompts: draws.len(),
        }
    }

    fn data(&self) -> HeadData<'_> {
        HeadData { hidden: self.hidden.as_ref(), labels: &self.labels, weights: &self.weights }
    }
}
