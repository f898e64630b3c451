//! What goes into statements and comes out of rows.

use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use uuid::Uuid;

use super::DatabaseError;

/// A value of a statement or a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Integer(i64),
    Text(String),
    Bytes(Vec<u8>),
    Uuid(Uuid),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<&String> for Value {
    fn from(value: &String) -> Self {
        Self::Text(value.clone())
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        match self {
            Self::Null => Ok(rusqlite::types::Null.into()),
            Self::Integer(value) => rusqlite::ToSql::to_sql(value),
            Self::Text(value) => rusqlite::ToSql::to_sql(value),
            Self::Bytes(value) => rusqlite::ToSql::to_sql(value),
            Self::Uuid(value) => rusqlite::ToSql::to_sql(value),
        }
    }
}

type Refused = Box<dyn std::error::Error + Sync + Send>;

impl ToSql for Value {
    fn to_sql(&self, of: &Type, out: &mut bytes::BytesMut) -> Result<IsNull, Refused> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Integer(value) => value.to_sql_checked(of, out),
            // A text without an end of text in the middle, which it has no room for.
            Self::Text(value) if value.contains('\0') => {
                value.replace('\0', "\u{fffd}").to_sql_checked(of, out)
            }
            Self::Text(value) => value.to_sql_checked(of, out),
            Self::Bytes(value) => value.to_sql_checked(of, out),
            Self::Uuid(value) => value.to_sql_checked(of, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true // looked at when the value is known
    }

    to_sql_checked!();
}

/// The values of a row, taken from the left to the right.
#[derive(Debug)]
pub(crate) struct Cells(std::vec::IntoIter<Value>);

impl Cells {
    pub(super) fn of(values: Vec<Value>) -> Self {
        Self(values.into_iter())
    }

    fn next(&mut self) -> Result<Value, DatabaseError> {
        self.0.next().ok_or(DatabaseError::Shape)
    }

    pub(crate) fn optional_integer(&mut self) -> Result<Option<i64>, DatabaseError> {
        match self.next()? {
            Value::Null => Ok(None),
            Value::Integer(value) => Ok(Some(value)),
            _ => Err(DatabaseError::Shape),
        }
    }

    pub(crate) fn integer(&mut self) -> Result<i64, DatabaseError> {
        self.optional_integer()?.ok_or(DatabaseError::Shape)
    }

    pub(crate) fn optional_text(&mut self) -> Result<Option<String>, DatabaseError> {
        match self.next()? {
            Value::Null => Ok(None),
            Value::Text(value) => Ok(Some(value)),
            _ => Err(DatabaseError::Shape),
        }
    }

    pub(crate) fn text(&mut self) -> Result<String, DatabaseError> {
        self.optional_text()?.ok_or(DatabaseError::Shape)
    }

    pub(crate) fn bytes(&mut self) -> Result<Vec<u8>, DatabaseError> {
        match self.next()? {
            Value::Bytes(value) => Ok(value),
            _ => Err(DatabaseError::Shape),
        }
    }

    pub(crate) fn uuid(&mut self) -> Result<Uuid, DatabaseError> {
        match self.next()? {
            Value::Uuid(value) => Ok(value),
            // SQLite has no type of its own for them.
            Value::Bytes(value) => Uuid::from_slice(&value).map_err(|_| DatabaseError::Shape),
            _ => Err(DatabaseError::Shape),
        }
    }
}
