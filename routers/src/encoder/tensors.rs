//! Reading tensors out of a safetensors file as 32-bit floats, checked for shape, type and finiteness.

use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::EncoderError;

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
fn to_floats(view: &TensorView<'_>) -> Option<Vec<f32>> {
    let data = view.data();
    match view.dtype() {
        Dtype::F32 => Some(data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()),
        Dtype::F16 => {
            Some(data.as_chunks().0.iter().map(|bytes| half_to_float(u16::from_le_bytes(*bytes))).collect())
        }
        Dtype::BF16 => Some(
            data.as_chunks()
                .0
                .iter()
                .map(|bytes| f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16))
                .collect(),
        ),
        _ => None,
    }
}

/// IEEE 754 binary16 to binary32, exact.
fn half_to_float(bits: u16) -> f32 {
    let sign = u32::from(bits >> 15) << 31;
    let exponent = u32::from(bits >> 10) & 0x1f;
    let fraction = u32::from(bits) & 0x3ff;
    match exponent {
        // Zero and subnormals: fraction · 2⁻²⁴.
        0 => {
            let magnitude = fraction as f32 * (-24f32).exp2();
            if sign == 0 { magnitude } else { -magnitude }
        }
        0x1f => f32::from_bits(sign | 0x7f80_0000 | (fraction << 13)),
        _ => f32::from_bits(sign | ((exponent + 112) << 23) | (fraction << 13)),
    }
}

#[cfg(test)]
mod tests {
    use super::half_to_float;

    #[test]
    fn half_precision_is_widened_exactly() {
        for (bits, value) in [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0400, 6.103_515_6e-5),
            (0x0001, 5.960_464_5e-8),
            (0x83ff, -6.097_555e-5),
            (0x3555, 0.333_251_95),
            (0x7c00, f32::INFINITY),
        ] {
            assert_eq!(half_to_float(bits).to_bits(), f32::to_bits(value), "{bits:#06x}");
        }
        assert!(half_to_float(0x7e00).is_nan());
    }
}
