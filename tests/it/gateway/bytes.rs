//! Law 1: the bytes of requests and answers.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::{
    answers::{answer, as_named, chat_stream, done, event, finish, role, stream, usage, word},
    stand::{Setup, Stand},
    upstream::{Script, Upstream},
};

async fn stand(upstream: &Upstream, fields: &str) -> Stand {
    Setup::new().model("pool-name", &upstream.base_url(), fields).start().await
}

/// What the upstream got of this body.
async fn forwarded(fields: &str, sent: &str) -> String {
    let upstream = Upstream::start([Script::events(&stream("hi"))]).await;
    let stand = stand(&upstream, fields).await;
    stand.chat(sent.to_owned()).await.text().await;
    upstream.request(0).await.text().to_owned()
}

#[tokio::test]
async fn only_the_top_level_model_changes() {
    let sent = "{ \"messages\" : [ {\"role\":\"user\",\"content\":\"\\ud83d\\ude00 \\u0041\\/ü\",\"model\":\"auto\"}],\t\"mod\\u0065l\"\r\n:\t\"auto\" ,\
        \"x\":{\"model\":\"auto\"},\"x\":2, \"future\":[1e400,-0.0,12345678901234567890123.50e-9] }";
    let expected = sent.replacen("\"auto\" ,", "\"up-2024\" ,", 1);
    assert_eq!(forwarded("model: up-2024", sent).await, expected);
}

#[tokio::test]
async fn a_streamed_request_differs_in_model_and_include_usage_alone() {
    let tail = r#""messages":[{"role":"user","content":"hi"}]"#;
    for (sent, expected) in [
        (
            r#"{"model":"auto","stream":true,TAIL}"#,
            r#"{"model":"up","stream_options":{"include_usage":true},"stream":true,TAIL}"#,
        ),
        (
            r#"{TAIL, "stream_options" : { "include_usage" : false , "y":0 },"stream":true,"model":"auto"}"#,
            r#"{TAIL, "stream_options" : { "include_usage" : true , "y":0 },"stream":true,"model":"up"}"#,
        ),
        (
            r#"{"stream_options":{"include_usage":true},"stream":true,"model":"auto",TAIL}"#,
            r#"{"stream_options":{"include_usage":true},"stream":true,"model":"up",TAIL}"#,
        ),
    ] {
        let (sent, expected) = (sent.replace("TAIL", tail), expected.replace("TAIL", tail));
        assert_eq!(forwarded("model: up", &sent).await, expected);
    }
}

#[tokio::test]
async fn usage_as_is_leaves_stream_options_alone() {
    for sent in [
        chat_stream("pool-name"),
        chat_stream("pool-name").replace("\"stream\"", "\"stream_options\":null,\"stream\""),
        chat_stream("pool-name")
            .replace("\"stream\"", "\"stream_options\":{\"include_usage\":false},\"stream\""),
    ] {
        assert_eq!(forwarded("usage: as_is", &sent).await, sent);
    }
}

/// What a client gets of a stream, and what it should.
async fn relayed(fields: &str, request: &str, events: &[String]) -> String {
    let upstream = Upstream::start([Script::events(events)]).await;
    let mut reply = stand(&upstream, fields).await.chat(request.to_owned()).await;
    assert_eq!(reply.status, 200);
    assert!(reply.header("content-type").unwrap().starts_with("text/event-stream"));
    reply.text().await
}

