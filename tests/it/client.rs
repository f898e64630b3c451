//! A small client: HTTP/1.1 or HTTP/2 by hyper, or plain bytes where a request is to be no valid one.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use crate::upstream::soon;

/// The key of the tenant that tests have unless they say otherwise.
pub(crate) const KEY: &str = "tenant-key";

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// One connection of a client; closed when dropped.
pub(crate) struct Client {
    sender: Sender,
    connection: JoinSet<()>,
}

impl Client {
    /// Connects, to speak HTTP/1.1.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::http1(TcpStream::connect(address).await.unwrap()).await
    }

    /// HTTP/1.1 over an open stream.
    pub(crate) async fn http1(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async {
            let _ = connection.await;
        });
        Self { sender: Sender::Http1(sender), connection: tasks }
    }

    /// HTTP/2 over an open stream.
    pub(crate) async fn http2(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async {
            let _ = connection.await;
        });
        Self { sender: Sender::Http2(sender), connection: tasks }
    }

    /// Sends a request and waits for the head of the answer.
    pub(crate) async fn send(&mut self, request: Request<Full<Bytes>>) -> Reply {
        self.try_send(request).await.unwrap()
    }

    /// As [`Client::send`], with what goes wrong.
    pub(crate) async fn try_send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Reply> {
        let response = match &mut self.sender {
            Sender::Http1(sender) => {
                soon("a free connection", sender.ready()).await?;
                soon("the head of an answer", sender.send_request(request)).await?
            }
            Sender::Http2(sender) => soon("the head of an answer", sender.send_request(request)).await?,
        };
        let (head, body) = response.into_parts();
        Ok(Reply { status: head.status, headers: head.headers, body, connection: None })
    }

    /// Sends the only request of this connection, which then lives as long as the answer.
    pub(crate) async fn last(mut self, request: Request<Full<Bytes>>) -> Reply {
        let mut reply = self.send(request).await;
        reply.connection = Some(std::mem::take(&mut self.connection));
        reply
    }
}

/// A request to this path, with the usual tenant's key.
pub(crate) fn post(path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    keyed(Request::post(path)).body(Full::new(body.into())).unwrap()
}

/// A request without a body, with the usual tenant's key.
pub(crate) fn get(path: &str) -> Request<Full<Bytes>> {
    keyed(Request::get(path)).body(Full::default()).unwrap()
}

fn keyed(builder: http::request::Builder) -> http::request::Builder {
    builder
        .header("host", "gateway")
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {KEY}"))
}

/// An answer, its body still to come.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Incoming,
    connection: Option<JoinSet<()>>,
}

impl Reply {
    /// The text of a header, if it is there.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The next piece of the body.
    pub(crate) async fn frame(&mut self) -> Option<hyper::Result<Bytes>> {
        let frame = soon("the next bytes of an answer", self.body.frame()).await?;
        Some(frame.map(|frame| frame.into_data().unwrap_or_default()))
    }

    /// Reads until the text read so far contains `needle`, and gives that text.
    pub(crate) async fn until(&mut self, needle: &str) -> String {
        let mut text = String::new();
        while !text.contains(needle) {
            let frame = self.frame().await.unwrap_or_else(|| panic!("ended before {needle}: {text}"));
            text.push_str(std::str::from_utf8(&frame.unwrap()).unwrap());
        }
        text
    }

    /// The rest of the body.
    pub(crate) async fn bytes(&mut self) -> hyper::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while let Some(frame) = self.frame().await {
            bytes.extend_from_slice(&frame?);
        }
        Ok(bytes)
    }

    /// The rest of the body as text.
    pub(crate) async fn text(&mut self) -> String {
        String::from_utf8(self.bytes().await.unwrap()).unwrap()
    }

    /// The body as JSON.
    pub(crate) async fn json(&mut self) -> Value {
        let text = self.text().await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// What is said in the error object.
    pub(crate) async fn error(&mut self) -> Value {
        let json = self.json().await;
        let error = json["error"].clone();
        assert!(error["message"].is_string() && error["type"].is_string(), "not OpenAI's form: {json}");
        error
    }
}

/// A connection for bytes of any kind.
pub(crate) struct RawClient(TcpStream);

impl RawClient {
    /// Connects.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    /// Sends bytes.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Everything until the gateway closes the connection. A reset ends it too.
    pub(crate) async fn rest_bytes(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = soon("the end of the connection", self.0.read_to_end(&mut bytes)).await;
        bytes
    }

    /// The same as text.
    pub(crate) async fn rest(&mut self) -> String {
        String::from_utf8(self.rest_bytes().await).unwrap()
    }

    /// Reads until what was read contains `needle`.
    pub(crate) async fn until(&mut self, needle: &str) -> String {
        let mut bytes = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if text.contains(needle) {
                return text;
            }
            let read = soon(needle, self.0.read_buf(&mut bytes)).await.unwrap();
            assert!(read > 0, "ended before {needle}: {text}");
        }
    }
}
