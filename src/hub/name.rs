//! The name of a repository on the hub.

use std::fmt;
use std::str::FromStr;

/// `organisation/name`, or a bare name: letters, digits and `-_.`, as the hub allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryName(String);

impl RepositoryName {
    /// The name as a folder's name.
    #[must_use]
    pub fn folder(&self) -> String {
        self.0.replace('/', "--")
    }
}

impl FromStr for RepositoryName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_plain = |part: &str| {
            !part.is_empty() && part.bytes().all(allowed) && !part.bytes().all(|byte| byte == b'.')
        };
        let parts = text.split('/');
        if parts.clone().count() <= 2 && text.len() <= 128 && parts.clone().all(is_plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err("expected organisation/name, of letters, digits and `-_.`".to_owned())
        }
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        let name: RepositoryName = "BAAI/bge-small-en-v1.5".parse().unwrap();
        assert_eq!(
            (name.to_string().as_str(), name.folder().as_str()),
            ("BAAI/bge-small-en-v1.5", "BAAI--bge-small-en-v1.5")
        );
        assert!("bert-base-uncased".parse::<RepositoryName>().is_ok());
        for wrong in ["", "/", "a/", "/a", "a/b/c", "../x", "a/..", "a b", "a?b", "ä/b", &"a".repeat(129)] {
            assert!(wrong.parse::<RepositoryName>().is_err(), "{wrong}");
        }
    }
}
