//! The file of a static embedder: a safetensors file with a manifest, a vocabulary, and a vector per piece.
//!
//! | tensor       | type, shape      | holds                                             |
//! |--------------|------------------|---------------------------------------------------|
//! | `scales`     | F32, pieces      | what a row is multiplied by, the piece's weight included |
//! | `vectors`    | I8, pieces × dim | a row per piece                                   |
//! | `vocabulary` | U8, bytes        | the pieces, a line each                           |
//!
//! `__metadata__` has the one key `manifest`, a JSON object. It holds the digest of the tensors, so its own
//! digest stands for the whole file: that is the embedder's fingerprint.

use std::collections::HashMap;
use std::ops::Range;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::encoder::hexadecimal;
use crate::json;
use crate::wordpiece::{VocabularyError, WordPieceOptions};

const KIND: &str = "static-embedder";
const FORMAT: u32 = 1;
/// Most dimensions of a vector: keeps every offset far from overflow.
const DIM_MAX: usize = 1 << 16;
/// A scale is 0 or within these bounds, so that no sum of rows overflows or vanishes.
const SCALES: Range<f32> = 1e-9..1e6;

/// Why bytes are not a usable table of a static embedder.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TableError {
    /// Not a safetensors file, or cut short.
    #[error("static embedder: not a whole safetensors file: {0}")]
    NotSafetensors(String),
    /// The manifest is missing or malformed.
    #[error("static embedder: manifest: {0}")]
    Manifest(String),
    /// A file of another kind.
    #[error("static embedder: expected a file of kind `{KIND}`, this one is `{0}`")]
    Kind(String),
    /// A file of another version.
    #[error("static embedder: format {found} is not known, expected {FORMAT}")]
    Format {
        /// The file's version.
        found: u32,
    },
    /// A tensor is missing, or has the wrong type or shape.
    #[error("static embedder: tensor `{name}`: {reason}")]
    Tensor {
        /// The tensor.
        name: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The tensors are not those the manifest was written for.
    #[error(
        "static embedder: the tensors' digest is {found}, the manifest says {expected}: the file is damaged"
    )]
    Digest {
        /// What the manifest says.
        expected: String,
        /// What the tensors have.
        found: String,
    },
    /// The vocabulary cannot be used.
    #[error("static embedder: {0}")]
    Vocabulary(#[from] VocabularyError),
}

/// What a table says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    kind: String,
    format: u32,
    pub(super) dim: usize,
    /// Fingerprint of the encoder it was distilled from.
    encoder: String,
    /// How it was distilled, in words and numbers.
    method: String,
    pub(super) unknown: String,
    pub(super) tokenizer: WordPieceOptions,
    /// SHA-256 over the tensors, in the order of their names.
    tensors_sha256: String,
}

/// A table ready to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct StaticTable {
    /// The pieces, none of them with a line break.
    pub vocabulary: Vec<String>,
    /// The piece that stands for unknown words.
    pub unknown: String,
    /// How texts are normalised.
    pub tokenizer: WordPieceOptions,
    /// Dimensions of a vector.
    pub dim: usize,
    /// A row of `dim` values per piece.
    pub vectors: Vec<i8>,
    /// What each row is multiplied by.
    pub scales: Vec<f32>,
    /// Fingerprint of the encoder that it was distilled from.
    pub encoder: String,
    /// How it was distilled, in words and numbers.
    pub method: String,
}

impl StaticTable {
    /// Writes the file; equal tables give equal bytes.
    ///
    /// # Errors
    /// When the parts do not fit together.
    pub fn to_bytes(&self) -> Result<Vec<u8>, TableError> {
        check_dim(self.dim)?;
        let pieces = self.scales.len();
        if self.vectors.len() / self.dim != pieces || !self.vectors.len().is_multiple_of(self.dim) {
            let reason = format!("holds {} values for {pieces} pieces of {}", self.vectors.len(), self.dim);
            return Err(TableError::Tensor { name: "vectors", reason });
        }
        let vocabulary = self.vocabulary.join("\n").into_bytes();
        let scales: Vec<u8> = self.scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
        let vectors: Vec<u8> = self.vectors.iter().map(|value| value.cast_unsigned()).collect();
        let manifest = Manifest {
            kind: KIND.to_owned(),
            format: FORMAT,
            dim: self.dim,
            encoder: self.encoder.clone(),
            method: self.method.clone(),
            unknown: self.unknown.clone(),
            tokenizer: self.tokenizer,
            tensors_sha256: digest(&[&scales, &vectors, &vocabulary]),
        };
        let manifest =
            serde_json::to_string(&manifest).map_err(|source| TableError::Manifest(source.to_string()))?;
        let tensor = |kind, shape, data| {
            TensorView::new(kind, shape, data)
                .map_err(|source| TableError::NotSafetensors(source.to_string()))
        };
        let tensors = [
            ("scales", tensor(Dtype::F32, vec![pieces], &scales)?),
            ("vectors", tensor(Dtype::I8, vec![pieces, self.dim], &vectors)?),
            ("vocabulary", tensor(Dtype::U8, vec![vocabulary.len()], &vocabulary)?),
        ];
        let metadata = HashMap::from([("manifest".to_owned(), manifest)]);
        let bytes = safetensors::serialize(tensors, Some(metadata))
            .map_err(|source| TableError::NotSafetensors(source.to_string()))?;
        // What cannot be read back is not worth writing.
        open(&bytes)?;
        Ok(bytes)
    }
}

