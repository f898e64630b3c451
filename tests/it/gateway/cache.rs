//! Kept answers: the same bytes again, for the same request of the same tenant, while they may be given; and none that was not whole.

use http::Request;
use http_body_util::Full;
use pointsman::gateway::reload;
use serde_json::Value;

use crate::{
    answers::{answer, as_named, chat, chat_stream, done, event, finish, role, stream, usage, word},
    client::{Client, KEY, Reply, get, post},
    stand::{Setup, Stand, values},
    upstream::{Gate, Script, Upstream},
};

/// The route `auto` with a cache, and any other fields.
fn route(models: &str, fields: &str) -> String {
    format!("{{auto: {{models: [{models}], retry: {{max: 0}}, {fields}}}}}")
}

async fn stand(upstream: &Upstream, cache: &str) -> Stand {
    Setup::new()
        .model("m", &upstream.base_url(), "")
        .routes(&route("m", &format!("cache: {{{cache}}}")))
        .start()
        .await
}

/// What the cache was to a request, and the answer.
async fn told(mut reply: Reply) -> (Option<String>, String) {
    (reply.header("x-pointsman-cache").map(str::to_owned), reply.text().await)
}

async fn ask(stand: &Stand, body: &str) -> String {
    let (cache, _) = told(stand.chat(body.to_owned()).await).await;
    cache.unwrap_or_else(|| "none".to_owned())
}

