//! How good a model is on held-out prompts.

use super::event::Measures;
use super::network::Network;
use super::pack::Question;
use super::{CausalModel, FinetuneError};
use crate::causal::Draw;
use crate::causal::measure::{Scored, pairwise_accuracy};
use crate::causal::skill;

/// Measures the model after `step` steps; `draws` and `questions` are of one order, `micro_batch` of them go at once.
pub(super) fn measure(
    model: &CausalModel,
    (draws, questions): (&[Draw], &[Question]),
    micro_batch: usize,
    step: usize,
) -> Result<Measures, FinetuneError> {
    let network = Network::new(&model.config, &model.weights)?;
    let (mut scored, mut loss) = (Vec::new(), 0.0);
    for (draws, questions) in draws.chunks(micro_batch).zip(questions.chunks(micro_batch)) {
        let (rows, sum) = model.labels_of(&network, questions)?;
        loss += sum;
        let examples = draws.iter().flat_map(|draw| &draw.examples);
        scored.extend(examples.zip(rows).map(|(example, row)| Scored {
            prompt: example.prompt,
            score: example.score,
            skill: skill(row),
        }));
    }
    let examples = scored.len();
    let loss = loss / examples.max(1) as f64;
    Ok(Measures { step, loss, pairwise_accuracy: pairwise_accuracy(&scored), examples })
}
