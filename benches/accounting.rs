//! `cargo bench --bench accounting`: the processor time that limits, budgets and the ledger add to a request, the ledger's own
//! thread and its database among it. See `README.md`.
#![expect(clippy::expect_used, reason = "a benchmark that cannot be prepared has nothing to measure")]

use std::{
    num::NonZeroU64,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use pointsman::{
    budget::{BudgetRule, Budgets, Holder, Period, Purse},
    config::{Database, Price, TenantLimits, TokenPrice, Usd},
    ledger::{
        HeldFor, Ledger,
        row::{HoldRow, milliseconds},
    },
    money,
    openai::usage::Usage,
    telemetry::{Books, account::Account, metrics::Metrics, outcome::Outcome},
    tenancy::limits::Limiters,
};
use tokio::time::Instant;

/// As many as an hour of a busy gateway brings in a minute.
const REQUESTS: u32 = 200_000;

/// What is switched on.
#[derive(Clone, Copy)]
struct Parts {
    limits: bool,
    budget: bool,
    ledger: bool,
}

struct Stand {
    limiters: Limiters,
    limits: TenantLimits,
    purse: Option<Arc<Purse>>,
    price: Price,
    books: Arc<Books>,
    tenant: Arc<str>,
    key: Arc<str>,
    model: Arc<str>,
    route: Arc<str>,
}

fn main() {
    let requests = if std::env::args().any(|argument| argument == "--test") { 200 } else { REQUESTS };
    let nothing = Parts { limits: false, budget: false, ledger: false };
    let cases = [
        ("account alone", nothing),
        ("with limits", Parts { limits: true, ..nothing }),
        ("with a budget", Parts { budget: true, ..nothing }),
        ("with the ledger", Parts { ledger: true, ..nothing }),
        ("with all three", Parts { limits: true, budget: true, ledger: true }),
    ];
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let is_wanted =
        |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| name.contains(wanted.as_str()));
    let mut least = f64::NAN;
    for (place, (name, parts)) in cases.into_iter().enumerate() {
        if place > 0 && !is_wanted(name) {
            continue;
        }
        let mut times: Vec<f64> = (0..5).map(|_| measure(parts, requests)).collect();
        times.sort_by(f64::total_cmp);
        let median = times.get(2).copied().unwrap_or(f64::NAN);
        if least.is_nan() {
            least = median;
        }
        println!("{name:16} {median:7.2} µs of processor time a request, {:7.2} more", median - least);
    }
}

/// Microseconds of processor time a request, all threads together.
fn measure(parts: Parts, requests: u32) -> f64 {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let stand = Stand::new(parts, folder.path());
    let before = processor_time();
    for number in 0..requests {
        stand.request(parts);
        // About as fast as a gateway on one core: the ledger's queue is never full, and its transactions are of usual size.
        if number % 512 == 511 {
            std::thread::park_timeout(Duration::from_millis(25));
        }
    }
    if let Some(ledger) = stand.books.ledger() {
        ledger.end();
    }
    (processor_time() - before).as_secs_f64() * 1e6 / f64::from(requests)
}

impl Stand {
    fn new(parts: Parts, folder: &Path) -> Self {
        let metrics = Arc::new(Metrics::new().expect("the metrics have names of their own"));
        let books = Arc::new(Books::new(Arc::clone(&metrics)));
        if parts.ledger {
            let ledger = Ledger::open(&Database::Sqlite(folder.join("ledger.db")), None, metrics)
                .expect("a database can be made");
            books.keep(ledger);
        }
        let tenant: Arc<str> = "research".into();
        let rule = |usd: u128, per| BudgetRule { limit: Usd::from_pico(usd * 1_000_000_000_000), per };
        let of_tenant = Holder::tenant(&tenant);
        let of_key = Holder { key: Some("ci".into()), ..of_tenant.clone() };
        let rules = [
            (of_tenant.clone(), rule(1_000_000, Period::Month)),
            (of_tenant, rule(100_000, Period::Day)),
            (of_key, rule(100_000, Period::Day)),
        ];
        let limit = NonZeroU64::new(1_000_000_000);
        Self {
            limiters: Limiters::new(Instant::now()),
            limits: TenantLimits { rpm: limit, tpm: limit, concurrency: limit },
            purse: parts.budget.then(|| Budgets::default().purse(rules)).flatten(),
            price: Price::flat(TokenPrice::from_pico_usd(2_500_000), TokenPrice::from_pico_usd(10_000_000)),
            books,
            tenant,
            key: "ci".into(),
            model: "gpt-4o".into(),
            route: "auto".into(),
        }
    }

    /// A request's accounting, from its head to the end of its answer.
    fn request(&self, parts: Parts) {
        let mut account = Account::open(&self.books, "req_0123456789abcdef0123456789abcdef");
        account.set_caller(&self.tenant, None, Some(&self.key));
        let lease = parts.limits.then(|| self.limiters.of(&self.tenant, self.limits));
        let mut lease = lease.and_then(|limited| limited.enter(Instant::now()).ok());
        if let Some(ledger) = self.books.ledger() {
            account.keep(ledger.slot().expect("the queue is long enough"));
        }
        if let Some(lease) = &mut lease {
            lease.reserve(500, Instant::now()).expect("the limit is high enough");
        }
        account.set_route(&self.route);
        account.set_decision(
            ("mf", Some("0123456789ab".into())),
            Duration::from_micros(11),
            vec![(Arc::clone(&self.model), 0.7), ("small".into(), 0.1)],
            Some((Arc::clone(&self.model), Some(self.price))),
        );
        let now = SystemTime::now();
        let bill = account.bill();
        let hold = self.purse.as_ref().map(|purse| {
            let most = money::prompt_at_most(&self.price, 1200).plus(money::answer_at_most(&self.price, 400));
            let hold = purse.hold(most, now).expect("the budget is large enough");
            let written = self.books.ledger().zip(bill.row()).map(|(ledger, request)| {
                let tenant = self.tenant.to_string();
                let (key, model) = (Some(self.key.to_string()), self.model.to_string());
                let row = HoldRow {
                    request,
                    position: 0,
                    at_ms: milliseconds(now),
                    tenant,
                    project: None,
                    key,
                    model,
                    pico_usd: 0,
                };
                let written = HeldFor::new(Arc::clone(ledger), row);
                written.write(most).expect("the queue is long enough");
                written
            });
            (Arc::new(hold), written)
        });
        let meter = bill.call(&self.model, Some(self.price), 300);
        if let Some((hold, written)) = hold {
            meter.secure(hold, None, written);
        }
        meter.send();
        meter.report(Usage::of(310, 120));
        account.answered_by(&meter);
        account.ended(Outcome::Ok, None);
        if let Some(mut lease) = lease {
            lease.settle(430, Instant::now());
        }
        drop(account);
    }
}

/// Of this process and all its threads, also those that have ended.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux tells it there");
    // Behind the name, which may hold spaces: user and system time are the 14th and 15th fields.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks: u64 =
        fields.get(11..13).unwrap_or_default().iter().filter_map(|field| field.parse::<u64>().ok()).sum();
    // A hundred of them a second on every Linux.
    Duration::from_millis(ticks * 10)
}