fn with(header: (&'static str, &str), body: &str) -> Request<Full<bytes::Bytes>> {
    let mut request = post("/v1/chat/completions", body.to_owned());
    request.headers_mut().insert(header.0, header.1.parse().unwrap());
    request
}

/// As [`ask`], with a `cache-control`.
async fn ask_with(stand: &Stand, control: &str, body: &str) -> Reply {
    stand.client().await.last(with(("cache-control", control), body)).await
}

fn counted(stand: &Stand, result: &str) -> u64 {
    stand.metric("pointsman_cache_requests_total", &[&format!("result=\"{result}\"")])
}

/// Entries and bytes, as `/metrics` says.
async fn fill(stand: &Stand) -> [u64; 2] {
    let text = Client::connect(stand.admin).await.last(get("/metrics")).await.text().await;
    ["pointsman_cache_entries", "pointsman_cache_bytes"].map(|name| {
        values(&text, name, &["route=\"auto\""]).iter().map(|value| value.parse::<u64>().unwrap()).sum()
    })
}

#[tokio::test]
async fn a_whole_answer_is_given_again_and_nobody_asked() {
    let upstream = Upstream::start([Script::json(200, &answer("x"))]).await;
    let stand = stand(&upstream, "").await;
    let mut first = stand.chat(chat("auto")).await;
    assert_eq!(first.header("x-pointsman-cache"), Some("miss"));
    assert_eq!((first.header("x-pointsman-attempts"), first.header("age")), (Some("1"), None));
    let text = first.text().await;
    let mut again = stand.chat(chat("auto")).await;
    assert_eq!(again.status, 200);
    assert_eq!((again.header("x-pointsman-cache"), again.header("age")), (Some("hit"), Some("0")));
    for name in
        ["content-type", "content-length", "x-pointsman-model", "x-pointsman-route", "x-pointsman-router"]
    {
        assert!(first.header(name).is_some() && first.header(name) == again.header(name), "{name}");
    }
    for name in ["x-pointsman-attempts", "x-pointsman-decision-us"] {
        assert_eq!(again.header(name), None, "{name}");
    }
    assert_ne!(first.header("x-request-id"), again.header("x-request-id"));
    assert_eq!(again.text().await, text);
    assert_eq!((upstream.requests(), text), (1, as_named(&answer("x"), "m")));
    assert_eq!(stand.outcomes().await.into_iter().collect::<Vec<_>>(), [("ok", 2)]);
    assert_eq!(stand.metric("pointsman_requests_total", &["model=\"m\"", "outcome=\"ok\""]), 2);
    assert_eq!(stand.metric("pointsman_tokens_total", &[]), 10, "one call was made");
    assert_eq!((counted(&stand, "hit"), counted(&stand, "miss"), counted(&stand, "bypass")), (1, 1, 0));
    let [entries, bytes] = fill(&stand).await;
    assert!(entries == 1 && bytes > answer("x").len() as u64, "{entries}, {bytes}");
}

#[tokio::test]
async fn a_stream_is_given_again_event_by_event() {
    let events = [role(), ": a comment\n\n".to_owned(), word("a"), word("b"), finish(0), usage(7, 3), done()];
    let upstream = Upstream::start([Script::events(&events)]).await;
    let stand = stand(&upstream, "").await;
    for include_usage in [false, true] {
        let request = chat_stream("auto").replace(
            "\"stream\":true",
            &format!(r#""stream":true,"stream_options":{{"include_usage":{include_usage}}}"#),
        );
        let mut first = stand.chat(request.clone()).await;
        let text = first.text().await;
        assert_eq!(text.contains("prompt_tokens"), include_usage, "two answers");
        let mut again = stand.chat(request).await;
        assert_eq!(again.header("x-pointsman-cache"), Some("hit"));
        for name in ["content-type", "cache-control", "x-accel-buffering"] {
            assert!(first.header(name).is_some() && first.header(name) == again.header(name), "{name}");
        }
        assert_eq!(again.header("content-length"), None, "a stream");
        let mut read = String::new();
        while let Some(frame) = again.frame().await {
            let frame = String::from_utf8(frame.unwrap().to_vec()).unwrap();
            assert!(frame.ends_with("\n\n"), "no event is cut: {frame:?}");
            read.push_str(&frame);
        }
        assert_eq!(read, text);
    }
    assert_eq!(upstream.requests(), 2);
    // A whole answer is another one than a stream.
    assert_eq!(ask(&stand, &chat("auto")).await, "miss");
}

#[tokio::test]
async fn spellings_of_one_request_are_one_and_other_requests_are_others() {
    let upstream = Upstream::start([Script::json(200, &answer("x"))]).await;
    let stand = stand(&upstream, "").await;
    let one = r#"{"model":"auto","temperature":1,"messages":[{"role":"user","content":"hé\n🚀"}],"tools":[{"b":1,"a":[]}]}"#;
    assert_eq!(ask(&stand, one).await, "miss");
    for same in [
        r#"{"messages":[{"content":"hé\n🚀","role":"user"}],"tools":[{"a":[],"b":1}],"model":"auto","temperature":1}"#,
        " { \"model\" : \"auto\",\n\"temperature\":1 , \"messages\":[ {\"role\":\"us\\u0065r\",\"content\":\"h\\u00e9\\u000a\\ud83d\\ude80\"} ],\"tools\":[{\"b\":1,\"a\":[ ]}]}",
    ] {
        assert_eq!(ask(&stand, same).await, "hit", "{same}");
    }
    for other in [
        one.replace("\"temperature\":1", "\"temperature\":1.0"),
        one.replace("\"temperature\":1", "\"temperature\":0"),
        one.replace(",\"tools\"", ",\"user\":\"u\",\"tools\""),
        one.replace("hé", "hë"),
        one.replace("\"model\":\"auto\"", "\"model\":\"m\""),
        one.replace("[{\"role\"", "[{\"role\":\"system\",\"content\":\"s\"},{\"role\""),
        one.replace("\"tools\"", "\"n\":1,\"tools\""),
    ] {
        assert_eq!(ask(&stand, &other).await, "miss", "{other}");
        assert_eq!(ask(&stand, &other).await, "hit", "{other}");
    }
    let reply = stand.client().await.last(with(("openai-beta", "x"), one)).await;
    assert_eq!(told(reply).await.0.as_deref(), Some("miss"));
}

#[tokio::test]
async fn tenants_have_their_own_answers_and_keys_of_a_tenant_the_same() {
    let upstream = Upstream::start([Script::json(200, &answer("x"))]).await;
    let stand = Setup::new()
        .model("m", &upstream.base_url(), "")
        .routes(&route("m", "cache: {}"))
        .tenants(
            "{t: {keys: [{key: one}, {key: two}], projects: {p: {keys: [{key: three, name: n}]}}, pool: [m]}, u: {keys: [{key: other}], pool: [m]}}",
        )
        .start()
        .await;
    for (key, expected) in [
        ("one", "miss"),
        ("two", "hit"),
        ("three", "hit"),
        ("other", "miss"),
        ("other", "hit"),
        ("one", "hit"),
    ] {
        let request = with(("authorization", &format!("Bearer {key}")), &chat("auto"));
        assert_eq!(
            told(stand.client().await.last(request).await).await.0.as_deref(),
            Some(expected),
            "{key}"
        );
    }
    let stranger = with(("authorization", "Bearer nobody"), &chat("auto"));
    let reply = stand.client().await.last(stranger).await;
    assert_eq!((reply.status.as_u16(), reply.header("x-pointsman-cache")), (401, None));
}

#[tokio::test]
async fn other_endpoints_and_named_models_have_the_default_routes_cache() {
    let embeddings = r#"{"object":"list","data":[{"index":0,"embedding":[0.1]}],"model":"up","usage":{"prompt_tokens":1}}"#;
    let completion = r#"{"id":"c","choices":[{"index":0,"text":"x","finish_reason":"length"}],"model":"up"}"#;
    let response = r#"{"id":"r","output":[],"model":"up"}"#;
    let upstream = Upstream::playing(move |request| {
        Script::json(
            200,
            match request.target() {
                "/v1/embeddings" => embeddings,
                "/v1/completions" => completion,
                _ => response,
            },
        )
    })
    .await;
    let stand = stand(&upstream, "").await;
    for (path, body, expected) in [
        ("/v1/embeddings", r#"{"model":"m","input":"x"}"#, "hit"),
        ("/v1/completions", r#"{"model":"m","prompt":"x"}"#, "hit"),
        ("/v1/responses", r#"{"model":"m","input":"x"}"#, "miss"),
    ] {
        let (cache, first) = told(stand.post(path, body).await).await;
        assert_eq!(cache.as_deref(), Some("miss"), "{path}");
        assert_eq!(told(stand.post(path, body).await).await, (Some(expected.to_owned()), first), "{path}");
    }
    assert_eq!(counted(&stand, "bypass"), 2);
}

#[tokio::test]
async fn what_has_effects_or_two_meanings_is_not_kept() {
    let upstream = Upstream::start([Script::json(200, &answer("x"))]).await;
    let stand = stand(&upstream, "").await;
    let with = |field: &str| chat("auto").replace("\"messages\"", &format!("{field},\"messages\""));
    for field in [
        r#""store":true"#,
        r#""previous_response_id":"r""#,
        r#""conversation":{"id":"c"}"#,
        r#""x":1,"x":2"#,
        r#""x":[{"y":1,"\u0079":1}]"#,
        &format!(r#""x":{}{}"#, "[".repeat(1000), "]".repeat(1000)),
        &format!(r#""x":"{}""#, "x".repeat(1 << 20)),
    ] {
        for _ in 0..2 {
            assert_eq!(ask(&stand, &with(field)).await, "miss", "{}", &field[..10]);
        }
    }
    assert_eq!((counted(&stand, "bypass"), fill(&stand).await[0]), (14, 0));
    for field in [r#""store":false"#, r#""conversation":null"#] {
        assert_eq!(ask(&stand, &with(field)).await, "miss");
        assert_eq!(ask(&stand, &with(field)).await, "hit");
    }
}

#[tokio::test]
async fn an_answer_has_its_time() {
    let upstream = Upstream::start([Script::json(200, &answer("x"))]).await;
    let stand = stand(&upstream, "ttl: 20ms").await;
    let mut asked = 0;
    while upstream.requests() < 3 {
        assert!(matches!(&*ask(&stand, &chat("auto")).await, "hit" | "miss"));
        asked += 1;
        assert!(asked < 100_000, "never asked again");
    }
    assert_eq!(counted(&stand, "miss"), 3);
}

#[tokio::test]
async fn requests_say_how_old_an_answer_may_be() {
    let upstream = Upstream::start([Script::json(200, &answer("x"))]).await;
    let stand = stand(&upstream, "").await;
    let cache = async |control: &str| {
        let reply = ask_with(&stand, control, &chat("auto")).await;
        assert_eq!(reply.status, 200, "{control}");
        let cache = told(reply).await.0;
        (cache.unwrap(), upstream.requests())
    };
    let miss = |requests| ("miss".to_owned(), requests);
    let hit = |requests| ("hit".to_owned(), requests);
    let mut refused = ask_with(&stand, "only-if-cached", &chat("auto")).await;
    assert_eq!((refused.status.as_u16(), refused.header("x-should-retry")), (504, Some("false")));
    let error: Value = serde_json::from_str(&refused.text().await).unwrap();
    assert_eq!(error["error"]["code"], "not_cached");
    assert_eq!(cache("no-store").await, miss(1));
    assert_eq!(cache("max-age=60").await, miss(2), "nothing was kept");
    assert_eq!(cache("max-age=60").await, hit(2));
    assert_eq!(cache("only-if-cached, max-age=60").await, hit(2));
    assert_eq!(cache("no-store").await, miss(3));
    for renews in ["no-cache", "max-age=0"] {
        let before = upstream.requests();
        assert_eq!(cache(renews).await, miss(before + 1));
        assert_eq!(cache("min-fresh=60").await, hit(before + 1), "{renews} keeps the new answer");
    }
    let before = upstream.requests();
    assert_eq!(cache("min-fresh=7200").await, miss(before + 1), "longer than any may be given");
    assert_eq!((counted(&stand, "bypass"), counted(&stand, "hit")), (4, 4));
    assert_eq!(ask_with(&stand, "no-cache, only-if-cached", &chat("auto")).await.status, 504);
}

#[tokio::test]
async fn only_whole_answers_are_kept() {
    let refusal = r#"{"error":{"message":"no","type":"invalid_request_error"}}"#;
    let filtered = |text: &str| text.replace("\"stop\"", "\"content_filter\"");
    let whole = answer("x");
    let unfinished = whole.replace("\"stop\"", "null");
    let with_header = |header: &str| {
        Script::whole(200, &format!("content-type: application/json\r\n{header}"), whole.as_bytes())
    };
    let cases: Vec<(&str, String, Script)> = vec![
        ("an error", chat("auto"), Script::json(500, "{}")),
        ("a refusal", chat("auto"), Script::json(400, refusal)),
        ("a cut stream", chat_stream("auto"), Script::stream().chunk(word("a")).end()),
        ("a reset stream", chat_stream("auto"), Script::stream().chunk(word("a")).reset()),
        (
            "a stream with an error",
            chat_stream("auto"),
            Script::events(&[word("a"), event(r#"{"error":{"message":"x"}}"#)]),
        ),
        ("a filtered answer", chat("auto"), Script::json(200, &filtered(&whole))),
        (
            "a filtered stream",
            chat_stream("auto"),
            Script::events(&[word("a"), filtered(&finish(0)), done()]),
        ),
        ("an unfinished answer", chat("auto"), Script::json(200, &unfinished)),
        (
            "one of two choices",
            chat("auto").replace("\"messages\"", "\"n\":2,\"messages\""),
            Script::json(200, &whole),
        ),
        ("another status", chat("auto"), Script::json(203, &whole)),
        ("a private one", chat("auto"), with_header("cache-control: private, max-age=9")),
        ("one not to be stored", chat("auto"), with_header("cache-control: no-store")),
        ("one for some requests", chat("auto"), with_header("vary: x-team")),
    ];
    for (what, request, script) in cases {
        let upstream = Upstream::start([script]).await;
        let stand = stand(&upstream, "").await;
        for requests in 1..=2 {
            let mut reply = stand.chat(request.clone()).await;
            assert_eq!(reply.header("x-pointsman-cache"), Some("miss"), "{what}");
            let _ = reply.bytes().await;
            assert_eq!(upstream.requests(), requests, "{what}");
        }
        assert_eq!(fill(&stand).await, [0, 0], "{what}");
    }
}

/// What two models have written together is no answer of either.
#[tokio::test]
async fn a_rescued_stream_is_not_kept() {
    let broken = Upstream::start([Script::stream().chunk(word("a")).reset()]).await;
    let whole = Upstream::start([Script::events(&[word("a"), word("b"), finish(0), done()])]).await;
    let stand = Setup::new()
        .model("m", &broken.base_url(), "")
        .model("n", &whole.base_url(), "")
        .routes(&route("m, n", "cache: {}, stream_recovery: replay"))
        .start()
        .await;
    for requests in 1..=2 {
        let (cache, text) = told(stand.chat(chat_stream("auto")).await).await;
        assert!(cache.as_deref() == Some("miss") && text.ends_with("data: [DONE]\n\n"), "{text}");
        assert_eq!(broken.requests(), requests);
    }
    // A stream that needed no rescue is.
    assert_eq!(ask(&stand, &chat_stream("n")).await, "miss");
    assert_eq!(ask(&stand, &chat_stream("n")).await, "hit");
}

#[tokio::test]
async fn a_client_that_leaves_has_nothing_kept() {
    let gate = Gate::default();
    let held = Script::stream().chunk(word("a")).wait(&gate).chunk(finish(0)).chunk(done()).end();
    let upstream = Upstream::start([held, Script::events(&stream("b"))]).await;
    let stand = stand(&upstream, "").await;
    let mut reply = stand.chat(chat_stream("auto")).await;
    reply.until("\"a\"").await;
    drop(reply);
    upstream.abandoned(0).await;
    stand.outcomes().await;
    let (cache, text) = told(stand.chat(chat_stream("auto")).await).await;
    assert_eq!((cache.as_deref(), text), (Some("miss"), as_named(&stream("b").concat(), "m")));
    assert_eq!(ask(&stand, &chat_stream("auto")).await, "hit");
}

#[tokio::test]
async fn what_is_too_long_is_not_kept_and_the_rest_within_bounds() {
    let long = "x".repeat(2000);
    let events: Vec<String> = (0..30).map(|_| word(&long[..70])).chain([finish(0), done()]).collect();
    let short = answer(&long[..500]);
    let upstream = Upstream::playing(move |request| match request.text() {
        text if text.contains("\"stream\":true") => Script::events(&events),
        text if text.contains("long") => Script::json(200, &answer(&long)),
        _ => Script::json(200, &short),
    })
    .await;
    let stand = stand(&upstream, "max_entry_bytes: 2KiB, max_bytes: 64KiB").await;
    let saying = |text: &str| chat("auto").replace("\"hi\"", &format!("{text:?}"));
    for request in [saying("long"), chat_stream("auto")] {
        assert_eq!(ask(&stand, &request).await, "miss");
        assert_eq!(ask(&stand, &request).await, "miss");
    }
    assert_eq!(fill(&stand).await, [0, 0]);
    for number in 0..200 {
        assert_eq!(ask(&stand, &saying(&number.to_string())).await, "miss");
    }
    let [entries, bytes] = fill(&stand).await;
    assert!((40..60).contains(&entries) && (60_000..=64 << 10).contains(&bytes), "{entries}, {bytes}");
    assert_eq!(ask(&stand, &saying("199")).await, "hit");
    assert_eq!(ask(&stand, &saying("0")).await, "miss", "what came first has gone first");
}

/// Whole, though more than is held.
#[tokio::test]
async fn an_answer_that_passes_by_is_kept() {
    let text = answer(&"x".repeat(5000));
    let upstream = Upstream::start([Script::json(200, &text)]).await;
    let stand = Setup::new()
        .model("m", &upstream.base_url(), "")
        .server("response_buffer: 1KiB")
        .routes(&route("m", "cache: {}"))
        .start()
        .await;
    let first = told(stand.chat(chat("auto")).await).await;
    assert_eq!(first, (Some("miss".to_owned()), as_named(&text, "m")));
    assert_eq!(told(stand.chat(chat("auto")).await).await, (Some("hit".to_owned()), first.1));
}

#[tokio::test]
async fn a_reload_keeps_the_answers_of_models_that_are_still_what_they_were() {
    let (one, other) = (
        Upstream::start([Script::json(200, &answer("one"))]).await,
        Upstream::start([Script::json(200, &answer("other"))]).await,
    );
    let setup = |m: &Upstream, fields: &str, models: &str, cache: &str| {
        Setup::new()
            .model("m", &m.base_url(), fields)
            .model("n", &other.base_url(), "")
            .routes(&route(models, cache))
            .tenants(&format!("{{t: {{keys: [{{key: {KEY}}}], pool: [m, n]}}}}"))
    };
    let stand = setup(&one, "", "m, n", "cache: {}").start_shipped().await;
    let again = async |setup: Setup| {
        reload(&stand.app, &setup.config()).unwrap();
        ask(&stand, &chat("auto")).await
    };
    assert_eq!(ask(&stand, &chat("auto")).await, "miss");
    assert_eq!(
        again(setup(&one, "price: {input: 1, output: 1}", "m, n", "cache: {max_bytes: 1MiB}")).await,
        "hit"
    );
    assert_eq!(again(setup(&one, "", "n", "cache: {}")).await, "miss", "m is not of the route");
    assert_eq!(again(setup(&one, "", "n, m", "cache: {}")).await, "hit", "n's answer was kept in its place");
    assert_eq!(
        again(setup(&one, "", "n, m", "cache: {ttl: 1ms}")).await,
        "miss",
        "the time that is in force counts"
    );
    assert_eq!(again(setup(&one, "", "n, m", "")).await, "none");
    assert_eq!(
        again(setup(&one, "", "m, n", "cache: {}")).await,
        "miss",
        "a route without a cache keeps nothing"
    );
    assert_eq!(again(setup(&one, "", "m, n", "cache: {}")).await, "hit");
    assert_eq!(
        again(setup(&one, "model: newer", "m, n", "cache: {}")).await,
        "miss",
        "another model by that name"
    );
    assert_eq!(again(setup(&other, "model: newer", "m, n", "cache: {}")).await, "miss", "at another place");
    let pool_of_n = setup(&one, "", "m, n", "cache: {}")
        .tenants(&format!("{{t: {{keys: [{{key: {KEY}}}], pool: [n]}}}}"));
    assert_eq!(again(pool_of_n).await, "miss", "m is not of the pool");
}

#[tokio::test]
async fn a_hit_costs_nothing() {
    let upstream = Upstream::start([Script::json(200, &answer("x"))]).await;
    let stand = Setup::new()
        .model("m", &upstream.base_url(), "price: {input: 0, output: 1}")
        .routes(&route("m", "cache: {}"))
        .tenants(&format!(
            "{{t: {{keys: [{{key: {KEY}}}], pool: [m], budget: {{usd: 0.000003, per: total}}}}}}"
        ))
        .start()
        .await;
    let request = chat("auto").replace("\"messages\"", "\"max_tokens\":3,\"messages\"");
    // Three tokens, and the budget is spent.
    assert_eq!(ask(&stand, &request).await, "miss");
    assert_eq!(stand.chat(request.replace("hi", "ho")).await.status, 429);
    for _ in 0..3 {
        assert_eq!(ask(&stand, &request).await, "hit");
    }
    assert_eq!(upstream.requests(), 1);
    let text = Client::connect(stand.admin).await.last(get("/metrics")).await.text().await;
    let spent = values(&text, "pointsman_budget_spent_usd", &[]);
    assert_eq!(format!("{:.6}", spent[0].parse::<f64>().unwrap()), "0.000003");
}

#[tokio::test]
async fn hits_show_in_the_access_log() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let upstream = Upstream::start([Script::json(200, &answer("x"))]).await;
    let stand = Setup::new()
        .model("m", &upstream.base_url(), "")
        .routes(&route("m", "cache: {}"))
        .top(&format!("access_log: {path:?}"))
        .start()
        .await;
    for _ in 0..2 {
        ask(&stand, &chat("auto")).await;
    }
    let read = || std::fs::read_to_string(&path).unwrap_or_default();
    stand.eventually("two lines", || read().matches('\n').count() == 2).await;
    let lines: Vec<Value> = read().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["cache"], &lines[1]["cache"]), (&Value::from("miss"), &Value::from("hit")));
    assert_eq!((&lines[1]["model"], &lines[1]["calls"]), (&Value::from("m"), &serde_json::json!([])));
    assert!(lines[1]["answer_ms"].is_number(), "{}", lines[1]);
}

#[tokio::test]
async fn a_route_without_a_cache_knows_nothing_of_it() {
    let upstream = Upstream::start([Script::json(200, &answer("x"))]).await;
    let stand = Setup::new().model("m", &upstream.base_url(), "").start().await;
    for requests in 1..=2 {
        let reply = ask_with(&stand, "only-if-cached", &chat("auto")).await;
        assert_eq!((reply.status.as_u16(), reply.header("x-pointsman-cache")), (200, None));
        assert_eq!(upstream.requests(), requests);
    }
    assert!(stand.values("pointsman_cache_requests_total", &[]).is_empty());
}
