//! The types of tensors that are read: how many values a block holds, in how many bytes.

/// A tensor's type, by the names of ggml.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 32-bit floats.
    F32,
    /// 16-bit floats of IEEE 754.
    F16,
    /// The upper halves of 32-bit floats.
    BF16,
    /// Blocks of 32: 8-bit whole numbers and a scale.
    Q8_0,
    /// Blocks of 32: 4-bit whole numbers around zero and a scale.
    Q4_0,
    /// Blocks of 32: 4-bit whole numbers, a scale and a least value.
    Q4_1,
    /// Blocks of 256: 4-bit whole numbers, and a 6-bit scale and least value for each 32.
    Q4K,
    /// Blocks of 256: 6-bit whole numbers around zero, and an 8-bit scale for each 16.
    Q6K,
}

/// The names of all that are read.
pub(super) const SUPPORTED: &str = "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q4_K, Q6_K";

impl Kind {
    /// The type of this number in a file.
    pub(super) fn numbered(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::F32,
            1 => Self::F16,
            2 => Self::Q4_0,
            3 => Self::Q4_1,
            8 => Self::Q8_0,
            12 => Self::Q4K,
            14 => Self::Q6K,
            30 => Self::BF16,
            _ => return None,
        })
    }

    /// Values in a block.
    #[must_use]
    pub fn block_values(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::BF16 => 1,
            Self::Q8_0 | Self::Q4_0 | Self::Q4_1 => 32,
            Self::Q4K | Self::Q6K => 256,
        }
    }

    /// Bytes of a block.
    #[must_use]
    pub fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
            Self::Q8_0 => 34,
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q4K => 144,
            Self::Q6K => 210,
        }
    }
}

/// The names of types that are told apart only to say what a file holds.
pub(super) fn name(number: u32) -> Option<&'static str> {
    const NAMES: [(u32, &str); 14] = [
        (6, "Q5_0"),
        (7, "Q5_1"),
        (9, "Q8_1"),
        (10, "Q2_K"),
        (11, "Q3_K"),
        (13, "Q5_K"),
        (15, "Q8_K"),
        (16, "IQ2_XXS"),
        (17, "IQ2_XS"),
        (18, "IQ3_XXS"),
        (20, "IQ4_NL"),
        (23, "IQ4_XS"),
        (24, "I8"),
        (28, "F64"),
    ];
    NAMES.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
}
