//! Reading tensors out of a safetensors file as 32-bit floats, checked for shape, type and finiteness.

use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::EncoderError;
use crate::half::{bfloat_to_float, half_to_float};

/// An opened file of weights.
pub(super) struct Tensors<'a> {
    path: &'a Path,
    file: SafeTensors<'a>,
    prefix: &'static str,
}

impl<'a> Tensors<'a> {
    /// Opens a file; its tensors start with the first of `prefixes` under which `probe` is found.
    pub(super) fn open(
        path: &'a Path,
        bytes: &'a [u8],
        prefixes: &[&'static str],
        probe: &str,
    ) -> Result<Self, EncoderError> {
        let file = SafeTensors::deserialize(bytes)
            .map_err(|source| EncoderError::Weights { path: path.to_owned(), reason: source.to_string() })?;
        let present = |prefix: &&str| file.tensor(&format!("{prefix}{probe}")).is_ok();
        let prefix = prefixes.iter().copied().find(present).unwrap_or_default();
        Ok(Self { path, file, prefix })
    }

    /// A tensor of exactly this shape, row-major.
    pub(super) fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, EncoderError> {
        let name = format!("{}{name}", self.prefix);
        let view = self.file.tensor(&name).map_err(|_| self.refuse(&name, "is missing".to_owned()))?;
        if view.shape() != shape {
            return Err(self.refuse(&name, format!("has shape {:?}, expected {shape:?}", view.shape())));
        }
        let values = to_floats(&view).ok_or_else(|| {
            self.refuse(&name, format!("holds {:?}, expected F32, F16 or BF16", view.dtype()))
        })?;
        if let Some(place) = values.iter().position(|value| !value.is_finite()) {
            return Err(self.refuse(&name, format!("holds {} at {place}", values[place])));
        }
        Ok(values)
    }

    fn refuse(&self, name: &str, reason: String) -> EncoderError {
        EncoderError::Tensor { path: self.path.to_owned(), name: name.to_owned(), reason }
    }
}

/// The tensor's values widened to 32 bits; `None` for types that are not floats of at most 32 bits.
pub(crate) fn to_floats(view: &TensorView<'_>) -> Option<Vec<f32>> {
    let data = view.data();
    match view.dtype() {
        Dtype::F32 => Some(data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()),
        Dtype::F16 => {
            Some(data.as_chunks().0.iter().map(|bytes| half_to_float(u16::from_le_bytes(*bytes))).collect())
        }
        Dtype::BF16 => {
            Some(data.as_chunks().0.iter().map(|bytes| bfloat_to_float(u16::from_le_bytes(*bytes))).collect())
        }
        _ => None,
    }
}
