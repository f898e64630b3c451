//! A value that must never be seen: upstream keys, and whatever else the configuration may hide in a header.
//!
//! The only way to the value is [`Secret::expose`], so that every use of one can be found by its name.

use std::fmt;

/// A secret string: `Debug` and `Display` print a placeholder.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself. Never hand it to anything that logs, measures or answers clients.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret([redacted])")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}

/// Finds secrets in what others say, and takes them out.
///
/// Some servers repeat in their errors the key they were sent.
#[derive(Clone, Default)]
pub struct Redactor(Vec<Secret>);

/// Shorter ones would be found in ordinary words; no key is that short.
const SECRET_BYTES_MIN: usize = 6;

impl Redactor {
    /// Looks for these.
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        Self(secrets.into_iter().filter(|secret| secret.0.len() >= SECRET_BYTES_MIN).collect())
    }

    /// The text with every secret in it replaced.
    #[must_use]
    pub fn clean(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(&secret.0, "[redacted]"))
    }

    /// Whether a secret is in these bytes.
    #[must_use]
    pub fn finds_in(&self, bytes: &[u8]) -> bool {
        self.0.iter().any(|secret| memchr::memmem::find(bytes, secret.0.as_bytes()).is_some())
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Redactor({} secrets)", self.0.len())
    }
}

#[cfg(test)]
mod redactor_tests {
    use super::*;

    #[test]
    fn secrets_are_taken_out() {
        let redactor = Redactor::new([Secret::new("sk-secret"), Secret::new("abc")]);
        assert_eq!(redactor.clean("bad key sk-secret, abc"), "bad key [redacted], abc");
        assert!(redactor.finds_in(b"x sk-secret y") && !redactor.finds_in(b"sk-secre"));
        assert!(!format!("{redactor:?}").contains("sk-secret"));
    }
}
