//! Artefacts from files: those that a command line names, and those that ship beside the binary.

use std::path::{Path, PathBuf};

use pointsman_routers::artifact::Artifact;
use pointsman_routers::shipped::{self, default_artifact};

use super::output::Failure;

/// The artefact in a file, or the one in the binary.
pub(super) fn load(file: Option<&Path>) -> Result<Artifact, Failure> {
    let Some(file) = file else { return default_artifact().cloned().map_err(Failure::because) };
    let name = file.display().to_string();
    let bytes = std::fs::read(file).map_err(|error| Failure::Because(format!("{name}: {error}")))?;
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

/// Names the folder of the artefacts that ship beside the binary.
const FOLDER_VARIABLE: &str = "POINTSMAN_ARTIFACTS";

/// The artefact of a kind and an embedder among those that ship beside the binary: in the folder that
/// POINTSMAN_ARTIFACTS names, in `artifacts` or `../share/pointsman/artifacts` beside the program, or in the
/// `routers/artifacts` of the source tree that it was built in or runs in.
pub(super) fn beside(kind: &str, fingerprint: &str) -> Option<(PathBuf, Artifact)> {
    let named = std::env::var_os(FOLDER_VARIABLE).map(PathBuf::from);
    let program = std::env::current_exe().ok();
    let of_program = ["artifacts", "../share/pointsman/artifacts", "../../routers/artifacts"];
    let folder = program.as_deref().and_then(Path::parent);
    let near = folder.into_iter().flat_map(|folder| of_program.map(|path| folder.join(path)));
    let folders = named.into_iter().chain(near).chain([PathBuf::from("routers/artifacts")]);
    folders.filter_map(|folder| in_folder(&folder, kind, fingerprint)).next()
}

/// The first such file of a folder, by name, or the first blend with such a part. What is no artefact is passed over.
fn in_folder(folder: &Path, kind: &str, fingerprint: &str) -> Option<(PathBuf, Artifact)> {
    let entries = std::fs::read_dir(folder).ok()?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "safetensors"));
    files.sort_unstable();
    files.into_iter().find_map(|file| {
        let artifact = load(Some(&file)).ok()?;
        let of_kind = artifact.of_kind(kind, "").ok()?;
        (of_kind.embedder_fingerprint() == fingerprint).then(|| (file, of_kind.clone()))
    })
}
