use super::*;

/// The needed one is found whatever else is there; else all that is there is named, and what to do.
#[test]
fn embedders_are_found_by_their_fingerprints() {
    let embedders = Embedders::only_static().unwrap();
    let fingerprint = static_embedder().unwrap().fingerprint().to_owned();
    assert_eq!(embedders.find(&fingerprint).unwrap().fingerprint(), fingerprint);
    let error = embedders.find("abc").err().unwrap();
    assert_eq!(
        error.to_string(),
        format!("was trained with the embedder abc; here is the one in this binary, {fingerprint}")
    );
    assert!(error.advice("--encoder DIR").starts_with("name the folder of its encoder by `--encoder DIR`"));
    let none = Embedders::default().find(&fingerprint).err().unwrap();
    assert!(none.to_string().ends_with("; here is none"), "{none}");
    assert!(none.advice("x").starts_with("leave out `x`"), "{none:?}");
}

#[test]
fn a_folder_without_an_encoder_is_named() {
    let error = Embedders::with_encoder(Some(Path::new("/nonesuch"))).unwrap_err().to_string();
    assert!(error.contains("the encoder in `/nonesuch` cannot be used: /nonesuch/config.json"), "{error}");
}
