//! HTTP/2 from clients that mean no good: bounded, refused, and no other connection notices.

use bytes::Bytes;
use h2::{Reason, client::SendRequest};
use http::Request;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use crate::{
    answers::{answer, chat, chat_stream, done, finish, stream, word},
    client::{Client, KEY, post},
    stand::{Setup, Stand},
    upstream::{Script, Upstream, soon},
};

const PATH: &str = "/v1/chat/completions";

async fn stand(upstream: &Upstream) -> Stand {
    Setup::new().model("m", &upstream.base_url(), "").start().await
}

/// A client that has the single frames in its hand.
async fn connect(stand: &Stand) -> (SendRequest<Bytes>, JoinSet<()>) {
    let stream = TcpStream::connect(stand.address).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async {
        let _ = connection.await;
    });
    (sender, tasks)
}

fn request(stand: &Stand, path: &str) -> http::request::Builder {
    Request::post(format!("http://{}{path}", stand.address)).header("authorization", format!("Bearer {KEY}"))
}

#[tokio::test]
async fn a_client_may_begin_with_http2_in_the_clear() {
    let upstream = Upstream::start([Script::events(&stream("hi"))]).await;
    let stand = stand(&upstream).await;
    let mut client = Client::http2(TcpStream::connect(stand.address).await.unwrap()).await;
    for _ in 0..2 {
        let mut reply = client.send(post(PATH, chat_stream("m"))).await;
        assert_eq!(reply.status, 200);
        assert!(reply.text().await.ends_with(&done()));
    }
}

/// Up to what is read at all the answer is ours; beyond it, the library's status.
#[tokio::test]
async fn a_header_bomb_is_refused() {
    let upstream = Upstream::start([Script::json(200, &answer("good"))]).await;
    let stand = stand(&upstream).await;
    let (mut sender, _tasks) = connect(&stand).await;
    for (bytes, counted) in [(100 << 10, 1), (1 << 20, 1)] {
        sender = soon("a free stream", sender.ready()).await.unwrap();
        let mut bomb = request(&stand, PATH);
        for field in 0..bytes / 1000 {
            bomb = bomb.header(format!("x-{field}"), "x".repeat(1000));
        }
        let (reply, _) = sender.send_request(bomb.body(()).unwrap(), true).unwrap();
        match soon("an answer", reply).await {
            Ok(reply) => assert_eq!(reply.status(), 431, "{bytes}"),
            Err(error) => assert!(error.reason().is_some() && bytes > 256 << 10, "{error}"),
        }
        assert_eq!(stand.outcomes().await.get("client_error"), Some(&counted), "{bytes}");
    }
    assert_eq!(stand.chat(chat("m")).await.status, 200);
}

/// Requests opened and reset at once (CVE-2023-44487): none stays, whether the flood is cut or not.
#[tokio::test]
async fn a_rapid_reset_leaves_nothing_behind() {
    let upstream = Upstream::start([Script::empty().silence()]).await;
    let stand = stand(&upstream).await;
    let (mut sender, _tasks) = connect(&stand).await;
    for _ in 0..20_000 {
        // The gateway may say that it is enough.
        let Ok(ready) = soon("a free stream", sender.clone().ready()).await else { break };
        sender = ready;
        let (_reply, mut body) = sender.send_request(request(&stand, PATH).body(()).unwrap(), false).unwrap();
        let _ = body.send_data(chat("m").into(), true);
        body.send_reset(Reason::CANCEL);
        tokio::task::yield_now().await;
    }
    stand.eventually("no request in flight", || stand.app.metrics.in_flight.get() == 0).await;
    let outcomes = stand.outcomes().await;
    assert!(outcomes.keys().all(|outcome| ["cancelled", "client_error"].contains(outcome)), "{outcomes:?}");
    let mut other = stand.client().await;
    assert_eq!(other.send(post("/v1/nonesuch", "")).await.status, 404, "others are served");
}

/// A head that never ends (VU#421644): the connection is closed long before it costs anything.
#[tokio::test]
async fn a_flood_of_continuations_is_cut() {
    let upstream = Upstream::start([Script::events(&[word("a"), finish(0), done()])]).await;
    let stand = stand(&upstream).await;
    let mut stream = TcpStream::connect(stand.address).await.unwrap();
    let frame = |kind: u8, flags: u8, id: u32, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &id.to_be_bytes(), payload].concat()
    };
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    stream.write_all(&frame(4, 0, 0, &[])).await.unwrap();
    // HEADERS that neither end their stream nor their block: `:method: POST` from the static table.
    stream.write_all(&frame(1, 0, 1, &[0x83])).await.unwrap();
    // A literal field, never indexed, "x: " and a thousand times "y".
    let field = [&[0x10, 1, b'x', 0x7f, 0xe9, 0x06], [b'y'; 1000].as_slice()].concat();
    let flood = frame(9, 0, 1, &field);
    let mut frames = 0;
    while frames < 100_000 && soon("a write", stream.write_all(&flood)).await.is_ok() {
        frames += 1;
    }
    assert!(frames < 100_000, "it read on and on");
    let _ = soon("the end", stream.read_to_end(&mut Vec::new())).await;
    stand.eventually("the end of the connection", || stand.metric("pointsman_connections", &[]) == 0).await;
    assert_eq!(stand.chat(chat_stream("m")).await.status, 200);
}
