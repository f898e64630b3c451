//! Answers kept for requests that are asked again: each route's bounded in bytes, each answer for its time.
//!
//! Kept by identity, beside the snapshot: a reload forgets none of what may still be given. Must not know of requests, upstreams, or
//! whether an answer may be kept.

pub mod control;
pub mod stored;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::HeaderValue;
use moka::{Expiry, policy::EvictionPolicy};

/// What an answer is found by: a digest of all that it depends on.
pub type Key = [u8; 32];

/// What a route says of its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheRules {
    /// How long an answer may be given again.
    pub ttl: Duration,
    /// The most bytes of all that is kept for the route.
    pub max_bytes: usize,
    /// The longest answer that is kept.
    pub max_entry_bytes: usize,
}

impl Default for CacheRules {
    fn default() -> Self {
        Self { ttl: Duration::from_secs(3600), max_bytes: 64 << 20, max_entry_bytes: 1 << 20 }
    }
}

/// A whole answer as a client got it.
#[derive(Debug)]
pub struct Kept {
    /// The model that gave it.
    pub model: Arc<str>,
    /// Where that model was, and what it was called there: another one may have its name by now.
    pub origin: Arc<str>,
    /// The router that chose the model.
    pub router: Option<HeaderValue>,
    /// Its `content-type`.
    pub content_type: Option<HeaderValue>,
    /// All of its body.
    pub body: Bytes,
    /// Where each of its events ends; `None` where it is no stream.
    pub events: Option<Box<[u32]>>,
    /// When it was kept.
    pub at: Instant,
}

/// What an answer takes beside its bytes: its key, its names, and its place in the cache.
const ENTRY_BYTES: usize = 512;

impl Kept {
    /// How long ago it was kept.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.at.elapsed()
    }

    fn bytes(&self) -> u32 {
        let events = self.events.as_ref().map_or(0, |events| size_of_val(&**events));
        u32::try_from(self.body.len() + events + ENTRY_BYTES).unwrap_or(u32::MAX)
    }
}

/// The caches of all routes that have one.
#[derive(Debug, Clone, Default)]
pub struct Caches(Arc<ArcSwap<BTreeMap<String, Arc<Cache>>>>);

/// The answers of one route. What was longest not asked for goes first.
#[derive(Debug)]
pub struct Cache {
    max_bytes: usize,
    kept: moka::sync::Cache<Key, (Arc<Kept>, Duration)>,
}

/// How full a cache is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fill {
    /// Bytes of its answers.
    pub bytes: u64,
    /// Their number.
    pub entries: u64,
}

impl Caches {
    /// Has a cache for each of these routes and for no other. What is kept stays, as far as there is room for it.
    pub fn hold<'a>(&self, routes: impl Iterator<Item = (&'a str, CacheRules)>) {
        let before = self.0.load();
        let cache = |(route, rules): (&str, CacheRules)| {
            let known = before.get(route);
            let cache = match known {
                Some(known) if known.max_bytes == rules.max_bytes => Arc::clone(known),
                _ => Arc::new(Cache::with_those_of(known, rules.max_bytes)),
            };
            (route.to_owned(), cache)
        };
        self.0.store(Arc::new(routes.map(cache).collect()));
    }

    /// The cache of a route.
    #[must_use]
    pub fn of(&self, route: &str) -> Option<Arc<Cache>> {
        self.0.load().get(route).map(Arc::clone)
    }

    /// No route has one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.load().is_empty()
    }

    /// Lets go of what is out of time.
    pub fn sweep(&self) {
        self.0.load().values().for_each(|cache| cache.kept.run_pending_tasks());
    }

    /// How full each is.
    #[must_use]
    pub fn fills(&self) -> Vec<(String, Fill)> {
        let caches = self.0.load();
        caches.iter().map(|(route, cache)| (route.clone(), cache.fill())).collect()
    }
}

impl Cache {
    fn new(max_bytes: usize) -> Self {
        let kept = moka::sync::Cache::builder()
            .max_capacity(u64::try_from(max_bytes).unwrap_or(u64::MAX))
            .weigher(|_: &Key, (kept, _): &(Arc<Kept>, Duration)| kept.bytes())
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(InItsTime)
            .build();
        Self { max_bytes, kept }
    }

    fn with_those_of(other: Option<&Arc<Self>>, max_bytes: usize) -> Self {
        let cache = Self::new(max_bytes);
        for (key, (kept, ttl)) in other.into_iter().flat_map(|other| &other.kept) {
            let left = ttl.saturating_sub(kept.age());
            if !left.is_zero() {
                cache.kept.insert(*key, (kept, left));
            }
        }
        cache
    }