/// A table taken apart and verified.
pub(super) struct Opened<'a> {
    pub(super) manifest: Manifest,
    pub(super) fingerprint: String,
    pub(super) vocabulary: Vec<&'a str>,
    /// Where the vectors lie in the file.
    pub(super) vectors: Range<usize>,
    pub(super) scales: Vec<f32>,
}

/// Takes a file apart and verifies it.
pub(super) fn open(bytes: &[u8]) -> Result<Opened<'_>, TableError> {
    let not_safetensors =
        |source: safetensors::SafeTensorError| TableError::NotSafetensors(source.to_string());
    let (header, metadata) = SafeTensors::read_metadata(bytes).map_err(not_safetensors)?;
    let file = SafeTensors::deserialize(bytes).map_err(not_safetensors)?;
    let text = metadata.metadata().as_ref().and_then(|entries| entries.get("manifest"));
    let text = text.ok_or_else(|| TableError::Manifest("missing".to_owned()))?;
    let manifest = Manifest::parse(text)?;

    let scales = tensor(&file, "scales", Dtype::F32)?;
    let vectors = tensor(&file, "vectors", Dtype::I8)?;
    let vocabulary = tensor(&file, "vocabulary", Dtype::U8)?;
    let found = digest(&[scales.data(), vectors.data(), vocabulary.data()]);
    // A fuzzer cannot guess digests, and should see what is behind them.
    if found != manifest.tensors_sha256 && !cfg!(fuzzing) {
        return Err(TableError::Digest { expected: manifest.tensors_sha256, found });
    }
    let pieces = scales.data().len() / size_of::<f32>();
    let expected = [pieces, manifest.dim];
    if vectors.shape() != expected {
        let reason = format!("has shape {:?}, expected {expected:?}", vectors.shape());
        return Err(TableError::Tensor { name: "vectors", reason });
    }
    let vocabulary = lines(vocabulary.data(), pieces)?;
    let scales = read_scales(scales.data())?;
    // The data of a safetensors file starts after the header's length and the header.
    let data = size_of::<u64>() + header;
    let vectors =
        metadata.info("vectors").map_or(0..0, |info| data + info.data_offsets.0..data + info.data_offsets.1);
    let fingerprint = hexadecimal(&Sha256::digest(text));
    Ok(Opened { manifest, fingerprint, vocabulary, vectors, scales })
}

impl Manifest {
    fn parse(text: &str) -> Result<Self, TableError> {
        /// What every version has.
        #[derive(Deserialize)]
        struct Head {
            kind: String,
            format: u32,
        }
        let malformed = |source: serde_json::Error| TableError::Manifest(json::problem_and_place(&source));
        let head: Head = serde_json::from_str(text).map_err(malformed)?;
        if head.kind != KIND {
            return Err(TableError::Kind(head.kind));
        }
        if head.format != FORMAT {
            return Err(TableError::Format { found: head.format });
        }
        let manifest: Self = serde_json::from_str(text).map_err(malformed)?;
        check_dim(manifest.dim)?;
        Ok(manifest)
    }
}

fn check_dim(dim: usize) -> Result<(), TableError> {
    if dim == 0 || dim > DIM_MAX {
        return Err(TableError::Manifest(format!("dim is {dim}, expected 1 to {DIM_MAX}")));
    }
    Ok(())
}

fn tensor<'a>(file: &SafeTensors<'a>, name: &'static str, kind: Dtype) -> Result<TensorView<'a>, TableError> {
    let view = file.tensor(name).map_err(|_| TableError::Tensor { name, reason: "is missing".to_owned() })?;
    if view.dtype() != kind {
        return Err(TableError::Tensor {
            name,
            reason: format!("holds {:?}, expected {kind:?}", view.dtype()),
        });
    }
    Ok(view)
}

fn lines(vocabulary: &[u8], pieces: usize) -> Result<Vec<&str>, TableError> {
    let refuse = |reason: String| TableError::Tensor { name: "vocabulary", reason };
    let text = std::str::from_utf8(vocabulary).map_err(|source| refuse(source.to_string()))?;
    let lines: Vec<&str> = text.split('\n').collect();
    if lines.len() != pieces {
        return Err(refuse(format!("has {} lines, there are {pieces} scales", lines.len())));
    }
    Ok(lines)
}

fn read_scales(data: &[u8]) -> Result<Vec<f32>, TableError> {
    let scales: Vec<f32> = data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    match scales.iter().position(|scale| !(*scale == 0.0 || SCALES.contains(scale))) {
        None => Ok(scales),
        Some(place) => Err(TableError::Tensor {
            name: "scales",
            reason: format!(
                "holds {} at {place}, expected 0 or {} to {}",
                scales[place], SCALES.start, SCALES.end
            ),
        }),
    }
}

fn digest(parts: &[&[u8]]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(Sha256::digest(part));
    }
    hexadecimal(&digest.finalize())
}
