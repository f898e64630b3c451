//! What a request is expected to cost: the one place, for choosing, for calibrating and for explaining.

/// What a model charges, USD per million tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Price {
    /// Per million prompt tokens.
    pub input_usd_per_million: f64,
    /// Per million answer tokens.
    pub output_usd_per_million: f64,
}

impl Price {
    /// Expected cost of one request in USD: its prompt tokens and the model's mean answer, each at its price.
    #[must_use]
    pub fn expected_cost_usd(&self, prompt_tokens: f64, mean_output_tokens: f64) -> f64 {
        (prompt_tokens * self.input_usd_per_million + mean_output_tokens * self.output_usd_per_million) / 1e6
    }
}

/// Estimates a text's tokens without a tokeniser: four ASCII bytes to a token, and one token for each other
/// character that is as wide as a Chinese one, half a token for the alphabets in between.
///
/// Prompts are compared with each other by it, never billed.
#[must_use]
pub fn estimate_tokens(text: &str) -> u32 {
    let quarters: u64 = text
        .chars()
        .map(|character| match character.len_utf8() {
            1 => 1,
            2 => 2,
            _ => 4,
        })
        .sum();
    u32::try_from(quarters.div_ceil(4)).unwrap_or(u32::MAX)
}
