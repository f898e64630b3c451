//! Reads how requests are delivered: a route's retries and time limits, a model's timeouts and breaker.

use std::time::Duration;

use crate::cache::CacheRules;
use crate::config::delivery::{Delivery, StreamRecovery, Timeouts, WhenLow};
use crate::config::value::{Fields, Value};
use crate::resilience::{attempts::RetryRules, breaker::BreakerRules, health::CheckRules};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// A route's keys about delivery.
pub(super) fn delivery(fields: &mut Fields<'_>) -> Delivery {
    let standard = Delivery::default();
    let recoveries = [
        ("error", StreamRecovery::Error),
        ("replay", StreamRecovery::Replay),
        ("continue", StreamRecovery::Continue),
    ];
    Delivery {
        retry: fields.read("retry", retry).unwrap_or(standard.retry),
        request_timeout: duration(fields, "request_timeout", DAY, standard.request_timeout),
        stream_recovery: fields
            .read("stream_recovery", |value| value.choice(&recoveries))
            .unwrap_or(standard.stream_recovery),
        hedge: fields.read("hedge", Value::boolean).unwrap_or(standard.hedge),
        heartbeat: fields.read("heartbeat", |value| value.duration(HOUR)),
        when_low: fields
            .read("when_low", |value| {
                value.choice(&[("refuse", WhenLow::Refuse), ("cheaper", WhenLow::Cheaper)])
            })
            .unwrap_or(standard.when_low),
        cache: fields.read("cache", cache),
    }
}

/// A route's `cache`.
fn cache(value: &Value<'_>) -> Option<CacheRules> {
    const BYTES_LEAST: usize = 64 << 10;
    const BYTES_MOST: usize = 1 << 40;
    const ENTRY_BYTES_MOST: usize = 1 << 30;
    let standard = CacheRules::default();
    let mut fields = value.fields("a mapping such as `{ttl: 1h, max_bytes: 64MiB}`")?;
    let ttl = duration(&mut fields, "ttl", 30 * DAY, standard.ttl);
    let max_bytes =
        fields.read("max_bytes", |value| value.bytes(BYTES_LEAST..=BYTES_MOST)).unwrap_or(standard.max_bytes);
    let entry = fields.take("max_entry_bytes");
    fields.finish();
    let max_entry_bytes = entry.as_ref().and_then(|value| value.bytes(1024..=ENTRY_BYTES_MOST));
    if let (Some(value), Some(bytes)) = (entry, max_entry_bytes)
        && bytes > max_bytes
    {
        value.error(
            format!("is more than `max_bytes`, which is {max_bytes} bytes"),
            "no answer as long as that could be kept".to_owned(),
        );
    }
    Some(CacheRules {
        ttl,
        max_bytes,
        max_entry_bytes: max_entry_bytes.unwrap_or(standard.max_entry_bytes).min(max_bytes),
    })
}

fn retry(value: &Value<'_>) -> Option<RetryRules> {
    let standard = RetryRules::default();
    let mut fields = value.fields("a mapping such as `{max: 2, backoff: 250ms}`")?;
    let rules = RetryRules {
        max: count(&mut fields, "max", 0..=100, standard.max),
        backoff: duration(&mut fields, "backoff", HOUR, standard.backoff),
        backoff_max: duration(&mut fields, "backoff_max", HOUR, standard.backoff_max),
        retry_after_max: duration(&mut fields, "retry_after_max", HOUR, standard.retry_after_max),
        budget: share(&mut fields, "budget", standard.budget),
    };
    fields.finish();
    Some(rules)
}

/// A model's `timeouts`.
pub(super) fn timeouts(value: &Value<'_>) -> Option<Timeouts> {
    let standard = Timeouts::default();
    let mut fields = value.fields("a mapping such as `{connect: 5s, first_token: 60s}`")?;
    let timeouts = Timeouts {
        connect: duration(&mut fields, "connect", HOUR, standard.connect),
        response_headers: duration(&mut fields, "response_headers", DAY, standard.response_headers),
        first_token: duration(&mut fields, "first_token", DAY, standard.first_token),
        between_tokens: duration(&mut fields, "between_tokens", DAY, standard.between_tokens),
    };
    fields.finish();
    Some(timeouts)
}

/// A model's `breaker`.
pub(super) fn breaker(value: &Value<'_>) -> Option<BreakerRules> {
    let standard = BreakerRules::default();
    let mut fields = value.fields("a mapping such as `{failures: 5, open_for: 10s}`")?;
    let rules = BreakerRules {
        failures: count(&mut fields, "failures", 1..=u64::from(u32::MAX), standard.failures),
        error_rate: share(&mut fields, "error_rate", standard.error_rate),
        window: duration(&mut fields, "window", HOUR, standard.window),
        calls_min: count(&mut fields, "calls_min", 1..=u64::from(u32::MAX), standard.calls_min),
        open_for: duration(&mut fields, "open_for", HOUR, standard.open_for),
        shared_pause: fields.read("shared_pause", Value::boolean).unwrap_or(standard.shared_pause),
    };
    fields.finish();
    Some(rules)
}

/// A model's `health_check`.
pub(super) fn health_check(value: &Value<'_>) -> Option<CheckRules> {
    let mut fields = value.fields("a mapping such as `{path: /health, interval: 10s}`")?;
    let path = fields.require("path", "the path that is asked for, `path: /health`");
    let interval = duration(&mut fields, "interval", HOUR, Duration::from_secs(10));
    let timeout = duration(&mut fields, "timeout", HOUR, Duration::from_secs(2));
    fields.finish();
    let path = path?;
    let text = path.text("a path")?;
    if !text.starts_with('/') || text.parse::<http::uri::PathAndQuery>().is_err() {
        path.error("is no path", "for example /health: it is asked for at the root of the host".to_owned());
        return None;
    }
    Some(CheckRules { path: text.to_owned(), interval, timeout })
}

fn duration(fields: &mut Fields<'_>, key: &'static str, longest: Duration, standard: Duration) -> Duration {
    fields.read(key, |value| value.duration(longest)).unwrap_or(standard)
}

fn count(
    fields: &mut Fields<'_>,
    key: &'static str,
    range: std::ops::RangeInclusive<u64>,
    standard: u32,
) -> u32 {
    fields.read(key, |value| u32::try_from(value.count(range.clone())?).ok()).unwrap_or(standard)
}

fn share(fields: &mut Fields<'_>, key: &'static str, standard: f64) -> f64 {
    fields.read(key, Value::probability).map_or(standard, crate::config::Probability::get)
}
