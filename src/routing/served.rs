//! Routers whose texts another process reads: a language model that says labels, or an encoder that says vectors.

use std::{collections::BTreeMap, fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use faer::Mat;
use futures_util::future::try_join_all;
use pointsman_routers::causal::{LABELS, Prompt, Script};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use crate::{config::ServedApi, resilience::unanswered::Unanswered, telemetry::outcome::FailOpen};

/// How many alternatives to a token are asked for: as many as servers give.
const ALTERNATIVES: u32 = 20;

/// Somebody who is asked by JSON and answers by JSON.
#[async_trait]
pub trait Ask: Send + Sync + fmt::Debug {
    /// Asks; until `deadline` at most.
    ///
    /// # Errors
    /// When there is no answer.
    async fn ask(&self, json: Bytes, deadline: Instant) -> Result<Bytes, Unanswered>;
}

/// An answer of another kind than was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It is none of that API's.
    #[error("its answer is none of this API's: {0}")]
    Shape(String),
    /// It does not say how probable tokens are.
    #[error(
        "it answers without logprobs: serve the model so that it gives the {ALTERNATIVES} most probable tokens"
    )]
    NoLogprobs,
    /// It does not answer by labels.
    #[error(
        "none of the labels [[1]] to [[5]] is among its {ALTERNATIVES} most probable tokens: it was not trained to label, or is asked otherwise than it was trained"
    )]
    NoLabels,
    /// Its vector is none.
    #[error("its vector holds what is no number")]
    Vector,
}

/// What was read of one text, as its router wants it.
#[derive(Debug, Clone, Default)]
pub struct Read {
    /// The vector: one row.
    pub embeddings: Option<Mat<f32>>,
    /// The labels' logits, up to a common term, of each model that the router asks about.
    pub labels: Option<Vec<[f32; LABELS.len()]>>,
}

/// Another process that reads texts for a router.
#[derive(Debug)]
pub struct Served {
    service: Arc<dyn Ask>,
    /// What the server calls the model.
    model: String,
    asks: Asks,
}

#[derive(Debug)]
enum Asks {
    Labels { script: Arc<Script>, is_chat: bool },
    Vectors { is_openai: bool },
}

impl Served {
    /// A server of labels, by prompts of this script.
    #[must_use]
    pub fn labels(service: Arc<dyn Ask>, model: &str, api: ServedApi, script: Script) -> Self {
        let asks = Asks::Labels { script: Arc::new(script), is_chat: api == ServedApi::Chat };
        Self { service, model: model.to_owned(), asks }
    }

    /// A server of vectors.
    #[must_use]
    pub fn vectors(service: Arc<dyn Ask>, model: &str, api: ServedApi) -> Self {
        let asks = Asks::Vectors { is_openai: api == ServedApi::Embeddings };
        Self { service, model: model.to_owned(), asks }
    }

    /// Has a text read, for the models of these names where labels are asked for.
    ///
    /// # Errors
    /// When it cannot be read in time.
    pub async fn read(&self, text: &str, names: Vec<String>, deadline: Instant) -> Result<Read, FailOpen> {
        let read = match &self.asks {
            Asks::Labels { script, is_chat } => {
                let (script, text) = (Arc::clone(script), text.to_owned());
                // Tokenising may take longer than a request's thread may be held, and may panic.
                let prompts = tokio::task::spawn_blocking(move || {
                    let names: Vec<&str> = names.iter().map(String::as_str).collect();
                    script.prompts(&text, &names)
                });
                let prompts = prompts.await.map_err(|_| FailOpen::Panic)?.map_err(|error| {
                    tracing::error!(%error, "a prompt for the served model cannot be made");
                    FailOpen::Error
                })?;
                let asked = prompts.iter().map(|prompt| self.label(prompt, *is_chat, deadline));
                try_join_all(asked).await.map(|labels| Read { labels: Some(labels), ..Read::default() })
            }
            Asks::Vectors { is_openai } => {
                let row = self.vector(text, *is_openai, deadline).await;
                row.map(|row| Read { embeddings: Some(row), ..Read::default() })
            }
        };
        read.map_err(|unanswered| {
            tracing::warn!(model = self.model, error = %unanswered, "the served model did not answer");
            match unanswered {
                Unanswered::Busy => FailOpen::Overloaded,
                Unanswered::Late => FailOpen::Timeout,
                Unanswered::Failed(_) => FailOpen::Error,
            }
        })
    }

