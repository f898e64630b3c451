//! TLS on both sides.

use std::sync::Arc;

use pointsman::gateway::reload;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    answers::{answer, chat, chat_stream, done, finish, stream, word},
    certificates::Authority,
    client::{Client, RawClient, post},
    stand::{Setup, Stand},
    upstream::{Gate, Script, Upstream},
};

const PATH: &str = "/v1/chat/completions";

async fn answered(authority: &Authority, demand: bool, fields: &str) -> (Upstream, Stand) {
    let server = authority.server(demand, &[]);
    let upstream = Upstream::start_tls([Script::json(200, &answer("by TLS"))], server).await;
    let stand = Setup::new()
        .model("m", &upstream.base_url(), &format!("timeouts: {{connect: 5s}}, {fields}"))
        .start()
        .await;
    (upstream, stand)
}

#[tokio::test]
async fn an_upstream_is_trusted_by_the_configured_authority() {
    let authority = Authority::new();
    let (_upstream, stand) =
        answered(&authority, false, &format!("tls: {{ca_file: {:?}}}", authority.file())).await;
    let mut reply = stand.chat(chat("m")).await;
    assert_eq!(reply.status, 200);
    assert!(reply.text().await.contains("by TLS"));
}

/// Never in the clear instead.
#[tokio::test]
async fn an_upstream_of_an_unknown_authority_gets_nothing() {
    let (authority, other) = (Authority::new(), Authority::new());
    for fields in [format!("tls: {{ca_file: {:?}}}", other.file()), String::new()] {
        let (upstream, stand) = answered(&authority, false, &fields).await;
        let mut reply = stand.chat(chat("m")).await;
        assert_eq!(reply.status, 502);
        assert_eq!(reply.error().await["code"], "upstream_unreachable");
        upstream.refused_handshake().await;
        assert_eq!(upstream.requests(), 0);
    }
}

#[tokio::test]
async fn an_upstream_with_another_hosts_certificate_gets_nothing() {
    let authority = Authority::new();
    let (upstream, _) = answered(&authority, false, "").await;
    let address = upstream.base_url().replace("127.0.0.1", "127.0.0.2");
    let fields = format!("tls: {{ca_file: {:?}}}", authority.file());
    let stand = Setup::new().model("m", &address, &fields).start().await;
    assert_eq!(stand.chat(chat("m")).await.status, 502);
    assert_eq!(upstream.requests(), 0);
}

#[tokio::test]
async fn a_demanded_client_certificate_is_shown() {
    let authority = Authority::new();
    let ours = authority.identity("ours", &["gateway"]);
    let ca = format!("ca_file: {:?}", authority.file());
    let with = format!("tls: {{{ca}, client_cert: {:?}, client_key: {:?}}}", ours.cert, ours.key);
    let (_upstream, stand) = answered(&authority, true, &with).await;
    assert_eq!(stand.chat(chat("m")).await.status, 200);

    let (upstream, stand) = answered(&authority, true, &format!("tls: {{{ca}}}")).await;
    assert_eq!(stand.chat(chat("m")).await.status, 502, "without one there is no answer");
    assert_eq!(upstream.requests(), 0);
}

async fn listener(authority: &Authority, upstream: &Upstream) -> Stand {
    let identity = authority.identity("listener", &["127.0.0.1"]);
    Setup::new()
        .top(&format!("tls: {{cert: {:?}, key: {:?}}}", identity.cert, identity.key))
        .server("header_timeout: 2s")
        .model("m", &upstream.base_url(), "")
        .start()
        .await
}

async fn handshake(stand: &Stand, config: ClientConfig) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(stand.address).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

#[tokio::test]
async fn the_listener_speaks_http1_and_http2_as_the_client_likes() {
    let authority = Authority::new();
    let upstream = Upstream::start([Script::events(&stream("hi"))]).await;
    let stand = listener(&authority, &upstream).await;
    for (offered, chosen) in
        [(vec!["h2", "http/1.1"], Some("h2")), (vec!["http/1.1"], Some("http/1.1")), (vec![], None)]
    {
        let stream = handshake(&stand, authority.client(&offered)).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), chosen.map(str::as_bytes));
        let mut client =
            if chosen == Some("h2") { Client::http2(stream).await } else { Client::http1(stream).await };
        let mut reply = client.send(post(PATH, chat_stream("m"))).await;
        assert_eq!(reply.status, 200, "{offered:?}");
        assert!(reply.text().await.ends_with(&done()), "{offered:?}");
    }
}

