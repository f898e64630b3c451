//! Answers from a route's cache: which request may have which, and how it is given.

mod recording;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use sha2::{Digest, Sha256};

pub(super) use self::recording::{Recorded, Recording};
use super::{
    attempt::Call,
    error::Failure,
    exchange::{Exchange, say_event_stream},
    respond::{ResponseBody, full, trail},
    target::Target,
};
use crate::{
    cache::{CacheRules, Caches, Kept, Key, control::Wishes},
    fleet::answers::Answers,
    openai::{canonical::Canonical, endpoint::Endpoint},
    routing::plan::Plan,
    snapshot::Tenant,
    telemetry::outcome::{CacheUse, Outcome},
};

/// Longest request that an answer is kept for: what is longer takes its time to be digested, and hardly comes again.
const REQUEST_BYTES_MAX: usize = 1 << 20;

/// Headers of clients that OpenAI's answers depend on.
const HEADERS_THAT_COUNT: &str = "openai-";

/// Where the answer to a request is to be kept.
#[derive(Debug)]
pub(super) struct Recorder {
    caches: Caches,
    /// Where other gateways find it, too.
    shared: Option<Arc<Answers>>,
    route: Box<str>,
    key: Key,
    rules: CacheRules,
}

impl Exchange<'_> {
    /// The kept answer to the request, where there is one that it may have: in memory, or where other gateways have put it. Else its own
    /// answer will be kept, where it may be.
    ///
    /// # Errors
    /// When there is none and it wants no other.
    pub(super) async fn kept(
        &mut self,
        target: &Target,
        rules: CacheRules,
    ) -> Result<Option<Arc<Kept>>, Failure> {
        let wishes = Wishes::of(&self.call.headers);
        let (tenant, account) = (self.tenant, &mut self.guards.account);
        let route = account.route().unwrap_or_default();
        let cache_route: Box<str> = tenant.cache_route(route).into();
        let key = if wishes.no_store { None } else { key(&tenant.name, route, &self.call) };
        account.set_cache(if wishes.can_be_met() && key.is_some() {
            CacheUse::Miss
        } else {
            CacheUse::Bypass
        });
        let caches = &self.app.caches;
        let shared = self.app.answers.get();
        let may_have =
            |kept: &Kept| wishes.are_met_at(kept.age(), rules.ttl) && still_answers(tenant, target, kept);
        let mut found = key.and_then(|key| caches.of(&cache_route)?.get(&key)).filter(|kept| may_have(kept));
        if let (None, Some(key), Some(shared)) = (&found, &key, shared)
            && wishes.can_be_met()
            && let Some((kept, left)) = shared.get(key, &rules).await
            && may_have(&kept)
        {
            let kept = Arc::new(kept);
            if let Some(cache) = caches.of(&cache_route) {
                cache.keep(*key, Arc::clone(&kept), left);
            }
            found = Some(kept);
        }
        match (found, key) {
            (Some(kept), _) => return Ok(Some(kept)),
            _ if wishes.only_if_cached => return Err(Failure::NotCached),
            (None, Some(key)) => {
                let (caches, shared) = (caches.clone(), shared.map(Arc::clone));
                let recorder = Recorder { caches, shared, route: cache_route, key, rules };
                self.guards.recorder = Some(Box::new(recorder));
            }
            (None, None) => {}
        }
        Ok(None)
    }

    /// Answers with a kept answer, and books it: there is no call to be paid for.
    pub(super) fn replay(self, kept: &Arc<Kept>) -> Response<ResponseBody> {
        let mut account = self.guards.account;
        account.answered_from_cache(&kept.model);
        account.ended(Outcome::Ok, None);
        let is_stream = kept.events.is_some();
        let body = if is_stream { events(kept) } else { full(kept.body.clone()) };
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        if let Some(content_type) = &kept.content_type {
            headers.insert(header::CONTENT_TYPE, content_type.clone());
        }
        headers.insert(header::AGE, kept.age().as_secs().into());
        headers.extend(trail(&account));
        if let Some(router) = &kept.router {
            headers.insert("x-pointsman-router", router.clone());
        }
        if is_stream {
            say_event_stream(&mut response);
        }
        response
    }
}

/// Each event in a frame of its own, as they came.
fn events(kept: &Arc<Kept>) -> ResponseBody {
    let kept = Arc::clone(kept);
    let count = kept.events.as_deref().map_or(0, <[u32]>::len);
    let event = move |place: usize| {
        let ends = kept.events.as_deref().unwrap_or_default();
        let end_of = |place: usize| ends.get(place).map_or(0, |&end| end as usize);
        let start = place.checked_sub(1).map_or(0, end_of);
        kept.body.get(start..end_of(place)).map_or_else(Bytes::new, |event| kept.body.slice_ref(event))
    };
    let frames = (0..count).map(move |place| Ok(Frame::data(event(place))));
    StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync()
}

/// Whether this request could be sent to the model that the answer came from, and it is still the same.
fn still_answers(tenant: &Tenant, target: &Target, kept: &Kept) -> bool {
    let named = tenant.upstreams.iter().position(|model| model.name == kept.model);
    let Some(place) =
        named.filter(|&place| tenant.upstreams.get(place).is_some_and(|model| model.origin == kept.origin))
    else {
        return false;
    };
    match target {
        Target::Model(asked) => *asked == place,
        Target::Router(..) => true,
        Target::Route(plan) => match &**plan {
            Plan::Static { order } => order.contains(&place),
            Plan::Learned(_) => true,
        },
    }
}

/// What the request's answer is found by; `None` where no answer to it is kept.
fn key(tenant: &str, route: &str, call: &Call) -> Option<Key> {
    if call.endpoint == Endpoint::Responses || call.request.len_bytes() > REQUEST_BYTES_MAX {
        return None;
    }
    let canonical = call.request.canonical().ok().filter(|request| !leaves_traces(request))?;
    let mut digest = Sha256::new();
    let mut part = |bytes: &[u8]| {
        digest.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes());
        digest.update(bytes);
    };
    for name in [tenant, route, call.endpoint.path()] {
        part(name.as_bytes());
    }
    for (name, value) in headers_that_count(&call.headers) {
        part(name.as_bytes());
        part(value);
    }
    canonical.write(&mut |bytes| digest.update(bytes));
    Some(digest.finalize().into())
}

/// The request is not only about its answer: the provider keeps something of it, or kept something before.
fn leaves_traces(request: &Canonical<'_>) -> bool {
    let has = |key: &str| request.top_level(key).is_some_and(|value| value != "null");
    request.top_level("store") == Some("true") || has("previous_response_id") || has("conversation")
}

fn headers_that_count(headers: &HeaderMap) -> Vec<(&str, &[u8])> {
    let counts = |name: &str| name.starts_with(HEADERS_THAT_COUNT);
    let all = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let mut counting: Vec<_> = all.filter(|(name, _)| counts(name)).collect();
    counting.sort_unstable();
    counting
}
