//! Laws 3 and 8: what is held, and for how long, has a limit.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    answers::{answer, chat, chat_stream, done, finish, stream, word},
    client::{KEY, RawClient, get, post},
    stand::{Setup, Stand},
    upstream::{Gate, Script, Upstream, chunk},
};

async fn stand(upstream: &Upstream, server: &str) -> Stand {
    Setup::new().server(server).model("m", &upstream.base_url(), "price: {input: 1, output: 1}").start().await
}

async fn good() -> Upstream {
    Upstream::start([Script::json(200, &answer("good"))]).await
}

/// The gateway goes on, and has counted what it refused.
async fn goes_on(stand: &Stand, refused: &[(&'static str, u64)]) {
    assert_eq!(stand.outcomes().await.into_iter().collect::<Vec<_>>(), refused);
    assert_eq!(stand.chat(chat("m")).await.status, 200);
}

/// Most memory that this process has ever held, in bytes.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[tokio::test]
async fn a_hundred_megabytes_stream_through_and_their_usage_is_read() {
    const PIECE: usize = 1 << 20;
    let script = Script::stream_with("content-type: application/json")
        .chunk(r#"{"id":"x","choices":[{"message":{"content":""#)
        .repeat(chunk(&[b'x'; PIECE]), 100)
        .chunk(r#""}}],"usage":{"prompt_tokens":5,"completion_tokens":6}}"#)
        .end();
    let upstream = Upstream::start([script]).await;
    let stand = stand(&upstream, "response_buffer: 64KiB").await;
    let before = peak_memory();
    let mut reply = stand.chat(chat("m")).await;
    assert_eq!(reply.status, 200);
    let mut length = 0;
    while let Some(frame) = reply.frame().await {
        length += frame.unwrap().len();
    }
    assert!(length > 100 * PIECE);
    let grown = peak_memory() - before;
    assert!(grown < 32 << 20, "{} MiB more were held", grown >> 20);
    assert_eq!(stand.outcomes().await.into_iter().collect::<Vec<_>>(), [("ok", 1)]);
    assert_eq!(stand.metric("pointsman_tokens_total", &["kind=\"prompt\""]), 5);
    assert_eq!(stand.metric("pointsman_tokens_total", &["kind=\"completion\""]), 6);
}

#[tokio::test]
async fn an_answer_over_the_buffer_is_on_its_way_before_it_ends() {
    let gate = Gate::default();
    let script = Script::stream_with("content-type: application/json")
        .chunk(format!(r#"{{"choices":[],"x":"{}"#, "x".repeat(4096)))
        .wait(&gate)
        .chunk("\"}")
        .end();
    let upstream = Upstream::start([script]).await;
    let stand = stand(&upstream, "response_buffer: 1KiB").await;
    let mut reply = stand.chat(chat("m")).await;
    reply.until("xxx").await;
    gate.open();
    assert!(reply.text().await.ends_with("\"}"));
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let upstream = good().await;
    let stand = stand(&upstream, "max_body_bytes: 1KiB").await;
    let padded = |bytes: usize| {
        let body = chat("m");
        format!("{body}{}", " ".repeat(bytes - body.len()))
    };
    assert_eq!(stand.chat(padded(1024)).await.status, 200, "the limit itself is allowed");
    let mut reply = stand.chat(padded(1025)).await;
    assert_eq!(reply.status, 413);
    reply.error().await;
    let mut client = RawClient::connect(stand.address).await;
    client.send(head("transfer-encoding: chunked")).await;
    client.send([chunk(padded(1000).as_bytes()), chunk(&[b' '; 100]), b"0\r\n\r\n".to_vec()].concat()).await;
    assert!(client.rest().await.starts_with("HTTP/1.1 413 "), "chunks without a length");
    assert_eq!(upstream.requests(), 1);
    goes_on(&stand, &[("client_error", 2), ("ok", 1)]).await;
}

fn head(field: &str) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\n{field}\r\n\r\n"
    )
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_is_refused_in_time() {
    let upstream = good().await;
    let stand = stand(&upstream, "body_timeout: 2s").await;
    for field in ["content-length: 100", "transfer-encoding: chunked"] {
        let begun = tokio::time::Instant::now();
        let mut client = RawClient::connect(stand.address).await;
        client.send(head(field)).await;
        client.send(if field.starts_with('c') { "{\"model\"" } else { "8\r\n{\"model\"\r\n" }).await;
        let answer = client.rest().await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.contains(r#"{"error":{"message""#), "{answer}");
        let seconds = begun.elapsed().as_secs();
        assert!((2..4).contains(&seconds), "{seconds}");
    }
    assert_eq!(upstream.requests(), 0);
    goes_on(&stand, &[("client_error", 2)]).await;
}

/// A client that connects and says nothing has asked nothing: it gets no answer.
#[tokio::test(start_paused = true)]
async fn a_slow_head_is_refused_in_time() {
    let upstream = good().await;
    let stand = stand(&upstream, "header_timeout: 2s").await;
    for begin in ["", "POST /v1/chat/completions HTTP/1.1\r\nhost: "] {
        let begun = tokio::time::Instant::now();
        let mut client = RawClient::connect(stand.address).await;
        client.send(begin).await;
        let answer = client.rest().await;
        assert_eq!(begun.elapsed().as_secs(), 2, "{begin:?}");
        if begin.is_empty() {
            assert_eq!(answer, "");
        } else {
            assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
            assert!(answer.contains(r#""code":"request_timeout""#), "{answer}");
        }
    }
    assert_eq!(stand.metric("pointsman_connections_refused_total", &["reason=\"slow\""]), 2);
    goes_on(&stand, &[("client_error", 1)]).await;
}

#[tokio::test]
async fn a_header_bomb_is_refused() {
    let upstream = good().await;
    let stand = stand(&upstream, "max_header_bytes: 2KiB").await;
    let field = |name: &str, bytes: usize| format!("{name}: {}", "x".repeat(bytes));
    let many: Vec<String> = (0..200).map(|place| format!("x-{place}: y")).collect();
    for (what, fields) in [("a long field", field("x-long", 3000)), ("many fields", many.join("\r\n"))] {
        let mut client = RawClient::connect(stand.address).await;
        client.send(head(&format!("content-length: 0\r\nconnection: close\r\n{fields}"))).await;
        let answer = client.rest().await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{what}: {answer}");
        assert!(answer.contains(r#"{"error":{"message""#), "{what}: {answer}");
    }
    goes_on(&stand, &[("client_error", 2)]).await;
}

/// Beyond what is read at all, the answer comes before the head has ended, and however much the client still sends.
#[tokio::test]
async fn a_huge_header_bomb_is_refused() {
    let upstream = good().await;
    let stand = stand(&upstream, "max_header_bytes: 2KiB").await;
    for (begin, status) in [("POST / HTTP/1.1\r\nx-bomb: ", 431), ("POST /", 414)] {
        let mut client = RawClient::connect(stand.address).await;
        client.send(begin).await;
        client.send(vec![b'x'; 4 << 20]).await;
        let answer = client.rest().await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains(r#"{"error":{"message""#), "{answer}");
    }
    assert_eq!(stand.metric("pointsman_connections_refused_total", &["reason=\"malformed\""]), 2);
    goes_on(&stand, &[("client_error", 2)]).await;
}

#[tokio::test]
async fn too_many_requests_at_a_time_are_turned_away() {
    let gate = Gate::default();
    let held = Script::stream().chunk(word("a")).wait(&gate).chunk(finish(0)).chunk(done()).end();
    let upstream = Upstream::start([held.clone(), held, Script::events(&stream("b"))]).await;
    let stand = stand(&upstream, "max_concurrent_requests: 2, queue_per_tenant: 0").await;
    let mut first = stand.chat(chat_stream("m")).await;
    let mut second = stand.chat(chat_stream("m")).await;
    let mut third = stand.chat(chat_stream("m")).await;
    assert_eq!(third.status, 503);
    assert!(third.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
    assert_eq!(third.error().await["type"], "server_error");
    assert_eq!(upstream.requests(), 2);
    gate.open();
    assert!(first.text().await.ends_with(&done()) && second.text().await.ends_with(&done()));
    assert_eq!(stand.outcomes().await.into_iter().collect::<Vec<_>>(), [("limited", 1), ("ok", 2)]);
    assert_eq!(stand.chat(chat_stream("m")).await.status, 200, "their permits are free again");
}

/// Tested by order, not by time: whoever floods the gateway waits behind himself alone.
#[tokio::test]
async fn a_flood_of_one_tenant_leaves_another_its_turn() {
    let gates: Vec<Gate> = (0..5).map(|_| Gate::default()).collect();
    let scripts: Vec<Script> = gates
        .iter()
        .map(|gate| Script::stream().chunk(word("a")).wait(gate).chunk(finish(0)).chunk(done()).end())
        .collect();
    let upstream = Upstream::start(scripts).await;
    let stand = Setup::new()
        .server("max_concurrent_requests: 1, queue_timeout: 60s, queue_per_tenant: 3")
        .model("m", &upstream.base_url(), "")
        .tenants(
            "{flood: {keys: [{key: tenant-key}], pool: [m]}, quiet: {keys: [{key: quiet-key}], pool: [m]}}",
        )
        .start()
        .await;
    let mut holder = stand.chat(chat_stream("m")).await;
    let mut asking = tokio::task::JoinSet::new();
    let mut ask = async |key: &'static str, number: usize| {
        let mut client = stand.client().await;
        let mut request =
            post("/v1/chat/completions", chat_stream("m").replace("hi", &format!("{key} {number}")));
        request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        asking.spawn(async move { client.send(request).await.text().await });
        stand.eventually("a place in line", || stand.app.admission.waiting() == number).await;
    };
    for number in 1..=3 {
        ask("tenant-key", number).await;
    }
    assert_eq!(stand.chat(chat_stream("m")).await.status, 503, "its line is full");
    ask("quiet-key", 4).await;
    for (place, gate) in gates.iter().enumerate() {
        upstream.request(place).await;
        gate.open();
    }
    holder.text().await;
    while let Some(text) = asking.join_next().await {
        assert!(text.unwrap().ends_with(&done()));
    }
    let mut order = Vec::new();
    for place in 1..5 {
        order.push(upstream.request(place).await.text().contains("quiet-key"));
    }
    assert_eq!(order, [false, true, false, false], "the quiet one is second, though three came before it");
    assert_eq!(stand.outcomes().await.into_iter().collect::<Vec<_>>(), [("limited", 1), ("ok", 5)]);
}

/// A client that leaves the line makes room in it, and costs nobody a place.
#[tokio::test]
async fn who_leaves_the_line_is_not_let_in() {
    let gate = Gate::default();
    let held = Script::stream().chunk(word("a")).wait(&gate).chunk(finish(0)).chunk(done()).end();
    let upstream = Upstream::start([held, Script::events(&stream("b"))]).await;
    let stand = stand(&upstream, "max_concurrent_requests: 1, queue_timeout: 60s").await;
    let mut holder = stand.chat(chat_stream("m")).await;
    let mut leaver = RawClient::connect(stand.address).await;
    leaver.send(head("content-length: 0")).await;
    stand.eventually("a place in line", || stand.app.admission.waiting() == 1).await;
    drop(leaver);
    stand.eventually("an empty line", || stand.app.admission.waiting() == 0).await;
    gate.open();
    holder.text().await;
    assert_eq!(stand.chat(chat_stream("m")).await.status, 200);
    assert_eq!(upstream.requests(), 2);
}

/// Past the limit clients wait in the kernel's queue, and are served when a place is free.
#[tokio::test]
async fn too_many_connections_wait() {
    let upstream = good().await;
    let stand = stand(&upstream, "max_connections: 1").await;
    let mut holder = stand.client().await;
    assert_eq!(holder.send(get("/v1/models")).await.status, 200);
    let mut waiting = stand.client().await;
    let mut reply = std::pin::pin!(waiting.send(get("/v1/models")));
    let mut turns = 0;
    let a_while = stand.eventually("two hundred turns", || {
        turns += 1;
        turns > 200
    });
    tokio::select! {
        biased;
        reply = &mut reply => panic!("an answer past the limit: {}", reply.status),
        () = a_while => {}
    }
    drop(holder);
    assert_eq!(reply.await.status, 200);
}

#[tokio::test]
async fn one_event_without_end_is_refused() {
    let script =
        Script::stream().chunk(word("a")).chunk("data: ").repeat(chunk(&[b'x'; 1 << 20]), 20).silence();
    let upstream = Upstream::start([script]).await;
    let stand = stand(&upstream, "").await;
    let before = peak_memory();
    let text = stand.chat(chat_stream("m")).await.text().await;
    assert!(text.contains("upstream_event_too_long"), "{}", &text[..text.len().min(500)]);
    assert!(peak_memory() - before < 80 << 20);
    upstream.abandoned(0).await;
}

#[tokio::test]
async fn an_empty_or_broken_body_is_refused_clearly() {
    let upstream = good().await;
    let stand = stand(&upstream, "").await;
    let bodies: [(&[u8], &str); 9] = [
        (b"", "nothing"),
        (b"{", "half"),
        (b"[]", "no object"),
        (b"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"\xff\"}]}", "no UTF-8"),
        (br#"{"messages":[{"role":"user","content":"x"}]}"#, "no model"),
        (br#"{"model":"m"}"#, "no messages"),
        (br#"{"model":"m","messages":[]}"#, "empty messages"),
        (br#"{"model":"m","messages":"x"}"#, "wrong type"),
        (br#"{"model":7,"messages":[{"role":"user","content":"x"}]}"#, "wrong type of model"),
    ];
    for (body, what) in bodies {
        let mut reply = stand.chat(Bytes::copy_from_slice(body)).await;
        assert_eq!(reply.status, 400, "{what}");
        assert_eq!(reply.error().await["type"], "invalid_request_error", "{what}");
    }
    assert_eq!(upstream.requests(), 0);
    goes_on(&stand, &[("client_error", 9)]).await;
}

/// The second request of a connection is no exception; a kept connection without a request is.
#[tokio::test(start_paused = true)]
async fn a_slow_second_head_is_refused_in_time() {
    let upstream = good().await;
    let stand = stand(&upstream, "header_timeout: 2s").await;
    let mut client = RawClient::connect(stand.address).await;
    for _ in 0..2 {
        client.send(head(&format!("content-length: {}", chat("m").len())) + &chat("m")).await;
        client.until("good").await;
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    let begun = tokio::time::Instant::now();
    client.send("POST /v1/chat/completions HTTP/1.1\r\nhost: ").await;
    assert!(client.rest().await.contains("HTTP/1.1 408 "));
    assert_eq!(begun.elapsed().as_secs(), 2);
    assert_eq!(stand.metric("pointsman_connections_refused_total", &["reason=\"slow\""]), 1);
}

/// Nor is a request that takes its time.
#[tokio::test(start_paused = true)]
async fn a_long_answer_is_no_slow_head() {
    let gate = Gate::default();
    let script = Script::stream().chunk(word("a")).wait(&gate).chunk(finish(0)).chunk(done()).end();
    let upstream = Upstream::start([script]).await;
    let stand = stand(&upstream, "header_timeout: 2s").await;
    let mut reply = stand.chat(chat_stream("m")).await;
    reply.until("\"a\"").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    gate.open();
    assert!(reply.text().await.ends_with(&done()));
}
