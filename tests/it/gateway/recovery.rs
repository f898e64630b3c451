//! A stream that breaks after its first content, on a route that asks for the rest: the client sees one whole answer, or an
//! honest error.

use serde_json::{Value, json};

use crate::{
    answers::{chat_stream, done, event},
    client::post,
    stand::{Setup, Stand},
    upstream::{Gate, Script, Upstream},
};

/// An event of the answer `id`.
fn chunk(id: &str, delta: &Value, finish: Option<&str>) -> String {
    event(
        &json!({
            "id": id, "object": "chat.completion.chunk", "created": id.len(), "model": "up",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        })
        .to_string(),
    )
}

fn words(id: &str, texts: &[&str]) -> Vec<String> {
    let mut events = vec![chunk(id, &json!({"role": "assistant", "content": ""}), None)];
    events.extend(texts.iter().map(|text| chunk(id, &json!({"content": text}), None)));
    events
}

fn usage(id: &str, prompt: u32, completion: u32) -> String {
    event(
        &json!({
            "id": id, "created": id.len(), "model": "up", "choices": [],
            "usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion},
        })
        .to_string(),
    )
}

fn begun(events: &[String]) -> Script {
    events.iter().fold(Script::stream(), Script::chunk)
}

fn whole(id: &str, texts: &[&str]) -> Script {
    let mut events = words(id, texts);
    events.extend([chunk(id, &json!({}), Some("stop")), usage(id, 20, 6), done()]);
    Script::events(&events)
}

async fn stand(recovery: &str, primary: &Upstream, fallback: &Upstream, fields: &str) -> Stand {
    Setup::new()
        .model("primary", &primary.base_url(), "timeouts: {between_tokens: 2s}")
        .model("fallback", &fallback.base_url(), fields)
        .routes(&format!(
            "{{auto: {{models: [primary, fallback], stream_recovery: {recovery}, retry: {{max: 1, backoff: 1ms}}}}}}"
        ))
        .start()
        .await
}

/// What a client reads of a stream.
#[derive(Debug, Default, PartialEq)]
struct Read {
    text: String,
    ids: Vec<String>,
    roles: usize,
    usages: Vec<Value>,
    error: Option<String>,
    finished: Option<String>,
    is_done: bool,
}

async fn read(stand: &Stand, body: String) -> Read {
    let got = stand.chat(body).await.text().await;
    let mut read = Read::default();
    for data in got.split("\n\n").filter_map(|event| event.strip_prefix("data: ")) {
        assert!(!read.is_done && read.error.is_none(), "nothing after the end: {got}");
        if data == "[DONE]" {
            read.is_done = true;
            continue;
        }
        let chunk: Value = serde_json::from_str(data).unwrap();
        if let Some(error) = chunk.get("error") {
            read.error = Some(error["code"].as_str().unwrap().to_owned());
            continue;
        }
        let id = chunk["id"].as_str().unwrap().to_owned();
        if !read.ids.contains(&id) {
            read.ids.push(id);
        }
        let choice = &chunk["choices"][0];
        read.text += choice["delta"]["content"].as_str().unwrap_or_default();
        read.roles += usize::from(choice["delta"].get("role").is_some());
        read.finished = choice["finish_reason"].as_str().map(str::to_owned).or(read.finished);
        read.usages.extend(chunk.get("usage").filter(|usage| usage.is_object()).cloned());
    }
    read
}

