//! `pointsman train causal`: a language model that is asked about each candidate.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread;

use clap::{Args, ValueEnum};
use pointsman::routing::embedders;
use pointsman_routers::causal::head::HeadOptions;
use pointsman_routers::data::Dataset;
use pointsman_routers::train::{CausalOptions, Origin, train_causal};

use super::common::{Basics, on};
use crate::cli::output::Failure;
use crate::cli::{parse, progress};

/// Options of causal routers.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    basics: Basics,

    /// The language model: a folder (config.json, tokenizer.json, model.safetensors) or a GGUF file, of the Llama or Qwen2 family
    #[arg(long, value_name = "PATH")]
    base: PathBuf,

    /// What is trained
    #[arg(long, value_enum, default_value_t = Mode::Head)]
    mode: Mode,

    /// Prompts that a head is trained on, at most
    #[arg(long, value_name = "N", value_parser = parse::count, default_value_t = CausalOptions::default().prompts)]
    prompts: usize,

    /// Models asked about on each of them, at most
    #[arg(long, value_name = "N", value_parser = parse::count, default_value_t = CausalOptions::default().models_per_prompt)]
    models_per_prompt: usize,

    /// Prompts of the calibration sample, at most; every model is asked about on each
    #[arg(long, value_name = "N", value_parser = parse::count, default_value_t = CausalOptions::default().sample_prompts)]
    sample: usize,

    /// Models with scores on fewer prompts are not asked about: they move as their rating says
    #[arg(long, value_name = "N", value_parser = parse::count, default_value_t = CausalOptions::default().scores_min)]
    scores_min: usize,

    /// Tokens of a question that are read; of a longer one its middle is left out
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(16..), default_value_t = CausalOptions::default().question_tokens_max)]
    question_tokens: u32,

    /// Steps of the training, at most [default: 4000 of a head, 2000 of everything]
    #[arg(long, value_name = "N", value_parser = parse::count)]
    steps: Option<usize>,

    /// Examples a step of a head's training [default: 256], prompts a step of a whole model's [default: 16]
    #[arg(long, value_name = "N", value_parser = parse::count)]
    batch: Option<usize>,

    /// The largest step size [default: 0.001 for a head, 0.00002 for everything]
    #[arg(long, value_name = "RATE", value_parser = rate)]
    lr: Option<f64>,

    /// With --mode full, where the trained language model goes, as a folder [default: as --out, ending in `.model`]
    #[arg(long, value_name = "DIR")]
    model_out: Option<PathBuf>,

    /// With --mode full, go on from the latest checkpoint in the folder that ends in `.checkpoints`
    #[arg(long)]
    resume: bool,

    /// Threads; of a head's training, their number changes no result [default: all cores]
    #[arg(long, value_name = "N", value_parser = parse::at_least_one)]
    threads: Option<NonZeroUsize>,
}

/// What of a language model is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Rows for the five labels and a small adapter: minutes on a CPU, some hundred kilobytes
    Head,
    /// Every weight; for builds with `--features finetune`, and machines with time or a GPU
    Full,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if rate.is_finite() && rate > 0.0 { Ok(rate) } else { Err("expected more than 0".to_owned()) }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.mode == Mode::Full && !cfg!(feature = "finetune") {
        return Err(Failure::Usage(
            "this build trains heads only: build it with `--features finetune` for --mode full".to_owned(),
        ));
    }
    let (data, sources) = arguments.basics.read()?;
    let path = match arguments.mode {
        Mode::Head => arguments.base.clone(),
        Mode::Full => finetuned(arguments, &data)?,
    };
    let decoder = embedders::decoder(&path).map_err(Failure::because)?;
    let options = arguments.options();
    let origin = Origin { embedder: decoder.fingerprint().to_owned(), sources };
    let bar = progress::bar("questions read", 0);
    let report = progress::of(&bar);
    let trained = on(arguments.threads(), || {
        train_causal(&data, &decoder, &options, &origin, arguments.basics.seed, &report)
    })?;
    bar.finish_and_clear();
    arguments.basics.finish(&trained.map_err(Failure::because)?)
}

