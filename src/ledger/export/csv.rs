//! Comma-separated values, which spreadsheets open too.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use csv::{ErrorKind, Writer, WriterBuilder};

use super::{
    ExportError, Sink,
    columns::{COLUMNS, Kind, Record, Value, moment, usd},
};

/// A text that no spreadsheet takes for a formula: with `'` before it, where it begins as one.
///
/// Clients choose what their requests are called, and identity providers what keys are.
#[must_use]
pub fn plain(text: &str) -> Cow<'_, str> {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
        format!("'{text}").into()
    } else {
        text.into()
    }
}

/// Writes records; commas, quotes and line ends in them are quoted.
pub struct Records<W: Write>(Writer<W>);

impl<W: Write> Records<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self(WriterBuilder::new().from_writer(out))
    }

    /// Writes a record.
    ///
    /// # Errors
    /// When `out` takes no more.
    pub fn write<T: AsRef<[u8]>>(&mut self, fields: impl IntoIterator<Item = T>) -> io::Result<()> {
        self.0.write_record(fields).map_err(|error| match error.into_kind() {
            ErrorKind::Io(error) => error,
            other => io::Error::other(format!("{other:?}")),
        })
    }

    /// Writes what is held back.
    ///
    /// # Errors
    /// When `out` takes no more.
    pub fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

pub(super) struct Table<W: Write>(Records<W>);

impl<W: Write> Table<W> {
    pub(super) fn begin(out: W) -> io::Result<Self> {
        let mut records = Records::new(out);
        records.write(COLUMNS.iter().map(|column| column.name))?;
        Ok(Self(records))
    }
}

fn field(kind: Kind, value: Value<'_>) -> Cow<'_, str> {
    match (kind, value) {
        (_, Value::Text(Cow::Borrowed(text))) => plain(text),
        // Ours, not a client's.
        (_, Value::Text(text)) => text,
        (Kind::Time, Value::Whole(number)) => moment(number).unwrap_or_else(|| number.to_string()).into(),
        (Kind::Usd, Value::Whole(number)) => usd(number).to_string().into(),
        (_, Value::Whole(number)) => number.to_string().into(),
    }
}

impl<W: Write> Sink for Table<W> {
    fn write(&mut self, record: &Record<'_>) -> Result<(), ExportError> {
        let field = |value, kind| field(kind, value);
        let fields = COLUMNS
            .iter()
            .map(|column| (column.of)(record).map_or(Cow::Borrowed(""), |value| field(value, column.kind)));
        // What a record borrows fields from must outlive the call.
        let fields: Vec<Cow<'_, str>> = fields.collect();
        Ok(self.0.write(fields.iter().map(|field| field.as_bytes()))?)
    }

    fn finish(mut self: Box<Self>) -> Result<(), ExportError> {
        Ok(self.0.flush()?)
    }
}
