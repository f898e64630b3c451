//! `contaminated_prompts.jsonl`: prompts of the benchmark that resemble prompts of some training set.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;

use super::{BenchmarkError, lines};
use crate::split::{PromptHash, prompt_hash};

const FILE: &str = "contaminated_prompts.jsonl";

#[derive(Deserialize)]
struct Row {
    eval_prompt: String,
}

/// The prompts that are not to be used; none without the file.
pub(super) fn read(folder: &Path) -> Result<BTreeSet<PromptHash>, BenchmarkError> {
    let file = folder.join(FILE);
    let mut listed = BTreeSet::new();
    if !file.exists() {
        return Ok(listed);
    }
    lines::read(&file, |line, row| {
        // A line that is lost here would let a contaminated question in.
        let row: Row = row.map_err(|problem| BenchmarkError::Foreign {
            file: file.clone(),
            problem: format!("line {line}: {problem}, expected {{\"eval_prompt\": text}}"),
        })?;
        listed.insert(prompt_hash(&row.eval_prompt));
        Ok(())
    })?;
    Ok(listed)
}
