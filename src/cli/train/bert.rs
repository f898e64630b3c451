//! `pointsman train bert`.

use clap::Args;
use pointsman_routers::train::Recipe;

use super::common::{Common, Trains};

/// Train the last layer of a sentence encoder on battles and outcomes
///
/// Reads every format by its content, plain or gzipped: outcome rows, battle rows, vote counts, clean_battle arrays,
/// the Arena's CSV, JSON lines and Parquet. Nine prompts of ten are learned from; one temperature is fitted on the
/// tenth, and what is measured on it goes into the artefact and to stdout. The same files, encoder and seed give the same
/// artefact, byte for byte, on any number of threads and in whatever order the files are named; the order of their rows
/// changes nothing but the digests that the artefact records.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman train bert --data outcomes.jsonl battles.jsonl.gz --encoder \"$(pointsman models pull)\" --out bert.safetensors
  pointsman route --artifact bert.safetensors --encoder DIR --models gpt-4-0613,claude-1 \"What is 2 + 2?\"

Without --encoder the vectors are those of the embedder in the binary: less good, and a thousand times as fast.")]
pub(super) struct Arguments {
    #[command(flatten)]
    common: Common,
}

impl Trains for Arguments {
    fn common(&self) -> &Common {
        &self.common
    }

    fn recipe(&self) -> Recipe {
        Recipe::Bert
    }
}
