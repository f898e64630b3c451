//! The connection to Redis: there when the server is, gone when it is gone, and never waited for.

use std::{
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};

use pointsman::{
    config::RedisUrl,
    fleet::link::{Link, Live, is_lost_by},
    telemetry::metrics::Metrics,
};
use redis::{FromRedisValue, RedisResult, Script};

use crate::{
    certificates::Authority,
    logs::Logs,
    redis::Server,
    upstream::{PATIENCE, soon},
};

/// Longer than a command may take, with the slowness of a busy machine.
const A_WHILE: Duration = Duration::from_secs(3);

fn open(url: &str) -> (Arc<Link>, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new().unwrap());
    (Link::open(&RedisUrl::parse(url).unwrap(), Arc::clone(&metrics)), metrics)
}

/// Waits for a connection.
async fn live(link: &Link) -> Live {
    let mut changed = link.changed();
    soon("a connection", changed.wait_for(Option::is_some)).await.unwrap().clone().unwrap()
}

/// Waits until there is none.
async fn lost(link: &Link) {
    let mut changed = link.changed();
    soon("the end of the connection", changed.wait_for(Option::is_none)).await.unwrap();
}

async fn ask<T: FromRedisValue>(live: &Live, command: &[&str]) -> RedisResult<T> {
    redis::cmd(command[0]).arg(&command[1..]).query_async(&mut live.connection.clone()).await
}

fn counted(text: &str, of: &str) -> usize {
    text.matches(of).count()
}

