//! Artefacts and tables of static embedders: whatever the bytes, they are refused, or can be used and written again.
//! Built by `cargo fuzz`, the readers do not check the digests, which no mutation would get past.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pointsman_routers::{Router, artifact::Artifact, baseline::BestSingle, embed::StaticEmbedder};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(artifact) = Artifact::from_bytes(bytes, "fuzz") {
        let written = artifact.to_bytes().expect("what was read can be written");
        assert_eq!(Artifact::from_bytes(&written, "fuzz").expect("and read again"), artifact);
        route(&*artifact.router(), &artifact);
        route(&BestSingle::new(&artifact), &artifact);
    }
    if let Ok(table) = StaticEmbedder::load(bytes.to_vec()) {
        for text in ["", "a b ##c é 中 zzz", "A\u{301}"] {
            assert!(table.embed(text).iter().all(|value| value.is_finite()));
        }
    }
});

/// Skills are finite, or there is an error.
fn route(router: &dyn Router, artifact: &Artifact) {
    let names = artifact.ratings().models.iter().take(4);
    let candidates: Vec<_> = names.filter_map(|name| router.place(name, Some(1100.0))).collect();
    for candidate in &candidates {
        let _ = router.prior(candidate);
    }
    if let Ok(calibration) = router.calibration(&candidates) {
        assert_eq!(calibration.skills.ncols(), candidates.len());
        assert!(calibration.skills.col_iter().all(|column| column.iter().all(|skill| skill.is_finite())));
    }
}
