//! `GET /admin/usage`: what the ledger knows to have been used.

use std::{sync::Arc, time::SystemTime};

use http::Response;
use tokio::sync::Mutex as AsyncMutex;
use tokio_util::task::TaskTracker;

use super::{
    app::App,
    error::Failure,
    respond::{ResponseBody, failure, json_text},
};
use crate::{
    config::Database,
    ledger::{
        reader::{ReadError, Reader},
        report::{Filter, QueryError, UsageQuery, parse_day},
    },
};

/// Groups of an answer: some megabytes.
const GROUPS_MAX: usize = 20_000;

const PARAMETERS: &str = "by, from, to and tenant";

/// Reports on their way: one at a time, and on no thread that requests wait for.
#[derive(Debug, Default)]
pub(super) struct Reports {
    one_at_a_time: Arc<AsyncMutex<()>>,
    tasks: TaskTracker,
}

/// The answer to a query such as `by=tenant,day&from=2026-11-01`.
pub(super) async fn usage(app: &App, query: Option<&str>) -> Response<ResponseBody> {
    match report(app, query.unwrap_or_default()).await {
        Ok(text) => json_text(http::StatusCode::OK, text),
        Err(why) => failure(&why),
    }
}

async fn report(app: &App, query: &str) -> Result<Vec<u8>, Failure> {
    let query = parse(query, SystemTime::now())?;
    let database = app.books.ledger().ok_or(Failure::NoLedger)?.database().clone();
    let turn = Arc::clone(&app.reports.one_at_a_time).lock_owned().await;
    let read = app.reports.tasks.spawn_blocking(move || {
        // Also for what nobody waits for any more.
        let _turn = turn;
        read(&database, &query)
    });
    read.await.unwrap_or_else(|error| Err(Failure::LedgerUnreadable(error.to_string())))
}

fn read(database: &Database, query: &UsageQuery) -> Result<Vec<u8>, Failure> {
    let report = Reader::open(database).and_then(|mut reader| reader.usage(query)).map_err(|error| {
        if matches!(error, ReadError::TooManyGroups { .. }) {
            return bad("by", error.to_string());
        }
        tracing::error!("ledger: usage cannot be reported: {error}");
        Failure::LedgerUnreadable(error.to_string())
    })?;
    serde_json::to_vec(&report).map_err(|error| Failure::LedgerUnreadable(error.to_string()))
}

fn bad(name: &str, why: String) -> Failure {
    Failure::Parameter { name: name.to_owned(), why }
}

/// Reads a query, whose parameters are each there once at most.
fn parse(query: &str, now: SystemTime) -> Result<UsageQuery, Failure> {
    let (mut by, mut from, mut to, mut tenant) = (None, None, None, None);
    for (name, value) in query.split('&').filter(|pair| !pair.is_empty()).map(pair) {
        let value = value.map_err(|()| bad(&name, "is no UTF-8".to_owned()))?;
        let why = |error: QueryError| bad(&name, error.to_string());
        let is_first = match &*name {
            "by" => by.replace(UsageQuery::parse_by(&value).map_err(why)?).is_none(),
            "from" => from.replace(parse_day(&value).map_err(why)?).is_none(),
            "to" => to.replace(parse_day(&value).map_err(why)?).is_none(),
            "tenant" => tenant.replace(value).is_none(),
            _ => return Err(bad(&name, format!("is unknown: expected {PARAMETERS}"))),
        };
        if !is_first {
            return Err(bad(&name, "is there twice".to_owned()));
        }
    }
    let filter = Filter::new(from, to, tenant)
        .map_err(|_| bad("to", "is the day after the last: it must be after `from`".to_owned()))?;
    let by = by.unwrap_or_else(|| UsageQuery::BY.to_vec());
    Ok(UsageQuery { by, filter: filter.or_month_of(now), groups_max: GROUPS_MAX })
}

/// A name and its value, decoded.
fn pair(text: &str) -> (String, Result<String, ()>) {
    let decode = |text: &str| {
        let text = text.replace('+', " ");
        percent_encoding::percent_decode_str(&text).decode_utf8().map(String::from).map_err(|_| ())
    };
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    (decode(name).unwrap_or_else(|()| name.to_owned()), decode(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(query: &str) -> Result<UsageQuery, String> {
        parse(query, SystemTime::UNIX_EPOCH).map_err(|why| why.to_string())
    }

    #[test]
    fn a_query_says_what_is_asked() {
        let none = parsed("").unwrap();
        assert_eq!((none.by, none.filter.from(), none.filter.to()), (UsageQuery::BY.to_vec(), Some(0), None));
        let all = parsed("by=day%2ckey&&from=1970-01-02&to=1970-01-05&tenant=a+b%26%C3%A9").unwrap();
        assert_eq!(all.by.len(), 2);
        assert_eq!((all.filter.from(), all.filter.to()), (Some(1), Some(4)));
        assert_eq!(all.filter.tenant(), Some("a b&é"));
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (query, word) in [
            ("until=2026-11-01", "'until' is unknown: expected by, from, to and tenant"),
            ("by=tenant&by=day", "'by' is there twice"),
            ("by=", "'by' takes day, tenant, project, key and model"),
            ("from=1.11.2026", "'from' is no day such as 2026-11-01"),
            ("from=2026-11-02&to=2026-11-02", "'to' is the day after the last"),
            ("tenant=%FF", "'tenant' is no UTF-8"),
            ("%FF=1", "'%FF' is unknown"),
            ("=", "'' is unknown"),
        ] {
            let told = parsed(query).unwrap_err();
            assert!(told.contains(word), "{query}: {told}");
        }
    }
}