#[tokio::test]
async fn it_waits_for_a_server_that_comes_late() {
    let Some(mut server) = Server::start_with(Some("s3cret"), &[]).await else { return };
    let (logs, _guard) = Logs::capture();
    server.stop();
    let (link, metrics) = open(&server.url());
    let told = || counted(&logs.text(), "redis: no connection to redis://127.0.0.1");
    let begun = Instant::now();
    while told() == 0 {
        assert!(begun.elapsed() < PATIENCE, "never told");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(link.connection().is_none());
    server.resume().await;
    let live = live(&link).await;
    assert_eq!(ask::<String>(&live, &["PING"]).await.unwrap(), "PONG");
    assert_eq!(link.connection().unwrap().generation, live.generation);
    let run_id: String = server.ask(&["INFO", "server"]).await;
    assert!(run_id.contains(&format!("run_id:{}\r\n", live.run_id)), "{run_id}");
    // What it asked of the server, and this.
    assert_eq!((metrics.redis.up.get(), metrics.redis.commands.get()), (1, 2));
    let text = logs.text();
    assert_eq!(
        (told(), counted(&text, "redis: connected to redis://127.0.0.1")),
        (1, 1),
        "once each: {text}"
    );
    assert!(!text.contains("s3cret"), "{text}");
}

#[tokio::test]
async fn a_server_that_is_killed_is_missed_at_once_and_found_again() {
    let Some(mut server) = Server::start().await else { return };
    let (link, metrics) = open(&server.url());
    let before = live(&link).await;
    server.stop();
    // Nobody has to ask.
    lost(&link).await;
    assert!(link.connection().is_none() && metrics.redis.up.get() == 0);
    let error = ask::<String>(&before, &["PING"]).await.unwrap_err();
    assert!(is_lost_by(&error), "{error}");
    server.resume().await;
    let after = live(&link).await;
    assert!(after.generation > before.generation && after.run_id != before.run_id, "{before:?}, {after:?}");
    assert_eq!(ask::<String>(&after, &["PING"]).await.unwrap(), "PONG");
    // What is said of one before is no news.
    link.failed(before.generation);
    assert_eq!(link.connection().unwrap().generation, after.generation);
    assert_eq!(metrics.redis.up.get(), 1);
}

#[tokio::test]
async fn a_server_that_stands_still_holds_nobody_up() {
    let Some(server) = Server::start().await else { return };
    let (link, _) = open(&server.url());
    let before = live(&link).await;
    server.pause();
    let begun = Instant::now();
    let asked: Vec<_> = (0..100).map(|_| ask::<String>(&before, &["PING"])).collect();
    for answer in futures_util::future::join_all(asked).await {
        let error = answer.unwrap_err();
        assert!(is_lost_by(&error), "{error}");
    }
    assert!(begun.elapsed() < A_WHILE, "{:?}", begun.elapsed());
    // The first to fail speaks for the others.
    assert!(link.connection().is_none());
    lost(&link).await;
    server.go_on();
    let after = live(&link).await;
    assert!(after.generation > before.generation && after.run_id == before.run_id, "{before:?}, {after:?}");
    assert_eq!(ask::<String>(&after, &["PING"]).await.unwrap(), "PONG");
}

#[tokio::test]
async fn what_a_command_does_wrong_is_no_fault_of_the_connection() {
    let Some(server) = Server::start().await else { return };
    let (link, metrics) = open(&server.url());
    let live = live(&link).await;
    let before = metrics.redis.commands.get();
    ask::<()>(&live, &["SET", "text", "x"]).await.unwrap();
    for wrong in
        [&["INCR", "text"][..], &["NO-SUCH-COMMAND"], &["EVAL", "return redis.error_reply('no')", "0"]]
    {
        let error = ask::<i64>(&live, wrong).await.unwrap_err();
        assert!(!is_lost_by(&error), "{error}");
    }
    let mut connection = live.connection.clone();
    // Unknown there, sent whole, and then known: the first, then the other.
    let script = Script::new("return redis.call('GET', KEYS[1])");
    for _ in 0..2 {
        assert_eq!(script.key("text").invoke_async::<String>(&mut connection).await.unwrap(), "x");
    }
    let both: (String, i64) =
        redis::pipe().cmd("GET").arg("text").cmd("DBSIZE").query_async(&mut connection).await.unwrap();
    assert_eq!(both, ("x".to_owned(), 1));
    assert_eq!(link.connection().unwrap().generation, live.generation);
    let round_trips = metrics.redis.commands.get() - before;
    assert!((8..=10).contains(&round_trips), "{round_trips}");
    // Somebody gives it up all the same.
    link.failed(live.generation);
    assert!(link.connection().is_none());
    lost(&link).await;
}

#[tokio::test]
async fn what_cannot_be_written_to_is_no_connection() {
    let (Some(first), Some(second)) = (Server::start().await, Server::start().await) else { return };
    let (link, _) = open(&second.url());
    let live_before = live(&link).await;
    let (logs, _guard) = Logs::capture();
    let port = first.port().to_string();
    second.ask::<()>(&["REPLICAOF", "127.0.0.1", &port]).await;
    let error = ask::<()>(&live_before, &["SET", "a", "1"]).await.unwrap_err();
    assert!(is_lost_by(&error), "{error}");
    lost(&link).await;
    let begun = Instant::now();
    let (other, _) = open(&second.url());
    while counted(&logs.text(), "another server's replica") == 0 {
        assert!(begun.elapsed() < PATIENCE, "{}", logs.text());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(link.connection().is_none() && other.connection().is_none());
    second.ask::<()>(&["REPLICAOF", "NO", "ONE"]).await;
    for link in [&link, &other] {
        ask::<()>(&live(link).await, &["SET", "a", "1"]).await.unwrap();
    }
}

#[tokio::test]
async fn a_wrong_password_is_told_and_not_shown() {
    let Some(server) = Server::start_with(Some("s3cret"), &[]).await else { return };
    let (logs, _guard) = Logs::capture();
    let (link, _) = open(&server.url().replace("s3cret", "wr0ng"));
    let begun = Instant::now();
    while counted(&logs.text(), "redis: no connection") == 0 {
        assert!(begun.elapsed() < PATIENCE, "never told");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let text = logs.text();
    assert!(text.to_lowercase().contains("password") && !text.contains("wr0ng"), "{text}");
    assert!(link.connection().is_none());
}

#[tokio::test]
async fn tls_is_checked() {
    let authority = Authority::new();
    let identity = authority.identity("redis", &["localhost"]);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let (cert, key) = (identity.cert.display().to_string(), identity.key.display().to_string());
    let tls =
        ["--tls-port", &port, "--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-auth-clients", "no"];
    let Some(_server) = Server::start_with(Some("s3cret"), &tls).await else { return };
    let url = |host: &str, authority: &Authority| {
        format!("rediss://:s3cret@{host}:{port}/2?ca_file={}", authority.file().display())
    };
    let (link, _) = open(&url("localhost", &authority));
    let list: String = ask(&live(&link).await, &["CLIENT", "LIST"]).await.unwrap();
    assert!(list.contains("db=2"), "{list}");
    // Another name than the certificate's, another authority, and one that is not there.
    let other = Authority::new();
    for (wrong, why) in [
        (url("127.0.0.1", &authority), "certificate"),
        (url("localhost", &other), "certificate"),
        (url("localhost", &other).replace("ca.pem", "none.pem"), "none.pem"),
    ] {
        let (logs, _guard) = Logs::capture();
        let (link, _) = open(&wrong);
        let begun = Instant::now();
        while counted(&logs.text(), "redis: no connection") == 0 {
            assert!(begun.elapsed() < PATIENCE, "never told");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let line = logs.text().lines().find(|line| line.contains("redis: no connection")).unwrap().to_owned();
        assert!(line.contains(why), "{line}");
        assert!(link.connection().is_none());
    }
}

/// Nothing of a link outlives whoever has it.
#[tokio::test]
async fn it_ends_with_its_last_owner() {
    let Some(server) = Server::start().await else { return };
    let (link, _) = open(&server.url());
    let live = live(&link).await;
    drop(link);
    let begun = Instant::now();
    while ask::<String>(&live, &["PING"]).await.is_ok() {
        assert!(begun.elapsed() < PATIENCE, "the connection stays");
    }
    let clients: String = server.ask(&["CLIENT", "LIST"]).await;
    assert_eq!(clients.lines().count(), 1, "{clients}");
}
