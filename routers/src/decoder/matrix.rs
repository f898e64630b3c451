//! A layer's weights, as 32-bit floats or as their upper halves, and their product with tokens' states.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use pulp::{Arch, NullaryFnOnce};

use super::Precision;
use crate::half::{bfloat_to_float, float_to_bfloat};
use crate::vectors;

/// Outputs that are computed at a time: as many weights of SmolLM2's layers stay in the second cache. faer packs all that it is given, and
/// was slower on whole layers than on slices of this height for each of their shapes.
const TILE_OUTPUTS: usize = 96;

/// A matrix of `outputs` rows of `inputs` values each.
pub(super) struct Matrix {
    outputs: usize,
    inputs: usize,
    values: Values,
}

enum Values {
    F32(Vec<f32>),
    Bf16(Vec<u16>),
}

impl Matrix {
    /// `values` row by row; as many as whole rows of `inputs` values.
    pub(super) fn new(values: Vec<f32>, inputs: usize, precision: Precision) -> Self {
        let outputs = values.len() / inputs;
        let values = match precision {
            Precision::F32 => Values::F32(values),
            Precision::Bf16 => Values::Bf16(values.into_iter().map(float_to_bfloat).collect()),
        };
        Self { outputs, inputs, values }
    }

    pub(super) fn outputs(&self) -> usize {
        self.outputs
    }

    pub(super) fn inputs(&self) -> usize {
        self.inputs
    }

    /// Writes a row's values; `None` when there is no such row.
    pub(super) fn row(&self, row: usize, into: &mut [f32]) -> Option<()> {
        let range = row.checked_mul(self.inputs).map(|start| start..start + self.inputs)?;
        match &self.values {
            Values::F32(values) => into.copy_from_slice(values.get(range)?),
            Values::Bf16(values) => widen(values.get(range)?, into),
        }
        Some(())
    }

    /// The product with states that lie one after the other in `from`, into as many outputs, or added to them.
    /// `tile` is scratch.
    pub(super) fn multiply(&self, from: &[f32], into: &mut [f32], accum: Accum, tile: &mut Vec<f32>) {
        let tokens = from.len() / self.inputs;
        let from = MatRef::from_column_major_slice(from, self.inputs, tokens);
        self.multiply_into(
            from,
            MatMut::from_column_major_slice_mut(into, self.outputs, tokens),
            accum,
            tile,
        );
    }

    /// The product with `from` [inputs × tokens].
    pub(super) fn multiply_into(
        &self,
        from: MatRef<'_, f32>,
        mut into: MatMut<'_, f32>,
        accum: Accum,
        tile: &mut Vec<f32>,
    ) {
        for first in (0..self.outputs).step_by(TILE_OUTPUTS) {
            let outputs = TILE_OUTPUTS.min(self.outputs - first);
            let range = first * self.inputs..(first + outputs) * self.inputs;
            let weights = match &self.values {
                Values::F32(values) => &values[range],
                Values::Bf16(values) => {
                    tile.resize(range.len(), 0.0);
                    widen(&values[range], tile);
                    &tile[..]
                }
            };
            let weights = MatRef::from_row_major_slice(weights, outputs, self.inputs);
            matmul(into.as_mut().subrows_mut(first, outputs), accum, weights, from, 1.0, Par::Seq);
        }
        vectors::clear();
    }
}

fn widen(from: &[u16], into: &mut [f32]) {
    Arch::new().dispatch(Widen { from, into });
}

struct Widen<'a> {
    from: &'a [u16],
    into: &'a mut [f32],
}

impl NullaryFnOnce for Widen<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        self.into.iter_mut().zip(self.from).for_each(|(into, from)| *into = bfloat_to_float(*from));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_give_the_product_of_what_they_hold() {
        // Three tiles, the last not whole; all values have few enough bits.
        let (inputs, outputs) = (1 << 10, 2 * TILE_OUTPUTS + 5);
        let value = |place: usize| ((place * 31 + place / 7) % 17) as f32 - 8.0;
        let weights: Vec<f32> = (0..inputs * outputs).map(value).collect();
        let from: Vec<f32> = (0..3 * inputs).map(|place| value(place * 5 + 1) / 8.0).collect();
        let multiply = |precision| {
            let matrix = Matrix::new(weights.clone(), inputs, precision);
            let mut into = vec![1.0; 3 * outputs];
            matrix.multiply(&from, &mut into, Accum::Add, &mut Vec::new());
            let mut row = vec![0.0; inputs];
            assert!(matrix.row(outputs, &mut row).is_none() && matrix.row(150, &mut row).is_some());
            (into, row)
        };
        let (exact, row) = multiply(Precision::F32);
        assert_eq!(row, weights[150 * inputs..151 * inputs]);
        let expected = 1.0 + (0..inputs).map(|i| weights[5 * inputs + i] * from[inputs + i]).sum::<f32>();
        assert!((exact[outputs + 5] - expected).abs() < 1e-2, "{} {expected}", exact[outputs + 5]);
        assert_eq!(multiply(Precision::Bf16), (exact, row));
    }
}
