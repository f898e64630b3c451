//! The lines that CSV records start on. The parser ends a record at the first byte of CR LF, so that a record seems to
//! start on the line where the last one ended, and it skips blank lines after it has noted where a record starts.

use csv::{ByteRecord, Position};

/// Tells where records start, from where they end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CsvLines {
    /// Line feeds at the end of a record that the parser has passed when it has read the record.
    passed: u64,
}

impl CsvLines {
    /// By the header, which starts on line 1, and where the parser stands after it.
    pub(crate) fn after(header: &ByteRecord, end: &Position) -> Self {
        Self { passed: u64::from(end.line() > 1 + breaks_in(header)) }
    }

    /// The line that a record starts on, counted from 1; `end` is where the parser stands after it.
    pub(crate) fn of(self, record: &ByteRecord, end: &Position) -> u64 {
        let by_end = end.line().saturating_sub(breaks_in(record) + self.passed);
        // Nothing ends the last record of a file without a line feed at its end.
        record.position().map_or(by_end, |start| by_end.max(start.line()))
    }
}

/// Line feeds within the fields.
fn breaks_in(record: &ByteRecord) -> u64 {
    record.as_slice().iter().filter(|&&byte| byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use csv::ReaderBuilder;

    fn lines(text: &str) -> Vec<u64> {
        let mut csv = ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
        let header = csv.byte_headers().unwrap().clone();
        let lines = CsvLines::after(&header, csv.position());
        let (mut record, mut found) = (ByteRecord::new(), Vec::new());
        while csv.read_byte_record(&mut record).unwrap() {
            found.push(lines.of(&record, csv.position()));
        }
        found
    }

    #[test]
    fn records_start_where_they_start_whatever_ends_a_line() {
        let text = "h,b\n1,2\n\"two\nlines\",2\n3,3\n\n\"over\n\nthree\",2\n5,5\n";
        let expected = [2, 3, 5, 7, 10];
        assert_eq!(lines(text), expected);
        assert_eq!(lines(&text.replace('\n', "\r\n")), expected);
        // Without a line feed at the end.
        assert_eq!(lines(text.trim_end()), expected);
        assert_eq!(lines(text.replace('\n', "\r\n").trim_end()), expected);
        assert_eq!(lines("\"h\r\nx\",b\r\n1,2\r\n"), [3]);
    }
}
