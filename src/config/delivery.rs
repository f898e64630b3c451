//! How a request is brought to its models: how often, for how long, and what becomes of a stream that breaks.

use std::time::Duration;

use crate::{cache::CacheRules, resilience::attempts::RetryRules};

/// What a route says of the delivery of its requests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Delivery {
    /// How a request is asked again.
    pub retry: RetryRules,
    /// How long a request may take in all, its answer included.
    pub request_timeout: Duration,
    /// What becomes of a streamed answer that breaks after its first content.
    pub stream_recovery: StreamRecovery,
    /// A second model is asked when the first is later than 95 of 100 of its answers; who begins first answers.
    pub hedge: bool,
    /// How long a client of a stream waits for its first content before it is sent a comment, and then the next. They
    /// commit the status, 200.
    pub heartbeat: Option<Duration>,
    /// What becomes of requests while a budget has little left.
    pub when_low: WhenLow,
    /// How answers are kept for requests that are asked again; `None` where they are not.
    pub cache: Option<CacheRules>,
}

impl Delivery {
    /// Longer than any answer that people wait for.
    pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(1800);
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            retry: RetryRules::default(),
            request_timeout: Self::REQUEST_TIMEOUT,
            stream_recovery: StreamRecovery::Error,
            hedge: false,
            heartbeat: None,
            when_low: WhenLow::Refuse,
            cache: None,
        }
    }
}

/// What becomes of a streamed answer that breaks after its first content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamRecovery {
    /// It ends with an error.
    Error,
    /// The next model is asked the same, and followed silently through what was sent already.
    Replay,
    /// The next model that can is given what was sent, to go on from there; another replays.
    Continue,
}

/// How long an upstream may take for each part of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For the name lookup, and the TCP and TLS handshakes.
    pub connect: Duration,
    /// From the call to the head of the answer. An answer that is not streamed is written before its head is sent.
    pub response_headers: Duration,
    /// From the call to the first content of a streamed answer.
    pub first_token: Duration,
    /// Between two events of a streamed answer, comments not counted, and between two frames of any other.
    pub between_tokens: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            // Enough for a handshake across the world with one lost packet.
            connect: Duration::from_secs(5),
            // The OpenAI SDKs' own timeout: a slow answer that a client would wait for is not cut short.
            response_headers: Duration::from_secs(600),
            // Models that reason think for minutes before their first word.
            first_token: Duration::from_secs(300),
            between_tokens: Duration::from_secs(120),
        }
    }
}

/// How a model is given an answer to go on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Continuation {
    /// It cannot be.
    None,
    /// A last message of the assistant's is gone on with.
    Prefill,
    /// The same, asked for as vLLM does: `continue_final_message`, and no `add_generation_prompt`.
    Vllm,
}

/// What becomes of requests while a budget has less than a tenth left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenLow {
    /// They go where they always go, until the budget does not allow it.
    Refuse,
    /// The cheapest model is asked first, and a model that is too dear is followed by cheaper ones.
    Cheaper,
}
