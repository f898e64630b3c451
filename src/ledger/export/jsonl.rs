//! An object of JSON for each request, with nested lists of candidates and calls.

use std::io::{self, Write};

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::value::RawValue;

use super::{
    ExportError, Sink,
    columns::{COLUMNS, Kind, Record, Value, moment, usd},
};
use crate::ledger::report::exact;

pub(super) struct Lines<W: Write>(pub(super) W);

struct Line<'a>(&'a Record<'a>);

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(COLUMNS.len()))?;
        for column in COLUMNS {
            let name = column.name;
            match (column.kind, (column.of)(self.0)) {
                (_, None) => map.serialize_entry(name, &())?,
                (Kind::Json, Some(Value::Text(text))) => {
                    map.serialize_entry(name, &RawValue::from_string(text.into_owned()).ok())?;
                }
                (_, Some(Value::Text(text))) => map.serialize_entry(name, &text)?,
                (Kind::Time, Some(Value::Whole(number))) => map.serialize_entry(name, &moment(number))?,
                (Kind::Usd, Some(Value::Whole(number))) => map.serialize_entry(name, &exact(usd(number)))?,
                (_, Some(Value::Whole(number))) => map.serialize_entry(name, &number)?,
            }
        }
        map.end()
    }
}

impl<W: Write> Sink for Lines<W> {
    fn write(&mut self, record: &Record<'_>) -> Result<(), ExportError> {
        serde_json::to_writer(&mut self.0, &Line(record)).map_err(io::Error::from)?;
        Ok(self.0.write_all(b"\n")?)
    }

    fn finish(mut self: Box<Self>) -> Result<(), ExportError> {
        Ok(self.0.flush()?)
    }
}
