//! What a stream may look like and still be whole; and the same faults where a router ranks the models.

use super::*;
use crate::router::Scripted;

/// None of this is a fault.
#[tokio::test]
async fn a_stream_may_come_in_any_shape() {
    let plain = stream("good").concat();
    let by_bytes = plain.as_bytes().iter().fold(Script::stream(), |script, byte| script.chunk([*byte])).end();
    let crlf = Script::stream().chunk(plain.replace('\n', "\r\n")).end();
    let trailers = Script::stream().chunk(&plain).write("0\r\nx-checksum: 1\r\n\r\n");
    let beats = stream("good")
        .iter()
        .fold(Script::stream(), |script, event| script.chunk(": beat\n\n").chunk(event))
        .end();
    let named = Script::stream().chunk(plain.replace("data: {", "event: message\nid: 7\ndata: {")).end();
    for (what, script) in
        [("bytes", by_bytes), ("CRLF", crlf), ("trailers", trailers), ("comments", beats), ("names", named)]
    {
        let primary = upstream([script]).await;
        let stand = stand(&[&primary]).await;
        let text = rescued(&stand, chat_stream("auto"), "1").await;
        assert!(text.trim_end().ends_with("data: [DONE]"), "{what}: {text}");
        assert_eq!(stand.outcomes().await.into_iter().collect::<Vec<_>>(), [("ok", 1)], "{what}");
    }
}

#[tokio::test]
async fn an_event_of_ten_megabytes_passes() {
    let long = "x".repeat(10 << 20);
    let primary = upstream([Script::events(&stream(&long))]).await;
    let stand = stand(&[&primary]).await;
    let text = stand.chat(chat_stream("auto")).await.text().await;
    assert_eq!(text.len(), as_named(&stream(&long).concat(), "primary").len());
    assert!(text.ends_with(&done()));
}

/// The router's own ranking is gone through, whatever the first model does.
#[tokio::test(start_paused = true)]
async fn a_routers_next_best_model_rescues_every_fault() {
    let streams = Script::stream;
    for (what, fault) in [
        ("429", limited("retry-after: 7\r\n")),
        ("500", Script::json(500, "{}")),
        ("503", Script::json(503, "{}")),
        ("401", Script::json(401, "{}")),
        ("reset", Script::empty().reset()),
        ("silence", Script::empty().silence()),
        ("slow first token", streams().chunk(role()).silence()),
        ("cut", streams().chunk(role()).close()),
        ("malformed", streams().chunk(role()).chunk(event("{")).end()),
        ("page", Script::whole(200, "content-type: text/html", b"<html>")),
        ("error with 200", Script::json(200, r#"{"error":{"message":"no","type":"server_error"}}"#)),
        ("gzip", Script::whole(200, "content-encoding: gzip", b"\x1f\x8b")),
        ("context length", too_long()),
    ] {
        let (primary, fallback) = (upstream([fault]).await, upstream([good_stream()]).await);
        let router = Scripted::new("mf", &[("primary", 1.0), ("fallback", 0.0)]);
        let stand = Setup::new()
            .model("primary", &primary.base_url(), TIMEOUTS)
            .model("fallback", &fallback.base_url(), TIMEOUTS)
            .routes("{auto: {router: mf, threshold: 0.5}}")
            .engine("mf", router.engine())
            .start()
            .await;
        let text = rescued(&stand, chat_stream("auto"), "2").await;
        assert_eq!(text, as_named(&stream("good").concat(), "fallback"), "{what}");
        assert_eq!((primary.requests(), fallback.requests()), (1, 1), "{what}");
        assert_eq!(stand.outcomes().await.into_iter().collect::<Vec<_>>(), [("ok", 1)], "{what}");
    }
}
