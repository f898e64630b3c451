//! The faults of upstreams, one test for each, seen from both sides: what the client got, what the upstreams saw, and when.
//!
//! Time is virtual: it jumps to the next timer whenever nothing else is to be done.

mod alone;
mod goaway;
mod late;
mod shapes;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    answers::{answer, as_named, chat, chat_stream, done, event, finish, role, stream, usage, word},
    client::{Client, KEY, RawClient, get},
    stand::{Setup, Stand},
    upstream::{Gate, Script, Upstream, http2},
};

pub(super) const TIMEOUTS: &str =
    "timeouts: {connect: 1s, response_headers: 5s, first_token: 10s, between_tokens: 3s}";

/// A list of models, no router: the whole suite holds for it.
pub(super) async fn stand(upstreams: &[&Upstream]) -> Stand {
    stand_with(upstreams, "").await
}

pub(super) async fn stand_with(upstreams: &[&Upstream], route: &str) -> Stand {
    let mut setup = Setup::new();
    for (name, upstream) in ["primary", "fallback"].into_iter().zip(upstreams) {
        setup = setup.model(name, &upstream.base_url(), TIMEOUTS);
    }
    let names = ["primary", "fallback"][..upstreams.len()].join(", ");
    setup.routes(&format!("{{auto: {{models: [{names}], {route}}}}}")).start().await
}

pub(super) fn good() -> Script {
    Script::json(200, &answer("good"))
}

pub(super) fn good_stream() -> Script {
    Script::events(&stream("good"))
}

pub(super) fn limited(retry_after: &str) -> Script {
    let error = r#"{"error":{"message":"slow down","type":"rate_limit_error","code":"rate_limit_exceeded"}}"#;
    Script::whole(
        429,
        &format!("content-type: application/json\r\n{retry_after}x-from: limits"),
        error.as_bytes(),
    )
}

pub(super) async fn upstream(scripts: impl Into<Vec<Script>>) -> Upstream {
    Upstream::start(scripts).await
}

/// Asks, and gives the whole text of an answer that must be one.
pub(super) async fn rescued(stand: &Stand, body: String, attempts: &str) -> String {
    let mut reply = stand.chat(body).await;
    let text = reply.text().await;
    assert_eq!(reply.status, 200, "{text}");
    assert_eq!(reply.header("x-pointsman-attempts"), Some(attempts), "{text}");
    assert!(text.contains("good"), "{text}");
    text
}

/// How long after `begun` an upstream had its request of this place.
pub(super) async fn after(upstream: &Upstream, place: usize, begun: Instant) -> Duration {
    upstream.request(place).await.at - begun
}

/// Sixty words, broken after forty.
fn cut_at_40() -> Script {
    let begun = Script::stream().chunk(role());
    (0..40).fold(begun, |script, number| script.chunk(word(&format!("w{number} "))))
}

fn too_long() -> Script {
    Script::json(
        400,
        r#"{"error":{"message":"This model's maximum context length is 8192 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
    )
}

