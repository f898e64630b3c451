//! The file of `--prices`: `{"model": {"input": USD, "output": USD}, …}`, per million tokens.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pointsman::config::{Price, TokenPrice};
use serde::Deserialize;

use super::output::Failure;

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
        let because =
            |error: &dyn std::fmt::Display| Failure::Because(format!("{}: {error}", file.display()));
        let text = std::fs::read_to_string(file).map_err(|error| because(&error))?;
        let written = serde_json::from_str(&text).map_err(|error| because(&error))?;
        Ok(Self { file: file.to_owned(), written })
    }

    /// The models that it prices.
    pub(super) fn models(&self) -> Vec<String> {
        self.written.keys().cloned().collect()
    }

    /// The price of every one of these models; a model left out would count as free.
    pub(super) fn of_all<'a>(&self, models: &'a [String]) -> Result<BTreeMap<&'a str, Price>, Failure> {
        models.iter().map(|model| Ok((model.as_str(), self.of(model)?))).collect()
    }

    fn of(&self, model: &str) -> Result<Price, Failure> {
        let because = |error: String| Failure::Because(format!("{}: {error}", self.file.display()));
        let Some(Written { input, output }) = self.written.get(model) else {
            return Err(because(format!("has no price of {model}")));
        };
        let token = |number: &serde_json::Number, which: &str| {
            let price = TokenPrice::parse(&number.to_string());
            price.map_err(|error| because(format!("the {which} price of {model} {error}")))
        };
        Ok(Price { input: token(input, "input")?, output: token(output, "output")? })
    }
}
