//! Prices, exact to the last decimal: money is never a float.

use std::fmt;

/// What a model's tokens cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// Of a prompt token.
    pub input: TokenPrice,
    /// Of a generated token.
    pub output: TokenPrice,
    /// Of a prompt token that the upstream had in its cache.
    pub cached_input: TokenPrice,
    /// Of a token that the model has thought and not said.
    pub reasoning: TokenPrice,
    /// Of a prompt token that stands for sound.
    pub audio_input: TokenPrice,
    /// Of a generated token that stands for sound.
    pub audio_output: TokenPrice,
}

impl Price {
    /// The same for prompt tokens of every kind, and the same for generated ones.
    #[must_use]
    pub const fn flat(input: TokenPrice, output: TokenPrice) -> Self {
        Self {
            input,
            output,
            cached_input: input,
            reasoning: output,
            audio_input: input,
            audio_output: output,
        }
    }
}

/// The price of a token, held as an integer of 10⁻¹² USD per token, which is 10⁻⁶ USD per million tokens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct TokenPrice(u64);

/// Decimals of a price in USD per million tokens that can be held exactly.
const DECIMALS: usize = 6;

/// The highest price that can be written, in USD per million tokens.
const USD_PER_MILLION_MAX: u64 = 1_000_000;

impl TokenPrice {
    /// From 10⁻¹² USD per token.
    #[must_use]
    pub const fn from_pico_usd(pico_usd_per_token: u64) -> Self {
        Self(pico_usd_per_token)
    }

    /// Reads a decimal number of USD per million tokens, such as `2.50`.
    ///
    /// # Errors
    /// When it is no such number, is negative, has more than six decimals or exceeds a million.
    pub fn parse(usd_per_million: &str) -> Result<Self, PriceError> {
        if usd_per_million.starts_with('-') {
            return Err(PriceError::Negative);
        }
        let (whole, decimals) = usd_per_million.split_once('.').unwrap_or((usd_per_million, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || usd_per_million.ends_with('.') || !digits(whole) || !digits(decimals) {
            return Err(PriceError::NotDecimal);
        }
        let decimals = decimals.trim_end_matches('0');
        if decimals.len() > DECIMALS {
            return Err(PriceError::TooFine);
        }
        let whole: u64 = whole.parse().map_err(|_| PriceError::TooHigh)?;
        let micro: u64 = format!("{decimals:0<DECIMALS$}").parse().map_err(|_| PriceError::NotDecimal)?;
        if whole > USD_PER_MILLION_MAX {
            return Err(PriceError::TooHigh);
        }
        Ok(Self(whole * 1_000_000 + micro))
    }

    /// 10⁻¹² USD per token.
    #[must_use]
    pub const fn pico_usd(self) -> u64 {
        self.0
    }

    /// USD per million tokens, for showing and for estimates.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a price below 10⁶ USD per million has at most 41 bits")]
    pub fn usd_per_million(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl fmt::Debug for TokenPrice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} USD/M", self.usd_per_million())
    }
}

/// Why a text is not a price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    /// Not digits with a decimal point.
    #[error("is not a decimal number of USD per million tokens")]
    NotDecimal,
    /// Below zero.
    #[error("is negative")]
    Negative,
    /// Finer than can be counted.
    #[error("has more than 6 decimals")]
    TooFine,
    /// Higher than anything sold.
    #[error("is above 1,000,000 USD per million tokens")]
    TooHigh,
}
