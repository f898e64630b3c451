//! Who is calling: keys to tenants; and how much each may do.
//!
//! Must not know which models a tenant may reach. Keys are kept as digests and compared in constant time.

pub mod gcra;
pub mod limits;

use std::{collections::HashMap, sync::Arc};

use http::{HeaderMap, header};
use subtle::ConstantTimeEq;

use crate::config::{KeyDigest, TenantConfig};

/// The keys of all tenants.
#[derive(Debug, Default)]
pub struct Keyring {
    /// By the first bytes of the digest, so that a look-up tells nothing about the rest of it.
    by_prefix: HashMap<[u8; 8], Vec<(KeyDigest, Arc<str>)>>,
    open: Option<Arc<str>>,
}

/// Why a caller is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No key.
    #[error(
        "you did not provide an API key: send it in an Authorization header, as in 'Authorization: Bearer KEY'"
    )]
    Missing,
    /// A key that no tenant has.
    #[error("incorrect API key provided")]
    Unknown,
}

impl Keyring {
    /// The keys of these tenants.
    pub fn new<'a>(tenants: impl Iterator<Item = (&'a str, &'a TenantConfig)>) -> Self {
        let mut keyring = Self::default();
        for (name, tenant) in tenants {
            let name: Arc<str> = name.into();
            for key in &tenant.keys {
                keyring.by_prefix.entry(prefix(key)).or_default().push((*key, Arc::clone(&name)));
            }
            if tenant.open {
                keyring.open = Some(name);
            }
        }
        keyring
    }

    /// The tenant that a request's headers belong to.
    ///
    /// # Errors
    /// When there is no key, or none that a tenant has, and no tenant is open to such requests.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<&Arc<str>, AuthError> {
        let key = bearer(headers);
        let tenant = key.and_then(|key| self.find(&KeyDigest::of(key)));
        let refused = if key.is_some() { AuthError::Unknown } else { AuthError::Missing };
        tenant.or(self.open.as_ref()).ok_or(refused)
    }

    fn find(&self, digest: &KeyDigest) -> Option<&Arc<str>> {
        let mut found = None;
        for (known, tenant) in self.by_prefix.get(&prefix(digest))? {
            if bool::from(known.as_bytes().ct_eq(digest.as_bytes())) {
                found = Some(tenant);
            }
        }
        found
    }
}

fn prefix(digest: &KeyDigest) -> [u8; 8] {
    let mut prefix = [0; 8];
    for (to, from) in prefix.iter_mut().zip(digest.as_bytes()) {
        *to = *from;
    }
    prefix
}

/// The key of `Authorization: Bearer KEY`; more than one such header is none at all.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().filter(|_| values.next().is_none())?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    let key = key.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !key.is_empty()).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(key: &str, open: bool) -> TenantConfig {
        TenantConfig {
            keys: vec![KeyDigest::of(key)],
            open,
            pool: vec!["m".into()],
            default_route: "auto".into(),
            default_model: None,
            limits: None,
        }
    }

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_key_names_its_tenant() {
        let (a, b) = (tenant("key-a", false), tenant("key-b", false));
        let keyring = Keyring::new([("a", &a), ("b", &b)].into_iter());
        let who = |values: &[&str]| keyring.authenticate(&headers(values)).map(|name| name.to_string());
        assert_eq!(who(&["Bearer key-b"]), Ok("b".into()));
        assert_eq!(who(&["bearer  key-a "]), Ok("a".into()));
        assert_eq!(who(&["Bearer key-c"]), Err(AuthError::Unknown));
        assert_eq!(who(&[]), Err(AuthError::Missing));
        assert_eq!(who(&["Basic key-a"]), Err(AuthError::Missing));
        assert_eq!(who(&["Bearer key-a", "Bearer key-b"]), Err(AuthError::Missing));
    }

    #[test]
    fn an_open_tenant_takes_the_rest() {
        let (a, b) = (tenant("key-a", false), tenant("key-b", true));
        let keyring = Keyring::new([("a", &a), ("b", &b)].into_iter());
        assert_eq!(&**keyring.authenticate(&headers(&[])).unwrap(), "b");
        assert_eq!(&**keyring.authenticate(&headers(&["Bearer other"])).unwrap(), "b");
        assert_eq!(&**keyring.authenticate(&headers(&["Bearer key-a"])).unwrap(), "a");
    }
}