pub(super) const HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn a_429_without_a_delay_goes_to_the_fallback_at_once() {
    let (primary, fallback) = (upstream([limited("")]).await, upstream([good()]).await);
    let stand = stand(&[&primary, &fallback]).await;
    let begun = Instant::now();
    rescued(&stand, chat("auto"), "2").await;
    assert!(after(&fallback, 0, begun).await < Duration::from_millis(200));
    assert_eq!(primary.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_429_without_a_fallback_is_waited_for_as_long_as_it_asks() {
    let primary = upstream([limited("retry-after: 7\r\n"), good()]).await;
    let stand = stand(&[&primary]).await;
    let begun = Instant::now();
    rescued(&stand, chat("auto"), "2").await;
    let waited = after(&primary, 1, begun).await;
    assert!((Duration::from_secs(7)..Duration::from_secs(8)).contains(&waited), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_delay_may_be_a_date() {
    let date = httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(6));
    let primary = upstream([limited(&format!("retry-after: {date}\r\n")), good()]).await;
    let stand = stand(&[&primary]).await;
    let begun = Instant::now();
    rescued(&stand, chat("auto"), "2").await;
    let waited = after(&primary, 1, begun).await;
    assert!((Duration::from_secs(4)..Duration::from_secs(7)).contains(&waited), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_500_once_is_asked_again_after_a_short_random_wait() {
    let primary = upstream([Script::json(500, "{}"), good()]).await;
    let stand = stand(&[&primary]).await;
    let begun = Instant::now();
    rescued(&stand, chat("auto"), "2").await;
    assert!(after(&primary, 1, begun).await < Duration::from_millis(500));
}

#[tokio::test(start_paused = true)]
async fn a_503_for_ever_ends_in_a_503_after_the_retries() {
    let primary = upstream([Script::json(503, "{}")]).await;
    let stand = stand_with(&[&primary], "retry: {max: 2, backoff: 1s, backoff_max: 2s}").await;
    let begun = Instant::now();
    let mut reply = stand.chat(chat("auto")).await;
    assert_eq!(reply.status, 503);
    assert_eq!(reply.header("x-should-retry"), Some("false"));
    assert_eq!(reply.header("x-pointsman-attempts"), Some("3"));
    assert_eq!(reply.error().await["code"], "upstream_unavailable");
    assert_eq!(primary.requests(), 3);
    assert!(begun.elapsed() < Duration::from_secs(4), "one second and two, at most");
    assert_eq!(stand.outcomes().await.get("upstream_error"), Some(&1));
}

#[tokio::test(start_paused = true)]
async fn a_reset_before_the_head_goes_to_the_fallback() {
    let (primary, fallback) = (upstream([Script::empty().reset()]).await, upstream([good()]).await);
    let stand = stand(&[&primary, &fallback]).await;
    rescued(&stand, chat("auto"), "2").await;
}

#[tokio::test(start_paused = true)]
async fn silence_is_noticed_after_the_response_headers_timeout() {
    let (primary, fallback) = (upstream([Script::empty().silence()]).await, upstream([good()]).await);
    let stand = stand(&[&primary, &fallback]).await;
    let begun = Instant::now();
    rescued(&stand, chat("auto"), "2").await;
    let waited = after(&fallback, 0, begun).await;
    assert!((Duration::from_secs(5)..Duration::from_secs(6)).contains(&waited), "{waited:?}");
    primary.abandoned(0).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_first_token_is_noticed_after_its_timeout() {
    let slow = Script::stream().chunk(role()).silence();
    let (primary, fallback) = (upstream([slow]).await, upstream([good_stream()]).await);
    let stand = stand(&[&primary, &fallback]).await;
    let begun = Instant::now();
    let got = rescued(&stand, chat_stream("auto"), "2").await;
    assert_eq!(got, as_named(&stream("good").concat(), "fallback"));
    let waited = after(&fallback, 0, begun).await;
    assert!((Duration::from_secs(10)..Duration::from_secs(11)).contains(&waited), "{waited:?}");
    primary.abandoned(0).await;
}

/// Comments show that a connection lives, not that an answer is being written.
#[tokio::test(start_paused = true)]
async fn comments_are_no_first_token() {
    let slow =
        (0..20).fold(Script::stream(), |script, _| script.chunk(": beat\n\n").pause(Duration::from_secs(1)));
    let (primary, fallback) = (upstream([slow]).await, upstream([good_stream()]).await);
    let stand = stand(&[&primary, &fallback]).await;
    let begun = Instant::now();
    rescued(&stand, chat_stream("auto"), "2").await;
    let waited = after(&fallback, 0, begun).await;
    assert!((Duration::from_secs(10)..Duration::from_secs(11)).contains(&waited), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_request_takes_no_longer_than_it_may_in_all() {
    let primary = upstream([Script::empty().silence()]).await;
    let stand = stand_with(&[&primary], "request_timeout: 8s").await;
    let begun = Instant::now();
    let mut reply = stand.chat(chat("auto")).await;
    assert_eq!(reply.status, 504);
    assert_eq!(reply.error().await["code"], "upstream_request_timeout");
    assert!((Duration::from_secs(8)..Duration::from_secs(9)).contains(&begun.elapsed()));
    assert_eq!(primary.requests(), 2, "the second attempt had three seconds left");
}

/// However much an upstream has to say.
#[tokio::test(start_paused = true)]
async fn an_answer_that_goes_on_for_ever_ends_with_its_request() {
    let endless = |begun: Script, more: String| {
        (0..100).fold(begun, |script, _| script.chunk(&more).pause(Duration::from_millis(100))).silence()
    };
    let stream = endless(Script::stream().chunk(role()), word("on and "));
    let head =
        Script::stream_with("content-type: application/json").chunk(r#"{"choices":[{"message":{"content":""#);
    let whole = endless(head, "x".repeat(1 << 20));
    for (script, body) in [(stream, chat_stream("auto")), (whole, chat("auto"))] {
        let primary = upstream([script]).await;
        let stand = stand_with(&[&primary], "request_timeout: 2s, retry: {max: 0}").await;
        let begun = Instant::now();
        let mut reply = stand.chat(body).await;
        if let Ok(text) = reply.bytes().await {
            let text = String::from_utf8(text).unwrap();
            assert!(text.contains("upstream_request_timeout") && !text.contains("[DONE]"), "{text}");
        }
        assert!(
            (Duration::from_secs(2)..Duration::from_secs(3)).contains(&begun.elapsed()),
            "{:?}",
            begun.elapsed()
        );
        primary.abandoned(0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_cut_at_token_40_of_60_ends_in_an_honest_error() {
    let (primary, fallback) = (upstream([cut_at_40().close()]).await, upstream([good_stream()]).await);
    let stand = stand(&[&primary, &fallback]).await;
    let text = stand.chat(chat_stream("auto")).await.text().await;
    assert!(
        text.contains("w39 ") && text.contains("upstream_truncated") && !text.contains("[DONE]"),
        "{text}"
    );
    assert_eq!(fallback.requests(), 0);
    assert_eq!(stand.outcomes().await.get("upstream_error"), Some(&1));
}

#[tokio::test(start_paused = true)]
async fn a_stall_ends_in_an_honest_error() {
    let primary = upstream([cut_at_40().silence()]).await;
    let stand = stand(&[&primary]).await;
    let begun = Instant::now();
    let text = stand.chat(chat_stream("auto")).await.text().await;
    assert!(text.contains("upstream_between_tokens_timeout") && !text.contains("[DONE]"), "{text}");
    assert!((Duration::from_secs(3)..Duration::from_secs(4)).contains(&begun.elapsed()));
    primary.abandoned(0).await;
}

#[tokio::test(start_paused = true)]
async fn a_malformed_event_before_content_goes_to_the_fallback() {
    let broken = Script::stream().chunk(role()).chunk(event("{\"choices\":[")).end();
    let (primary, fallback) = (upstream([broken]).await, upstream([good_stream()]).await);
    let stand = stand(&[&primary, &fallback]).await;
    rescued(&stand, chat_stream("auto"), "2").await;
}

#[tokio::test(start_paused = true)]
async fn a_malformed_event_after_content_ends_in_an_honest_error() {
    let primary = upstream([cut_at_40().chunk(event("{\"choices\":[")).end()]).await;
    let stand = stand(&[&primary]).await;
    let text = stand.chat(chat_stream("auto")).await.text().await;
    assert!(text.contains("upstream_malformed") && !text.contains("[DONE]"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_missing_done_is_supplied() {
    let primary = upstream([Script::stream().chunk(word("good")).chunk(finish(0)).end()]).await;
    let stand = stand(&[&primary]).await;
    assert!(rescued(&stand, chat_stream("auto"), "1").await.ends_with("data: [DONE]\n\n"));
}

#[tokio::test(start_paused = true)]
async fn a_prompt_too_long_goes_to_the_next_model_with_a_larger_context() {
    let (small, smaller, large) =
        (upstream([too_long()]).await, upstream([good()]).await, upstream([good()]).await);
    let stand = Setup::new()
        .model("small", &small.base_url(), "context_tokens: 8192")
        .model("smaller", &smaller.base_url(), "context_tokens: 4096")
        .model("large", &large.base_url(), "context_tokens: 128000")
        .start()
        .await;
    let reply = stand.chat(chat("auto")).await;
    assert_eq!((reply.status.as_u16(), reply.header("x-pointsman-model")), (200, Some("large")));
    assert_eq!((small.requests(), smaller.requests(), large.requests()), (1, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_prompt_too_long_for_all_is_told_in_the_upstreams_words() {
    let primary = upstream([too_long()]).await;
    let stand = stand(&[&primary]).await;
    let mut reply = stand.chat(chat("auto")).await;
    assert_eq!(reply.status, 400);
    assert_eq!(reply.error().await["code"], "context_length_exceeded");
    assert_eq!(primary.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_content_filters_refusal_is_passed_on_as_it_is() {
    let error = r#"{"error":{"message":"flagged","type":"invalid_request_error","param":"prompt","code":"content_filter","innererror":{"x":1}}}"#;
    let (primary, fallback) = (upstream([Script::json(400, error)]).await, upstream([good()]).await);
    let stand = stand(&[&primary, &fallback]).await;
    let mut reply = stand.chat(chat("auto")).await;
    assert_eq!(reply.status, 400);
    assert_eq!(reply.text().await, error);
    assert_eq!((primary.requests(), fallback.requests()), (1, 0));
    assert_eq!(stand.outcomes().await.get("client_error"), Some(&1));
}

/// Our key, our address there: the client is told that the gateway is at fault, once nothing is left.
#[tokio::test(start_paused = true)]
async fn an_upstreams_401_403_or_404_goes_to_the_fallback_and_ends_as_502() {
    for status in [401, 403, 404] {
        let (primary, fallback) = (upstream([Script::json(status, "{}")]).await, upstream([good()]).await);
        rescued(&stand(&[&primary, &fallback]).await, chat("auto"), "2").await;
        let alone = stand(&[&primary]).await;
        let reply = alone.chat(chat("auto")).await;
        assert_eq!((reply.status.as_u16(), reply.header("x-should-retry")), (502, Some("false")));
        assert_eq!(primary.requests(), 2, "{status}: no retry mends it");
    }
}

#[tokio::test(start_paused = true)]
async fn retries_keep_within_the_routes_budget() {
    let primary = upstream([Script::json(500, "{}")]).await;
    let setup = Setup::new().model(
        "primary",
        &primary.base_url(),
        "breaker: {failures: 1000000, calls_min: 1000000}",
    );
    let stand = setup
        .routes("{auto: {models: [primary], retry: {max: 5, backoff: 1ms, backoff_max: 1ms, budget: 0}}}")
        .start()
        .await;
    for _ in 0..20 {
        assert_eq!(stand.chat(chat("auto")).await.status, 502);
    }
    // Twenty requests, the reserve of ten retries, and what time gives back of it.
    assert!((30..=40).contains(&primary.requests()), "{}", primary.requests());
}

/// RFC 9113, 8.7: not processed, so asked again, and no attempt for it.
#[tokio::test]
async fn a_refused_http2_stream_is_sent_again_without_counting() {
    let refused = http2::Answer { refused: true, ..http2::Answer::default() };
    let answer = http2::Answer { first: stream("good").concat(), ..http2::Answer::default() };
    let primary = http2::Http2Upstream::start(vec![refused.clone(), refused, answer]).await;
    let stand = Setup::new().model("primary", &primary.base_url(), "http2: true").start().await;
    rescued(&stand, chat_stream("auto"), "1").await;
    assert_eq!(primary.requests(), 3);
}

/// What was used of a broken answer is on the books, also where another model gave the rest of none.
#[tokio::test(start_paused = true)]
async fn a_broken_answer_is_billed_by_what_came_of_it() {
    let primary = upstream([Script::stream().chunk(word("four")).chunk(usage(9, 1)).reset()]).await;
    let stand = stand(&[&primary]).await;
    let text = stand.chat(chat_stream("auto")).await.text().await;
    assert!(!text.contains(&done()), "{text}");
    stand.outcomes().await;
    assert_eq!(stand.metric("pointsman_tokens_total", &["model=\"primary\"", "kind=\"prompt\""]), 9);
}

/// Whatever status comes with it.
#[tokio::test(start_paused = true)]
async fn a_delay_is_kept_with_any_status() {
    for status in [429, 500, 502, 503, 504, 529] {
        let failing = Script::whole(status, "retry-after: 5", b"");
        let primary = upstream([failing, good()]).await;
        let stand = stand(&[&primary]).await;
        let begun = Instant::now();
        rescued(&stand, chat("auto"), "2").await;
        let waited = after(&primary, 1, begun).await;
        assert!((Duration::from_secs(5)..Duration::from_secs(6)).contains(&waited), "{status}: {waited:?}");
    }
}

/// No number that an upstream may write breaks anything.
#[tokio::test(start_paused = true)]
async fn a_delay_of_ages_is_not_waited_for() {
    for seconds in ["4000000000", "9223372036854775807", "18446744073709551615", "99999999999999999999999"] {
        let primary = upstream([limited(&format!("retry-after: {seconds}\r\n"))]).await;
        let stand = stand(&[&primary]).await;
        let reply = stand.chat(chat("auto")).await;
        assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (429, Some(seconds)));
        assert_eq!(primary.requests(), 1);
    }
}

/// Some upstreams say 200 first: the request is to blame all the same, and no breaker opens for it.
#[tokio::test(start_paused = true)]
async fn a_refusal_with_status_200_is_a_refusal() {
    let error = r#"{"message":"flagged","type":"invalid_request_error","code":"content_filter"}"#;
    let body = format!(r#"{{"error":{error}}}"#);
    let in_stream = Script::stream().chunk(role()).chunk(event(&body)).end();
    for (script, request) in [
        (Script::json(200, &body), chat("auto")),
        (Script::json(200, &body), chat_stream("auto")),
        (in_stream, chat_stream("auto")),
    ] {
        let (primary, fallback) = (upstream([script]).await, upstream([good()]).await);
        let stand = stand(&[&primary, &fallback]).await;
        for _ in 0..10 {
            let mut reply = stand.chat(request.clone()).await;
            assert_eq!(reply.status, 400);
            assert_eq!(reply.error().await["code"], "content_filter");
        }
        assert_eq!((primary.requests(), fallback.requests()), (10, 0));
        assert_eq!(stand.outcomes().await.get("client_error"), Some(&10));
    }
}

/// What comes after the last choice's end takes nothing from the answer.
#[tokio::test(start_paused = true)]
async fn rubbish_after_a_whole_answer_is_nothing() {
    let rubbish =
        Script::stream().chunk(word("good")).chunk(finish(0)).chunk("data: {\"choices\":\n\n").end();
    let primary = upstream([rubbish]).await;
    let stand = stand_with(&[&primary], "stream_recovery: replay").await;
    assert!(rescued(&stand, chat_stream("auto"), "1").await.ends_with("data: [DONE]\n\n"));
    assert_eq!(primary.requests(), 1);
    assert_eq!(stand.outcomes().await.into_iter().collect::<Vec<_>>(), [("ok", 1)]);
}

/// Who could have taken the long prompt failed: that is what the client is told.
#[tokio::test(start_paused = true)]
async fn a_failure_after_a_refusal_is_told() {
    let (small, large) = (upstream([too_long()]).await, upstream([Script::json(503, "{}")]).await);
    let stand = Setup::new()
        .model("small", &small.base_url(), "context_tokens: 8192")
        .model("large", &large.base_url(), "context_tokens: 128000")
        .start()
        .await;
    assert_eq!(stand.chat(chat("auto")).await.status, 503);
}
