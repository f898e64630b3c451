//! The way out through an HTTP proxy.

use std::{net::SocketAddr, sync::Arc};

use hyper_util::client::proxy::matcher::Matcher;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::Mutex,
    task::JoinSet,
};

use crate::{
    answers::{answer, chat},
    certificates::Authority,
    stand::Setup,
    upstream::{Script, Upstream},
};

/// A proxy that makes tunnels, and keeps what it was asked for.
struct TunnelProxy {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

impl TunnelProxy {
    /// Answers every CONNECT with this status; a tunnel only with 200.
    async fn start(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&heads);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut tunnels = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                tunnels.spawn(tunnel(stream, status, Arc::clone(&kept)));
            }
        });
        Self { address, heads, _serving: serving }
    }
}

async fn tunnel(mut stream: TcpStream, status: u16, heads: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.split(' ').nth(1).unwrap().to_owned();
    heads.lock().await.push(head);
    stream.write_all(format!("HTTP/1.1 {status} Status\r\n\r\n").as_bytes()).await.unwrap();
    if status == 200 {
        let mut upstream = TcpStream::connect(target).await.unwrap();
        let _ = copy_bidirectional(&mut stream, &mut upstream).await;
    }
}

fn proxy(address: SocketAddr) -> String {
    format!("http://user:pass@{address}")
}

/// `printf user:pass | base64`.
const CREDENTIALS: &str = "Basic dXNlcjpwYXNz";

#[tokio::test]
async fn a_plain_request_goes_to_the_proxy_with_its_whole_url() {
    let proxies = Upstream::start([Script::json(200, &answer("by proxy"))]).await;
    let stand = Setup::new()
        .model("m", "http://upstream.invalid:8000/v1", "query: {a: b}, api_key: own")
        .proxies(Matcher::builder().http(proxy(proxies.address())).build())
        .start()
        .await;
    for _ in 0..2 {
        assert!(stand.chat(chat("m")).await.text().await.contains("by proxy"));
    }
    let got = proxies.request(0).await;
    assert_eq!(got.target(), "http://upstream.invalid:8000/v1/chat/completions?a=b");
    assert_eq!(got.header("host"), Some("upstream.invalid:8000"));
    assert_eq!(got.header("proxy-authorization"), Some(CREDENTIALS));
    assert_eq!(got.header("authorization"), Some("Bearer own"));
    assert_eq!(proxies.request(1).await.connection, 0, "the connection to the proxy is kept");
}

#[tokio::test]
async fn an_encrypted_request_goes_through_a_tunnel() {
    let authority = Authority::new();
    let upstream =
        Upstream::start_tls([Script::json(200, &answer("by tunnel"))], authority.server(false, &[])).await;
    let proxies = TunnelProxy::start(200).await;
    let stand = Setup::new()
        .model("m", &upstream.base_url(), &format!("api_key: own, tls: {{ca_file: {:?}}}", authority.file()))
        .proxies(Matcher::builder().https(proxy(proxies.address)).build())
        .start()
        .await;
    let mut reply = stand.chat(chat("m")).await;
    assert_eq!(reply.status, 200);
    assert!(reply.text().await.contains("by tunnel"));
    let heads = proxies.heads.lock().await.clone();
    assert_eq!(heads.len(), 1);
    assert!(heads[0].starts_with(&format!("CONNECT {} HTTP/1.1\r\n", upstream.address())), "{}", heads[0]);
    assert!(
        heads[0].to_ascii_lowercase().contains("proxy-authorization: basic dxnlcjpwyxnz"),
        "{}",
        heads[0]
    );
    assert!(!heads[0].contains("own"), "the upstream's key is not the proxy's");
    let got = upstream.request(0).await;
    assert_eq!(got.target(), "/v1/chat/completions");
    assert_eq!(got.header("proxy-authorization"), None, "the proxy's key is not the upstream's");
}

/// Never past the proxy instead.
#[tokio::test]
async fn a_proxy_that_refuses_is_a_failed_attempt() {
    let authority = Authority::new();
    let upstream = Upstream::start_tls([Script::json(200, &answer("x"))], authority.server(false, &[])).await;
    let proxies = TunnelProxy::start(407).await;
    let stand = Setup::new()
        .model("m", &upstream.base_url(), &format!("tls: {{ca_file: {:?}}}", authority.file()))
        .proxies(Matcher::builder().https(proxy(proxies.address)).build())
        .start()
        .await;
    let mut reply = stand.chat(chat("m")).await;
    assert_eq!(reply.status, 502);
    assert_eq!(reply.error().await["code"], "upstream_unreachable");
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn an_exempted_host_is_called_directly() {
    let upstream = Upstream::start([Script::json(200, &answer("direct"))]).await;
    let proxies = Upstream::start([Script::json(500, "{}")]).await;
    let stand = Setup::new()
        .model("m", &upstream.base_url(), "")
        .proxies(Matcher::builder().all(proxy(proxies.address())).no("127.0.0.0/8").build())
        .start()
        .await;
    assert!(stand.chat(chat("m")).await.text().await.contains("direct"));
    assert_eq!(upstream.request(0).await.header("proxy-authorization"), None);
    assert_eq!(proxies.connections(), 0);
}
