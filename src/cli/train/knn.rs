//! `pointsman train knn`.

use clap::{Args, value_parser};
use pointsman_routers::train::Recipe;

use super::common::{Common, Trains};

/// Train the nearest-neighbours router, a baseline: ratings fitted to the prompts most like a new one
///
/// Nine prompts of ten are remembered, by their embeddings and battles, never by their texts; how strongly ratings are
/// held to the global ones is chosen on the tenth.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman train knn --data outcomes.jsonl battles.jsonl.gz --out knn.safetensors
  pointsman train knn --data outcomes.jsonl --neighbours 40 --out knn.safetensors")]
pub(super) struct Arguments {
    #[command(flatten)]
    common: Common,

    /// Prompts that count
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..), default_value_t = Recipe::NEIGHBOURS as u32)]
    neighbours: u32,
}

impl Trains for Arguments {
    fn common(&self) -> &Common {
        &self.common
    }

    fn recipe(&self) -> Recipe {
        Recipe::Knn { neighbours: self.neighbours as usize }
    }
}
