//! The gate alone, cut anywhere, and the gate before hyper.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::http::HEADER_FIELDS_MAX;

const HEAD_BYTES_MAX: usize = 8 << 10;
const LIMITS: HeadLimits = HeadLimits { bytes_max: HEAD_BYTES_MAX, timeout: Duration::from_secs(10) };

/// What passes when the bytes come in these pieces, and what does not.
fn passed(pieces: &[&[u8]]) -> (Vec<u8>, u64, Option<HeadFault>) {
    let mut framing = Framing::new(HEAD_BYTES_MAX);
    let (mut passed, mut held) = (Vec::new(), Vec::new());
    let ends = std::iter::repeat_n(false, pieces.len()).chain([true]);
    for (piece, is_end) in pieces.iter().copied().chain([&b""[..]]).zip(ends) {
        held.extend_from_slice(piece);
        let look = framing.look(&held, is_end);
        passed.extend(held.drain(..look.passing));
        if look.fault.is_some() {
            return (passed, framing.heads(), look.fault);
        }
    }
    (passed, framing.heads(), None)
}

fn fault(bytes: &str) -> Option<HeadFault> {
    passed(&[bytes.as_bytes()]).2
}

#[test]
fn each_fault_is_told() {
    let with = |fields: &str| fault(&format!("POST /v1 HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n"));
    let malformed = |part| Some(HeadFault::Malformed(part));
    for (fields, expected) in [
        ("Content-Length: 5", None),
        ("Content-Length: 5\r\ncontent-length: 5", None),
        ("TRANSFER-ENCODING:  Chunked ", None),
        ("Content-Length: 5\r\nContent-Length: 6", Some(HeadFault::Length)),
        ("Content-Length: 5, 5", Some(HeadFault::Length)),
        ("Content-Length: +5", Some(HeadFault::Length)),
        ("Content-Length:", Some(HeadFault::Length)),
        ("Content-Length: 18446744073709551614", Some(HeadFault::Length)),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", Some(HeadFault::TwoEnds)),
        ("transfer-encoding: identity\r\ncontent-length: 0", Some(HeadFault::TwoEnds)),
        ("Transfer-Encoding: identity", Some(HeadFault::Endless)),
        ("Transfer-Encoding: chunked, gzip", Some(HeadFault::Endless)),
        ("Transfer-Encoding: chunked, chunked", Some(HeadFault::Endless)),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", Some(HeadFault::Endless)),
        ("Transfer-Encoding: gzip, chunked", Some(HeadFault::UnknownCoding)),
        ("Transfer-Encoding : chunked", malformed("header name")),
        ("X: a\r\n b", malformed("header name")),
        ("X: a\0", malformed("header value")),
    ] {
        assert_eq!(with(fields), expected, "{fields}");
    }
    assert_eq!(fault("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), Some(HeadFault::Endless));
    assert_eq!(with("host: y"), Some(HeadFault::Host));
    assert_eq!(fault("GET / HTTP/1.1\r\n\r\n"), Some(HeadFault::Host));
    assert_eq!(fault("GET / HTTP/1.0\r\n\r\n"), None);
    assert_eq!(fault("G\x01T / HTTP/1.1\r\n\r\n"), malformed("method"));
    assert_eq!(fault("GET /\x01 HTTP/1.1\r\n\r\n"), malformed("target"));
    assert_eq!(fault("GET http:// HTTP/1.1\r\n\r\n"), malformed("target"));
    assert_eq!(fault("GET / HTTP/9.9\r\n\r\n"), malformed("version"));
    assert_eq!(fault("GET / HTTP/1.1\r\n"), None, "cut, not malformed");
    let long = "x".repeat(HEAD_BYTES_MAX);
    assert_eq!(fault(&format!("GET /{long}")), Some(HeadFault::TargetTooLong));
    assert_eq!(with(&format!("X: {long}")), Some(HeadFault::TooLarge(HEAD_BYTES_MAX)));
    assert_eq!(with(&"X: y\r\n".repeat(HEADER_FIELDS_MAX + 1)), Some(HeadFault::TooLarge(HEAD_BYTES_MAX)));
}

#[test]
fn http2_is_let_through() {
    let bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nand \0 what \r\n\r\n not";
    assert_eq!(passed(&[bytes]), (bytes.to_vec(), 0, None));
    assert_eq!(passed(&[&bytes[..3], &bytes[3..]]), (bytes.to_vec(), 0, None));
    let later = [b"GET / HTTP/1.0\r\n\r\n", &bytes[..]].concat();
    assert_eq!(passed(&[&later]).2, Some(HeadFault::Malformed("version")), "only at the beginning");
}

/// A request in good form, in one of many spellings.
fn request() -> impl Strategy<Value = String> {
    let chunk = ("[a-z\r\n]{1,40}", prop_oneof![Just(""), Just(" "), Just(";a=\"b\"")])
        .prop_map(|(data, extension)| format!("{:X}{extension}\r\n{data}\r\n", data.len()));
    let trailers = prop_oneof![Just(""), Just("x-sum: 1\r\n"), Just("a:b\r\nc:d\r\n")];
    let body = prop_oneof![
        Just("\r\n".to_owned()),
        "[a-z\r\n:]{0,60}".prop_map(|data| format!("content-length: {}\r\n\r\n{data}", data.len())),
        "[a-z]{0,9}"
            .prop_map(|data| format!("Content-Length:{0}\r\ncontent-length: {0} \r\n\r\n{data}", data.len())),
        (prop::collection::vec(chunk, 0..4), trailers).prop_map(|(chunks, trailers)| format!(
            "Transfer-Encoding: chunked\r\n\r\n{}0\r\n{trailers}\r\n",
            chunks.concat()
        )),
    ];
    let line = prop_oneof![
        Just("POST /v1 HTTP/1.1\r\n"),
        Just("GET http://x/?a=b HTTP/1.1\r\n"),
        Just("\r\nOPTIONS * HTTP/1.1\n"),
        Just("\n\r\nBREW /pot HTTP/1.1\r\n"),
    ];
    (line, body).prop_map(|(line, body)| format!("{line}host: x\r\n{body}"))
}

/// A piece of no form in particular.
fn rubbish() -> impl Strategy<Value = String> {
    let pieces = [
        "\r\n",
        "\n",
        "\r",
        "\r\n\r\n",
        " ",
        ":",
        "\0",
        "é",
        "x",
        "0\r\n\r\n",
        "5\r\nhello\r\n",
        "5;",
        "-5\r\n",
        "fffffffffffffffff\r\n",
        "Host: x\r\n",
        "POST /v1 HTTP/1.1\r\nhost: x\r\n",
        "GET / HTTP/1.0\r\n",
        "GET  / HTTP/1.1\r\n",
        "GET / HTTP/2.0\r\n",
        "CONNECT x:1 HTTP/1.1\r\nhost: x\r\n",
        "HEAD / HTTP/1.1\r\nhost: x\r\n",
        "Content-Length: 5\r\n",
        "Content-Length: 7\r\n",
        "content-length: 0x5\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding:\r\n",
        "Expect: 100-continue\r\n",
        "Upgrade: websocket\r\nConnection: upgrade\r\n",
        "Connection: close\r\n",
        " folded\r\n",
        "no colon\r\n",
    ];
    prop_oneof![8 => prop::sample::select(pieces.map(str::to_owned).to_vec()), 1 => "[ -~]{9000}"]
}

fn cut<'a>(bytes: &'a [u8], places: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = places.iter().map(|place| place.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|ends| &bytes[ends[0]..ends[1]]).collect()
}

fn places() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    prop::collection::vec(any::<prop::sample::Index>(), 0..8)
}

