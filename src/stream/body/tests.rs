//! A stream from both sides: what the upstream sent, what the client got, what the observer was told.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use tokio::time::Instant;

use super::*;
use crate::{
    openai::{chunk::Dialect, usage::Usage},
    stream::{patience::Patience, relay::RelaySettings},
    telemetry::bill::Meter,
};

#[derive(Debug, Default, PartialEq, Clone)]
struct Told {
    usage: Option<Usage>,
    ended: Option<Option<StreamFault>>,
}

#[derive(Debug, Clone, Default)]
struct Watch(Arc<Mutex<Option<Option<StreamFault>>>>);

impl<B> Rescuer<B> for Watch {
    type Found = ();

    fn rescue(&mut self, _: &StreamFault, _: Transcript) -> Option<Rescue<B, ()>> {
        None
    }

    fn rescued(&mut self, (): ()) {}
}

impl StreamObserver for Watch {
    fn ended(&mut self, fault: Option<&StreamFault>) {
        let earlier = self.0.lock().unwrap().replace(fault.cloned());
        assert!(earlier.is_none(), "told twice");
    }
}

fn settings() -> RelaySettings {
    RelaySettings {
        dialect: Dialect::Choices,
        choices: 1,
        model_json: Some(Bytes::from_static(b"\"pool\"")),
        drop_usage_event: true,
        patience: Patience {
            first_token_at: Some(Instant::now() + Duration::from_secs(5)),
            silence_max: Duration::from_secs(5),
            request_at: Instant::now() + Duration::from_secs(60),
        },
        transcript: None,
        event_bytes_max: 1 << 20,
        redactor: Arc::default(),
        meter: Meter::alone("m"),
    }
}

enum End {
    Closed,
    Reset,
    Silent,
}

/// Runs a stream of these frames through; what the client got, and what was told.
async fn run(frames: Vec<String>, end: End, settings: RelaySettings) -> Result<(String, Told), StreamFault> {
    let mut items: Vec<Result<Frame<Bytes>, std::io::Error>> =
        frames.into_iter().map(|text| Ok(Frame::data(Bytes::from(text)))).collect();
    if matches!(end, End::Reset) {
        items.push(Err(std::io::ErrorKind::ConnectionReset.into()));
    }
    let silent = matches!(end, End::Silent);
    let tail = stream::poll_fn(move |_| if silent { Poll::Pending } else { Poll::Ready(None) });
    let body = StreamBody::new(futures_util::StreamExt::chain(stream::iter(items), tail));
    let meter = Arc::clone(&settings.meter);
    let committed = commit(Relay::new(body, settings)).await?;
    let watch = Watch::default();
    let bytes = committed.into_body(watch.clone()).collect().await.unwrap().to_bytes();
    let ended = watch.0.lock().unwrap().clone();
    let told = Told { usage: meter.used().filter(|used| !used.is_estimate).map(|used| used.usage), ended };
    Ok((String::from_utf8(bytes.to_vec()).unwrap(), told))
}

fn event(json: &str) -> String {
    format!("data: {json}\n\n")
}

