use super::*;

#[test]
fn what_begins_as_a_formula_is_none() {
    for text in ["=1+2", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"] {
        assert_eq!(csv::plain(text), format!("'{text}"));
    }
    for text in ["", "req_1", "a=b", "'=1", "€"] {
        assert_eq!(csv::plain(text), text);
    }
}

#[test]
fn a_file_tells_its_format() {
    let of = |name: &str| ExportFormat::of_file(Path::new(name));
    assert_eq!(of("a/b.PARQUET"), Some(ExportFormat::Parquet));
    assert_eq!(of("b.csv"), Some(ExportFormat::Csv));
    assert_eq!(of("b.x.jsonl"), Some(ExportFormat::Jsonl));
    assert_eq!((of("csv"), of("b.db"), of(".csv")), (None, None, None));
}
