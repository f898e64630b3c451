//! A configuration's text: no bytes break the reader, and no finding shows what a variable holds. No file is read.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use pointsman::config::{Config, Input};

const VALUE: &str = "value-of-a-variable";

fuzz_target!(|bytes: &[u8]| {
    let environment =
        |name: &str| name.starts_with(|first: char| first.is_ascii_uppercase()).then(|| VALUE.to_owned());
    let input =
        Input { name: "fuzz.yaml", bytes, directory: Path::new("/nowhere"), environment: &environment };
    let findings = match Config::parse(&input) {
        Ok(loaded) => {
            assert!(!loaded.config.models.is_empty());
            assert!(!loaded.config.tenants.is_empty() || !loaded.config.admin_keys.is_empty());
            assert!(!loaded.warnings.has_errors());
            loaded.warnings
        }
        Err(findings) => {
            assert!(findings.has_errors());
            findings
        }
    };
    assert!(!findings.to_string().contains(VALUE) || String::from_utf8_lossy(bytes).contains(VALUE));
});
