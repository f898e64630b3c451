//! What servers answer that read texts for a router: refused, or numbers that a router can use.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pointsman::routing::served::{labels_in, vector_in};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(labels) = labels_in(bytes) {
        assert!(labels.iter().all(|label| !label.is_nan()));
    }
    for is_openai in [false, true] {
        let Ok(row) = vector_in(bytes, is_openai) else { continue };
        let length: f32 = (0..row.ncols()).map(|column| row[(0, column)].powi(2)).sum();
        assert!(row.nrows() == 1 && (length == 0.0 || (length - 1.0).abs() < 1e-3), "{length}");
    }
});
