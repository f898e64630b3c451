//! The Arena's rows with conversations as Parquet, by the columns that matter alone.

use super::{
    DataError, Row, RowProblem,
    arena_rows::{self, Message, Raw},
    reading::Reading,
    text::{Joined, Label},
};
use parquet::{
    errors::ParquetError,
    file::{
        reader::{ChunkReader, FileReader},
        serialized_reader::SerializedFileReader,
    },
    record::{Field, Row as Record, reader::RowIter},
    schema::types::Type,
};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The shape, for messages.
const EXPECTED: &str =
    "Parquet with columns model_a, model_b, winner and conversation_a (a list of role and content)";

/// Columns without which a row says nothing.
const NEEDED: [&str; 4] = ["model_a", "model_b", "winner", "conversation_a"];

/// Columns that are read if they are there.
const WELCOME: [&str; 2] = ["language", "question_id"];

/// Reads every row group; `progress` is told the compressed bytes read so far.
pub(super) fn read<R: ChunkReader + 'static>(
    input: R,
    reading: &mut Reading<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<(), DataError> {
    // The library panics on some malformed files. What it was doing is dropped, the reading so far refused.
    let outcome = catch_unwind(AssertUnwindSafe(|| read_groups(input, reading, progress)));
    outcome.unwrap_or_else(|_| Err(broken(reading, "the file is damaged".to_owned())))
}

/// As [`read`], by a library that may panic.
fn read_groups<R: ChunkReader + 'static>(
    input: R,
    reading: &mut Reading<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<(), DataError> {
    let size = input.len();
    let file = SerializedFileReader::new(input).map_err(|error| failure(&error, reading))?;
    let schema = file.metadata().file_metadata().schema();
    let projection = projection(schema).map_err(|problem| broken(reading, problem))?;
    let mut bytes = 0;
    for group in 0..file.num_row_groups() {
        let group = file.get_row_group(group).map_err(|error| failure(&error, reading))?;
        let rows = RowIter::from_row_group(Some(projection.clone()), group.as_ref());
        for record in rows.map_err(|error| failure(&error, reading))? {
            let record = record.map_err(|error| failure(&error, reading))?;
            let row = battle(record, &reading.source);
            reading.take(reading.report.rows + 1, row)?;
        }
        bytes += u64::try_from(group.metadata().compressed_size()).unwrap_or_default();
        progress(bytes.min(size));
    }
    progress(size);
    Ok(())
}

/// The error of a file that the library can't read on.
fn failure(error: &ParquetError, reading: &Reading<'_>) -> DataError {
    broken(reading, error.to_string())
}

fn broken(reading: &Reading<'_>, problem: String) -> DataError {
    reading.broken(format!("row {}", reading.report.rows + 1), problem, EXPECTED)
}

/// The part of the schema that is read.
fn projection(schema: &Type) -> Result<Type, String> {
    let columns: Vec<&str> = schema.get_fields().iter().map(|field| field.name()).collect();
    if let Some(missing) = NEEDED.iter().find(|column| !columns.contains(column)) {
        return Err(format!("there is no column {missing} among [{}]", columns.join(", ")));
    }
    let wanted = |name: &str| NEEDED.contains(&name) || WELCOME.contains(&name);
    let fields = schema.get_fields().iter().filter(|field| wanted(field.name())).cloned().collect();
    let projection = Type::group_type_builder(schema.name()).with_fields(fields).build();
    projection.map_err(|error| error.to_string())
}

/// The battle that a record tells of.
fn battle(record: Record, source: &str) -> Result<Row, RowProblem> {
    let mut raw = Raw {
        question_id: None,
        language: None,
        model_a: String::new(),
        model_b: String::new(),
        winner: None,
        conversation_a: Vec::new(),
    };
    for (column, field) in record.into_columns() {
        match column.as_str() {
            "model_a" => raw.model_a = text(field).unwrap_or_default(),
            "model_b" => raw.model_b = text(field).unwrap_or_default(),
            "winner" => raw.winner = text(field),
            "language" => raw.language = text(field),
            "question_id" => raw.question_id = text(field).map(Label),
            "conversation_a" => raw.conversation_a = messages(field)?,
            _ => {}
        }
    }
    arena_rows::battle(raw, source)
}

/// The messages of a conversation.
fn messages(field: Field) -> Result<Vec<Message>, RowProblem> {
    let Field::ListInternal(list) = field else {
        return Err(RowProblem::Shape("conversation_a is no list of messages".to_owned()));
    };
    let messages = list.elements().iter().filter_map(|element| match element {
        Field::Group(message) => Some(Message {
            role: member(message, "role").cloned().and_then(text).unwrap_or_default(),
            content: member(message, "content").and_then(content).map(Joined),
        }),
        _ => None,
    });
    Ok(messages.collect())
}

/// A message's content: text, or parts whose texts are joined by line breaks.
fn content(field: &Field) -> Option<String> {
    let Field::ListInternal(list) = field else { return text(field.clone()) };
    let texts = list.elements().iter().filter_map(|part| match part {
        Field::Group(part) => member(part, "text").cloned().and_then(text),
        other => text(other.clone()),
    });
    Some(texts.collect::<Vec<_>>().join("\n"))
}

/// The member of a group by its name.
fn member<'a>(group: &'a Record, name: &str) -> Option<&'a Field> {
    group.get_column_iter().find(|(found, _)| *found == name).map(|(_, field)| field)
}

/// A field's text, whether or not the file marks it as UTF-8.
fn text(field: Field) -> Option<String> {
    match field {
        Field::Str(text) => Some(text),
        Field::Bytes(bytes) => Some(String::from_utf8_lossy(bytes.data()).into_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
