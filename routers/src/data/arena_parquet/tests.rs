//! Files written by another library (see `tests/fixtures/arena_rows.py`), whole, gzipped and damaged.

use crate::data::{BattleRow, DataError, ReadOptions, Row, Verdict, read, read_file};
use flate2::{Compression, write::GzEncoder};
use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn battles_of(content: &[u8]) -> Result<Vec<BattleRow>, DataError> {
    let mut battles = Vec::new();
    read(content, Path::new("rows.parquet"), &ReadOptions::default(), &mut |row| {
        battles.extend(if let Row::Battle(battle) = row { Some(battle) } else { None });
        Ok(())
    })?;
    Ok(battles)
}

#[test]
fn rows_with_plain_content_are_read_from_every_row_group() {
    let path = fixture("arena_plain.parquet");
    let (mut battles, mut told) = (Vec::new(), Vec::new());
    let report = read_file(&path, &ReadOptions::default(), &mut |bytes| told.push(bytes), &mut |row| {
        battles.extend(if let Row::Battle(battle) = row { Some(battle) } else { None });
        Ok(())
    });
    assert_eq!((report.unwrap().rows, battles.len()), (40, 40));
    let expected = BattleRow {
        source: "chatbot_arena".into(),
        prompt_id: Some("q039".into()),
        language: Some("English".into()),
        turns: vec!["hello 39".into(), "wie geht's? ü".into()],
        model_a: "claude-1".into(),
        model_b: "guanaco-33b".into(),
        verdict: Verdict::TieBothBad,
        judge: None,
    };
    assert_eq!(battles[39], expected);
    assert_eq!((battles[0].turns.len(), battles[0].language.as_deref()), (1, None));
    assert_eq!(told.last(), Some(&path.metadata().unwrap().len()));
    assert!(told.is_sorted(), "{told:?}");
}

#[test]
fn rows_with_content_in_parts_are_read_gzipped_too() {
    let content = std::fs::read(fixture("arena_parts.parquet")).unwrap();
    let battles = battles_of(&content).unwrap();
    assert_eq!(battles.len(), 9);
    assert_eq!(battles[7].turns, ["look at 7\nand more"]);
    assert_eq!((battles[7].verdict, battles[7].model_b.as_str()), (Verdict::TieBothBad, "a-model-from-2025"));

    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&content).unwrap();
    assert_eq!(battles_of(&encoder.finish().unwrap()).unwrap(), battles);
}

#[test]
fn damaged_files_are_errors_or_other_rows_but_never_a_panic() {
    for name in ["arena_plain.parquet", "arena_parts.parquet"] {
        let content = std::fs::read(fixture(name)).unwrap();
        for length in [4, 8, content.len() / 2, content.len() - 1] {
            assert!(battles_of(&content[..length]).is_err(), "{name} cut to {length} bytes");
        }
        for place in (0..content.len()).step_by(13) {
            let mut damaged = content.clone();
            damaged[place] ^= 1 << (place / 13 % 8);
            let _ = battles_of(&damaged);
        }
    }
}
