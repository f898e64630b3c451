//! Several processes that spend of one budget, on a real PostgreSQL and a real Redis: never more than it allows, whatever is lost.

use std::{
    future::Future,
    num::NonZeroU64,
    path::Path,
    sync::Arc,
    task::{Context, Waker},
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

const TENTH: Usd = Usd::from_micros(100_000);

fn tenths(tenths: u64) -> Usd {
    Usd::from_micros(tenths * 100_000)
}

impl Process {
    async fn start(
        (database, store): (&postgres::Server, &redis::Server),
        folder: &Path,
        name: &str,
        on_loss: OnStoreLoss,
    ) -> Self {
        Self::start_for("t", (database, store), folder, name, on_loss).await
    }

    /// One that serves another tenant.
    async fn start_for(
        tenant: &str,
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
        let purse = budgets.purse([(Holder::tenant(&tenant.into()), rule)]).unwrap();
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
async fn at_once(processes: &[Process]) -> Vec<Arc<Hold>> {
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

/// Those who have begun to ask and are not polled any more, as where a client does not read its answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_and_does_not_listen_stands_in_nobodys_way() {
    let Some((database, store)) = servers().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start((&database, &store), folder.path(), "only", OnStoreLoss::Refuse).await;
    let limited = process.limiters.of(&"t".into(), limits(1_000, 0, 100));
    let mut context = Context::from_waker(Waker::noop());
    let mut left_alone = Vec::new();
    for _ in 0..20 {
        let mut money = Box::pin(process.purse.secure(usd(1)));
        let mut place = Box::pin(limited.admit(tokio::time::Instant::now()));
        let (has_money, has_place) = (money.as_mut().poll(&mut context), place.as_mut().poll(&mut context));
        left_alone.push((money, place, has_money.is_pending(), has_place.is_pending()));
    }
    assert!(left_alone.iter().any(|(_, _, money, place)| *money && *place), "none had to ask");
    let served = async {
        // More than one share is.
        while process.purse.secure(usd(60)).await.is_err() {}
        let mut places = Vec::new();
        while places.len() < 60 {
            places.extend(limited.admit(tokio::time::Instant::now()).await);
        }
    };
    tokio::time::timeout(PATIENCE, served).await.unwrap();
    // And the process is there for the others: it says so every second.
    let score = async || {
        store.ask::<f64>(&["ZSCORE", "pointsman:live", &process.ledger.instance().to_string()]).await
    };
    let (begun, before) = (Instant::now(), score().await);
    while score().await <= before {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_account_is_noticed_by_whoever_asks_first() {
    let Some((database, store)) = servers().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let processes = three((&database, &store), folder.path(), OnStoreLoss::Refuse).await;
    let [a, b, c] = &processes[..] else { unreachable!() };
    assert!(a.spend(usd(20)).await && b.spend(usd(20)).await);
    let key = account(&store).await;
    for _ in 0..3 {
        // What they did not use is given back, so that nobody misses anything.
        tokio::time::sleep(Duration::from_millis(2500)).await;
        assert_eq!(store.ask::<i64>(&["DEL", &key]).await, 1);
        let begun = Instant::now();
        let refused = loop {
            let refused = c.purse.secure(usd(61)).await.unwrap_err();
            if refused.reason == Reason::Exceeded {
                break refused;
            }
            assert!(begun.elapsed() < PATIENCE, "{refused:?}");
        };
        assert_eq!(refused.retry_after, None, "40 are spent");
        let all = c.purse.secure(usd(60)).await.unwrap();
        assert!(a.purse.secure(usd(1)).await.is_err());
        all.settle(Usd::ZERO);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let key_now = account(&store).await;
        if key_now != key {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_spent_without_a_server_is_told_when_it_is_back() {
    let Some((database, store)) = servers().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let processes = three((&database, &store), folder.path(), OnStoreLoss::Allow(usd(3))).await;
    let [a, b, _] = &processes[..] else { unreachable!() };
    let mut spent = 0;
    for _ in 0..2 {
        let held = a.purse.secure(usd(10)).await.unwrap();
        store.pause();
        let begun = Instant::now();
        let mut beyond = 0;
        loop {
            match a.purse.secure(usd(1)).await {
                Ok(hold) => hold.settle(usd(1)),
                Err(refused) => break assert_eq!(refused.reason, Reason::Unknown),
            }
            beyond += 1;
            assert!(begun.elapsed() < PATIENCE);
        }
        assert!(beyond >= 3, "{beyond}");
        held.settle(usd(10));
        spent += 10 + beyond;
        store.go_on();
        // Every account is told anew now and then, whatever was lost.
        while b.purse.secure(usd(1)).await.is_err() || a.purse.standing(SystemTime::now())[0].held > Usd::ZERO
        {
            assert!(begun.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        spent += 1;
        tokio::time::sleep(Duration::from_millis(2500)).await;
    }
    spend_all(&processes, 100 - spent).await;
}

/// Spends a tenth of a USD again and again for a while, so that a share is kept of which little is announced: how many tenths.
async fn spend_steadily(process: &Process) -> u64 {
    let mut spent = 0;
    for _ in 0..25 {
        spent += u64::from(process.spend(TENTH).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    spent
}

/// Waits until others have settled for a process that is gone.
async fn is_settled(store: &redis::Server, id: &str) {
    let begun = Instant::now();
    while store.ask::<Option<String>>(&["HGET", "pointsman:members", id]).await.as_deref() != Some("settled")
    {
        assert!(begun.elapsed() < PATIENCE * 3);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Its last rows may be nowhere: here none of them is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_gone_has_spent_what_it_had_announced_and_the_rest_is_free() {
    let Some(servers) = servers().await else { return };
    let (servers, folder) = ((&servers.0, &servers.1), tempfile::tempdir().unwrap());
    // Nobody else knows of this tenant.
    let gone = Process::start_for("other", servers, folder.path(), "gone", OnStoreLoss::Refuse).await;
    let there = Process::start(servers, folder.path(), "there", OnStoreLoss::Refuse).await;
    let spent = spend_steadily(&gone).await;
    assert_eq!(spent, 25);
    let id = gone.ledger.instance().to_string();
    drop(gone);
    let begun = Instant::now();
    let later = Process::start_for("other", servers, folder.path(), "later", OnStoreLoss::Refuse).await;
    assert!(later.purse.secure(usd(90)).await.is_err(), "it is not known yet to be gone");
    is_settled(servers.1, &id).await;
    assert!(begun.elapsed() > Duration::from_secs(10), "others may have been asleep");
    assert!(later.purse.secure(usd(98)).await.is_err(), "2.5 are spent");
    assert!(later.purse.secure(usd(90)).await.is_ok());
    assert!(there.spend(usd(1)).await);
}

/// What it has spent and held is known to nobody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_gone_while_the_ledger_was_away_has_spent_what_it_had_announced() {
    let Some((mut database, store)) = servers().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let gone = Process::start((&database, &store), folder.path(), "gone", OnStoreLoss::Refuse).await;
    let there = Process::start((&database, &store), folder.path(), "there", OnStoreLoss::Refuse).await;
    assert!(gone.spend(usd(10)).await);
    database.stop();
    let held = gone.purse.secure(usd(70)).await.unwrap();
    let id = gone.ledger.instance().to_string();
    drop((held, gone));
    database.resume().await;
    is_settled(&store, &id).await;
    assert!(there.purse.secure(usd(21)).await.is_err());
    assert!(there.spend(usd(20)).await);
}

/// Who cannot announce any more says so in the ledger, and then may have spent all that it was granted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_goes_on_without_a_server_has_spent_its_share_should_it_be_gone() {
    let Some((database, store)) = servers().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let gone = Process::start((&database, &store), folder.path(), "gone", OnStoreLoss::Refuse).await;
    let there = Process::start((&database, &store), folder.path(), "there", OnStoreLoss::Refuse).await;
    let notes = async || database.number("SELECT count(*) FROM apart").await;
    let mut spent = Usd::ZERO;
    for is_last in [false, true] {
        spent = spent.plus(tenths(spend_steadily(&gone).await));
        store.pause();
        let mut all = Vec::new();
        while let Ok(hold) = gone.purse.secure(usd(1)).await {
            all.push(hold);
        }
        assert!(all.len() > 4, "an eighth of what was left was granted: {}", all.len());
        assert_eq!(notes().await, 1);
        if is_last {
            all.iter().for_each(|hold| hold.settle(usd(1)));
            spent = spent.plus(usd(all.len() as u64));
        } else {
            all.iter().for_each(|hold| hold.settle(Usd::ZERO));
            store.go_on();
            let begun = Instant::now();
            while notes().await != 0 {
                assert!(begun.elapsed() < PATIENCE, "it tells again what it has spent");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    let id = gone.ledger.instance().to_string();
    drop(gone);
    store.go_on();
    is_settled(&store, &id).await;
    let left = usd(100).less(spent);
    assert!(there.purse.secure(left.plus(Usd::from_micros(1))).await.is_err());
    assert!(there.purse.secure(left.less(usd(1))).await.is_ok(), "{left} are left");
    let begun = Instant::now();
    while notes().await != 0 {
        assert!(begun.elapsed() < PATIENCE, "nobody needs the note any more");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_both_servers_what_was_announced_is_spent() {
    let Some((mut database, store)) = servers().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start((&database, &store), folder.path(), "only", OnStoreLoss::Refuse).await;
    let spent = tenths(spend_steadily(&process).await);
    store.pause();
    database.stop();
    let mut more = 0;
    let refused = loop {
        match process.purse.secure(TENTH).await {
            Ok(hold) => hold.settle(TENTH),
            Err(refused) => break refused,
        }
        more += 1;
    };
    assert_eq!(refused.reason, Reason::Unknown);
    assert!(more < 50, "{more} tenths after {spent}, of a share of 24 USD");
    store.go_on();
    database.resume().await;
    let begun = Instant::now();
    let all = usd(100).less(spent).less(tenths(more));
    while process.purse.secure(all).await.is_err() {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
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
async fn who_has_used_more_than_was_reserved_waits_until_it_is_made_good_and_no_longer() {
    let Some((database, store)) = servers().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let processes = three((&database, &store), folder.path(), OnStoreLoss::Refuse).await;
    // A thousand a second.
    let limited = |process: &Process| process.limiters.of(&"t".into(), limits(0, 60_000, 0));
    let reserve = async |process: &Process, tokens| {
        let now = tokio::time::Instant::now();
        let mut lease = limited(process).admit(now).await.unwrap();
        lease.reserve_shared(tokens, now).await.map(|()| lease)
    };
    let mut first = reserve(&processes[0], 10).await.unwrap();
    let begun = Instant::now();
    first.settle(63_000, tokio::time::Instant::now());
    drop(first);
    for process in &processes {
        while reserve(process, 100).await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "3,000 are owed");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    assert!(begun.elapsed() > Duration::from_millis(2900), "{:?}", begun.elapsed());
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
