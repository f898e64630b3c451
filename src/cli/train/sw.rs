//! `pointsman train sw`.

use clap::Args;
use pointsman_routers::train::Recipe;

use super::common::{Common, Trains};

/// Train the similarity-weighted router: it remembers prompts, and fits ratings at each new one
///
/// Nine prompts of ten are remembered, by their embeddings and battles, never by their texts; how sharply similarity
/// counts, and how strongly ratings are held to the global ones, is chosen on the tenth, and what is measured there goes
/// into the artefact and to stdout. The same files, encoder and seed give the same artefact, byte for byte.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman train sw --data outcomes.jsonl battles.jsonl.gz --out sw.safetensors
  pointsman train sw --data battles.jsonl --encoder \"$(pointsman models pull)\" --out sw-minilm.safetensors")]
pub(super) struct Arguments {
    #[command(flatten)]
    common: Common,
}

impl Trains for Arguments {
    fn common(&self) -> &Common {
        &self.common
    }

    fn recipe(&self) -> Recipe {
        Recipe::Sw
    }
}