impl Arguments {
    fn threads(&self) -> NonZeroUsize {
        self.threads.or_else(|| thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN)
    }

    fn options(&self) -> CausalOptions {
        let head = HeadOptions::default();
        let head = HeadOptions {
            steps: self.steps.unwrap_or(head.steps),
            batch: self.batch.unwrap_or(head.batch),
            learning_rate: self.lr.unwrap_or(head.learning_rate),
            seed: self.basics.seed,
            ..head
        };
        CausalOptions {
            prompts: self.prompts,
            models_per_prompt: self.models_per_prompt,
            sample_prompts: self.sample,
            scores_min: self.scores_min,
            question_tokens_max: self.question_tokens,
            head: (self.mode == Mode::Head).then_some(head),
            ..CausalOptions::default()
        }
    }
}

#[cfg(not(feature = "finetune"))]
fn finetuned(arguments: &Arguments, _data: &Dataset) -> Result<PathBuf, Failure> {
    Ok(arguments.base.clone())
}

/// Trains every weight; the folder of the trained model.
#[cfg(feature = "finetune")]
fn finetuned(arguments: &Arguments, data: &Dataset) -> Result<PathBuf, Failure> {
    use std::ops::ControlFlow;

    use pointsman_routers::finetune::{
        CausalModel, Event, FinetuneOptions, Finetuned, Measures, Precision, finetune,
    };

    let out = &arguments.basics.out;
    let folder = arguments.model_out.clone().unwrap_or_else(|| out.with_extension("model"));
    let base = if arguments.base.is_dir() {
        CausalModel::load(&arguments.base)
    } else {
        let decoder = embedders::decoder(&arguments.base).map_err(Failure::because)?;
        CausalModel::load_gguf(&arguments.base, decoder.tokenizer().clone())
    };
    let usual = FinetuneOptions::default();
    let options = FinetuneOptions {
        steps: arguments.steps.unwrap_or(usual.steps),
        batch: arguments.batch.unwrap_or(usual.batch),
        learning_rate: arguments.lr.unwrap_or(usual.learning_rate),
        models_per_prompt: arguments.models_per_prompt,
        question_tokens_max: arguments.question_tokens as usize,
        seed: arguments.basics.seed,
        checkpoint_dir: Some(out.with_extension("checkpoints")),
        resume: arguments.resume,
        threads: Some(arguments.threads()),
        ..usual
    };
    let bar = progress::training(options.steps);
    let begun = std::time::Instant::now();
    let mut tokens = 0;
    let mut report = |event: Event| {
        match event {
            Event::Step(step) => {
                tokens += step.tokens;
                bar.set_position(step.step as u64);
                let per_second = tokens as f64 / begun.elapsed().as_secs_f64();
                bar.set_message(format!("loss {:.3}, {per_second:.0} tokens/s", step.loss));
            }
            Event::Measured(Measures { step, loss, pairwise_accuracy, .. }) => {
                let accuracy =
                    pairwise_accuracy.map_or_else(|| "none".to_owned(), |share| format!("{share:.3}"));
                tracing::info!(step, held_out_loss = %format!("{loss:.4}"), pairwise_accuracy = %accuracy, "measured");
            }
            Event::Checkpoint(file) => tracing::info!(file = %file.display(), "checkpoint"),
        }
        ControlFlow::Continue(())
    };
    let Finetuned { model, .. } =
        finetune(base.map_err(Failure::because)?, data, &options, &mut report).map_err(Failure::because)?;
    bar.finish_and_clear();
    model.save(&folder, Precision::default(), options.question_tokens_max).map_err(Failure::because)?;
    tracing::info!(folder = %folder.display(), "the trained model");
    Ok(folder)
}
