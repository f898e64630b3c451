//! Law 12: secrets are seen nowhere, and an upstream's refusal of our key is our own fault.

use crate::{
    answers::{answer, chat, chat_stream, event, stream, word},
    client::{KEY, post},
    logs::Logs,
    stand::{Setup, Stand},
    upstream::{Script, Upstream},
};

/// Everything in these configurations that is nobody's business.
const SECRETS: [&str; 5] =
    ["sk-upstream-secret", "secret-header-value", "secret-query-value", KEY, "sk-client-secret"];

fn setup(base_url: &str) -> Setup {
    Setup::new().model(
        "m",
        base_url,
        "api_key: sk-upstream-secret, headers: {x-team: secret-header-value}, query: {sig: secret-query-value}, timeouts: {response_headers: 1s, first_token: 1s, between_tokens: 1s}",
    )
}

fn assert_clean(what: &str, text: &str) {
    for secret in SECRETS {
        let found = text.find(secret).map(|at| {
            let start = text[..at].rfind('\n').map_or(0, |line| line + 1);
            text[start..].lines().next().unwrap_or_default()
        });
        assert_eq!(found, None, "{what} tells {secret}");
    }
}

/// Asks with a good key and a bad one, and looks into all that comes out.
async fn probe(stand: &Stand, what: &str) {
    for request in [chat("m"), chat_stream("m"), chat("nonesuch"), "{".to_owned()] {
        let mut reply = stand.chat(request).await;
        let headers = format!("{:?}", reply.headers);
        assert_clean(what, &headers);
        let body = String::from_utf8(reply.bytes().await.unwrap_or_default()).unwrap();
        assert_clean(what, &body);
    }
    let mut request = post("/v1/chat/completions", chat("m"));
    request.headers_mut().insert("authorization", "Bearer sk-client-secret".parse().unwrap());
    let mut reply = stand.client().await.last(request).await;
    assert_eq!(reply.status, 401);
    assert_clean(what, &reply.text().await);
    assert_clean(what, &stand.metrics());
    assert_clean(what, &format!("{:?}", stand.app));
    assert_clean(what, &format!("{:#?}", stand.app.snapshot.load_full()));
}

#[tokio::test(start_paused = true)]
async fn no_secret_is_logged_answered_or_measured() {
    let (logs, _guard) = Logs::capture();
    // Some servers repeat in their errors what they were sent.
    let echo = r#"{"error":{"message":"bad key sk-upstream-secret in header secret-header-value of ?sig=secret-query-value","type":"x"}}"#;
    for (what, script) in [
        ("an answer", Script::json(200, &answer("hi"))),
        ("a stream", Script::events(&stream("hi"))),
        ("a refused key", Script::json(401, echo)),
        ("a failure", Script::json(500, echo)),
        ("a rate limit", Script::json(429, echo)),
        ("a refusal", Script::json(400, echo)),
        ("an error with status 200", Script::json(200, echo)),
        ("an error in the stream", Script::stream().chunk(word("a")).chunk(event(echo)).end()),
        ("a page", Script::whole(200, "content-type: text/html", b"<html>sk-upstream-secret</html>")),
        ("a redirect", Script::whole(302, "location: http://x/?sig=secret-query-value", b"")),
        ("a reset", Script::empty().reset()),
        ("not HTTP", Script::empty().write("sk-upstream-secret\r\n\r\n").close()),
        ("silence", Script::empty().silence()),
    ] {
        let upstream = Upstream::start([script]).await;
        probe(&setup(&upstream.base_url()).start().await, what).await;
        let got = upstream.request(0).await;
        assert!(
            got.head.contains("Bearer sk-upstream-secret") && got.target().contains("secret-query-value")
        );
    }
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    probe(&setup(&format!("http://{nobody}/v1")).start().await, "nobody there").await;
    let text = logs.text();
    assert!(text.contains("attempt failed"), "nothing was captured");
    assert_clean("the log", &text);
}

#[test]
fn no_secret_is_in_a_debug_print_of_the_configuration() {
    let config = setup("http://127.0.0.1:9/v1").config();
    assert_clean("the configuration", &format!("{config:?}"));
    let clients = pointsman::upstream::client::Clients::new(
        hyper_util::client::proxy::matcher::Matcher::builder()
            .http("http://user:sk-upstream-secret@127.0.0.1:1")
            .build(),
    );
    assert_clean("the clients", &format!("{clients:?}"));
    let model = pointsman::upstream::model::Model::prepare("m", &config.models["m"], &clients).unwrap();
    assert_clean("a model", &format!("{model:?}"));
}

#[tokio::test]
async fn an_upstreams_refusal_of_our_key_is_never_the_clients() {
    let good = Upstream::start([Script::json(200, &answer("good"))]).await;
    for status in [401, 402, 403, 404, 405, 407, 421, 426] {
        let refuses =
            Upstream::start([Script::json(status, r#"{"error":{"message":"Incorrect API key"}}"#)]).await;
        let stand =
            Setup::new().model("a", &refuses.base_url(), "").model("b", &good.base_url(), "").start().await;
        let reply = stand.chat(chat("auto")).await;
        assert_eq!((reply.status.as_u16(), reply.header("x-pointsman-model")), (200, Some("b")), "{status}");
        for request in [chat("a"), chat_stream("a")] {
            let mut reply = stand.chat(request).await;
            assert_eq!(reply.status, 502, "{status}");
            let error = reply.error().await;
            assert_eq!(error["code"], "upstream_misconfigured");
            assert!(!error["message"].as_str().unwrap().contains("Incorrect"), "{error}");
        }
        assert_eq!(
            stand.outcomes().await.into_iter().collect::<Vec<_>>(),
            [("ok", 1), ("upstream_error", 2)]
        );
    }
}
