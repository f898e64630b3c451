//! The latest decisions and ends of requests, for people who watch. Kept in memory, a few hundred of them; no text of a request is among them.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use serde::Serialize;
use tokio::sync::broadcast;

use super::{account::Event, bill::Used, metrics::NONE};

/// Decisions that are remembered, and as many ends of requests.
const DECISIONS_MAX: usize = 500;

/// What a slow watcher may be behind before it misses some.
const BEHIND_MAX: usize = 1_000;

/// What has happened lately.
#[derive(Debug)]
pub struct Live {
    latest: Mutex<Latest>,
    watchers: broadcast::Sender<Arc<Told>>,
}

#[derive(Debug, Default)]
struct Latest {
    told: VecDeque<Arc<Told>>,
    /// The number of the latest.
    seq: u64,
}

/// Something that has happened.
#[derive(Debug)]
pub struct Told {
    /// Its number: whatever comes later has a higher one.
    pub seq: u64,
    /// What it is.
    pub what: What,
}

/// What has happened.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum What {
    /// A model was chosen.
    Decision(Decided),
    /// A request has ended.
    Ended(Ended),
}

/// A model was chosen.
#[derive(Debug, Serialize)]
pub struct Decided {
    /// When.
    #[serde(serialize_with = "moment")]
    pub at: SystemTime,
    /// What answers and logs call the request.
    pub request_id: Box<str>,
    /// Whose it is.
    pub tenant: Name,
    /// The route.
    pub route: Name,
    /// Who decided.
    pub router: &'static str,
    /// The choice; none where no model can serve the request.
    pub model: Option<Name>,
    /// The choice, then whom it falls back to.
    pub ranking: Vec<Name>,
    /// What has chosen.
    pub rule: Rule,
    /// The probability that the dearest beats every cheaper one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub win_rate: Option<f64>,
    /// The models that were scored.
    pub scores: Vec<Score>,
    /// Why the router's word was not heard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail_open: Option<&'static str>,
    /// In microseconds.
    pub decision_us: u64,
}

/// What has chosen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Rule {
    /// The order of the configuration.
    Order,
    /// A probability.
    Threshold {
        /// That.
        threshold: f64,
        /// Of requests at exactly it, the share that reach it.
        split: f64,
        /// The share of requests that it was solved for.
        #[serde(skip_serializing_if = "Option::is_none")]
        strong_share: Option<f64>,
    },
    /// Win probability less cost.
    Utility {
        /// λ, win probability per USD.
        lambda: f64,
    },
}

/// A model that was scored.
#[derive(Debug, Serialize)]
pub struct Score {
    /// The model.
    pub model: Name,
    /// θ.
    pub skill: f64,
    /// What it is expected to cost, where prices are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
}

/// A request has ended.
#[derive(Debug, Serialize)]
pub struct Ended {
    request_id: Name,
    tenant: Name,
    route: Name,
    model: Option<Name>,
    outcome: &'static str,
    code: Option<&'static str>,
    duration_ms: u64,
    tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_usd: Option<f64>,
}

/// A name of the configuration.
#[derive(Debug, Clone)]
pub struct Name(pub Arc<str>);

impl Serialize for Name {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

fn moment<S: serde::Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let at = time::OffsetDateTime::from(*at);
    let text = at.format(&time::format_description::well_known::Rfc3339).unwrap_or_default();
    serializer.serialize_str(&text)
}

impl Told {
    /// What a stream of events calls it.
    #[must_use]
    pub const fn event(&self) -> &'static str {
        match self.what {
            What::Decision(_) => "decision",
            What::Ended(_) => "ended",
        }
    }
}

impl Serialize for Told {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Numbered<'a> {
            seq: u64,
            #[serde(flatten)]
            what: &'a What,
        }
        Numbered { seq: self.seq, what: &self.what }.serialize(serializer)
    }
}

impl Default for Live {
    fn default() -> Self {
        Self { latest: Mutex::default(), watchers: broadcast::Sender::new(BEHIND_MAX) }
    }
}

impl Live {
    /// Tells of something.
    pub fn tell(&self, what: What) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.seq += 1;
        let told = Arc::new(Told { seq: latest.seq, what });
        if latest.told.len() == 2 * DECISIONS_MAX {
            latest.told.pop_front();
        }
        latest.told.push_back(Arc::clone(&told));
        // In the order of their numbers, also for watchers. Nobody may be there.
        let _ = self.watchers.send(told);
    }

    /// A request has ended.
    pub(super) fn ended(&self, event: &Event) {
        let name = |name: &Option<Arc<str>>| Name(name.clone().unwrap_or_else(|| NONE.into()));
        let used = || event.calls.iter().filter_map(|(_, used)| used.as_ref());
        let costs: Vec<f64> = used().filter_map(Used::cost_usd).collect();
        self.tell(What::Ended(Ended {
            request_id: Name(Arc::clone(&event.request_id)),
            tenant: name(&event.tenant),
            route: name(&event.route),
            model: event.model.clone().map(Name),
            outcome: event.outcome.label(),
            code: event.code,
            duration_ms: u64::try_from(event.duration.as_millis()).unwrap_or(u64::MAX),
            tokens: used().fold(0, |sum, used| {
                sum.saturating_add(used.usage.prompt_tokens).saturating_add(used.usage.completion_tokens)
            }),
            cost_usd: (!costs.is_empty()).then(|| costs.iter().sum()),
        }));
    }

    /// What has happened after the event of this number, as far as it is remembered, and what will.
    #[must_use]
    pub fn after(&self, seq: u64) -> (Vec<Arc<Told>>, broadcast::Receiver<Arc<Told>>) {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let told = latest.told.iter().filter(|told| told.seq > seq).cloned().collect();
        (told, self.watchers.subscribe())
    }

    /// Those who watch.
    #[must_use]
    pub fn watchers(&self) -> usize {
        self.watchers.receiver_count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> What {
        What::Decision(Decided {
            at: SystemTime::UNIX_EPOCH,
            request_id: "r".into(),
            tenant: Name("t".into()),
            route: Name("auto".into()),
            router: "static",
            model: None,
            ranking: Vec::new(),
            rule: Rule::Order,
            win_rate: None,
            scores: Vec::new(),
            fail_open: None,
            decision_us: 1,
        })
    }

    #[test]
    fn the_latest_are_remembered_in_their_order_and_watchers_miss_none() {
        let live = Live::default();
        (0..1_500).for_each(|_| live.tell(order()));
        let (told, mut watched) = live.after(1_400);
        assert_eq!((told.len(), told[0].seq, live.after(0).0.len()), (100, 1_401, 1_000));
        live.tell(order());
        assert_eq!(watched.try_recv().unwrap().seq, 1_501);
        assert!(live.after(u64::MAX).0.is_empty());
        let text = serde_json::to_string(&*told[0]).unwrap();
        assert_eq!(
            text,
            r#"{"seq":1401,"at":"1970-01-01T00:00:00Z","request_id":"r","tenant":"t","route":"auto","router":"static","model":null,"ranking":[],"rule":{"kind":"order"},"scores":[],"decision_us":1}"#
        );
    }
}