    /// The answer of that key, however old it is.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Arc<Kept>> {
        self.kept.get(key).map(|(kept, _)| kept)
    }

    /// Keeps an answer for `ttl` from now, in place of one that was kept before.
    pub fn keep(&self, key: Key, kept: impl Into<Arc<Kept>>, ttl: Duration) {
        self.kept.insert(key, (kept.into(), ttl));
    }

    fn fill(&self) -> Fill {
        self.kept.run_pending_tasks();
        Fill { bytes: self.kept.weighted_size(), entries: self.kept.entry_count() }
    }
}

/// Each answer for as long as it was kept for.
struct InItsTime;

impl Expiry<Key, (Arc<Kept>, Duration)> for InItsTime {
    fn expire_after_create(&self, _: &Key, value: &(Arc<Kept>, Duration), _: Instant) -> Option<Duration> {
        Some(value.1)
    }

    fn expire_after_update(
        &self,
        _: &Key,
        value: &(Arc<Kept>, Duration),
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(value.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn kept(bytes: usize) -> Kept {
        Kept {
            model: "m".into(),
            origin: "m at u".into(),
            router: None,
            content_type: None,
            body: vec![b'x'; bytes].into(),
            events: None,
            at: Instant::now(),
        }
    }

    fn key(number: u8) -> Key {
        [number; 32]
    }

    fn held(max_bytes: usize) -> (Caches, Arc<Cache>) {
        let caches = Caches::default();
        hold(&caches, &[("r", max_bytes)]);
        let cache = caches.of("r").unwrap();
        (caches, cache)
    }

    fn hold(caches: &Caches, routes: &[(&str, usize)]) {
        let rules = |&max_bytes: &usize| CacheRules { max_bytes, ..CacheRules::default() };
        caches.hold(routes.iter().map(|(route, max_bytes)| (*route, rules(max_bytes))));
    }

    #[test]
    fn it_is_bounded_in_bytes_and_the_longest_unasked_go_first() {
        let (_, cache) = held(4 * (1000 + ENTRY_BYTES));
        for number in 0..4 {
            cache.keep(key(number), kept(1000), HOUR);
        }
        assert_eq!(cache.fill(), Fill { bytes: 4 * 1512, entries: 4 });
        assert!(cache.get(&key(0)).is_some(), "asked for");
        for number in 4..6 {
            cache.keep(key(number), kept(1000), HOUR);
            assert!(cache.fill().bytes <= 4 * 1512);
        }
        let left: Vec<u8> = (0..6).filter(|&number| cache.get(&key(number)).is_some()).collect();
        assert_eq!(left, [0, 3, 4, 5]);
        cache.keep(key(9), kept(1_000_000), HOUR);
        assert!(cache.fill().bytes <= 4 * 1512 && cache.get(&key(9)).is_none(), "no room for it");
    }

    #[test]
    fn an_answer_has_its_time_and_a_new_one_a_new_time() {
        let (caches, cache) = held(1 << 20);
        cache.keep(key(1), kept(10), Duration::ZERO);
        cache.keep(key(2), kept(10), HOUR);
        assert!(cache.get(&key(1)).is_none() && cache.get(&key(2)).is_some());
        // Let go of within a second or so.
        let begun = Instant::now();
        while cache.kept.entry_count() != 1 {
            assert!(begun.elapsed() < Duration::from_secs(20), "never let go of");
            caches.sweep();
            std::thread::yield_now();
        }
        cache.keep(key(1), kept(20), HOUR);
        assert_eq!(cache.get(&key(1)).unwrap().body.len(), 20);
    }

    #[test]
    fn a_reload_keeps_what_there_is_room_for() {
        let (caches, cache) = held(1 << 20);
        for number in 0..10 {
            cache.keep(key(number), kept(1000), HOUR);
        }
        hold(&caches, &[("r", 1 << 20), ("new", 1 << 20)]);
        assert!(Arc::ptr_eq(&cache, &caches.of("r").unwrap()), "nothing has changed");
        hold(&caches, &[("r", 5 * 1512)]);
        let smaller = caches.of("r").unwrap();
        assert_eq!(smaller.fill().entries, 5);
        assert!(caches.of("new").is_none());
        hold(&caches, &[]);
        assert!(caches.of("r").is_none() && caches.is_empty());
    }
}
