//! The labels as tokens of their own: in the tokenizer, and as rows of the network's tables.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use serde_json::json;
use tokenizers::{AddedToken, Tokenizer};

use super::FinetuneError;
use super::config::Config;
use super::weights::{EMBEDDINGS, OUTPUT};
use crate::causal::LABELS;
use crate::causal::template::spellings;

/// Gives the labels tokens, unless they are there already, and returns these.
///
/// A new label's rows are the means of those of the tokens that spell it: nothing is drawn, and the labels start apart.
pub(super) fn add_labels(
    tokenizer: &mut Tokenizer,
    weights: &mut BTreeMap<String, Tensor>,
    config: &mut Config,
) -> Result<[u32; 5], FinetuneError> {
    let spellings = spellings(tokenizer)?;
    let new = LABELS.map(|label| tokenizer.token_to_id(label).is_none());
    tokenizer.add_special_tokens(&LABELS.map(|label| AddedToken::from(label, true)));
    let mut tokens = [0; 5];
    for (token, label) in tokens.iter_mut().zip(LABELS) {
        let added = tokenizer.token_to_id(label);
        *token = added.ok_or_else(|| FinetuneError::Vocabulary(format!("it refused {label}")))?;
    }
    let added: Vec<(u32, &[u32])> = tokens
        .iter()
        .zip(&spellings)
        .zip(new)
        // A token beyond the table is as good as none: some tokenizers know more than their model.
        .filter(|((token, _), new)| *new || **token as usize >= config.vocabulary)
        .map(|((token, spelling), _)| (*token, spelling.as_slice()))
        .collect();
    if added.is_empty() {
        return Ok(tokens);
    }
    for name in [EMBEDDINGS, OUTPUT] {
        if let Some(table) = weights.get_mut(name) {
            *table = with_rows(table, &added)?;
            config.vocabulary = table.dim(0)?;
        }
    }
    config.file.insert("vocab_size".to_owned(), json!(config.vocabulary));
    Ok(tokens)
}

/// The table with a row for each added token, the mean of the rows of the tokens that spell it.
fn with_rows(table: &Tensor, added: &[(u32, &[u32])]) -> Result<Tensor, FinetuneError> {
    let (rows, width) = table.dims2()?;
    let device = table.device().clone();
    let mut values: Vec<f32> = table.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?;
    let means = added.iter().map(|(token, spelling)| Ok((*token, mean_row(&values, width, spelling)?)));
    let means = means.collect::<Result<Vec<_>, FinetuneError>>()?;
    let last = added.iter().map(|(token, _)| *token as usize + 1).max().unwrap_or(0);
    let rows = rows.max(last);
    values.resize(rows * width, 0.0);
    for (token, mean) in means {
        let start = token as usize * width;
        values.iter_mut().skip(start).zip(mean).for_each(|(value, mean)| *value = mean);
    }
    Ok(Tensor::from_vec(values, (rows, width), &device)?)
}

fn mean_row(values: &[f32], width: usize, tokens: &[u32]) -> Result<Vec<f32>, FinetuneError> {
    let mut sum = vec![0.0; width];
    for token in tokens {
        let start = *token as usize * width;
        let row = values.get(start..start + width);
        let row =
            row.ok_or_else(|| FinetuneError::Vocabulary(format!("token {token} has no row in the model")))?;
        sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
    let count = tokens.len().max(1) as f32;
    Ok(sum.into_iter().map(|value| value / count).collect())
}
