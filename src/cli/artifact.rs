//! Artefacts from files: those that a command line names, and those that ship beside the binary.

use std::path::{Path, PathBuf};

use pointsman::routing::beside::{self, FOLDER_VARIABLE, NoneBeside};
use pointsman::routing::embedders;
use pointsman_routers::artifact::Artifact;
use pointsman_routers::shipped::{self, default_artifact};

use super::files;
use super::output::Failure;

/// What `--artifact` names.
pub(super) const EXPECTED: &str = "the artefact of a router, as `pointsman train` writes it";

/// The artefact in a file, or the one in the binary.
pub(super) fn load(file: Option<&Path>) -> Result<Artifact, Failure> {
    let Some(file) = file else { return default_artifact().cloned().map_err(Failure::because) };
    let name = file.display().to_string();
    let bytes = files::read("--artifact", file, EXPECTED)?;
    Artifact::from_bytes(&bytes, &name).map_err(Failure::because)
}

/// The same of a kind: a blend serves as any of its parts.
pub(super) fn load_kind(file: Option<&Path>, kind: Option<&str>) -> Result<Artifact, Failure> {
    match (file, kind) {
        (_, None) => load(file),
        (Some(file), Some(kind)) => {
            load(Some(file))?.of_kind(kind, &file.display().to_string()).cloned().map_err(Failure::because)
        }
        (None, Some(kind)) => match shipped::artifact(kind) {
            Ok(Some(artifact)) => Ok(artifact.clone()),
            Ok(None) => Err(Failure::Usage(format!("the router `{kind}` has no artefact"))),
            Err(error) => Err(Failure::Usage(error.to_string())),
        },
    }
}

/// The file of a kind's artefact for the encoder in a folder, among those that ship beside the binary.
pub(super) fn for_encoder(kind: &str, folder: &Path) -> Result<PathBuf, Failure> {
    let encoder = embedders::encoder(folder).map_err(Failure::because)?;
    beside::find(kind, encoder.fingerprint()).map(|found| found.file).map_err(|error| none_beside(&error))
}

/// What a command says where an artefact is neither in the binary nor beside it.
pub(super) fn none_beside(error: &NoneBeside) -> Failure {
    Failure::Usage(format!(
        "{error}. Give the file with --artifact, or set {FOLDER_VARIABLE} to the folder that it ships in (routers/artifacts in \
         the source tree)"
    ))
}
