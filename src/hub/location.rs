//! Where a redirect leads.

use http::Uri;
use http::uri::Scheme;

/// The address that a `Location` names, seen from the one that was asked; none when it is malformed or leads from
/// https to http.
pub(super) fn resolve(from: &Uri, location: &str) -> Option<Uri> {
    let (scheme, authority) = (from.scheme_str()?, from.authority()?);
    let absolute = if location.contains("://") {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else {
        let folder = from.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{location}")
    };
    let uri: Uri = absolute.split('#').next()?.parse().ok()?;
    let is_web = uri.scheme() == Some(&Scheme::HTTPS) || uri.scheme() == Some(&Scheme::HTTP);
    let is_downgrade = from.scheme() == Some(&Scheme::HTTPS) && uri.scheme() == Some(&Scheme::HTTP);
    (is_web && uri.authority().is_some() && !is_downgrade).then_some(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_where_they_say() {
        let from = Uri::from_static("https://hub.example/a/resolve/main/model.safetensors");
        let to = |location: &str| resolve(&from, location).map(|uri| uri.to_string());
        assert_eq!(to("https://cdn.example/x?y=z#f").as_deref(), Some("https://cdn.example/x?y=z"));
        assert_eq!(to("//cdn.example/x").as_deref(), Some("https://cdn.example/x"));
        assert_eq!(to("/b/c?d").as_deref(), Some("https://hub.example/b/c?d"));
        assert_eq!(to("c").as_deref(), Some("https://hub.example/a/resolve/main/c"));
        for wrong in ["http://cdn.example/x", "ftp://cdn.example/x", "https://", "https:// /"] {
            assert_eq!(to(wrong), None, "{wrong}");
        }
        let clear = Uri::from_static("http://127.0.0.1:1/a");
        assert!(
            resolve(&clear, "http://127.0.0.1:2/b").is_some() && resolve(&clear, "https://c/d").is_some()
        );
    }
}
