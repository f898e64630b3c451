//! Apache Parquet: a row for each request; JSON is text in it.

use std::{io::Write, sync::Arc};

use parquet::{
    basic::{Compression, ZstdLevel},
    data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type},
    errors::Result,
    file::{
        properties::WriterProperties,
        writer::{SerializedColumnWriter, SerializedFileWriter},
    },
    schema::parser::parse_message_type,
};

use super::{
    ExportError, Sink,
    columns::{COLUMNS, Kind, Record, Value, usd},
};

/// Requests that are held in memory and written together.
const ROWS_AT_ONCE: usize = 20_000;

pub(super) struct File<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    columns: Vec<Pending>,
    rows: usize,
}

/// What is to be written of a column.
struct Pending {
    kind: Kind,
    /// For each row 1 where there is a value and 0 where there is none.
    levels: Vec<i16>,
    texts: Vec<ByteArray>,
    numbers: Vec<i64>,
}

fn schema() -> String {
    let columns = COLUMNS.iter().map(|column| {
        let (form, annotation) = match column.kind {
            Kind::Text | Kind::Json => ("BYTE_ARRAY", " (STRING)"),
            Kind::Whole => ("INT64", ""),
            Kind::Time => ("INT64", " (TIMESTAMP(MILLIS, true))"),
            Kind::Usd => ("DOUBLE", ""),
        };
        format!("OPTIONAL {form} {}{annotation};", column.name)
    });
    format!("message request {{ {} }}", columns.collect::<String>())
}

impl<W: Write + Send> File<W> {
    pub(super) fn begin(out: W) -> Result<Self> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_created_by(format!("pointsman {}", env!("CARGO_PKG_VERSION")))
            .build();
        let schema = parse_message_type(&schema())?;
        let writer = SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties))?;
        let pending = |kind| Pending { kind, levels: Vec::new(), texts: Vec::new(), numbers: Vec::new() };
        Ok(Self { writer, columns: COLUMNS.iter().map(|column| pending(column.kind)).collect(), rows: 0 })
    }

    fn write_rows(&mut self) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let mut group = self.writer.next_row_group()?;
        for pending in &mut self.columns {
            if let Some(mut column) = group.next_column()? {
                pending.write(&mut column)?;
                column.close()?;
            }
        }
        group.close()?;
        self.rows = 0;
        Ok(())
    }
}

impl Pending {
    fn push(&mut self, value: Option<Value<'_>>) {
        self.levels.push(i16::from(value.is_some()));
        match value {
            Some(Value::Text(text)) => self.texts.push(text.into_owned().into_bytes().into()),
            Some(Value::Whole(number)) => self.numbers.push(number),
            None => {}
        }
    }

    fn write(&mut self, column: &mut SerializedColumnWriter<'_>) -> Result<()> {
        let levels = Some(&*self.levels);
        match self.kind {
            Kind::Text | Kind::Json => {
                column.typed::<ByteArrayType>().write_batch(&self.texts, levels, None)?
            }
            Kind::Whole | Kind::Time => {
                column.typed::<Int64Type>().write_batch(&self.numbers, levels, None)?
            }
            Kind::Usd => {
                let amounts: Vec<f64> = self.numbers.iter().map(|pico| usd(*pico).as_f64()).collect();
                column.typed::<DoubleType>().write_batch(&amounts, levels, None)?
            }
        };
        self.levels.clear();
        self.texts.clear();
        self.numbers.clear();
        Ok(())
    }
}

impl<W: Write + Send> Sink for File<W> {
    fn write(&mut self, record: &Record<'_>) -> std::result::Result<(), ExportError> {
        for (pending, column) in self.columns.iter_mut().zip(COLUMNS) {
            pending.push((column.of)(record));
        }
        self.rows += 1;
        if self.rows >= ROWS_AT_ONCE {
            self.write_rows()?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> std::result::Result<(), ExportError> {
        self.write_rows()?;
        self.writer.close()?;
        Ok(())
    }
}
