//! Three gateways that share a budget by Redis, on one ledger: never more is spent than it allows, whatever fails.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http::Method;
use serde_json::Value;
use tokio::task::JoinSet;

use super::ledger::serve;
use crate::{
    answers::{answer, chat, chat_stream, done, finish, usage, word},
    client::{Client, KEY, get, post},
    operator::{OPERATOR, admin_keys, operate},
    postgres, redis,
    stand::{Setup, Stand, values},
    upstream::{Gate, PATIENCE, Script, Upstream},
};

/// A million tokens of an answer cost a USD, those of a prompt nothing.
const PRICE: &str = "price: {input: 0, output: 1}";

/// How long a server is away.
const AWAY: Duration = Duration::from_secs(20);

async fn servers() -> Option<(postgres::Server, redis::Server)> {
    Some((postgres::Server::start().await?, redis::Server::start().await?))
}

fn setup(
    upstream: &Upstream,
    servers: (&postgres::Server, &redis::Server),
    folder: &Path,
    name: &str,
) -> Setup {
    let (database, store) = servers;
    Setup::new()
        .model("m", &upstream.base_url(), PRICE)
        .top(&format!("database: {}\nspill: {}", database.url(), folder.join(name).display()))
        .top(&format!("redis: {}", store.url()))
}

/// Three of them, with a budget of so many millionths of a USD.
async fn three(
    upstream: &Upstream,
    servers: (&postgres::Server, &redis::Server),
    folder: &Path,
    (micros, on_store_loss): (u64, &str),
) -> Vec<Stand> {
    let mut stands = Vec::new();
    for name in ["a", "b", "c"] {
        let tenant = format!(
            "{{t: {{keys: [{{key: {KEY}}}], pool: [m], budget: {{usd: 0.{micros:06}, per: total}}}}}}"
        );
        let setup = setup(upstream, servers, folder, name).top(&format!("on_store_loss: {on_store_loss}"));
        stands.push(setup.tenants(&tenant).start().await);
    }
    for stand in &stands {
        stand.eventually("the gateway serves", || stand.app.is_ready()).await;
    }
    stands
}

/// As [`chat`], with an answer of three tokens at most.
fn bounded(request: &str) -> String {
    request.replace("\"messages\"", "\"max_tokens\":3,\"messages\"")
}

/// What a request came to: its status and error code.
async fn ask(client: Client, body: String) -> (u16, String) {
    let mut reply = client.last(post("/v1/chat/completions", body)).await;
    let status = reply.status.as_u16();
    let text = reply.text().await;
    let error: Value = serde_json::from_str(&text).unwrap_or_default();
    (status, error["error"]["code"].as_str().unwrap_or_default().to_owned())
}

