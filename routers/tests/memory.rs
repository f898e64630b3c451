//! The largest format is read in bounded memory. A test of its own, so that no other test's memory counts.

#![cfg(test)]
#![cfg(target_os = "linux")]

use pointsman_routers::data::{DatasetBuilder, PresentationOrders, ReadOptions, read};
use std::{
    fs,
    io::{self, Read},
    path::Path,
};

/// An array of battles that is never in memory as a whole.
struct Synthetic {
    rows_left: u64,
    pending: Vec<u8>,
    start: usize,
}

impl Read for Synthetic {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.start == self.pending.len() && self.rows_left > 0 {
            self.rows_left -= 1;
            let (a, b) = (self.rows_left % 97, 97 + self.rows_left % 31);
            let end = if self.rows_left == 0 { ']' } else { ',' };
            let filler = "x".repeat(600);
            self.pending = format!(
                r#"{{"model_a":"model-{a}","model_b":"model-{b}","winner":"model_a","anony":true,"language":"English",
                    "tstamp":1.7e9,"conv_metadata":{{"text":"{filler}"}},"dedup_tag":{{"high_freq":false,"sampled":true}}}}{end}"#
            )
            .into_bytes();
            self.start = 0;
        }
        let count = buffer.len().min(self.pending.len() - self.start);
        buffer[..count].copy_from_slice(&self.pending[self.start..self.start + count]);
        self.start += count;
        Ok(count)
    }
}

/// The most memory that the process ever held, in KiB.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn two_hundred_megabytes_of_battles_are_read_in_thirty() {
    let rows = 250_000;
    let stream = Synthetic { rows_left: rows, pending: b"[".to_vec(), start: 0 };
    let before = peak_kib();
    let mut builder = DatasetBuilder::new();
    let options = ReadOptions { leaderboard_filter: true, ..ReadOptions::default() };
    let report = read(stream, Path::new("synthetic"), &options, &mut |row| builder.add(row)).unwrap();
    let data = builder.finish(PresentationOrders::Separate);
    assert_eq!((report.rows, report.filter.unwrap().sampled), (rows, rows));
    assert_eq!(data.votes.iter().flat_map(|pair| pair.counts).sum::<u64>(), rows);
    let growth = peak_kib() - before;
    assert!(growth < 30 << 10, "the peak grew by {growth} KiB");
}
