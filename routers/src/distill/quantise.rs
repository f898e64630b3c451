//! Vectors to bytes: a row's largest entry becomes ±127.

use faer::MatRef;

/// Rounds each row to signed bytes and gives the scales that undo it. Rows of zeros keep scale 0.
pub(super) fn to_bytes(rows: MatRef<'_, f64>) -> (Vec<i8>, Vec<f32>) {
    let mut bytes = Vec::with_capacity(rows.nrows() * rows.ncols());
    let mut scales = Vec::with_capacity(rows.nrows());
    for row in rows.row_iter() {
        let largest = row.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
        let scale = (largest / 127.0) as f32;
        scales.push(scale);
        let inverse = if scale > 0.0 { 1.0 / f64::from(scale) } else { 0.0 };
        bytes.extend(row.iter().map(|value| (value * inverse).round().clamp(-127.0, 127.0) as i8));
    }
    (bytes, scales)
}

#[cfg(test)]
mod tests {
    use faer::mat;

    use super::to_bytes;

    #[test]
    fn rounding_is_within_half_a_step() {
        let rows = mat![[0.5, -1.27, 0.004], [0.0, 0.0, 0.0], [1e3, 1.0, -1e3]];
        let (bytes, scales) = to_bytes(rows.as_ref());
        assert_eq!(bytes[1], -127);
        assert_eq!((scales[1], &bytes[3..6]), (0.0, &[0i8, 0, 0][..]));
        for row in 0..3 {
            for column in 0..3 {
                let back = f64::from(bytes[3 * row + column]) * f64::from(scales[row]);
                assert!((back - rows[(row, column)]).abs() <= 0.5001 * f64::from(scales[row]));
            }
        }
    }
}