/// Asks each in turn until nothing is left for a request of three tokens.
async fn spend_all(stands: &[Stand]) {
    let begun = Instant::now();
    let mut refused = 0;
    while refused < 3 {
        refused = 0;
        for stand in stands {
            let reply = stand.chat(bounded(&chat("m"))).await;
            refused += usize::from(reply.status.as_u16() == 429 && reply.header("retry-after").is_none());
        }
        assert!(begun.elapsed() < PATIENCE * 2, "there is always more");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until every gateway and the ledger agree on what was spent, in millionths of a USD, and nothing is held.
async fn agreed(stands: &[Stand], database: &postgres::Server) -> i64 {
    let begun = Instant::now();
    loop {
        let sum = "SELECT coalesce(sum(cost_pico_usd), 0)::bigint / 1000000 FROM calls";
        let by_rows = database.number(sum).await;
        let by_days = database.number(&sum.replace("calls", "usage")).await;
        let mut all = vec![by_rows, by_days];
        for stand in stands {
            let text = Client::connect(stand.admin).await.last(get("/metrics")).await.text().await;
            let value = |name: &str| values(&text, name, &[])[0].parse::<f64>().unwrap() * 1e6;
            #[expect(clippy::cast_possible_truncation, reason = "small whole numbers")]
            all.push(value("pointsman_budget_spent_usd").round() as i64);
            if value("pointsman_budget_held_usd") != 0.0 {
                all.push(-1);
            }
        }
        if all.iter().all(|spent| *spent == by_rows) {
            return by_rows;
        }
        assert!(begun.elapsed() < PATIENCE, "they do not agree: {all:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Whole answers, streams with usage and without, failures, and streams that do not end before their client leaves; what is reported is
/// billed.
async fn mixed() -> (Upstream, Arc<AtomicU64>, Arc<AtomicUsize>) {
    let (billed, asked) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicUsize::new(0)));
    let (bill, number_of, never) = (Arc::clone(&billed), Arc::clone(&asked), Gate::default());
    let upstream = Upstream::playing(move |request| {
        let number = number_of.fetch_add(1, Ordering::Relaxed);
        let pay = || {
            bill.fetch_add(3, Ordering::Relaxed);
        };
        if request.text().contains("leaves") {
            return Script::stream().chunk(word("four")).wait(&never).end();
        }
        // Not so often that the upstream is left alone.
        match (request.text().contains("\"stream\""), number % 20) {
            (_, 0) => Script::json(500, "{}"),
            (true, 1..6) => Script::events(&[word("x"), finish(0), done()]),
            (true, _) => {
                pay();
                Script::events(&[word("x"), finish(0), usage(7, 3), done()])
            }
            (false, _) => {
                pay();
                Script::json(200, &answer("x"))
            }
        }
    })
    .await;
    (upstream, billed, asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_at_once_on_three_do_not_overrun_a_budget_for_a_hundred() {
    let Some((database, store)) = servers().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let (upstream, billed, asked) = mixed().await;
    let stands = three(&upstream, (&database, &store), folder.path(), (300, "refuse")).await;
    let mut requests = JoinSet::new();
    for number in 0..1000 {
        let client = stands[number % 3].client().await;
        requests.spawn(async move {
            match number / 3 % 4 {
                0 => ask(client, bounded(&chat_stream("m"))).await,
                1 => {
                    let body =
                        bounded(&chat_stream("m")).replace("\"model\"", "\"user\":\"leaves\",\"model\"");
                    let mut reply = client.last(post("/v1/chat/completions", body)).await;
                    if reply.status.as_u16() == 200 {
                        reply.until("four").await;
                    }
                    (reply.status.as_u16(), String::new())
                }
                _ => ask(client, bounded(&chat("m"))).await,
            }
        });
    }
    let mut told = BTreeMap::new();
    for came in requests.join_all().await {
        *told.entry(came).or_insert(0_usize) += 1;
    }
    let let_in = asked.load(Ordering::Relaxed);
    for (status, code) in told.keys() {
        let is_known = match status {
            200 => code.is_empty(),
            429 => code == "budget_exceeded" || code.is_empty(),
            502 => code == "upstream_failed",
            _ => false,
        };
        assert!(is_known, "{told:?}");
    }
    assert!(let_in >= 100, "{let_in} of {told:?}");
    spend_all(&stands).await;
    let spent = agreed(&stands, &database).await;
    assert!((298..=300).contains(&spent), "{spent}");
    let reported = "SELECT sum(cost_pico_usd)::bigint / 1000000 FROM calls WHERE NOT estimated";
    assert_eq!(database.number(reported).await, i64::try_from(billed.load(Ordering::Relaxed)).unwrap());
    // One token each, whatever was read of them.
    let estimated = "SELECT count(*) - sum(cost_pico_usd)::bigint / 1000000 FROM calls WHERE estimated";
    assert_eq!(database.number(estimated).await, 0);
}

/// What came of requests, some a second on each of the gateways, until it is told to end.
struct Load {
    told: Arc<std::sync::Mutex<BTreeMap<(u16, String), usize>>>,
    asking: JoinSet<()>,
}

impl Load {
    fn begin(stands: &[Stand]) -> Self {
        let told = Arc::<std::sync::Mutex<BTreeMap<_, _>>>::default();
        let mut asking = JoinSet::new();
        for stand in stands {
            let (address, told) = (stand.address, Arc::clone(&told));
            asking.spawn(async move {
                for number in 0_u32.. {
                    let body = if number % 2 == 0 { chat("m") } else { chat_stream("m") };
                    let came = ask(Client::connect(address).await, bounded(&body)).await;
                    *told.lock().unwrap().entry(came).or_insert(0) += 1;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            });
        }
        Self { told, asking }
    }

    /// What came since this was asked last.
    fn since(&self) -> BTreeMap<(u16, String), usize> {
        std::mem::take(&mut *self.told.lock().unwrap())
    }

    async fn end(mut self) {
        self.asking.shutdown().await;
    }
}

/// Three tokens each, as reported.
async fn paid() -> Upstream {
    Upstream::playing(|request| match request.text().contains("\"stream\"") {
        true => Script::events(&[word("x"), finish(0), usage(7, 3), done()]),
        false => Script::json(200, &answer("x")),
    })
    .await
}

fn came(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_is_away_shares_are_spent_and_no_more() {
    while_redis_is_away("refuse", 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_is_away_what_is_allowed_beyond_shares_is_spent_and_no_more() {
    while_redis_is_away("allow(0.00003)", 10).await;
}

async fn while_redis_is_away(on_store_loss: &str, beyond: usize) {
    {
        let Some((database, mut store)) = servers().await else { return };
        let folder = tempfile::tempdir().unwrap();
        let upstream = paid().await;
        let stands = three(&upstream, (&database, &store), folder.path(), (9000, on_store_loss)).await;
        let load = Load::begin(&stands);
        tokio::time::sleep(Duration::from_secs(3)).await;
        let before = load.since();
        assert_eq!(before.keys().collect::<Vec<_>>(), [&came(200, "")], "{before:?}");
        store.stop();
        tokio::time::sleep(AWAY).await;
        let meanwhile = load.since();
        store.resume().await;
        assert!(
            meanwhile.keys().all(|one| [came(200, ""), came(503, "budget_unavailable")].contains(one)),
            "{meanwhile:?}"
        );
        // Each had a twelfth of what was left, at most, and then what is allowed.
        let (let_in, refused) = (meanwhile[&came(200, "")], meanwhile[&came(503, "budget_unavailable")]);
        assert!(let_in <= 3 * (250 + beyond) && refused > 100, "{meanwhile:?}");
        tokio::time::sleep(Duration::from_secs(3)).await;
        load.end().await;
        spend_all(&stands).await;
        assert_eq!(agreed(&stands, &database).await, 9000, "{on_store_loss}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_ledger_is_away_shares_are_granted_as_before() {
    let Some((mut database, store)) = servers().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let upstream = paid().await;
    let stands = three(&upstream, (&database, &store), folder.path(), (20_000, "refuse")).await;
    let load = Load::begin(&stands);
    tokio::time::sleep(Duration::from_secs(2)).await;
    database.stop();
    tokio::time::sleep(AWAY).await;
    database.resume().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let told = load.since();
    load.end().await;
    assert_eq!(told.keys().collect::<Vec<_>>(), [&came(200, "")], "{told:?}");
    let requests = i64::try_from(told[&came(200, "")]).unwrap();
    let spent = agreed(&stands, &database).await;
    // One of each gateway's may have been left by its client at the end.
    let rows = database.number("SELECT count(*) FROM requests").await;
    assert!(requests > 1000 && (requests..=requests + 3).contains(&rows), "{requests} {rows}");
    assert!((3 * requests..=3 * rows).contains(&spent), "{spent} for {requests}");
}

/// The file of a gateway of whose tenant's budget four hundred answers can be paid.
fn frugal(
    upstream: &Upstream,
    servers: (&postgres::Server, &redis::Server),
    folder: &Path,
    name: &str,
) -> PathBuf {
    let tenants = format!("{{t: {{keys: [{{key: {KEY}}}], pool: [m], budget: {{usd: 0.0012, per: day}}}}}}");
    let path = folder.join(format!("{name}.yaml"));
    fs::write(&path, setup(upstream, servers, folder, name).tenants(&tenants).yaml()).unwrap();
    path
}

/// What was granted to a gateway that is killed is free again once it is sure to be gone, but for what it has spent and what was held for its
/// requests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_gateway_was_granted_and_did_not_spend_is_free_again() {
    let Some((database, store)) = servers().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let never = Gate::default();
    let upstream = Upstream::playing(move |request| match request.text().contains("\"stream\"") {
        true => Script::stream().chunk(word("four")).wait(&never).end(),
        false => Script::json(200, &answer("x")),
    })
    .await;
    let config = |name: &str| frugal(&upstream, (&database, &store), folder.path(), name);
    let (killed, public, _) = serve(&config("killed"));
    let (_other, other, admin) = serve(&config("other"));
    assert_eq!(ask(Client::connect(public).await, bounded(&chat("m"))).await, came(200, ""));
    let mut open = Client::connect(public).await.last(post("/v1/chat/completions", chat_stream("m"))).await;
    open.until("four").await;
    database.until("SELECT sum(pico_usd)::bigint / 1000000 FROM holds", 256, PATIENCE).await;
    // It uses no more for a while, and tells the others that it will not.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    drop(killed);
    // The other has what it was granted, and what nobody was.
    let begun = Instant::now();
    let mut let_in = 0;
    while let_in < (1200 - 3 - 256) / 3 {
        let (status, code) = ask(Client::connect(other).await, bounded(&chat("m"))).await;
        match status {
            200 => let_in += 1,
            429 => tokio::time::sleep(Duration::from_millis(100)).await,
            _ => panic!("{status} {code}"),
        }
        assert!(begun.elapsed() < 3 * PATIENCE, "{let_in}");
    }
    assert_eq!(ask(Client::connect(other).await, bounded(&chat("m"))).await, came(429, "budget_exceeded"));
    let sum = "SELECT sum(cost_pico_usd)::bigint / 1000000 FROM usage";
    database.until(sum, 3 + 256 + 3 * let_in, 2 * PATIENCE).await;
    assert_eq!(database.number("SELECT count(*) FROM calls WHERE estimated").await, 1);
    // Whoever comes after it knows it as well.
    let (_again, again, _) = serve(&config("killed"));
    assert_eq!(ask(Client::connect(again).await, bounded(&chat("m"))).await, came(429, "budget_exceeded"));
    loop {
        let text = Client::connect(admin).await.last(get("/metrics")).await.text().await;
        if values(&text, "pointsman_budget_spent_usd", &[])[0] == "0.001198" {
            break;
        }
        assert!(begun.elapsed() < 3 * PATIENCE, "{text}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What a gateway has spent that dies in the second in which the database is lost is known to nobody: all that it had announced counts as spent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_dies_with_the_database_has_spent_all_that_it_had_announced() {
    let Some((mut database, store)) = servers().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start([Script::json(200, &answer("x"))]).await;
    let config = |name: &str| frugal(&upstream, (&database, &store), folder.path(), name);
    let (killed, public, _) = serve(&config("killed"));
    let (_other, other, _) = serve(&config("other"));
    let spend = async |address, calls: usize| {
        let mut asking = JoinSet::new();
        for _ in 0..calls {
            asking.spawn(async move { ask(Client::connect(address).await, bounded(&chat("m"))).await });
        }
        asking.join_all().await.into_iter().filter(|(status, _)| *status == 200).count()
    };
    // Both are granted shares, and the first is heard of.
    assert_eq!((spend(public, 1).await, spend(other, 1).await), (1, 1));
    tokio::time::sleep(Duration::from_millis(1500)).await;
    database.stop();
    let unknown = spend(public, 30).await;
    drop(killed);
    assert!(unknown > 20, "{unknown}");
    database.resume().await;
    let begun = Instant::now();
    let mut let_in = 0;
    while begun.elapsed() < Duration::from_secs(40) {
        match spend(other, 10).await {
            0 => tokio::time::sleep(Duration::from_millis(200)).await,
            some => let_in += some,
        }
    }
    let spent = 3 * upstream.requests();
    assert!(spent <= 1200, "{spent} of 1200");
    // But for its grant, at most a quarter of all, and a little that ten at once cannot share.
    assert!(3 * let_in >= 1200 - 300 - 30, "{let_in}");
}

/// At a steady load hardly anybody is asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_less_than_one_question_for_twenty_requests() {
    let Some((database, store)) = servers().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let upstream = paid().await;
    let tenants = format!(
        "{{t: {{keys: [{{key: {KEY}, name: k, budget: {{usd: 10, per: day}}}}], pool: [m], limits: {{rpm: 100000, tpm: 10000000, concurrency: 64}}, budget: [{{usd: 10, per: day}}, {{usd: 100, per: month}}]}}}}"
    );
    let mut stands = Vec::new();
    for name in ["a", "b", "c"] {
        stands
            .push(setup(&upstream, (&database, &store), folder.path(), name).tenants(&tenants).start().await);
    }
    for stand in &stands {
        stand.eventually("the gateway serves", || stand.app.is_ready()).await;
    }
    let asked = || stands.iter().map(|stand| stand.app.metrics.redis.commands.get()).sum::<u64>();
    let before = asked();
    let mut requests = JoinSet::new();
    for stand in &stands {
        for _ in 0..4 {
            let mut client = stand.client().await;
            requests.spawn(async move {
                for number in 0..400 {
                    let body = if number % 2 == 0 { chat("m") } else { chat_stream("m") };
                    let mut reply = client.send(post("/v1/chat/completions", bounded(&body))).await;
                    assert_eq!(reply.status, 200);
                    reply.text().await;
                }
            });
        }
    }
    requests.join_all().await;
    let asked = asked() - before;
    println!("{asked} questions for 4800 requests");
    assert!(asked * 20 < 4800, "{asked} questions for 4800 requests");
}

/// What was spent before there was a budget counts, whichever gateway spent it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_that_comes_later_knows_what_was_spent_before() {
    let Some((database, store)) = servers().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let upstream = paid().await;
    let mut stands = Vec::new();
    for name in ["a", "b"] {
        let tenants = format!("{{t: {{keys: [{{key: {KEY}}}], pool: [m]}}}}");
        let setup = setup(&upstream, (&database, &store), folder.path(), name).top(&admin_keys());
        stands.push(setup.tenants(&tenants).start().await);
    }
    let define = async |budget: &str| {
        let definition: Value = serde_json::from_str(&format!("{{\"pool\": [\"m\"]{budget}}}")).unwrap();
        let (status, told) =
            operate(&stands[0], OPERATOR, (Method::PUT, "/admin/tenants/new"), definition).await;
        assert!(status == 200 || status == 201, "{told}");
    };
    define("").await;
    let wanted = serde_json::json!({"tenant": "new", "name": "new"});
    let (_, made) = operate(&stands[0], OPERATOR, (Method::POST, "/admin/keys"), wanted).await;
    let secret = format!("Bearer {}", made["key"].as_str().unwrap());
    let ask = async |stand: &Stand| {
        let mut request = post("/v1/chat/completions", bounded(&chat("m")));
        request.headers_mut().insert("authorization", secret.parse().unwrap());
        stand.client().await.last(request).await.status.as_u16()
    };
    let begun = Instant::now();
    let mut before = 0;
    for stand in &stands {
        while ask(stand).await != 200 {
            assert!(begun.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        before += 1;
    }
    for stand in stands.iter().cycle().take(20 - before) {
        assert_eq!(ask(stand).await, 200);
    }
    database.until("SELECT count(*) FROM requests WHERE tenant = 'new'", 20, PATIENCE).await;
    define(", \"budget\": {\"usd\": 0.000069, \"per\": \"day\"}").await;
    // Both have it in force.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let mut let_in = 0;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        for stand in &stands {
            let_in += i32::from(ask(stand).await == 200);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(let_in, 3, "twenty of twenty-three were before");
}
