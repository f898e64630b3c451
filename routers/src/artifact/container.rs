//! The outer form of every artefact: named tensors and one JSON manifest in a safetensors file, under a digest.
//!
//! `__metadata__` has the one key `pointsman`: `{"sha256": …, "manifest": {…}}`. The digest covers the manifest's
//! text as written and every tensor's name and bytes, names ascending; so no bit that matters can change unseen.
//! Must not know what the manifest or the tensors mean.

use std::collections::HashMap;

use safetensors::tensor::{SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::FORMAT_VERSION;
use super::error::ArtifactProblem;
use super::tensors::OwnedTensor;
use crate::json;

/// The one key of the file's metadata.
const KEY: &str = "pointsman";

/// What the metadata holds.
#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    sha256: String,
    #[serde(borrow)]
    manifest: &'a RawValue,
}

/// What the manifest of every kind and version starts with.
#[derive(Deserialize)]
struct Head {
    kind: String,
    format_version: u64,
}

/// A file taken apart and found undamaged.
pub(super) struct Container<'a> {
    pub(super) kind: String,
    /// The manifest's text.
    pub(super) manifest: String,
    pub(super) tensors: SafeTensors<'a>,
}

/// Writes a file; equal parts give equal bytes. `tensors` ascend by name.
pub(super) fn write(manifest: &str, tensors: &[OwnedTensor]) -> Result<Vec<u8>, ArtifactProblem> {
    let malformed = |source: serde_json::Error| ArtifactProblem::Manifest(json::problem_and_place(&source));
    let raw: &RawValue = serde_json::from_str(manifest).map_err(malformed)?;
    let views = tensors.iter().map(|tensor| Ok((tensor.name, tensor.view()?)));
    let views: Vec<(&str, TensorView<'_>)> = views.collect::<Result<_, ArtifactProblem>>()?;
    let digest = digest(manifest, views.iter().map(|(name, view)| (*name, view.data())));
    let envelope = serde_json::to_string(&Envelope { sha256: digest, manifest: raw }).map_err(malformed)?;
    safetensors::serialize(views, Some(HashMap::from([(KEY.to_owned(), envelope)]))).map_err(not_safetensors)
}

/// Takes a file apart and verifies its version and its digest, in this order.
pub(super) fn read(bytes: &[u8]) -> Result<Container<'_>, ArtifactProblem> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(not_safetensors)?;
    let tensors = SafeTensors::deserialize(bytes).map_err(not_safetensors)?;
    let text = header.metadata().as_ref().and_then(|entries| entries.get(KEY));
    let text = text.ok_or(ArtifactProblem::NoManifest)?;
    let malformed = |source: serde_json::Error| ArtifactProblem::Manifest(json::problem_and_place(&source));
    let envelope: Envelope<'_> = serde_json::from_str(text).map_err(malformed)?;
    let manifest = envelope.manifest.get();
    let head: Head = serde_json::from_str(manifest).map_err(malformed)?;
    if head.format_version > FORMAT_VERSION {
        return Err(ArtifactProblem::NewerFormat { found: head.format_version });
    }
    let mut parts: Vec<(&str, &[u8])> = tensors.iter().map(|(name, view)| (name, view.data())).collect();
    parts.sort_unstable_by_key(|(name, _)| *name);
    let found = digest(manifest, parts.into_iter());
    // A fuzzer cannot guess digests, and should see what is behind them.
    if found != envelope.sha256 && !cfg!(fuzzing) {
        return Err(ArtifactProblem::Digest { expected: envelope.sha256, found });
    }
    let manifest = manifest.to_owned();
    Ok(Container { kind: head.kind, manifest, tensors })
}

/// The digest that a file says to be its content's.
pub(super) fn stated_digest(bytes: &[u8]) -> Option<String> {
    let (_, header) = SafeTensors::read_metadata(bytes).ok()?;
    let envelope: Envelope<'_> = serde_json::from_str(header.metadata().as_ref()?.get(KEY)?).ok()?;
    Some(envelope.sha256)
}

/// The tensors of a file whose content is verified elsewhere, or not at all.
pub(super) fn tensors(bytes: &[u8]) -> Result<SafeTensors<'_>, ArtifactProblem> {
    SafeTensors::deserialize(bytes).map_err(not_safetensors)
}

/// SHA-256 in hexadecimal. Every part goes in with its length, so that no byte can move from one to the next.
fn digest<'a>(manifest: &str, tensors: impl Iterator<Item = (&'a str, &'a [u8])>) -> String {
    let mut digest = Sha256::new();
    let mut absorb = |part: &[u8]| {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    };
    absorb(manifest.as_bytes());
    for (name, data) in tensors {
        absorb(name.as_bytes());
        absorb(data);
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn not_safetensors(source: safetensors::SafeTensorError) -> ArtifactProblem {
    ArtifactProblem::NotSafetensors(source.to_string())
}
