//! An upstream that takes its leave in the middle of a request, frame by frame.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;

const PREFACE_BYTES: usize = 24;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Reads frames until a request is whole, and gives its stream.
async fn request(stream: &mut TcpStream) -> std::io::Result<u32> {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let length = usize::try_from(u32::from_be_bytes([0, head[0], head[1], head[2]])).unwrap();
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await?;
        if matches!(head[3], DATA | HEADERS) && head[4] & END_STREAM != 0 {
            return Ok(u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]));
        }
    }
}

/// Says with the first connection's request that it goes, having taken streams up to `last`, and closes; answers on the next.
async fn leaves_once(last: u32, reason: u32) -> (String, tokio::task::JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
    let mut serving = tokio::task::JoinSet::new();
    serving.spawn(async move {
        let mut connections = 0;
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut preface = [0; PREFACE_BYTES];
            stream.read_exact(&mut preface).await.unwrap();
            stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
            let Ok(id) = request(&mut stream).await else { continue };
            connections += 1;
            if connections == 1 {
                let payload = [last.to_be_bytes(), reason.to_be_bytes()].concat();
                stream.write_all(&frame(GOAWAY, 0, 0, &payload)).await.unwrap();
                continue;
            }
            // `:status: 200`, of HPACK's own table.
            let head = frame(HEADERS, END_HEADERS, id, &[0x88]);
            let body = frame(DATA, END_STREAM, id, super::stream("good").concat().as_bytes());
            stream.write_all(&[head, body].concat()).await.unwrap();
            // Until the client goes.
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    });
    (base_url, serving)
}

/// RFC 9113, 6.8: streams above the last one were not and will not be processed.
#[tokio::test]
async fn a_stream_above_a_goaways_last_is_sent_again_without_counting() {
    for reason in [0, 11] {
        let (base_url, _serving) = leaves_once(0, reason).await;
        let stand = Setup::new().model("primary", &base_url, "http2: true").start().await;
        rescued(&stand, chat_stream("auto"), "1").await;
    }
}

/// What the upstream may have begun with is an attempt.
#[tokio::test]
async fn a_stream_up_to_a_goaways_last_is_an_attempt_that_failed() {
    for reason in [0, 2] {
        let (base_url, _serving) = leaves_once(1, reason).await;
        let fallback = upstream([good_stream()]).await;
        let stand = Setup::new()
            .model("primary", &base_url, "http2: true")
            .model("fallback", &fallback.base_url(), "")
            .start()
            .await;
        rescued(&stand, chat_stream("auto"), "2").await;
        assert_eq!(fallback.requests(), 1, "reason {reason}");
    }
}