fn role() -> String {
    event(r#"{"model":"up","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#)
}

fn word(text: &str) -> String {
    event(&format!(r#"{{"model":"up","choices":[{{"index":0,"delta":{{"content":"{text}"}}}}]}}"#))
}

fn finish() -> String {
    event(r#"{"model":"up","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#)
}

fn usage() -> String {
    event(r#"{"model":"up","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}"#)
}

fn done() -> String {
    event("[DONE]")
}

fn pool(frames: &[String]) -> String {
    frames.concat().replace("\"up\"", "\"pool\"")
}

#[tokio::test]
async fn a_whole_answer_passes_with_the_pools_model_and_without_the_unasked_usage() {
    let (got, told) =
        run(vec![role(), word("a"), word("b"), finish(), usage(), done()], End::Closed, settings())
            .await
            .unwrap();
    assert_eq!(got, pool(&[role(), word("a"), word("b"), finish(), done()]));
    assert_eq!(told.usage, Some(Usage::of(3, 4)));
    assert_eq!(told.ended, Some(None));
}

#[tokio::test]
async fn frames_may_fall_anywhere() {
    let stream = [role(), word("a"), ": beat\n\n".into(), finish(), usage(), done()].concat();
    let one_byte = stream.chars().map(String::from).collect();
    let (got, told) = run(one_byte, End::Closed, settings()).await.unwrap();
    assert_eq!(got, pool(&[role(), word("a"), ": beat\n\n".into(), finish(), done()]));
    assert_eq!(told.ended, Some(None));
}

#[tokio::test]
async fn an_asked_usage_event_stays_and_a_missing_done_is_supplied() {
    let settings = RelaySettings { drop_usage_event: false, model_json: None, ..settings() };
    for end in [End::Closed, End::Reset] {
        let (got, told) = run(vec![word("a"), finish(), usage()], end, settings.clone()).await.unwrap();
        assert_eq!(got, [word("a"), finish(), usage(), done()].concat());
        assert_eq!(told.ended, Some(None));
    }
}

#[tokio::test]
async fn an_early_end_after_the_commit_is_an_error_and_never_done() {
    let broken = [
        (vec![word("a")], End::Closed, StreamFault::Truncated),
        (vec![word("a")], End::Reset, StreamFault::Truncated),
        (vec![word("a"), done()], End::Closed, StreamFault::Truncated),
        (vec![word("a"), event("{broken")], End::Closed, StreamFault::Malformed),
        (
            vec![word("a"), event(r#"{"error":{"message":"overloaded"}}"#)],
            End::Closed,
            StreamFault::Reported("overloaded".into()),
        ),
    ];
    for (frames, end, fault) in broken {
        let (got, told) = run(frames, end, settings()).await.unwrap();
        assert!(got.starts_with(&pool(&[word("a")])), "{got}");
        assert!(got.contains(r#"data: {"error":{"message":"#) && !got.contains("[DONE]"), "{got}");
        assert_eq!(told.ended, Some(Some(fault)));
    }
}

#[tokio::test]
async fn every_choice_must_finish() {
    let settings = RelaySettings { choices: 2, ..settings() };
    let (got, told) = run(vec![word("a"), finish(), done()], End::Closed, settings).await.unwrap();
    assert!(!got.contains("[DONE]"));
    assert_eq!(told.ended, Some(Some(StreamFault::Truncated)));
}

#[tokio::test]
async fn before_the_commit_a_fault_goes_to_the_caller() {
    for (frames, end) in [
        (vec![], End::Closed),
        (vec![role()], End::Reset),
        (vec!["<html>\n\n".into()], End::Closed),
        (vec![role(), event("[DONE]")], End::Closed),
    ] {
        assert_eq!(run(frames, end, settings()).await.unwrap_err(), StreamFault::Truncated);
    }
    let error = run(vec![event(r#"{"error":"no"}"#)], End::Closed, settings()).await.unwrap_err();
    assert_eq!(error, StreamFault::Reported("no".into()));
}

#[tokio::test(start_paused = true)]
async fn silence_ends_a_stream() {
    assert_eq!(run(vec![role()], End::Silent, settings()).await.unwrap_err(), StreamFault::FirstToken);
    let (got, told) = run(vec![word("a")], End::Silent, settings()).await.unwrap();
    assert!(got.contains("upstream_between_tokens_timeout"));
    assert_eq!(told.ended, Some(Some(StreamFault::Stalled)));
}

/// A client may leave while a replay is silent: what it has repeated by then is on the books.
#[tokio::test]
async fn a_silent_replay_is_metered_as_it_comes() {
    let mut transcript = Transcript::default();
    transcript.take(r#"{"choices":[{"index":0,"delta":{"content":"The quick brown"}}]}"#);
    transcript.aims_at(false);
    let settings = RelaySettings { transcript: Some(transcript), ..settings() };
    let meter = Arc::clone(&settings.meter);
    let first = stream::iter([Ok::<_, std::io::Error>(Frame::data(Bytes::from(word("The quick"))))]);
    let body = StreamBody::new(futures_util::StreamExt::chain(first, stream::pending()));
    let replay = commit(Relay::new(body, settings));
    assert!(futures_util::FutureExt::now_or_never(replay).is_none(), "nothing is new yet");
    assert_eq!(meter.used().map(|used| used.usage.completion_tokens), Some(3));
}
