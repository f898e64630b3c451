use std::path::PathBuf;

use super::*;

/// The MiniLM folder, when the environment says where it is.
fn mini_lm() -> Option<Encoder> {
    let Some(folder) = std::env::var_os("POINTSMAN_ENCODER").map(PathBuf::from) else {
        eprintln!("skipped: set POINTSMAN_ENCODER to a folder holding all-MiniLM-L6-v2");
        return None;
    };
    Some(Encoder::load(&folder).unwrap())
}

#[test]
fn mini_lm_gives_the_golden_vector() {
    let Some(encoder) = mini_lm() else { return };
    let golden = [0.021664, -0.004864, -0.009649, -0.063401, -0.167493, 0.004676, 0.080600, -0.024142];
    let vectors = encoder.embed_batch(&["A man is playing a guitar."]).unwrap();
    assert_eq!((vectors.nrows(), vectors.ncols()), (1, 384));
    for (column, expected) in golden.into_iter().enumerate() {
        assert!((vectors[(0, column)] - expected).abs() < 1e-4, "{column}: {}", vectors[(0, column)]);
    }
}
