//! Which headers pass through the gateway, in both directions (law 2).

use http::{HeaderMap, HeaderName, header};

/// Never forwarded, whoever sends them: they are about one connection (RFC 9110, section 7.6.1), or about the
/// length and framing of a body that is written anew.
const HOP_BY_HOP: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A client's own, not for an upstream: its credentials for this gateway, and what would change the answer's bytes.
const CLIENT_ONLY: [&str; 9] = [
    "accept-encoding",
    "api-key",
    "authorization",
    "cookie",
    "host",
    "origin",
    "referer",
    "x-api-key",
    "x-request-id",
];

/// What browsers say of themselves, and of the page that asks: as little an upstream's business.
const OF_BROWSERS: &str = "sec-fetch-";

/// An upstream's own, not for a client: they name our account there, or speak of another host than this one.
const UPSTREAM_ONLY: [&str; 6] = [
    "alt-svc",
    "openai-organization",
    "openai-project",
    "set-cookie",
    "strict-transport-security",
    "x-request-id",
];

/// What is the gateway's to say; nobody else's word for it passes.
const OURS: &str = "x-pointsman-";

/// The headers of a client's request that an upstream gets.
#[must_use]
pub fn for_upstream(client: &HeaderMap) -> HeaderMap {
    let mut headers = without(client, &CLIENT_ONLY);
    let of_browsers: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with(OF_BROWSERS)).cloned().collect();
    for name in of_browsers {
        headers.remove(name);
    }
    // An answer that is not encoded can be read for its usage.
    headers.insert(header::ACCEPT_ENCODING, header::HeaderValue::from_static("identity"));
    headers
}

/// The headers of an upstream's answer that a client gets.
#[must_use]
pub fn for_client(upstream: &HeaderMap) -> HeaderMap {
    without(upstream, &UPSTREAM_ONLY)
}

fn without(from: &HeaderMap, dropped: &[&str]) -> HeaderMap {
    let named_by_connection = |name: &HeaderName| {
        from.get_all(header::CONNECTION).iter().any(|value| {
            value.to_str().is_ok_and(|text| {
                text.split(',').any(|token| token.trim().eq_ignore_ascii_case(name.as_str()))
            })
        })
    };
    let mut headers = HeaderMap::with_capacity(from.len());
    for (name, value) in from {
        let text = name.as_str();
        let stays = HOP_BY_HOP.contains(&text) || dropped.contains(&text) || text.starts_with(OURS);
        if !stays && !named_by_connection(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn credentials_and_hop_by_hop_headers_stay() {
        let sent = map(&[
            ("authorization", "Bearer secret"),
            ("api-key", "secret"),
            ("cookie", "a=b"),
            ("host", "gateway"),
            ("connection", "keep-alive, X-Odd"),
            ("x-odd", "1"),
            ("te", "trailers"),
            ("accept-encoding", "gzip"),
            ("x-pointsman-model", "forged"),
            ("x-custom", "1"),
            ("x-custom", "2"),
            ("openai-beta", "assistants=v2"),
        ]);
        let got = for_upstream(&sent);
        let mut names: Vec<_> = got.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept-encoding", "openai-beta", "x-custom"]);
        assert_eq!(got.get_all("x-custom").iter().count(), 2);
        assert_eq!(got[header::ACCEPT_ENCODING], "identity");
    }

    #[test]
    fn an_upstreams_account_is_not_shown() {
        let got = for_client(&map(&[
            ("openai-organization", "acme"),
            ("set-cookie", "x"),
            ("openai-processing-ms", "7"),
        ]));
        assert_eq!(got.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["openai-processing-ms"]);
    }
}