#[tokio::test]
async fn a_streams_bytes_pass_unchanged_but_for_the_model() {
    let odd = [
        ": a comment\n\n".to_owned(),
        "event: odd\nid: 7\nretry: 10\ndata:{\"model\":\"up\",\"choices\":[]}\r\n\r\n".to_owned(),
        event(r#"{"choices":[],"prompt_filter_results":[{"x":1.50}]}"#),
        event(
            r#"{ "model" : "up", "choices":[{"index":0,"delta":{"content":"\ud83d\ude00 \u0041"},"logprobs":{"content":[]}}], "usage":null, "obfuscation":"xY" }"#,
        ),
        event(
            r#"{"model":"up","choices":[{"index":0,"delta":{"content":"b"}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#,
        ),
        event(r#"{"choices":[],"usage":null}"#),
        finish(0),
        done(),
    ];
    let expected = odd
        .concat()
        .replace(r#""model":"up""#, r#""model":"pool-name""#)
        .replace(r#""model" : "up""#, r#""model" : "pool-name""#);
    assert_eq!(relayed("model: up", &chat_stream("pool-name"), &odd).await, expected);
    let own = relayed("response_model: upstream", &chat_stream("pool-name"), &odd).await;
    assert_eq!(own, odd.concat(), "response_model: upstream");
}

#[tokio::test]
async fn only_an_unasked_usage_event_is_dropped() {
    let events = [role(), word("a"), finish(0), usage(7, 3), done()];
    let without = [role(), word("a"), finish(0), done()].concat();
    let unasked = chat_stream("pool-name");
    assert_eq!(relayed("", &unasked, &events).await, as_named(&without, "pool-name"));
    let denied = unasked.replace("\"stream\"", "\"stream_options\":{\"include_usage\":false},\"stream\"");
    assert_eq!(relayed("", &denied, &events).await, as_named(&without, "pool-name"));
    let asked = unasked.replace("\"stream\"", "\"stream_options\":{\"include_usage\":true},\"stream\"");
    assert_eq!(relayed("", &asked, &events).await, as_named(&events.concat(), "pool-name"));
}

#[tokio::test]
async fn a_whole_answers_bytes_pass_unchanged_but_for_the_model() {
    let body = "{ \"id\":\"x\", \"choices\":[ {\"index\":0,\"message\":{\"content\":\"\\u0041 ü\",\"model\":\"up\"}} ],\r\n \"model\" : \"up\" , \"n\":1.50 }\n";
    let upstream = Upstream::start([Script::json(200, body)]).await;
    let pool = stand(&upstream, "").await;
    let got = pool.chat(chat_for("pool-name")).await.text().await;
    assert_eq!(got, body.replace("\"model\" : \"up\"", "\"model\" : \"pool-name\""));
    let own = stand(&upstream, "response_model: upstream").await;
    assert_eq!(own.chat(chat_for("pool-name")).await.text().await, body);
}

fn chat_for(model: &str) -> String {
    crate::answers::chat(model)
}

#[tokio::test]
async fn a_read_key_that_occurs_twice_is_refused() {
    let upstream = Upstream::start([Script::json(200, &answer("hi"))]).await;
    let stand = stand(&upstream, "").await;
    let messages = r#""messages":[{"role":"user","content":"hi"}]"#;
    for twice in [
        format!(r#"{{"model":"auto",{messages},"model":"auto"}}"#),
        format!(r#"{{"model":"auto",{messages},"mod\u0065l":"auto"}}"#),
        format!(r#"{{"model":"auto",{messages},"stream":false,"\u0073tream":false}}"#),
        format!(r#"{{"model":"auto",{messages},{messages}}}"#),
    ] {
        let mut reply = stand.chat(twice.clone()).await;
        assert_eq!(reply.status, 400, "{twice}");
        assert_eq!(reply.error().await["type"], "invalid_request_error");
    }
    assert_eq!(upstream.requests(), 0);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i32>().prop_map(|quarters| Value::from(f64::from(quarters) / 4.0)),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((".*", inner), 0..4)
                .prop_map(|pairs| Value::from(pairs.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// A body as a client may write it, and the same with the upstream's name in place of `auto`.
fn any_body() -> impl Strategy<Value = (String, String)> {
    let fields = prop::collection::vec(("[a-z_ü\\\\\"]{1,9}", any_json()), 0..6);
    (fields, any::<prop::sample::Index>(), any::<bool>()).prop_map(|(fields, at, pretty)| {
        let mut fields: Vec<(String, Value)> = fields
            .into_iter()
            // A prefix, so that no key that the gateway reads comes out.
            .map(|(key, value)| (format!("x-{key}"), value))
            .chain([("messages".to_owned(), json!([{"role": "user", "content": "hi"}]))])
            .collect();
        fields.insert(at.index(fields.len() + 1), ("model".to_owned(), json!("MODEL")));
        let separator = if pretty { " ,\n\t" } else { "," };
        let members: Vec<String> =
            fields.iter().map(|(key, value)| format!("{}:{value}", Value::from(key.as_str()))).collect();
        let body = format!("{{{}}}", members.join(separator));
        (body.replacen("\"MODEL\"", "\"auto\"", 1), body.replacen("\"MODEL\"", "\"up-name\"", 1))
    })
}

/// One gateway and one upstream for every case; the cases come from proptest, through one kept connection.
#[test]
fn any_valid_object_survives_the_gateway() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (upstream, stand, client) = runtime.block_on(async {
        let upstream = Upstream::start([Script::json(200, &answer("hi"))]).await;
        let stand = stand(&upstream, "model: up-name").await;
        let client = stand.client().await;
        (upstream, stand, client)
    });
    let client = tokio::sync::Mutex::new(client);
    proptest!(ProptestConfig::with_cases(200), |((sent, expected) in any_body())| {
        let got = runtime.block_on(async {
            let place = upstream.requests();
            let mut client = client.lock().await;
            let mut reply = client.send(crate::client::post("/v1/chat/completions", sent)).await;
            assert_eq!(reply.status, 200);
            reply.text().await;
            upstream.request(place).await
        });
        prop_assert_eq!(got.text(), expected);
    });
    drop(stand);
}

/// An answer too long to be held is still this pool's model's answer.
#[tokio::test]
async fn a_long_answer_carries_the_pools_name_too() {
    let body = answer(&"x".repeat(10_000));
    let upstream = Upstream::start([Script::json(200, &body)]).await;
    let stand = Setup::new()
        .server("response_buffer: 1KiB")
        .model("pool-name", &upstream.base_url(), "")
        .start()
        .await;
    let got = stand.chat(chat_for("pool-name")).await.text().await;
    assert!(got == as_named(&body, "pool-name"), "{}", &got[..80]);
}
