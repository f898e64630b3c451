//! Several processes that spend of one budget, on a real PostgreSQL and a real Redis: never more than it allows, whatever is lost.

use std::{
    num::NonZeroU64,
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use pointsman::{
    budget::{BudgetRule, Budgets, Hold, Holder, Period, Purse, Reason},
    config::{Database, OnStoreLoss, RedisUrl, TenantLimits, Usd},
    fleet::{Fleet, link::Link},
    ledger::Ledger,
    secret::Secret,
    telemetry::{metrics::Metrics, outcome::Limit},
    tenancy::limits::{Exceeded, Lease, Limiters},
};
use tokio::task::JoinSet;

use crate::{postgres, redis, upstream::PATIENCE};

/// One of several processes.
struct Process {
    fleet: Arc<Fleet>,
    purse: Arc<Purse>,
    ledger: Arc<Ledger>,
    _running: JoinSet<()>,
    metrics: Arc<Metrics>,
    limiters: Arc<Limiters>,
}

fn usd(usd: u64) -> Usd {
    Usd::from_micros(usd * 1_000_000)
}

impl Process {
    async fn start(
        (database, store): (&postgres::Server, &redis::Server),
        folder: &Path,
        name: &str,
        on_loss: OnStoreLoss,
    ) -> Self {
        let database = Database::Postgres { url: Secret::new(database.url()), spill: folder.join(name) };
        let metrics = Arc::new(Metrics::new().unwrap());
        let of_ledger = Arc::clone(&metrics);
        let ledger = tokio::task::spawn_blocking(move || Ledger::open(&database, None, of_ledger).unwrap())
            .await
            .unwrap();
        let budgets = Budgets::default();
        let rule = BudgetRule { limit: usd(100), per: Period::Total };
        let purse = budgets.purse([(Holder::tenant(&"t".into()), rule)]).unwrap();
        let limiters = Arc::new(Limiters::new(tokio::time::Instant::now()));
        let link = Link::open(&RedisUrl::parse(&store.url()).unwrap(), Arc::clone(&metrics));
        let fleet = Fleet::join(link, Some(Arc::clone(&ledger)), (budgets, &limiters), on_loss);
        let mut running = JoinSet::new();
        let tended = Arc::clone(&fleet);
        running.spawn(async move { tended.run().await });
        fleet.ready(PATIENCE).await;
        Self { fleet, purse, ledger, _running: running, metrics, limiters }
    }

    async fn spend(&self, amount: Usd) -> bool {
        match self.purse.secure(amount).await {
            Ok(hold) => {
                hold.settle(amount);
                true
            }
            Err(_) => false,
        }
    }
}

/// Holds of a thousand requests at once, spread over the processes.
async fn at_once(processes: &[Process]) -> Vec<Hold> {
    let mut all = JoinSet::new();
    for place in 0..1_000 {
        let purse = Arc::clone(&processes[place % processes.len()].purse);
        all.spawn(async move { purse.secure(usd(1)).await.ok() });
    }
    all.join_all().await.into_iter().flatten().collect()
}

async fn three(
    servers: (&postgres::Server, &redis::Server),
    folder: &Path,
    on_loss: OnStoreLoss,
) -> Vec<Process> {
    let mut processes = Vec::new();
    for name in ["a", "b", "c"] {
        processes.push(Process::start(servers, folder, name, on_loss).await);
    }
    processes
}

/// Spends by one after the other until nothing is left: how much that was.
async fn spend_all(processes: &[Process], at_most: u64) -> u64 {
    let (begun, mut spent) = (Instant::now(), 0);
    while spent < at_most {
        for process in processes {
            spent += u64::from(spent < at_most && process.spend(usd(1)).await);
        }
        assert!(begun.elapsed() < PATIENCE, "{spent} of {at_most}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for process in processes {
        // The others tell every second what they have spent.
        loop {
            let refused = process.purse.secure(usd(1)).await.unwrap_err();
            if (refused.reason, refused.retry_after) == (Reason::Exceeded, None) {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "{refused:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let spent = process.purse.standing(SystemTime::now())[0].spent;
        assert!(spent <= usd(100) && spent > usd(99).less(Usd::from_micros(1)), "{spent}");
    }
    spent
}

/// The name of the account, once there is one.
async fn account(store: &redis::Server) -> String {
    let begun = Instant::now();
    loop {
        let mut keys: Vec<String> = store.ask(&["KEYS", "pointsman:*:budget:*"]).await;
        if let Some(key) = keys.pop() {
            return key;
        }
        assert!(begun.elapsed() < PATIENCE, "there is no account");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn servers() -> Option<(postgres::Server, redis::Server)> {
    Some((postgres::Server::start().await?, redis::Server::start().await?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_at_once_on_three_never_spend_more_than_there_is() {
    let Some((database, store)) = servers().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let processes = three((&database, &store), folder.path(), OnStoreLoss::Refuse).await;
    let before: u64 = processes.iter().map(|process| process.metrics.redis.commands.get()).sum();
    let holds = at_once(&processes).await;
    let after: u64 = processes.iter().map(|process| process.metrics.redis.commands.get()).sum();
    let asked = after - before;
    assert!(holds.len() <= 100 && holds.len() > 80, "{}", holds.len());
    assert!(asked < 200, "{asked} questions");
    let spent = holds.len() as u64 - 10;
    holds.iter().take(10).for_each(|hold| hold.settle(Usd::ZERO));
    holds.iter().skip(10).for_each(|hold| hold.settle(usd(1)));
    // What was given back is spent by whoever asks for it, to the last.
    spend_all(&processes, 100 - spent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_has_lost_all_is_told_all() {
    let Some((database, mut store)) = servers().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let processes = three((&database, &store), folder.path(), OnStoreLoss::Refuse).await;
    let [a, b, c] = &processes[..] else { unreachable!() };
    let mut spent = 0;
    for _ in 0..20 {
        spent += u64::from(a.spend(usd(1)).await) + u64::from(b.spend(usd(1)).await);
    }
    let held = c.purse.secure(usd(10)).await.unwrap();
    assert_eq!(spent, 40);
    for how in ["killed", "flushed", "without one account", "paused"] {
        match how {
            "killed" => store.stop(),
            "flushed" => store.flush().await,
            "paused" => store.pause(),
            _ => {
                let key = account(&store).await;
                assert_eq!(store.ask::<i64>(&["DEL", &key]).await, 1);
            }
        }
        // What there is of shares may be spent; then no more, while nobody can be asked.
        for process in &processes {
            for _ in 0..4 {
                spent += u64::from(process.spend(usd(1)).await);
            }
        }
        match how {
            "killed" => store.resume().await,
            "paused" => store.go_on(),
            _ => {}
        }
        let begun = Instant::now();
        while a.purse.secure(Usd::from_micros(1)).await.is_err() {
            assert!(begun.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    held.settle(usd(5));
    assert!(spent + 5 < 100, "{spent}");
    // The smallest amounts of above are spent, too: what is not settled is.
    spend_all(&processes, 100 - spent - 5 - 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_server_what_was_granted_is_spent_and_what_is_allowed_beyond_it() {
    let Some((database, mut store)) = servers().await else { return };
    let folder = tempfile::tempdir().unwrap();
    for (on_loss, beyond) in [(OnStoreLoss::Refuse, 0), (OnStoreLoss::Allow(usd(3)), 3)] {
        store.flush().await;
        let process = Process::start((&database, &store), folder.path(), "only", on_loss).await;
        let held = process.purse.secure(usd(20)).await.unwrap();
        // A quarter of what is left is granted to one alone, or what it lacks.
        store.stop();
        let mut more = Vec::new();
        let refused = loop {
            match process.purse.secure(usd(1)).await {
                Ok(hold) => more.push(hold),
                Err(refused) => break refused,
            }
        };
        assert_eq!((more.len(), refused.reason), (5 + beyond, Reason::Unknown));
        assert_eq!(refused.retry_after, Some(Duration::from_secs(1)));
        more.iter().for_each(|hold| hold.settle(Usd::ZERO));
        held.settle(usd(7));
        store.resume().await;
        let begun = Instant::now();
        while process.purse.secure(usd(93)).await.is_err() {
            assert!(begun.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let spent = process.purse.secure(Usd::from_micros(1)).await.unwrap_err();
        assert_eq!(spent.reason, Reason::Exceeded);
        process.fleet.leave().await;
        let ledger = Arc::clone(&process.ledger);
        drop(process);
        tokio::task::spawn_blocking(move || ledger.end()).await.unwrap();
    }
}

fn limits(rpm: u64, tpm: u64, concurrency: u64) -> TenantLimits {
    let [rpm, tpm, concurrency] = [rpm, tpm, concurrency].map(NonZeroU64::new);
    TenantLimits { rpm, tpm, concurrency }
}

/// How many of so many requests on each process are let in at once, and what refused the others.
async fn let_in(processes: &[Process], limits: TenantLimits, each: usize) -> (Vec<Lease>, Vec<Exceeded>) {
    let mut all = JoinSet::new();
    for place in 0..each * processes.len() {
        let limited = processes[place % processes.len()].limiters.of(&"t".into(), limits);
        all.spawn(async move { limited.admit(tokio::time::Instant::now()).await });
    }
    let (mut leases, mut refused) = (Vec::new(), Vec::new());
    for admitted in all.join_all().await {
        match admitted {
            Ok(lease) => leases.push(lease),
            Err(exceeded) => refused.push(exceeded),
        }
    }
    (leases, refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_hold_for_all_of_them_together() {
    let Some((database, store)) = servers().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let processes = three((&database, &store), folder.path(), OnStoreLoss::Refuse).await;
    // Requests in flight.
    let ten = limits(0, 0, 10);
    let (leases, refused) = let_in(&processes, ten, 100).await;
    assert_eq!((leases.len(), refused.len()), (10, 290));
    assert!(refused.iter().all(|refused| refused.limit == Limit::Concurrency && refused.allowed == 10));
    drop(leases);
    let begun = Instant::now();
    loop {
        // All ten on one of them, once the others have given back what they do not use.
        let (leases, _) = let_in(&processes[..1], ten, 20).await;
        if leases.len() == 10 {
            break;
        }
        assert!(leases.len() < 10 && begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Requests a minute: one more comes back every half a second.
    let (begun, minute) = (Instant::now(), limits(120, 0, 0));
    let (leases, refused) = let_in(&processes, minute, 100).await;
    let more = usize::try_from(begun.elapsed().as_millis() / 500).unwrap() + 1;
    assert!((100..=120 + more).contains(&leases.len()), "{}", leases.len());
    assert!(refused.iter().all(|refused| refused.limit == Limit::Requests && refused.wait.is_some()));
    let mut all = leases.len();
    while begun.elapsed() < Duration::from_secs(4) {
        all += let_in(&processes, minute, 10).await.0.len();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let regained = usize::try_from(begun.elapsed().as_millis() / 500).unwrap() + 1;
    assert!((120 + regained - 4..=120 + regained).contains(&all), "{all} of 120 and {regained}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_settled_for_all_of_them_together() {
    let Some((database, store)) = servers().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let processes = three((&database, &store), folder.path(), OnStoreLoss::Refuse).await;
    let few = limits(0, 600, 0);
    let reserve = async |process: &Process, tokens| {
        let now = tokio::time::Instant::now();
        let mut lease = process.limiters.of(&"t".into(), few).admit(now).await.unwrap();
        lease.reserve_shared(tokens, now).await.map(|()| lease)
    };
    let mut first = reserve(&processes[0], 500).await.unwrap();
    let refused = reserve(&processes[1], 200).await.unwrap_err();
    assert_eq!((refused.limit, refused.allowed, refused.requested), (Limit::Tokens, 600, 200));
    assert!(refused.wait.is_some() && refused.remaining <= 101, "{refused:?}");
    assert_eq!(reserve(&processes[1], 601).await.unwrap_err().wait, None, "never");
    // What was not used is there for another, once it is given back.
    first.settle(100, tokio::time::Instant::now());
    let begun = Instant::now();
    let mut second = loop {
        if let Ok(second) = reserve(&processes[1], 450).await {
            break second;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "400 were given back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    // What was used beyond it is owed by all.
    second.settle(1450, tokio::time::Instant::now());
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let refused = reserve(&processes[2], 10).await.unwrap_err();
    assert!(refused.wait.unwrap() > Duration::from_secs(60), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_server_each_keeps_to_its_part_of_limits() {
    let Some((database, mut store)) = servers().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let processes = three((&database, &store), folder.path(), OnStoreLoss::Refuse).await;
    // Each has heard of the others.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    store.stop();
    let (leases, refused) = let_in(&processes, limits(120, 0, 0), 100).await;
    assert!((120..=126).contains(&leases.len()) && !refused.is_empty(), "{}", leases.len());
    drop(leases);
    let (leases, _) = let_in(&processes, limits(0, 0, 9), 100).await;
    assert_eq!(leases.len(), 9, "three each");
    store.resume().await;
    let begun = Instant::now();
    while processes.iter().any(|process| process.metrics.redis.up.get() == 0) {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // What was used meanwhile is told.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let (more, _) = let_in(&processes, limits(120, 0, 0), 100).await;
    assert!(more.len() < 20, "{}", more.len());
    let (more, _) = let_in(&processes, limits(0, 0, 10), 100).await;
    assert_eq!(more.len(), 1, "nine are in flight");
    drop(leases);
}
