use std::{fs, path::Path, time::UNIX_EPOCH};

use rusqlite::Connection;

use super::{
    row::{Call, UsedRow},
    *,
};
use crate::openai::usage::Usage;

fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::new().unwrap())
}

fn open(path: &Path) -> Arc<Ledger> {
    Ledger::open(&sqlite(path), None, metrics()).unwrap()
}

fn sqlite(path: &Path) -> Database {
    Database::Sqlite(path.to_owned())
}

const EVERYBODY: By = By::AllButHeldBy(Uuid::nil());

const ARRIVED_MS: i64 = 20_000 * 86_400_000 + 5;

fn row(id: Uuid, key: Option<&str>, pico: i64) -> Row {
    let used = UsedRow { cost_pico_usd: Some(pico), ..UsedRow::of(Usage::of(10, 3)) };
    Row {
        id,
        arrived_ms: ARRIVED_MS,
        request_id: "req".to_owned(),
        tenant: "t".to_owned(),
        project: None,
        key: key.map(str::to_owned),
        route: Some("auto".to_owned()),
        router: Some("mf".to_owned()),
        decision_us: Some(11),
        candidates: vec![("m".to_owned(), 0.5), ("n".to_owned(), -1.25)],
        model: Some("m".to_owned()),
        outcome: "ok".to_owned(),
        code: None,
        answer_us: Some(1500),
        duration_us: 20_000,
        artifact: None,
        cache: None,
        tags: None,
        prompt: None,
        calls: vec![
            Call { model: "n".to_owned(), used: None },
            Call { model: "m".to_owned(), used: Some(used) },
        ],
    }
}

fn hold(request: Uuid, pico: i64) -> HoldRow {
    HoldRow {
        request,
        position: 0,
        at_ms: ARRIVED_MS,
        tenant: "t".to_owned(),
        project: None,
        key: Some("k".to_owned()),
        model: "m".to_owned(),
        pico_usd: pico,
    }
}

fn held(ledger: &Arc<Ledger>, row: HoldRow, pico: u128) {
    HeldFor::new(Arc::clone(ledger), row).write(Usd::from_pico(pico)).unwrap();
}

fn write(ledger: &Ledger, key: Option<&str>, pico: i64) -> Uuid {
    let slot = ledger.slot().unwrap();
    let id = slot.id;
    slot.write(row(id, key, pico));
    id
}

fn number(path: &Path, query: &str) -> i64 {
    Connection::open(path).unwrap().query_row(query, [], |row| row.get(0)).unwrap()
}

#[test]
fn rows_are_written_and_their_cost_is_summed_by_day() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    for _ in 0..2 {
        let ledger = open(&path);
        write(&ledger, Some("k"), 5);
        write(&ledger, None, 7);
        ledger.end();
        assert_eq!(ledger.slot().unwrap_err(), Full, "it has ended");
    }
    assert_eq!(number(&path, "SELECT count(*) FROM requests"), 4);
    assert_eq!(number(&path, "SELECT count(*) FROM calls WHERE cost_pico_usd IS NULL"), 4);
    let query = "SELECT prompt_tokens FROM usage WHERE model = 'm' AND key = 'k' AND day = 20000";
    assert_eq!(number(&path, query), 20);
    let ledger = open(&path);
    let mut spent: Vec<(bool, u128)> = ledger
        .spent_since(20_000, &EVERYBODY)
        .unwrap()
        .iter()
        .map(|spent| (spent.by.key.is_some(), spent.amount.pico()))
        .collect();
    spent.sort_unstable();
    assert_eq!(spent, [(false, 14), (true, 10)]);
    assert!(ledger.spent_since(20_001, &EVERYBODY).unwrap().is_empty());
}

/// As an upstream may report that lies.
#[test]
fn the_largest_costs_are_as_large_as_numbers_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = open(&path);
    for _ in 0..3 {
        write(&ledger, None, i64::MAX);
    }
    ledger.end();
    let spent = open(&path).spent_since(0, &EVERYBODY).unwrap();
    assert_eq!(spent[0].amount.pico(), u128::try_from(i64::MAX).unwrap());
}

