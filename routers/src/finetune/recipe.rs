//! What decides the weights of a training, written down: a checkpoint goes on only under the same.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{CausalModel, FinetuneError, FinetuneOptions};
use crate::causal::{Example, label_of};
use crate::data::Dataset;
use crate::encoder::hexadecimal;
use crate::train::routing_text;

/// The options, the template and a digest of the examples.
pub(super) fn recipe(
    options: &FinetuneOptions,
    model: &CausalModel,
    data: &Dataset,
    examples: &[Example],
) -> Result<Map<String, Value>, FinetuneError> {
    let options = serde_json::to_value(options);
    let options = options.map_err(|source| FinetuneError::Checkpoint {
        path: "options".into(),
        reason: format!("they cannot be written down: {source}"),
    })?;
    let mut recipe = match options {
        Value::Object(options) => options,
        _ => Map::new(),
    };
    recipe.insert("template".to_owned(), json!(model.template.version()));
    recipe.insert("parameters".to_owned(), json!(model.parameters()));
    recipe.insert("examples".to_owned(), json!(digest(data, examples)));
    Ok(recipe)
}

/// The first entry in which two recipes differ.
pub(super) fn difference<'a>(one: &'a Map<String, Value>, other: &'a Map<String, Value>) -> Option<&'a str> {
    let names = one.keys().chain(other.keys());
    names.map(String::as_str).find(|name| one.get(*name) != other.get(*name))
}

/// SHA-256 in hexadecimal over prompts, models and labels.
fn digest(data: &Dataset, examples: &[Example]) -> String {
    let mut digest = Sha256::new();
    for of_prompt in examples.chunk_by(|one, other| one.prompt == other.prompt) {
        let place = of_prompt.first().map_or(0, |example| example.prompt as usize);
        digest.update(data.prompts.get(place).map(routing_text).unwrap_or_default());
        for example in of_prompt {
            let model = data.models.get(usize::from(example.model)).map_or("", String::as_str);
            // What parts the texts occurs in no name.
            digest.update([0, label_of(example.score)]);
            digest.update(model);
        }
        digest.update([0, 0]);
    }
    hexadecimal(&digest.finalize())
}
