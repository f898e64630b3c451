//! The access log: one line of JSON for each request, at its end.
//!
//! Lines are written by a thread of their own. The end of an answer waits for no disk: where lines come faster than they can be
//! written they are lost, and counted.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    sync::atomic::{AtomicU64, Ordering},
};

use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

use super::{account::Event, bill::Used, outcome::CacheUse};
use crate::config::AccessLogTarget;

/// Lines that wait to be written: some seconds' worth for the busiest gateway.
const LINES_MAX: usize = 65_536;

/// An open log. Dropped, it first writes what waits.
#[derive(Debug)]
pub struct AccessLog {
    lines: NonBlocking,
    lost: ErrorCounter,
    lost_before: AtomicU64,
    _worker: WorkerGuard,
}

impl AccessLog {
    /// Opens the log; a file is appended to.
    ///
    /// # Errors
    /// When the file cannot be opened for writing.
    pub fn open(target: &AccessLogTarget) -> io::Result<Self> {
        Ok(match target {
            AccessLogTarget::Stdout => Self::to(io::stdout()),
            AccessLogTarget::File(path) => Self::to(OpenOptions::new().create(true).append(true).open(path)?),
        })
    }

    fn to(writer: impl Write + Send + 'static) -> Self {
        let builder = NonBlockingBuilder::default().buffered_lines_limit(LINES_MAX).lossy(true);
        let (lines, worker) = builder.thread_name("access-log").finish(io::BufWriter::new(writer));
        Self { lost: lines.error_counter(), lines, lost_before: AtomicU64::new(0), _worker: worker }
    }

    /// Writes the line of an event.
    pub(super) fn write(&self, event: &Event) {
        let Ok(mut line) = serde_json::to_vec(&Line::of(event)) else { return };
        line.push(b'\n');
        // Into the queue: it fails for no reason that could be told here.
        let _ = self.lines.clone().write_all(&line);
    }

    /// Lines lost since this was last asked.
    pub(super) fn newly_lost(&self) -> u64 {
        let lost = u64::try_from(self.lost.dropped_lines()).unwrap_or(u64::MAX);
        lost.saturating_sub(self.lost_before.swap(lost, Ordering::Relaxed))
    }
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    request_id: &'a str,
    tenant: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    route: Option<&'a str>,
    router: Option<&'static str>,
    decision_us: Option<u128>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<&'static str>,
    model: Option<&'a str>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    /// Until the answer began.
    answer_ms: Option<f64>,
    duration_ms: f64,
    calls: Vec<Call<'a>>,
}

#[derive(Serialize)]
struct Call<'a> {
    model: &'a str,
    #[serde(flatten)]
    used: Option<Tokens>,
}

#[derive(Serialize)]
struct Tokens {
    prompt_tokens: u64,
    cached_tokens: u64,
    completion_tokens: u64,
    reasoning_tokens: u64,
    estimated: bool,
    cost_usd: Option<f64>,
}

impl<'a> Line<'a> {
    fn of(event: &'a Event) -> Self {
        let milliseconds = |duration: std::time::Duration| (duration.as_secs_f64() * 1e6).round() / 1e3;
        Self {
            time: OffsetDateTime::from(event.arrived).format(&Rfc3339).unwrap_or_default(),
            request_id: &event.request_id,
            tenant: event.tenant.as_deref(),
            project: event.project.as_deref(),
            key: event.key.as_deref(),
            route: event.route.as_deref(),
            router: event.decision.map(|(router, _)| router),
            decision_us: event.decision.map(|(_, elapsed)| elapsed.as_micros()),
            cache: event.cache.map(CacheUse::label),
            model: event.model.as_deref(),
            outcome: event.outcome.label(),
            code: event.code,
            answer_ms: event.until_answer.map(milliseconds),
            duration_ms: milliseconds(event.duration),
            calls: event
                .calls
                .iter()
                .map(|(model, used)| Call { model, used: used.as_ref().map(Tokens::of) })
                .collect(),
        }
    }
}

impl Tokens {
    fn of(used: &Used) -> Self {
        Self {
            prompt_tokens: used.usage.prompt_tokens,
            cached_tokens: used.usage.cached_tokens,
            completion_tokens: used.usage.completion_tokens,
            reasoning_tokens: used.usage.reasoning_tokens,
            estimated: used.is_estimate,
            cost_usd: used.cost_usd(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::Arc,
        time::{Duration, SystemTime},
    };

    use serde_json::{Value, json};

    use super::*;
    use crate::{openai::usage::Usage, telemetry::outcome::Outcome};

    fn event() -> Event {
        let used = Used {
            usage: Usage { cached_tokens: 4, ..Usage::of(12, 3) },
            is_estimate: false,
            cost_pico_usd: Some(18_000_000),
        };
        Event {
            arrived: SystemTime::UNIX_EPOCH + Duration::from_millis(1_764_000_000_250),
            request_id: Arc::from("req_1"),
            tenant: Some("t".into()),
            project: None,
            key: Some("ci".into()),
            tags: None,
            prompt: Some("never written here".to_owned()),
            artifact: None,
            candidates: Vec::new(),
            route: Some("auto".into()),
            decision: Some(("mf", Duration::from_micros(11))),
            cache: Some(CacheUse::Miss),
            model: Some("m".into()),
            outcome: Outcome::Ok,
            code: None,
            until_answer: Some(Duration::from_micros(1500)),
            duration: Duration::from_millis(20),
            calls: vec![("broken".into(), None), ("m".into(), Some(used))],
        }
    }

    #[test]
    fn an_event_is_a_line_of_json() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.jsonl");
        let target = AccessLogTarget::File(path.clone());
        for _ in 0..2 {
            let log = AccessLog::open(&target).unwrap();
            log.write(&event());
            assert_eq!(log.newly_lost(), 0);
        }
        let text = std::fs::read_to_string(path).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2, "what another has written is kept");
        assert_eq!(
            lines[1],
            json!({"time": "2025-11-24T16:00:00.25Z", "request_id": "req_1", "tenant": "t", "key": "ci", "route": "auto", "router": "mf",
                "decision_us": 11, "cache": "miss", "model": "m", "outcome": "ok", "answer_ms": 1.5, "duration_ms": 20.0,
                "calls": [{"model": "broken"}, {"model": "m", "prompt_tokens": 12, "cached_tokens": 4, "completion_tokens": 3,
                    "reasoning_tokens": 0, "estimated": false, "cost_usd": 0.000_018}]})
        );
    }

    #[test]
    fn what_cannot_be_opened_is_told() {
        let directory = tempfile::tempdir().unwrap();
        assert!(AccessLog::open(&AccessLogTarget::File(directory.path().to_owned())).is_err());
    }
}
