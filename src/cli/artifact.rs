//! Artefacts from files.

use std::path::Path;

use pointsman_routers::artifact::Artifact;
use pointsman_routers::shipped::default_artifact;

use super::output::Failure;

/// The artefact in a file, or the one in the binary.
pub(super) fn load(file: Option<&Path>) -> Result<Artifact, Failure> {
    let Some(file) = file else { return default_artifact().cloned().map_err(Failure::because) };
    let name = file.display().to_string();
    let bytes = std::fs::read(file).map_err(|error| Failure::Because(format!("{name}: {error}")))?;
    Artifact::from_bytes(&bytes, &name).map_err(Failure::because)
}
