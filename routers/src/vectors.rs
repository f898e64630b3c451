//! Products of matrices, and what their vector instructions leave behind them.

use std::hint::black_box;

use faer::linalg::matmul::matmul;
use faer::traits::{ComplexField, math_utils::one};
use faer::{Accum, Mat, MatRef, Par};
use pulp::{Arch, NullaryFnOnce};

/// A · B, on one thread: its sums have one order.
pub(crate) fn product<T: ComplexField>(left: MatRef<'_, T>, right: MatRef<'_, T>) -> Mat<T> {
    let mut product = Mat::zeros(left.nrows(), right.ncols());
    matmul(product.as_mut(), Accum::Replace, left, right, one(), Par::Seq);
    clear();
    product
}

/// Clears the upper halves of the vector registers, to be called after faer's products.
///
/// They leave them in use, and on some processors every plain vector instruction (all code that is not compiled for the
/// machine's widest vectors, the C library's exponential among it) then takes several times as long, until they are
/// cleared. Code that is compiled for wide vectors clears them at its end: so a little of it is run. Some nanoseconds.
#[inline(never)]
pub(crate) fn clear() {
    let values = black_box([1_u32; 64]);
    black_box(Arch::new().dispatch(Sum(&values)));
}

struct Sum<'a>(&'a [u32; 64]);

impl NullaryFnOnce for Sum<'_> {
    type Output = u32;

    #[inline(always)]
    fn call(self) -> u32 {
        self.0.iter().fold(0, |sum, value| sum.wrapping_add(*value))
    }
}
