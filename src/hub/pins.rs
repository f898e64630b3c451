//! Checksums that are known before a file is fetched.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::name::RepositoryName;

/// SHA-256 in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum(String);

impl Checksum {
    /// The 64 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Checksum {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err("expected 64 hexadecimal digits".to_owned())
        }
    }
}

/// The encoders whose content is known to this program: repository, file, SHA-256.
const KNOWN: [(&str, &str, &str); 3] = [
    (super::DEFAULT_NAME, "config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
    (
        super::DEFAULT_NAME,
        "tokenizer.json",
        "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    ),
    (
        super::DEFAULT_NAME,
        "model.safetensors",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
];

/// The user's checksums by file, before those that are known.
#[derive(Debug, Clone, Default)]
pub struct Pins(BTreeMap<String, Checksum>);

impl Pins {
    /// Adds what the user says of a file.
    pub fn insert(&mut self, file: &str, checksum: Checksum) {
        self.0.insert(file.to_owned(), checksum);
    }

    /// What a file must have.
    #[must_use]
    pub fn of(&self, name: &RepositoryName, file: &str) -> Option<Checksum> {
        let known = || {
            let name = name.to_string();
            let row = KNOWN.iter().find(|(of, known, _)| *of == name && *known == file);
            row.map(|(_, _, checksum)| Checksum((*checksum).to_owned()))
        };
        self.0.get(file).cloned().or_else(known)
    }

    /// A file that the user gave a checksum of and that no encoder has.
    #[must_use]
    pub fn unknown_file(&self) -> Option<&str> {
        let is_known = |file: &&String| super::FILES.iter().any(|wanted| wanted.path == file.as_str());
        self.0.keys().find(|file| !is_known(file)).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_checksum_comes_first() {
        let name: RepositoryName = super::super::DEFAULT_NAME.parse().unwrap();
        let mut pins = Pins::default();
        assert!(pins.of(&name, "config.json").is_some() && pins.of(&name, "modules.json").is_none());
        assert!(pins.of(&"other/encoder".parse().unwrap(), "config.json").is_none());
        let own: Checksum = "AB".repeat(32).parse().unwrap();
        pins.insert("config.json", own);
        assert_eq!(pins.of(&name, "config.json").unwrap().as_str(), "ab".repeat(32));
        assert_eq!(pins.unknown_file(), None);
        pins.insert("conf.json", "0".repeat(64).parse().unwrap());
        assert_eq!(pins.unknown_file(), Some("conf.json"));
        assert!("xyz".parse::<Checksum>().is_err());
        for (_, _, checksum) in KNOWN {
            assert!(checksum.parse::<Checksum>().is_ok());
        }
    }
}
