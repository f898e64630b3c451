//! Kept answers that gateways share by Redis: what one has kept another gives, and a Redis that is away or holds nonsense is a miss.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use http::Request;
use http_body_util::Full;

use crate::{
    answers::{answer, as_named, chat, chat_stream, done, finish, role, usage, word},
    client::{KEY, Reply, post},
    logs::Logs,
    redis::Server,
    stand::{Setup, Stand},
    upstream::{PATIENCE, Script, Upstream},
};

/// With what an answer is kept under.
const NAMES: &str = "pointsman:cache:*";

fn setup(upstream: &Upstream, server: &Server, cache: &str) -> Setup {
    Setup::new()
        .model("m", &upstream.base_url(), "")
        .top(&format!("redis: {}", server.url()))
        .routes(&format!("{{auto: {{models: [m], retry: {{max: 0}}, cache: {{{cache}}}}}}}"))
}

/// A gateway that has its connection.
async fn connected(setup: Setup) -> Stand {
    let stand = setup.start().await;
    until_up(&stand, "1").await;
    stand
}

async fn until_up(stand: &Stand, up: &str) {
    let begun = Instant::now();
    while stand.values("pointsman_redis_up", &[]) != [up] {
        assert!(begun.elapsed() < PATIENCE, "never {up}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn two(upstream: &Upstream, server: &Server, cache: &str) -> [Stand; 2] {
    [connected(setup(upstream, server, cache)).await, connected(setup(upstream, server, cache)).await]
}

/// The names of so many answers, once they are there.
async fn kept(server: &Server, count: usize) -> BTreeSet<String> {
    let begun = Instant::now();
    loop {
        let names: BTreeSet<String> = server.ask(&["KEYS", NAMES]).await;
        if names.len() == count {
            return names;
        }
        assert!(begun.elapsed() < PATIENCE, "{names:?}, not {count}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn with(header: (&'static str, &str), body: &str) -> Request<Full<bytes::Bytes>> {
    let mut request = post("/v1/chat/completions", body.to_owned());
    request.headers_mut().insert(header.0, header.1.parse().unwrap());
    request
}

async fn ask_with(stand: &Stand, header: (&'static str, &str), body: &str) -> Reply {
    stand.client().await.last(with(header, body)).await
}

/// What the cache was to a request.
async fn ask(stand: &Stand, body: &str) -> String {
    told(stand.chat(body.to_owned()).await).await
}

/// What it was to one with a header.
async fn cache_with(stand: &Stand, header: (&'static str, &str), body: &str) -> String {
    told(ask_with(stand, header, body).await).await
}

async fn told(mut reply: Reply) -> String {
    assert_eq!(reply.status, 200);
    let cache = reply.header("x-pointsman-cache").unwrap_or("none").to_owned();
    reply.text().await;
    cache
}

#[tokio::test]
async fn what_one_gateway_has_kept_another_gives() {
    let Some(mut server) = Server::start().await else { return };
    let events = [role(), word("a"), word("b"), finish(0), usage(7, 3), done()];
    let upstream = Upstream::start([Script::json(200, &answer("x")), Script::events(&events)]).await;
    let [one, other] = two(&upstream, &server, "").await;
    for (place, request) in [chat("auto"), chat_stream("auto")].into_iter().enumerate() {
        let mut first = one.chat(request.clone()).await;
        assert_eq!(first.header("x-pointsman-cache"), Some("miss"));
        let text = first.text().await;
        kept(&server, place + 1).await;
        let mut again = other.chat(request.clone()).await;
        assert_eq!((again.status.as_u16(), again.header("x-pointsman-cache")), (200, Some("hit")));
        for name in
            ["content-type", "content-length", "cache-control", "x-pointsman-model", "x-pointsman-router"]
        {
            assert_eq!(first.header(name), again.header(name), "{name}");
        }
        assert_eq!((again.header("age"), again.header("x-pointsman-attempts")), (Some("0"), None));
        let mut read = Vec::new();
        while let Some(frame) = again.frame().await {
            read.push(String::from_utf8(frame.unwrap().to_vec()).unwrap());
        }
        // Without the usage, which it did not ask for.
        assert_eq!(read.len(), if place == 0 { 1 } else { events.len() - 1 }, "event by event: {read:?}");
        assert_eq!(read.concat(), text);
    }
    assert_eq!(upstream.requests(), 2);
    assert_eq!(other.metric("pointsman_cache_requests_total", &["result=\"hit\""]), 2);
    // It has them now: nothing is asked there for them any more.
    server.stop();
    until_up(&other, "0").await;
    for request in [chat("auto"), chat_stream("auto")] {
        assert_eq!(ask(&other, &request).await, "hit");
    }
    assert_eq!(upstream.requests(), 2);
}

#[tokio::test]
async fn an_answer_is_its_tenants_and_its_requests() {
    let Some(server) = Server::start().await else { return };
    let upstream = Upstream::start([Script::json(200, &answer("x"))]).await;
    let tenants = format!(
        "{{t: {{keys: [{{key: {KEY}}}, {{key: two}}], pool: [m]}}, u: {{keys: [{{key: other}}], pool: [m]}}}}"
    );
    let one = connected(setup(&upstream, &server, "").tenants(&tenants)).await;
    let other = connected(setup(&upstream, &server, "").tenants(&tenants)).await;
    let request = chat("auto");
    assert_eq!(ask(&one, &request).await, "miss");
    kept(&server, 1).await;
    let with_key = |key: &str| ("authorization", format!("Bearer {key}"));
    let (name, value) = with_key("other");
    assert_eq!(cache_with(&other, (name, &value), &request).await, "miss", "another tenant's");
    let (name, value) = with_key("two");
    assert_eq!(cache_with(&other, (name, &value), &request).await, "hit");
    assert_eq!(cache_with(&other, ("openai-beta", "x"), &request).await, "miss");
    assert_eq!(ask(&other, &request.replace("hi", "ho")).await, "miss");
    let names = kept(&server, 4).await;
    // No name tells what it is of.
    assert!(names.iter().all(|name| name.len() == NAMES.len() - 1 + 64), "{names:?}");
}

#[tokio::test]
async fn its_time_goes_on_wherever_it_is() {
    let Some(server) = Server::start().await else { return };
    let upstream = Upstream::start([Script::json(200, &answer("x"))]).await;
    let [one, other] = two(&upstream, &server, "ttl: 2s").await;
    assert_eq!(ask(&one, &chat("auto")).await, "miss");
    let name = kept(&server, 1).await.pop_first().unwrap();
    let left: i64 = server.ask(&["PTTL", &name]).await;
    assert!((1..=2000).contains(&left), "{left}");
    let age_at = async |stand: &Stand| {
        let reply = stand.chat(chat("auto")).await;
        reply.header("age").map(str::to_owned)
    };
    let begun = Instant::now();
    while age_at(&one).await.as_deref() == Some("0") {
        assert!(begun.elapsed() < PATIENCE, "never older");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(upstream.requests(), 1, "it has its time still");
    // First from there, then from memory, and no longer than its time.
    let mut hits = 0;
    while let Some(age) = age_at(&other).await {
        assert_eq!(age, "1");
        hits += 1;
        assert!(begun.elapsed() < PATIENCE, "given for ever");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(hits > 1 && upstream.requests() == 2, "{hits}");
}

#[tokio::test]
async fn what_requests_and_routes_say_holds_there_too() {
    let Some(server) = Server::start().await else { return };
    let upstream = Upstream::start([Script::json(200, &answer(&"x".repeat(3000)))]).await;
    let [one, other] = two(&upstream, &server, "").await;
    let small = connected(setup(&upstream, &server, "max_entry_bytes: 2KiB")).await;
    let control = |value: &'static str| ("cache-control", value);
    let request = chat("auto");
    assert_eq!(ask_with(&other, control("only-if-cached"), &request).await.status, 504);
    assert_eq!(cache_with(&one, control("no-store"), &request).await, "miss");
    // What is too long for a route is neither put there nor taken from there.
    assert_eq!(ask(&small, &request).await, "miss");
    assert_eq!(cache_with(&one, control("no-cache"), &request).await, "miss");
    kept(&server, 1).await;
    assert_eq!(ask(&small, &request).await, "miss");
    for fresh in ["no-store", "no-cache", "max-age=0", "min-fresh=7200"] {
        assert_eq!(cache_with(&other, control(fresh), &request).await, "miss", "{fresh}");
        let before = upstream.requests();
        // No-store leaves nothing in memory: what is there comes from the other one.
        assert_eq!(cache_with(&other, control("only-if-cached"), &request).await, "hit", "{fresh}");
        assert_eq!(upstream.requests(), before);
    }
    assert_eq!(upstream.requests(), 8);
    kept(&server, 1).await;
}

#[tokio::test]
async fn an_answer_is_given_only_while_its_model_is_what_it_was() {
    let Some(server) = Server::start().await else { return };
    let upstream = Upstream::start([Script::json(200, &answer("x"))]).await;
    let newer = Upstream::start([Script::json(200, &answer("newer"))]).await;
    let one = connected(setup(&upstream, &server, "")).await;
    let other = connected(setup(&newer, &server, "")).await;
    assert_eq!(ask(&one, &chat("auto")).await, "miss");
    kept(&server, 1).await;
    let mut reply = other.chat(chat("auto")).await;
    assert_eq!(reply.header("x-pointsman-cache"), Some("miss"), "it knows another model by that name");
    assert_eq!(reply.text().await, as_named(&answer("newer"), "m"));
    assert_eq!((upstream.requests(), newer.requests()), (1, 1));
}

#[tokio::test]
async fn nonsense_is_a_miss_and_is_replaced() {
    let Some(server) = Server::start().await else { return };
    let upstream = Upstream::start([Script::json(200, &answer("x"))]).await;
    let one = connected(setup(&upstream, &server, "")).await;
    let request = |number: usize| chat("auto").replace("\"hi\"", &format!("\"{number}\""));
    let broken: [&[&str]; 6] = [
        &["SET", "", "nonsense"],
        &["SET", "", "\u{1}pmk"],
        &["SETRANGE", "", "40", "!"],
        &["APPEND", "", "!"],
        &["EVAL", "redis.call('DEL', KEYS[1]) redis.call('RPUSH', KEYS[1], 'x')", "1", ""],
        &["EVAL", "redis.call('SET', KEYS[1], string.rep('x', 8 * 1024 * 1024))", "1", ""],
    ];
    let mut known = BTreeSet::new();
    for (number, broken) in broken.into_iter().enumerate() {
        assert_eq!(ask(&one, &request(number)).await, "miss");
        let names = kept(&server, number + 1).await;
        let name = names.difference(&known).next().unwrap().clone();
        let command: Vec<&str> =
            broken.iter().map(|&part| if part.is_empty() { name.as_str() } else { part }).collect();
        server.ask::<()>(&command).await;
        let dump = async || server.ask::<redis::Value>(&["DUMP", &name]).await;
        let nonsense = dump().await;
        let other = connected(setup(&upstream, &server, "")).await;
        assert_eq!(ask(&other, &request(number)).await, "miss", "{broken:?}");
        let begun = Instant::now();
        while dump().await == nonsense {
            assert!(begun.elapsed() < PATIENCE, "never replaced: {broken:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let third = connected(setup(&upstream, &server, "")).await;
        assert_eq!(ask(&third, &request(number)).await, "hit", "{broken:?}");
        known = names;
    }
    // One request's answer under another's name.
    let (first, last) = (known.first().unwrap(), known.last().unwrap());
    server.ask::<()>(&["COPY", first, last, "REPLACE"]).await;
    let other = connected(setup(&upstream, &server, "")).await;
    let before = upstream.requests();
    for number in 0..known.len() {
        ask(&other, &request(number)).await;
    }
    assert_eq!(upstream.requests() - before, 1, "the one that was not its own");
}

#[tokio::test]
async fn a_redis_that_is_away_is_a_miss_and_nothing_else() {
    let Some(mut server) = Server::start().await else { return };
    let upstream = Upstream::start([Script::json(200, &answer("x"))]).await;
    let (logs, _guard) = Logs::capture();
    let [one, other] = two(&upstream, &server, "").await;
    let request = |text: &str| chat("auto").replace("\"hi\"", &format!("{text:?}"));
    assert_eq!(ask(&one, &request("known")).await, "miss");
    kept(&server, 1).await;
    server.pause();
    // Some wait a little, until it is known that nobody is there; then nobody waits.
    let begun = Instant::now();
    for number in 0..50 {
        assert_eq!(ask(&other, &request(&format!("paused {number}"))).await, "miss");
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(ask(&other, &request("paused 0")).await, "hit", "it keeps its own");
    until_up(&other, "0").await;
    server.go_on();
    until_up(&other, "1").await;
    assert_eq!(ask(&other, &request("known")).await, "hit");
    server.stop();
    for stand in [&one, &other] {
        until_up(stand, "0").await;
        assert_eq!(ask(stand, &request("stopped")).await, "miss");
        assert_eq!(ask(stand, &request("stopped")).await, "hit");
    }
    server.resume().await;
    until_up(&one, "1").await;
    until_up(&other, "1").await;
    assert_eq!(ask(&one, &request("again")).await, "miss");
    kept(&server, 1).await;
    assert_eq!(ask(&other, &request("again")).await, "hit");
    // One that takes nothing more says so once.
    server.ask::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    for number in 0..3 {
        assert_eq!(ask(&one, &request(&format!("full {number}"))).await, "miss");
    }
    let told = || logs.text().matches("redis: kept answers are not shared").count();
    one.eventually("it is told", || told() > 0).await;
    assert_eq!(told(), 1);
    let outcomes = one.outcomes().await;
    assert_eq!(outcomes.keys().collect::<Vec<_>>(), [&"ok"]);
}
