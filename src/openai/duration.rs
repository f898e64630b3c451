//! Durations as OpenAI's rate limit headers write them, which is Go's way: `12ms`, `8.64s`, `6m0s`, `1h0m0.5s`.

use std::{fmt, time::Duration};

/// Shows a duration to the millisecond, rounded up.
#[derive(Debug, Clone, Copy)]
pub struct Shown(pub Duration);

impl fmt::Display for Shown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_nanos().div_ceil(1_000_000);
        let (seconds, millis) = (millis / 1000, millis % 1000);
        if seconds == 0 && millis > 0 {
            return write!(formatter, "{millis}ms");
        }
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        if hours > 0 {
            write!(formatter, "{hours}h")?;
        }
        if hours > 0 || minutes > 0 {
            write!(formatter, "{minutes}m")?;
        }
        match millis {
            0 => write!(formatter, "{seconds}s"),
            _ if millis % 100 == 0 => write!(formatter, "{seconds}.{}s", millis / 100),
            _ if millis % 10 == 0 => write!(formatter, "{seconds}.{:02}s", millis / 10),
            _ => write!(formatter, "{seconds}.{millis:03}s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_openai_does() {
        for (micros, shown) in [
            (0, "0s"),
            (1, "1ms"),
            (12_000, "12ms"),
            (999_001, "1s"),
            (1_000_000, "1s"),
            (1_050_000, "1.05s"),
            (8_640_000, "8.64s"),
            (59_754_000, "59.754s"),
            (60_000_000, "1m0s"),
            (360_000_000, "6m0s"),
            (61_500_000, "1m1.5s"),
            (3_600_500_000, "1h0m0.5s"),
        ] {
            assert_eq!(Shown(Duration::from_micros(micros)).to_string(), shown);
        }
        assert!(!Shown(Duration::MAX).to_string().is_empty());
    }
}
