//! Reads `tls`, `access_log` and `server`.

use std::{path::PathBuf, time::Duration};

use crate::config::value::Value;
use crate::config::{
    database::{Database, DatabaseConfig, PostgresUrl},
    server::{AccessLogTarget, AlertsConfig, ListenerTls, ServerLimits},
};

pub(super) fn listener_tls(value: &Value<'_>) -> Option<ListenerTls> {
    let mut fields = value.fields("a mapping with `cert` and `key`")?;
    let client_ca = fields.read("client_ca", Value::file_path);
    let cert = fields.require("cert", "a PEM file with the certificate chain");
    let key = fields.require("key", "a PEM file with the private key");
    fields.finish();
    Some(ListenerTls { cert: cert?.file_path()?, key: key?.file_path()?, client_ca })
}

pub(super) fn access_log(value: &Value<'_>) -> Option<AccessLogTarget> {
    Some(match value.text("`stdout`, or the path of a file")? {
        "stdout" => AccessLogTarget::Stdout,
        path => AccessLogTarget::File(value.relative(path)),
    })
}

pub(super) fn alerts(value: &Value<'_>) -> Option<AlertsConfig> {
    let mut fields = value.fields("`{levels: [0.5, 0.8, 1], webhook: …}`")?;
    let levels = fields.require("levels", "shares of a budget: `levels: [0.5, 0.8, 1]`");
    let webhook = fields.read("webhook", |value| value.secret("a URL"));
    fields.finish();
    let level = |item: &Value<'_>| {
        let level = item.probability()?.get();
        if level <= 0.0 {
            item.error("is reached from the start", "a share above 0".to_owned());
        }
        Some(level)
    };
    let levels =
        levels.map(|value| value.distinct("a list of at least one share", level)).unwrap_or_default();
    Some(AlertsConfig { levels, webhook })
}

/// `sqlite:` and a path, a URL of PostgreSQL, or `none`; rows that a server does not take go to the file `spill`.
pub(super) fn database(value: &Value<'_>, spill: Option<PathBuf>) -> Option<DatabaseConfig> {
    const EXPECTED: &str =
        "`sqlite:` and the path of a file, `postgres://user:password@host/database`, or `none`";
    let secret = value.secret(EXPECTED)?;
    let text = secret.expose();
    if text == "none" {
        return Some(DatabaseConfig::Off);
    }
    if let Some(path) = text.strip_prefix("sqlite:").filter(|path| !path.is_empty()) {
        return Some(DatabaseConfig::In(Database::Sqlite(value.relative(path))));
    }
    if !PostgresUrl::is_meant_by(text) {
        value.error(format!("expects {EXPECTED}"), "such as sqlite:pointsman.db".to_owned());
        return None;
    }
    if let Err(why) = PostgresUrl::parse(text) {
        value.error(format!("is no URL of PostgreSQL: {why}"), format!("expects {EXPECTED}"));
        return None;
    }
    let spill = spill.unwrap_or_else(|| value.relative("pointsman.spill"));
    Some(DatabaseConfig::In(Database::Postgres { url: secret, spill }))
}

/// The path of a file that is not there yet.
pub(super) fn spill(value: &Value<'_>) -> Option<PathBuf> {
    Some(value.relative(value.text("the path of a file")?))
}

/// Days: `90d`.
pub(super) fn retention(value: &Value<'_>) -> Option<Duration> {
    const DAY: u64 = 86_400;
    let text = value.text("a number of days such as 90d")?;
    let days =
        text.strip_suffix('d').and_then(|days| days.parse().ok()).filter(|days| (1..=36_500).contains(days));
    if days.is_none() {
        value.error("is no number of days", "such as 90d; without the key rows are kept for ever".to_owned());
    }
    days.map(|days: u64| Duration::from_secs(days * DAY))
}

/// What has not been given keeps its default.
pub(super) fn limits(value: &Value<'_>) -> Option<ServerLimits> {
    const HOUR: Duration = Duration::from_secs(3600);
    const BODY_BYTES_MAX: usize = 1 << 30;
    let mut fields = value.fields("a mapping of limits")?;
    let mut limits = ServerLimits::default();

    let mut bytes = |key, most, limit: &mut usize| {
        *limit = fields.read(key, |value| value.bytes(1024..=most)).unwrap_or(*limit);
    };
    bytes("max_body_bytes", BODY_BYTES_MAX, &mut limits.max_body_bytes);
    bytes("max_header_bytes", 16 << 20, &mut limits.max_header_bytes);
    bytes("response_buffer", BODY_BYTES_MAX, &mut limits.response_buffer);

    let mut duration = |key, limit: &mut Duration| {
        *limit = fields.read(key, |value| value.duration(HOUR)).unwrap_or(*limit);
    };
    duration("header_timeout", &mut limits.header_timeout);
    duration("body_timeout", &mut limits.body_timeout);
    duration("write_timeout", &mut limits.write_timeout);
    duration("idle_timeout", &mut limits.idle_timeout);
    duration("drain_delay", &mut limits.drain_delay);
    duration("drain_timeout", &mut limits.drain_timeout);
    duration("queue_timeout", &mut limits.queue.timeout);

    let mut count = |key, most: u64, limit: &mut usize| {
        let read = fields.read(key, |value| usize::try_from(value.count(1..=most)?).ok());
        *limit = read.unwrap_or(*limit);
    };
    count("max_connections", 1_000_000, &mut limits.max_connections);
    count("max_concurrent_requests", 1_000_000, &mut limits.max_concurrent_requests);
    count("routing_text_chars", 1_000_000, &mut limits.routing_text_chars);
    count("router_queue", 1_000_000, &mut limits.router_queue);
    let queue = fields.read("queue_per_tenant", |value| usize::try_from(value.count(0..=1_000_000)?).ok());
    limits.queue.per_tenant = queue.unwrap_or(limits.queue.per_tenant);
    fields.finish();
    Some(limits)
}