#[test]
fn what_is_held_when_a_process_ends_is_spent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = open(&path);
    let ended = ledger.slot().unwrap();
    held(&ledger, hold(ended.id, 0), 100);
    let row = row(ended.id, Some("k"), 5);
    ended.write(row);
    let on_its_way = ledger.slot().unwrap();
    // As more is held, more is written down.
    for (position, pico) in [(0, 10), (1, 30), (0, 20), (0, 15)] {
        held(&ledger, HoldRow { position, ..hold(on_its_way.id, 0) }, pico);
    }
    // As a killed process leaves it: never ended.
    let id = on_its_way.id;
    std::mem::forget((on_its_way, Arc::clone(&ledger)));
    let begun = std::time::Instant::now();
    while number(&path, "SELECT ifnull(sum(pico_usd), 0) FROM holds WHERE tenant = 't'") < 50 {
        assert!(begun.elapsed() < Duration::from_secs(10));
        std::thread::yield_now();
    }
    let spent = open(&path).spent_since(0, &EVERYBODY).unwrap();
    assert_eq!(spent.iter().map(|spent| spent.amount.pico()).sum::<u128>(), 55);
    let left = "SELECT count(*) FROM requests WHERE code = 'interrupted' AND outcome = 'gateway_error'";
    assert_eq!((number(&path, left), number(&path, "SELECT count(*) FROM holds")), (1, 0));
    // Its own row, should it come all the same, is not counted again.
    let again = open(&path);
    let slot = again.slot().unwrap();
    slot.write(self::row(id, Some("k"), 1000));
    again.end();
    assert_eq!(number(&path, "SELECT sum(cost_pico_usd) FROM usage"), 55);
}

#[test]
fn what_the_database_does_not_take_waits_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let metrics = metrics();
    let ledger = Ledger::open(&sqlite(&path), None, Arc::clone(&metrics)).unwrap();
    write(&ledger, None, 1);
    let spilled = folder.path().join("ledger.db.spill");
    let lines = || fs::read_to_string(&spilled).unwrap().lines().count();
    let wait = |what: &str, is_so: &dyn Fn() -> bool| {
        let begun = std::time::Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < Duration::from_secs(30), "{what}");
            std::thread::yield_now();
        }
    };
    wait("the first row", &|| number(&path, "SELECT count(*) FROM requests") == 1);
    let lock = Connection::open(&path).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    for _ in 0..10 {
        write(&ledger, None, 1);
    }
    wait("rows in the file", &|| lines() == 10);
    assert_eq!(metrics.ledger.errors.get(), 0, "it is still waited for: five seconds");
    lock.execute_batch("COMMIT").unwrap();
    wait("rows in the database", &|| number(&path, "SELECT count(*) FROM requests") == 11);
    wait("an empty file", &|| lines() == 0);
    assert_eq!(metrics.ledger.rows.get(), 11);
    // What a process leaves there the next one takes, and a line that is cut is no line.
    ledger.end();
    let record = serde_json::to_string(&Record::Request(Box::new(row(Uuid::now_v7(), None, 1)))).unwrap();
    fs::write(&spilled, format!("{record}\n{record}\n{}", &record[..50])).unwrap();
    drop(open(&path));
    assert_eq!((number(&path, "SELECT count(*) FROM requests"), lines()), (12, 0));
    assert_eq!(number(&path, "SELECT sum(cost_pico_usd) FROM usage"), 12);
}

#[test]
fn old_rows_are_forgotten_and_what_was_spent_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    for _ in 0..2 {
        // With its start, and then now and then.
        let ledger = Ledger::open(&sqlite(&path), Some(Duration::from_secs(86_400)), metrics()).unwrap();
        write(&ledger, None, 5);
        ledger.end();
    }
    assert_eq!(number(&path, "SELECT count(*) FROM requests"), 1);
    assert_eq!(number(&path, "SELECT count(DISTINCT request) FROM calls"), 1);
    assert_eq!(number(&path, "SELECT sum(cost_pico_usd) FROM usage"), 10);
}

#[test]
fn a_file_that_cannot_be_used_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    drop(open(&path));
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = Ledger::open(&sqlite(&path), None, metrics()).unwrap_err().to_string();
    assert!(error.contains("newer version (99; this program knows 4)"), "{error}");
    fs::write(&path, "no database at all, and longer than its header".repeat(10)).unwrap();
    let error = Ledger::open(&sqlite(&path), None, metrics()).unwrap_err().to_string();
    assert!(error.contains("ledger.db") && error.contains("not a database"), "{error}");
    assert!(Ledger::open(&sqlite(&folder.path().join("none/ledger.db")), None, metrics()).is_err());
}

#[test]
fn days_are_those_since_1970() {
    assert_eq!(day(UNIX_EPOCH), 0);
    assert_eq!(day(UNIX_EPOCH + Duration::from_secs(86_400 * 3 - 1)), 2);
}
