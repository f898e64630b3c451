//! Metrics that OpenTelemetry has names for: those of its semantic conventions for generative AI, dots written as underscores, without a unit.

use std::time::Duration;

use prometheus::HistogramVec;

use super::families::Families;
use crate::openai::usage::Usage;

/// Powers of four, as the conventions advise.
const TOKENS: &[f64] =
    &[1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0, 4_194_304.0];
/// As the conventions advise, and up to a reasoning model's minutes.
const FIRST_TOKEN_SECONDS: &[f64] =
    &[0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 60.0, 120.0];
/// As the conventions advise.
const TOKEN_SECONDS: &[f64] = &[0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5];

const OPERATION: &str = "gen_ai_operation_name";
const MODEL: &str = "gen_ai_request_model";
const KIND: &str = "gen_ai_token_type";

/// What was called: the operation, and the pool's name of the model.
#[derive(Debug, Clone, Copy)]
pub struct Label<'a> {
    /// `chat`, `text_completion` or `embeddings`.
    pub operation: &'a str,
    /// The model.
    pub model: &'a str,
}

/// What models take and give.
#[derive(Debug)]
pub struct GenAiMetrics {
    /// `gen_ai_client_token_usage{gen_ai_operation_name,gen_ai_request_model,gen_ai_token_type}`: tokens of a call, `input` and
    /// `output`, where the upstream has reported them.
    token_usage: HistogramVec,
    /// `gen_ai_server_time_to_first_token{gen_ai_operation_name,gen_ai_request_model}`: of streams, seconds from the call of an
    /// upstream to the first content.
    first_token: HistogramVec,
    /// `gen_ai_server_time_per_output_token{gen_ai_operation_name,gen_ai_request_model}`: of streams, mean seconds between tokens after
    /// the first.
    per_token: HistogramVec,
}

impl GenAiMetrics {
    pub(super) fn new(make: Families<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            token_usage: make.histograms(
                ("gen_ai_client_token_usage", "Tokens of a call, as reported"),
                &[OPERATION, MODEL, KIND],
                TOKENS,
            )?,
            first_token: make.histograms(
                (
                    "gen_ai_server_time_to_first_token",
                    "Seconds from the call of an upstream to the first content of its stream",
                ),
                &[OPERATION, MODEL],
                FIRST_TOKEN_SECONDS,
            )?,
            per_token: make.histograms(
                (
                    "gen_ai_server_time_per_output_token",
                    "Mean seconds between tokens of a stream after the first",
                ),
                &[OPERATION, MODEL],
                TOKEN_SECONDS,
            )?,
        })
    }

    /// A call has used so much, by its upstream's report.
    #[expect(clippy::cast_precision_loss, reason = "for a histogram")]
    pub fn used(&self, of: Label<'_>, usage: Usage) {
        for (kind, tokens) in [("input", usage.prompt_tokens), ("output", usage.completion_tokens)] {
            self.token_usage.with_label_values(&[of.operation, of.model, kind]).observe(tokens as f64);
        }
    }

    /// A stream's first content came after so long, and its last so much later, with so many tokens in all.
    #[expect(clippy::cast_precision_loss, reason = "for a histogram")]
    pub fn streamed(&self, of: Label<'_>, until_first: Duration, (after, tokens): (Duration, u64)) {
        let labels = [of.operation, of.model];
        self.first_token.with_label_values(&labels).observe(until_first.as_secs_f64());
        if tokens > 1 && !after.is_zero() {
            self.per_token.with_label_values(&labels).observe(after.as_secs_f64() / (tokens - 1) as f64);
        }
    }
}
