//! The configuration: what is accepted, and that everything wrong is said at once, in its place.

mod accepted;
mod findings;
mod hostile;
mod secrets;

use std::path::{Path, PathBuf};

use pointsman::config::{Config, Diagnostics, Input, Loaded};

/// Variables that the tests' configurations may use.
fn environment(name: &str) -> Option<String> {
    let value = match name {
        "OPENAI_API_KEY" => "sk-very-secret-upstream-key",
        "CI_KEY" => "very-secret-tenant-key",
        "PORT" => "9000",
        "EMPTY" => "",
        _ => return None,
    };
    Some(value.to_owned())
}

fn parse_in(directory: &Path, bytes: &[u8]) -> Result<Loaded, Diagnostics> {
    Config::parse(&Input { name: "config.yaml", bytes, directory, environment: &environment })
}

fn parse(text: &str) -> Result<Loaded, Diagnostics> {
    parse_in(Path::new("/etc/pointsman"), text.as_bytes())
}

fn accept(text: &str) -> Config {
    match parse(text) {
        Ok(loaded) => loaded.config,
        Err(found) => panic!("refused:\n{found}"),
    }
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
