//! Why an answer is not whole.

use serde::Deserialize;

use crate::{budget::OverBudget, secret::Redactor, telemetry::outcome::Outcome};

/// What went wrong with an answer that had begun well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamFault {
    /// The upstream closed the stream, or its connection broke, before the answer was whole.
    #[error("the upstream ended its answer early")]
    Truncated,
    /// No content came in time.
    #[error("the upstream's first token did not come in time")]
    FirstToken,
    /// Nothing more came in time.
    #[error("the upstream fell silent in the middle of its answer")]
    Stalled,
    /// The request's own time was over before the answer was.
    #[error("the request took longer than it may")]
    RequestTimeout,
    /// Another upstream was asked for the rest of a broken answer, and wrote another one.
    #[error("the upstream's answer broke off, and another one differs from what was sent of it")]
    Differs,
    /// An event was not what the protocol says.
    #[error("the upstream sent a malformed event")]
    Malformed,
    /// The upstream said itself that it failed.
    #[error("the upstream reported an error: {0}")]
    Reported(String),
    /// The upstream says in a stream, or with a status of success, that the request is to blame; its error object, as JSON.
    #[error("the upstream refused the request")]
    Rejected(String),
    /// The answer itself says that it failed.
    #[error("the upstream's answer says that it failed")]
    Failed,
    /// A status of success with a body that is no answer.
    #[error("the upstream sent no answer: {0}")]
    NotAnAnswer(String),
    /// The answer has no bound, and a budget does not allow more of it.
    #[error("{0}")]
    OverBudget(OverBudget),
    /// An event is longer than the limit.
    #[error("the upstream sent an event over the limit")]
    TooLong,
}

/// Longest part of an upstream's own words that is repeated to a client.
const MESSAGE_CHARS_MAX: usize = 500;

impl StreamFault {
    /// A stable word for metrics and for the error object's `code`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Truncated => "upstream_truncated",
            Self::FirstToken => "upstream_first_token_timeout",
            Self::Stalled => "upstream_between_tokens_timeout",
            Self::RequestTimeout => "upstream_request_timeout",
            Self::Differs => "upstream_replay_differs",
            Self::Malformed => "upstream_malformed",
            Self::Reported(_) => "upstream_reported_error",
            Self::Rejected(_) => "upstream_refused",
            Self::Failed => "upstream_answer_failed",
            Self::NotAnAnswer(_) => "upstream_not_an_answer",
            Self::OverBudget(over_budget) => over_budget.code(),
            Self::TooLong => "upstream_event_too_long",
        }
    }

    /// How a request ends that ends in it.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::OverBudget(over_budget) => over_budget.into(),
            _ => Outcome::UpstreamError,
        }
    }

    /// The fault in an `error` value of an upstream: a string, or an object with a `message`.
    #[must_use]
    pub fn reported(error_json: &str, redactor: &Redactor) -> Self {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Wire {
            Text(String),
            Object { message: String },
        }
        let message = match serde_json::from_str(error_json) {
            Ok(Wire::Text(message) | Wire::Object { message }) => message,
            Err(_) => "no message".to_owned(),
        };
        Self::Reported(redactor.clean(&message).chars().take(MESSAGE_CHARS_MAX).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstreams_own_words_are_found() {
        let read = |json: &str| StreamFault::reported(json, &Redactor::default());
        assert_eq!(read(r#"{"message":"overloaded","x":1}"#), StreamFault::Reported("overloaded".into()));
        assert_eq!(read(r#""busy""#), StreamFault::Reported("busy".into()));
        assert_eq!(read("{}"), StreamFault::Reported("no message".into()));
    }
}
