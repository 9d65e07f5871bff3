//! Rows as they come from a database.

use std::sync::Arc;

use crate::error::DbError;
use crate::value::{FromValue, Value};

/// One row of a result. Columns are read by name or by position (from 0).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub(crate) columns: Arc<[Box<str>]>,
    pub(crate) values: Vec<Value>,
}

impl Row {
    /// The value of a column.
    ///
    /// # Errors
    ///
    /// [`DbError::Corrupt`] when the stored value is not a `T`; [`DbError::NoSuchColumn`] when
    /// the statement did not select the column.
    pub fn get<T: FromValue>(&self, column: impl Column) -> Result<T, DbError> {
        let value = column
            .position(self)
            .and_then(|position| self.values.get(position))
            .ok_or_else(|| DbError::NoSuchColumn(column.label()))?;
        T::from_value(value).map_err(|mismatch| DbError::corrupt(column.label(), mismatch.0))
    }

    /// The row as a `T`; what cannot be read is named by the row's key, a text.
    ///
    /// # Errors
    ///
    /// As reading a `T` says.
    pub fn read<'a, T>(&'a self, key: &str) -> Result<T, DbError>
    where
        T: TryFrom<&'a Self, Error = DbError>,
    {
        T::try_from(self).map_err(|error| match (error, self.get::<String>(key)) {
            (DbError::Corrupt { column, reason }, Ok(key)) => {
                DbError::corrupt(format!("{column} of {key}"), reason)
            }
            (error, _) => error,
        })
    }
}

/// Rows as they were read, each by itself.
pub type Readings<T> = Vec<Result<T, DbError>>;

/// What was read of a row. What cannot be read is told in the log and left out, for background work: one such row
/// must not hold up all others.
pub fn readable<T>(read: Result<T, DbError>) -> Option<T> {
    read.inspect_err(|error| {
        let error = error as &(dyn std::error::Error + 'static);
        tracing::warn!(error, "row not readable");
    })
    .ok()
}

/// How a column is named: `"id"` or `0`.
pub trait Column: Copy {
    /// Its position in the row, if the row has it.
    fn position(&self, row: &Row) -> Option<usize>;
    /// Its name in error texts.
    fn label(&self) -> String;
}

impl Column for &str {
    fn position(&self, row: &Row) -> Option<usize> {
        row.columns.iter().position(|name| name.as_ref() == *self)
    }

    fn label(&self) -> String {
        (*self).to_owned()
    }
}

impl Column for usize {
    fn position(&self, _row: &Row) -> Option<usize> {
        Some(*self)
    }

    fn label(&self) -> String {
        self.to_string()
    }
}

/// A result that arrives in chunks, so that none of its size is held in memory.
#[derive(Debug)]
pub struct RowStream {
    pub(crate) chunks: tokio::sync::mpsc::Receiver<Result<Vec<Row>, DbError>>,
}

impl RowStream {
    /// The next chunk; `None` after the last one.
    ///
    /// # Errors
    ///
    /// When the statement fails half way. Nothing follows an error.
    pub async fn next(&mut self) -> Result<Option<Vec<Row>>, DbError> {
        self.chunks.recv().await.transpose()
    }
}