    async fn label(
        &self,
        prompt: &Prompt,
        is_chat: bool,
        deadline: Instant,
    ) -> Result<[f32; LABELS.len()], Unanswered> {
        let mut question = json!({"model": self.model, "max_tokens": 1, "temperature": 0});
        match (is_chat, prompt) {
            (true, Prompt::Text(text)) => {
                question["messages"] = json!([{"role": "user", "content": text}]);
                question["logprobs"] = true.into();
                question["top_logprobs"] = ALTERNATIVES.into();
            }
            (_, Prompt::Text(text)) => question["prompt"] = json!(text),
            (_, Prompt::Tokens(tokens)) => question["prompt"] = json!(tokens),
        }
        if !is_chat {
            question["logprobs"] = ALTERNATIVES.into();
        }
        let answer = self.service.ask(question.to_string().into(), deadline).await?;
        labels_in(&answer).map_err(unusable)
    }

    async fn vector(&self, text: &str, is_openai: bool, deadline: Instant) -> Result<Mat<f32>, Unanswered> {
        let question = match is_openai {
            true => json!({"model": self.model, "input": text, "encoding_format": "float"}),
            false => json!({"inputs": text, "truncate": true}),
        };
        let answer = self.service.ask(question.to_string().into(), deadline).await?;
        vector_in(&answer, is_openai).map_err(unusable)
    }
}

/// It answered, but not as it should.
fn unusable(why: Unusable) -> Unanswered {
    Unanswered::Failed(why.to_string())
}

/// An answer of `/completions` or `/chat/completions`.
#[derive(Deserialize)]
struct Answer {
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    logprobs: Option<Logprobs>,
}

/// As conversations have them, and some servers for all; or as completions had them from the first.
#[derive(Deserialize)]
struct Logprobs {
    content: Option<Vec<Position>>,
    top_logprobs: Option<Vec<Option<BTreeMap<String, f64>>>>,
}

#[derive(Deserialize)]
struct Position {
    top_logprobs: Option<Vec<Alternative>>,
}

#[derive(Deserialize)]
struct Alternative {
    token: String,
    logprob: f64,
}

/// The log-probabilities of the five labels as the answer's only token. One that is not listed is no more probable than the least that is.
///
/// # Errors
/// When the answer does not have them.
pub fn labels_in(answer: &[u8]) -> Result<[f32; LABELS.len()], Unusable> {
    let answer: Answer =
        serde_json::from_slice(answer).map_err(|error| Unusable::Shape(error.to_string()))?;
    let logprobs = answer.choices.into_iter().next().and_then(|choice| choice.logprobs);
    let Logprobs { content, top_logprobs } = logprobs.ok_or(Unusable::NoLogprobs)?;
    let listed = content.and_then(|content| content.into_iter().next()?.top_logprobs);
    let mapped = || top_logprobs.and_then(|all| all.into_iter().next()?);
    let alternatives: Vec<(String, f64)> = match listed {
        Some(listed) => listed.into_iter().map(|one| (one.token, one.logprob)).collect(),
        None => mapped().ok_or(Unusable::NoLogprobs)?.into_iter().collect(),
    };
    if alternatives.is_empty() {
        return Err(Unusable::NoLogprobs);
    }
    let least = alternatives.iter().map(|(_, logprob)| *logprob).fold(f64::INFINITY, f64::min);
    // Some servers part a token from the space before it, some do not.
    let of = |label: &str| {
        alternatives.iter().find(|(token, _)| token.trim() == label).map(|(_, logprob)| *logprob)
    };
    let found = LABELS.map(of);
    if found.iter().all(Option::is_none) {
        return Err(Unusable::NoLabels);
    }
    #[expect(clippy::cast_possible_truncation, reason = "a logarithm of a probability")]
    Ok(found.map(|logprob| logprob.unwrap_or(least) as f32))
}

/// An answer of `/embeddings`.
#[derive(Deserialize)]
struct Embeddings {
    data: Vec<Embedding>,
}

#[derive(Deserialize)]
struct Embedding {
    embedding: Vec<f32>,
}

/// The vector of the only text, of unit length or zero; the answer of `/embeddings`, or else of `/embed`.
///
/// # Errors
/// When the answer has none.
pub fn vector_in(answer: &[u8], is_openai: bool) -> Result<Mat<f32>, Unusable> {
    let shape = |error: serde_json::Error| Unusable::Shape(error.to_string());
    let rows: Vec<Vec<f32>> = if is_openai {
        let answer: Embeddings = serde_json::from_slice(answer).map_err(shape)?;
        answer.data.into_iter().map(|row| row.embedding).collect()
    } else {
        serde_json::from_slice(answer).map_err(shape)?
    };
    let [row] = &rows[..] else { return Err(Unusable::Shape(format!("{} vectors of one text", rows.len()))) };
    let length = row.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    if !length.is_finite() {
        return Err(Unusable::Vector);
    }
    let scale = if length > 0.0 { 1.0 / length } else { 0.0 };
    #[expect(clippy::cast_possible_truncation, reason = "a component of a unit vector")]
    Ok(Mat::from_fn(1, row.len(), |_, column| (f64::from(row[column]) * scale) as f32))
}

#[cfg(test)]
mod tests;
