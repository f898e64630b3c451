//! Law 9: a request sees one configuration from its beginning to its end; a new one is put in force whole or not at all.

use pointsman::gateway::reload;

use crate::{
    answers::{answer, as_named, chat, chat_stream, done, finish, word},
    certificates::Authority,
    client::{Client, get, post},
    stand::Setup,
    upstream::{Gate, Script, Upstream},
};

#[tokio::test]
async fn a_request_ends_under_the_configuration_it_began_with() {
    let gate = Gate::default();
    let events = [word("a"), word("b"), finish(0), done()];
    let held = Script::stream().chunk(&events[0]).wait(&gate).chunk(events[1..].concat()).end();
    let (old, new) =
        (Upstream::start([held]).await, Upstream::start([Script::json(200, &answer("new"))]).await);
    let mut stand = Setup::new().model("old", &old.base_url(), "").start_shipped().await;
    let mut reply = stand.chat(chat_stream("auto")).await;
    let begun = reply.until("\"a\"").await;

    let next = Setup::new().model("new", &new.base_url(), "").server("max_body_bytes: 1KiB").config();
    reload(&stand.app, &next).unwrap();
    let fresh = stand.chat(chat("auto")).await;
    assert_eq!((fresh.status.as_u16(), fresh.header("x-pointsman-model")), (200, Some("new")));
    assert_eq!(stand.chat(chat("old")).await.status, 404);
    assert_eq!(stand.chat(format!("{}{}", chat("new"), " ".repeat(1024))).await.status, 413);

    gate.open();
    assert_eq!(begun + &reply.text().await, as_named(&events.concat(), "old"));
    let counted = |model: &str| {
        stand.metric("pointsman_requests_total", &["outcome=\"ok\"", &format!("model=\"{model}\"")])
    };
    stand.outcomes().await;
    assert_eq!((counted("old"), counted("new")), (1, 1));
    stand.stop.cancel();
    stand.ended().await;
}

/// A key that was taken away opens nothing, not even on a connection that is open.
#[tokio::test]
async fn keys_are_the_new_configurations() {
    let upstream = Upstream::start([Script::json(200, &answer("x"))]).await;
    let setup = |key: &str| {
        Setup::new()
            .model("m", &upstream.base_url(), "")
            .tenants(&format!("{{t: {{keys: [{{key: {key}}}], pool: [m]}}}}"))
    };
    let stand = setup("tenant-key").start_shipped().await;
    let mut client = stand.client().await;
    let ask = || post("/v1/chat/completions", chat("m"));
    assert_eq!(client.send(ask()).await.status, 200);
    reload(&stand.app, &setup("another-key").config()).unwrap();
    let mut refused = client.send(ask()).await;
    assert_eq!(refused.status, 401);
    refused.error().await;
}

#[tokio::test]
async fn a_configuration_that_does_not_hold_changes_nothing() {
    let upstream = Upstream::start([Script::json(200, &answer("x"))]).await;
    let stand = Setup::new().model("m", &upstream.base_url(), "").start_shipped().await;
    let broken =
        Setup::new().model("m", "https://127.0.0.1:9/v1", "tls: {ca_file: \"/nonesuch.pem\"}").config();
    let error = reload(&stand.app, &broken).unwrap_err().to_string();
    assert!(error.contains("/nonesuch.pem"), "{error}");
    assert_eq!(stand.chat(chat("m")).await.status, 200);
    assert_eq!(Client::connect(stand.admin).await.last(get("/health/ready")).await.status, 200);
}

/// Connections to upstreams outlive a configuration.
#[tokio::test]
async fn connections_to_upstreams_survive_a_reload() {
    let upstream = Upstream::start([Script::json(200, &answer("x"))]).await;
    let setup = || Setup::new().model("m", &upstream.base_url(), "");
    let stand = setup().start_shipped().await;
    // Both configurations' snapshots go out by the process's own clients.
    for _ in 0..3 {
        reload(&stand.app, &setup().config()).unwrap();
        assert_eq!(stand.chat(chat("m")).await.text().await, as_named(&answer("x"), "m"));
    }
    assert_eq!(upstream.connections(), 1);
}

/// Certificates are renewed under the names they have.
#[tokio::test]
async fn renewed_certificates_are_read_again() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (ours, theirs) = (authority.identity("ours", &["gateway"]), other.identity("theirs", &["gateway"]));
    let right = std::fs::read(authority.file()).unwrap();
    let upstream = Upstream::start_tls([Script::json(200, &answer("x"))], authority.server(true, &[])).await;
    let setup = || {
        let files = [authority.file(), ours.cert.clone(), ours.key.clone()];
        let fields = format!(
            "timeouts: {{connect: 5s}}, tls: {{ca_file: {:?}, client_cert: {:?}, client_key: {:?}}}",
            files[0], files[1], files[2]
        );
        Setup::new().model("m", &upstream.base_url(), &fields)
    };
    let (cert, key) = (std::fs::read(&ours.cert).unwrap(), std::fs::read(&ours.key).unwrap());
    let put = |authority_file: &[u8], cert_file: &[u8], key_file: &[u8]| {
        std::fs::write(authority.file(), authority_file).unwrap();
        std::fs::write(&ours.cert, cert_file).unwrap();
        std::fs::write(&ours.key, key_file).unwrap();
    };
    let (wrong, their_cert, their_key) = (
        std::fs::read(other.file()).unwrap(),
        std::fs::read(&theirs.cert).unwrap(),
        std::fs::read(&theirs.key).unwrap(),
    );
    put(&wrong, &cert, &key);
    let stand = setup().start_shipped().await;
    for (what, files, status) in [
        ("another authority", (&wrong, &cert, &key), 502),
        ("the right one, in the same file", (&right, &cert, &key), 200),
        ("a certificate that the upstream does not take", (&right, &their_cert, &their_key), 502),
        ("our own again", (&right, &cert, &key), 200),
        ("nothing new", (&right, &cert, &key), 200),
    ] {
        put(files.0, files.1, files.2);
        reload(&stand.app, &setup().config()).unwrap();
        assert_eq!(stand.chat(chat("m")).await.status, status, "{what}");
    }
}
