//! From a block's bytes to floats, as ggml defines its types (`ggml-common.h`, `ggml-quants.c`).

use super::kind::Kind;
use crate::half::{bfloat_to_float, half_to_float};

/// The first `count` values of a tensor of this type.
pub(super) fn widen(kind: Kind, data: &[u8], count: usize) -> Vec<f32> {
    let mut values = Vec::with_capacity(count);
    match kind {
        Kind::F32 => each(data, |bytes| values.push(f32::from_le_bytes(*bytes))),
        Kind::F16 => each(data, |bytes| values.push(half(bytes))),
        Kind::BF16 => each(data, |bytes| values.push(bfloat_to_float(u16::from_le_bytes(*bytes)))),
        Kind::Q8_0 => each(data, |block| values.extend(q8_0(block))),
        Kind::Q4_0 => each(data, |block| values.extend(q4_0(block))),
        Kind::Q4_1 => each(data, |block| values.extend(q4_1(block))),
        Kind::Q4K => each(data, |block| values.extend(q4_k(block))),
        Kind::Q6K => each(data, |block| values.extend(q6_k(block))),
    }
    values
}

fn each<const N: usize>(data: &[u8], block: impl FnMut(&[u8; N])) {
    data.as_chunks().0.iter().for_each(block);
}

fn half(bytes: &[u8; 2]) -> f32 {
    half_to_float(u16::from_le_bytes(*bytes))
}

/// x = scale · q.
fn q8_0(block: &[u8; 34]) -> [f32; 32] {
    let [low, high, quants @ ..] = block;
    let scale = half(&[*low, *high]);
    quants.map(|quant| scale * f32::from(quant.cast_signed()))
}

/// x = scale · (q − 8); the first 16 values are the low halves of the bytes, the last 16 the high ones.
fn q4_0(block: &[u8; 18]) -> [f32; 32] {
    let [low, high, quants @ ..] = block;
    let scale = half(&[*low, *high]);
    halves(quants).map(|quant| scale * (f32::from(quant) - 8.0))
}

/// x = scale · q + least, in the order of [`q4_0`].
fn q4_1(block: &[u8; 20]) -> [f32; 32] {
    let [scale_low, scale_high, least_low, least_high, quants @ ..] = block;
    let (scale, least) = (half(&[*scale_low, *scale_high]), half(&[*least_low, *least_high]));
    halves(quants).map(|quant| scale * f32::from(quant) + least)
}

fn halves(quants: &[u8; 16]) -> [u8; 32] {
    std::array::from_fn(|place| if place < 16 { quants[place] & 0xf } else { quants[place - 16] >> 4 })
}

/// x = scale · scaleᵢ · q − least · leastᵢ for group i of 32. Two groups share 32 bytes: the low halves are one's, the
/// high halves the next one's.
fn q4_k(block: &[u8; 144]) -> [f32; 256] {
    let (scale, least) = (half(&[block[0], block[1]]), half(&[block[2], block[3]]));
    let (packed, quants) = (&block[4..16], &block[16..]);
    std::array::from_fn(|place| {
        let (group, within) = (place / 32, place % 32);
        let (group_scale, group_least) = q4_k_group(packed, group);
        let byte = quants[group / 2 * 32 + within];
        let quant = if group % 2 == 0 { byte & 0xf } else { byte >> 4 };
        scale * f32::from(group_scale) * f32::from(quant) - least * f32::from(group_least)
    })
}

/// The 6-bit scale and least value of a group. The first four have bytes of their own; the others' low four bits share
/// a byte, and their high two are the upper bits of the first ones' bytes.
fn q4_k_group(packed: &[u8], group: usize) -> (u8, u8) {
    if group < 4 {
        (packed[group] & 63, packed[group + 4] & 63)
    } else {
        let low = packed[group + 4];
        ((low & 0xf) | (packed[group - 4] >> 6 << 4), (low >> 4) | (packed[group] >> 6 << 4))
    }
}

/// x = scale · scaleᵢ · (q − 32) for group i of 16. Within each 128 values, four runs of 32 share 64 bytes of low
/// halves and 32 bytes of two high bits.
fn q6_k(block: &[u8; 210]) -> [f32; 256] {
    let (low, high, scales) = (&block[..128], &block[128..192], &block[192..208]);
    let scale = half(&[block[208], block[209]]);
    std::array::from_fn(|place| {
        let (half, run, within) = (place / 128, place % 128 / 32, place % 32);
        let low = low[half * 64 + run % 2 * 32 + within] >> (run / 2 * 4) & 0xf;
        let high = high[half * 32 + within] >> (run * 2) & 3;
        let quant = f32::from(low | (high << 4)) - 32.0;
        scale * f32::from(scales[place / 16].cast_signed()) * quant
    })
}