/// One HTTP/2 client, two streams: one leaves, the other goes on.
#[tokio::test]
async fn leaving_one_stream_of_an_http2_client_leaves_the_other() {
    let authority = Authority::new();
    let (gate, never) = (Gate::default(), Gate::default());
    let stays = Script::stream().chunk(word("a")).wait(&gate).chunk(finish(0)).chunk(done()).end();
    let leaves = Script::stream().chunk(word("a")).wait(&never).end();
    let upstream = Upstream::start([stays, leaves]).await;
    let stand = listener(&authority, &upstream).await;
    let mut client = Client::http2(handshake(&stand, authority.client(&["h2"])).await).await;
    let mut first = client.send(post(PATH, chat_stream("m"))).await;
    let mut second = client.send(post(PATH, chat_stream("m"))).await;
    first.until("\"a\"").await;
    second.until("\"a\"").await;
    drop(second);
    upstream.abandoned(1).await;
    gate.open();
    assert!(first.text().await.ends_with(&done()));
    assert_eq!(stand.outcomes().await.into_iter().collect::<Vec<_>>(), [("cancelled", 1), ("ok", 1)]);
    assert_eq!(stand.metric("pointsman_connections", &[]), 1);
}

#[tokio::test]
async fn cleartext_on_the_tls_listener_is_refused() {
    let authority = Authority::new();
    let upstream = Upstream::start([Script::json(200, &answer("hi"))]).await;
    let stand = listener(&authority, &upstream).await;
    let mut client = RawClient::connect(stand.address).await;
    client.send("GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let raw = client.rest_bytes().await;
    assert!(!raw.starts_with(b"HTTP"), "{raw:?}");
    stand
        .eventually("the count", || {
            stand.metric("pointsman_connections_refused_total", &["reason=\"tls\""]) == 1
        })
        .await;
}

/// A handshake that never comes holds a place only so long.
#[tokio::test(start_paused = true)]
async fn a_handshake_that_does_not_come_is_cut() {
    let authority = Authority::new();
    let upstream = Upstream::start([Script::json(200, &answer("hi"))]).await;
    let stand = listener(&authority, &upstream).await;
    let begun = tokio::time::Instant::now();
    assert_eq!(RawClient::connect(stand.address).await.rest_bytes().await, b"");
    assert_eq!(begun.elapsed().as_secs(), 2);
    assert_eq!(stand.metric("pointsman_connections_refused_total", &["reason=\"tls\""]), 1);
}

/// Mutual TLS: who cannot show a certificate of the right authority is no client.
#[tokio::test]
async fn a_client_without_the_demanded_certificate_gets_nothing() {
    let (authority, other) = (Authority::new(), Authority::new());
    let identity = authority.identity("listener", &["127.0.0.1"]);
    let upstream = Upstream::start([Script::json(200, &answer("hi"))]).await;
    let stand = Setup::new()
        .top(&format!(
            "tls: {{cert: {:?}, key: {:?}, client_ca: {:?}}}",
            identity.cert,
            identity.key,
            authority.file()
        ))
        .model("m", &upstream.base_url(), "")
        .start()
        .await;
    let known = authority.identity("client", &["client"]);
    let mut client = Client::http1(handshake(&stand, authority.client_showing(&known)).await).await;
    assert_eq!(client.send(post(PATH, chat("m"))).await.status, 200);
    for config in [authority.client(&[]), authority.client_showing(&other.identity("client", &["client"]))] {
        // In TLS 1.3 the client learns of the refusal with its first read.
        let mut stream = handshake(&stand, config).await;
        let _ = stream.write_all(b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let mut read = Vec::new();
        assert!(stream.read_to_end(&mut read).await.is_err() && read.is_empty());
    }
    assert_eq!(upstream.requests(), 1);
}

/// Renewed under the names it has, for the connections to come; those that are open stay.
#[tokio::test]
async fn a_renewed_certificate_is_shown_after_a_reload() {
    let authority = Authority::new();
    let identity = authority.identity("listener", &["127.0.0.1"]);
    let upstream = Upstream::start([Script::json(200, &answer("hi"))]).await;
    let setup = || {
        Setup::new().top(&format!("tls: {{cert: {:?}, key: {:?}}}", identity.cert, identity.key)).model(
            "m",
            &upstream.base_url(),
            "",
        )
    };
    let stand = setup().start().await;
    let shown = |stream: &TlsStream<TcpStream>| stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    let before = handshake(&stand, authority.client(&[])).await;
    let old = shown(&before);
    authority.identity("listener", &["127.0.0.1"]);
    reload(&stand.app, &setup().config()).unwrap();
    assert_ne!(shown(&handshake(&stand, authority.client(&[])).await), old);
    let mut client = Client::http1(before).await;
    assert_eq!(client.send(post(PATH, chat("m"))).await.status, 200);

    std::fs::write(&identity.cert, "no certificate").unwrap();
    reload(&stand.app, &setup().config()).unwrap_err();
    assert_ne!(shown(&handshake(&stand, authority.client(&[])).await), old, "the last good one");
}