fn one_answer(text: &str) -> Read {
    Read {
        text: text.to_owned(),
        ids: vec!["first".to_owned()],
        roles: 1,
        finished: Some("stop".to_owned()),
        is_done: true,
        ..Read::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_replay_is_followed_silently_and_then_goes_on() {
    let breaks: [fn(Script) -> Script; 4] = [Script::reset, Script::end, Script::silence, |script| {
        script.chunk(event(r#"{"error":{"message":"overloaded"}}"#)).end()
    }];
    for broken in breaks {
        let primary = Upstream::start([broken(begun(&words("first", &["The quick ", "brown"])))]).await;
        let fallback = Upstream::start([whole("second", &["The", " quick br", "own fox", " jumps"])]).await;
        let stand = stand("replay", &primary, &fallback, "").await;
        assert_eq!(read(&stand, chat_stream("auto")).await, one_answer("The quick brown fox jumps"));
        assert_eq!(
            fallback.request(0).await.text(),
            primary.request(0).await.text().replace("primary", "fallback")
        );
        assert_eq!(stand.outcomes().await.into_iter().collect::<Vec<_>>(), [("ok", 1)]);
        assert_eq!(stand.metric("pointsman_streams_rescued_total", &["model=\"fallback\""]), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_difference_ends_a_replay_in_an_honest_error() {
    let primary = Upstream::start([begun(&words("first", &["The quick"])).reset()]).await;
    let fallback = Upstream::start([whole("second", &["The slow fox"])]).await;
    let stand = stand("replay", &primary, &fallback, "").await;
    let got = read(&stand, chat_stream("auto")).await;
    assert_eq!(
        (&*got.text, got.error.as_deref(), got.is_done),
        ("The quick", Some("upstream_replay_differs"), false)
    );
    assert_eq!(stand.outcomes().await.into_iter().collect::<Vec<_>>(), [("upstream_error", 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_model_that_can_is_given_the_answer_to_go_on_with() {
    for (continuation, keys) in
        [("prefill", ""), ("vllm", r#""continue_final_message":true,"add_generation_prompt":false,"#)]
    {
        let primary = Upstream::start([begun(&words("first", &["The quick ", "\"brown"])).reset()]).await;
        let fallback = Upstream::start([whole("second", &["\" fox"])]).await;
        let stand = stand("continue", &primary, &fallback, &format!("continuation: {continuation}")).await;
        assert_eq!(read(&stand, chat_stream("auto")).await, one_answer("The quick \"brown\" fox"));
        let sent: Value = serde_json::from_str(fallback.request(0).await.text()).unwrap();
        assert_eq!(
            sent["messages"],
            json!([{"role": "user", "content": "hi"}, {"role": "assistant", "content": "The quick \"brown"}])
        );
        assert!(fallback.request(0).await.text().contains(keys));
    }
}

#[tokio::test(start_paused = true)]
async fn a_model_that_cannot_continue_replays() {
    let primary = Upstream::start([begun(&words("first", &["Hi"])).reset()]).await;
    let fallback = Upstream::start([whole("second", &["Hi there"])]).await;
    let stand = stand("continue", &primary, &fallback, "").await;
    assert_eq!(read(&stand, chat_stream("auto")).await, one_answer("Hi there"));
    assert!(!fallback.request(0).await.text().contains("assistant"));
}

#[tokio::test(start_paused = true)]
async fn a_fallback_that_rejects_the_continuation_is_passed_over() {
    let refusal = Script::json(400, r#"{"error":{"message":"no prefill","type":"invalid_request_error"}}"#);
    let primary =
        Upstream::start([begun(&words("first", &["Hi"])).reset(), whole("again", &["Hi there"])]).await;
    let fallback = Upstream::start([refusal]).await;
    let stand = stand("continue", &primary, &fallback, "continuation: prefill").await;
    assert_eq!(read(&stand, chat_stream("auto")).await, one_answer("Hi there"));
    assert_eq!((primary.requests(), fallback.requests()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_breaks_while_it_repeats_makes_room_for_the_next() {
    let primary =
        Upstream::start([begun(&words("first", &["one two "])).reset(), whole("third", &["one two three"])])
            .await;
    let fallback = Upstream::start([begun(&words("second", &["one "])).reset()]).await;
    let stand = stand("replay", &primary, &fallback, "").await;
    assert_eq!(read(&stand, chat_stream("auto")).await, one_answer("one two three"));
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_break_more_than_once() {
    let primary =
        Upstream::start([begun(&words("first", &["one "])).reset(), whole("third", &["one two three"])])
            .await;
    let fallback = Upstream::start([begun(&words("second", &["one two "])).reset()]).await;
    let stand = stand("replay", &primary, &fallback, "").await;
    assert_eq!(read(&stand, chat_stream("auto")).await, one_answer("one two three"));
    assert_eq!(stand.metric("pointsman_streams_rescued_total", &[]), 2);
}

/// One usage event, summed; and every attempt that was billed on the books.
#[tokio::test(start_paused = true)]
async fn usage_and_cost_count_every_attempt() {
    let mut with_usage: Value = serde_json::from_str(
        chunk("first", &json!({"content": "Hi "}), None).trim().trim_start_matches("data: "),
    )
    .unwrap();
    with_usage["usage"] = json!({"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12});
    let primary = Upstream::start([begun(&[event(&with_usage.to_string())]).reset()]).await;
    let fallback = Upstream::start([whole("second", &["Hi there"])]).await;
    let stand = stand("replay", &primary, &fallback, "price: {input: 1, output: 2}").await;
    let body = chat_stream("auto").replacen('{', r#"{"stream_options":{"include_usage":true},"#, 1);
    let got = read(&stand, body).await;
    let summed = json!({"prompt_tokens": 30, "completion_tokens": 8, "total_tokens": 38});
    assert_eq!(got.usages[1..], [summed], "beside that of the broken attempt's own chunk");
    stand.outcomes().await;
    let tokens = |model: &str, kind: &str| {
        stand.metric("pointsman_tokens_total", &[&format!("model=\"{model}\""), &format!("kind=\"{kind}\"")])
    };
    assert_eq!((tokens("primary", "prompt"), tokens("primary", "completion")), (10, 2));
    assert_eq!((tokens("fallback", "prompt"), tokens("fallback", "completion")), (20, 6));
}

/// What is more than one text cannot be gone on with.
#[tokio::test(start_paused = true)]
async fn only_one_plain_text_is_recovered() {
    for field in [
        r#""n":2"#,
        r#""tools":[{"type":"function","function":{"name":"f"}}]"#,
        r#""logprobs":true"#,
        r#""response_format":{"type":"json_schema","json_schema":{}}"#,
    ] {
        let primary = Upstream::start([begun(&words("first", &["Hi"])).reset()]).await;
        let fallback = Upstream::start([whole("second", &["Hi there"])]).await;
        let stand = stand("replay", &primary, &fallback, "").await;
        let got = read(&stand, chat_stream("auto").replacen('{', &format!("{{{field},"), 1)).await;
        assert_eq!((got.error.as_deref(), fallback.requests()), (Some("upstream_truncated"), 0), "{field}");
    }
    let call = chunk("first", &json!({"tool_calls": [{"index": 0, "function": {"name": "f"}}]}), None);
    let primary = Upstream::start([begun(&[call]).reset()]).await;
    let fallback = Upstream::start([whole("second", &["Hi there"])]).await;
    let stand = stand("replay", &primary, &fallback, "").await;
    assert_eq!(read(&stand, chat_stream("auto")).await.error.as_deref(), Some("upstream_truncated"));
}

#[tokio::test(start_paused = true)]
async fn with_nobody_left_the_answer_ends_in_an_honest_error() {
    let primary = Upstream::start([begun(&words("first", &["Hi"])).reset()]).await;
    let fallback = Upstream::start([Script::json(500, "{}")]).await;
    let stand = stand("replay", &primary, &fallback, "").await;
    let got = read(&stand, chat_stream("auto")).await;
    assert_eq!((&*got.text, got.error.as_deref(), got.is_done), ("Hi", Some("upstream_truncated"), false));
}

/// A client that leaves while the rest is looked for cancels that too.
#[tokio::test]
async fn a_client_that_leaves_cancels_the_rescue() {
    let gate = Gate::default();
    let primary = Upstream::start([begun(&words("first", &["Hi"])).wait(&gate).reset()]).await;
    let fallback = Upstream::start([Script::empty().silence()]).await;
    let stand = stand("replay", &primary, &fallback, "").await;
    let mut reply = stand.client().await.last(post("/v1/chat/completions", chat_stream("auto"))).await;
    reply.until("Hi").await;
    gate.open();
    fallback.request(0).await;
    drop(reply);
    fallback.abandoned(0).await;
    assert_eq!(stand.outcomes().await.into_iter().collect::<Vec<_>>(), [("cancelled", 1)]);
}

/// What an attempt that failed while it repeated has written is charged for, too.
#[tokio::test(start_paused = true)]
async fn an_attempt_that_repeated_in_vain_is_billed() {
    let primary = Upstream::start([begun(&words("first", &["The quick"])).reset()]).await;
    let fallback = Upstream::start([whole("second", &["The quick", " slow"])]).await;
    let differs = Upstream::start([whole("second", &["The slow fox"])]).await;
    for (rest, is_rescued) in [(&differs, false), (&fallback, true)] {
        let stand = stand("replay", &primary, rest, "price: {input: 1, output: 2}").await;
        assert_eq!(read(&stand, chat_stream("auto")).await.is_done, is_rescued);
        stand.outcomes().await;
        for model in ["primary", "fallback"] {
            let labels = [format!("model=\"{model}\""), "kind=\"completion\"".to_owned()];
            assert!(
                stand.metric("pointsman_tokens_total", &[&labels[0], &labels[1]]) > 0,
                "{model}, {is_rescued}"
            );
        }
    }
}

/// Tokens that a client allows are not allowed twice: such an answer is replayed.
#[tokio::test(start_paused = true)]
async fn a_limited_answer_is_not_continued() {
    for field in [r#""max_tokens":50"#, r#""max_completion_tokens":50"#, r#""add_generation_prompt":true"#] {
        let primary = Upstream::start([begun(&words("first", &["Hi"])).reset()]).await;
        let fallback = Upstream::start([whole("second", &["Hi there"])]).await;
        let stand = stand("continue", &primary, &fallback, "continuation: prefill").await;
        let body = chat_stream("auto").replacen('{', &format!("{{{field},"), 1);
        assert_eq!(read(&stand, body).await, one_answer("Hi there"), "{field}");
        assert!(!fallback.request(0).await.text().contains("assistant"), "{field}");
    }
}

/// Cut at word 40 of 60, and a malformed event there: the client has all 60.
#[tokio::test(start_paused = true)]
async fn a_cut_and_a_malformed_event_at_word_40_of_60_are_rescued() {
    let all: Vec<String> = (0..60).map(|number| format!("w{number} ")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let cut = begun(&words("first", &all[..40]));
    for broken in [cut.clone().close(), cut.clone().silence(), cut.chunk(event("{\"choices\":[")).end()] {
        let primary = Upstream::start([broken]).await;
        let fallback = Upstream::start([whole("second", &all)]).await;
        let stand = stand("replay", &primary, &fallback, "").await;
        assert_eq!(read(&stand, chat_stream("auto")).await, one_answer(&all.concat()));
    }
}
