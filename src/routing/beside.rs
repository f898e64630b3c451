//! The artefacts that ship beside the binary: routers that read an encoder, which the binary does not hold.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use pointsman_routers::artifact::Artifact;

/// Names the folder of the artefacts that ship beside the binary.
pub const FOLDER_VARIABLE: &str = "POINTSMAN_ARTIFACTS";

/// An artefact that was found.
#[derive(Debug)]
pub struct Beside {
    /// Its file.
    pub file: PathBuf,
    /// What is in it, or in the part of it that was looked for.
    pub artifact: Artifact,
    /// The version of the file, as [`Artifact::version`] has it.
    pub version: Option<String>,
}

/// There is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoneBeside {
    kind: String,
    /// Where one was looked for.
    folders: Vec<PathBuf>,
}

impl fmt::Display for NoneBeside {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folders: Vec<String> = self.folders.iter().map(|folder| folder.display().to_string()).collect();
        write!(
            formatter,
            "no artefact of a `{}` router that reads this embedder is in any of these folders: {}",
            self.kind,
            folders.join(", ")
        )
    }
}

impl std::error::Error for NoneBeside {}

/// The artefact of a kind and an embedder among those that ship beside the binary: in the folder that
/// POINTSMAN_ARTIFACTS names, in `artifacts` or `../share/pointsman/artifacts` beside the program, or in the
/// `routers/artifacts` of the source tree that it was built in or runs in.
///
/// # Errors
/// When there is none.
pub fn find(kind: &str, fingerprint: &str) -> Result<Beside, NoneBeside> {
    let folders = folders();
    let found = folders.iter().find_map(|folder| in_folder(folder, kind, fingerprint));
    found.ok_or_else(|| NoneBeside { kind: kind.to_owned(), folders })
}

fn folders() -> Vec<PathBuf> {
    let named = std::env::var_os(FOLDER_VARIABLE).map(PathBuf::from);
    let program = std::env::current_exe().ok();
    let of_program = ["artifacts", "../share/pointsman/artifacts", "../../routers/artifacts"];
    let folder = program.as_deref().and_then(Path::parent);
    let near = folder.into_iter().flat_map(|folder| of_program.map(|path| folder.join(path)));
    named.into_iter().chain(near).chain([PathBuf::from("routers/artifacts")]).collect()
}

/// The first such file of a folder, by name, or the first blend with such a part. What is no artefact is passed over.
fn in_folder(folder: &Path, kind: &str, fingerprint: &str) -> Option<Beside> {
    let entries = std::fs::read_dir(folder).ok()?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "safetensors"));
    files.sort_unstable();
    files.into_iter().find_map(|file| {
        let bytes = std::fs::read(&file).ok()?;
        let artifact = Artifact::from_bytes(&bytes, &file.display().to_string()).ok()?;
        let of_kind = artifact.of_kind(kind, "").ok()?;
        let fits = of_kind.embedder_fingerprint() == fingerprint;
        fits.then(|| Beside { file, artifact: of_kind.clone(), version: Artifact::version(&bytes) })
    })
}
