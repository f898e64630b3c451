//! `pointsman train mf`.

use clap::Args;
use pointsman_routers::train::Recipe;

use super::common::{Common, Trains};

/// Train the matrix-factorisation router on battles and outcomes
///
/// Reads every format by its content, plain or gzipped: outcome rows, battle rows, vote counts, clean_battle arrays,
/// the Arena's CSV, JSON lines and Parquet. Nine prompts of ten are learned from; one temperature is fitted on the
/// tenth, and what is measured on it goes into the artefact and to stdout. The same files, encoder and seed give the same
/// artefact, byte for byte, on any number of threads and in whatever order the files are named; the order of their rows
/// changes nothing but the digests that the artefact records.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman train mf --data outcomes.jsonl battles.jsonl.gz --out mf.safetensors
  pointsman train mf --data votes.json battles.jsonl --licence battles.jsonl=MIT --seed 1 --out mf.safetensors
  pointsman train mf --data outcomes.jsonl --encoder \"$(pointsman models pull)\" --out mf-minilm.safetensors
  pointsman route --artifact mf.safetensors --models gpt-4-0613,claude-1 \"What is 2 + 2?\"")]
pub(super) struct Arguments {
    #[command(flatten)]
    common: Common,

    /// Hidden dimensions
    #[arg(long, value_name = "N", default_value_t = Recipe::RANK)]
    rank: usize,
}

impl Trains for Arguments {
    fn common(&self) -> &Common {
        &self.common
    }

    fn recipe(&self) -> Recipe {
        Recipe::Mf { rank: self.rank }
    }
}
