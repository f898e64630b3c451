//! Numbers to tensors and back, little-endian, types and shapes checked. Values are checked where they are used.
//!
//! Must not know which router the numbers belong to.

use faer::Mat;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::error::ArtifactProblem;

/// A tensor to be written.
pub(super) struct OwnedTensor {
    pub(super) name: &'static str,
    dtype: Dtype,
    shape: Vec<usize>,
    data: Vec<u8>,
}

impl OwnedTensor {
    pub(super) fn f32(name: &'static str, values: &[f32]) -> Self {
        let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { name, dtype: Dtype::F32, shape: vec![values.len()], data }
    }

    pub(super) fn f64(name: &'static str, values: &[f64]) -> Self {
        let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { name, dtype: Dtype::F64, shape: vec![values.len()], data }
    }

    pub(super) fn u32(name: &'static str, values: &[u32]) -> Self {
        let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { name, dtype: Dtype::U32, shape: vec![values.len()], data }
    }

    /// Row by row.
    pub(super) fn matrix(name: &'static str, values: &Mat<f32>) -> Self {
        let data =
            values.row_iter().flat_map(|row| row.iter().flat_map(|value| value.to_le_bytes())).collect();
        Self { name, dtype: Dtype::F32, shape: vec![values.nrows(), values.ncols()], data }
    }

    pub(super) fn i8(name: &'static str, values: &[i8], shape: [usize; 2]) -> Self {
        let data = values.iter().map(|value| value.cast_unsigned()).collect();
        Self { name, dtype: Dtype::I8, shape: shape.to_vec(), data }
    }

    pub(super) fn i16(name: &'static str, values: &[i16], shape: [usize; 2]) -> Self {
        let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { name, dtype: Dtype::I16, shape: shape.to_vec(), data }
    }

    pub(super) fn u8<const WIDTH: usize>(name: &'static str, values: &[[u8; WIDTH]]) -> Self {
        Self {
            name,
            dtype: Dtype::U8,
            shape: vec![values.len(), WIDTH],
            data: values.as_flattened().to_vec(),
        }
    }

    /// A file, as a column of bytes.
    pub(super) fn bytes(name: &'static str, data: Vec<u8>) -> Self {
        Self { name, dtype: Dtype::U8, shape: vec![data.len(), 1], data }
    }

    pub(super) fn view(&self) -> Result<TensorView<'_>, ArtifactProblem> {
        TensorView::new(self.dtype, self.shape.clone(), &self.data).map_err(|source| {
            ArtifactProblem::Tensor { name: self.name, reason: format!("cannot be written ({source})") }
        })
    }
}

/// The tensors of a file, asked for by name, type and shape.
pub(super) struct Tensors<'a>(pub(super) SafeTensors<'a>);

impl<'a> Tensors<'a> {
    pub(super) fn f32(&self, name: &'static str, shape: &[usize]) -> Result<Vec<f32>, ArtifactProblem> {
        let data = self.data(name, Dtype::F32, shape)?;
        Ok(data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    }

    pub(super) fn f64(&self, name: &'static str, shape: &[usize]) -> Result<Vec<f64>, ArtifactProblem> {
        let data = self.data(name, Dtype::F64, shape)?;
        Ok(data.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect())
    }

    pub(super) fn u32(&self, name: &'static str, shape: &[usize]) -> Result<Vec<u32>, ArtifactProblem> {
        let data = self.data(name, Dtype::U32, shape)?;
        Ok(data.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect())
    }

    pub(super) fn i8(&self, name: &'static str, shape: &[usize]) -> Result<Vec<i8>, ArtifactProblem> {
        let data = self.data(name, Dtype::I8, shape)?;
        Ok(data.iter().map(|byte| byte.cast_signed()).collect())
    }

    pub(super) fn i16(&self, name: &'static str, shape: &[usize]) -> Result<Vec<i16>, ArtifactProblem> {
        let data = self.data(name, Dtype::I16, shape)?;
        Ok(data.as_chunks().0.iter().map(|bytes| i16::from_le_bytes(*bytes)).collect())
    }

    pub(super) fn u8<const WIDTH: usize>(
        &self,
        name: &'static str,
        rows: usize,
    ) -> Result<Vec<[u8; WIDTH]>, ArtifactProblem> {
        Ok(self.data(name, Dtype::U8, &[rows, WIDTH])?.as_chunks().0.to_vec())
    }

    /// Whether there is such a tensor.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.tensor(name).is_ok()
    }

    /// A file, as [`OwnedTensor::bytes`] holds it.
    pub(super) fn bytes(&self, name: &'static str) -> Result<&'a [u8], ArtifactProblem> {
        self.data(name, Dtype::U8, &[self.rows(name)?, 1])
    }

    pub(super) fn matrix(&self, name: &'static str, shape: [usize; 2]) -> Result<Mat<f32>, ArtifactProblem> {
        let values = self.f32(name, &shape)?;
        let mut matrix = Mat::zeros(shape[0], shape[1]);
        for (row, values) in matrix.row_iter_mut().zip(values.chunks_exact(shape[1].max(1))) {
            row.iter_mut().zip(values).for_each(|(into, value)| *into = *value);
        }
        Ok(matrix)
    }

    /// A matrix of whatever shape.
    pub(super) fn any_matrix(&self, name: &'static str) -> Result<Mat<f32>, ArtifactProblem> {
        match *self.tensor(name)?.shape() {
            [rows, columns] => self.matrix(name, [rows, columns]),
            ref other => {
                let reason = format!("has shape {other:?}, expected rows and columns");
                Err(ArtifactProblem::Tensor { name, reason })
            }
        }
    }

    /// The rows of a tensor, whatever else its shape.
    pub(super) fn rows(&self, name: &'static str) -> Result<usize, ArtifactProblem> {
        let shape = self.tensor(name)?.shape().to_vec();
        shape
            .first()
            .copied()
            .ok_or_else(|| ArtifactProblem::Tensor { name, reason: "has no rows".to_owned() })
    }

    fn data(&self, name: &'static str, dtype: Dtype, shape: &[usize]) -> Result<&'a [u8], ArtifactProblem> {
        let view = self.tensor(name)?;
        if view.dtype() != dtype || view.shape() != shape {
            let (found, found_shape) = (view.dtype(), view.shape());
            let reason = format!("is {found:?} of shape {found_shape:?}, expected {dtype:?} of {shape:?}");
            return Err(ArtifactProblem::Tensor { name, reason });
        }
        Ok(view.data())
    }

    fn tensor(&self, name: &'static str) -> Result<TensorView<'a>, ArtifactProblem> {
        self.0.tensor(name).map_err(|_| ArtifactProblem::Tensor { name, reason: "is missing".to_owned() })
    }
}
