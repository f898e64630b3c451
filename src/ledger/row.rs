//! Rows of the ledger: what is kept of a request. No text of an answer is in them, and none of a prompt unless its tenant
//! wants that.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{openai::usage::Usage, telemetry::account::Event};

/// A request that has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its name in the ledger.
    pub id: Uuid,
    /// When it arrived, in milliseconds since 1970.
    pub arrived_ms: i64,
    /// What answers and logs call it.
    pub request_id: String,
    /// Whose it was.
    pub tenant: String,
    /// The tenant's project.
    pub project: Option<String>,
    /// What its key is called.
    pub key: Option<String>,
    /// The route it took.
    pub route: Option<String>,
    /// Who decided.
    pub router: Option<String>,
    /// The version of the artefact that the router is made of.
    #[serde(default)]
    pub artifact: Option<String>,
    /// How long that took, in microseconds.
    pub decision_us: Option<i64>,
    /// The models that were scored, and their skills.
    pub candidates: Vec<(String, f64)>,
    /// The model that answered, or else was asked last.
    pub model: Option<String>,
    /// How it ended.
    pub outcome: String,
    /// The code of the error that it ended in.
    pub code: Option<String>,
    /// From its arrival until its answer began, in microseconds.
    pub answer_us: Option<i64>,
    /// From its arrival to its end, in microseconds.
    pub duration_us: i64,
    /// What the route's cache was to it.
    #[serde(default)]
    pub cache: Option<String>,
    /// The tenant's tags, as an object of JSON.
    #[serde(default)]
    pub tags: Option<String>,
    /// What was asked, where the tenant wants that kept.
    #[serde(default)]
    pub prompt: Option<String>,
    /// The calls that were made for it.
    pub calls: Vec<Call>,
}

/// A call of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The model.
    pub model: String,
    /// Its tokens and what they cost; none where nothing is known to have been used.
    pub used: Option<UsedRow>,
}

/// What a call has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsedRow {
    /// Tokens read.
    pub prompt_tokens: i64,
    /// Of those, the ones in the upstream's cache.
    pub cached_tokens: i64,
    /// Of those, the ones that stand for sound.
    pub audio_prompt_tokens: i64,
    /// Tokens written.
    pub completion_tokens: i64,
    /// Of those, the ones that were thought and not said.
    pub reasoning_tokens: i64,
    /// Of those, the ones that stand for sound.
    pub audio_completion_tokens: i64,
    /// The upstream did not report them.
    pub estimated: bool,
    /// In 10⁻¹² USD, up to nine million USD; none where the model has no price.
    pub cost_pico_usd: Option<i64>,
}

/// Money held for a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldRow {
    /// The request's name in the ledger.
    pub request: Uuid,
    /// Which of its calls it is.
    pub position: i64,
    /// When the money was held, in milliseconds since 1970.
    pub at_ms: i64,
    /// Whose it is.
    pub tenant: String,
    /// The tenant's project.
    pub project: Option<String>,
    /// What the key is called.
    pub key: Option<String>,
    /// The model.
    pub model: String,
    /// In 10⁻¹² USD.
    pub pico_usd: i64,
}

/// The outcome and the code of requests that a process has left behind.
const INTERRUPTED: (&str, &str) = ("gateway_error", "interrupted");

/// The row of a request of which only what was held is known.
pub(super) fn interrupted(holds: &[HoldRow], now_ms: i64) -> Option<Row> {
    let first = holds.first()?;
    let (outcome, code) = INTERRUPTED;
    let spent = |hold: &HoldRow| UsedRow {
        estimated: true,
        cost_pico_usd: Some(hold.pico_usd),
        ..UsedRow::of(Usage::default())
    };
    Some(Row {
        id: first.request,
        arrived_ms: first.at_ms,
        request_id: String::new(),
        tenant: first.tenant.clone(),
        project: first.project.clone(),
        key: first.key.clone(),
        route: None,
        router: None,
        artifact: None,
        decision_us: None,
        candidates: Vec::new(),
        model: holds.last().map(|hold| hold.model.clone()),
        outcome: outcome.to_owned(),
        code: Some(code.to_owned()),
        answer_us: None,
        duration_us: now_ms.saturating_sub(first.at_ms).max(0).saturating_mul(1000),
        cache: None,
        tags: None,
        prompt: None,
        calls: holds.iter().map(|hold| Call { model: hold.model.clone(), used: Some(spent(hold)) }).collect(),
    })
}

/// As it is counted in databases; what is larger is the largest.
pub(crate) fn whole(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// Milliseconds of a day.
pub(super) const DAY_MS: i64 = 86_400_000;

/// The number of days since 1970 of so many milliseconds since then.
pub(super) fn day_of(milliseconds: i64) -> i64 {
    milliseconds.div_euclid(DAY_MS)
}

/// The moment so many milliseconds after 1970.
pub(crate) fn moment(milliseconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0))
}

/// In milliseconds since 1970.
#[must_use]
pub fn milliseconds(at: SystemTime) -> i64 {
    whole(at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis())
}

impl Row {
    /// The row of an event, of a tenant's request.
    #[must_use]
    pub fn of(id: Uuid, event: &Event) -> Self {
        let text = |text: &Option<std::sync::Arc<str>>| text.as_deref().map(str::to_owned);
        let microseconds = |time: Duration| whole(time.as_micros());
        Self {
            id,
            arrived_ms: milliseconds(event.arrived),
            request_id: event.request_id.to_string(),
            tenant: text(&event.tenant).unwrap_or_default(),
            project: text(&event.project),
            key: text(&event.key),
            route: text(&event.route),
            router: event.decision.map(|(router, _)| router.to_owned()),
            artifact: text(&event.artifact),
            decision_us: event.decision.map(|(_, elapsed)| microseconds(elapsed)),
            candidates: event.candidates.iter().map(|(name, skill)| (name.to_string(), *skill)).collect(),
            model: text(&event.model),
            outcome: event.outcome.label().to_owned(),
            code: event.code.map(str::to_owned),
            answer_us: event.until_answer.map(microseconds),
            duration_us: microseconds(event.duration),
            cache: event.cache.map(|cache| cache.label().to_owned()),
            tags: text(&event.tags),
            prompt: event.prompt.clone(),
            calls: event
                .calls
                .iter()
                .map(|(model, used)| Call {
                    model: model.to_string(),
                    used: used.map(|used| UsedRow {
                        estimated: used.is_estimate,
                        cost_pico_usd: used.cost_pico_usd.map(whole),
                        ..UsedRow::of(used.usage)
                    }),
                })
                .collect(),
        }
    }
}

impl UsedRow {
    /// So many tokens, as reported, of a model without a price.
    #[must_use]
    pub fn of(usage: Usage) -> Self {
        Self {
            prompt_tokens: whole(usage.prompt_tokens),
            cached_tokens: whole(usage.cached_tokens),
            audio_prompt_tokens: whole(usage.audio_prompt_tokens),
            completion_tokens: whole(usage.completion_tokens),
            reasoning_tokens: whole(usage.reasoning_tokens),
            audio_completion_tokens: whole(usage.audio_completion_tokens),
            estimated: false,
            cost_pico_usd: None,
        }
    }
}
