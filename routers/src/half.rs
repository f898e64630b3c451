//! Sixteen-bit floats: the two kinds that files of weights are written in.

/// IEEE 754 binary16 to binary32, exact.
pub(crate) fn half_to_float(bits: u16) -> f32 {
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

/// bfloat16 to binary32, exact: the upper half of the same bits.
#[inline(always)]
pub(crate) fn bfloat_to_float(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// The bfloat16 nearest to a finite number, ties to even.
pub(crate) fn float_to_bfloat(value: f32) -> u16 {
    let bits = value.to_bits();
    (bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::{bfloat_to_float, float_to_bfloat, half_to_float};

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

    #[test]
    fn bfloats_are_the_nearest() {
        for bits in (0..0x7f80).chain(0x8000..0xff80) {
            assert_eq!(float_to_bfloat(bfloat_to_float(bits)), bits);
        }
        // 1 + 2⁻⁸ lies half-way between 1 and 1 + 2⁻⁷; 1 + 3·2⁻⁸ between 1 + 2⁻⁷ and 1 + 2⁻⁶.
        assert_eq!(float_to_bfloat(1.0 + 1.0 / 256.0), 0x3f80);
        assert_eq!(float_to_bfloat(1.011_718_8), 0x3f82);
        assert_eq!(float_to_bfloat(1.004), 0x3f81);
    }
}
