//! What the fuzz targets see of the gate.

use super::framing::Framing;

/// What passes when the bytes come in these pieces and then end: the bytes, the heads among them, and why the next is
/// refused.
#[must_use]
pub fn passed(pieces: &[&[u8]], head_bytes_max: usize) -> (Vec<u8>, u64, Option<String>) {
    let mut framing = Framing::new(head_bytes_max);
    let (mut passed, mut held) = (Vec::new(), Vec::new());
    let ends = pieces.iter().map(|piece| (*piece, false)).chain([(&b""[..], true)]);
    for (piece, is_end) in ends {
        held.extend_from_slice(piece);
        let look = framing.look(&held, is_end);
        passed.extend(held.drain(..look.passing));
        if let Some(fault) = look.fault {
            return (passed, framing.heads(), Some(format!("{fault:?}")));
        }
    }
    (passed, framing.heads(), None)
}
