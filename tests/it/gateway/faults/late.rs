//! Models that are late: heartbeats, and a second model beside the first.

use super::*;

/// Comments keep the way to the client open while the first content is waited for; then the answer is as ever.
#[tokio::test(start_paused = true)]
async fn heartbeats_are_sent_until_the_first_content() {
    let slow = Script::stream().chunk(role()).silence();
    let (primary, fallback) = (upstream([slow]).await, upstream([good_stream()]).await);
    let stand = stand_with(&[&primary, &fallback], "heartbeat: 3s").await;
    let mut reply = stand.chat(chat_stream("auto")).await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("content-type")),
        (200, Some("text/event-stream; charset=utf-8"))
    );
    let text = reply.text().await;
    let beats = text.matches(": waiting for the model\n\n").count();
    assert!((2..=4).contains(&beats), "{text}");
    assert!(text.ends_with(&as_named(&stream("good").concat(), "fallback")), "{text}");
    assert_eq!(stand.outcomes().await.into_iter().collect::<Vec<_>>(), [("ok", 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_after_a_heartbeat_is_an_error_event() {
    let primary = upstream([Script::empty().silence()]).await;
    let stand = stand_with(&[&primary], "heartbeat: 1s, retry: {max: 0}").await;
    let mut reply = stand.chat(chat_stream("auto")).await;
    assert_eq!(reply.status, 200);
    let text = reply.text().await;
    let (_, event) = text.rsplit_once(": waiting for the model\n\n").unwrap();
    assert!(event.starts_with(r#"data: {"error":{"message""#) && event.ends_with("}\n\n"), "{text}");
    assert!(event.contains("upstream_headers_timeout") && !text.contains("[DONE]"), "{text}");
    assert_eq!(stand.outcomes().await.into_iter().collect::<Vec<_>>(), [("upstream_error", 1)]);
}

/// What comes in time keeps its own status.
#[tokio::test(start_paused = true)]
async fn without_a_wait_there_is_no_heartbeat() {
    let primary = upstream([Script::json(500, "{}"), good_stream()]).await;
    let stand = stand_with(&[&primary], "heartbeat: 20s, retry: {max: 0}").await;
    assert_eq!(stand.chat(chat_stream("auto")).await.status, 502);
    assert!(!rescued(&stand, chat_stream("auto"), "1").await.contains("waiting"));
}

/// A model that is later than it ever is has a second one asked beside it.
#[tokio::test(start_paused = true)]
async fn a_hedge_is_asked_after_the_models_own_95th_percentile() {
    for (first_wins, winner, result) in [(false, "fallback", "first"), (true, "primary", "late")] {
        let (gate, other) = (Gate::default(), Gate::default());
        let mut scripts = vec![good_stream(); 20];
        let begun = Script::empty().wait(&gate);
        scripts
            .push(stream("good").iter().fold(begun.write(HEAD), |script, event| script.chunk(event)).end());
        let hedge = Script::empty().wait(&other);
        let hedge = stream("good").iter().fold(hedge.write(HEAD), |script, event| script.chunk(event)).end();
        let (primary, fallback) = (upstream(scripts).await, upstream([hedge]).await);
        let stand = stand_with(&[&primary, &fallback], "hedge: true").await;
        for _ in 0..20 {
            rescued(&stand, chat_stream("auto"), "1").await;
        }
        assert_eq!(fallback.requests(), 0, "nothing was late yet");
        let mut client = stand.client().await;
        let mut asking = tokio::task::JoinSet::new();
        asking.spawn(async move {
            let mut reply =
                client.send(crate::client::post("/v1/chat/completions", chat_stream("auto"))).await;
            (reply.header("x-pointsman-model").map(str::to_owned), reply.text().await)
        });
        fallback.request(0).await;
        assert_eq!(primary.requests(), 21, "both are asked");
        if first_wins { &gate } else { &other }.open();
        let (model, text) = asking.join_next().await.unwrap().unwrap();
        assert_eq!((model.as_deref(), text), (Some(winner), as_named(&stream("good").concat(), winner)));
        if first_wins {
            fallback.abandoned(0).await;
        } else {
            primary.abandoned(20).await;
        }
        let labels = [format!("result=\"{result}\""), "model=\"fallback\"".to_owned()];
        assert_eq!(stand.metric("pointsman_hedges_total", &[&labels[0], &labels[1]]), 1);
        let ok = ["outcome=\"ok\"".to_owned(), format!("model=\"{winner}\"")];
        stand.outcomes().await;
        assert_eq!(
            stand.metric("pointsman_requests_total", &[&ok[0], &ok[1]]),
            if first_wins { 21 } else { 1 }
        );
    }
}

/// A second model that refuses is no answer while the first is on its way; both may then be asked for the rest.
#[tokio::test(start_paused = true)]
async fn a_hedge_that_refuses_is_passed_over() {
    let gate = Gate::default();
    let mut scripts = vec![good_stream(); 20];
    let late = Script::empty().wait(&gate).write(HEAD);
    scripts.push(stream("good").iter().fold(late, |script, event| script.chunk(event)).end());
    let refusal = Script::json(400, r#"{"error":{"message":"no","type":"invalid_request_error"}}"#);
    let (primary, fallback) = (upstream(scripts).await, upstream([refusal]).await);
    let stand = stand_with(&[&primary, &fallback], "hedge: true").await;
    for _ in 0..20 {
        rescued(&stand, chat_stream("auto"), "1").await;
    }
    let mut client = stand.client().await;
    let mut asking = tokio::task::JoinSet::new();
    asking.spawn(async move {
        client.send(crate::client::post("/v1/chat/completions", chat_stream("auto"))).await.text().await
    });
    fallback.request(0).await;
    stand
        .eventually("the refusal", || {
            stand.metric("pointsman_attempts_total", &["model=\"fallback\"", "result=\"refused\""]) == 1
        })
        .await;
    gate.open();
    assert_eq!(asking.join_next().await.unwrap().unwrap(), as_named(&stream("good").concat(), "primary"));
    assert_eq!(stand.metric("pointsman_hedges_total", &["result=\"late\""]), 1);
}
