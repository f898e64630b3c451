//! Amounts of money, exact: money is never a float.

use std::fmt;

/// An amount, held as a whole number of 10⁻¹² USD.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Usd(u128);

/// Decimals that can be held exactly.
const DECIMALS: usize = 12;

/// The largest amount that can be written: more than is spent on anything.
const USD_MAX: u64 = 1_000_000_000_000;

const PICO_PER_MICRO: u128 = 1_000_000;

impl Usd {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// From 10⁻¹² USD.
    #[must_use]
    pub const fn from_pico(pico_usd: u128) -> Self {
        Self(pico_usd)
    }

    /// In 10⁻¹² USD.
    #[must_use]
    pub const fn pico(self) -> u128 {
        self.0
    }

    /// From 10⁻⁶ USD.
    #[must_use]
    pub const fn from_micros(micro_usd: u64) -> Self {
        Self(micro_usd as u128 * PICO_PER_MICRO)
    }

    /// In 10⁻⁶ USD, rounded up; no amount is as large as the largest.
    #[must_use]
    pub fn in_micros(self) -> u64 {
        u64::try_from(self.0.div_ceil(PICO_PER_MICRO)).unwrap_or(u64::MAX)
    }

    /// Reads a decimal number of USD, such as `200` or `0.25`.
    ///
    /// # Errors
    /// When it is no such number, is negative, has more than twelve decimals or exceeds a million million.
    pub fn parse(usd: &str) -> Result<Self, UsdError> {
        if usd.starts_with('-') {
            return Err(UsdError::Negative);
        }
        let (whole, decimals) = usd.split_once('.').unwrap_or((usd, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || usd.ends_with('.') || !digits(whole) || !digits(decimals) {
            return Err(UsdError::NotDecimal);
        }
        let decimals = decimals.trim_end_matches('0');
        if decimals.len() > DECIMALS {
            return Err(UsdError::TooFine);
        }
        let whole: u64 = whole.parse().map_err(|_| UsdError::TooMuch)?;
        if whole > USD_MAX {
            return Err(UsdError::TooMuch);
        }
        let pico: u64 = format!("{decimals:0<DECIMALS$}").parse().map_err(|_| UsdError::NotDecimal)?;
        Ok(Self(u128::from(whole) * 1_000_000_000_000 + u128::from(pico)))
    }

    /// The sum; no amount is as large as the largest.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// What is left after `other` is taken away; nothing, where that is more.
    #[must_use]
    pub const fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// In USD, for metrics and people.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "for metrics and people")]
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / 1e12
    }
}

impl fmt::Display for Usd {
    /// As a decimal number, with at least two decimals and no zeros beyond.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const PICO: u128 = 1_000_000_000_000;
        let decimals = format!("{:012}", self.0 % PICO);
        let shown = decimals.trim_end_matches('0');
        write!(formatter, "{}.{shown:0<2}", self.0 / PICO)
    }
}

impl fmt::Debug for Usd {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self} USD")
    }
}

/// Why a text is not an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UsdError {
    /// Not digits with a decimal point.
    #[error("is not a decimal number of USD")]
    NotDecimal,
    /// Below zero.
    #[error("is negative")]
    Negative,
    /// Finer than can be counted.
    #[error("has more than 12 decimals")]
    TooFine,
    /// More than anyone spends.
    #[error("is above 1,000,000,000,000 USD")]
    TooMuch,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_and_shown_exactly() {
        for (text, pico, shown) in [
            ("200", 200_000_000_000_000, "200.00"),
            ("0.25", 250_000_000_000, "0.25"),
            ("0.000000000001", 1, "0.000000000001"),
            ("1.500", 1_500_000_000_000, "1.50"),
        ] {
            let amount = Usd::parse(text).unwrap();
            assert_eq!((amount.pico(), amount.to_string().as_str()), (pico, shown), "{text}");
        }
        for (text, error) in [
            ("", UsdError::NotDecimal),
            ("1.", UsdError::NotDecimal),
            (".5", UsdError::NotDecimal),
            ("1e3", UsdError::NotDecimal),
            ("-1", UsdError::Negative),
            ("0.0000000000001", UsdError::TooFine),
            ("1000000000001", UsdError::TooMuch),
            ("99999999999999999999999", UsdError::TooMuch),
        ] {
            assert_eq!(Usd::parse(text), Err(error), "{text}");
        }
    }
}
