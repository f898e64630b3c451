//! How long to wait before asking again.

use std::time::{Duration, SystemTime};

/// Waits that double from `first` to `longest`, each cut to a random part of itself ("full jitter": requests that failed
/// together do not come back together). `random` lies within 0..1.
#[must_use]
pub fn full_jitter(first: Duration, longest: Duration, retry: u32, random: f64) -> Duration {
    let doubled = first.saturating_mul(1_u32.checked_shl(retry).unwrap_or(u32::MAX));
    doubled.min(longest).mul_f64(random.clamp(0.0, 1.0))
}

/// The longest that a `Retry-After` is taken to ask for: a century. Clocks end.
const SECONDS_MAX: u64 = 100 * 365 * 24 * 3600;

/// The wait that a `Retry-After` asks for: seconds, or the time until a date; a date gone by asks for none.
#[must_use]
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(SECONDS_MAX).min(SECONDS_MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIRST: Duration = Duration::from_millis(250);
    const LONGEST: Duration = Duration::from_secs(8);

    #[test]
    fn waits_double_up_to_the_longest() {
        let at = |retry| full_jitter(FIRST, LONGEST, retry, 1.0);
        assert_eq!([at(0), at(1), at(2)], [FIRST, 2 * FIRST, 4 * FIRST]);
        assert_eq!(at(5), LONGEST);
        assert_eq!(at(u32::MAX), LONGEST);
        assert_eq!(full_jitter(FIRST, LONGEST, 3, 0.0), Duration::ZERO);
    }

    #[test]
    fn seconds_and_dates_are_read() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let read = |value| retry_after(value, now);
        assert_eq!(read("7"), Some(Duration::from_secs(7)));
        assert_eq!(read(" 0 "), Some(Duration::ZERO));
        assert_eq!(read("Sun, 06 Nov 1994 08:50:07 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:00 GMT"), Some(Duration::ZERO));
        for wrong in ["", "-1", "1.5", "soon", "1 s"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        for long in ["4000000000", "9223372036854775807", "18446744073709551615", "99999999999999999999999"] {
            let wait = read(long).unwrap();
            assert_eq!(wait, Duration::from_secs(SECONDS_MAX), "{long}");
            let _ = tokio::time::Instant::now() + wait;
        }
    }

    proptest! {
        #[test]
        fn a_wait_is_never_longer_than_allowed(retry in any::<u32>(), random in 0.0..1.0) {
            prop_assert!(full_jitter(FIRST, LONGEST, retry, random) <= LONGEST);
        }

        #[test]
        fn whatever_an_upstream_writes_is_read_or_not(value in ".*") {
            let _ = retry_after(&value, SystemTime::now());
        }
    }
}
