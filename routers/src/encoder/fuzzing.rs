//! What the fuzz targets see of the encoder.

use std::path::Path;

use super::config::Config;

/// The longest sequence that a `config.json` allows; none when it is refused.
#[must_use]
pub fn tokens_max(config: &[u8]) -> Option<usize> {
    Config::parse(Path::new("config.json"), config).ok().map(|config| config.tokens_max())
}
