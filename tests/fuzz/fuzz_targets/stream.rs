//! A streamed answer: the client gets the same and the books say the same however the upstream's bytes are cut, and
//! no more is held than the limit and one frame.
//!
//! The first byte chooses the settings, the next four the lengths of the frames; the rest is the stream.

#![no_main]

use std::{cell::RefCell, io, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use libfuzzer_sys::fuzz_target;
use pointsman::{
    openai::chunk::Dialect,
    stream::{
        body::{Rescue, Rescuer, StreamObserver, commit},
        fault::StreamFault,
        patience::Patience,
        relay::{Relay, RelaySettings},
        sse::Decoder,
        transcript::Transcript,
    },
    telemetry::bill::{Meter, Used},
};
use tokio::{
    runtime::{Builder, Runtime},
    time::Instant,
};

const EVENT_BYTES_MAX: usize = 200;

fuzz_target!(|data: &[u8]| {
    let Some((&[choices, a, b, c, d], bytes)) = data.split_first_chunk() else { return };
    let lengths = [a, b, c, d].map(|length| 1 + usize::from(length % 64));
    let cut = cut(bytes, lengths);
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    decode(&[bytes]);
    decode(&cut);
    decode(&single);
    let whole = relayed(&[bytes], choices);
    assert_eq!(relayed(&cut, choices), whole);
    assert_eq!(relayed(&single, choices), whole);
});

fn cut(mut bytes: &[u8], lengths: [usize; 4]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    for length in lengths.into_iter().cycle() {
        let Some((piece, rest)) = bytes.split_at_checked(length) else { break };
        pieces.push(piece);
        bytes = rest;
    }
    pieces.push(bytes);
    pieces
}

/// Events are the stream's own bytes, in order, and the decoder holds no more than one event and one frame.
fn decode(frames: &[&[u8]]) {
    let (sent, mut seen) = (frames.concat(), Vec::new());
    let mut decoder = Decoder::new(EVENT_BYTES_MAX);
    for frame in frames {
        decoder.push(frame);
        assert!(decoder.held() <= EVENT_BYTES_MAX + frame.len());
        loop {
            match decoder.next_event() {
                Ok(Some(event)) => seen.extend_from_slice(&event.raw),
                Ok(None) => break,
                Err(_) => {
                    assert!(sent.starts_with(&seen));
                    return;
                }
            }
        }
    }
    assert!(sent.starts_with(&seen));
    assert_eq!(seen.len() + decoder.held(), sent.len());
}

/// What an observer was told, and what the meter read.
#[derive(Debug, Default, PartialEq, Clone)]
struct Told {
    used: Option<Used>,
    ended: Option<Option<StreamFault>>,
}

struct Watch(Arc<std::sync::Mutex<Option<Option<StreamFault>>>>);

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

/// What the client gets of a stream in these frames, and what the observer is told.
fn relayed(frames: &[&[u8]], choices: u8) -> Result<(Vec<u8>, Told), StreamFault> {
    thread_local! {
        static RUNTIME: Rc<RefCell<Runtime>> = Rc::new(RefCell::new(
            Builder::new_current_thread().enable_time().start_paused(true).build().unwrap(),
        ));
    }
    let runtime = RUNTIME.with(Rc::clone);
    let runtime = runtime.borrow();
    runtime.block_on(async {
        let mut items: Vec<Result<Frame<Bytes>, io::Error>> =
            frames.iter().map(|frame| Ok(Frame::data(Bytes::copy_from_slice(frame)))).collect();
        if choices & 1 == 1 {
            items.push(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let silent = stream::iter((choices & 2 == 2).then_some(())).then(|()| std::future::pending());
        let body = StreamBody::new(Box::pin(stream::iter(items).chain(silent)));
        let (ended, settings) = (Arc::default(), settings(choices));
        let meter = Arc::clone(&settings.meter);
        let committed = commit(Relay::new(body, settings)).await?;
        let sent = committed.into_body(Watch(Arc::clone(&ended))).collect().await;
        let Ok(sent) = sent;
        let told = Told { used: meter.used(), ended: ended.lock().unwrap().clone() };
        assert!(told.ended.is_some(), "the books are closed");
        Ok((sent.to_bytes().to_vec(), told))
    })
}

fn settings(choices: u8) -> RelaySettings {
    RelaySettings {
        dialect: if choices & 4 == 4 { Dialect::Responses } else { Dialect::Choices },
        choices: u32::from(choices >> 6),
        model_json: (choices & 8 == 8).then_some(Bytes::from_static(b"\"pool\"")),
        drop_usage_event: choices & 16 == 16,
        patience: Patience {
            first_token_at: Some(Instant::now() + Duration::from_secs(5)),
            silence_max: Duration::from_secs(5),
            request_at: Instant::now() + Duration::from_secs(5),
        },
        transcript: None,
        event_bytes_max: EVENT_BYTES_MAX,
        redactor: Arc::default(),
        meter: Meter::alone("m"),
    }
}
