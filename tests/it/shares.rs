//! Several processes that spend of one budget, on a real PostgreSQL and a real Redis: never more than it allows, whatever is lost.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use pointsman::{
    budget::{BudgetRule, Budgets, Hold, Holder, Period, Purse, Reason},
    config::{Database, OnStoreLoss, RedisUrl, Usd},
    fleet::{Fleet, link::Link},
    ledger::Ledger,
    secret::Secret,
    telemetry::metrics::Metrics,
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
        let link = Link::open(&RedisUrl::parse(&store.url()).unwrap(), Arc::clone(&metrics));
        let fleet = Fleet::join(link, Some(Arc::clone(&ledger)), budgets, on_loss);
        let mut running = JoinSet::new();
        let tended = Arc::clone(&fleet);
        running.spawn(async move { tended.run().await });
        fleet.ready(PATIENCE).await;
        Self { fleet, purse, ledger, _running: running, metrics }
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
