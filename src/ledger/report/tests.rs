use std::time::{Duration, UNIX_EPOCH};

use serde_json::json;

use super::*;

#[test]
fn days_are_read_in_one_way() {
    assert_eq!(parse_day("1970-01-01"), Ok(0));
    assert_eq!(parse_day("2026-11-01"), Ok(20_758));
    assert_eq!(parse_day("2024-02-29").map(day_text).as_deref(), Ok("2024-02-29"));
    let none = [
        "",
        "2026",
        "2026-11",
        "2026-11-31",
        "2025-02-29",
        "2026-13-01",
        "20261101",
        "2026-W10-1",
        "2026-001",
        "+2026-11-1",
        "-2026-1-01",
        "2026-11-1",
        "2026-11-01T00:00:00Z",
        " 2026-11-01",
        "2026−11−01",
        "yesterday",
    ];
    for text in none {
        assert_eq!(parse_day(text), Err(QueryError::Day), "{text}");
    }
    for day in [i64::MIN, i64::MAX, i64::from(i32::MAX)] {
        assert_eq!(day_text(day), day.to_string());
    }
}

#[test]
fn what_is_grouped_by_is_read() {
    assert_eq!(UsageQuery::parse_by("tenant,model").as_deref(), Ok(&UsageQuery::BY[..]));
    let all = UsageQuery::parse_by("day, tenant ,project,key,model").unwrap();
    assert_eq!(all, Dimension::ALL);
    for text in ["", ",", "tenant,", "Tenant", "day;drop", "tenant model"] {
        assert_eq!(UsageQuery::parse_by(text), Err(QueryError::Dimension), "{text}");
    }
    assert_eq!(UsageQuery::parse_by("day,day"), Err(QueryError::Twice));
}

#[test]
fn without_days_it_is_the_month() {
    let now = UNIX_EPOCH + Duration::from_secs(20_770 * 86_400 + 5);
    let filter = |from, to| Filter::new(from, to, None).unwrap().or_month_of(now);
    assert_eq!((filter(None, None).from(), filter(None, None).to()), (Some(20_758), None));
    assert_eq!(filter(None, Some(3)).from(), None);
    assert_eq!(filter(Some(3), None), Filter::new(Some(3), None, None).unwrap());
    assert_eq!(Filter::new(Some(3), Some(3), None), Err(QueryError::Empty));
}

#[test]
fn money_is_exact_in_json() {
    let used = Totals { calls: 2, cost: Usd::from_pico(u128::from(u64::MAX) + 1), ..Totals::default() };
    let report = UsageReport {
        by: vec![Dimension::Key, Dimension::Day],
        filter: Filter::new(Some(0), None, Some("t".to_owned())).unwrap(),
        rows: vec![UsageRow { names: vec![None, Some("1970-01-01".to_owned())], used }],
        total: used,
    };
    let text = serde_json::to_string(&report).unwrap();
    assert!(
        text.contains(r#""cost_usd":18446744.073709551616,"cost_pico_usd":18446744073709551616"#),
        "{text}"
    );
    let start = r#"{"by":["key","day"],"from":"1970-01-01","to":null,"tenant":"t","usage":[{"key":null,"day":"1970-01-01","calls":2,"#;
    assert!(text.starts_with(start), "{text}");
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["total"]["calls"], json!(2));
}
