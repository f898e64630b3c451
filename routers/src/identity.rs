//! One canonical name per model.
//!
//! The sources spell the same model differently; the Chatbot Arena's names are canonical, and models it never
//! served get a name in its style. The table, `identity/aliases.tsv`, is meant to be read and edited by people.
//!
//! Joining two models that differ is worse than failing to join two that are the same, so nothing is guessed:
//! a base model, its instruct version, a dated release and an undated name are four models unless a line of the
//! table says otherwise. Must not know of data files, ratings or routers.

use std::{collections::HashMap, sync::LazyLock};

/// The table as text.
const TABLE: &str = include_str!("identity/aliases.tsv");

/// What may stand before a `/`: publishers of weights, and services that resell under `service/publisher/model`.
///
/// Not `azure`: what follows there is a name that the customer chose.
const PUBLISHERS: &[&str] = &[
    "01-ai",
    "ai21",
    "ai21labs",
    "allenai",
    "anthropic",
    "berkeley-nest",
    "blinkdl",
    "codellama",
    "cognitivecomputations",
    "cohere",
    "cohereforai",
    "coherelabs",
    "databricks",
    "deepseek",
    "deepseek-ai",
    "google",
    "huggyllama",
    "lmsys",
    "meta",
    "meta-llama",
    "microsoft",
    "mistral",
    "mistralai",
    "mosaicml",
    "nexusflow",
    "nomic-ai",
    "nousresearch",
    "nvidia",
    "openai",
    "openassistant",
    "openchat",
    "openrouter",
    "qwen",
    "rekaai",
    "snowflake",
    "stabilityai",
    "teknium",
    "thudm",
    "tiiuae",
    "timdettmers",
    "together_ai",
    "togethercomputer",
    "upstage",
    "wizardlm",
    "wizardlmteam",
    "x-ai",
    "xai",
    "zai-org",
];

/// What may stand after an `@`: who served the run. A version after `@` (`chat-bison@001`) is no provider.
const PROVIDERS: &[&str] = &[
    "anyscale",
    "bedrock",
    "cerebras",
    "deepinfra",
    "deepseek",
    "fireworks",
    "groq",
    "hyperbolic",
    "lepton",
    "nvidia",
    "openrouter",
    "reka",
    "replicate",
    "sambanova",
    "together",
    "vertex",
];

/// Canonical names by lower-case spelling.
static BY_SPELLING: LazyLock<HashMap<String, &'static str>> = LazyLock::new(|| {
    let spellings = lines().flat_map(|(canonical, spellings)| {
        let all =
            std::iter::once(canonical).chain(spellings.split("; ")).filter(|spelling| !spelling.is_empty());
        all.map(move |spelling| (spelling.to_lowercase(), canonical))
    });
    spellings.collect()
});

/// The canonical name of a model, from any spelling.
///
/// Known spellings are found whatever their case, with a publisher before (`mistralai/Mixtral-8x7B-Instruct-v0.1`)
/// or a provider behind (`Meta-Llama-3.1-70B-Instruct@hyperbolic`). An unknown name is its own canonical name, less
/// the white space around it. Idempotent.
#[must_use]
pub fn canonical(name: &str) -> &str {
    lookup(name).unwrap_or_else(|| name.trim())
}

/// The canonical name of a model, if the table knows the spelling.
#[must_use]
pub fn lookup(name: &str) -> Option<&'static str> {
    let spelling = name.trim().to_lowercase();
    let whole = BY_SPELLING.get(&spelling).copied();
    whole.or_else(|| BY_SPELLING.get(without_provider(without_publisher(&spelling))).copied())
}

/// Every canonical name of the table, in the table's order.
pub fn known() -> impl Iterator<Item = &'static str> {
    lines().map(|(canonical, _)| canonical)
}

/// Canonical names of the table with their other spellings, still joined.
fn lines() -> impl Iterator<Item = (&'static str, &'static str)> {
    let rows = TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    rows.filter_map(|line| {
        let mut fields = line.split('\t');
        Some((fields.next()?, fields.next().unwrap_or_default()))
    })
}

/// The name behind its publishers; the whole name unless each part before a `/` is one.
fn without_publisher(spelling: &str) -> &str {
    match spelling.rsplit_once('/') {
        Some((path, name)) if path.split('/').all(|part| PUBLISHERS.contains(&part)) => name,
        _ => spelling,
    }
}

/// The name before its provider; the whole name if what stands behind `@` is none.
fn without_provider(spelling: &str) -> &str {
    match spelling.rsplit_once('@') {
        Some((name, provider)) if PROVIDERS.contains(&provider) => name,
        _ => spelling,
    }
}

#[cfg(test)]
mod tests;
