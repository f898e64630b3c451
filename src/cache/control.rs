//! What requests and answers say of being kept: `cache-control` (RFC 9111, section 5.2) and `vary`.

use std::time::Duration;

use http::{HeaderMap, HeaderName, header};

/// What a request says of the answers that it may get.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Its answer is not to be kept, and no kept one is to be given.
    pub no_store: bool,
    /// No kept answer is to be given.
    pub no_cache: bool,
    /// None but a kept answer is wanted.
    pub only_if_cached: bool,
    /// None that is older.
    pub max_age: Option<Duration>,
    /// None that may not be given for so long still.
    pub min_fresh: Duration,
}

impl Wishes {
    /// Those of a request.
    #[must_use]
    pub fn of(request: &HeaderMap) -> Self {
        let mut wishes = Self::default();
        for (name, value) in directives(request, &header::CACHE_CONTROL) {
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            if is("no-store") {
                wishes.no_store = true;
            } else if is("no-cache") {
                wishes.no_cache = true;
            } else if is("only-if-cached") {
                wishes.only_if_cached = true;
            } else if is("max-age") {
                // What cannot be read asks for the least.
                let age = seconds(value).unwrap_or_default();
                wishes.max_age = Some(wishes.max_age.map_or(age, |other| other.min(age)));
            } else if is("min-fresh") {
                wishes.min_fresh = wishes.min_fresh.max(seconds(value).unwrap_or(Duration::MAX));
            }
        }
        wishes
    }

    /// An answer of that age, which may be given for `ttl` in all, will do.
    #[must_use]
    pub fn are_met_at(&self, age: Duration, ttl: Duration) -> bool {
        let is_young = self.max_age.is_none_or(|most| !most.is_zero() && age <= most);
        !(self.no_store || self.no_cache) && is_young && age.saturating_add(self.min_fresh) < ttl
    }

    /// A kept answer may do at all.
    #[must_use]
    pub fn can_be_met(&self) -> bool {
        !(self.no_store || self.no_cache || self.max_age == Some(Duration::ZERO))
    }
}

/// An upstream's answer may be given to another request, too, as far as its head says.
#[must_use]
pub fn may_be_kept(answer: &HeaderMap) -> bool {
    let forbids = |(name, _): (&str, Option<&str>)| {
        name.eq_ignore_ascii_case("no-store") || name.eq_ignore_ascii_case("private")
    };
    // Answers always come unencoded, and nothing is kept of what is for browsers.
    let is_of_no_matter = |(name, _): (&str, Option<&str>)| {
        name.eq_ignore_ascii_case("accept-encoding") || name.eq_ignore_ascii_case("origin")
    };
    !directives(answer, &header::CACHE_CONTROL).any(forbids)
        && directives(answer, &header::VARY).all(is_of_no_matter)
}

/// The items of a header that is a list, each with its value where it has one.
fn directives<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
    let items = headers.get_all(name).into_iter().flat_map(|value| {
        // What cannot be read may be a wish not to be kept.
        value.to_str().unwrap_or("no-store").split(',')
    });
    items.map(str::trim).filter(|item| !item.is_empty()).map(|item| match item.split_once('=') {
        Some((name, value)) => (name.trim_end(), Some(value.trim().trim_matches('"'))),
        None => (item, None),
    })
}

/// A number of seconds, however large.
fn seconds(value: Option<&str>) -> Option<Duration> {
    let digits = value.filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))?;
    Some(Duration::from_secs(digits.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    fn wishes(values: &[&'static str]) -> Wishes {
        Wishes::of(&headers("cache-control", values))
    }

    #[test]
    fn requests_say_what_they_want() {
        let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3600));
        assert_eq!(wishes(&[]), Wishes::default());
        let all = wishes(&["No-Store , max-age = \"5\"", "no-cache, max-age=9, only-if-cached,unknown=1"]);
        assert!(all.no_store && all.no_cache && all.only_if_cached);
        assert_eq!(all.max_age, Some(5 * second));
        let at = |wished: &'static str, age: Duration| wishes(&[wished]).are_met_at(age, hour);
        assert!(at("", hour - second) && !at("", hour), "as long as the route says");
        assert!(at("max-age=5", 5 * second) && !at("max-age=5", 6 * second));
        assert!(!at("max-age=0", Duration::ZERO) && !at("max-age=x", Duration::ZERO));
        assert!(at("max-age=99999999999999999999999", second));
        assert!(at("min-fresh=3598", second) && !at("min-fresh=3599", second));
        assert!(!at("no-cache", Duration::ZERO) && !at("no-store", Duration::ZERO));
        for never in ["no-cache", "no-store", "max-age=0"] {
            assert!(!wishes(&[never]).can_be_met(), "{never}");
        }
        assert!(wishes(&["max-age=1"]).can_be_met());
    }

    #[test]
    fn answers_say_whether_they_may_be_kept() {
        let keeps = |name, value| may_be_kept(&headers(name, &[value]));
        // Streams say no-cache to be passed on at once.
        for may in ["no-cache", "public, max-age=5", ""] {
            assert!(keeps("cache-control", may), "{may}");
        }
        for may_not in ["no-store", "max-age=5, PRIVATE", "private=\"x\"", "no-cache,no-store"] {
            assert!(!keeps("cache-control", may_not), "{may_not}");
        }
        assert!(keeps("vary", "Accept-Encoding, Origin"));
        assert!(!keeps("vary", "accept-encoding, x-team") && !keeps("vary", "*"));
        assert!(may_be_kept(&HeaderMap::new()));
    }
}
