//! Training data of every text format, told by its content or said: rows are valid or refused, and gathered the same in
//! any order. The first byte chooses the format.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use pointsman_routers::data::{DatasetBuilder, Format, PresentationOrders, ReadOptions, Row, Singles, read};

const FORMATS: [Option<Format>; 7] = [
    None,
    Some(Format::OutcomeLines),
    Some(Format::BattleLines),
    Some(Format::VoteCounts),
    Some(Format::CleanBattle),
    Some(Format::ArenaCsv),
    Some(Format::ArenaLines),
];

fuzz_target!(|data: &[u8]| {
    let Some((&choice, content)) = data.split_first() else { return };
    let format = FORMATS.get(usize::from(choice) % FORMATS.len()).copied().flatten();
    // Parquet and gzip are other libraries' to fuzz.
    if content.starts_with(b"PAR1") || content.starts_with(&[0x1f, 0x8b]) {
        return;
    }
    let options = ReadOptions { format, leaderboard_filter: choice & 0x80 != 0, ..ReadOptions::default() };
    let mut rows = Vec::new();
    let report = read(content, Path::new("fuzz"), &options, &mut |row| {
        check(&row);
        rows.push(row);
        Ok(())
    });
    if let Ok(report) = report {
        assert!(report.rejected_total() <= report.rows);
        gather(rows);
    }
});

fn check(row: &Row) {
    match row {
        Row::Outcome(row) => {
            assert!(!row.turns.is_empty() && !row.runs.is_empty());
            assert!(row.runs.iter().all(|run| (0.0..=1.0).contains(&run.score) && !run.model.is_empty()));
            assert!(row.runs.iter().all(|run| run.out_chars.is_none_or(f64::is_finite)));
        }
        Row::Battle(row) => assert!(row.model_a != row.model_b && !row.model_a.is_empty()),
        Row::Votes(row) => assert!(row.model_a != row.model_b && !row.model_a.is_empty()),
    }
}

fn gather(rows: Vec<Row>) {
    let dataset = |rows: &mut dyn Iterator<Item = Row>| {
        let mut builder = DatasetBuilder::new();
        rows.for_each(|row| builder.add(row).expect("few enough"));
        builder.finish(PresentationOrders::United(Singles::Keep))
    };
    assert_eq!(dataset(&mut rows.clone().into_iter().rev()), dataset(&mut rows.into_iter()));
}
