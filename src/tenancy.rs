//! Who is calling: keys to tenants; and how much each may do.
//!
//! Must not know which models a caller may reach. Keys are kept as digests and compared in constant time.

pub mod gcra;
pub mod jwt;
pub mod limits;

use std::collections::HashMap;

use http::{HeaderMap, header};
use subtle::ConstantTimeEq;

use crate::config::KeyDigest;

/// The keys of all tenants, and the caller that each stands for.
#[derive(Debug, Clone)]
pub struct Keyring<T> {
    /// By the first bytes of the digest, so that a look-up tells nothing about the rest of it.
    by_prefix: HashMap<[u8; 8], Vec<(KeyDigest, T)>>,
    open: Option<T>,
}

/// Why a caller is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No key.
    #[error(
        "you did not provide an API key: send it in an Authorization header, as in 'Authorization: Bearer KEY'"
    )]
    Missing,
    /// A key that no tenant has, or not any more: whoever guesses learns nothing of what there was.
    #[error("incorrect API key provided")]
    Unknown,
    /// A token whose time is over, of which its issuer makes no secret.
    #[error("the token provided has expired")]
    Expired,
    /// A token, and no keys of its issuer.
    #[error("the token provided cannot be verified now")]
    Unverifiable,
}

impl<T> Default for Keyring<T> {
    fn default() -> Self {
        Self { by_prefix: HashMap::new(), open: None }
    }
}

impl<T> Keyring<T> {
    /// A key, and whom it stands for.
    pub fn add(&mut self, key: KeyDigest, caller: T) {
        self.by_prefix.entry(prefix(&key)).or_default().push((key, caller));
    }

    /// Whom requests belong to that have no key, or one that nobody has.
    pub fn set_open(&mut self, caller: T) {
        self.open = Some(caller);
    }

    /// There is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_prefix.is_empty()
    }

    /// Everybody who may call.
    pub fn callers(&self) -> impl Iterator<Item = &T> {
        self.by_prefix.values().flatten().map(|(_, caller)| caller).chain(&self.open)
    }

    /// The caller that a request's headers belong to.
    ///
    /// # Errors
    /// When there is no key, or none that a tenant has, and no tenant is open to such requests.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<&T, AuthError> {
        let key = bearer(headers);
        let caller = key.and_then(|key| self.known(&KeyDigest::of(key)));
        let refused = if key.is_some() { AuthError::Unknown } else { AuthError::Missing };
        caller.or(self.open.as_ref()).ok_or(refused)
    }

    /// The caller whose key these headers have.
    #[must_use]
    pub fn find(&self, headers: &HeaderMap) -> Option<&T> {
        if self.by_prefix.is_empty() {
            return None;
        }
        bearer(headers).and_then(|key| self.known(&KeyDigest::of(key)))
    }

    fn known(&self, digest: &KeyDigest) -> Option<&T> {
        let mut found = None;
        for (known, caller) in self.by_prefix.get(&prefix(digest))? {
            if bool::from(known.as_bytes().ct_eq(digest.as_bytes())) {
                found = Some(caller);
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
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().filter(|_| values.next().is_none())?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    let key = key.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !key.is_empty()).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyring(open: Option<&'static str>) -> Keyring<&'static str> {
        let mut keyring = Keyring::default();
        keyring.add(KeyDigest::of("key-a"), "a");
        keyring.add(KeyDigest::of("key-b"), "b");
        if let Some(open) = open {
            keyring.set_open(open);
        }
        keyring
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
        let keyring = keyring(None);
        let who = |values: &[&str]| keyring.authenticate(&headers(values)).copied();
        assert_eq!(who(&["Bearer key-b"]), Ok("b"));
        assert_eq!(who(&["bearer  key-a "]), Ok("a"));
        assert_eq!(who(&["Bearer key-c"]), Err(AuthError::Unknown));
        assert_eq!(who(&[]), Err(AuthError::Missing));
        assert_eq!(who(&["Basic key-a"]), Err(AuthError::Missing));
        assert_eq!(who(&["Bearer key-a", "Bearer key-b"]), Err(AuthError::Missing));
    }

    #[test]
    fn an_open_tenant_takes_the_rest() {
        let keyring = keyring(Some("b"));
        let who = |values: &[&str]| keyring.authenticate(&headers(values)).copied();
        assert_eq!(who(&[]), Ok("b"));
        assert_eq!(who(&["Bearer other"]), Ok("b"));
        assert_eq!(who(&["Bearer key-a"]), Ok("a"));
    }
}
