//! SQL text and its parameters.

use std::borrow::Cow;

use crate::value::Value;

/// One SQL statement with its parameters.
///
/// Parameters are written `$1`, `$2`, … and may be used more than once. The text is constant, so
/// that it is prepared once per connection; it must be one that SQLite and PostgreSQL both take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    pub(crate) sql: Cow<'static, str>,
    pub(crate) params: Vec<Value>,
}

impl Statement {
    /// The text.
    pub fn text(&self) -> &str {
        &self.sql
    }

    /// The parameters, `$1` first.
    pub fn params(&self) -> &[Value] {
        &self.params
    }
}

/// A statement: `sql("DELETE FROM ca WHERE id = $1", params![id])`.
pub fn sql(text: impl Into<Cow<'static, str>>, params: Vec<Value>) -> Statement {
    Statement {
        sql: text.into(),
        params,
    }
}

/// Parameters of a statement, each converted by `Value::from`.
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        ::std::vec![$($crate::Value::from($value)),*]
    };
}
