//! `pointsman train blend`.

use clap::Args;
use pointsman_routers::train::Recipe;

use super::common::{Common, Trains};

/// Train a blend: mf, sw and knn heard together, each as much as held-out prompts say that it is worth
///
/// Nine prompts of ten train the three, each as it is trained by itself; on the tenth their weights are fitted. The artefact
/// holds all three, complete.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman train blend --data outcomes.jsonl battles.jsonl.gz --out blend.safetensors
  pointsman train blend --data outcomes.jsonl --encoder \"$(pointsman models pull)\" --out blend-minilm.safetensors")]
pub(super) struct Arguments {
    #[command(flatten)]
    common: Common,
}

impl Trains for Arguments {
    fn common(&self) -> &Common {
        &self.common
    }

    fn recipe(&self) -> Recipe {
        Recipe::Blend
    }
}