async fn answer(request: Request<Incoming>, fault: Option<HeadFault>) -> Response<Full<Bytes>> {
    let what = format!("{} {} {fault:?}", request.method(), request.uri());
    let read = tokio::time::timeout(Duration::from_secs(5), request.into_body().collect()).await;
    let (body, is_last) = match read {
        Ok(Ok(body)) => (body.to_bytes(), false),
        Ok(Err(_)) | Err(_) => ("broken".into(), true),
    };
    let mut response = Response::new(Full::new([what.as_bytes(), b"|", &body, b"|"].concat().into()));
    response.headers_mut().insert("x-ours", http::HeaderValue::from_static("1"));
    if is_last || fault.is_some() {
        response.headers_mut().insert("connection", http::HeaderValue::from_static("close"));
    }
    response
}

async fn serve(stream: DuplexStream, gated: bool) {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(20))
        .max_buf_size(2 * HEAD_BYTES_MAX)
        .max_headers(HEADER_FIELDS_MAX);
    builder.auto_date_header(false);
    if gated {
        let gate = Gate::new(stream, LIMITS);
        let verdict = gate.verdict();
        let service = service_fn(|request| {
            let fault = verdict.on_next();
            async move { Ok::<_, Infallible>(answer(request, fault).await) }
        });
        let _ = builder.serve_connection(TokioIo::new(gate), service).await;
    } else {
        let service = service_fn(|request| async { Ok::<_, Infallible>(answer(request, None).await) });
        let _ = builder.serve_connection(TokioIo::new(stream), service).await;
    }
}

/// All that a server says to these pieces until it closes the connection.
fn said(pieces: &[&[u8]], gated: bool) -> String {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let (client, server) = duplex(1 << 20);
        let (mut reading, mut writing) = tokio::io::split(client);
        let talk = async {
            for piece in pieces {
                if writing.write_all(piece).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            let mut said = Vec::new();
            reading.read_to_end(&mut said).await.unwrap();
            String::from_utf8_lossy(&said).into_owned()
        };
        let served = async {
            serve(server, gated).await;
        };
        tokio::join!(talk, served).0
    })
}

proptest! {
    #[test]
    fn however_the_bytes_are_cut_the_same_passes(
        texts in prop::collection::vec(prop_oneof![request(), rubbish()], 1..8),
        places in places(),
    ) {
        let bytes = texts.concat().into_bytes();
        let whole = passed(&[&bytes]);
        prop_assert_eq!(&passed(&cut(&bytes, &places)), &whole);
        if bytes.len() < 2000 {
            prop_assert_eq!(&passed(&bytes.chunks(1).collect::<Vec<_>>()), &whole);
        }
    }

    #[test]
    fn requests_in_good_form_are_answered_as_without_a_gate(
        requests in prop::collection::vec(request(), 1..5),
        places in places(),
    ) {
        let text = format!("{}GET /last HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", requests.concat());
        let gated = said(&cut(text.as_bytes(), &places), true);
        prop_assert_eq!(gated.matches("x-ours").count(), requests.len() + 1, "{}", gated);
        prop_assert_eq!(&gated, &said(&[text.as_bytes()], false));
    }

    /// What hyper would refuse itself it never sees: it says nothing of its own, and the service here no 4xx.
    #[test]
    fn behind_the_gate_hyper_refuses_nothing_itself(
        texts in prop::collection::vec(prop_oneof![1 => request(), 3 => rubbish()], 1..8),
        places in places(),
    ) {
        let text = texts.concat();
        let gated = said(&cut(text.as_bytes(), &places), true);
        prop_assert!(!gated.contains("HTTP/1.1 4"), "{}", gated);
    }
}
