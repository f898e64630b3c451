//! The file of `--prices`: `{"model": {"input": USD, "output": USD}, …}`, per million tokens.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pointsman::config::{Price, TokenPrice};
use pointsman_routers::json;
use serde::Deserialize;

use super::files;
use super::output::Failure;

/// What `--prices` names.
pub(super) const EXPECTED: &str =
    "a JSON file of USD per million tokens, {\"model\": {\"input\": 2.50, \"output\": 10.00}, …}";

/// What a file says about models.
pub(super) struct PriceFile {
    file: PathBuf,
    written: BTreeMap<String, Written>,
}

/// What it says about one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "{\"input\": USD, \"output\": USD}")]
struct Written {
    input: serde_json::Number,
    output: serde_json::Number,
}

impl PriceFile {
    pub(super) fn read(file: &Path) -> Result<Self, Failure> {
        let written = serde_json::from_slice(&files::read("--prices", file, EXPECTED)?)
            .map_err(|error| malformed(file, &error))?;
        Ok(Self { file: file.to_owned(), written })
    }

    /// The models that it prices.
    pub(super) fn models(&self) -> Vec<String> {
        self.written.keys().cloned().collect()
    }

    /// The price of every one of these models; a model left out would count as free.
    pub(super) fn of_all<'a>(&self, models: &'a [String]) -> Result<BTreeMap<&'a str, Price>, Failure> {
        let is_missing = |model: &&String| !self.written.contains_key(*model);
        let lacking: Vec<&str> = models.iter().filter(is_missing).map(String::as_str).collect();
        if !lacking.is_empty() {
            return Err(missing(&self.file, &lacking, "--models"));
        }
        models.iter().map(|model| Ok((model.as_str(), self.of(model)?))).collect()
    }

    fn of(&self, model: &str) -> Result<Price, Failure> {
        let because = |error: String| Failure::Because(format!("{}: {error}", self.file.display()));
        let Some(Written { input, output }) = self.written.get(model) else {
            return Err(missing(&self.file, &[model], "--models"));
        };
        let token = |number: &serde_json::Number, which: &str| {
            let price = TokenPrice::parse(&number.to_string());
            price.map_err(|error| because(format!("the {which} price of {model} {error}")))
        };
        Ok(Price::flat(token(input, "input")?, token(output, "output")?))
    }
}

/// What a command says of a file that lacks the prices of models, which `option` would choose among.
pub(super) fn missing(file: &Path, models: &[&str], option: &str) -> Failure {
    let (file, models) = (file.display(), models.join(", "));
    Failure::Because(format!(
        "{file}: has no price of {models}: add what is missing, or name the other models with {option}"
    ))
}

/// What a command says of a file that is no JSON of prices.
pub(super) fn malformed(file: &Path, error: &serde_json::Error) -> Failure {
    let (file, problem) = (file.display(), json::problem_and_place(error));
    Failure::Because(format!("{file}: {problem}; expected {EXPECTED}"))
}
